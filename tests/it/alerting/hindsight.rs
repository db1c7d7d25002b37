//! What the command line says about alerts afterwards, and about rules beforehand.

use std::process::Command;

use crate::support::http::Request;
use crate::support::server::binary;
use crate::support::sink::Sink;
use crate::support::wait::{PATIENCE, now_ms, until};
use crate::support::{Caller, Server, Setup, remote_write};

const RULE: &str = "groups:\n- name: g\n  interval: 15s\n  rules:\n  - alert: Down\n    \
    expr: probe == 0\n    labels: {severity: page}\n";

/// Recording rules that nobody has, and alerts on what they yield: bad for four minutes, and worst for as
/// long as it was bad within the last minute.
const RECORDED: &str = "groups:\n- name: g\n  interval: 15s\n  rules:\n\
    \x20 - {record: 'probe:bad', expr: 1 - probe}\n\
    \x20 - {record: 'probe:worst', expr: 'max_over_time(probe:bad[1m])'}\n\
    \x20 - {alert: Bad, expr: 'probe:bad == 1', for: 3m}\n\
    \x20 - {alert: Worst, expr: 'probe:worst == 1 and on() probe == 1'}\n\
    \x20 - {alert: Never, expr: 'probe:bad == 1', for: 5m}\n";

/// Runs the binary against a server; returns what it printed.
#[track_caller]
fn commonwatch(setup: &Setup, server: &Server, arguments: &[&str]) -> String {
    let url = format!("http://{}", server.addresses().http);
    let output = Command::new(binary())
        .current_dir(setup.home())
        .args(arguments)
        .args(["--server", &url])
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

fn write(caller: &Caller, labels: &[(&str, &str)], samples: &[(i64, f64)]) {
    let answer = caller.send(remote_write::write(vec![remote_write::series(labels, samples)]));
    assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
}

#[test]
fn a_change_of_rules_is_tried_on_the_past_before_it_pages_anybody() {
    let setup = Setup::new("backtest").config("[tagging]\nenabled = false\n");
    let server = setup.start();
    let caller = server.caller();
    let now_ms = now_ms();
    // Down from eight to four minutes ago.
    let value = |ago_s: i64| if (240..480).contains(&ago_s) { 0.0 } else { 1.0 };
    let samples: Vec<(i64, f64)> =
        (0..40).rev().map(|n| (now_ms - n * 15_000, value(n * 15))).collect();
    write(&caller, &[("__name__", "probe"), ("job", "heart")], &samples);
    std::fs::write(setup.home().join("old.yml"), RULE).unwrap();
    let patient = RULE.replace("    labels:", "    for: 6m\n    labels:");
    std::fs::write(setup.home().join("new.yml"), patient).unwrap();
    std::fs::write(setup.home().join("odd.yml"), RULE.replace("probe ==", "prob{job=\"x\"} =="))
        .unwrap();

    let said = commonwatch(
        &setup,
        &server,
        &["rules", "backtest", "new.yml", "--against", "old.yml", "--last", "10m"],
    );
    assert!(said.contains("1 notification of the last 10m becomes 0"), "{said}");
    let said = commonwatch(&setup, &server, &["rules", "backtest", "old.yml", "--last", "10m"]);
    assert!(said.contains("0 notifications of the last 10m become 1"), "{said}");

    // Results that the server has never stored are made anew, also those that are made of such.
    std::fs::write(setup.home().join("recorded.yml"), RECORDED).unwrap();
    let said =
        commonwatch(&setup, &server, &["rules", "backtest", "recorded.yml", "--last", "10m"]);
    assert!(said.contains("are made anew: probe:bad, probe:worst"), "{said}");
    assert!(said.contains("everybody: 0 notifications of the last 10m become 2"), "{said}");

    let said = commonwatch(&setup, &server, &["rules", "check", "--live", "odd.yml"]);
    assert!(said.contains("no series of the last day is {__name__=\"prob\", job=\"x\"}"), "{said}");
}

#[test]
fn an_alert_is_explained_and_so_is_a_rule_that_is_silent() {
    let sink = Sink::start();
    let rules = format!(
        "{RULE}  - alert: Silent\n    expr: probe > 5\n  - alert: Gone\n    expr: prob > 5\n  \
         - alert: Patient\n    expr: probe == 0\n    for: 1h\n"
    )
    .replace("interval: 15s", "interval: 1s");
    let setup = Setup::new("explain").config(&format!(
        "[tagging]\nenabled = false\n[rules]\nfiles = [\"r.yml\"]\n[alerting]\nwebhook_url = \"{}\"\n\
         group_wait = \"0s\"\n",
        sink.url()
    ));
    std::fs::write(setup.home().join("r.yml"), rules).unwrap();
    let server = setup.start();
    let caller = server.caller();
    until("a page", PATIENCE, || {
        write(&caller, &[("__name__", "probe"), ("job", "heart")], &[(now_ms(), 0.0)]);
        if sink.received().is_empty() { Err("nothing came".to_owned()) } else { Ok(()) }
    });

    let said = until("the attempt to be written down", PATIENCE, || {
        let said = commonwatch(&setup, &server, &["alerts", "explain", "alertname=Down"]);
        if said.contains("delivered") { Ok(said) } else { Err(said) }
    });
    let listed = commonwatch(&setup, &server, &["alerts", "list", "severity=page"]);
    assert!(listed.contains("active") && listed.contains("webhook"), "{listed}");
    for part in [
        "Down{",
        "job=\"heart\"",
        "tells webhook by group",
        "rule Down (",
        "is firing since",
        "it watches {__name__=\"probe\", job=\"heart\"}: ",
        "joined",
        "queued",
        "delivered, attempt 1, status 200",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let silent = commonwatch(&setup, &server, &["alerts", "explain", "--rule", "Silent"]);
    assert!(silent.contains("yields 1 series, none of which passes the comparison"), "{silent}");
    let gone = commonwatch(&setup, &server, &["alerts", "explain", "--rule", "Gone"]);
    assert!(gone.contains("yields nothing: the metrics are not there"), "{gone}");
    // A time that is over is explained by what was found then, not by how the rule stands now.
    let over = until("the patient alert to end", PATIENCE, || {
        write(&caller, &[("__name__", "probe"), ("job", "heart")], &[(now_ms(), 1.0)]);
        let rules = caller.get("/api/v1/alerts").text();
        if rules.contains("Patient") { Err(rules) } else { Ok(now_ms()) }
    });
    until("some seconds to pass", PATIENCE, || {
        if now_ms() > over + 4_000 { Ok(()) } else { Err("not yet".to_owned()) }
    });
    let (start, end) = ((over / 1_000 - 60).to_string(), (over / 1_000 + 1).to_string());
    let explain = |rule: &str| {
        let span = ["--start", &start, "--end", &end];
        let words = [&["alerts", "explain", "--rule", rule][..], &span].concat();
        commonwatch(&setup, &server, &words)
    };
    let said = explain("Patient");
    assert!(said.contains("was pending between ") && said.contains("held for 3600s"), "{said}");
    let said = explain("Down");
    assert!(said.contains("} fired between "), "{said}");
    // Through other routes the same alert is told to others.
    let other = "route: {receiver: night, group_wait: 0s}\nreceivers: [{name: night}]\n";
    std::fs::write(setup.home().join("other.yml"), other).unwrap();
    let words = ["alerts", "replay", "alertname=Down", "--alerting", "other.yml", "--last", "10m"];
    let said = commonwatch(&setup, &server, &words);
    assert!(said.contains("webhook: 1 notification of the last 10m becomes 0"), "{said}");
    assert!(said.contains("1 notification of the last 10m becomes 0\n"), "{said}");
    let listed = commonwatch(&setup, &server, &["alerts", "list", "severity=page"]);
    assert!(!listed.contains("active"), "it is over: {listed}");
    let inventory = commonwatch(&setup, &server, &["inventory"]);
    assert!(inventory.contains("rhythmSeconds"), "{inventory}");
}

/// A gauge under `rate`, labels that exclude each other, a value that nobody has, and a rule with an alert for
/// each of thirty pods.
const ODD: &str = r#"
groups:
- name: g
  rules:
  - {alert: Growing, expr: 'sum by (commons) (rate(warmth_total[5m])) > 0'}
  - {alert: Nobody, expr: 'probe{job="canine"} == 0', labels: {commons: x}}
  - {alert: Excluded, expr: 'wide{pod="p1", n="2"} > 0', labels: {commons: x}}
  - {alert: Wide, expr: 'wide > 0', labels: {commons: x}}
  - {alert: Right, expr: 'wide{pod="p1"} > 5', labels: {commons: x}}
"#;

#[test]
fn rules_check_says_what_only_a_running_server_knows() {
    let setup = Setup::new("rules-live").config("[tagging]\nenabled = false\n");
    let server = setup.start();
    let caller = server.caller();
    let now_ms = now_ms();
    write(&caller, &[("__name__", "probe"), ("job", "heart")], &[(now_ms, 1.0)]);
    for n in 0..30 {
        let (pod, n) = (format!("p{n}"), n.to_string());
        write(&caller, &[("__name__", "wide"), ("n", &n), ("pod", &pod)], &[(now_ms, 1.0)]);
    }
    let gauge = serde_json::json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": [{
        "name": "warmth_total", "gauge": { "dataPoints": [{ "asDouble": 3.0,
            "timeUnixNano": (now_ms * 1_000_000).to_string() }] } }] }] }] });
    let posted =
        Request::post("/v1/metrics", gauge.to_string()).header("Content-Type", "application/json");
    assert_eq!(caller.send(posted).status, 200);
    std::fs::write(setup.home().join("odd.yml"), ODD).unwrap();

    let said = commonwatch(&setup, &server, &["rules", "check", "--live", "odd.yml"]);

    for finding in [
        "Growing: takes the growth of `warmth_total`, which is a gauge",
        "Nobody: the matcher job=\"canine\" of {__name__=\"probe\", job=\"canine\"} matches nothing",
        "Excluded: no series of the last day is {__name__=\"wide\", pod=\"p1\", n=\"2\"}: its matchers \
         exclude each other",
        "Wide: there would be 30 alerts now",
    ] {
        assert!(said.contains(finding), "{finding}: {said}");
    }
    assert!(!said.contains("Right:") && said.contains("5 rules: 4 odd"), "{said}");
}
