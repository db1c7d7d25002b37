//! OTLP through the room's own doors: requests are built and encoded by prost, which shares no line
//! with the walkers.

mod over_grpc;
mod over_http;
mod logs;
mod memo;
mod metrics;
mod spans;
mod transcode;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::ResourceCache;
use crate::ingest::records::{Context, Decoded};
use crate::ingest::tests::fake_store::{NOW_MS, Rig};
use crate::ingest::{IngestError, Sender};
use crate::model::Grant;
use crate::storage::Part;

/// What the rig's clock shows, as OTLP writes it.
const NOW_NS: u64 = NOW_MS.unsigned_abs() * 1_000_000;
const TRACE_ID: [u8; 16] = [
    0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c,
];
const SPAN_ID: [u8; 8] = [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31];
const TRACE_HEX: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN_HEX: &str = "b7ad6b7169203331";

type Walker = fn(&Context<'_>, &ResourceCache, &[u8]) -> Result<Decoded, IngestError>;

/// Runs a walker as anybody.
fn decode(rig: &Rig, walker: Walker, body: &[u8]) -> Result<Decoded, IngestError> {
    let grant = Grant::open();
    let sender = Sender { grant: &grant, tenant: None };
    walker(&Context::new(&rig.ingest, sender), &ResourceCache::default(), body)
}

/// Returns the rows of all log and span parts, a text a column; a null is `-`.
fn columns(decoded: &Decoded, names: &[&str]) -> Vec<Vec<String>> {
    let batches = decoded.parts.iter().filter_map(|part| match part {
        Part::Logs { batch, .. } | Part::Spans { batch, .. } => Some(batch),
        _ => None,
    });
    batches.flat_map(|batch| rows(batch, names)).collect()
}

fn rows(batch: &RecordBatch, names: &[&str]) -> Vec<Vec<String>> {
    let texts: Vec<_> = names
        .iter()
        .map(|name| {
            let column = batch.column_by_name(name).unwrap();
            let column = match column.data_type() {
                DataType::Timestamp(..) => cast(column, &DataType::Int64).unwrap(),
                _ => std::sync::Arc::clone(column),
            };
            cast(&column, &DataType::Utf8).unwrap()
        })
        .collect();
    let cell = |column: &arrow::array::ArrayRef, row: usize| {
        let column = column.as_string::<i32>();
        if column.is_null(row) { "-".to_owned() } else { column.value(row).to_owned() }
    };
    (0..batch.num_rows()).map(|row| texts.iter().map(|text| cell(text, row)).collect()).collect()
}

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn text(text: &str) -> AnyValue {
    any(Value::StringValue(text.to_owned()))
}

fn pair(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn list(values: Vec<AnyValue>) -> AnyValue {
    any(Value::ArrayValue(ArrayValue { values }))
}

fn map(values: Vec<KeyValue>) -> AnyValue {
    any(Value::KvlistValue(KeyValueList { values }))
}

fn resource(pairs: &[(&str, &str)]) -> Option<Resource> {
    let attributes = pairs.iter().map(|(key, value)| pair(key, text(value))).collect();
    Some(Resource { attributes, ..Resource::default() })
}

fn scope(name: &str) -> Option<InstrumentationScope> {
    Some(InstrumentationScope { name: name.to_owned(), ..InstrumentationScope::default() })
}

/// Lists nested `depth` times.
fn nested(depth: usize) -> AnyValue {
    (0..depth).fold(text("deep"), |inner, _| list(vec![inner]))
}

/// A body cut anywhere, or with any one byte changed, is an error or something else, never a panic.
#[track_caller]
fn check_damage(walker: Walker, body: &[u8]) {
    let rig = Rig::new();
    for end in 0..body.len() {
        drop(decode(&rig, walker, &body[..end]));
    }
    for idx in 0..body.len() {
        for flip in [0x01, 0x04, 0x80, 0xff] {
            let mut damaged = body.to_vec();
            damaged[idx] ^= flip;
            drop(decode(&rig, walker, &damaged));
        }
    }
}
