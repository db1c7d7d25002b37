//! What the command line says about alerts afterwards, and about rules beforehand.

use std::process::Command;

use crate::support::server::binary;
use crate::support::sink::Sink;
use crate::support::wait::{PATIENCE, now_ms, until};
use crate::support::{Caller, Server, Setup, remote_write};

const RULE: &str = "groups:\n- name: g\n  interval: 15s\n  rules:\n  - alert: Down\n    \
    expr: probe == 0\n    labels: {severity: page}\n";

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
    assert!(said.contains("1 notifications of the last 10m become 0"), "{said}");
    let said = commonwatch(&setup, &server, &["rules", "backtest", "old.yml", "--last", "10m"]);
    assert!(said.contains("0 notifications of the last 10m become 1"), "{said}");

    let said = commonwatch(&setup, &server, &["rules", "check", "--live", "odd.yml"]);
    assert!(said.contains("no series of the last day is {__name__=\"prob\", job=\"x\"}"), "{said}");
}

#[test]
fn an_alert_is_explained_and_so_is_a_rule_that_is_silent() {
    let sink = Sink::start();
    let rules = format!(
        "{RULE}  - alert: Silent\n    expr: probe > 5\n  - alert: Gone\n    expr: prob > 5\n"
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
    let listed = commonwatch(&setup, &server, &["alerts", "list", "severity=page"]);
    assert!(listed.contains("active") && listed.contains("webhook"), "{listed}");
    let inventory = commonwatch(&setup, &server, &["inventory"]);
    assert!(inventory.contains("rhythmSeconds"), "{inventory}");
}
