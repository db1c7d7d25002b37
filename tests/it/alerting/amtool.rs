//! Debian's `amtool` against `/am`.

use serde_json::Value;

use super::{amtool, run_amtool, text};
use crate::support::Setup;
use crate::support::sink::Sink;

const ALERTING: &str = r#"
route:
  receiver: team
  group_by: [alertname]
  routes:
    - matchers: [severity="page"]
      receiver: oncall
      continue: true
    - matchers: [commons=~"heart|canine"]
receivers:
  - name: team
    webhook_configs: [{ url: 'SINK' }]
  - name: oncall
    webhook_configs: [{ url: 'SINK' }]
"#;

#[test]
fn amtool_adds_silences_and_finds_its_way() {
    let sink = Sink::start();
    let setup = Setup::new("amtool").config("[alerting]\nfile = \"alertmanager.yml\"\n");
    std::fs::write(setup.home().join("alertmanager.yml"), ALERTING.replace("SINK", &sink.url()))
        .unwrap();
    let server = setup.start();
    let url = format!("http://{}/am", server.addresses().http);

    amtool(&url, &["alert", "add", "Down", "severity=page", "commons=heart"]);
    amtool(&url, &["alert", "add", "Slow", "commons=hub", "--annotation=summary=slow"]);
    let alerts = json(&amtool(&url, &["alert", "query", "-o", "json", "severity=page"]));
    assert_eq!(alerts.as_array().unwrap().len(), 1);
    assert_eq!(alerts[0]["labels"]["alertname"], "Down");
    let receivers: Vec<&str> = alerts[0]["receivers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|receiver| receiver["name"].as_str().unwrap())
        .collect();
    assert_eq!(receivers, ["oncall", "team"]);

    let add = ["silence", "add", "alertname=Down", "--author=ann", "--comment=we know", "-d", "1h"];
    let id = amtool(&url, &add);
    let id = id.trim();
    let silences = json(&amtool(&url, &["silence", "query", "-o", "json", "alertname=Down"]));
    assert_eq!(silences[0]["id"], id);
    assert_eq!(silences[0]["comment"], "we know");
    let active = amtool(&url, &["alert", "query", "--active", "-o", "simple"]);
    assert!(active.contains("Slow") && !active.contains("Down"), "{active}");
    let silenced = amtool(&url, &["alert", "query", "--silenced", "-o", "simple"]);
    assert!(silenced.contains("Down"), "{silenced}");
    amtool(&url, &["silence", "update", id, "-d", "2h"]);
    amtool(&url, &["silence", "expire", id]);
    assert_eq!(json(&amtool(&url, &["silence", "query", "-o", "json"])), serde_json::json!([]));
    let expired = json(&amtool(&url, &["silence", "query", "--expired", "-o", "json"]));
    assert_eq!(expired[0]["id"], id);
    assert!(!run_amtool(&url, &["silence", "expire", "no-such-silence"]).status.success());

    // What we show of the configuration is one that amtool reads and routes by as we do.
    let routed = amtool(&url, &["config", "routes", "test", "severity=page", "commons=heart"]);
    assert_eq!(routed.trim(), "oncall,team");
    let shown = amtool(&url, &["config", "show"]);
    assert!(shown.contains("<secret>") && !shown.contains("/hook"), "{shown}");
}

#[test]
fn a_configuration_that_is_wrong_is_told_by_config_check_and_refused_by_a_reload() {
    let setup = Setup::new("am-reload").config("[alerting]\nfile = \"alertmanager.yml\"\n");
    let file = setup.home().join("alertmanager.yml");
    let right = "route: { receiver: a }\nreceivers: [{ name: a }, { name: b }]\n";
    std::fs::write(&file, right).unwrap();
    let server = setup.start();
    let url = format!("http://{}/am", server.addresses().http);
    amtool(&url, &["alert", "add", "Down"]);
    let receivers = || {
        let alerts = json(&amtool(&url, &["alert", "query", "-o", "json"]));
        alerts[0]["receivers"][0]["name"].as_str().unwrap().to_owned()
    };
    assert_eq!(receivers(), "a");

    std::fs::write(&file, right.replace("receiver: a", "receiver: A")).unwrap();
    let check = std::process::Command::new(crate::support::server::binary())
        .current_dir(setup.home())
        .args(["config", "check", "--config", "commonwatch.toml"])
        .output()
        .unwrap();
    let caller = server.caller();
    let refused = caller.send(crate::support::http::Request::post("/-/reload", ""));

    assert_eq!(check.status.code(), Some(2));
    let complaint = text(&check.stderr);
    assert!(
        complaint.contains("alertmanager.yml:1: a route: `receiver`: no receiver is called `A`"),
        "{complaint}"
    );
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("no receiver is called `A`"), "{}", refused.text());
    assert_eq!(receivers(), "a", "the old one stays in force");

    std::fs::write(&file, right.replace("receiver: a", "receiver: b")).unwrap();
    assert_eq!(caller.send(crate::support::http::Request::post("/-/reload", "")).status, 200);
    assert_eq!(receivers(), "b");
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
