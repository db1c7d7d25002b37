//! A native histogram as both versions of remote write have it: read, checked, and made the form that
//! the store keeps.
//!
//! ```text
//! Histogram { 1: count_int u64 | 2: count_float, 3: sum, 4: schema sint32, 5: zero_threshold,
//!             6: zero_count_int u64 | 7: zero_count_float,
//!             8: negative_spans*, 9: negative_deltas sint64*, 10: negative_counts double*,
//!             11: positive_spans*, 12: positive_deltas sint64*, 13: positive_counts double*,
//!             14: reset_hint, 15: timestamp, 16: custom_values double* }
//! BucketSpan { 1: offset sint32, 2: length u32 }
//! ```
//!
//! The checks are Prometheus': a histogram whose parts do not fit together is refused in words.

use crate::ingest::limits::Limits;
use crate::ingest::outcome::{Reason, Refusal};
use crate::ingest::wire::{Field, Reader, Value, WireError};
use crate::model::histogram::{CUSTOM_SCHEMA, FloatCounts, SCHEMA_MIN};
use crate::model::metric::is_stale;
use crate::model::{ExpHistogram, Native, ResetHint};

/// The finest schema that is taken; finer ones than 8 are stored as sent and shown coarser.
const SCHEMA_TAKEN_MAX: i32 = 52;

/// What a message says.
pub(super) enum Point {
    /// The end of the series.
    Stale,
    /// A histogram.
    Histogram(Box<ExpHistogram>),
}

/// Reads the message; the outer error is one of the bytes, the inner one of what they say.
pub(super) fn read(
    mut message: Reader<'_>,
    limits: &Limits,
) -> Result<(i64, Result<Point, Refusal>), WireError> {
    let mut raw = Raw { max: limits.buckets_per_point, ..Raw::default() };
    while let Some(field) = message.next_field()? {
        raw.field(&field)?;
    }
    let timestamp_ms = raw.timestamp_ms;
    Ok((timestamp_ms, raw.point().map_err(refuse)))
}

fn refuse(what: String) -> Refusal {
    Refusal::new(Reason::NativeHistogram, format!("invalid native histogram: {what}"))
}

#[derive(Default)]
struct Raw {
    count: u64,
    count_float: Option<f64>,
    sum: f64,
    schema: i32,
    zero_threshold: f64,
    zero_count: u64,
    zero_count_float: Option<f64>,
    negative: Side,
    positive: Side,
    reset_hint: u64,
    timestamp_ms: i64,
    start_ms: i64,
    custom_bounds: Vec<f64>,
    /// Items kept of each list: one more than may be.
    max: usize,
}

/// The buckets on one side of zero.
#[derive(Default)]
struct Side {
    spans: Vec<(i32, u32)>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

impl Raw {
    fn field(&mut self, field: &Field<'_>) -> Result<(), WireError> {
        let keep = self.max.saturating_add(1);
        match field.number {
            1 => self.count = field.varint()?,
            2 => self.count_float = Some(field.double()?),
            3 => self.sum = field.double()?,
            4 => self.schema = sint32(field)?,
            5 => self.zero_threshold = field.double()?,
            6 => self.zero_count = field.varint()?,
            7 => self.zero_count_float = Some(field.double()?),
            8 => push_span(&mut self.negative.spans, field, keep)?,
            9 => push_deltas(&mut self.negative.deltas, field, keep)?,
            10 => push_doubles(&mut self.negative.counts, field, keep)?,
            11 => push_span(&mut self.positive.spans, field, keep)?,
            12 => push_deltas(&mut self.positive.deltas, field, keep)?,
            13 => push_doubles(&mut self.positive.counts, field, keep)?,
            14 => self.reset_hint = field.varint()?,
            15 => self.timestamp_ms = field.int64()?,
            16 => push_doubles(&mut self.custom_bounds, field, keep)?,
            17 => self.start_ms = field.int64()?,
            _ => {}
        }
        Ok(())
    }

    fn point(self) -> Result<Point, String> {
        if is_stale(self.sum) {
            return Ok(Point::Stale);
        }
        self.check_shape()?;
        let is_float = self.count_float.is_some() || self.zero_count_float.is_some();
        let (positive, negative) = (self.positive.read(is_float)?, self.negative.read(is_float)?);
        let is_custom = self.schema == CUSTOM_SCHEMA;
        if is_custom {
            self.check_custom(&positive)?;
        }
        let hint = u8::try_from(self.reset_hint).ok().and_then(ResetHint::from_u8);
        let mut native = Native {
            reset_hint: hint.unwrap_or_default(),
            custom_bounds: self.custom_bounds,
            ..Native::default()
        };
        let mut histogram = ExpHistogram {
            sum: Some(self.sum),
            scale: self.schema,
            zero_threshold: self.zero_threshold,
            start_ns: self.start_ms.saturating_mul(1_000_000),
            ..ExpHistogram::default()
        };
        // The columns count exponential buckets as OTLP does, from one less.
        let down = i32::from(!is_custom);
        (histogram.positive_offset, native.positive_indexes) = place(&positive.indexes, down);
        (histogram.negative_offset, native.negative_indexes) = place(&negative.indexes, down);
        if is_float {
            let count = self.count_float.unwrap_or(0.0);
            let zero_count = self.zero_count_float.unwrap_or(0.0);
            if count < 0.0 || zero_count < 0.0 {
                return Err("a count is negative".to_owned());
            }
            let (positive, negative) = (positive.floats, negative.floats);
            native.float = Some(FloatCounts { count, zero_count, positive, negative });
        } else {
            let in_buckets = [&positive.integers, &negative.integers].into_iter().flatten();
            let sum = in_buckets.copied().try_fold(self.zero_count, u64::checked_add);
            check_count(self.count, sum, self.sum)?;
            (histogram.count, histogram.zero_count) = (self.count, self.zero_count);
            (histogram.positive_counts, histogram.negative_counts) =
                (positive.integers, negative.integers);
        }
        histogram.native = Some(Box::new(native));
        Ok(Point::Histogram(Box::new(histogram)))
    }

    fn check_shape(&self) -> Result<(), String> {
        let is_exponential = (SCHEMA_MIN..=SCHEMA_TAKEN_MAX).contains(&self.schema);
        if !is_exponential && self.schema != CUSTOM_SCHEMA {
            return Err(format!(
                "schema {} is neither {SCHEMA_MIN} to 8 nor {CUSTOM_SCHEMA}",
                self.schema
            ));
        }
        if is_exponential && !self.custom_bounds.is_empty() {
            return Err("an exponential schema with custom bounds".to_owned());
        }
        if self.zero_threshold.is_nan() || self.zero_threshold < 0.0 {
            return Err(format!("a zero threshold of {}", self.zero_threshold));
        }
        let longest = [&self.positive, &self.negative].map(Side::longest).into_iter().max();
        let n = longest.unwrap_or(0).max(self.custom_bounds.len());
        if n > self.max {
            return Err(format!("more than {} buckets (limits.buckets_per_point)", self.max));
        }
        Ok(())
    }

    fn check_custom(&self, positive: &Read) -> Result<(), String> {
        let bounds = &self.custom_bounds;
        if self.zero_count != 0
            || self.zero_count_float.is_some_and(|count| count != 0.0)
            || self.zero_threshold != 0.0
            || !self.negative.spans.is_empty()
        {
            return Err("custom buckets with a zero bucket or negative buckets".to_owned());
        }
        if bounds.iter().any(|bound| !bound.is_finite()) || !bounds.is_sorted_by(|a, b| a < b) {
            return Err("custom bounds must be finite and strictly ascending".to_owned());
        }
        let n_bounds = i32::try_from(bounds.len()).unwrap_or(i32::MAX);
        match positive.indexes.iter().any(|index| !(0..=n_bounds).contains(index)) {
            true => Err("a custom bucket without bounds".to_owned()),
            false => Ok(()),
        }
    }
}

fn check_count(count: u64, in_buckets: Option<u64>, sum: f64) -> Result<(), String> {
    match in_buckets {
        Some(in_buckets) if in_buckets == count => Ok(()),
        // NaN is counted and is in no bucket.
        Some(in_buckets) if sum.is_nan() && in_buckets < count => Ok(()),
        Some(in_buckets) => Err(format!("the count is {count}, the buckets have {in_buckets}")),
        None => Err("the buckets have more than 64 bits of observations".to_owned()),
    }
}

/// Buckets by index, with counts of one of the two kinds.
#[derive(Default)]
struct Read {
    indexes: Vec<i32>,
    integers: Vec<u64>,
    floats: Vec<f64>,
}

impl Side {
    fn longest(&self) -> usize {
        self.spans.len().max(self.deltas.len()).max(self.counts.len())
    }

    fn read(&self, is_float: bool) -> Result<Read, String> {
        let n_counts = if is_float { self.counts.len() } else { self.deltas.len() };
        let in_spans: u64 = self.spans.iter().map(|(_, length)| u64::from(*length)).sum();
        if in_spans != u64::try_from(n_counts).unwrap_or(u64::MAX) {
            return Err(format!("spans of {in_spans} buckets with {n_counts} counts"));
        }
        let mut read = Read { indexes: self.indexes(n_counts)?, ..Read::default() };
        if is_float {
            if self.counts.iter().any(|count| *count < 0.0) {
                return Err("a bucket has a negative count".to_owned());
            }
            read.floats.clone_from(&self.counts);
        } else {
            let mut count = 0_i64;
            for delta in &self.deltas {
                let sum = count.checked_add(*delta).and_then(|sum| u64::try_from(sum).ok());
                let sum = sum.ok_or("a bucket has a negative count, or one past 63 bits")?;
                count = count.wrapping_add(*delta);
                read.integers.push(sum);
            }
        }
        Ok(read)
    }

    fn indexes(&self, n: usize) -> Result<Vec<i32>, String> {
        let mut indexes = Vec::with_capacity(n);
        let mut next = 0_i32;
        for (at, &(offset, length)) in self.spans.iter().enumerate() {
            if at > 0 && offset < 0 {
                return Err("a span with a negative offset".to_owned());
            }
            next = next.checked_add(offset).ok_or("a bucket's index has more than 32 bits")?;
            for _ in 0..length {
                indexes.push(next);
                next = next.checked_add(1).ok_or("a bucket's index has more than 32 bits")?;
            }
        }
        // The store's index is one less.
        match indexes.first() {
            Some(&i32::MIN) => Err("a bucket's index has more than 32 bits".to_owned()),
            _ => Ok(indexes),
        }
    }
}

/// Returns the first index, and all of them where they have gaps.
fn place(indexes: &[i32], down: i32) -> (i32, Vec<i32>) {
    let first = indexes.first().map_or(0, |first| first - down);
    let is_dense = indexes.windows(2).all(|pair| pair[1] == pair[0] + 1);
    let listed = if is_dense { Vec::new() } else { indexes.iter().map(|i| i - down).collect() };
    (first, listed)
}

fn sint32(field: &Field<'_>) -> Result<i32, WireError> {
    // What does not fit is no schema and no offset of anybody.
    Ok(i32::try_from(field.sint64()?).unwrap_or(i32::MAX))
}

fn push_span(spans: &mut Vec<(i32, u32)>, field: &Field<'_>, keep: usize) -> Result<(), WireError> {
    let (mut offset, mut length) = (0, 0);
    let mut reader = field.message()?;
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => offset = sint32(&field)?,
            2 => length = field.uint32()?,
            _ => {}
        }
    }
    if spans.len() < keep {
        spans.push((offset, length));
    }
    Ok(())
}

fn push_deltas(deltas: &mut Vec<i64>, field: &Field<'_>, keep: usize) -> Result<(), WireError> {
    let mut push = |number: u64| {
        if deltas.len() < keep {
            deltas.push(crate::ingest::wire::zigzag(number));
        }
    };
    if let Value::Varint(number) = field.value {
        push(number);
        return Ok(());
    }
    let mut packed = field.message()?;
    while !packed.is_empty() {
        push(packed.varint()?);
    }
    Ok(())
}

fn push_doubles(values: &mut Vec<f64>, field: &Field<'_>, keep: usize) -> Result<(), WireError> {
    let mut push = |bits: u64| {
        if values.len() < keep {
            values.push(f64::from_bits(bits));
        }
    };
    if let Value::Fixed64(bits) = field.value {
        push(bits);
        return Ok(());
    }
    let mut packed = field.message()?;
    while !packed.is_empty() {
        push(packed.fixed64()?);
    }
    Ok(())
}
