//! Single items that are wrong or strange: times, numbers, ids, names; and names of commons that
//! would be paths.

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;

use super::bytes::{fixed64, message, nested};
use super::case::{Case, Port, Want};
use super::seeds::{JSON, PROTOBUF};
use crate::bad_input::Dialect;
use crate::support::wait::{now_ms, now_ns};
use crate::support::{Request, loki, otlp, remote_write};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = samples();
    cases.extend(records());
    cases.extend(points());
    cases.extend(spans());
    cases.extend(json_items());
    cases.extend(labels());
    cases.extend(names_of_commons());
    cases
}

fn write(name: String, labels: &[(&str, &str)], sample: (i64, f64), want: Want) -> Case {
    let request = remote_write::write(vec![remote_write::series(labels, &[sample])]);
    Case::request(name, Port::Http, request, want)
}

const TEXT: Want = Want::Refused(&[400], Dialect::Text);

fn samples() -> Vec<Case> {
    const HOUR_MS: i64 = 3_600_000;
    let now = now_ms();
    let times = [
        ("the end of time", i64::MAX),
        ("before time", i64::MIN),
        ("0", 0),
        ("-1", -1),
        ("in ns", now.saturating_mul(1_000_000)),
        ("in s", now / 1_000),
        ("in an hour", now + HOUR_MS),
        ("91 days ago", now - 91 * 24 * HOUR_MS),
    ];
    let values = [
        ("NaN", f64::NAN),
        ("a NaN with a load", f64::from_bits(0x7ff8_dead_beef_0001)),
        ("stale", f64::from_bits(0x7ff0_0000_0000_0002)),
        ("infinity", f64::INFINITY),
        ("minus infinity", f64::NEG_INFINITY),
        ("-0", -0.0),
        ("the smallest number", f64::from_bits(1)),
        ("the largest number", f64::MAX),
    ];
    let named = |name: &'static str| [("__name__", name)];
    let late = times.map(|(name, ms)| {
        write(format!("sample: {name}"), &named("hostile_time"), (ms, 1.0), TEXT)
    });
    let strange = values.map(|(name, value)| {
        write(format!("sample: {name}"), &named("hostile_value"), (now, value), Want::Taken)
    });
    late.into_iter().chain(strange).collect()
}

fn log(name: &str, record: LogRecord) -> Case {
    let request = otlp::logs(otlp::resource(&[("service.name", "hostile")]), vec![record]);
    let request = otlp::post("/v1/logs", &request);
    Case::request(format!("record: {name}"), Port::OtlpHttp, request, Want::Taken)
}

/// A single bad record is told in `partial_success`, so the status is 200.
fn records() -> Vec<Case> {
    let right = || otlp::record(now_ns(), "hostile");
    let mut cases = Vec::new();
    for (name, ns) in
        [("the end of time", u64::MAX), ("2^63", 1 << 63), ("1", 1), ("in an hour", later_ns())]
    {
        cases.push(log(name, LogRecord { time_unix_nano: ns, ..right() }));
        let only_observed = LogRecord { time_unix_nano: 0, observed_time_unix_nano: ns, ..right() };
        cases.push(log(&format!("observed {name}"), only_observed));
    }
    cases.push(log(
        "no time at all",
        LogRecord { time_unix_nano: 0, observed_time_unix_nano: 0, ..right() },
    ));
    for n in [1, 7, 15, 17, 32, 1 << 20] {
        let record = LogRecord { trace_id: vec![7; n], ..right() };
        cases.push(log(&format!("a trace id of {n} bytes"), record));
    }
    for number in [-1, 25, i32::MAX, i32::MIN] {
        let record = LogRecord { severity_number: number, ..right() };
        cases.push(log(&format!("severity {number}"), record));
    }
    for (name, text) in TEXTS {
        cases.push(log(&format!("a body of {name}"), otlp::record(now_ns(), text)));
    }
    cases
}

fn later_ns() -> u64 {
    now_ns().unsigned_abs() + 3_600_000_000_000
}

const TEXTS: [(&str, &str); 8] = [
    ("NUL", "a\0b"),
    ("escapes of a terminal", "\u{1b}[31m\u{1b}]0;owned\u{7}"),
    ("line ends", "a\r\nINFO forged=1\n"),
    ("a right-to-left override", "\u{202e}evil"),
    ("script", "<script>alert(1)</script>"),
    ("a formula", "=cmd|' /C calc'!A0"),
    ("a template", "${jndi:ldap://a/b} {{ .Secret }} %s%n"),
    ("quotes", "'; DROP TABLE logs; --"),
];

/// One gauge point, by hand: (name, field of the value, bits), then its time.
fn points() -> Vec<Case> {
    let at = now_ns().unsigned_abs();
    let point = |name: &str, fields: Vec<u8>| {
        let metric = [message(1, "hostile_point"), message(5, message(1, fields))].concat();
        let request = Request::post("/v1/metrics", nested(metric, &[2, 2, 1]))
            .header("Content-Type", PROTOBUF);
        Case::request(format!("point: {name}"), Port::OtlpHttp, request, Want::Taken)
    };
    let valued = |value: f64| [fixed64(3, at), fixed64(4, value.to_bits())].concat();
    vec![
        point("NaN", valued(f64::NAN)),
        point("infinity", valued(f64::INFINITY)),
        point("no value", fixed64(3, at)),
        point("no time", fixed64(4, 1.0_f64.to_bits())),
        point("the end of time", [fixed64(3, u64::MAX), fixed64(4, 0)].concat()),
        point(
            "a start behind the end",
            [fixed64(2, at + 9), fixed64(3, at), fixed64(4, 0)].concat(),
        ),
        point("the smallest integer", [fixed64(3, at), fixed64(6, 1 << 63)].concat()),
        point("both values", [fixed64(3, at), fixed64(4, 0), fixed64(6, 7)].concat()),
        point("all flags", [fixed64(3, at), super::bytes::number(8, u64::MAX)].concat()),
    ]
}

fn spans() -> Vec<Case> {
    let right = || otlp::span(77, now_ns(), "hostile");
    let span = |name: &str, span: Span| {
        let request = otlp::spans(otlp::resource(&[("service.name", "hostile")]), vec![span]);
        let request = otlp::post("/v1/traces", &request);
        Case::request(format!("span: {name}"), Port::OtlpHttp, request, Want::Taken)
    };
    let mut cases = vec![
        span("it ends before it starts", Span { end_time_unix_nano: 1, ..right() }),
        span("it starts at the end of time", Span { start_time_unix_nano: u64::MAX, ..right() }),
        span("it ends at the end of time", Span { end_time_unix_nano: u64::MAX, ..right() }),
        span("it is its own parent", Span { parent_span_id: right().span_id, ..right() }),
        span("ids of zeros", Span { trace_id: vec![0; 16], span_id: vec![0; 8], ..right() }),
        span("kind 99", Span { kind: 99, ..right() }),
        span("a kind below 0", Span { kind: i32::MIN, ..right() }),
        span("no name", Span { name: String::new(), ..right() }),
    ];
    for n in [0, 1, 7, 9, 16, 1 << 20] {
        cases.push(span(&format!("an id of {n} bytes"), Span { span_id: vec![7; n], ..right() }));
        let parent = Span { parent_span_id: vec![7; n], ..right() };
        cases.push(span(&format!("a parent's id of {n} bytes"), parent));
    }
    cases
}

fn json_items() -> Vec<Case> {
    let mut cases = Vec::new();
    let times = [
        "\"\"",
        "\"-1\"",
        "-1",
        "1.5",
        "1e30",
        "\"1e9\"",
        "\"0x10\"",
        "null",
        "{}",
        "\" 1\"",
        "\"99999999999999999999999\"",
        "true",
    ];
    for time in times {
        let body = format!(
            "{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{{\"timeUnixNano\":{time}}}]}}]}}]}}"
        );
        let request = Request::post("/v1/logs", body).header("Content-Type", JSON);
        let want = Want::Either(Dialect::OtlpJson);
        cases.push(Case::request(
            format!("json record: a time of {time}"),
            Port::OtlpHttp,
            request,
            want,
        ));
        let body =
            format!("{{\"streams\":[{{\"stream\":{{\"a\":\"b\"}},\"values\":[[{time},\"l\"]]}}]}}");
        let request = Request::post("/loki/api/v1/push", body).header("Content-Type", JSON);
        let want = Want::Either(Dialect::Loki);
        cases.push(Case::request(
            format!("loki json: a time of {time}"),
            Port::Http,
            request,
            want,
        ));
    }
    cases
}

fn labels() -> Vec<Case> {
    let now = (now_ms(), 1.0);
    let mut cases = Vec::new();
    for (name, text) in TEXTS {
        let labels = [("__name__", "hostile_label"), ("label", text)];
        cases.push(write(format!("label: a value of {name}"), &labels, now, Want::Taken));
        let labels = [("__name__", "hostile_label"), (text, "v")];
        let either = Want::Either(Dialect::Text);
        cases.push(write(format!("label: a name of {name}"), &labels, now, either.clone()));
        cases.push(write(format!("label: a metric of {name}"), &[("__name__", text)], now, either));
    }
    let names: Vec<String> = (0..41).map(|n| format!("l{n:02}")).collect();
    let mut many = vec![("__name__", "hostile_label")];
    many.extend(names.iter().map(|name| (name.as_str(), "v")));
    cases.push(write("label: 42 of them".into(), &many, now, TEXT));
    cases
}

/// Names that would be paths, or are reserved.
pub(super) const COMMONS: [&str; 16] = [
    "../../etc",
    "..",
    ".",
    "/etc",
    "a/b",
    "a\\b",
    "%2e%2e%2f",
    "%252e%252e%252f",
    "a..b",
    "\u{ff0e}\u{ff0e}/",
    "_self",
    "_cluster",
    "_unassigned",
    "NUL",
    "commons=x",
    "a\0b",
];

fn names_of_commons() -> Vec<Case> {
    let mut cases = Vec::new();
    let too_long = "a".repeat(64);
    for name in COMMONS.into_iter().chain([too_long.as_str()]) {
        let shown: String = name.chars().take(20).collect();
        let of = |dialect: &str| format!("commons: {shown:?} in {dialect}");
        let labels = [("__name__", "hostile_commons"), ("commons", name)];
        let either = Want::Either(Dialect::Text);
        cases.push(write(of("a label"), &labels, (now_ms(), 1.0), either));
        let resource = otlp::resource(&[("gen3.commons", name), ("commons", name)]);
        let logs = otlp::logs(resource, vec![otlp::record(now_ns(), "hostile")]);
        let request = otlp::post_raw("/v1/logs", logs.encode_to_vec());
        cases.push(Case::request(of("a resource"), Port::OtlpHttp, request, Want::Taken));
        let stream = json!({"streams": [{"stream": {"commons": name},
            "values": [[now_ns().to_string(), "hostile"]]}]});
        let request =
            Request::post("/loki/api/v1/push", stream.to_string()).header("Content-Type", JSON);
        let want = Want::Either(Dialect::Loki);
        cases.push(Case::request(of("a stream"), Port::Http, request, want));
        if !name.contains('\0') {
            let request = loki::push("{app=\"a\"}", vec![loki::entry(now_ns(), "hostile")])
                .header("X-Scope-OrgID", name);
            let want = Want::Either(Dialect::Loki);
            cases.push(Case::request(of("the tenant header"), Port::Http, request, want));
        }
    }
    cases
}
