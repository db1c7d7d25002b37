//! `traces/{id}` and `v2/traces/{id}`: one trace, in protobuf or JSON as `Accept` wants it.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header::{ACCEPT, HeaderValue};
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, TracesData};
use prost::Message as _;

use super::super::Api;
use super::super::error::{ApiError, answer};
use super::super::params::Params;
use super::super::received::InPath;
use super::PARTIAL;
use super::error::TempoError;
use super::otlp::resource_spans;
use super::otlp_json::{Object, push_resource_spans};
use super::params::{part, range_ns};
use crate::base::Kind;
use crate::model::Grant;
use crate::query::traceql::{Part, Trace};

const PROTOBUF: &str = "application/protobuf";
const TRACE_ID_DIGITS: usize = 32;
/// What Tempo says of a trace that a filter left spans out of.
const FILTERED: &str = "Trace filtered, only a subset of spans matching the filter is returned";

/// Tempo's `TraceByIDResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TraceByIdResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) trace: Option<TracesData>,
    #[prost(message, optional, tag = "2")]
    pub(super) metrics: Option<TraceByIdMetrics>,
    /// 0 complete, 1 partial.
    #[prost(int32, tag = "3")]
    pub(super) status: i32,
    #[prost(string, tag = "4")]
    pub(super) message: String,
}

/// Tempo's `TraceByIDMetrics`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(super) struct TraceByIdMetrics {
    #[prost(uint64, tag = "1")]
    pub(super) inspected_bytes: u64,
}

pub(super) async fn v1(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    InPath(id): InPath<String>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, TempoError> {
    let found = find(&api, &grant, &id, &params, None).await?;
    let wants_protobuf = wants_protobuf(&headers);
    write(found, wants_protobuf, move |spans, _, _| {
        if wants_protobuf {
            return TracesData { resource_spans: spans }.encode_to_vec();
        }
        // Where version 2 says `resourceSpans`, version 1 says `batches`.
        let mut out = String::from("{\"batches\":");
        push_resource_spans(&mut out, &spans);
        out.push('}');
        out.into_bytes()
    })
    .await
}

pub(super) async fn v2(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    InPath(id): InPath<String>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, TempoError> {
    let part = part(&params)?;
    let found = find(&api, &grant, &id, &params, part).await?;
    let wants_protobuf = wants_protobuf(&headers);
    write(found, wants_protobuf, move |spans, n_bytes, lacks| {
        let status = i32::from(!lacks.is_empty());
        if !wants_protobuf {
            return v2_json(&spans, n_bytes, &lacks).into_bytes();
        }
        TraceByIdResponse {
            trace: Some(TracesData { resource_spans: spans }),
            metrics: Some(TraceByIdMetrics { inspected_bytes: n_bytes }),
            status,
            message: lacks,
        }
        .encode_to_vec()
    })
    .await
}

fn v2_json(spans: &[ResourceSpans], n_bytes: u64, lacks: &str) -> String {
    let mut out = String::new();
    let mut object = Object::begin(&mut out);
    let mut trace = Object::begin(object.field("trace"));
    push_resource_spans(trace.field("resourceSpans"), spans);
    trace.end();
    let mut metrics = Object::begin(object.field("metrics"));
    metrics.long("inspectedBytes", n_bytes);
    metrics.end();
    if !lacks.is_empty() {
        object.text("status", "PARTIAL");
        object.text("message", lacks);
    }
    object.end();
    out
}

fn wants_protobuf(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains(PROTOBUF))
}

async fn find(
    api: &Api,
    grant: &Grant,
    id: &str,
    params: &Params,
    part: Option<Part>,
) -> Result<(Trace, Vec<String>), TempoError> {
    let id = trace_id(id)?;
    let range = range_ns(params)?.unwrap_or((i64::MIN, i64::MAX));
    let found = api.ask.trace(grant, &id, range, part).await?;
    // A filter may leave nothing of a trace that is there: after a 404 Grafana asks for all of it.
    if found.0.batches.is_empty() && !found.0.is_part {
        return Err(ApiError::new(Kind::NotFound, format!("trace {id} was not found")).into());
    }
    Ok(found)
}

/// Returns an id with the zeros that some clients leave off, in lower case. 16 digits are the half
/// that Zipkin's and Jaeger's older libraries send.
fn trace_id(text: &str) -> Result<String, TempoError> {
    let is_id = (1..=TRACE_ID_DIGITS).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id {
        return Err(TempoError::parameter(format!(
            "invalid trace id: wanted 1 to {TRACE_ID_DIGITS} hex digits, got {} bytes",
            text.len()
        )));
    }
    Ok(format!("{:0>TRACE_ID_DIGITS$}", text.to_ascii_lowercase()))
}

/// Writing a large trace takes longer than a task may hold its thread.
async fn write(
    (trace, mut lacks): (Trace, Vec<String>),
    is_protobuf: bool,
    encode: impl FnOnce(Vec<ResourceSpans>, u64, String) -> Vec<u8> + Send + 'static,
) -> Result<Response, TempoError> {
    lacks.extend(trace.partial.as_ref().map(|(message, _)| message.clone()));
    let partial = lacks.join("; ");
    let partial = HeaderValue::from_str(&partial).ok().filter(|_| !lacks.is_empty());
    // What was left out as it was asked is told like the rest, but nothing of the answer is missing.
    lacks.extend(trace.is_part.then(|| FILTERED.to_owned()));
    let lacks = lacks.join("; ");
    let written = tokio::task::spawn_blocking(move || {
        encode(resource_spans(&trace.batches), trace.n_bytes as u64, lacks)
    });
    let body = written.await.map_err(|_| {
        TempoError(ApiError::new(Kind::Internal, "writing the trace met a fault of the server's"))
    })?;
    let content_type = if is_protobuf { PROTOBUF } else { "application/json" };
    let mut response = answer(StatusCode::OK, content_type, Body::from(body));
    if let Some(partial) = partial {
        response.headers_mut().insert(PARTIAL, partial);
    }
    Ok(response)
}
