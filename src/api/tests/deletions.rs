//! Deletions over HTTP, in Prometheus' dialect, in Loki's and in our own.

use super::*;

async fn ask(method: &str, target: &str, headers: &[(&str, &str)]) -> Answered {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(open(), request.body(Body::empty()).unwrap()).await
}

#[track_caller]
fn check(answer: &Answered, status: u16, text: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(answer.text().contains(text), "{}", answer.text());
}

const SERIES: &str = "/api/v1/admin/tsdb/delete_series";
const UP: &str = "match%5B%5D=up";

#[tokio::test]
async fn series_are_deleted_and_the_receipt_is_named() {
    for method in ["POST", "PUT"] {
        let answer = ask(method, &format!("{SERIES}?{UP}&start=1&end=2"), &[]).await;
        check(&answer, 204, "");
        assert_eq!(answer.header("x-commonwatch-deletion"), "7");
    }
    check(&ask("POST", SERIES, &[]).await, 400, "no match[] parameter provided");
    let backwards = ask("POST", &format!("{SERIES}?{UP}&start=2&end=1"), &[]).await;
    check(&backwards, 400, "end timestamp must not be before start time");
    check(&ask("POST", "/api/v1/admin/tsdb/clean_tombstones", &[]).await, 204, "");
    check(&ask("POST", "/api/v1/admin/tsdb/snapshot", &[]).await, 200, "\"name\":\"20261121T");
}

#[tokio::test]
async fn a_page_of_another_site_deletes_nothing() {
    let target = format!("{SERIES}?{UP}");
    for headers in [
        &[("origin", "https://evil.example"), ("host", "127.0.0.1:7070")][..],
        &[("origin", "null"), ("host", "127.0.0.1:7070")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
    ] {
        check(&ask("POST", &target, headers).await, 403, "another site");
        check(&ask("POST", "/api/v1/admin/tsdb/snapshot", headers).await, 403, "another site");
        let of_loki = "/loki/api/v1/delete?query=%7Ba%3D%22b%22%7D&start=1";
        check(&ask("POST", of_loki, headers).await, 403, "another site");
    }
    let own = [("origin", "http://127.0.0.1:7070"), ("host", "127.0.0.1:7070")];
    check(&ask("POST", &target, &own).await, 204, "");
    check(&ask("POST", &target, &[("sec-fetch-site", "same-origin")]).await, 204, "");
}

#[tokio::test]
async fn loki_deletes_lists_and_cancels() {
    let target = "/loki/api/v1/delete";
    let whole = format!("{target}?query=%7Bapp%3D%22fence%22%7D&start=1795215600&end=1795219200");
    check(&ask("POST", &whole, &[]).await, 204, "");
    check(&ask("PUT", &whole, &[]).await, 204, "");
    check(&ask("POST", &format!("{target}?start=1"), &[]).await, 400, "query not set");
    let no_start = format!("{target}?query=%7Bapp%3D%22fence%22%7D");
    check(&ask("POST", &no_start, &[]).await, 400, "start time not set");
    let backwards = format!("{no_start}&start=2&end=1");
    check(&ask("POST", &backwards, &[]).await, 400, "start time can't be greater than end time");

    let list = ask("GET", target, &[]).await;
    let list: serde_json::Value = serde_json::from_str(list.text()).unwrap();
    let expected = serde_json::json!([{
        "request_id": "7",
        "start_time": 1_795_215_600.0,
        "end_time": 1_795_219_200.0,
        "query": "{app=\"fence\"}",
        "status": "received",
        "created_at": 1_795_219_200.0,
    }]);
    assert_eq!(list, expected, "neither what was taken back nor what is of another signal");

    check(&ask("DELETE", &format!("{target}?request_id=7"), &[]).await, 204, "");
    for (id, status) in [("8", 404), ("9", 404), ("10", 404), ("x", 404)] {
        let answer = ask("DELETE", &format!("{target}?request_id={id}"), &[]).await;
        check(&answer, status, "");
    }
    check(&ask("DELETE", target, &[]).await, 400, "request_id not set");
}

#[tokio::test]
async fn receipts_say_who_what_when_and_how_far() {
    let target = "/api/v1/admin/deletions";
    let spans = format!("{target}?signal=spans&match%5B%5D=%7Btrace_id%3D%22a%22%7D&end=2");
    let made = ask("POST", &spans, &[]).await;
    check(&made, 200, "\"selectors\":[\"{trace_id=\\\"a\\\"}\"]");
    check(&made, 200, "\"start\":null,\"end\":\"1970-01-01T00:00:02");
    let lines = format!("{target}?signal=logs&query=%7Ba%3D%22b%22%7D");
    check(&ask("POST", &lines, &[]).await, 200, "\"signals\":[\"logs\"]");
    check(&ask("POST", &format!("{target}?signal=logs"), &[]).await, 400, "query");
    check(&ask("POST", &format!("{target}?signal=all"), &[]).await, 400, "metrics, logs, spans");
    check(&ask("POST", target, &[]).await, 400, "signal");

    let one = ask("GET", "/api/v1/admin/deletions/7", &[]).await;
    check(&one, 200, "\"status\":\"hidden\",\"by\":\"admin\",\"at\":\"2026-11-21T00:00:00");
    check(&ask("GET", target, &[]).await, 200, "\"status\":\"cancelled\"");
    check(&ask("GET", "/api/v1/admin/deletions/70", &[]).await, 404, "no deletion `70`");
    check(&ask("DELETE", "/api/v1/admin/deletions/7", &[]).await, 200, "\"status\":\"cancelled\"");
    check(&ask("DELETE", "/api/v1/admin/deletions/9", &[]).await, 422, "taken back");
}
