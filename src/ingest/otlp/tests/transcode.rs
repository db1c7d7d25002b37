use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use prost::Message as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::*;
use crate::ingest::otlp::json::{random_json, to_protobuf};
use crate::model::Signal;

/// The specification's own example (opentelemetry-proto, examples/logs.json), shortened.
const LOGS: &str = r#"{"resourceLogs":[{
    "resource":{"attributes":[{"key":"service.name","value":{"stringValue":"my.service"}}]},
    "scopeLogs":[{"scope":{"name":"my.library","version":"1.0.0"},"logRecords":[{
        "timeUnixNano":"1799999999999999995","observedTimeUnixNano":1799999999999999997,
        "severityNumber":10,"severityText":"Information",
        "traceId":"0AF7651916CD43DD8448EB211C80319C","spanId":"b7ad6b7169203331","flags":1,
        "body":{"stringValue":"Example log record"},"eventName":"e","droppedAttributesCount":3,
        "attributes":[
            {"key":"string","value":{"stringValue":"some \u00e9"}},
            {"key":"bool","value":{"boolValue":true}},
            {"key":"int","value":{"intValue":"10"}},
            {"key":"js int","value":{"intValue":-3}},
            {"key":"double","value":{"doubleValue":637.704}},
            {"key":"inf","value":{"doubleValue":"-Infinity"}},
            {"key":"bytes","value":{"bytesValue":"AAH/"}},
            {"key":"array","value":{"arrayValue":{"values":[{"stringValue":"many"},{"intValue":"1"}]}}},
            {"key":"map","value":{"kvlistValue":{"values":[{"key":"k","value":{"stringValue":"v"}}]}}},
            {"key":"null","value":null},
            {"key":"new kind","value":{"futureValue":[{}]}}],
        "unknownField":{"deep":[1,{"x":null}]}}]}]}]}"#;

#[test]
fn the_specifications_example_is_read() {
    let rig = Rig::new();
    let protobuf = to_protobuf(Signal::Logs, LOGS.as_bytes()).unwrap();

    let decoded = decode(&rig, crate::ingest::otlp::logs::decode_logs, &protobuf).unwrap();

    let names = [
        "timestamp",
        "observed_timestamp",
        "severity_number",
        "severity_text",
        "body",
        "trace_id",
        "span_id",
        "flags",
        "event_name",
        "scope_name",
        "resource",
        "attributes",
    ];
    let attributes = concat!(
        r#"{"string":"some é","bool":true,"int":10,"js int":-3,"double":637.704,"#,
        r#""inf":"-Infinity","bytes":"AAH/","array":["many",1],"map":{"k":"v"},"null":null,"#,
        r#""new kind":null}"#
    );
    assert_eq!(
        columns(&decoded, &names),
        [[
            "1799999999999999995",
            "1799999999999999997",
            "10",
            "Information",
            "Example log record",
            TRACE_HEX,
            SPAN_HEX,
            "1",
            "e",
            "my.library",
            r#"{"service.name":"my.service"}"#,
            attributes,
        ]]
    );
}

#[test]
fn every_json_becomes_the_bytes_that_prost_would_write() {
    for seed in 0..300 {
        let mut rng = SmallRng::seed_from_u64(seed);
        check_round::<ExportLogsServiceRequest>(Signal::Logs, &mut rng, seed);
        check_round::<ExportTraceServiceRequest>(Signal::Spans, &mut rng, seed);
        check_round::<ExportMetricsServiceRequest>(Signal::Metrics, &mut rng, seed);
    }
}

/// Prost drops what it does not know, so a wrong number, type or order changes the bytes.
#[track_caller]
fn check_round<M: prost::Message + Default + std::fmt::Debug>(
    signal: Signal,
    rng: &mut SmallRng,
    seed: u64,
) {
    let text = random_json(signal, rng);
    let bytes =
        to_protobuf(signal, text.as_bytes()).unwrap_or_else(|e| panic!("{seed}: {e}: {text}"));
    let message = M::decode(&bytes[..]).unwrap_or_else(|e| panic!("{seed}: {e}: {text}"));
    assert!(message.encode_to_vec() == bytes, "seed {seed}: {message:?} of {text}");
}

#[test]
fn numbers_are_taken_as_numbers_and_as_strings() {
    let text = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
        {"name":"g","gauge":{"dataPoints":[
            {"asDouble":"NaN"},{"asDouble":1},{"asDouble":"2.5"},{"asInt":"-7"},{"asInt":7}]}},
        {"name":"h","histogram":{"aggregationTemporality":2,"dataPoints":[
            {"count":"3","bucketCounts":[1,"2"],"explicitBounds":[0.5],"sum":1e1,"timeUnixNano":1.5e3}]}}
        ]}]}]}"#;

    let bytes = to_protobuf(Signal::Metrics, text.as_bytes()).unwrap();

    let request = ExportMetricsServiceRequest::decode(&bytes[..]).unwrap();
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    let Some(Data::Gauge(gauge)) = &metrics[0].data else { panic!("a gauge") };
    let values: Vec<_> = gauge.data_points.iter().map(|point| point.value.unwrap()).collect();
    use number_data_point::Value::{AsDouble, AsInt};
    assert!(matches!(values[0], AsDouble(value) if value.is_nan()));
    assert_eq!(values[1..], [AsDouble(1.0), AsDouble(2.5), AsInt(-7), AsInt(7)]);
    let Some(Data::Histogram(histogram)) = &metrics[1].data else { panic!("a histogram") };
    let point = &histogram.data_points[0];
    assert_eq!((point.count, &point.bucket_counts[..]), (3, &[1, 2][..]));
    assert_eq!((point.sum, point.time_unix_nano), (Some(10.0), 1500));
}

#[track_caller]
fn check_bad(text: &str, want: &str) {
    let error = to_protobuf(Signal::Logs, text.as_bytes()).unwrap_err();
    assert!(error.to_string().starts_with(want), "{text}: {error}");
}

#[test]
fn an_error_names_the_path() {
    let record = |fields: &str| {
        format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{}},{{"logRecords":[{{{fields}}}]}}]}}]}}"#)
    };
    let path = "resourceLogs[0].scopeLogs[1].logRecords[0]";
    let check = |fields: &str, want: &str| check_bad(&record(fields), &format!("{path}.{want}"));
    check(r#""severityNumber":"INFO""#, "severityNumber: an enum is written as its number");
    check(r#""timeUnixNano":-1"#, "timeUnixNano: `-1` is not an integer that fits here");
    check(r#""timeUnixNano":1.5"#, "timeUnixNano: `1.5` is not an integer");
    check(r#""timeUnixNano":"18446744073709551616""#, "timeUnixNano: ");
    check(r#""traceId":"xyz""#, "traceId: `xyz` is not an id in hex");
    check(r#""traceId":"abc""#, "traceId: `abc` is not an id in hex");
    check(r#""body":{"bytesValue":"*"}"#, "body.bytesValue: not base64");
    check(r#""body":{"boolValue":1}"#, "body.boolValue: wanted true or false");
    check(r#""body":"text""#, "body: wanted an object");
    check(r#""body":{"doubleValue":"infinity"}"#, "body.doubleValue: `infinity` is not a number");
    check(r#""attributes":{}"#, "attributes: wanted an array");
    check_bad("", "the request: wanted an object");
    check_bad("[]", "the request: wanted an object");
    check_bad("{} x", "the request: there is more text");
}

#[test]
fn snake_case_is_unknown_and_unknown_is_ignored() {
    let text = r#"{"resource_logs":[{"scope_logs":[]}],"x":{"y":[1,2,{}]}}"#;
    assert_eq!(to_protobuf(Signal::Logs, text.as_bytes()).unwrap(), b"");
}

#[test]
fn a_depth_bomb_is_an_error_and_not_a_crash() {
    let open = r#"{"arrayValue":{"values":["#;
    let text = format!(
        r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{}"#,
        open.repeat(100_000)
    );
    let error = to_protobuf(Signal::Logs, text.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("nested deeper than 128 levels"), "{error}");
    assert!(error.to_string().len() < 5_000);
}

#[test]
fn text_that_is_not_utf8_says_where() {
    let error = to_protobuf(Signal::Logs, b"{\"a\":\"\xff\"}").unwrap_err();
    assert!(error.to_string().contains("not UTF-8 from byte 6"), "{error}");
}

#[test]
fn no_cut_makes_the_transcoder_panic() {
    for (end, _) in LOGS.char_indices() {
        assert!(to_protobuf(Signal::Logs, &LOGS.as_bytes()[..end]).is_err());
    }
}
