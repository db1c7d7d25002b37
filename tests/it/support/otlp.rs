//! OTLP requests, over HTTP and as bare gRPC calls.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

use super::http::Request;

/// Returns an attribute with a string value.
pub(crate) fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(text(value)), ..KeyValue::default() }
}

/// Returns a string value.
pub(crate) fn text(value: &str) -> AnyValue {
    AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) }
}

/// Returns a resource with string attributes.
pub(crate) fn resource(attributes: &[(&str, &str)]) -> Resource {
    let attributes = attributes.iter().map(|(key, value)| attribute(key, value)).collect();
    Resource { attributes, ..Resource::default() }
}

/// Returns a request with log records of one resource.
pub(crate) fn logs(resource: Resource, log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let logs = ResourceLogs { resource: Some(resource), scope_logs, ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![logs] }
}

/// Returns a request with spans of one resource.
pub(crate) fn spans(resource: Resource, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let spans = ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![spans] }
}

/// Returns a record with a body at a moment, ns since 1970 UTC.
pub(crate) fn record(at_ns: i64, body: &str) -> LogRecord {
    LogRecord {
        time_unix_nano: at_ns.unsigned_abs(),
        observed_time_unix_nano: at_ns.unsigned_abs(),
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(text(body)),
        ..LogRecord::default()
    }
}

/// Returns a span of one millisecond; the number makes its ids.
pub(crate) fn span(number: u64, start_ns: i64, name: &str) -> Span {
    let trace_id = (u128::from(number) | 1 << 100).to_be_bytes().to_vec();
    let span_id = (number | 1 << 60).to_be_bytes().to_vec();
    Span {
        trace_id,
        span_id,
        name: name.to_owned(),
        kind: 2,
        start_time_unix_nano: start_ns.unsigned_abs(),
        end_time_unix_nano: start_ns.unsigned_abs() + 1_000_000,
        ..Span::default()
    }
}

/// Returns the status of a span that failed.
pub(crate) fn failed() -> Status {
    Status { code: 2, ..Status::default() }
}

/// Returns an OTLP/HTTP request with a protobuf body.
pub(crate) fn post(path: &str, message: &impl Message) -> Request {
    post_raw(path, message.encode_to_vec())
}

/// Returns an OTLP/HTTP request with `body` just as it is.
pub(crate) fn post_raw(path: &str, body: Vec<u8>) -> Request {
    Request::post(path, body).header("Content-Type", "application/x-protobuf")
}

/// What a gRPC call came to.
#[derive(Debug, Clone)]
pub(crate) struct GrpcAnswer {
    pub(crate) code: Option<u32>,
    pub(crate) message: String,
    /// `google.rpc.Status` in base64, when there are details.
    pub(crate) details: Option<String>,
    pub(crate) body: Bytes,
}

/// Calls a gRPC method with one message just as it is; `encoding` is its `grpc-encoding`.
pub(crate) fn call(
    address: &str,
    method: &str,
    message: &[u8],
    encoding: Option<&str>,
) -> Result<GrpcAnswer, String> {
    let length = u32::try_from(message.len()).expect("test messages are small");
    let mut body = vec![u8::from(encoding.is_some())];
    body.extend(length.to_be_bytes());
    body.extend(message);
    let mut headers = vec![("content-type", "application/grpc"), ("te", "trailers")];
    headers.extend(encoding.map(|encoding| ("grpc-encoding", encoding)));
    let headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    call_bytes(address, method, &headers, body, Duration::from_secs(120))
}

/// Calls a gRPC method with a body just as it is, prefix included.
pub(crate) fn call_bytes(
    address: &str,
    method: &str,
    headers: &[(String, String)],
    body: Vec<u8>,
    deadline: Duration,
) -> Result<GrpcAnswer, String> {
    let mut request = http::Request::post(format!("http://{address}{method}"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(Bytes::from(body))).expect("the parts are valid");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        match tokio::time::timeout(deadline, exchange(address.to_owned(), request)).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("hang: nothing within {deadline:?}")),
        }
    })
}

async fn exchange(
    address: String,
    request: http::Request<Full<Bytes>>,
) -> Result<GrpcAnswer, Box<dyn std::error::Error>> {
    let stream = tokio::net::TcpStream::connect(&address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    commonwatch::base::tasks::spawn_detached(async move { drop(connection.await) });
    let response = sender.send_request(request).await?;
    let headers = response.headers().clone();
    let collected = response.into_body().collect().await?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let value = |name: &str| {
        let value = trailers.get(name).or_else(|| headers.get(name));
        value.and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    Ok(GrpcAnswer {
        code: value("grpc-status").and_then(|code| code.parse().ok()),
        message: value("grpc-message").unwrap_or_default(),
        details: value("grpc-status-details-bin"),
        body: collected.to_bytes(),
    })
}
