//! The handler: what senders get to see.

use axum::body::Body;
use axum::extract::Extension;
use axum::http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use prost::Message as _;
use tower::ServiceExt as _;

use super::super::proto::{request, series};
use super::super::router;
use crate::base::units::HumanSize;
use crate::ingest::tests::fake_store::{NOW_MS, Rig};
use crate::model::{Grant, WriteScope};
use crate::storage::AppendError;

fn snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

/// A request of two samples, the second `second_ms` from now.
fn two_samples(second_ms: i64) -> Vec<u8> {
    let one = |time_ms| series(&[("__name__", "up"), ("job", "a")], &[(time_ms, 1.0)]);
    snappy(&request(vec![one(NOW_MS), one(NOW_MS + second_ms)]).encode_to_vec())
}

fn post(body: Vec<u8>) -> Request<Body> {
    Request::post("/api/v1/write")
        .header(header::CONTENT_TYPE, "application/x-protobuf")
        .header(header::CONTENT_ENCODING, "snappy")
        .header("X-Prometheus-Remote-Write-Version", "0.1.0")
        .body(Body::from(body))
        .unwrap()
}

async fn send_as(rig: &Rig, grant: Grant, request: Request<Body>) -> Response<Body> {
    let app = router(rig.ingest.clone()).layer(Extension(grant));
    app.oneshot(request).await.unwrap()
}

async fn send(rig: &Rig, request: Request<Body>) -> (StatusCode, String, Option<String>) {
    let response = send_as(rig, Grant::open(), request).await;
    let status = response.status();
    let retry_after = response.headers().get(header::RETRY_AFTER);
    let retry_after = retry_after.map(|value| value.to_str().unwrap().to_owned());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap(), retry_after)
}

const LANE: &str = r#"signal="metrics",protocol="remote_write""#;

/// The equation of the own metrics: received, stored, refused for `reason`.
fn books(rig: &Rig, reason: &str) -> (u64, u64, u64) {
    let items = |what: &str| format!("commonwatch_ingest_{what}_items_total{{{LANE}");
    (
        rig.metric(&format!("{}}}", items("received"))),
        rig.metric(&format!("{}}}", items("stored"))),
        rig.metric(&format!("{},reason=\"{reason}\"}}", items("refused"))),
    )
}

fn n_requests(rig: &Rig, outcome: &str) -> u64 {
    rig.metric(&format!("commonwatch_ingest_requests_total{{{LANE},outcome=\"{outcome}\"}}"))
}

#[tokio::test]
async fn what_is_stored_is_answered_with_204_and_nothing() {
    let rig = Rig::new();

    let answer = send(&rig, post(two_samples(1))).await;

    assert_eq!(answer, (StatusCode::NO_CONTENT, String::new(), None));
    assert_eq!(books(&rig, "future"), (2, 2, 0));
    assert_eq!((n_requests(&rig, "stored"), rig.store.n_appends()), (1, 1));
    assert_eq!(rig.ingest.admit.in_flight_bytes(), 0);
}

#[tokio::test]
async fn sending_the_same_again_succeeds() {
    let rig = Rig::new();

    let first = send(&rig, post(two_samples(1))).await;

    assert_eq!(send(&rig, post(two_samples(1))).await, first);
}

#[tokio::test]
async fn an_empty_request_is_stored() {
    let rig = Rig::new();

    let (status, ..) = send(&rig, post(snappy(b""))).await;

    assert_eq!((status, rig.store.n_appends()), (StatusCode::NO_CONTENT, 0));
}

#[tokio::test]
async fn some_bad_samples_are_a_400_and_the_good_ones_stored() {
    let rig = Rig::new();

    let (status, text, retry_after) = send(&rig, post(two_samples(3_600_000))).await;

    assert_eq!((status, retry_after), (StatusCode::BAD_REQUEST, None));
    let want = "1 of 2 samples refused (future 1); the first: up{job=\"a\"}: timestamp 1800003600000 ms is further ahead of the server's clock than limits.future";
    assert_eq!(text, want);
    assert_eq!(books(&rig, "future"), (2, 1, 1));
    assert_eq!((n_requests(&rig, "partial"), rig.store.samples().len()), (1, 1));
}

#[tokio::test]
async fn a_full_commons_is_a_400_with_the_number_refused_and_the_known_stored() {
    let rig = Rig::new();
    send(&rig, post(two_samples(1))).await;
    rig.store.limit_series(1);
    let one = |n: i64| {
        let (name, n_text) = (if n == 0 { "up" } else { "down" }, n.to_string());
        let labels = [("__name__", name), ("job", "a"), ("n", if n == 0 { "" } else { &n_text })];
        let n_labels = if n == 0 { 2 } else { 3 };
        series(&labels[..n_labels], &[(NOW_MS + 2, 1.0)])
    };
    let body = snappy(&request((0..4).map(one).collect()).encode_to_vec());

    for n_sent in 1..4 {
        let (status, text, retry_after) = send(&rig, post(body.clone())).await;

        // A 4xx without Retry-After: senders drop what was refused and go on.
        assert_eq!((status, retry_after), (StatusCode::BAD_REQUEST, None));
        assert!(text.starts_with("3 of 4 samples refused (series_limit 3); the first: "), "{text}");
        assert!(text.contains("raise limits.series_per_commons"), "{text}");
        assert_eq!(books(&rig, "series_limit"), (2 + 4 * n_sent, 2 + n_sent, 3 * n_sent));
    }
    assert_eq!(rig.store.n_registered(), 2 + 3, "each of them was asked about once");
}

#[tokio::test]
async fn what_policy_drops_is_no_fault_of_the_sender() {
    let rig = Rig::new();
    let one = series(&[("__name__", "gen3_fence_login_total"), ("idp", "all")], &[(NOW_MS, 1.0)]);

    let (status, ..) = send(&rig, post(snappy(&request(vec![one]).encode_to_vec()))).await;

    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(books(&rig, "idp_all"), (1, 0, 1));
}

/// Sends a bad request: it is refused with these words, nothing is stored, nothing stays reserved.
async fn check_refused(rig: &Rig, request: Request<Body>, status: u16, reason: &str, words: &str) {
    let (got, text, retry_after) = send(rig, request).await;

    assert_eq!((got.as_u16(), retry_after), (status, None), "{text}");
    assert!(text.contains(words), "`{words}` in: {text}");
    let counter = format!("refused_requests_total{{{LANE},reason=\"{reason}\"}}");
    assert_eq!(rig.metric(&format!("commonwatch_ingest_{counter}")), 1);
    assert_eq!((rig.store.n_appends(), rig.ingest.admit.in_flight_bytes()), (0, 0));
}

#[tokio::test]
async fn bodies_that_are_no_request_are_refused_for_good() {
    let check = async |body: Vec<u8>, reason: &str, words: &str| {
        check_refused(&Rig::new(), post(body), 400, reason, words).await;
    };
    check(b"\xff\x06\x00\x00sNaPpY rest".to_vec(), "encoding", "framed format").await;
    check(vec![], "encoding", "not valid snappy").await;
    check(b"hello".to_vec(), "encoding", "not valid snappy").await;
    check(snappy(b"hello"), "protobuf", "not a valid protobuf message").await;
    check(snappy(&[0x0a, 0x05, 0x01]), "protobuf", "ends inside a field at byte 2").await;
    check(snappy(&[0x0a, 0x00, 0x7b]), "protobuf", "unsupported wire type at byte 3").await;
    check(snappy(&[0x08, 0x01]), "protobuf", "wire type other than its own").await;
}

#[tokio::test]
async fn a_body_cut_anywhere_is_refused_and_nothing_panics() {
    let body = two_samples(1);
    for n_bytes in 0..body.len() {
        check_refused(&Rig::new(), post(body[..n_bytes].to_vec()), 400, "encoding", "snappy").await;
    }
}

#[tokio::test]
async fn other_schemas_and_encodings_are_415() {
    let with = |name: header::HeaderName, value: &str| {
        let mut request = post(two_samples(1));
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let v3 = "application/x-protobuf;proto=io.prometheus.write.v3.Request";
    let request = with(header::CONTENT_TYPE, v3);
    check_refused(&Rig::new(), request, 415, "unsupported_type", "prometheus.WriteRequest").await;
    let request = with(header::CONTENT_ENCODING, "gzip");
    check_refused(&Rig::new(), request, 415, "unsupported_encoding", "send snappy").await;
}

#[tokio::test]
async fn bodies_past_a_limit_are_413() {
    let rig = Rig::with(|limits| limits.body_encoded = HumanSize(10));
    check_refused(&rig, post(two_samples(1)), 413, "body_encoded", "limits.body_encoded").await;
    let rig = Rig::with(|limits| limits.body_decoded = HumanSize(10));
    check_refused(&rig, post(two_samples(1)), 413, "body_decoded", "limits.body_decoded").await;
    let rig = Rig::with(|limits| limits.records_per_request = 1);
    let reason = "records_per_request";
    check_refused(&rig, post(two_samples(1)), 413, reason, "limits.records_per_request").await;
}

#[tokio::test]
async fn a_bomb_is_refused() {
    let bomb = snappy(&[0x0a, 0x00].repeat(15 << 20));

    let reason = "records_per_request";
    check_refused(&Rig::new(), post(bomb), 413, reason, "more than 100000").await;
}

#[tokio::test]
async fn a_reader_may_not_write() {
    let rig = Rig::new();
    let grant = Grant { name: "grafana".into(), write: WriteScope::Nothing, ..Grant::open() };

    let response = send_as(&rig, grant, post(two_samples(1))).await;

    assert_eq!((response.status(), rig.store.n_appends()), (StatusCode::FORBIDDEN, 0));
}

/// Storage refuses once: the sender is told to come back, and coming back succeeds.
async fn check_deferred(error: AppendError, status: u16, retry_after: &str, reason: &str) {
    let rig = Rig::new();
    rig.store.refuse_next(error);

    let (got, text, got_retry) = send(&rig, post(two_samples(1))).await;

    assert_eq!((got.as_u16(), got_retry.as_deref()), (status, Some(retry_after)), "{text}");
    assert_eq!(books(&rig, reason), (2, 0, 2));
    assert_eq!(n_requests(&rig, "deferred"), 1);
    assert_eq!(rig.ingest.admit.in_flight_bytes(), 0);
    assert_eq!(send(&rig, post(two_samples(1))).await.0, StatusCode::NO_CONTENT);
    assert_eq!(books(&rig, reason), (4, 2, 2));
}

#[tokio::test]
async fn what_passes_is_told_to_come_back() {
    let full = AppendError::Overloaded { used_bytes: 2, max_bytes: 1, retry_after_s: 7 };
    check_deferred(full, 429, "7", "overloaded").await;
    check_deferred(AppendError::DiskFull, 503, "5", "unavailable").await;
    check_deferred(AppendError::Stopping, 503, "5", "unavailable").await;
}

#[tokio::test]
async fn too_many_bytes_in_flight_are_429() {
    let rig = Rig::with(|limits| limits.bytes_in_flight = HumanSize(50));

    let (status, text, retry_after) = send(&rig, post(two_samples(1))).await;

    assert_eq!((status.as_u16(), retry_after.as_deref()), (429, Some("1")));
    assert!(text.contains("limits.bytes_in_flight"), "{text}");
    assert_eq!(rig.ingest.admit.in_flight_bytes(), 0);
}

#[tokio::test]
async fn a_series_retired_half_way_is_registered_again() {
    let rig = Rig::new();
    send(&rig, post(two_samples(1))).await;
    rig.store.refuse_next(AppendError::SeriesRetired);

    let (status, ..) = send(&rig, post(two_samples(2))).await;

    assert_eq!((status, rig.store.samples().len()), (StatusCode::NO_CONTENT, 4));
    assert_eq!(books(&rig, "unavailable"), (4, 4, 0), "the second try is not counted twice");
}

#[tokio::test]
async fn a_chunked_body_is_taken() {
    let rig = Rig::new();
    let pieces: Vec<Vec<u8>> = two_samples(1).chunks(7).map(<[u8]>::to_vec).collect();
    let stream = futures::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
    let request = Request::post("/api/v1/write").body(Body::from_stream(stream)).unwrap();

    assert_eq!(send(&rig, request).await.0, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_large_body_is_decoded_elsewhere_and_stored_all_the_same() {
    let rig = Rig::new();
    let text = "x".repeat(200);
    let one = |idx: i64| {
        let id = idx.to_string();
        series(&[("__name__", "up"), ("id", &id), ("text", &text)], &[(NOW_MS + idx, 1.0)])
    };
    let body = request((0..15_000).map(one).collect()).encode_to_vec();
    assert!(body.len() > 3 << 20);

    let (status, text, _) = send(&rig, post(snappy(&body))).await;

    assert_eq!((status, rig.store.samples().len()), (StatusCode::NO_CONTENT, 15_000), "{text}");
}
