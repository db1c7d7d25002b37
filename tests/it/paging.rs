//! From a sample to a webhook: what should page does, once, and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::support::ask::array;
use crate::support::sink::Sink;
use crate::support::wait::{now_ms, pause, until};
use crate::support::{Caller, Setup, remote_write};

const RULES: &str = r#"
groups:
  - name: paging
    interval: 1s
    rules:
      - record: probes:down:sum
        expr: sum by (commons_name) (probe == 0) + 1
      - alert: CommonsDown
        expr: probes:down:sum > 0
        labels: { severity: page }
        annotations:
          summary: "{{ $labels.commons_name }} does not answer"
      - alert: NeverTrue
        expr: probe > 5
        labels: { severity: page }
"#;

const WITHIN: Duration = Duration::from_secs(90);

#[test]
fn an_alert_pages_when_it_fires_and_again_when_it_is_over_and_nothing_else_does() {
    let sink = Sink::start();
    let setup = Setup::new("paging").config(&format!(
        "[tagging]\nenabled = false\n\n[rules]\nfiles = [\"rules.yml\"]\n\n\
         [alerting]\nwebhook_url = \"{}\"\ngroup_wait = \"1s\"\ngroup_interval = \"1s\"\n",
        sink.url()
    ));
    std::fs::write(setup.home().join("rules.yml"), RULES).unwrap();
    let server = setup.start();
    let caller = server.caller();

    let firing = until("a page", WITHIN, || {
        probe(&caller, "heart", 0.0);
        probe(&caller, "canine", 1.0);
        pause(Duration::from_millis(500));
        alerts(&sink, "firing").into_iter().next().ok_or_else(|| "nothing came".to_owned())
    });
    check_payload(&firing);
    until("the page to be taken back", WITHIN, || {
        probe(&caller, "heart", 1.0);
        probe(&caller, "canine", 1.0);
        pause(Duration::from_millis(500));
        alerts(&sink, "resolved").into_iter().next().ok_or_else(|| "nothing came".to_owned())
    });

    let named: BTreeSet<String> = sink
        .received()
        .iter()
        .flat_map(|body| array(&body["alerts"]).to_vec())
        .map(|alert| name(&alert))
        .collect();
    assert_eq!(named, BTreeSet::from(["CommonsDown heart".to_owned()]), "and only that");
    assert_eq!(alerts(&sink, "firing").len(), 1, "told once: {:?}", sink.received());
}

fn probe(caller: &Caller, commons: &str, value: f64) {
    let labels = [("__name__", "probe"), ("commons_name", commons)];
    let series = remote_write::series(&labels, &[(now_ms(), value)]);
    let answer = caller.send(remote_write::write(vec![series]));
    assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
}

/// Returns the notifications of one status.
fn alerts(sink: &Sink, status: &str) -> Vec<Value> {
    sink.received().into_iter().filter(|body| body["status"] == status).collect()
}

fn name(alert: &Value) -> String {
    let label = |name: &str| alert["labels"][name].as_str().unwrap_or("-").to_owned();
    format!("{} {}", label("alertname"), label("commons_name"))
}

/// Alertmanager's webhook, version 4.
fn check_payload(body: &Value) {
    let alert = &body["alerts"][0];
    assert_eq!(body["version"], "4", "{body}");
    assert!(body["groupKey"].is_string() && body["receiver"].is_string(), "{body}");
    assert_eq!(alert["labels"]["severity"], "page", "{body}");
    assert_eq!(alert["annotations"]["summary"], "heart does not answer", "{body}");
    assert_eq!(alert["endsAt"], "0001-01-01T00:00:00Z", "{body}");
    assert_eq!(alert["fingerprint"].as_str().map(str::len), Some(16), "{body}");
}
