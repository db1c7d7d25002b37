//! What a frame says: series definitions, samples, exponential histograms, logs or spans of one
//! commons.
//!
//! ```text
//! payload  tag u8 | commons_len u8 | commons | body
//!   1 series    n varint, then each: slot varint | kind u8 | temporality u8 | unit | rule | labels
//!   2 samples   n varint, then each: zigzag(slot - previous) | zigzag(ms - previous) | value f64
//!   3 exp hist  n varint, then each: slot varint | zigzag ms | fields in the order of the struct
//!   4 logs      Arrow IPC message of the logs schema
//!   5 spans     Arrow IPC message of the spans schema
//!   7 exemplars Arrow IPC message of the exemplars schema
//!   8 descriptions  n varint, then each: metric | kind u8 | unit | help
//!   9 packed    tag of the rows u8 | the body of that kind (4, 5, 7 or 13), packed with Snappy
//!   6 native    as 3, each point followed by what only native histograms have (`push_native`)
//!  10 started   as 2, each sample followed by: zigzag(start ns - previous)
//!  11 totals    n varint, then each: slot varint | 1 and a state (`deltas::file`), or 0 | zigzag end ns
//!  12 started   as 6, each point followed by: zigzag start ns
//!  13 points    Arrow IPC message of the points schema, only packed
//! ```
//! Texts are `len varint | bytes`. A slot numbers a series within one generation and commons; it is
//! defined in that generation before its first sample. Slots of one request mostly ascend by one and
//! its timestamps mostly repeat, so a sample costs about ten bytes. Rows are written packed; as they
//! are they stand only in logs of before there was packing.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::model::histogram::FloatCounts;
use crate::model::upgrade::upgrade;
use crate::model::{
    Commons, Description, ExpHistogram, Labels, MetricKind, Native, ResetHint, SeriesMeta, Signal,
    Temporality, ipc,
};
use crate::storage::deltas::Summed;
use crate::storage::deltas::file::{push_state, read_state};
use crate::storage::descriptions::Described;
use crate::storage::wal::coding::{
    PayloadError, Reader, push_counts, push_f64s, push_indexes, push_optional_f64, push_text,
    push_varint, push_zigzag,
};
use crate::storage::wal::packed::{self, Packer};

const TAG_SERIES: u8 = 1;
const TAG_SAMPLES: u8 = 2;
const TAG_EXP_HISTOGRAMS: u8 = 3;
const TAG_LOGS: u8 = 4;
const TAG_SPANS: u8 = 5;
const TAG_NATIVE_HISTOGRAMS: u8 = 6;
const TAG_EXEMPLARS: u8 = 7;
const TAG_DESCRIPTIONS: u8 = 8;
const TAG_PACKED: u8 = 9;
const TAG_STARTED_SAMPLES: u8 = 10;
const TAG_TOTALS: u8 = 11;
const TAG_STARTED_HISTOGRAMS: u8 = 12;
const TAG_POINTS: u8 = 13;

/// One decoded payload.
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// Definitions: (slot, labels, meta).
    Series(Vec<(u32, Labels, SeriesMeta)>),
    /// Columns of one length: slots, ms since 1970 UTC, values; and since when they count, ns since
    /// 1970 UTC, or nothing when none says so.
    Samples(Vec<u32>, Vec<i64>, Vec<f64>, Vec<i64>),
    /// What differences were added up to: (slot, total).
    Totals(Vec<(u32, Summed)>),
    /// (slot, ms since 1970 UTC, histogram).
    ExpHistograms(Vec<(u32, i64, ExpHistogram)>),
    /// Log records.
    Logs(RecordBatch),
    /// Spans.
    Spans(RecordBatch),
    /// Exemplars.
    Exemplars(RecordBatch),
    /// Data points as they were sent.
    Points(RecordBatch),
    /// What is known of metrics.
    Descriptions(Vec<Described>),
}

fn push_head(out: &mut Vec<u8>, tag: u8, commons: &Commons) {
    out.push(tag);
    push_text(out, commons.as_str().as_bytes());
}

/// Appends the definitions of series.
pub fn push_series<'a>(
    out: &mut Vec<u8>,
    commons: &Commons,
    series: impl ExactSizeIterator<Item = (u32, &'a Labels, &'a SeriesMeta)>,
) {
    push_head(out, TAG_SERIES, commons);
    push_varint(out, series.len() as u64);
    for (slot, labels, meta) in series {
        push_varint(out, u64::from(slot));
        out.push(meta.kind as u8);
        out.push(meta.temporality as u8);
        push_text(out, meta.unit.as_bytes());
        push_text(out, meta.tag_rule.as_bytes());
        push_text(out, labels.packed());
    }
}

/// Appends samples; the three columns have one length.
pub fn push_samples(
    out: &mut Vec<u8>,
    commons: &Commons,
    slots: &[u32],
    timestamps_ms: &[i64],
    values: &[f64],
) {
    push_head(out, TAG_SAMPLES, commons);
    push_varint(out, slots.len() as u64);
    out.reserve(slots.len() * 12);
    let (mut last_slot, mut last_ms) = (0, 0);
    for ((&slot, &ms), value) in slots.iter().zip(timestamps_ms).zip(values) {
        push_zigzag(out, i64::from(slot) - last_slot);
        push_zigzag(out, ms.wrapping_sub(last_ms));
        out.extend_from_slice(&value.to_bits().to_le_bytes());
        (last_slot, last_ms) = (i64::from(slot), ms);
    }
}

/// Appends samples that say since when they count; the four columns have one length.
pub fn push_started_samples(
    out: &mut Vec<u8>,
    commons: &Commons,
    slots: &[u32],
    (timestamps_ms, values): (&[i64], &[f64]),
    starts_ns: &[i64],
) {
    push_head(out, TAG_STARTED_SAMPLES, commons);
    push_varint(out, slots.len() as u64);
    out.reserve(slots.len() * 13);
    let (mut last_slot, mut last_ms, mut last_start) = (0, 0, 0_i64);
    let samples = slots.iter().zip(timestamps_ms).zip(values).zip(starts_ns);
    for (((&slot, &ms), value), &start_ns) in samples {
        push_zigzag(out, i64::from(slot) - last_slot);
        push_zigzag(out, ms.wrapping_sub(last_ms));
        out.extend_from_slice(&value.to_bits().to_le_bytes());
        push_zigzag(out, start_ns.wrapping_sub(last_start));
        (last_slot, last_ms, last_start) = (i64::from(slot), ms, start_ns);
    }
}

/// Appends what differences were added up to.
pub fn push_totals(out: &mut Vec<u8>, commons: &Commons, totals: &[(u32, Summed)]) {
    push_head(out, TAG_TOTALS, commons);
    push_varint(out, totals.len() as u64);
    for (slot, summed) in totals {
        push_varint(out, u64::from(*slot));
        match summed {
            Summed::End(time_ns) => {
                out.push(0);
                push_zigzag(out, *time_ns);
            }
            Summed::Total(state) => {
                out.push(1);
                push_state(out, state);
            }
        }
    }
}

/// Appends exponential histograms.
pub fn push_exp_histograms(
    out: &mut Vec<u8>,
    commons: &Commons,
    points: &[(u32, i64, &ExpHistogram)],
) {
    let has_start = points.iter().any(|(.., histogram)| histogram.start_ns != 0);
    let has_native = points.iter().any(|(.., histogram)| histogram.native.is_some());
    let tag = match (has_start, has_native) {
        (true, _) => TAG_STARTED_HISTOGRAMS,
        (false, true) => TAG_NATIVE_HISTOGRAMS,
        (false, false) => TAG_EXP_HISTOGRAMS,
    };
    push_head(out, tag, commons);
    push_varint(out, points.len() as u64);
    for (slot, ms, histogram) in points {
        push_varint(out, u64::from(*slot));
        push_zigzag(out, *ms);
        push_exp_histogram(out, histogram);
        if has_native || has_start {
            push_native(out, histogram.native.as_deref());
        }
        if has_start {
            push_zigzag(out, histogram.start_ns);
        }
    }
}

/// `0`, or `1 | hint u8 | custom bounds | positive indexes | negative indexes | 0`, or with `1 | count |
/// zero count | positive | negative` for the last byte where the counts are floats.
fn push_native(out: &mut Vec<u8>, native: Option<&Native>) {
    out.push(u8::from(native.is_some()));
    let Some(native) = native else { return };
    out.push(native.reset_hint as u8);
    push_f64s(out, &native.custom_bounds);
    push_indexes(out, &native.positive_indexes);
    push_indexes(out, &native.negative_indexes);
    out.push(u8::from(native.float.is_some()));
    if let Some(float) = &native.float {
        out.extend_from_slice(&float.count.to_le_bytes());
        out.extend_from_slice(&float.zero_count.to_le_bytes());
        push_f64s(out, &float.positive);
        push_f64s(out, &float.negative);
    }
}

/// Appends what OTLP says of a point.
pub(in crate::storage) fn push_exp_histogram(out: &mut Vec<u8>, histogram: &ExpHistogram) {
    push_varint(out, histogram.count);
    push_optional_f64(out, histogram.sum);
    push_zigzag(out, i64::from(histogram.scale));
    push_varint(out, histogram.zero_count);
    out.extend_from_slice(&histogram.zero_threshold.to_le_bytes());
    push_zigzag(out, i64::from(histogram.positive_offset));
    push_counts(out, &histogram.positive_counts);
    push_zigzag(out, i64::from(histogram.negative_offset));
    push_counts(out, &histogram.negative_counts);
    push_optional_f64(out, histogram.min);
    push_optional_f64(out, histogram.max);
}

/// Appends what is known of metrics.
pub fn push_descriptions(out: &mut Vec<u8>, commons: &Commons, described: &[Described]) {
    push_head(out, TAG_DESCRIPTIONS, commons);
    push_varint(out, described.len() as u64);
    for (metric, Description { kind, unit, help }) in described {
        push_text(out, metric.as_bytes());
        out.push(*kind as u8);
        push_text(out, unit.as_bytes());
        push_text(out, help.as_bytes());
    }
}

/// Appends log records, spans or exemplars.
pub fn push_rows(
    out: &mut Vec<u8>,
    packer: &mut Packer,
    commons: &Commons,
    signal: Signal,
    batch: &RecordBatch,
) {
    push_head(out, TAG_PACKED, commons);
    out.push(match signal {
        Signal::Logs => TAG_LOGS,
        Signal::Spans => TAG_SPANS,
        Signal::Exemplars => TAG_EXEMPLARS,
        Signal::Points => TAG_POINTS,
        Signal::Metrics => unreachable!("samples have frames of their own"),
    });
    packer.push(out, batch);
}

/// Reads a payload back.
pub fn decode(payload: &[u8]) -> Result<(Commons, Payload), PayloadError> {
    let mut reader = Reader { rest: payload };
    let tag = reader.u8()?;
    let commons =
        std::str::from_utf8(reader.text()?).ok().and_then(|n| Commons::from_stored(n).ok());
    let commons = commons.ok_or(PayloadError("a commons name that is none"))?;
    let payload = match tag {
        TAG_SERIES => Payload::Series(reader.list(Reader::series)?),
        TAG_SAMPLES => reader.samples(false)?,
        TAG_STARTED_SAMPLES => reader.samples(true)?,
        TAG_TOTALS => Payload::Totals(reader.list(Reader::summed)?),
        TAG_EXP_HISTOGRAMS | TAG_NATIVE_HISTOGRAMS | TAG_STARTED_HISTOGRAMS => {
            Payload::ExpHistograms(reader.list(|r| r.exp_point(tag))?)
        }
        TAG_LOGS | TAG_SPANS | TAG_EXEMPLARS => rows(tag, reader.rest)?,
        TAG_PACKED => {
            let tag = reader.u8()?;
            let wrong = PayloadError("rows that are not packed with Snappy");
            rows(tag, &packed::unpack(reader.rest).ok_or(wrong)?)?
        }
        TAG_DESCRIPTIONS => Payload::Descriptions(reader.list(Reader::described)?),
        _ => return Err(PayloadError("a kind of rows this version does not know")),
    };
    Ok((commons, payload))
}

fn rows(tag: u8, stream: &[u8]) -> Result<Payload, PayloadError> {
    Ok(match tag {
        TAG_LOGS => Payload::Logs(batch(stream, &crate::model::log::schema())?),
        TAG_SPANS => Payload::Spans(batch(stream, &crate::model::span::schema())?),
        TAG_EXEMPLARS => Payload::Exemplars(batch(stream, &crate::model::exemplar::schema())?),
        TAG_POINTS => Payload::Points(batch(stream, &crate::model::point::schema())?),
        _ => return Err(PayloadError("a kind of packed rows this version does not know")),
    })
}

fn batch(stream: &[u8], schema: &SchemaRef) -> Result<RecordBatch, PayloadError> {
    let wrong = PayloadError("rows that are not an Arrow IPC stream of the signal's schema");
    let batch = ipc::read_batch(stream).ok_or(wrong.clone())?;
    upgrade(batch, schema).ok_or(wrong)
}

impl Reader<'_> {
    fn described(&mut self) -> Result<Described, PayloadError> {
        let utf8 =
            |text| std::str::from_utf8(text).map_err(|_| PayloadError("text that is not UTF-8"));
        let metric = Arc::from(utf8(self.text()?)?);
        let kind = MetricKind::from_u8(self.u8()?).ok_or(PayloadError("an unknown metric kind"))?;
        let (unit, help) = (Arc::from(utf8(self.text()?)?), Arc::from(utf8(self.text()?)?));
        Ok((metric, Description { kind, unit, help }))
    }

    fn series(&mut self) -> Result<(u32, Labels, SeriesMeta), PayloadError> {
        let slot = self.u32()?;
        let kind = MetricKind::from_u8(self.u8()?).ok_or(PayloadError("an unknown metric kind"))?;
        let temporality =
            Temporality::from_u8(self.u8()?).ok_or(PayloadError("an unknown temporality"))?;
        let utf8 =
            |text| std::str::from_utf8(text).map_err(|_| PayloadError("text that is not UTF-8"));
        let (unit, tag_rule) = (utf8(self.text()?)?, utf8(self.text()?)?);
        let (unit, tag_rule) = (Arc::from(unit), Arc::from(tag_rule));
        let meta = SeriesMeta { kind, temporality, unit, tag_rule };
        let labels =
            Labels::from_packed(self.text()?).ok_or(PayloadError("labels that are none"))?;
        Ok((slot, labels, meta))
    }

    fn samples(&mut self, has_starts: bool) -> Result<Payload, PayloadError> {
        let n = self.count()?;
        let (mut slots, mut timestamps, mut values) =
            (Vec::with_capacity(n), Vec::with_capacity(n), Vec::with_capacity(n));
        let mut starts = Vec::with_capacity(if has_starts { n } else { 0 });
        let (mut slot, mut ms, mut start_ns) = (0_i64, 0_i64, 0_i64);
        for _ in 0..n {
            slot = slot.wrapping_add(self.zigzag()?);
            ms = ms.wrapping_add(self.zigzag()?);
            slots.push(
                u32::try_from(slot).map_err(|_| PayloadError("a slot of more than 32 bits"))?,
            );
            timestamps.push(ms);
            values.push(self.f64()?);
            if has_starts {
                start_ns = start_ns.wrapping_add(self.zigzag()?);
                starts.push(start_ns);
            }
        }
        Ok(Payload::Samples(slots, timestamps, values, starts))
    }

    fn summed(&mut self) -> Result<(u32, Summed), PayloadError> {
        let slot = self.u32()?;
        let summed = match self.u8()? {
            0 => Summed::End(self.zigzag()?),
            _ => Summed::Total(read_state(self)?),
        };
        Ok((slot, summed))
    }

    fn native(&mut self) -> Result<Option<Box<Native>>, PayloadError> {
        if self.u8()? == 0 {
            return Ok(None);
        }
        let hint = ResetHint::from_u8(self.u8()?).ok_or(PayloadError("an unknown reset hint"))?;
        Ok(Some(Box::new(Native {
            reset_hint: hint,
            custom_bounds: self.list(Self::f64)?,
            positive_indexes: self.list(Self::i32)?,
            negative_indexes: self.list(Self::i32)?,
            float: match self.u8()? {
                0 => None,
                _ => Some(FloatCounts {
                    count: self.f64()?,
                    zero_count: self.f64()?,
                    positive: self.list(Self::f64)?,
                    negative: self.list(Self::f64)?,
                }),
            },
        })))
    }

    fn exp_point(&mut self, tag: u8) -> Result<(u32, i64, ExpHistogram), PayloadError> {
        let (slot, ms) = (self.u32()?, self.zigzag()?);
        let mut histogram = self.exp_histogram()?;
        if tag != TAG_EXP_HISTOGRAMS {
            histogram.native = self.native()?;
        }
        if tag == TAG_STARTED_HISTOGRAMS {
            histogram.start_ns = self.zigzag()?;
        }
        Ok((slot, ms, histogram))
    }

    /// Reads what OTLP says of a point.
    pub(in crate::storage) fn exp_histogram(&mut self) -> Result<ExpHistogram, PayloadError> {
        Ok(ExpHistogram {
            count: self.varint()?,
            sum: self.optional_f64()?,
            scale: self.i32()?,
            zero_count: self.varint()?,
            zero_threshold: self.f64()?,
            positive_offset: self.i32()?,
            positive_counts: self.list(Self::varint)?,
            negative_offset: self.i32()?,
            negative_counts: self.list(Self::varint)?,
            min: self.optional_f64()?,
            max: self.optional_f64()?,
            start_ns: 0,
            native: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LogRow, LogsBuilder, SpanRow, SpansBuilder, Tags, metric};
    use crate::storage::deltas::{State, Total};
    use crate::storage::wal::coding::SHORT;

    fn heart() -> Commons {
        Commons::new("heart").unwrap()
    }

    #[track_caller]
    fn check(encode: impl FnOnce(&mut Vec<u8>), want: &Payload) {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        assert_eq!(decode(&bytes), Ok((heart(), want.clone())));
        for len in 0..bytes.len().min(200) {
            assert!(decode(&bytes[..len]).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn samples_come_back_bit_for_bit() {
        let (slots, ms) = (
            vec![0, 1, 2, 7, 3],
            vec![1_700_000_000_000, 1_700_000_000_000, -5, i64::MAX, i64::MIN],
        );
        let values = vec![0.1, -0.0, f64::INFINITY, 1e300, 3.0];

        check(
            |out| push_samples(out, &heart(), &slots, &ms, &values),
            &Payload::Samples(slots.clone(), ms.clone(), values.clone(), Vec::new()),
        );
    }

    #[test]
    fn samples_with_starts_come_back() {
        let (slots, ms, values) = (vec![0, 9, 1], vec![5, 5, i64::MIN], vec![1.0, -0.0, 2.5]);
        let starts = vec![0, i64::MAX, -1];

        check(
            |out| push_started_samples(out, &heart(), &slots, (&ms, &values), &starts),
            &Payload::Samples(slots.clone(), ms.clone(), values.clone(), starts.clone()),
        );
    }

    #[test]
    fn totals_come_back() {
        let state =
            |total| Summed::Total(State { start_ns: 7, time_ns: i64::MAX, shape: u64::MAX, total });
        let histogram = ExpHistogram { start_ns: 7, ..integers() };
        let totals = vec![
            (3, state(Total::Number(0.1))),
            (u32::MAX, Summed::End(-4)),
            (0, state(Total::Histogram(Box::new(histogram)))),
        ];

        check(|out| push_totals(out, &heart(), &totals), &Payload::Totals(totals.clone()));
    }

    #[test]
    fn histograms_with_starts_come_back() {
        let native = Some(Box::new(Native::default()));
        let histograms = [
            ExpHistogram { start_ns: i64::MIN, ..integers() },
            ExpHistogram { native, ..integers() },
        ];
        let points: Vec<_> = (0..).zip(histograms.iter()).map(|(slot, h)| (slot, 5, h)).collect();

        check(
            |out| push_exp_histograms(out, &heart(), &points),
            &Payload::ExpHistograms(
                points.iter().map(|(a, b, h)| (*a, *b, (*h).clone())).collect(),
            ),
        );
    }

    #[test]
    fn nan_payloads_survive() {
        let mut bytes = Vec::new();
        push_samples(&mut bytes, &heart(), &[4], &[9], &[metric::stale_marker()]);

        let (_, Payload::Samples(_, _, values, _)) = decode(&bytes).unwrap() else {
            panic!("samples")
        };

        assert_eq!(values[0].to_bits(), metric::STALE_NAN_BITS);
    }

    #[test]
    fn a_sample_of_a_scrape_costs_about_ten_bytes() {
        let slots: Vec<u32> = (0..1000).collect();
        let mut bytes = Vec::new();

        push_samples(&mut bytes, &heart(), &slots, &[1_700_000_000_000; 1000], &[1.5; 1000]);

        assert!(bytes.len() < 10_100, "{}", bytes.len());
    }

    #[test]
    fn series_are_read_back() {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "node")]);
        let meta = SeriesMeta {
            kind: MetricKind::Counter,
            unit: Arc::from("By"),
            ..SeriesMeta::default()
        };

        check(
            |out| push_series(out, &heart(), [(7, &labels, &meta)].into_iter()),
            &Payload::Series(vec![(7, labels.clone(), meta.clone())]),
        );
    }

    #[test]
    fn exponential_histograms_are_read_back() {
        let histogram = ExpHistogram {
            count: u64::MAX,
            sum: Some(1.25),
            scale: -4,
            positive_offset: -17,
            positive_counts: vec![0, 3, u64::MAX],
            max: Some(f64::INFINITY),
            ..ExpHistogram::default()
        };

        check(
            |out| push_exp_histograms(out, &heart(), &[(1, -2, &histogram)]),
            &Payload::ExpHistograms(vec![(1, -2, histogram.clone())]),
        );
    }

    #[test]
    fn native_histograms_are_read_back() {
        let native = Native {
            reset_hint: ResetHint::Gauge,
            custom_bounds: vec![0.5, 2.5],
            positive_indexes: vec![0, 2],
            negative_indexes: vec![-7],
            float: Some(FloatCounts {
                count: 1.5,
                positive: vec![0.5, 1.0],
                ..FloatCounts::default()
            }),
        };
        let histogram = ExpHistogram { scale: -53, native: Some(Box::new(native)), ..integers() };

        check(
            |out| push_exp_histograms(out, &heart(), &[(1, -2, &histogram), (2, 3, &integers())]),
            &Payload::ExpHistograms(vec![(1, -2, histogram.clone()), (2, 3, integers())]),
        );
    }

    fn integers() -> ExpHistogram {
        ExpHistogram { count: 3, positive_counts: vec![1, 2], ..ExpHistogram::default() }
    }

    #[test]
    fn rows_are_read_back() {
        let mut builder = LogsBuilder::new();
        let row = LogRow {
            timestamp_ns: 7,
            body: "hello",
            attributes: "{}",
            resource: "{}",
            ..LogRow::default()
        };
        builder.push(&Tags::unassigned(), &row);
        let batch = builder.finish();

        let mut packer = Packer::default();
        check(
            |out| push_rows(out, &mut packer, &heart(), Signal::Logs, &batch),
            &Payload::Logs(batch.clone()),
        );
    }

    fn spans(n_rows: usize) -> RecordBatch {
        let mut builder = SpansBuilder::new();
        for row in 0..n_rows {
            let (trace_id, attributes) = (format!("{row:032x}"), format!(r#"{{"url":"/{row}"}}"#));
            let row =
                SpanRow { trace_id: &trace_id, attributes: &attributes, ..SpanRow::default() };
            builder.push(&Tags::unassigned(), &row);
        }
        builder.finish()
    }

    #[test]
    fn rows_of_before_there_was_packing_are_read_back() {
        let batch = spans(100);

        check(
            |out| {
                push_head(out, TAG_SPANS, &heart());
                packed::push_stream(out, &batch);
            },
            &Payload::Spans(batch.clone()),
        );
    }

    #[test]
    fn packed_rows_follow_large_ones_and_are_smaller() {
        let mut packer = Packer::default();
        for n_rows in [3, 50_000, 100] {
            let batch = spans(n_rows);
            let mut bytes = Vec::new();

            push_rows(&mut bytes, &mut packer, &heart(), Signal::Spans, &batch);

            assert_eq!(decode(&bytes), Ok((heart(), Payload::Spans(batch.clone()))));
            assert!(bytes.len() * 2 < batch.get_array_memory_size(), "{n_rows}: {}", bytes.len());
        }
    }

    #[test]
    fn no_changed_byte_of_packed_rows_ends_the_process() {
        let mut bytes = Vec::new();
        push_rows(&mut bytes, &mut Packer::default(), &heart(), Signal::Spans, &spans(3));
        for at in 0..bytes.len() {
            for flip in [0x01, 0x10, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                drop(decode(&damaged));
            }
        }
    }

    #[test]
    fn descriptions_are_read_back() {
        let description = Description {
            kind: MetricKind::StateSet,
            unit: Arc::from("s"),
            help: Arc::from("on or off"),
        };
        let described = vec![(Arc::from("up"), description)];

        check(
            |out| push_descriptions(out, &heart(), &described),
            &Payload::Descriptions(described.clone()),
        );
    }

    #[test]
    fn a_count_that_lies_allocates_nothing() {
        let mut bytes = vec![TAG_SAMPLES, 1, b'a'];
        push_varint(&mut bytes, u64::MAX / 2);

        assert_eq!(decode(&bytes), Err(SHORT));
    }
}
