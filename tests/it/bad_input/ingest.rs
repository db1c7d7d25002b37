//! Hostile requests to the endpoints that take telemetry.

use std::io::Write as _;

use serde_json::json;

use super::{Case, Dialect, Port};
use crate::support::http::gzip;
use crate::support::remote_write::{TimeSeries, series, snappy, write, write_bytes, write_raw};
use crate::support::wait::{now_ms, now_ns};
use crate::support::{Request, loki, otlp};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = remote_write_bodies();
    cases.extend(remote_write_series());
    cases.extend(loki_pushes());
    cases.extend(otlp_bodies());
    cases.extend(otlp_items());
    cases
}

fn remote_write_bodies() -> Vec<Case> {
    let case = |name, request, statuses, says| Case {
        name,
        request,
        port: Port::Http,
        statuses,
        says,
        dialect: Dialect::Text,
    };
    let whole = write(vec![good(0)]);
    let half = whole.body[..whole.body.len() / 2].to_vec();
    let bomb = snappy(&vec![0; 80 << 20]);
    // A header that promises 4 GiB and brings nothing.
    let promise = vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
    vec![
        case("remote write: truncated", write_raw(half), &[400], "snappy"),
        case("remote write: not snappy", write_raw(b"plain text".to_vec()), &[400], "snappy"),
        case("remote write: empty", write_raw(Vec::new()), &[400], "snappy"),
        case("remote write: not protobuf", write_bytes(b"\xff\xff\xff"), &[400], ""),
        case("remote write: a bomb", write_raw(bomb), &[413], "limits."),
        case("remote write: a promise of 4 GiB", write_raw(promise), &[400, 413], ""),
        case(
            "remote write: gzip",
            whole.clone().header("Content-Encoding", "gzip"),
            &[415],
            "snappy",
        ),
        case(
            "remote write: JSON",
            whole.clone().header("Content-Type", "application/json"),
            &[415],
            "application/x-protobuf",
        ),
        case(
            "remote write: unknown schema",
            whole.header("Content-Type", "application/x-protobuf;proto=some.other.Request"),
            &[415],
            "proto",
        ),
        case("remote write: frames of snappy", write_raw(framed()), &[400], "snappy"),
    ]
}

fn remote_write_series() -> Vec<Case> {
    let case = |name, series: TimeSeries, says| Case {
        name,
        request: write(vec![series]),
        port: Port::Http,
        statuses: &[400],
        says,
        dialect: Dialect::Text,
    };
    let sample = [(now_ms(), 1.0)];
    let mebibyte = "x".repeat(1 << 20);
    let names: Vec<String> = (0..10_000).map(|number| format!("l{number:05}")).collect();
    let mut many = vec![("__name__", "many")];
    many.extend(names.iter().map(|name| (name.as_str(), "v")));
    let named =
        |labels: &[(&str, &str)]| series(&[&[("__name__", "bad")], labels].concat(), &sample);
    vec![
        case(
            "series: name is not UTF-8",
            series(&[(&b"__name__"[..], &b"bad"[..]), (b"a\xff", b"v")], &sample),
            "utf-8",
        ),
        case(
            "series: value is not UTF-8",
            series(&[(&b"__name__"[..], &b"bad"[..]), (b"a", b"\xff")], &sample),
            "utf-8",
        ),
        case("series: a label twice", named(&[("a", "1"), ("a", "2")]), "a"),
        case("series: an empty label name", named(&[("", "1")]), ""),
        case("series: an empty label value", named(&[("a", "")]), "empty value"),
        case("series: unsorted labels", named(&[("b", "1"), ("a", "2")]), "sorted"),
        case("series: no labels", series::<&str, &str>(&[], &sample), ""),
        case("series: no metric name", series(&[("a", "1")], &sample), "name"),
        case("series: an empty metric name", series(&[("__name__", "")], &sample), "name"),
        case("series: a label of 1 MB", named(&[("a", &mebibyte)]), "limits.label_value"),
        case("series: a label name of 1 MB", named(&[(&mebibyte, "v")]), "limits.label_name"),
        case("series: 10,000 labels", series(&many, &sample), "limits.labels_per_series"),
        case(
            "sample: the end of time",
            series(&[("__name__", "bad")], &[(i64::MAX, 1.0)]),
            "future",
        ),
        case(
            "sample: before time",
            series(&[("__name__", "bad")], &[(i64::MIN, 1.0)]),
            "retention",
        ),
        case("sample: 1969", series(&[("__name__", "bad")], &[(-1, 1.0)]), "retention"),
    ]
}

fn loki_pushes() -> Vec<Case> {
    let case = |name, request: Request, statuses, says| Case {
        name,
        request,
        port: Port::Http,
        statuses,
        says,
        dialect: Dialect::Loki,
    };
    let now = now_ns();
    let json = |body: &str| {
        Request::post("/loki/api/v1/push", body).header("Content-Type", "application/json")
    };
    let line = |labels: &str| loki::push(labels, vec![loki::entry(now, "line")]);
    let whole = line("{app=\"a\"}");
    let half = whole.body[..whole.body.len() / 2].to_vec();
    let long = "x".repeat(1 << 20);
    vec![
        case("loki: truncated", loki::push_raw(half), &[400], "snappy"),
        case("loki: not snappy", loki::push_raw(b"plain text".to_vec()), &[400], "snappy"),
        case("loki: not protobuf", loki::push_raw(snappy(b"\xff\xff")), &[400], ""),
        case("loki: a bomb", loki::push_raw(snappy(&vec![0; 80 << 20])), &[413], "limits."),
        case("loki: labels without braces", line("app=\"a\""), &[400], ""),
        case("loki: no labels", line("{}"), &[400], "label"),
        case("loki: a label without quotes", line("{app=a}"), &[400], ""),
        case("loki: a label twice", line("{app=\"a\", app=\"b\"}"), &[400], "app"),
        case(
            "loki: a label of 1 MB",
            line(&format!("{{app=\"{long}\"}}")),
            &[400],
            "limits.label_value",
        ),
        case(
            "loki: a line of 1 MB",
            loki::push("{app=\"a\"}", vec![loki::entry(now, &long)]),
            &[400],
            "limits.log_line",
        ),
        case(
            "loki: far future",
            loki::push("{app=\"a\"}", vec![loki::entry(now + 86_400_000_000_000, "l")]),
            &[400],
            "future",
        ),
        case("loki: wrong type", json("{}").header("Content-Type", "text/csv"), &[415, 400], ""),
        case("loki: not JSON", json("{\"streams\": ["), &[400], ""),
        case("loki: JSON of another shape", json("{\"streams\": 5}"), &[400], ""),
        case(
            "loki: a time in words",
            json(r#"{"streams":[{"stream":{"a":"b"},"values":[["now","l"]]}]}"#),
            &[400],
            "",
        ),
        case("loki: a label of invalid UTF-8", loki_bytes(), &[400], ""),
        case(
            "loki: unknown compression",
            json("{}").header("Content-Encoding", "br"),
            &[415, 400],
            "",
        ),
    ]
}

/// JSON may hold any bytes but must be UTF-8.
fn loki_bytes() -> Request {
    let mut body = br#"{"streams":[{"stream":{"a":"#.to_vec();
    body.extend(b"\"\xff\xfe\"}}]}");
    Request::post("/loki/api/v1/push", body).header("Content-Type", "application/json")
}

fn otlp_bodies() -> Vec<Case> {
    let case = |name, path: &str, body: Vec<u8>, statuses, says| Case {
        name,
        request: otlp::post_raw(path, body),
        port: Port::Otlp,
        statuses,
        says,
        dialect: Dialect::OtlpProtobuf,
    };
    let with = |mut case: Case, header: &str, value: &str, dialect| {
        case.request = case.request.header(header, value);
        case.dialect = dialect;
        case
    };
    let json = |name, path: &str, body: &str, says| {
        let json = case(name, path, body.as_bytes().to_vec(), &[400], says);
        with(json, "Content-Type", "application/json", Dialect::OtlpJson)
    };
    vec![
        case("otlp: truncated metrics", "/v1/metrics", vec![10, 200, 1, 0], &[400], ""),
        case("otlp: truncated logs", "/v1/logs", vec![10, 200, 1, 0], &[400], ""),
        case("otlp: truncated spans", "/v1/traces", vec![10, 200, 1, 0], &[400], ""),
        case("otlp: garbage", "/v1/logs", b"\xff\xff\xff".to_vec(), &[400], ""),
        with(
            case("otlp: not gzip", "/v1/logs", b"plain".to_vec(), &[400], "gzip"),
            "Content-Encoding",
            "gzip",
            Dialect::OtlpProtobuf,
        ),
        with(
            case("otlp: a bomb", "/v1/logs", gzip(&vec![0; 80 << 20]), &[413], "limits."),
            "Content-Encoding",
            "gzip",
            Dialect::OtlpProtobuf,
        ),
        with(
            case("otlp: unknown compression", "/v1/logs", Vec::new(), &[415, 400], ""),
            "Content-Encoding",
            "br",
            Dialect::OtlpProtobuf,
        ),
        with(
            case("otlp: unknown type", "/v1/logs", Vec::new(), &[415], ""),
            "Content-Type",
            "text/csv",
            Dialect::Text,
        ),
        case("otlp: larger than the limit", "/v1/logs", vec![0; 40 << 20], &[413], "limits."),
        json("otlp: half a JSON", "/v1/metrics", "{\"resourceMetrics\": [", ""),
        json("otlp: JSON of another shape", "/v1/logs", "{\"resourceLogs\": 5}", ""),
        json("otlp: an id that is not hex", "/v1/traces", &span_json("zz"), ""),
        json("otlp: JSON 10,000 levels deep", "/v1/logs", &"[".repeat(10_000), ""),
    ]
}

/// Requests that are well-formed and carry items that are not: the good ones of the same request
/// are stored, the others reported back.
fn otlp_items() -> Vec<Case> {
    let case = |name, path: &str, message: Vec<u8>, says| Case {
        name,
        request: otlp::post_raw(path, message),
        port: Port::Otlp,
        statuses: &[200],
        says,
        dialect: Dialect::PartialSuccess,
    };
    let encode = |message: &dyn Fn() -> Vec<u8>| message();
    let now = now_ns();
    let resource = || otlp::resource(&[("service.name", "hostile")]);
    let mut many = otlp::record(now, "many attributes");
    many.attributes = (0..10_000).map(|n| otlp::attribute(&format!("a{n}"), "v")).collect();
    let mut nameless = otlp::span(1, now, "no ids");
    nameless.trace_id = Vec::new();
    let future = otlp::record(now + 86_400_000_000_000, "tomorrow");
    let log = |record| {
        let request = otlp::logs(resource(), vec![otlp::record(now, "a good one"), record]);
        encode(&|| prost::Message::encode_to_vec(&request))
    };
    let spans = otlp::spans(resource(), vec![otlp::span(2, now, "a good one"), nameless]);
    vec![
        case("otlp: 10,000 attributes", "/v1/logs", log(many), "limits.attributes_per_record"),
        case("otlp: a record of tomorrow", "/v1/logs", log(future), "future"),
        case(
            "otlp: a span without ids",
            "/v1/traces",
            prost::Message::encode_to_vec(&spans),
            "trace",
        ),
    ]
}

fn good(offset: i64) -> TimeSeries {
    series(&[("__name__", "good"), ("job", "a")], &[(now_ms() + offset, 1.0)])
}

fn framed() -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(b"anything").expect("writing to memory");
    encoder.into_inner().expect("writing to memory")
}

fn span_json(trace_id: &str) -> String {
    let span = json!({"traceId": trace_id, "spanId": "0102030405060708", "name": "n",
        "startTimeUnixNano": "1", "endTimeUnixNano": "2"});
    json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).to_string()
}
