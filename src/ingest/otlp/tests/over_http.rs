use std::io::Write as _;
use std::time::Duration;

use axum::body::Body;
use axum::{Extension, Router};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use tower::ServiceExt as _;

use super::*;
use crate::base::units::HumanSize;
use crate::ingest::otlp::reply::RpcStatus;
use crate::ingest::otlp::router;
use crate::model::WriteScope;
use crate::storage::AppendError;

pub(super) const PROTOBUF: &str = "application/x-protobuf";
pub(super) const JSON: &str = "application/json";

/// Returns the routes as anybody may use them.
pub(super) fn open(rig: &Rig) -> Router {
    router(rig.ingest.clone()).layer(Extension(Grant::open()))
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) trailers: HeaderMap,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn rpc_status(&self) -> RpcStatus {
        RpcStatus::decode(&self.body[..]).unwrap()
    }
}

pub(super) async fn send(router: Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    let body = body.to_bytes().to_vec();
    Answer { status: parts.status, headers: parts.headers, body, trailers }
}

async fn post(rig: &Rig, path: &str, content_type: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post(path).header("content-type", content_type).body(body.into());
    send(open(rig), request.unwrap()).await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn good_logs() -> Vec<u8> {
    logs::request(vec![logs::record("hello")]).encode_to_vec()
}

fn half_bad_logs() -> Vec<u8> {
    let late = opentelemetry_proto::tonic::logs::v1::LogRecord {
        time_unix_nano: u64::MAX,
        ..logs::record("ahead")
    };
    logs::request(vec![logs::record("hello"), late]).encode_to_vec()
}

#[tokio::test]
async fn every_path_stores() {
    let rig = Rig::new();
    let logs = |body| logs::request(vec![logs::record(body)]).encode_to_vec();
    let spans = |n| spans::request(vec![spans::span(); n]).encode_to_vec();
    let point = opentelemetry_proto::tonic::metrics::v1::NumberDataPoint {
        value: Some(opentelemetry_proto::tonic::metrics::v1::number_data_point::Value::AsInt(1)),
        ..Default::default()
    };
    let points = metrics::request(vec![metrics::gauge("up", vec![point])]).encode_to_vec();

    for (path, body) in [
        ("/v1/logs", logs("one")),
        ("/otlp/v1/logs", logs("other")),
        ("/v1/traces", spans(1)),
        ("/otlp/v1/traces", spans(2)),
        ("/v1/metrics", points.clone()),
        ("/otlp/v1/metrics", points.clone()),
        ("/api/v1/otlp/v1/metrics", points),
    ] {
        let answer = post(&rig, path, PROTOBUF, body).await;
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, PROTOBUF));
        assert_eq!(answer.body, b"", "an unset partial_success is no bytes: {path}");
    }
    // The gauge is described once.
    assert_eq!((rig.store.n_appends(), rig.store.others().len()), (7, 5));
    let stored = r#"commonwatch_ingest_stored_items_total{signal="logs",protocol="otlp_http"}"#;
    assert_eq!(rig.metric(stored), 2);
}

#[tokio::test]
async fn json_is_answered_in_json() {
    let rig = Rig::new();
    let text =
        r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]}"#;

    let answer = post(&rig, "/v1/logs", "application/json; charset=utf-8", text).await;

    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, JSON));
    assert_eq!(answer.body, b"{}");
    assert_eq!(rig.store.n_appends(), 1);
}

#[tokio::test]
async fn what_is_refused_is_told_and_the_rest_is_stored() {
    let rig = Rig::new();
    let want = "1 of 2 log records refused (future 1); the first: a timestamp is ";

    let answer = post(&rig, "/v1/logs", PROTOBUF, half_bad_logs()).await;

    assert_eq!(answer.status, StatusCode::OK);
    let partial = ExportLogsServiceResponse::decode(&answer.body[..]).unwrap().partial_success;
    let partial = partial.unwrap();
    assert_eq!(partial.rejected_log_records, 1);
    assert!(partial.error_message.starts_with(want), "{}", partial.error_message);
    assert_eq!(rig.store.n_appends(), 1);
}

/// Returns how many OTLP/HTTP requests of a signal ended so.
fn n_requests(rig: &Rig, signal: &str, outcome: &str) -> u64 {
    let labels = format!("signal=\"{signal}\",protocol=\"otlp_http\",outcome=\"{outcome}\"");
    rig.metric(&format!("commonwatch_ingest_requests_total{{{labels}}}"))
}

#[tokio::test]
async fn spans_that_come_again_are_stored_once() {
    let rig = Rig::new();
    let spans = spans::request(vec![spans::span()]).encode_to_vec();
    rig.store.refuse_next(AppendError::DiskFull);

    let first = post(&rig, "/v1/traces", PROTOBUF, spans.clone()).await;
    assert_eq!(first.status, StatusCode::SERVICE_UNAVAILABLE, "nothing was stored, nothing known");
    for _ in 0..3 {
        let answer = post(&rig, "/v1/traces", PROTOBUF, spans.clone()).await;
        assert_eq!((answer.status, answer.body), (StatusCode::OK, Vec::new()));
    }

    assert_eq!(rig.store.n_appends(), 1);
    assert_eq!(n_requests(&rig, "spans", "stored"), 1);
    assert_eq!(n_requests(&rig, "spans", "repeated"), 2);
}

#[tokio::test]
async fn a_request_whose_sender_breaks_off_is_stored_once_when_it_comes_again() {
    let rig = Rig::new();
    let spans = spans::request(vec![spans::span()]).encode_to_vec();
    let send = || post(&rig, "/v1/traces", PROTOBUF, spans.clone());
    let gate = rig.store.hold();

    let broken_off = tokio::time::timeout(Duration::from_millis(20), send()).await;
    // The first goes on by itself, and the second waits for it.
    let (again, ()) = tokio::join!(send(), async { gate.add_permits(1) });

    assert!(broken_off.is_err(), "it waits for the store");
    assert_eq!((again.status, rig.store.n_appends()), (StatusCode::OK, 1));
    assert_eq!(n_requests(&rig, "spans", "repeated"), 1);
}

#[tokio::test]
async fn records_with_times_that_come_again_are_stored_once_and_told_the_same() {
    let rig = Rig::new();

    let first = post(&rig, "/v1/logs", PROTOBUF, half_bad_logs()).await;
    let again = post(&rig, "/v1/logs", PROTOBUF, half_bad_logs()).await;

    assert_eq!((again.status, &again.body), (StatusCode::OK, &first.body));
    assert!(!first.body.is_empty(), "one of two was refused, and both times it is told");
    assert_eq!(rig.store.n_appends(), 1);
    assert_eq!(n_requests(&rig, "logs", "partial"), 1);
    assert_eq!(n_requests(&rig, "logs", "repeated"), 1);
}

#[tokio::test]
async fn records_without_times_are_others_each_time() {
    let rig = Rig::new();
    let untimed = opentelemetry_proto::tonic::logs::v1::LogRecord {
        time_unix_nano: 0,
        ..logs::record("starting")
    };
    let body = logs::request(vec![logs::record("hello"), untimed]).encode_to_vec();

    for _ in 0..2 {
        assert_eq!(post(&rig, "/v1/logs", PROTOBUF, body.clone()).await.status, StatusCode::OK);
    }

    assert_eq!(rig.store.n_appends(), 2);
}

#[tokio::test]
async fn points_of_new_series_in_a_full_commons_are_a_partial_success() {
    let rig = Rig::new();
    let request = |n_points: u32| {
        let points = (0..n_points).map(|n| metrics::number(1.0, &[("n", &n.to_string())]));
        metrics::request(vec![metrics::gauge("x", points.collect())]).encode_to_vec()
    };
    post(&rig, "/v1/metrics", PROTOBUF, request(1)).await;
    rig.store.limit_series(1);

    let answer = post(&rig, "/v1/metrics", PROTOBUF, request(3)).await;

    assert_eq!(answer.status, StatusCode::OK);
    let partial = ExportMetricsServiceResponse::decode(&answer.body[..]).unwrap().partial_success;
    let partial = partial.unwrap();
    assert_eq!(partial.rejected_data_points, 2);
    assert!(partial.error_message.contains("raise limits.series_per_commons"), "{partial:?}");
    assert_eq!(rig.store.n_appends(), 2);
}

#[tokio::test]
async fn partial_success_has_its_own_name_for_each_signal() {
    let rig = Rig::new();
    let bad_span = opentelemetry_proto::tonic::trace::v1::Span::default();
    let spans = spans::request(vec![bad_span]).encode_to_vec();
    let points = metrics::request(vec![metrics::gauge("x", vec![Default::default()])]);

    let answer = post(&rig, "/v1/traces", PROTOBUF, spans).await;
    let partial = ExportTraceServiceResponse::decode(&answer.body[..]).unwrap().partial_success;
    assert_eq!(partial.unwrap().rejected_spans, 1);

    let answer = post(&rig, "/v1/metrics", PROTOBUF, points.encode_to_vec()).await;
    let partial = ExportMetricsServiceResponse::decode(&answer.body[..]).unwrap().partial_success;
    assert_eq!(partial.unwrap().rejected_data_points, 1);

    let text = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{}]}]}]}"#;
    let answer = post(&rig, "/v1/traces", JSON, text).await;
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(json["partialSuccess"]["rejectedSpans"], "1");
    assert!(json["partialSuccess"]["errorMessage"].as_str().unwrap().contains("1 of 1 spans"));
}

#[tokio::test]
async fn empty_requests_succeed() {
    let rig = Rig::new();
    for path in ["/v1/logs", "/v1/traces", "/v1/metrics"] {
        assert_eq!(post(&rig, path, PROTOBUF, "").await.status, StatusCode::OK);
        assert_eq!(post(&rig, path, JSON, "{}").await.status, StatusCode::OK);
    }
    assert_eq!(rig.store.n_appends(), 0);
}

#[tokio::test]
async fn compressed_bodies_are_taken() {
    let rig = Rig::new();
    let zstd = zstd::stream::encode_all(&good_logs()[..], 3).unwrap();
    for (encoding, body) in [("gzip", gzip(&good_logs())), ("zstd", zstd)] {
        let request = Request::post("/v1/logs")
            .header("content-type", PROTOBUF)
            .header("content-encoding", encoding)
            .body(Body::from(body))
            .unwrap();
        assert_eq!(send(open(&rig), request).await.status, StatusCode::OK, "{encoding}");
    }
    assert_eq!(rig.store.n_appends(), 2);
}

#[tokio::test]
async fn bodies_that_say_nothing_are_400_in_the_requests_encoding() {
    let rig = Rig::new();

    let answer = post(&rig, "/v1/logs", PROTOBUF, "\u{1}\u{2}\u{3}").await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::BAD_REQUEST, PROTOBUF));
    assert_eq!(answer.rpc_status().code, 3);
    assert!(answer.rpc_status().message.starts_with("not a valid protobuf message"));

    let answer = post(&rig, "/v1/logs", JSON, r#"{"resourceLogs":7}"#).await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::BAD_REQUEST, JSON));
    let want = r#"{"code":3,"message":"resourceLogs: wanted an array (byte 16)"}"#;
    assert_eq!(String::from_utf8(answer.body).unwrap(), want);
}

#[tokio::test]
async fn other_content_is_415() {
    let rig = Rig::new();
    for content_type in ["text/plain", "application/grpc", ""] {
        let answer = post(&rig, "/v1/logs", content_type, good_logs()).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}");
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let message = json["message"].as_str().unwrap();
        assert!(message.contains("application/x-protobuf or application/json"), "{message}");
    }
    let request = Request::post("/v1/logs")
        .header("content-type", PROTOBUF)
        .header("content-encoding", "br")
        .body(Body::from(good_logs()))
        .unwrap();
    assert_eq!(send(open(&rig), request).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn bodies_that_are_too_large_are_413() {
    let rig = Rig::with(|limits| {
        limits.body_encoded = HumanSize(1_000);
        limits.body_decoded = HumanSize(2_000);
    });
    let many = logs::request(vec![logs::record(&"x".repeat(100)); 15]).encode_to_vec();

    let answer = post(&rig, "/v1/logs", PROTOBUF, many.clone()).await;
    assert_eq!((answer.status, answer.rpc_status().code), (StatusCode::PAYLOAD_TOO_LARGE, 8));
    let bomb = logs::request(vec![logs::record(&"x".repeat(100)); 30]).encode_to_vec();
    let request = Request::post("/v1/logs")
        .header("content-type", PROTOBUF)
        .header("content-encoding", "gzip")
        .body(Body::from(gzip(&bomb)))
        .unwrap();
    let answer = send(open(&rig), request).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.header("retry-after"), "");
}

#[tokio::test]
async fn what_passes_says_when_to_come_back() {
    let overloaded = AppendError::Overloaded { used_bytes: 2, max_bytes: 1, retry_after_s: 7 };
    for (error, status, retry_after) in [
        (overloaded, StatusCode::TOO_MANY_REQUESTS, "7"),
        (AppendError::DiskFull, StatusCode::SERVICE_UNAVAILABLE, "5"),
        (AppendError::Stopping, StatusCode::SERVICE_UNAVAILABLE, "5"),
    ] {
        let rig = Rig::new();
        rig.store.refuse_next(error);

        let answer = post(&rig, "/v1/logs", PROTOBUF, good_logs()).await;

        assert_eq!((answer.status, answer.header("retry-after")), (status, retry_after));
        assert!(!answer.rpc_status().message.is_empty());
    }
}

#[tokio::test]
async fn a_series_that_is_retired_meanwhile_is_registered_anew() {
    let rig = Rig::new();
    let point = opentelemetry_proto::tonic::metrics::v1::NumberDataPoint {
        value: Some(opentelemetry_proto::tonic::metrics::v1::number_data_point::Value::AsInt(1)),
        ..Default::default()
    };
    let points = metrics::request(vec![metrics::gauge("up", vec![point])]).encode_to_vec();
    rig.store.refuse_next(AppendError::SeriesRetired);

    let answer = post(&rig, "/v1/metrics", PROTOBUF, points).await;

    assert_eq!((answer.status, rig.store.n_registered()), (StatusCode::OK, 2));
}

#[tokio::test]
async fn who_may_not_write_is_told_so() {
    let rig = Rig::new();
    let request = || {
        let request = Request::post("/v1/logs").header("content-type", PROTOBUF);
        request.body(Body::from(good_logs())).unwrap()
    };

    let answer = send(router(rig.ingest.clone()), request()).await;
    assert_eq!((answer.status, answer.rpc_status().code), (StatusCode::UNAUTHORIZED, 16));

    let reader = Grant { write: WriteScope::Nothing, ..Grant::open() };
    let routes = router(rig.ingest.clone()).layer(Extension(reader));
    let answer = send(routes, request()).await;
    assert_eq!((answer.status, answer.rpc_status().code), (StatusCode::FORBIDDEN, 7));
    assert_eq!(rig.store.n_appends(), 0);
}
