//! Traces: the two shapes there are.
//!
//! Almost nothing in Gen3 is traced. The inference services are, and say no more of themselves than
//! `service.name` and `worker`, so nobody can tell which commons they are of. And one commons is
//! instrumented as it could be: the revproxy, fence, arborist and its database, each span placed,
//! the trace's id being the request's.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, status};

use super::catalogue::Site;
use super::dice::Dice;
use super::traffic::Request;

const KIND_SERVER: i32 = 2;
const KIND_CLIENT: i32 = 3;

/// A span that is being told, with where it sits in its parent.
struct Part<'a> {
    service: &'a str,
    name: String,
    kind: i32,
    /// Its stretch of the whole request, as shares of its duration.
    from: f64,
    to: f64,
    parent: Option<usize>,
}

/// Returns the trace of a request at an instrumented site; one in five is sampled.
pub(super) fn of_request(site: &Site, request: &Request, dice: &mut Dice) -> Vec<ResourceSpans> {
    let chain: &[&str] = match request.service {
        "fence" | "presigned-url-fence" => &["arborist", "postgres"],
        "guppy" => &["elasticsearch"],
        "metadata" | "indexd" => &["postgres"],
        _ => return Vec::new(),
    };
    if !dice.chance(0.2) {
        return Vec::new();
    }
    let path = request.path.split('?').next().unwrap_or("/");
    let part =
        |service, name, kind, from, to, parent| Part { service, name, kind, from, to, parent };
    let name = format!("{} {path}", request.verb);
    let mut parts = vec![
        part("revproxy", name.clone(), KIND_SERVER, 0.0, 1.0, None),
        part(request.service, name, KIND_SERVER, 0.02, 0.98, Some(0)),
    ];
    for (idx, service) in chain.iter().enumerate() {
        let from = 0.1 + 0.3 * f64::from(u8::try_from(idx).unwrap_or(0));
        let name = format!("call {service}");
        parts.push(part(service, name, KIND_CLIENT, from, from + 0.25, Some(1)));
    }
    spans(request, &parts, |service| placed(site, service), dice)
}

/// Returns a trace of an inference service, as its library sends it.
pub(super) fn of_inference(at_ns: i64, dice: &mut Dice) -> Vec<ResourceSpans> {
    let id = dice.hex32();
    let start = at_ns.unsigned_abs();
    let span = Span {
        trace_id: bytes(&id),
        span_id: dice.bits().max(1).to_be_bytes().to_vec(),
        name: "POST /v1/infer".to_owned(),
        kind: KIND_SERVER,
        start_time_unix_nano: start,
        end_time_unix_nano: start + 200_000_000 + dice.below(900_000_000),
        ..Span::default()
    };
    let worker = (30 + dice.below(4)).to_string();
    vec![resource_spans(&[("service.name", "gen3_inference"), ("worker", &worker)], vec![span])]
}

/// Puts resources into the request of OTLP.
pub(super) fn export(resource_spans: Vec<ResourceSpans>) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest { resource_spans }
}

fn spans<'a>(
    request: &Request,
    parts: &[Part<'a>],
    resource: impl Fn(&'a str) -> Vec<(&'static str, &'a str)>,
    dice: &mut Dice,
) -> Vec<ResourceSpans> {
    let ids: Vec<Vec<u8>> =
        parts.iter().map(|_| dice.bits().max(1).to_be_bytes().to_vec()).collect();
    let at = |share: f64| {
        let offset =
            std::time::Duration::from_secs_f64((request.duration_s * share).clamp(0.0, 1e4));
        request.at_ns.unsigned_abs() + u64::try_from(offset.as_nanos()).unwrap_or(0)
    };
    let whole = parts.iter().zip(&ids).map(|(part, id)| {
        let span = Span {
            trace_id: bytes(&request.id),
            span_id: id.clone(),
            parent_span_id: part.parent.map(|idx| ids[idx].clone()).unwrap_or_default(),
            name: part.name.clone(),
            kind: part.kind,
            start_time_unix_nano: at(part.from),
            end_time_unix_nano: at(part.to),
            ..ending(request)
        };
        resource_spans(&resource(part.service), vec![span])
    });
    whole.collect()
}

/// Returns what every span of a request says of how it went.
fn ending(request: &Request) -> Span {
    let failed = request.status >= 500;
    let code = if failed { status::StatusCode::Error } else { status::StatusCode::Unset };
    Span {
        attributes: vec![
            attribute("http.request.method", request.verb),
            attribute("http.response.status_code", &request.status.to_string()),
        ],
        status: Some(Status { code: code.into(), ..Status::default() }),
        ..Span::default()
    }
}

/// What an instrumented service says of itself.
fn placed<'a>(site: &Site, service: &'a str) -> Vec<(&'static str, &'a str)> {
    let (cluster, namespace) = (site.cluster, site.namespace);
    vec![
        ("service.name", service),
        ("k8s.cluster.name", cluster),
        ("k8s.namespace.name", namespace),
    ]
}

fn resource_spans(attributes: &[(&str, &str)], spans: Vec<Span>) -> ResourceSpans {
    let attributes = attributes.iter().map(|(key, value)| attribute(key, value)).collect();
    ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

/// Reads hexadecimal digits.
fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).filter_map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).ok()).collect()
}
