//! Rules over logs, spans and SQL: tested by their files, evaluated by the server, shown to Loki's
//! clients, and found out when they are wrong.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::ask::array;
use crate::support::http::Request;
use crate::support::loki::push_json;
use crate::support::otlp;
use crate::support::server::binary;
use crate::support::sink::Sink;
use crate::support::wait::{PATIENCE, now_ns, until};
use crate::support::{Caller, Server, Setup};

fn case(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/rules")).join(name)
}

fn commonwatch(arguments: &[&str], server: Option<&Server>) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments);
    if let Some(server) = server {
        command.args(["--server", &format!("http://{}", server.addresses().http)]);
    }
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

fn push(caller: &Caller, stream: &Value, lines: &[(i64, &str)]) {
    let answer = caller.send(push_json(stream, lines));
    assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
}

#[test]
fn rules_of_every_language_are_tested_by_promtools_format() {
    let tests = case("languages.test.yml");

    let objective = case("objective.test.yml");
    let both = ["rules", "test", tests.to_str().unwrap(), objective.to_str().unwrap()];
    let output = commonwatch(&both, None);

    assert!(output.status.success(), "{}", said(&output));

    let folder = tempfile::tempdir().unwrap();
    let wrong = std::fs::read_to_string(&tests).unwrap();
    let wrong =
        wrong.replace("panicked 5 times", "panicked 6 times").replace("value: 10", "value: 11");
    std::fs::write(folder.path().join("wrong.test.yml"), wrong).unwrap();
    std::fs::copy(case("languages.yml"), folder.path().join("languages.yml")).unwrap();
    let path = folder.path().join("wrong.test.yml");
    let output = commonwatch(&["rules", "test", path.to_str().unwrap()], None);
    let text = said(&output);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("panicked 5 times") && text.contains("exp: {} 11"), "{text}");
    assert!(!text.contains("SlowSpans"), "only what is wrong: {text}");
}

#[test]
fn the_faults_of_gen3s_stock_rules_are_found() {
    let setup = Setup::new("stock-rules").config("[tagging]\nenabled = false\n");
    let server = setup.start();
    let caller = server.caller();
    let now = now_ns();
    push(
        &caller,
        &json!({ "app": "indexd", "cluster": "heart", "namespace": "default" }),
        &[
            (now - 2_000_000_000, r#"{"http_status_code":"200"}"#),
            (
                now - 1_000_000_000,
                "2026/11/21 [error] 9#9: limiting requests, excess: 20.1 by zone",
            ),
        ],
    );

    let output = commonwatch(
        &[
            "rules",
            "check",
            case("gen3_stock.yml").to_str().unwrap(),
            "--alerting",
            case("gen3_stock.alertmanager.yml").to_str().unwrap(),
            "--live",
        ],
        Some(&server),
    );

    let text = said(&output);
    assert!(!output.status.success(), "a receiver that is not there is a mistake: {text}");
    for fault in [
        // The text names another label than the series has, so no alert says where.
        "HTTP 500 errors detected: `summary` uses $labels.clusters, which the expression does not \
         yield; it yields: cluster",
        "`description` uses $labels.app, which the expression does not yield; it yields: cluster",
        // `Slack` is told, `slack` is there.
        "no receiver is called `Slack`; there are: slack",
        // Texts of another system's time.
        "the matcher status=\"info\" of {cluster=~\".+\", app=\"indexd\", status=\"info\"} matches no line",
        "`|= \"status:error\"` shuts out all 1 lines",
        // What else is odd.
        "the name of an alert is no template",
    ] {
        assert!(text.contains(fault), "{fault}: {text}");
    }
    assert!(!text.contains("Http status code 431: `"), "{text}");
}

const RULES: &str = r#"
groups:
  - name: lines
    type: logql
    interval: 1s
    rules:
      - alert: Panics
        expr: sum by (commons_name) (count_over_time({app="hatchery"} |= "panic" [1h]))
        threshold: "> 0"
        labels: {severity: page, owner: csoc}
  - name: rows
    interval: 1s
    rules:
      - alert: Rows
        type: sql
        range: 1h
        expr: SELECT count(*) AS value FROM logs WHERE timestamp > $1 AND timestamp <= $2 AND body LIKE 'panic%'
        threshold: "> 0"
overrides:
  - {rule: Panics, commons: [canine, gone], threshold: 50, owner: canine-team, until: 2000-01-01, why: tests}
"#;

#[test]
fn a_rule_over_logs_pages_and_is_shown_as_lokis_ruler_shows_it() {
    let sink = Sink::start();
    let setup = Setup::new("log-rules").config(&format!(
        "[tagging]\nenabled = false\n[rules]\nfiles = [\"r.yml\"]\n[alerting]\nwebhook_url = \"{}\"\n\
         group_wait = \"0s\"\n",
        sink.url()
    ));
    std::fs::write(setup.home().join("r.yml"), RULES).unwrap();
    let server = setup.start();
    let caller = server.caller();
    push(
        &caller,
        &json!({ "app": "hatchery", "commons_name": "heart" }),
        &[(now_ns(), "panic: x")],
    );

    let told = until("both to page", PATIENCE, || {
        let told: Vec<Value> =
            sink.received().iter().flat_map(|b| array(&b["alerts"]).to_vec()).collect();
        let has = |name: &str| told.iter().any(|alert| alert["labels"]["alertname"] == name);
        if has("Panics") && has("Rows") { Ok(told) } else { Err(format!("{told:?}")) }
    });

    let panics = told.iter().find(|alert| alert["labels"]["alertname"] == "Panics").unwrap();
    assert_eq!(panics["labels"]["commons_name"], "heart");
    let link = panics["generatorURL"].as_str().unwrap();
    assert!(link.ends_with("/api/v1/admin/alerts/explain?rule=Panics"), "{link}");
    // The page may be out a moment before the evaluation that sent it has ended.
    until("the rule to be shown as firing", PATIENCE, || {
        let groups = caller.send(Request::get("/prometheus/api/v1/rules")).json();
        let groups = array(&groups["data"]["groups"]).to_vec();
        let shown = (groups.len(), &groups[0]["rules"][0]["state"]);
        if shown == (1, &json!("firing")) { Ok(()) } else { Err(format!("{groups:?}")) }
    });
    let alerts = caller.send(Request::get("/prometheus/api/v1/alerts")).json();
    assert_eq!(alerts["data"]["alerts"][0]["labels"]["alertname"], "Panics");
    let yaml = caller.send(Request::get("/loki/api/v1/rules/r.yml/lines")).text();
    assert!(yaml.contains("alert: Panics") && yaml.contains("interval: 1s"), "{yaml}");
    let missing = caller.send(Request::get("/loki/api/v1/rules/test/test"));
    assert_eq!((missing.status, missing.text().trim()), (404, "group does not exist"));
    let listed = said(&commonwatch(&["rules", "overrides", "--commons", "canine"], Some(&server)));
    assert!(listed.contains("canine-team") && listed.contains("threshold=> 50"), "{listed}");
    assert!(!listed.contains("gone"), "{listed}");
}

const EVERY_LANGUAGE: &str = r#"
groups:
  - name: every
    interval: INTERVAL
    rules:
      - alert: Panics
        type: logql
        expr: sum by (commons_name) (count_over_time({app="hatchery"} |= "panic" [1h]))
        threshold: "> 0"
      - alert: Rows
        type: sql
        range: 1h
        expr: SELECT count(*) AS value FROM logs WHERE timestamp > $1 AND timestamp <= $2 AND body LIKE 'panic%' HAVING count(*) > 0
      - alert: Spans
        type: traceql
        range: 1h
        expr: '{ name = "slow" } | count_over_time() by (resource.service.name)'
        threshold: "> 0"
"#;

#[test]
fn rules_of_every_language_are_explained_and_tried_on_the_past() {
    let sink = Sink::start();
    let setup = Setup::new("every-language").config(&format!(
        "[tagging]\nenabled = false\n[rules]\nfiles = [\"r.yml\"]\n[alerting]\nwebhook_url = \"{}\"\n\
         group_wait = \"0s\"\n",
        sink.url()
    ));
    let rules = |interval: &str| EVERY_LANGUAGE.replace("INTERVAL", interval);
    std::fs::write(setup.home().join("r.yml"), rules("2s")).unwrap();
    let past = setup.home().join("past.yml");
    std::fs::write(&past, rules("15s")).unwrap();
    let server = setup.start();
    let caller = server.caller();
    let at_ns = now_ns() - 90_000_000_000;
    push(&caller, &json!({ "app": "hatchery", "commons_name": "heart" }), &[(at_ns, "panic: x")]);
    let resource = otlp::resource(&[("service.name", "fence")]);
    let spans = otlp::spans(resource, vec![otlp::span(1, at_ns, "slow")]);
    assert_eq!(caller.send(otlp::post("/v1/traces", &spans)).status, 200);
    let names = ["Panics", "Rows", "Spans"];
    until("all to page", PATIENCE, || {
        let told = sink.received();
        let told: Vec<&Value> = told.iter().flat_map(|body| array(&body["alerts"])).collect();
        names.iter().try_for_each(|name| {
            let is_told = told.iter().any(|alert| alert["labels"]["alertname"] == *name);
            if is_told { Ok(()) } else { Err(format!("{name}: {told:?}")) }
        })
    });

    for name in names {
        let filter = format!("alertname={name}");
        let explained = commonwatch(&["alerts", "explain", &filter, "-o", "json"], Some(&server));
        let explained: Value = serde_json::from_slice(&explained.stdout).unwrap();
        let rule = &explained["data"]["rule"];
        let values = array(&rule["evaluations"][0]["values"]);
        assert!(values.last().is_some_and(|last| last[1] == "1"), "{name}: {rule}");
        let is_compared = name != "Rows";
        assert_eq!(rule["compared"].is_string(), is_compared, "{name}: {rule}");
        assert_eq!(rule["comparedValues"][0]["values"][0][1] == "1", is_compared, "{name}: {rule}");
    }
    let tried = ["rules", "backtest", past.to_str().unwrap(), "--last", "3m"];
    let tried = said(&commonwatch(&tried, Some(&server)));
    for name in names {
        let rows = tried.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let row = rows.into_iter().find(|row| row.get(1) == Some(&name));
        assert_eq!(row, Some(vec!["everybody", name, "0", "1"]), "{tried}");
    }
}
