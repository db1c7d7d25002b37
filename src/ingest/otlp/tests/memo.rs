//! What a record comes to does not depend on the ones before it in its request.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use proptest::prelude::*;
use prost::Message as _;

use super::{any, *};
use crate::ingest::otlp::logs::decode_logs;
use crate::ingest::otlp::spans::decode_spans;
use crate::ingest::wire::{Field, Value as WireValue};

/// Few keys and values, so that most come again; some that are changed on their way.
fn attribute() -> impl Strategy<Value = KeyValue> {
    let key = prop_oneof![
        4 => "[a-c]".prop_map(|key| key),
        1 => Just("url.query".to_owned()),
        1 => Just("quote\"d".to_owned()),
        1 => Just("\u{fffd}".to_owned()),
        1 => "long-[ab]".prop_map(|key| key.repeat(60)),
    ];
    let leaf = prop_oneof![
        4 => "[xy]{0,2}".prop_map(|value| text(&value)),
        1 => Just(text("/cb?code=secret&x=1")),
        1 => Just(text("code=secret")),
        1 => "[z\"]".prop_map(|value| text(&value.repeat(300))),
        1 => (0..3_i64).prop_map(|n| any(Value::IntValue(n))),
        1 => prop_oneof![Just(0.5), Just(f64::NAN)].prop_map(|x| any(Value::DoubleValue(x))),
        1 => Just(any(Value::BytesValue(vec![0xff]))),
        1 => Just(any(Value::BoolValue(true))),
        1 => Just(AnyValue { value: None }),
        1 => Just(nested(100)),
    ];
    let value = prop_oneof![
        6 => leaf.clone(),
        1 => proptest::collection::vec(leaf.clone(), 0..3).prop_map(list),
        1 => proptest::collection::vec(("[a-b]", leaf), 0..4).prop_map(|pairs| {
            map(pairs.into_iter().map(|(key, value)| pair(&key, value)).collect())
        }),
    ];
    (key, proptest::option::of(value))
        .prop_map(|(key, value)| KeyValue { value, ..pair(&key, AnyValue { value: None }) })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    proptest::collection::vec(attribute(), 0..6)
}

fn any_span() -> impl Strategy<Value = Span> {
    let event = attributes().prop_map(|attributes| Event { attributes, ..Event::default() });
    (attributes(), proptest::collection::vec(event, 0..3)).prop_map(|(attributes, events)| Span {
        attributes,
        events,
        ..super::spans::span()
    })
}

const COLUMNS: [&str; 3] = ["attributes", "events", "otlp_rest"];

#[test]
fn a_span_is_the_same_alone_and_among_others() {
    let rig = Rig::new();
    let decode = |spans: &[Span]| {
        let body = super::spans::request(spans.to_vec()).encode_to_vec();
        let decoded = decode(&rig, decode_spans, &body).unwrap();
        (columns(&decoded, &COLUMNS), decoded.rejected.total())
    };
    proptest!(|(spans in proptest::collection::vec(any_span(), 1..12))| {
        let together = decode(&spans);
        let (mut rows, mut n_refused) = (Vec::new(), 0);
        for span in &spans {
            let (row, n) = decode(std::slice::from_ref(span));
            rows.extend(row);
            n_refused += n;
        }
        prop_assert_eq!(together, (rows, n_refused));
    });
}

fn logs(records: &[LogRecord]) -> Vec<u8> {
    let scope_logs = vec![ScopeLogs { log_records: records.to_vec(), ..ScopeLogs::default() }];
    let resource = resource(&[("service.name", "fence")]);
    let resource_logs = vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

#[test]
fn values_that_never_come_again_and_more_keys_than_are_numbered() {
    let rig = Rig::new();
    let records: Vec<LogRecord> = (0..2_000)
        .map(|n| LogRecord {
            attributes: vec![
                pair(&format!("key-{}", n % 300), text("same")),
                pair("id", any(Value::IntValue(n))),
                pair(&format!("key-{}", n % 300), text("second")),
                pair("id", text("second")),
            ],
            ..LogRecord::default()
        })
        .collect();

    let decoded = decode(&rig, decode_logs, &logs(&records)).unwrap();

    let rows = columns(&decoded, &["attributes"]);
    for (n, row) in rows.iter().enumerate() {
        assert_eq!(row[0], format!(r#"{{"key-{}":"same","id":{n}}}"#, n % 300));
    }
    assert_eq!(rows.len(), records.len());
}

#[test]
fn keys_that_are_not_text_are_told_apart_as_they_are_written() {
    use crate::ingest::otlp::json_text::JsonText;

    let rig = Rig::new();
    let grant = Grant::open();
    let ctx = Context::new(&rig.ingest, Sender { grant: &grant, tenant: None });
    let mut json = JsonText::default();
    // A key that is no UTF-8, and the text that it is written as.
    let (broken, written) = (&[0x0a, 1, 0xff][..], &[0x0a, 3, 0xef, 0xbf, 0xbd][..]);
    for pairs in [[broken, written], [written, broken], [broken, broken]] {
        for _ in 0..3 {
            json.begin();
            for bytes in pairs {
                let value = WireValue::Bytes(bytes);
                let field = Field { number: 9, value, end_offset: bytes.len() };
                json.attribute(&field, &ctx.rules()).unwrap();
            }
            assert_eq!(json.end(), "{\"\u{fffd}\":null}");
        }
    }
}
