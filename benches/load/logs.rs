//! OTLP log records: 1,000 a request, six attributes and a trace context each.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;

use super::Load;
use super::mix::{mix, pick};
use super::patch::{Content, Template, sentinel, sentinel_16, sentinel_digits};
use super::records::{self, PER_REQUEST, attribute, resource, text};

/// Returns a load of `n_requests`.
pub(crate) fn load(n_requests: u64) -> Load {
    records::load("/v1/logs", n_requests, template)
}

fn template(number: u64) -> Template {
    let log_records = (0..PER_REQUEST).map(|idx| record(number, idx)).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let logs =
        ResourceLogs { resource: Some(resource(number)), scope_logs, ..ResourceLogs::default() };
    let body = ExportLogsServiceRequest { resource_logs: vec![logs] }.encode_to_vec();
    // In the order of the fields' numbers on the wire.
    let contents = [Content::Time, Content::Digits, Content::TraceId, Content::SpanId];
    Template::new(body, PER_REQUEST, &contents)
}

fn record(template: u64, idx: u64) -> LogRecord {
    let nature = mix(template << 32 | idx);
    let verb = pick(&["GET", "GET", "GET", "POST", "PUT"], nature);
    let path = pick(&["/user/data/download/", "/index/index/", "/api/v0/submission/"], nature >> 8);
    let status = pick(&["200", "200", "200", "200", "302", "404", "500"], nature >> 16);
    let digits = sentinel_digits(idx);
    LogRecord {
        time_unix_nano: sentinel(idx, Content::Time),
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(text(&format!(
            "{verb} {path}dg.{digits} HTTP/1.1 {status} in {} ms",
            nature % 900
        ))),
        attributes: vec![
            attribute("http.method", verb),
            attribute("http.status_code", status),
            attribute("http.route", path),
            attribute("client.kind", pick(&["browser", "cli", "bot"], nature >> 24)),
            attribute("logger", pick(&["fence", "indexd", "sheepdog"], nature >> 32)),
            attribute("worker", &(nature % 16).to_string()),
        ],
        trace_id: sentinel_16(idx, Content::TraceId),
        span_id: sentinel(idx, Content::SpanId).to_le_bytes().to_vec(),
        ..LogRecord::default()
    }
}
