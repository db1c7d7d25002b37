//! OTLP log records of some 350 bytes, as services that use an SDK send them: nine attributes and a
//! trace context. No two are alike, and nothing comes back in an order: what is stored of them is
//! what distinct records take.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use crate::load::mix::{mix, pick};
use crate::load::records::{attribute, text};

/// Records in a request.
pub(super) const PER_REQUEST: u64 = 1_000;

/// Returns the body of a request whose records are ms apart and end at a time, ns since 1970 UTC.
pub(super) fn request(number: u64, n_requests: u64, end_ns: u64) -> Vec<u8> {
    let first = number * PER_REQUEST;
    let behind = n_requests * PER_REQUEST;
    let records = first..first + PER_REQUEST;
    let time_ns = |n: u64| end_ns - (behind - n) * 1_000_000 + mix(n ^ 1 << 59) % 1_000_000;
    let log_records = records.map(|n| record(n, time_ns(n))).collect();
    let service = pick(&["fence", "indexd", "sheepdog", "guppy", "peregrine"], mix(number));
    let resource = Some(Resource {
        attributes: vec![
            attribute("service.name", service),
            attribute("service.instance.id", &format!("{service}-{}", number % 16)),
            attribute("hostname", "commons-01.data.example"),
        ],
        ..Resource::default()
    });
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let logs = ResourceLogs { resource, scope_logs, ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![logs] }.encode_to_vec()
}

fn record(n: u64, time_ns: u64) -> LogRecord {
    let dice = |k: u64| mix(n << 4 | k);
    let verb = pick(&["GET", "GET", "GET", "POST", "PUT"], dice(0));
    let path = pick(&["/user/data/download/", "/index/index/", "/api/v0/submission/"], dice(1));
    let status = pick(&["200", "200", "200", "200", "302", "404", "500"], dice(2));
    let (digits, ms) = (dice(3) % 1_000_000_000_000, dice(4) % 900);
    let trace = n / 8;
    LogRecord {
        time_unix_nano: time_ns,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(text(&format!("{verb} {path}dg.{digits:012} HTTP/1.1 {status} in {ms} ms"))),
        attributes: vec![
            attribute("http.method", verb),
            attribute("http.status_code", status),
            attribute("http.route", path),
            attribute("client.kind", pick(&["browser", "cli", "bot"], dice(5))),
            attribute("logger", pick(&["fence", "indexd", "sheepdog"], dice(6))),
            attribute("worker", &(dice(7) % 16).to_string()),
            attribute("user_agent.name", pick(&["gen3-client", "firefox", "curl"], dice(9))),
            attribute("server.address", "commons-01.data.example"),
            attribute("network.protocol.version", "1.1"),
        ],
        trace_id: [mix(trace) | 1, mix(!trace) | 1].map(u64::to_le_bytes).concat(),
        span_id: (dice(8) | 1).to_le_bytes().to_vec(),
        ..LogRecord::default()
    }
}
