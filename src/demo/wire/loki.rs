//! Loki's push: `logproto.PushRequest` in snappy, as `loki.write` sends it.

use prost::Message;

use super::super::lines::Streams;
use super::{Parcel, Road, snappy};

/// Lines of one push; Alloy's batches are of 1 MiB.
const LINES_MAX: usize = 2_000;

#[derive(Clone, PartialEq, Message)]
struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<Stream>,
}

/// Labels in braces, and entries.
#[derive(Clone, PartialEq, Message)]
struct Stream {
    #[prost(string, tag = "1")]
    labels: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    line: String,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// Returns the pushes that carry these lines.
pub(super) fn encode(streams: Streams) -> Vec<Parcel> {
    let mut parcels = Vec::new();
    let (mut batch, mut n_lines) = (Vec::new(), 0);
    for (labels, lines) in streams {
        for chunk in lines.chunks(LINES_MAX) {
            if n_lines + chunk.len() > LINES_MAX {
                parcels.push(parcel(std::mem::take(&mut batch), n_lines));
                n_lines = 0;
            }
            n_lines += chunk.len();
            let entries = chunk.iter().map(|(at_ns, line)| entry(*at_ns, line)).collect();
            batch.push(Stream { labels: labels.to_string(), entries });
        }
    }
    if n_lines > 0 {
        parcels.push(parcel(batch, n_lines));
    }
    parcels
}

fn parcel(streams: Vec<Stream>, n_items: usize) -> Parcel {
    let body = snappy(&PushRequest { streams }.encode_to_vec());
    Parcel { road: Road::Logs, n_items, body }
}

fn entry(at_ns: i64, line: &str) -> Entry {
    let nanos = i32::try_from(at_ns.rem_euclid(1_000_000_000)).expect("it is below a second");
    let timestamp = Timestamp { seconds: at_ns.div_euclid(1_000_000_000), nanos };
    Entry { timestamp: Some(timestamp), line: line.to_owned() }
}
