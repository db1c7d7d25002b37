//! What explains an alert opens after the store and the ledger have forgotten, for those who may see it.

use serde_json::{Value, json};

use crate::support::ask::array;
use crate::support::http::Request;
use crate::support::loki::push_json;
use crate::support::sink::Sink;
use crate::support::wait::{PATIENCE, now_ms, now_ns, until};
use crate::support::{Caller, Setup, remote_write};

const RULES: &str = "groups:\n- name: g\n  interval: 1s\n  rules:\n  - alert: Down\n    \
    expr: probe == 0\n    labels: {service: fence}\n";

fn config(sink: &Sink, more: &str) -> String {
    let token = |name: &str, rest: &str| {
        format!("[[auth.tokens]]\nname = \"{name}\"\ntoken = \"token-of-{name}-in\"\n{rest}\n")
    };
    format!(
        "[rules]\nfiles = [\"r.yml\"]\n[alerting]\nwebhook_url = \"{}\"\ngroup_wait = \"0s\"\n\
         group_interval = \"1s\"\n{more}\n{}{}{}{}",
        sink.url(),
        token("heart", "commons = \"heart.example\""),
        token("admin", "role = \"admin\"\nread = [\"*\"]"),
        token("viewer", "role = \"viewer\"\nread = [\"heart.example\"]"),
        token("stranger", "role = \"developer\"\nread = [\"canine.example\"]"),
    )
}

fn probe(caller: &Caller, value: f64) {
    let labels = [("__name__", "probe"), ("app", "fence")];
    let sample = remote_write::series(&labels, &[(now_ms(), value)]);
    let answer = caller.send(remote_write::write(vec![sample]));
    assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
}

fn told(sink: &Sink, status: &str) -> Result<Value, String> {
    let bodies = sink.received();
    let mut alerts = bodies.iter().flat_map(|body| array(&body["alerts"]).to_vec());
    alerts.find(|alert| alert["status"] == status).ok_or_else(|| format!("{bodies:?}"))
}

#[test]
fn an_alert_is_explained_when_everything_that_it_was_taken_from_is_gone() {
    let sink = Sink::start();
    let setup = Setup::new("kept").config(&config(&sink, ""));
    std::fs::write(setup.home().join("r.yml"), RULES).unwrap();
    let server = setup.start();
    let heart = server.caller_with("token-of-heart-in");
    let line = push_json(
        &json!({ "app": "fence" }),
        &[(now_ns() - 1_000_000_000, "ERROR cannot reach the database")],
    );
    assert!((200..300).contains(&heart.send(line).status));
    let firing = until("a page", PATIENCE, || {
        probe(&heart, 0.0);
        told(&sink, "firing")
    });
    until("its end", PATIENCE, || {
        probe(&heart, 1.0);
        told(&sink, "resolved")
    });
    let link = firing["annotations"]["explain_url"].as_str().unwrap().to_owned();
    let path = link[link.find("/api/").unwrap()..].to_owned();
    let admin = server.caller_with("token-of-admin-in");
    until("what explains it to be kept", PATIENCE, || {
        let shown = admin.get(&path).json();
        match shown["data"]["kept"]["endsAt"].is_string() {
            true => Ok(()),
            false => Err(shown.to_string()),
        }
    });
    server.stop();

    // The rule, the telemetry and the ledger are gone.
    std::fs::write(setup.home().join("r.yml"), "groups: []\n").unwrap();
    for folder in ["wal", "parquet"] {
        drop(std::fs::remove_dir_all(setup.data_dir().join(folder)));
    }
    let setup = setup.config(&config(&sink, "history_max = 1"));
    let server = setup.start();
    let admin = server.caller_with("token-of-admin-in");

    let answer = admin.get(&path);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let kept = answer.json()["data"].clone();
    let kept = if kept["kept"].is_null() { kept } else { kept["kept"].clone() };
    assert_eq!(kept["labels"]["alertname"], "Down");
    let values = array(&kept["rule"]["evaluations"][0]["values"]);
    assert!(!values.is_empty(), "the values at each evaluation: {kept}");
    assert!(kept["lines"].to_string().contains("cannot reach the database"), "{kept}");
    assert!(kept["records"].to_string().contains("\"delivered\""), "{kept}");
    assert_eq!(kept["routes"][0]["receiver"], "webhook");
    let page = admin.send(Request::get(path.as_str()).header("Accept", "text/html,*/*"));
    assert!(page.text().starts_with("<!DOCTYPE html>"), "{}", page.text());

    let viewer = server.caller_with("token-of-viewer-in").get(&path).json();
    let seen = viewer["data"].to_string();
    assert!(seen.contains("Down") && !seen.contains("database"), "lines need more: {viewer}");
    let stranger = server.caller_with("token-of-stranger-in").get(&path);
    assert_eq!(stranger.status, 404, "{}", stranger.text());
}
