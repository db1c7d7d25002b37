use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::{Request, StatusCode};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message as _;

use super::over_http::{Answer, open, send};
use super::*;
use crate::base::units::HumanSize;
use crate::ingest::otlp::reply::{RETRY_INFO, RetryInfo, RpcStatus};
use crate::storage::AppendError;

const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut body = vec![flag];
    body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend(message);
    body
}

async fn call(rig: &Rig, path: &str, encoding: &str, body: Vec<u8>) -> Answer {
    let request = Request::post(path)
        .header("content-type", "application/grpc+proto")
        .header("grpc-encoding", encoding)
        .header("te", "trailers")
        .body(Body::from(body))
        .unwrap();
    send(open(rig), request).await
}

fn good_logs() -> Vec<u8> {
    logs::request(vec![logs::record("hello")]).encode_to_vec()
}

#[tokio::test]
async fn a_call_is_answered_with_a_message_and_a_status() {
    let rig = Rig::new();

    let answer = call(&rig, LOGS, "identity", framed(0, &good_logs())).await;

    assert_eq!(
        (answer.status, answer.header("content-type")),
        (StatusCode::OK, "application/grpc")
    );
    assert_eq!(answer.body, [0, 0, 0, 0, 0], "an empty message");
    assert_eq!(answer.trailers["grpc-status"], "0");
    assert_eq!(rig.store.n_appends(), 1);
}

#[tokio::test]
async fn every_service_is_there() {
    let rig = Rig::new();
    for service in ["logs.v1.LogsService", "trace.v1.TraceService", "metrics.v1.MetricsService"] {
        let path = format!("/opentelemetry.proto.collector.{service}/Export");
        let answer = call(&rig, &path, "identity", framed(0, b"")).await;
        assert_eq!(answer.trailers["grpc-status"], "0", "{service}");
    }
}

#[tokio::test]
async fn compressed_messages_are_taken() {
    use std::io::Write as _;
    let rig = Rig::new();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&good_logs()).unwrap();
    let zstd = zstd::stream::encode_all(&good_logs()[..], 3).unwrap();

    for (encoding, message) in [("gzip", gzip.finish().unwrap()), ("zstd", zstd)] {
        let answer = call(&rig, LOGS, encoding, framed(1, &message)).await;
        assert_eq!(answer.trailers["grpc-status"], "0", "{encoding}");
    }
    // With an encoding agreed on, a single message may still be plain.
    let answer = call(&rig, LOGS, "gzip", framed(0, &good_logs())).await;
    assert_eq!(answer.trailers["grpc-status"], "0");
    assert_eq!(rig.store.n_appends(), 3);
}

#[tokio::test]
async fn a_call_that_comes_again_is_stored_once() {
    let rig = Rig::new();
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let call_again = || {
        let message = spans::request(vec![spans::span()]).encode_to_vec();
        call(&rig, path, "identity", framed(0, &message))
    };

    assert_eq!(call_again().await.trailers["grpc-status"], "0");
    assert_eq!(call_again().await.trailers["grpc-status"], "0");

    assert_eq!(rig.store.n_appends(), 1);
}

#[tokio::test]
async fn partial_success_is_in_the_message() {
    let late = opentelemetry_proto::tonic::logs::v1::LogRecord {
        time_unix_nano: u64::MAX,
        ..logs::record("ahead")
    };
    let body = logs::request(vec![late]).encode_to_vec();

    let answer = call(&Rig::new(), LOGS, "identity", framed(0, &body)).await;

    let response = ExportLogsServiceResponse::decode(&answer.body[5..]).unwrap();
    assert_eq!(response.partial_success.unwrap().rejected_log_records, 1);
    assert_eq!(answer.trailers["grpc-status"], "0");
}

#[track_caller]
fn check_status(answer: &Answer, code: &str, message: &str) {
    assert_eq!((answer.status, answer.header("grpc-status")), (StatusCode::OK, code));
    let got = answer.header("grpc-message").replace("%20", " ");
    assert!(got.contains(message), "{got}");
    assert_eq!(answer.body, b"", "an error is headers alone");
}

#[tokio::test]
async fn bad_data_is_an_invalid_argument() {
    let rig = Rig::new();
    for (body, message) in [
        (framed(0, b"\x01\x02"), "not a valid protobuf message"),
        (framed(2, b""), "the compressed flag is 2"),
        (framed(1, b"x"), "there is no grpc-encoding"),
        (b"\0\0".to_vec(), "the call has 2 bytes"),
        (vec![], "the call has 0 bytes"),
        (framed(0, b"")[..4].to_vec(), "the call has 4 bytes"),
        ([framed(0, b""), framed(0, b"")].concat(), "should have 0 bytes, and 5 came"),
        (vec![0, 0xff, 0xff, 0xff, 0xff], "should have 4294967295 bytes"),
    ] {
        check_status(&call(&rig, LOGS, "identity", body).await, "3", message);
    }
    check_status(&call(&rig, LOGS, "gzip", framed(1, b"no gzip")).await, "3", "not valid gzip");
}

#[tokio::test]
async fn an_unknown_compression_is_unimplemented() {
    let answer = call(&Rig::new(), LOGS, "br", framed(1, &good_logs())).await;

    check_status(&answer, "12", "br");
    assert_eq!(answer.header("grpc-accept-encoding"), "gzip,zstd,deflate,identity");
}

#[tokio::test]
async fn overload_says_when_to_come_back() {
    let rig = Rig::new();
    let error = AppendError::Overloaded { used_bytes: 2, max_bytes: 1, retry_after_s: 7 };
    rig.store.refuse_next(error);

    let answer = call(&rig, LOGS, "identity", framed(0, &good_logs())).await;

    check_status(&answer, "8", "retry in 7 s");
    let details = STANDARD_NO_PAD.decode(answer.header("grpc-status-details-bin")).unwrap();
    let status = RpcStatus::decode(&details[..]).unwrap();
    assert_eq!((status.code, status.details[0].type_url.as_str()), (8, RETRY_INFO));
    let retry_info = RetryInfo::decode(&status.details[0].value[..]).unwrap();
    assert_eq!(retry_info.retry_delay.unwrap().seconds, 7);
}

#[tokio::test]
async fn what_passes_is_unavailable_and_what_does_not_is_not() {
    let rig = Rig::with(|limits| limits.body_encoded = HumanSize(20));
    let answer = call(&rig, LOGS, "identity", framed(0, &good_logs())).await;
    check_status(&answer, "8", "limits.body_encoded");
    assert_eq!(answer.header("grpc-status-details-bin"), "", "without it nobody sends it again");

    let rig = Rig::new();
    rig.store.refuse_next(AppendError::DiskFull);
    let answer = call(&rig, LOGS, "identity", framed(0, &good_logs())).await;
    check_status(&answer, "14", "the disk is full");
    assert_ne!(answer.header("grpc-status-details-bin"), "");
}

#[tokio::test]
async fn no_credential_is_unauthenticated() {
    let request = Request::post(LOGS).header("content-type", "application/grpc");
    let request = request.body(Body::from(framed(0, &good_logs()))).unwrap();
    let answer = send(crate::ingest::otlp::router(Rig::new().ingest.clone()), request).await;
    check_status(&answer, "16", "no credential");
}

#[tokio::test]
async fn what_is_not_grpc_is_415() {
    let request = Request::post(LOGS).header("content-type", "application/json");
    let answer = send(open(&Rig::new()), request.body(Body::from("{}")).unwrap()).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}
