use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;

use super::*;
use crate::base::units::HumanSize;
use crate::ingest::otlp::logs::decode_logs;
use crate::ingest::outcome::Reason;

pub(super) fn request(records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope_logs =
        vec![ScopeLogs { scope: scope("fence"), log_records: records, ..ScopeLogs::default() }];
    let resource = resource(&[("service.name", "fence"), ("commons", "heart")]);
    let resource_logs = vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }
}

pub(super) fn record(body: &str) -> LogRecord {
    LogRecord { time_unix_nano: NOW_NS, body: Some(text(body)), ..LogRecord::default() }
}

fn full_record() -> LogRecord {
    LogRecord {
        time_unix_nano: NOW_NS - 5,
        observed_time_unix_nano: NOW_NS - 3,
        severity_number: 17,
        severity_text: "ERROR".to_owned(),
        body: Some(text("it \"broke\"\n")),
        attributes: vec![
            pair("s", text("é\"")),
            pair("b", any(Value::BoolValue(true))),
            pair("i", any(Value::IntValue(-7))),
            pair("d", any(Value::DoubleValue(1.0))),
            pair("nan", any(Value::DoubleValue(f64::NAN))),
            pair("bytes", any(Value::BytesValue(vec![0, 1, 0xff]))),
            pair("list", list(vec![text("a"), any(Value::IntValue(1))])),
            pair(
                "map",
                map(vec![pair("x", any(Value::DoubleValue(-0.5))), pair("x", text("2nd"))]),
            ),
            pair("unset", AnyValue { value: None }),
            KeyValue { key: "no value".to_owned(), ..KeyValue::default() },
            pair("s", text("a second s")),
        ],
        dropped_attributes_count: 2,
        flags: 1,
        trace_id: TRACE_ID.to_vec(),
        span_id: SPAN_ID.to_vec(),
        event_name: "user.login".to_owned(),
    }
}

#[track_caller]
fn check(record: LogRecord, names: &[&str], want: &[&str]) {
    let decoded = decode(&Rig::new(), decode_logs, &request(vec![record]).encode_to_vec()).unwrap();
    assert_eq!(decoded.rejected.message(1, "log records"), None);
    assert_eq!(columns(&decoded, names), [want]);
}

#[track_caller]
fn check_refused(rig: &Rig, bad: LogRecord, reason: Reason, want: &str) {
    let body = request(vec![record("good"), bad, record("good too")]).encode_to_vec();

    let decoded = decode(rig, decode_logs, &body).unwrap();

    assert_eq!((decoded.n_received, columns(&decoded, &["body"]).len()), (3, 2));
    assert_eq!(decoded.rejected.counts(), [(reason, 1)]);
    let message = decoded.rejected.message(3, "log records").unwrap();
    assert!(message.contains(want), "{message}");
}

#[test]
fn every_field_finds_its_column() {
    check(
        full_record(),
        &[
            "timestamp",
            "observed_timestamp",
            "severity_number",
            "severity_text",
            "body",
            "resource",
            "scope_name",
            "event_name",
            "trace_id",
            "span_id",
            "flags",
        ],
        &[
            "1799999999999999995",
            "1799999999999999997",
            "17",
            "ERROR",
            "it \"broke\"\n",
            r#"{"service.name":"fence","commons":"heart"}"#,
            "fence",
            "user.login",
            TRACE_HEX,
            SPAN_HEX,
            "1",
        ],
    );
}

#[test]
fn attributes_keep_their_types_and_the_first_of_a_key_stands() {
    let want = concat!(
        r#"{"s":"é\"","b":true,"i":-7,"d":1.0,"nan":"NaN","bytes":"AAH/","list":["a",1],"#,
        r#""map":{"x":-0.5},"unset":null,"no value":null}"#
    );
    serde_json::from_str::<serde_json::Value>(want).unwrap();
    check(full_record(), &["attributes"], &[want]);
}

#[test]
fn a_record_of_nothing_is_a_row() {
    let now = NOW_NS.to_string();
    check(
        LogRecord::default(),
        &["timestamp", "observed_timestamp", "body", "attributes", "trace_id", "severity_text"],
        &[&now, &now, "", "{}", "-", "-"],
    );
}

#[test]
fn a_time_that_is_not_set_is_when_it_was_observed() {
    let observed_time_unix_nano = NOW_NS - 9;
    let record = LogRecord { observed_time_unix_nano, ..LogRecord::default() };
    check(record, &["timestamp"], &["1799999999999999991"]);
}

#[test]
fn bodies_that_are_no_text_are_json() {
    let with = |body| LogRecord { body: Some(body), ..LogRecord::default() };
    check(with(any(Value::IntValue(3))), &["body"], &["3"]);
    check(with(any(Value::DoubleValue(3.0))), &["body"], &["3.0"]);
    check(with(map(vec![pair("a", list(vec![]))])), &["body"], &[r#"{"a":[]}"#]);
    check(with(AnyValue { value: None }), &["body"], &[""]);
}

#[test]
fn ids_that_are_none_are_left_out() {
    for (trace_id, span_id) in [(vec![0; 16], vec![0; 8]), (vec![1; 15], vec![1; 9])] {
        let record = LogRecord { trace_id, span_id, ..LogRecord::default() };
        check(record, &["trace_id", "span_id"], &["-", "-"]);
    }
}

#[test]
fn bytes_that_are_not_utf8_are_replaced() {
    let mut body = request(vec![record("grün")]).encode_to_vec();
    let at = body.windows(2).position(|two| two == "ü".as_bytes()).unwrap();
    body[at] = 0xfc;

    let decoded = decode(&Rig::new(), decode_logs, &body).unwrap();

    assert_eq!(columns(&decoded, &["body"]), [["gr\u{fffd}\u{fffd}n"]]);
}

#[test]
fn a_record_past_a_limit_is_refused_alone() {
    let rig = Rig::new();
    let attributes = |n: usize| (0..n).map(|i| pair(&i.to_string(), text("x"))).collect();
    let with = |attributes| LogRecord { attributes, ..record("bad") };
    check(with(attributes(128)), &["body"], &["bad"]);
    check_refused(
        &rig,
        with(attributes(129)),
        Reason::AttributeLimit,
        "more than 128 attributes (limits.attributes_per_record)",
    );
    check_refused(
        &rig,
        with(vec![pair("big", text(&"x".repeat(17 << 10)))]),
        Reason::AttributeLimit,
        "attribute `big` has 17412 bytes of at most 16KiB (limits.attribute_value)",
    );
    check(with(vec![pair("deep", nested(32))]), &["body"], &["bad"]);
    check_refused(
        &rig,
        with(vec![pair("deep", nested(33))]),
        Reason::AttributeLimit,
        "nested deeper than 32 levels (limits.attribute_depth)",
    );
    let small = Rig::with(|limits| limits.log_line = HumanSize(100));
    check_refused(&small, record(&"x".repeat(200)), Reason::LineLimit, "(limits.log_line)");
}

#[test]
fn times_no_clock_shows_are_refused() {
    let rig = Rig::new();
    let at = |time_unix_nano| LogRecord { time_unix_nano, ..record("bad") };
    check(at(NOW_NS + 600_000_000_000), &["body"], &["bad"]);
    check_refused(&rig, at(NOW_NS + 600_000_000_001), Reason::Future, "600 s ahead of our clock");
    check_refused(&rig, at(u64::MAX), Reason::Future, "limits.future");
    check_refused(&rig, at(1), Reason::TooOld, "storage.retention");
}

#[test]
fn a_depth_bomb_costs_one_row_and_no_stack() {
    // A list in a list in a list: each level is a header of some bytes around the last.
    let mut bomb: Vec<u8> = Vec::new();
    for _ in 0..2_000 {
        let mut outer = Vec::new();
        prost::encoding::bytes::encode(1, &std::mem::take(&mut bomb), &mut outer);
        prost::encoding::bytes::encode(5, &outer, &mut bomb);
    }
    let mut log = Vec::new();
    prost::encoding::bytes::encode(5, &bomb, &mut log);
    let mut body = Vec::new();
    for number in [2, 2, 1] {
        body.clear();
        prost::encoding::bytes::encode(number, &log, &mut body);
        log.clone_from(&body);
    }

    let decoded = decode(&Rig::new(), decode_logs, &body).unwrap();

    assert_eq!(decoded.rejected.counts(), [(Reason::AttributeLimit, 1)]);
}

#[test]
fn records_go_to_the_commons_of_their_resource() {
    let mut both = request(vec![record("of heart")]);
    let mut other = request(vec![record("of lung"), record("of lung too")]);
    other.resource_logs[0].resource = resource(&[("commons", "lung")]);
    both.resource_logs.extend(other.resource_logs);

    let decoded = decode(&Rig::new(), decode_logs, &both.encode_to_vec()).unwrap();

    let parts: Vec<_> = decoded
        .parts
        .iter()
        .map(|part| match part {
            Part::Logs { commons, batch } => (commons.as_str(), batch.num_rows()),
            _ => panic!("only logs were sent"),
        })
        .collect();
    assert_eq!(parts, [("heart", 1), ("lung", 2)]);
    assert_eq!(decoded.logs.iter().map(|logs| logs.runs[0].1).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_request_with_too_many_records_is_refused_whole() {
    let rig = Rig::with(|limits| limits.records_per_request = 2);
    let body = |n: usize| request(vec![record("x"); n]).encode_to_vec();

    assert!(decode(&rig, decode_logs, &body(2)).is_ok());
    let error = decode(&rig, decode_logs, &body(3)).unwrap_err();
    assert!(matches!(error, IngestError::TooManyRecords { max: 2 }), "{error}");
}

#[test]
fn unknown_fields_and_empty_envelopes_are_ignored() {
    let mut body = request(vec![record("known")]).encode_to_vec();
    prost::encoding::string::encode(99, &"future".to_owned(), &mut body);
    let empty = ResourceLogs { scope_logs: vec![ScopeLogs::default()], ..ResourceLogs::default() };
    let empty = ExportLogsServiceRequest { resource_logs: vec![empty] };
    body.extend(empty.encode_to_vec());

    let decoded = decode(&Rig::new(), decode_logs, &body).unwrap();

    assert_eq!((decoded.n_received, decoded.rejected.total()), (1, 0));
    assert!(decode(&Rig::new(), decode_logs, &[]).unwrap().parts.is_empty());
}

#[test]
fn damage_is_never_a_panic() {
    check_damage(decode_logs, &request(vec![full_record(), record("x")]).encode_to_vec());
}

#[test]
fn secrets_in_query_strings_are_not_stored() {
    let body = "GET /user/login/cb?code=SECRET1&x=1 HTTP/1.1";
    let url = "https://heart.example/data?X-Amz-Signature=SECRET2&y=2";
    let attributes = vec![pair("url.full", text(url)), pair("url.query", text("code=SECRET3"))];
    let with_secrets = LogRecord { attributes, ..record(body) };

    let decoded =
        decode(&Rig::new(), decode_logs, &request(vec![with_secrets]).encode_to_vec()).unwrap();

    let row = columns(&decoded, &["body", "attributes"]).concat().join(" ");
    assert!(!row.contains("SECRET"), "{row}");
    assert!(row.contains("x=1") && row.contains("y=2"), "{row}");
}

#[test]
fn of_two_equal_keys_in_a_large_map_the_first_stands() {
    let pairs = (0..10_000).map(|n| (n, n)).chain([(7, 0), (9_999, 0)]);
    let pairs = pairs.map(|(key, value)| pair(&format!("{key}"), any(Value::IntValue(value))));
    let body = map(vec![pair("small", map(vec![])), pair("large", map(pairs.collect()))]);
    let record = LogRecord { body: Some(body), ..record("") };
    let request = request(vec![record]).encode_to_vec();

    let decoded = decode(&Rig::new(), decode_logs, &request).unwrap();

    let text = &columns(&decoded, &["body"])[0][0];
    let want: Vec<String> = (0..10_000).map(|n| format!("\"{n}\":{n}")).collect();
    assert_eq!(text, &format!("{{\"small\":{{}},\"large\":{{{}}}}}", want.join(",")));
}

/// Lines of a container as a collector sends them: no scope, a record each.
fn lines(lines: &[(&str, &str)]) -> ExportLogsServiceRequest {
    let of_line = |(n, (line, pod)): (u64, &(&str, &str))| LogRecord {
        time_unix_nano: NOW_NS - 1_000_000 + n,
        attributes: vec![pair("pod", text(pod))],
        ..record(line)
    };
    let mut request = request((0..).zip(lines).map(of_line).collect());
    request.resource_logs[0].scope_logs[0].scope = None;
    request
}

#[test]
fn the_lines_of_a_stack_trace_are_one_record() {
    let traceback = [
        "Traceback (most recent call last):",
        "  File \"/fence/app.py\", line 12, in handle",
        "    raise ValueError(1)",
        "ValueError: 1",
    ];
    let mut sent: Vec<(&str, &str)> = vec![("before", "a")];
    sent.extend(traceback.map(|line| (line, "a")));
    sent.push(("after", "a"));
    // Of another pod a line is another's, and a trace that nothing follows ends with its scope.
    sent.extend([(traceback[0], "a"), (traceback[1], "b"), (traceback[0], "b")]);
    let body = lines(&sent).encode_to_vec();

    let decoded = decode(&Rig::new(), decode_logs, &body).unwrap();

    let whole = traceback.join("\n");
    let want = ["before", &whole, "after", traceback[0], traceback[1], traceback[0]];
    assert_eq!(columns(&decoded, &["body"]), want.map(|body| vec![body.to_owned()]));
    assert_eq!((decoded.n_received, decoded.rejected.counts().len()), (9, 0));
}

#[test]
fn records_of_a_program_that_knows_what_a_record_is_stay_as_they_are() {
    let mut request = lines(&[("Traceback (most recent call last):", "a"), ("  File x", "a")]);
    request.resource_logs[0].scope_logs[0].scope = scope("fence");
    let decoded = decode(&Rig::new(), decode_logs, &request.encode_to_vec()).unwrap();
    assert_eq!(columns(&decoded, &["body"]).len(), 2);
}
