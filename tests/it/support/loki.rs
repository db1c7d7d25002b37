//! Loki pushes as Alloy and Promtail send them: protobuf in snappy, and JSON.

use prost::Message;
use serde_json::{Value, json};

use super::http::Request;
use super::remote_write::snappy;

/// `logproto.PushRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) streams: Vec<Stream>,
}

/// `logproto.StreamAdapter`: labels in braces, entries, the sender's hash of the labels.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Stream {
    #[prost(string, tag = "1")]
    pub(crate) labels: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) entries: Vec<Entry>,
    #[prost(uint64, tag = "3")]
    pub(crate) hash: u64,
}

/// `logproto.EntryAdapter`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Entry {
    #[prost(message, optional, tag = "1")]
    pub(crate) timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    pub(crate) line: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) structured_metadata: Vec<LabelPair>,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

/// `logproto.LabelPairAdapter`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LabelPair {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

/// Returns an entry without structured metadata.
pub(crate) fn entry(at_ns: i64, line: &str) -> Entry {
    let nanos = i32::try_from(at_ns.rem_euclid(1_000_000_000)).expect("below a second");
    let timestamp = Timestamp { seconds: at_ns.div_euclid(1_000_000_000), nanos };
    Entry { timestamp: Some(timestamp), line: line.to_owned(), structured_metadata: Vec::new() }
}

/// Returns what Promtail and Alloy's `loki.write` send.
pub(crate) fn push(labels: &str, entries: Vec<Entry>) -> Request {
    let stream = Stream { labels: labels.to_owned(), entries, hash: 0 };
    push_raw(snappy(&PushRequest { streams: vec![stream] }.encode_to_vec()))
}

/// Returns a protobuf push with `body` just as it is.
pub(crate) fn push_raw(body: Vec<u8>) -> Request {
    Request::post("/loki/api/v1/push", body)
        .header("Content-Type", "application/x-protobuf")
        .header("User-Agent", "Alloy/v1.10.0")
        .header("X-Scope-OrgID", "anonymous")
}

/// Returns a JSON push of one stream.
pub(crate) fn push_json(stream: &Value, values: &[(i64, &str)]) -> Request {
    let values: Vec<Value> =
        values.iter().map(|(at_ns, line)| json!([at_ns.to_string(), line])).collect();
    let body = json!({"streams": [{"stream": stream, "values": values}]});
    Request::post("/loki/api/v1/push", body.to_string()).header("Content-Type", "application/json")
}
