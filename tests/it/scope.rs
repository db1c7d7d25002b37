//! What a credential allows: a commons' sender writes into that commons alone, its reader sees
//! nothing else, and a request without a credential sees nothing at all.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::ask::{array, form, labels};
use crate::support::two_commons::{self, CANINE, HEART};
use crate::support::wait::{now_ms, now_ns};
use crate::support::{Caller, Request, Server, Setup, loki, otlp, remote_write};

const OPERATOR: &str = r#"
[[auth.tokens]]
name = "operator"
token = "operator-0123456789abc"
read = ["*"]
role = "admin"
"#;

/// Starts a server where both commons have sent one sample, log record and span each; each of them
/// claimed to be the other.
#[track_caller]
fn two_commons(story: &'static str) -> Server {
    let server = Setup::new(story).config(&two_commons::config(OPERATOR)).start();
    for (token, own, claimed) in
        [("heart-sender-0123456789", HEART, CANINE), ("canine-sender-0123456789", CANINE, HEART)]
    {
        let sender = server.caller_with(token);
        let secret = format!("canary-of-{own}");
        let now = now_ns();
        let sample = [(now / 1_000_000, 1.0)];
        let series = [("__name__", "scoped"), ("canary", &secret), ("commons", claimed)];
        let resource = || otlp::resource(&[("service.name", "s"), ("commons", claimed)]);
        let line = format!("{{app=\"fence\", commons=\"{claimed}\"}}");
        for request in [
            remote_write::write(vec![remote_write::series(&series, &sample)]),
            otlp::post("/v1/logs", &otlp::logs(resource(), vec![otlp::record(now, &secret)])),
            otlp::post("/v1/traces", &otlp::spans(resource(), vec![otlp::span(7, now, &secret)])),
            loki::push(&line, vec![loki::entry(now, &secret)]),
        ] {
            let path = request.path.clone();
            let answer = sender.send(request);
            assert!(
                (200..300).contains(&answer.status),
                "{path}: {} {}",
                answer.status,
                answer.text()
            );
        }
    }
    server
}

#[test]
fn a_payload_cannot_claim_another_commons() {
    let server = two_commons("claims");
    let operator = server.caller_with("operator-0123456789abc");

    let stored = |query: &str| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        operator
            .sql(query)
            .iter()
            .map(|row| (text(&row["commons"]), text(&row["canary"])))
            .collect()
    };
    let own = |commons: &str| (commons.to_owned(), format!("canary-of-{commons}"));

    let metrics = "SELECT commons, labels['canary'] AS canary FROM metrics \
                   WHERE metric = 'scoped' ORDER BY 1";
    assert_eq!(stored(metrics), [own(CANINE), own(HEART)]);
    let logs = "SELECT DISTINCT commons, body AS canary FROM logs ORDER BY 1";
    assert_eq!(stored(logs), [own(CANINE), own(HEART)]);
    let spans = "SELECT commons, name AS canary FROM spans ORDER BY 1";
    assert_eq!(stored(spans), [own(CANINE), own(HEART)]);
}

#[test]
fn a_reader_sees_its_commons_in_every_dialect_and_no_other() {
    let server = two_commons("reader");
    let reader = server.caller_with("heart-reader-0123456789");
    let operator = server.caller_with("operator-0123456789abc");

    for path in questions() {
        let seen = reader.get(&path);
        let all = operator.get(&path);

        assert_eq!(seen.status, 200, "{path}: {}", seen.text());
        assert!(all.text().contains(CANINE), "{path} would show nothing to anyone: {}", all.text());
        assert!(!seen.text().contains(CANINE), "{path} shows another commons: {}", seen.text());
    }
}

/// Each of these names both commons to someone who may see both.
fn questions() -> Vec<String> {
    let ask =
        |path: &str, parameters: &[(&str, &str)]| format!("/api/v1/{path}?{}", form(parameters));
    let evasive = "scoped{commons=~\".+\"} or scoped{commons=\"canine.commons.example\"}";
    let (start, end) = ((now_ms() / 1000 - 60).to_string(), (now_ms() / 1000 + 1).to_string());
    let range = [("query", "scoped"), ("start", &start), ("end", &end), ("step", "1")];
    vec![
        ask("query", &[("query", "scoped")]),
        ask("query", &[("query", "sum by (commons) (scoped)")]),
        ask("query", &[("query", evasive)]),
        ask("query", &[("query", "count by (commons) ({__name__=~\".+\"})")]),
        ask("query_range", &range),
        ask("series", &[("match[]", "scoped")]),
        ask("label/commons/values", &[]),
        ask("label/canary/values", &[]),
    ]
}

#[test]
fn sql_shows_a_reader_its_commons_and_no_other() {
    let server = two_commons("sql-reader");
    let reader = server.caller_with("heart-reader-0123456789");

    for query in [
        "SELECT commons FROM metrics WHERE metric = 'scoped'",
        "SELECT commons FROM logs",
        "SELECT commons FROM spans",
        "SELECT commons FROM logs WHERE commons = 'canine.commons.example' OR 1 = 1",
        "SELECT commons FROM logs UNION ALL SELECT commons FROM spans",
        "SELECT l.commons FROM logs l JOIN spans s ON l.commons = s.commons",
    ] {
        let seen: BTreeSet<String> = reader
            .sql(query)
            .iter()
            .map(|row| row["commons"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(seen, BTreeSet::from([HEART.to_owned()]), "{query}");
    }
    let counted =
        reader.sql("SELECT count(*) AS n FROM spans WHERE commons = 'canine.commons.example'");
    assert_eq!(counted[0]["n"], json!(0));
}

#[test]
fn a_trace_id_of_two_commons_shows_a_reader_one_span() {
    let server = two_commons("trace");
    let reader = server.caller_with("heart-reader-0123456789");

    // Both commons sent a span with these ids.
    let spans =
        reader.sql("SELECT name FROM spans WHERE trace_id = '00000010000000000000000000000007'");

    assert_eq!(json!(spans), json!([{"name": "canary-of-heart.commons.example"}]));
}

#[test]
fn without_a_right_credential_every_door_is_shut() {
    let server = two_commons("doors");
    let anyone = server.caller();
    let stranger = server.caller_with("not-a-token-0123456789");
    let now = now_ms();
    let write = || {
        remote_write::write(vec![remote_write::series(&[("__name__", "intruder")], &[(now, 1.0)])])
    };
    let logs = || {
        let records = vec![otlp::record(now * 1_000_000, "intruder")];
        otlp::post("/v1/logs", &otlp::logs(otlp::resource(&[]), records))
    };
    let sql = || Request::post("/api/v1/sql", "SELECT 1").header("Content-Type", "text/plain");
    let doors = || {
        let mut doors: Vec<Request> = questions().into_iter().map(Request::get).collect();
        doors.extend([write(), logs(), sql(), Request::get("/api/v1/alerts")]);
        doors.push(loki::push("{app=\"a\"}", vec![loki::entry(now * 1_000_000, "intruder")]));
        doors.push(Request::post("/-/reload", ""));
        doors
    };

    for (who, caller) in [("anyone", &anyone), ("a stranger", &stranger)] {
        for door in doors() {
            let shown = format!("{who}: {} {}", door.method, door.path);
            let answer = caller.send(door);
            assert_eq!(answer.status, 401, "{shown}: {}", answer.text());
            assert!(!answer.text().contains("canary"), "{shown}: {}", answer.text());
        }
    }
    let refused = otlp::call(&anyone.otlp_grpc, LOGS_EXPORT, b"", None).unwrap();
    assert_eq!(refused.code, Some(16), "unauthenticated: {refused:?}");
    assert_eq!(anyone.get("/-/healthy").status, 200, "liveness needs no credential");
}

const LOGS_EXPORT: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

#[test]
fn senders_do_not_read_and_readers_do_not_write() {
    let server = two_commons("roles");
    let sender = server.caller_with("heart-sender-0123456789");
    let reader = server.caller_with("heart-reader-0123456789");

    let read = sender.get("/api/v1/query?query=scoped");
    assert!(!read.text().contains("canary"), "{}", read.text());
    assert!(
        read.status == 403 || array(&read.json()["data"]["result"]).is_empty(),
        "{}",
        read.text()
    );

    let series = remote_write::series(&[("__name__", "written")], &[(now_ms(), 1.0)]);
    let written = reader.send(remote_write::write(vec![series]));
    assert_eq!(written.status, 403, "{}", written.text());
    assert!(!written.body.is_empty(), "says why");
}

#[test]
fn no_answer_repeats_a_token() {
    let server = two_commons("secrets");
    let operator = server.caller_with("operator-0123456789abc");
    let secrets = ["heart-sender-0123456789", "heart-reader-0123456789", "operator-0123456789abc"];

    let mut shown = server.log();
    for path in ["/metrics", "/api/v1/status/config", "/api/v1/status/flags", "/api/v1/targets"] {
        shown.push_str(&operator.get(path).text());
    }
    shown.push_str(&probe_with_bad_header(&operator));

    for secret in secrets {
        assert!(!shown.contains(secret), "a token is shown");
    }
}

fn probe_with_bad_header(caller: &Caller) -> String {
    let request = Request::get("/api/v1/query?query=up")
        .header("Authorization", "Token heart-sender-0123456789");
    let answer = crate::support::http::send(&caller.http, &request).unwrap();
    assert_eq!(answer.status, 401, "{}", answer.text());
    answer.text()
}

#[test]
fn the_reader_of_one_commons_is_offered_no_other_in_menus() {
    let server = two_commons("menus");
    let reader = server.caller_with("heart-reader-0123456789");

    let values = reader.prometheus("/api/v1/label/commons/values", &[]);
    let series = reader.prometheus("/api/v1/series", &[("match[]", "scoped")]);

    assert_eq!(values, json!([HEART]));
    let commons: Vec<_> = array(&series).iter().map(|s| labels(s)["commons"].clone()).collect();
    assert_eq!(commons, [HEART]);
}
