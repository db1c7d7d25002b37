//! Encoded requests whose times, ids and texts are replaced in place before each sending.
//!
//! A template is encoded once with sentinels, byte strings that occur nowhere else, where the
//! fresh content goes; here they are found again. What changes has a fixed width on the wire
//! (`fixed64`, ids, digits of a text), so nothing around it moves.

use memchr::memmem;

use super::mix::mix;

/// What goes into a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// The record's time, `fixed64` ns since 1970 UTC.
    Time,
    /// The record's time and a duration, likewise.
    EndTime,
    /// Sixteen bytes, the same for the records of one trace.
    TraceId,
    /// Eight bytes, fresh for each record.
    SpanId,
    /// The span id of the record before.
    ParentId,
    /// Twelve decimal digits.
    Digits,
    /// A value, `sfixed64` or the bits of a double alike.
    Integer,
    /// A value as a double.
    Double,
}

/// An encoded request and the places in it.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) body: Vec<u8>,
    places: Vec<Place>,
    n_records: u64,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    at: usize,
    record: u64,
    content: Content,
}

/// Returns the sentinel of a number, in the byte order of the wire.
pub(crate) fn sentinel(record: u64, content: Content) -> u64 {
    0xa5c3_9600_0000_0000 | record << 8 | content as u64
}

/// Returns a sentinel of sixteen bytes.
pub(crate) fn sentinel_16(record: u64, content: Content) -> Vec<u8> {
    let half = sentinel(record, content).to_le_bytes();
    [half, half].concat()
}

/// Returns a sentinel of twelve digits.
pub(crate) fn sentinel_digits(record: u64) -> String {
    format!("{:012}", 987_600_000_000 + record)
}

impl Template {
    /// Finds the places of `contents` in each record of an encoded request, in wire order.
    pub(crate) fn new(body: Vec<u8>, n_records: u64, contents: &[Content]) -> Self {
        let mut places = Vec::new();
        let mut from = 0;
        for record in 0..n_records {
            for &content in contents {
                let Some(found) = memmem::find(&body[from..], &wanted(record, content)) else {
                    continue; // Not every record has every place.
                };
                from += found;
                places.push(Place { at: from, record, content });
            }
        }
        assert!(!places.is_empty(), "the template has no place to patch");
        Self { body, places, n_records }
    }

    /// Fills every place; the records get the numbers from `first_record` on.
    pub(crate) fn fill(&mut self, first_record: u64, time_of: impl Fn(u64) -> u64) {
        for place in &self.places {
            let record = first_record + place.record;
            write(&mut self.body[place.at..], place.content, record, time_of(place.record));
        }
    }

    pub(crate) fn n_records(&self) -> u64 {
        self.n_records
    }
}

/// Returns the id of the trace that a record is of.
pub(super) fn trace_id(record: u64) -> [u8; 16] {
    let trace = record / 8;
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(mix(trace) | 1).to_le_bytes());
    id[8..].copy_from_slice(&(mix(!trace) | 1).to_le_bytes());
    id
}

fn wanted(record: u64, content: Content) -> Vec<u8> {
    match content {
        Content::TraceId => sentinel_16(record, content),
        Content::Digits => sentinel_digits(record).into_bytes(),
        _ => sentinel(record, content).to_le_bytes().to_vec(),
    }
}

fn write(place: &mut [u8], content: Content, record: u64, time_ns: u64) {
    let eight = |place: &mut [u8], number: u64| place[..8].copy_from_slice(&number.to_le_bytes());
    match content {
        Content::Time => eight(place, time_ns),
        Content::EndTime => eight(place, time_ns + mix(record) % 250_000_000),
        Content::SpanId => eight(place, mix(record) | 1),
        Content::ParentId => eight(place, mix(record.wrapping_sub(1)) | 1),
        Content::TraceId => place[..16].copy_from_slice(&trace_id(record)),
        Content::Digits => {
            let mut rest = mix(record) % 1_000_000_000_000;
            for digit in place[..12].iter_mut().rev() {
                *digit = b'0' + u8::try_from(rest % 10).expect("a digit");
                rest /= 10;
            }
        }
        Content::Integer => eight(place, record * 7 + mix(record) % 7),
        Content::Double => {
            let thousandths = u32::try_from(mix(record) % 1_000_000).expect("below a million");
            eight(place, (f64::from(thousandths) / 1000.0).to_bits());
        }
    }
}
