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

const RULES_OVER_A_RESTART: &str = r#"
groups:
  - name: paging
    interval: 1s
    rules:
      - alert: Slow
        expr: probe == 0
        for: 1h
      - alert: Down
        expr: probe == 0
      - alert: Late
        expr: late == 0
"#;

#[test]
fn alerts_and_notifications_survive_kill_9() {
    let sink = Sink::start();
    let setup = Setup::new("paging-restart").config(&format!(
        "[tagging]\nenabled = false\n\n[rules]\nfiles = [\"rules.yml\"]\n\n\
         [alerting]\nwebhook_url = \"{}\"\ngroup_wait = \"0s\"\ngroup_interval = \"1s\"\n",
        sink.url()
    ));
    std::fs::write(setup.home().join("rules.yml"), RULES_OVER_A_RESTART).unwrap();
    let server = setup.start();
    let caller = server.caller();
    probe(&caller, "heart", 0.0);
    until("a page", WITHIN, || match told(&sink, "Down") {
        0 => Err("nothing came".to_owned()),
        _ => Ok(()),
    });
    sink.set_down(true);
    send(&caller, &[("__name__", "late"), ("commons_name", "heart")], 0.0);
    until("a notification that cannot be delivered", WITHIN, || {
        let retried =
            caller.own_metric("commonwatch_notify_notifications_total", &[("outcome", "retried")]);
        let queued = caller.own_metric("commonwatch_notify_queued", &[]);
        if retried > 0.0 && queued == 1.0 { Ok(()) } else { Err(format!("{retried} {queued}")) }
    });
    // A page may be out a moment before the evaluation that sent it has ended.
    let before = until("all alerts to be shown", WITHIN, || {
        let before = active_alerts(&caller);
        let states: Vec<&str> = before.iter().map(|(_, state, _)| state.as_str()).collect();
        let is_whole = states == ["firing", "firing", "pending"];
        if is_whole { Ok(before) } else { Err(format!("{before:?}")) }
    });
    server.kill_9();

    sink.set_down(false);
    let server = setup.start();
    let caller = server.caller();
    assert_eq!(active_alerts(&caller), before, "at once, before anything is evaluated");
    until("the notification that was not delivered", WITHIN, || match told(&sink, "Late") {
        0 => Err("nothing came".to_owned()),
        _ => Ok(()),
    });
    wait_for_evaluations(&caller, 5);

    assert_eq!(active_alerts(&caller), before, "what is pending and what fires, and since when");
    assert_eq!((told(&sink, "Down"), told(&sink, "Late"), told(&sink, "Slow")), (1, 1, 0));
}

/// Returns how many notifications of an alert came.
fn told(sink: &Sink, alert: &str) -> usize {
    let bodies = sink.received();
    let alerts = bodies.iter().flat_map(|body| array(&body["alerts"]));
    alerts.filter(|told| told["labels"]["alertname"] == alert).count()
}

/// Returns name, state and start of each alert, sorted.
fn active_alerts(caller: &Caller) -> Vec<(String, String, String)> {
    let data = caller.prometheus("/api/v1/alerts", &[]);
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let mut alerts: Vec<_> = array(&data["alerts"])
        .iter()
        .map(|alert| {
            (text(&alert["labels"]["alertname"]), text(&alert["state"]), text(&alert["activeAt"]))
        })
        .collect();
    alerts.sort();
    alerts
}

/// Waits until the rules were evaluated so many times more.
fn wait_for_evaluations(caller: &Caller, n_times: usize) {
    let last = || {
        let data = caller.prometheus("/api/v1/rules", &[]);
        data["groups"][0]["lastEvaluation"].as_str().unwrap_or("").to_owned()
    };
    for _ in 0..n_times {
        let before = last();
        until("another evaluation", WITHIN, || {
            let now = last();
            if now == before { Err(format!("the last is of {now}")) } else { Ok(()) }
        });
    }
}

fn send(caller: &Caller, labels: &[(&str, &str)], value: f64) {
    let series = remote_write::series(labels, &[(now_ms(), value)]);
    let answer = caller.send(remote_write::write(vec![series]));
    assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
}

fn probe(caller: &Caller, commons: &str, value: f64) {
    send(caller, &[("__name__", "probe"), ("commons_name", commons)], value);
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
