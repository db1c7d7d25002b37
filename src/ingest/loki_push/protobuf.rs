//! Loki's protobuf: `PushRequest { streams: [{ labels, entries: [{ timestamp, line,
//! structuredMetadata }] }] }` (loki `pkg/push/push.proto`), walked where it lies.

use std::borrow::Cow;

use super::entries::{Collect, Entry, cut};
use super::labels;
use crate::ingest::IngestError;
use crate::ingest::records::{Context, Decoded};
use crate::ingest::wire::{Field, Reader, WireError};

type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Reads a `PushRequest`.
pub(super) fn decode(ctx: &Context<'_>, body: &[u8]) -> Result<Decoded, IngestError> {
    let mut collect = Collect::new(ctx);
    let mut request = Reader::new(body);
    while let Some(field) = request.next_field()? {
        if field.number == 1 {
            read_stream(&mut collect, &field)?;
        }
    }
    Ok(collect.finish())
}

fn read_stream(collect: &mut Collect<'_>, field: &Field<'_>) -> Result<(), IngestError> {
    let mut text = Cow::Borrowed("");
    let mut reader = field.message()?;
    while let Some(field) = reader.next_field()? {
        if field.number == 1 {
            text = String::from_utf8_lossy(field.bytes()?);
        }
    }
    let labels = labels::parse(&text, collect.labels_max()).map_err(|error| {
        let text = cut(&text);
        IngestError::Invalid(format!("Error parsing labels '{text}' with error: {error}"))
    })?;
    let stream = collect.stream(&text, labels)?;
    let mut reader = field.message()?;
    let mut metadata = Pairs::new();
    while let Some(field) = reader.next_field()? {
        if field.number == 2 {
            metadata.clear();
            let metadata_max = collect.metadata_max();
            let (time_ns, line) = read_entry(field.message()?, &mut metadata, metadata_max)?;
            collect.entry(&stream, &Entry { time_ns, line, metadata: &metadata })?;
        }
    }
    collect.end_stream(&stream);
    Ok(())
}

/// Keeps one pair of metadata more than `metadata_max`, which is enough to refuse the entry: a pair
/// is two bytes on the wire and fifty here.
fn read_entry<'a>(
    mut reader: Reader<'a>,
    metadata: &mut Pairs<'a>,
    metadata_max: usize,
) -> Result<(i64, Cow<'a, str>), WireError> {
    let (mut time_ns, mut line) = (0, Cow::Borrowed(""));
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => time_ns = timestamp_ns(field.message()?)?,
            2 => line = String::from_utf8_lossy(field.bytes()?),
            3 if metadata.len() > metadata_max => drop(field.message()?),
            3 => metadata.push(read_pair(field.message()?)?),
            _ => {}
        }
    }
    Ok((time_ns, line))
}

/// Reads a `google.protobuf.Timestamp`; what does not fit is the nearest that does.
fn timestamp_ns(mut reader: Reader<'_>) -> Result<i64, WireError> {
    let (mut seconds, mut nanos): (i64, i64) = (0, 0);
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => seconds = field.int64()?,
            2 => nanos = i64::from(field.int32()?),
            _ => {}
        }
    }
    Ok(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

fn read_pair<'a>(mut reader: Reader<'a>) -> Result<(Cow<'a, str>, Cow<'a, str>), WireError> {
    let mut pair = (Cow::Borrowed(""), Cow::Borrowed(""));
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => pair.0 = String::from_utf8_lossy(field.bytes()?),
            2 => pair.1 = String::from_utf8_lossy(field.bytes()?),
            _ => {}
        }
    }
    Ok(pair)
}
