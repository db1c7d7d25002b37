//! What must hold of any bytes that may stand on the disk, and of what is written and read back.
//!
//! Damage is an answer, never a panic; what is not damaged is read; what was written comes back bit
//! for bit.

use std::convert::Infallible;
use std::sync::Arc;

use prometheus_client::registry::Registry;

use super::catalog;
use super::config::Config;
use super::deltas::{self, State, Summed, Total};
use super::disk::Disk;
use super::disk::sim::SimDisk;
use super::files::grams::need::rows_for;
use super::files::grams::{LineNeed, section};
use super::files::group_series::{Place, find_runs, push_pieces};
use super::files::read::{Footers, Selection};
use super::files::read_runs::{RunReader, Wants};
use super::head::chunk::{Arena, Chunk};
use super::metrics::Metrics;
use super::open::{self, Progress};
use super::wal::coding::Reader;
use super::wal::frame::{
    FRAME_HEADER_BYTES, Found, Frames, SEGMENT_HEADER_BYTES, push_frame, segment_header,
};
use super::wal::packed::Packer;
use super::wal::payload::{self, Payload};
use super::wal::replay::read_segment;
use super::{
    FileEntry, HeadFilter, SeriesRequest, Snapshot, backup, deletion, descriptions, flush, objects,
    wal,
};
use crate::base::ManualClock;
use crate::base::fuzzing::Choices;
use crate::model::{
    Commons, ExpHistogram, Labels, MatchOp, Matcher, MetricKind, ReadScope, SeriesMeta, Signal,
    Temporality,
};

const NOW_MS: i64 = 1_800_000_000_000;

fn put(disk: &SimDisk, path: &str, bytes: &[u8]) {
    let mut file = disk.create(path).expect("no fault is armed");
    file.write_all(bytes).expect("no fault is armed");
    file.sync().expect("no fault is armed");
}

/// What follows a segment's header: every byte is in one frame or in one piece of garbage.
pub fn wal_decode(bytes: &[u8]) {
    let mut segment = segment_header(1, 1).to_vec();
    segment.extend_from_slice(bytes);
    let mut n_bytes = SEGMENT_HEADER_BYTES;
    for found in Frames::new(&segment) {
        n_bytes += match found {
            Found::Frame { payload, .. } => FRAME_HEADER_BYTES + payload.len(),
            Found::Garbage { offset, n_bytes: n_bad } => {
                assert_eq!(offset, n_bytes, "garbage begins where the last thing ended");
                n_bad
            }
        };
    }
    assert_eq!(n_bytes, segment.len(), "nothing is passed over");
    let disk = SimDisk::new();
    put(&disk, &wal::path(1), &segment);
    let report = read_segment(&disk, 1, |_, _, _| {}).expect("the disk is well");
    assert!(report.n_torn_bytes <= bytes.len());
    put(&disk, &wal::path(2), bytes);
    drop(read_segment(&disk, 2, |_, _, _| {}));
}

/// A payload whose checksum was right: what can be read is written back the same.
pub fn wal_payload(bytes: &[u8]) {
    let Ok((commons, payload)) = payload::decode(bytes) else { return };
    let mut written = Vec::new();
    push_payload(&mut written, &commons, &payload);
    let (again, read) = payload::decode(&written).expect("what we write we read");
    assert_eq!(again, commons);
    // By its text: NaN is not equal to itself.
    assert_eq!(format!("{read:?}"), format!("{payload:?}"));
}

fn push_payload(out: &mut Vec<u8>, commons: &Commons, payload: &Payload) {
    match payload {
        Payload::Series(series) => {
            let series = series.iter().map(|(slot, labels, meta)| (*slot, labels, meta));
            payload::push_series(out, commons, series);
        }
        Payload::Samples(slots, ms, values, starts) if starts.is_empty() => {
            payload::push_samples(out, commons, slots, ms, values);
        }
        Payload::Samples(slots, ms, values, starts) => {
            payload::push_started_samples(out, commons, slots, (ms, values), starts);
        }
        Payload::Totals(totals) => payload::push_totals(out, commons, totals),
        Payload::ExpHistograms(points) => {
            let points: Vec<_> = points.iter().map(|(slot, ms, h)| (*slot, *ms, h)).collect();
            payload::push_exp_histograms(out, commons, &points);
        }
        Payload::Logs(batch) => {
            payload::push_rows(out, &mut Packer::default(), commons, Signal::Logs, batch);
        }
        Payload::Spans(batch) => {
            payload::push_rows(out, &mut Packer::default(), commons, Signal::Spans, batch);
        }
        Payload::Exemplars(batch) => {
            payload::push_rows(out, &mut Packer::default(), commons, Signal::Exemplars, batch);
        }
        Payload::Points(batch) => {
            payload::push_rows(out, &mut Packer::default(), commons, Signal::Points, batch);
        }
        Payload::Descriptions(described) => payload::push_descriptions(out, commons, described),
    }
}

/// Returns a payload as the writer makes them.
fn any_payload(choices: &mut Choices<'_>) -> Payload {
    let kind = choices.u8();
    let n = choices.below(40);
    match kind % 4 {
        0 => Payload::Samples(
            (0..n).map(|_| choices.u32() >> choices.below(32)).collect(),
            (0..n).map(|_| choices.i64() >> choices.below(64)).collect(),
            (0..n).map(|_| choices.f64()).collect(),
            match choices.below(2) {
                0 => Vec::new(),
                _ => (0..n).map(|_| choices.i64() >> choices.below(64)).collect(),
            },
        ),
        1 => Payload::Series((0..n).map(|_| any_series(choices)).collect()),
        2 => Payload::Totals((0..n).map(|_| (choices.u32(), any_summed(choices))).collect()),
        _ => Payload::ExpHistograms(
            (0..n).map(|_| (choices.u32(), choices.i64(), any_histogram(choices))).collect(),
        ),
    }
}

fn any_summed(choices: &mut Choices<'_>) -> Summed {
    let (start_ns, time_ns) = (choices.i64(), choices.i64());
    let total = match choices.below(3) {
        0 => return Summed::End(time_ns),
        1 => Total::Number(choices.f64()),
        _ => {
            let histogram = ExpHistogram { start_ns, native: None, ..any_histogram(choices) };
            Total::Histogram(Box::new(histogram))
        }
    };
    Summed::Total(State { start_ns, time_ns, shape: u64::from(choices.u32()), total })
}

fn any_series(choices: &mut Choices<'_>) -> (u32, Labels, SeriesMeta) {
    let n_labels = choices.below(6);
    let labels = Labels::from_pairs((0..n_labels).map(|_| (choices.text(), choices.text())));
    let meta = SeriesMeta {
        kind: MetricKind::from_u8(choices.u8() % 8).unwrap_or_default(),
        temporality: Temporality::from_u8(choices.u8() % 3).unwrap_or_default(),
        unit: choices.text().into(),
        tag_rule: choices.text().into(),
    };
    (choices.u32(), labels, meta)
}

fn any_histogram(choices: &mut Choices<'_>) -> ExpHistogram {
    let n_counts = choices.below(9);
    ExpHistogram {
        count: choices.i64().unsigned_abs(),
        sum: (choices.u8() & 1 == 0).then(|| choices.f64()),
        scale: choices.u32().cast_signed(),
        zero_threshold: choices.f64(),
        positive_offset: choices.u32().cast_signed(),
        positive_counts: (0..n_counts).map(|_| choices.i64().unsigned_abs()).collect(),
        max: (choices.u8() & 1 == 0).then(|| choices.f64()),
        start_ns: if choices.u8() & 1 == 0 { 0 } else { choices.i64() },
        ..ExpHistogram::default()
    }
}

/// Payloads are framed, the segment is damaged, and read: nothing is invented, the order holds, and
/// what the damage did not touch is there.
pub fn wal_roundtrip(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let (from, n_bad, pattern) = (choices.u16(), choices.u8(), choices.u8());
    let mut segment = segment_header(1, 1).to_vec();
    // Each frame's place and payload.
    let mut written: Vec<(std::ops::Range<usize>, String)> = Vec::new();
    let mut group_no = 0;
    while !choices.is_empty() && written.len() < 32 {
        group_no += 1;
        let mut group = Vec::new();
        for _ in 0..=choices.below(3) {
            let payload = any_payload(&mut choices);
            let start = group.len();
            // So that no two frames are equal.
            let commons = Commons::new(&format!("c{}", written.len())).expect("a name");
            push_frame(&mut group, group_no, |out| push_payload(out, &commons, &payload));
            let place = segment.len() + start..segment.len() + group.len();
            written.push((place, format!("{commons} {payload:?}")));
        }
        segment.extend(group);
    }
    let bad = SEGMENT_HEADER_BYTES + usize::from(from);
    let bad = bad..(bad + usize::from(n_bad)).min(segment.len()).max(bad);
    for byte in segment.get_mut(bad.clone()).unwrap_or_default() {
        *byte = if pattern == 0 { 0 } else { *byte ^ pattern };
    }
    let disk = SimDisk::new();
    put(&disk, &wal::path(1), &segment);
    let mut read = Vec::new();
    let report = read_segment(&disk, 1, |_, commons, payload| {
        read.push(format!("{commons} {payload:?}"));
    });
    let report = report.expect("the disk is well");
    let mut left = read.iter();
    for (place, payload) in &written {
        let is_whole = place.end <= bad.start || bad.end <= place.start;
        let next = left.as_slice().first();
        assert!(!is_whole || next == Some(payload), "a frame beside the damage was lost");
        if next == Some(payload) {
            left.next();
        }
    }
    assert_eq!(left.next(), None, "a frame that nobody wrote");
    assert!(n_bad > 0 || (report.damage.is_empty() && report.n_torn_bytes == 0), "{report:?}");
}

/// A log whose checksums are right and whose payloads may say anything: the store opens, answers,
/// and writes its files.
pub fn wal_replay(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut segment = segment_header(1, 1).to_vec();
    let mut group = Vec::new();
    let mut is_sane = true;
    while !choices.is_empty() {
        let payload = match choices.u8() {
            0 => {
                is_sane = false;
                let n = choices.u16();
                choices.bytes(usize::from(n)).to_vec()
            }
            _ => {
                let mut payload = Vec::new();
                let commons = Commons::new("heart.example").expect("a name");
                push_payload(&mut payload, &commons, &sane(any_payload(&mut choices)));
                payload
            }
        };
        push_frame(&mut group, 1, |out| out.extend_from_slice(&payload));
    }
    segment.extend(group);
    let disk = SimDisk::new();
    put(&disk, &wal::path(1), &segment);
    let clock = ManualClock::at_ms(NOW_MS);
    let metrics = Metrics::register(&mut Registry::default());
    let opened =
        open::open(Arc::new(disk), clock, Config::default(), metrics, &Progress::default());
    let (mut engine, shared, _) = opened.expect("damage is set aside, the rest is served");
    let in_head = read_all(&Snapshot::new(Arc::clone(&shared), ReadScope::All));
    engine.seal().expect("the disk is well");
    flush::flush_oldest(&shared).expect("what is in memory can be written");
    let in_files = read_all(&Snapshot::new(shared, ReadScope::All));
    assert!(!is_sane || in_files == in_head, "{in_files:?} is not {in_head:?}");
}

/// Makes a payload one that the writer could have written: slots are dense, each series has a name
/// and its commons, and the files' days are days.
fn sane(payload: Payload) -> Payload {
    match payload {
        Payload::Series(mut series) => {
            for (slot, labels, _) in &mut series {
                *slot %= 64;
                let name = format!("m{slot}");
                let pairs = [("__name__", &*name), ("commons", "heart.example")];
                *labels = Labels::from_pairs(pairs);
            }
            Payload::Series(series)
        }
        Payload::Samples(mut slots, ms, values, starts) => {
            slots.iter_mut().for_each(|slot| *slot %= 64);
            let ms = ms.into_iter().map(|ms| NOW_MS - ms.rem_euclid(86_400_000)).collect();
            Payload::Samples(slots, ms, values, starts)
        }
        Payload::Totals(mut totals) => {
            totals.iter_mut().for_each(|(slot, _)| *slot %= 64);
            Payload::Totals(totals)
        }
        Payload::ExpHistograms(mut points) => {
            points.iter_mut().for_each(|(slot, ..)| *slot %= 64);
            Payload::ExpHistograms(points)
        }
        other => other,
    }
}

/// Returns every sample, and how many rows of the others there are.
fn read_all(snapshot: &Snapshot) -> (String, Vec<u64>) {
    let any = Matcher::new("__name__", MatchOp::Re, ".*").expect("a pattern");
    let request = SeriesRequest {
        matchers: &[any],
        start_ms: i64::MIN,
        end_ms: i64::MAX,
        samples_max: usize::MAX,
        series_max: usize::MAX,
    };
    let series = snapshot.select(&request).expect("what was written can be read");
    let mut text = String::new();
    for series in series {
        let bits: Vec<u64> = series.values.iter().map(|value| value.to_bits()).collect();
        text.push_str(&format!("{} {:?} {bits:?}\n", series.labels, series.timestamps_ms));
    }
    let n_rows = |signal| {
        let in_head = snapshot.head(signal, HeadFilter::default());
        let in_files: u64 = snapshot.files(signal).iter().map(|file| file.n_rows).sum();
        in_files + in_head.map(|rows| rows.batch.num_rows() as u64).sum::<u64>()
    };
    (text, vec![n_rows(Signal::Logs), n_rows(Signal::Spans)])
}

/// Samples through the head's codec come back bit for bit.
pub fn head_chunk(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let (mut arena, mut chunk) = (Arena::default(), Chunk::default());
    let mut want: Vec<(i64, u64)> = Vec::new();
    let (mut ms, mut value) = (0_i64, 0.0_f64);
    while !choices.is_empty() {
        let how = choices.u8();
        ms = match how & 3 {
            0 => ms.wrapping_add(15_000),
            1 => ms.wrapping_add(i64::from(choices.u8())),
            2 => ms.wrapping_add(choices.i64() >> (how >> 2)),
            _ => choices.i64(),
        };
        value = match (how >> 2) & 7 {
            0 => value,
            1 => value + f64::from(choices.u8()),
            2 => f64::from(choices.u32()) / 1_000.0,
            3 => -value,
            4 => value.trunc() + f64::from(choices.u16()),
            5 => f64::from_bits(value.to_bits() ^ u64::from(choices.u8())),
            _ => choices.f64(),
        };
        chunk.append(&mut arena, ms, value);
        // The newest sample once more is left out.
        if want.last() != Some(&(ms, value.to_bits())) {
            want.push((ms, value.to_bits()));
        }
    }
    let mut got = Vec::new();
    chunk.for_each(&arena, |ms, value| got.push((ms, value.to_bits())));
    assert_eq!(got, want);
    assert_eq!((chunk.len(), chunk.is_empty()), (want.len(), want.is_empty()));
    assert!(!chunk.is_ascending() || want.is_sorted_by(|a, b| a.0 < b.0));
}

/// A manifest, as it is and with the checksum that it should have.
pub fn manifest_decode(bytes: &[u8]) {
    drop(catalog::parse(bytes));
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().next().unwrap_or("");
    let signed = format!("{line}\n{:08x}\n", crc32c::crc32c(line.as_bytes()));
    let Ok(manifest) = catalog::parse(signed.as_bytes()) else { return };
    let disk = SimDisk::new();
    manifest.write(&disk).expect("what was read can be written");
    assert_eq!(catalog::Manifest::read(&disk).expect("and read"), (manifest, None));
}

/// The list of uploaded files, as it is and with the checksums that its lines should have.
pub fn objects_ledger(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let line = |json: &str| format!("{:08x} {json}\n", crc32c::crc32c(json.as_bytes()));
    let signed: String = text.lines().map(line).collect();
    for bytes in [bytes, signed.as_bytes()] {
        objects::round_trip(bytes);
    }
}

/// A metrics file of any bytes: an answer or an error.
pub fn parquet_open(bytes: &[u8]) {
    const PATH: &str = "parquet/metrics/commons=heart/date=2026-11-21/1-0.parquet";
    let disk = SimDisk::new();
    put(&disk, PATH, bytes);
    let entry = FileEntry {
        path: PATH.to_owned(),
        signal: Signal::Metrics,
        commons: Commons::new("heart").expect("a name"),
        day: 20_778,
        n_rows: 1,
        size_bytes: bytes.len() as u64,
        min_ns: i64::MIN,
        max_ns: i64::MAX,
        has_exp: false,
        seal: None,
        deletions: Vec::new(),
        live: super::Live::default(),
    };
    let by_name = [Matcher::equal("__name__", "up")];
    let footers = Footers::default();
    for matchers in [&by_name[..], &[]] {
        let selection = Selection { matchers, start_ms: 0, end_ms: i64::MAX };
        let place = Place { entry: &entry, selection, known: &|_| None, is_over: &|| false };
        let mut pieces = Vec::new();
        drop(find_runs(&disk, &footers, &place, &mut |group, run| {
            push_pieces(&entry, 0, (group, run), &mut pieces);
            Ok(())
        }));
        for starts in [true, false] {
            let wants = Wants { starts, keeping: true };
            let mut reader = RunReader::new(Arc::new(entry.clone()), pieces.clone(), wants);
            drop(reader.read_until((&disk, &footers), 1, &mut |_| Ok(())));
        }
    }
}

/// A section of grams of any bytes: it covers its rows or says nothing, and rules out none that it
/// does not cover.
pub fn grams_section(bytes: &[u8]) {
    let n_rows = bytes.first().map_or(0, |byte| usize::from(*byte) * 64);
    let section = bytes::Bytes::copy_from_slice(bytes.get(1..).unwrap_or_default());
    let Some(blocks) = section::decode(&section, n_rows) else { return };
    let rows = |need: &LineNeed| {
        let mut of_trace = |_: &str| Ok::<_, Infallible>(Vec::new());
        rows_for(need, &blocks, &mut of_trace).unwrap_or_else(|never| match never {})
    };
    let all = rows(&LineNeed::Nothing);
    assert_eq!(all.iter().map(ExactSizeIterator::len).sum::<usize>(), n_rows);
    const ID: &str = "0d9f3c7ab1e24f6680aa11bb22cc33dd";
    for need in [LineNeed::text(ID.as_bytes()), LineNeed::trace(ID)] {
        let some = rows(&need);
        assert!(some.iter().all(|rows| rows.start < rows.end && rows.end <= n_rows));
        assert!(some.is_sorted_by(|a, b| a.end < b.start), "apart from each other");
    }
}

/// Bytes as a label set: what is one says so again.
pub fn labels_packed(bytes: &[u8]) {
    let Some(labels) = Labels::from_packed(bytes) else { return };
    assert_eq!(labels.to_builder().build(), labels, "packed bytes have one form");
    assert_eq!(labels.iter().count(), labels.len());
    drop(labels.to_string());
}

/// The rows of a deletion, as they are and with the checksums that their entries should have: what is
/// read is written again as it was, and nothing is read of what is damaged.
pub fn deletion_rows(bytes: &[u8]) {
    let id = bytes.get(8..16).and_then(|id| id.try_into().ok()).map_or(0, u64::from_le_bytes);
    check_deletion_rows(id, bytes);
    let mut signed = bytes.to_vec();
    let mut at = 16;
    while let Some(head) = signed.get(at..at + 8) {
        let n_bytes = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(body) = signed.get(at + 8..at + 8 + n_bytes) else { break };
        let sum = crc32c::crc32c_append(crc32c::crc32c(&id.to_le_bytes()), body);
        signed[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
        at += 8 + n_bytes;
    }
    check_deletion_rows(id, &signed);
}

fn check_deletion_rows(id: u64, bytes: &[u8]) {
    for (path, rows) in deletion::decode(id, bytes) {
        let again = deletion::encode(id, std::iter::once((path.as_str(), &rows)));
        assert_eq!(deletion::decode(id, &again).get(&path), Some(&rows));
        let kept: usize = rows.kept(0..1_000).iter().map(ExactSizeIterator::len).sum();
        let in_front = rows.ranges().iter().map(|r| r.end.min(1_000) - r.start.min(1_000));
        assert_eq!(kept + in_front.sum::<usize>(), 1_000);
    }
}

/// The totals of differences, as they are and with the checksum that they should have: what is read is
/// written back as it was.
pub fn totals_file(bytes: &[u8]) {
    drop(deltas::file::decode(bytes));
    let mut whole = bytes.to_vec();
    whole.extend_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
    for (_, states) in deltas::file::decode(&whole).unwrap_or_default() {
        for (_, state) in states {
            let mut written = Vec::new();
            deltas::file::push_state(&mut written, &state);
            let mut reader = Reader { rest: &written };
            let again = deltas::file::read_state(&mut reader).expect("what we write we read");
            // By its text: NaN is not equal to itself.
            assert_eq!(format!("{again:?}"), format!("{state:?}"));
            assert!(reader.rest.is_empty());
        }
    }
}

/// The descriptions of metrics, as they are and with the checksum that they should have: what is read is
/// written back as it was.
pub fn descriptions_file(bytes: &[u8]) {
    drop(descriptions::parse(bytes));
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let sum = crc32c::crc32c(text.as_bytes());
    let Ok(read) = descriptions::parse(format!("{text}{sum:08x}\n").as_bytes()) else { return };
    let written = read.text();
    let again = descriptions::parse(written.as_bytes()).expect("what we write we read");
    assert_eq!(again.text(), written);
}

/// The listing of a backup, as it is and with the checksum that it should have: no path in it leaves
/// the folder that it is restored to.
pub fn backup_listing(bytes: &[u8]) {
    drop(backup::Listing::decode(bytes));
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().next().unwrap_or("");
    let signed = format!("{line}\n{:08x}\n", crc32c::crc32c(line.as_bytes()));
    let Ok(listing) = backup::Listing::decode(signed.as_bytes()) else { return };
    for file in &listing.files {
        let parts: Vec<&str> = file.path.split('/').collect();
        let is_plain = |part: &&str| !part.is_empty() && *part != "." && *part != "..";
        assert!(parts.iter().all(is_plain) && !file.path.contains('\0'), "{}", file.path);
    }
    assert_eq!(backup::Listing::decode(&listing.encode()).expect("it is written as read"), listing);
}
