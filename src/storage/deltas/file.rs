//! The totals of all series on disk: one file, replaced whole before the log is cut.
//!
//! ```text
//! file     magic "CWTOTAL1" | n commons varint | commons | crc u32
//! commons  name | n varint | totals                                 a text is its length and its bytes
//! total    series id u64 | state
//! state    kind u8 | zigzag start ns | zigzag time ns | shape u64 | f64, or a histogram as in the log
//! ```
//! Numbers are little-endian; the CRC-32C covers all before it. Kind 0 is a number, 1 a histogram.

use std::io;
use std::sync::atomic::Ordering;

use crc32c::crc32c;

use super::{State, Total};
use crate::model::Commons;
use crate::storage::disk::{self, Disk};
use crate::storage::retire;
use crate::storage::shared::Shared;
use crate::storage::wal::coding::{
    PayloadError, Reader, SHORT, push_text, push_varint, push_zigzag,
};
use crate::storage::wal::payload::push_exp_histogram;

/// Where it is.
pub const FILE: &str = "parquet/totals.bin";

const MAGIC: &[u8] = b"CWTOTAL1";
const KIND_NUMBER: u8 = 0;
const KIND_HISTOGRAM: u8 = 1;

/// The totals of one commons, by the ids of their series.
pub type OfCommons = (Commons, Vec<(u64, State)>);

/// Appends a total.
pub(in crate::storage) fn push_state(out: &mut Vec<u8>, state: &State) {
    out.push(match state.total {
        Total::Number(_) => KIND_NUMBER,
        Total::Histogram(_) => KIND_HISTOGRAM,
    });
    push_zigzag(out, state.start_ns);
    push_zigzag(out, state.time_ns);
    out.extend_from_slice(&state.shape.to_le_bytes());
    match &state.total {
        Total::Number(number) => out.extend_from_slice(&number.to_bits().to_le_bytes()),
        Total::Histogram(histogram) => push_exp_histogram(out, histogram),
    }
}

/// Reads a total back.
pub(in crate::storage) fn read_state(reader: &mut Reader<'_>) -> Result<State, PayloadError> {
    let kind = reader.u8()?;
    let (start_ns, time_ns) = (reader.zigzag()?, reader.zigzag()?);
    let shape = reader.u64()?;
    let total = match kind {
        KIND_NUMBER => Total::Number(reader.f64()?),
        KIND_HISTOGRAM => {
            let mut histogram = reader.exp_histogram()?;
            histogram.start_ns = start_ns;
            Total::Histogram(Box::new(histogram))
        }
        _ => return Err(PayloadError("a kind of total this version does not know")),
    };
    Ok(State { start_ns, time_ns, shape, total })
}

/// Writes all totals, if one has changed since.
pub fn write(shared: &Shared) -> io::Result<()> {
    if !shared.totals_changed.swap(false, Ordering::AcqRel) {
        return Ok(());
    }
    let written = disk::replace_file(&*shared.disk, FILE, &encode_all(shared));
    if written.is_err() {
        shared.totals_changed.store(true, Ordering::Release);
    }
    written
}

fn encode_all(shared: &Shared) -> Vec<u8> {
    let entries = shared.commons.all();
    let mut out = MAGIC.to_vec();
    push_varint(&mut out, entries.len() as u64);
    for entry in &entries {
        let registry = entry.registry.read();
        let totals = entry.totals.lock();
        push_text(&mut out, entry.name.as_str().as_bytes());
        push_varint(&mut out, totals.len() as u64);
        let id_of = |series_idx| registry.series(series_idx).id;
        totals.for_each(id_of, |id, state| {
            out.extend_from_slice(&id.to_le_bytes());
            push_state(&mut out, state);
        });
    }
    let crc = crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Reads them back; `Err` says what is wrong with the file.
pub fn read(disk: &dyn Disk) -> io::Result<Result<Vec<OfCommons>, String>> {
    match disk.read(FILE) {
        Ok(bytes) => Ok(decode(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ok(Vec::new())),
        Err(error) => Err(error),
    }
}

/// Hands what was read to the commons.
pub fn restore(shared: &Shared, all: Vec<OfCommons>) {
    let now_s = retire::seconds(shared.clock.monotonic_ns());
    for (commons, states) in all.into_iter().filter(|(_, states)| !states.is_empty()) {
        let entry = shared.commons.get(shared.commons.index_of(&commons));
        entry.totals.lock().wait(states, now_s);
    }
}

/// Reads the bytes of a file.
pub(in crate::storage) fn decode(bytes: &[u8]) -> Result<Vec<OfCommons>, String> {
    let (body, crc) = bytes.split_last_chunk::<4>().ok_or("it has no checksum")?;
    if crc32c(body) != u32::from_le_bytes(*crc) {
        return Err("wrong checksum".to_owned());
    }
    let rest = body.strip_prefix(MAGIC).ok_or("it is not a file of totals")?;
    let mut reader = Reader { rest };
    let all = reader.list(of_commons).map_err(|error| error.to_string())?;
    if reader.rest.is_empty() { Ok(all) } else { Err("more bytes than it says".to_owned()) }
}

fn of_commons(reader: &mut Reader<'_>) -> Result<OfCommons, PayloadError> {
    let name = std::str::from_utf8(reader.text()?).ok();
    let commons = name.and_then(|name| Commons::from_stored(name).ok());
    let commons = commons.ok_or(PayloadError("a commons name that is none"))?;
    let states = reader.list(|reader| {
        let id = reader.u64().map_err(|_| SHORT)?;
        Ok((id, read_state(reader)?))
    })?;
    Ok((commons, states))
}
