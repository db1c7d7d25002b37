//! Pushes of any bytes, in both of Loki's encodings.

use super::{json, labels, protobuf};
use crate::ingest::IngestError;
use crate::ingest::fuzzing::{NOW_MS, Room};
use crate::ingest::records::{Context, Decoded};

type Walker = fn(&Context<'_>, &[u8]) -> Result<Decoded, IngestError>;

fn push(walker: Walker, body: &[u8]) {
    let room = Room::new();
    match walker(&Context::new(&room.ingest, room.sender()), body) {
        Ok(decoded) => room.check_decoded(&decoded),
        Err(error) => assert!(error.status().is_client_error(), "{error}"),
    }
}

/// Protobuf without its compression.
pub fn loki_pb(bytes: &[u8]) {
    push(protobuf::decode, bytes);
}

/// JSON. A `NOW` in it is the time on the clock, so that entries are not all too old.
pub fn loki_json(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).replace("NOW", &format!("{NOW_MS}000000"));
    push(json::decode, text.as_bytes());
}

/// The labels of a stream: what was read is read again from how we would write it.
pub fn loki_labels(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(pairs) = labels::parse(&text, usize::MAX) else { return };
    let mut written = String::from("{");
    for (name, value) in &pairs {
        written.push_str(&format!("{}={}, ", go_quoted(name), go_quoted(value)));
    }
    written.push('}');
    assert_eq!(labels::parse(&written, usize::MAX), Ok(pairs), "{written}");
}

fn go_quoted(text: &str) -> String {
    let escaped: String = text.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect();
    format!("\"{escaped}\"")
}
