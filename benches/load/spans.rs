//! OTLP spans: 1,000 a request, eight of a trace, ten attributes each.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::Load;
use super::mix::{mix, pick};
use super::patch::{self, Content, Template, sentinel, sentinel_16, sentinel_digits};
use super::records::{self, PER_REQUEST, attribute, resource};

/// Returns a load of `n_requests`.
pub(crate) fn load(n_requests: u64) -> Load {
    records::load("/v1/traces", n_requests, template)
}

/// Returns the id of the trace that a span of the load is of, in hex.
pub(crate) fn trace_id(record: u64) -> String {
    patch::trace_id(record).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn template(number: u64) -> Template {
    let spans = (0..PER_REQUEST).map(|idx| span(number, idx)).collect();
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let spans =
        ResourceSpans { resource: Some(resource(number)), scope_spans, ..ResourceSpans::default() };
    let body = ExportTraceServiceRequest { resource_spans: vec![spans] }.encode_to_vec();
    // In the order of the fields' numbers on the wire.
    let contents = [
        Content::TraceId,
        Content::SpanId,
        Content::ParentId,
        Content::Time,
        Content::EndTime,
        Content::Digits,
    ];
    Template::new(body, PER_REQUEST, &contents)
}

fn span(template: u64, idx: u64) -> Span {
    let nature = mix(template << 32 | idx);
    let route = pick(&["/data/download/{id}", "/index/{id}", "/submission/{program}"], nature);
    let digits = sentinel_digits(idx);
    let parent = || sentinel(idx, Content::ParentId).to_le_bytes().to_vec();
    Span {
        trace_id: sentinel_16(idx, Content::TraceId),
        span_id: sentinel(idx, Content::SpanId).to_le_bytes().to_vec(),
        // One in eight begins its trace.
        parent_span_id: if idx.is_multiple_of(8) { Vec::new() } else { parent() },
        name: format!("GET {route}"),
        kind: 2,
        start_time_unix_nano: sentinel(idx, Content::Time),
        end_time_unix_nano: sentinel(idx, Content::EndTime),
        attributes: vec![
            attribute("url.path", &format!("/data/download/dg.{digits}")),
            attribute("http.request.method", "GET"),
            attribute(
                "http.response.status_code",
                pick(&["200", "200", "404", "500"], nature >> 8),
            ),
            attribute("http.route", route),
            attribute("server.address", "commons-01.data.example"),
            attribute("server.port", "443"),
            attribute("network.protocol.version", "1.1"),
            attribute("user_agent.name", pick(&["gen3-client", "firefox", "curl"], nature >> 16)),
            attribute("db.system", "postgresql"),
            attribute("thread.name", &format!("worker-{:02}", nature % 16)),
        ],
        ..Span::default()
    }
}
