//! Access-log lines as Gen3's reverse proxy writes them: each its own ids, all from one seed.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use crate::load::mix::{mix, pick};
use crate::load::records::{attribute, text};

/// Records in a request.
pub(super) const PER_REQUEST: u64 = 1_000;
/// The services, which take turns from request to request.
pub(super) const SERVICES: [&str; 5] = ["fence", "indexd", "guppy", "sheepdog", "portal"];
/// Visitors, each with an address and a session of its own.
const VISITORS: u64 = 20_000;

/// All lines: how many, and the times of the first and the one behind the last, ns since 1970 UTC.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines {
    pub(super) n: u64,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
}

impl Lines {
    /// Returns when a line was written.
    pub(super) fn time_ns(&self, n: u64) -> u64 {
        self.start_ns + (self.end_ns - self.start_ns) / self.n.max(1) * n
    }

    /// Returns how many requests hold them all.
    pub(super) fn n_requests(&self) -> u64 {
        self.n / PER_REQUEST
    }

    /// Returns the lines of a request, and its body.
    pub(super) fn request(&self, number: u64) -> (Vec<String>, Vec<u8>) {
        let first = number * PER_REQUEST;
        let numbers = first..first + PER_REQUEST;
        let lines: Vec<String> = numbers.clone().map(|n| self.line(n)).collect();
        let log_records = numbers.zip(&lines).map(|(n, line)| LogRecord {
            time_unix_nano: self.time_ns(n),
            body: Some(text(line)),
            ..LogRecord::default()
        });
        let scope_logs =
            vec![ScopeLogs { log_records: log_records.collect(), ..ScopeLogs::default() }];
        let resource = Some(Resource {
            attributes: vec![
                attribute("service.name", service(number)),
                attribute("hostname", "commons-01.data.example"),
                attribute("k8s.pod.name", &format!("{}-deployment-1", service(number))),
            ],
            ..Resource::default()
        });
        let logs = ResourceLogs { resource, scope_logs, ..ResourceLogs::default() };
        (lines, ExportLogsServiceRequest { resource_logs: vec![logs] }.encode_to_vec())
    }

    fn line(&self, n: u64) -> String {
        let dice = |k: u64| mix(n << 8 | k);
        let visitor = dice(0) % VISITORS;
        let time_ms = self.time_ns(n) / 1_000_000;
        let verb = pick(&["GET", "GET", "GET", "GET", "POST", "PUT"], dice(1));
        let status =
            pick(&["200", "200", "200", "200", "200", "302", "401", "404", "500"], dice(2));
        let service = service(n / PER_REQUEST);
        let path = match dice(3) % 4 {
            0 => format!("/user/data/download/dg.4503/{}", guid(n)),
            1 => format!("/index/index/{}", guid(n)),
            2 => "/api/v0/submission/graphql".to_owned(),
            _ => format!("/ga4gh/drs/v1/objects/dg.4503/{}/access/s3", guid(n)),
        };
        let agent = pick(
            &[
                "python-requests/2.32.3",
                "Mozilla/5.0 (X11; Linux x86_64)",
                "gen3-client/1.0",
                "curl/8.5.0",
            ],
            visitor,
        );
        format!(
            r#"{{"gen3log": "nginx", "date_access": "{}", "user_id": "uid:{visitor},user{visitor}@example.org", "request_id": "{}", "session_id": "{:016x}", "visitor_id": "{:016x}", "network_client_ip": "{}.{}.{}.{}", "network_bytes_write": {}, "response_secs": {}.{:03}, "http_status_code": {status}, "http_request": "{path}", "http_verb": "{verb}", "http_referer": "-", "http_useragent": "{agent}", "http_upstream": "http://{service}-service.default.svc.cluster.local", "proxy_service": "{service}", "message": "{verb} {path} HTTP/1.1"}}"#,
            date(time_ms),
            request_id(n),
            mix((visitor << 20) | (dice(4) % 4)),
            mix(visitor | 1 << 50),
            10 + mix(visitor) % 200,
            mix(visitor + 1) % 256,
            mix(visitor + 2) % 256,
            mix(visitor + 3) % 256,
            dice(5) % 200_000,
            dice(6) % 3,
            dice(7) % 1_000,
        )
    }
}

fn service(request: u64) -> &'static str {
    pick(&SERVICES, request)
}

/// Returns the id that stands in one line and no other.
pub(super) fn request_id(n: u64) -> String {
    format!("{:016x}{:016x}", mix(n), mix(!n))
}

fn guid(n: u64) -> String {
    let (a, b) = (mix(n ^ 1 << 60), mix(n ^ 1 << 61));
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xffff,
        b >> 48,
        b & 0xffff_ffff_ffff
    )
}

fn date(time_ms: u64) -> String {
    let ms = i64::try_from(time_ms).expect("of this century");
    let time = chrono::DateTime::from_timestamp_millis(ms).expect("of this century");
    time.format("%Y-%m-%dT%H:%M:%S%.3f+00:00").to_string()
}
