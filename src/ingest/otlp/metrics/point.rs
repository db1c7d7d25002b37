//! Data points where they lie: numbers are read, attributes are only measured.

use xxhash_rust::xxh3::Xxh3;

use crate::ingest::outcome::{Reason, Refusal};
use crate::ingest::records::RowError;
use crate::ingest::wire::{Field, Reader, Value, WireError};
use crate::model::ExpHistogram;

/// The most buckets of a histogram, or quantiles of a summary; SDKs make at most 160, and each is a
/// series.
const BUCKETS_MAX: usize = 10_000;

/// OTLP `DataPointFlags`: the point says that there is no value (any more).
const NO_RECORDED_VALUE: u32 = 1;

/// What all kinds of points have.
#[derive(Debug, Default)]
pub(super) struct Common<'a> {
    /// The point's message.
    pub(super) bytes: &'a [u8],
    /// The time of the value, ns since 1970 UTC; 0 is unknown.
    pub(super) time_ns: u64,
    /// Since when the value counts, ns since 1970 UTC; 0 is unknown.
    pub(super) start_ns: u64,
    flags: u32,
    /// The number of the field of exemplars, when there are any.
    exemplars: u32,
    /// Where the attributes are in `bytes`, if they lie side by side.
    attributes: Span,
}

/// A run of fields in a message.
#[derive(Debug, Default, Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
    has_gaps: bool,
}

impl<'a> Common<'a> {
    /// Returns true when the point ends its series instead of adding a value.
    pub(super) fn is_stale(&self) -> bool {
        self.flags & NO_RECORDED_VALUE != 0
    }

    /// Returns the number of the field of exemplars, when there are any.
    pub(super) fn exemplars_number(&self) -> Option<u32> {
        (self.exemplars != 0).then_some(self.exemplars)
    }

    /// Returns the bytes of the attributes, which encoders write side by side; `None` when other
    /// fields stand between them.
    pub(super) fn attribute_bytes(&self) -> Option<&'a [u8]> {
        let Span { start, end, has_gaps } = self.attributes;
        if has_gaps { None } else { Some(&self.bytes[start..end]) }
    }
}

/// Walks a point; `on_field` gets what is not common to all kinds.
fn walk<'a>(
    field: &Field<'a>,
    numbers: Numbers,
    mut on_field: impl FnMut(&Field<'a>) -> Result<(), RowError>,
) -> Result<Common<'a>, RowError> {
    let mut reader = field.message()?;
    let base = reader.offset();
    let mut common = Common { bytes: reader.rest(), ..Common::default() };
    loop {
        let start = reader.offset() - base;
        let Some(field) = reader.next_field()? else { return Ok(common) };
        if field.number == numbers.attributes {
            let span = &mut common.attributes;
            if span.end == 0 {
                span.start = start;
            }
            span.has_gaps |= span.end != 0 && span.end != start;
            span.end = reader.offset() - base;
        } else if field.number == 2 {
            common.start_ns = field.fixed64()?;
        } else if field.number == 3 {
            common.time_ns = field.fixed64()?;
        } else if field.number == numbers.exemplars {
            common.exemplars = field.number;
        } else if field.number == numbers.flags {
            common.flags = field.uint32()?;
        } else {
            on_field(&field)?;
        }
    }
}

/// The field numbers that differ between kinds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    /// `attributes`.
    pub(super) attributes: u32,
    /// `flags`.
    pub(super) flags: u32,
    /// `exemplars`, 0 where there are none.
    pub(super) exemplars: u32,
}

/// The numbers of `NumberDataPoint`.
pub(super) const NUMBER: Numbers = Numbers { attributes: 7, flags: 8, exemplars: 5 };
/// The numbers of `SummaryDataPoint`, which has no exemplars: its field 5 is the sum.
pub(super) const SUMMARY: Numbers = Numbers { attributes: 7, flags: 8, exemplars: 0 };
/// The numbers of `HistogramDataPoint`.
pub(super) const HISTOGRAM: Numbers = Numbers { attributes: 9, flags: 10, exemplars: 8 };
/// The numbers of `ExponentialHistogramDataPoint`.
pub(super) const EXP_HISTOGRAM: Numbers = Numbers { attributes: 1, flags: 10, exemplars: 11 };

/// Reads a `NumberDataPoint`; ints become doubles, as everywhere in Prometheus.
pub(super) fn number<'a>(field: &Field<'a>) -> Result<(Common<'a>, Option<f64>), RowError> {
    let mut value = None;
    let common = walk(field, NUMBER, |field| {
        match field.number {
            4 => value = Some(field.double()?),
            6 => value = Some(to_f64(field.sfixed64()?)),
            _ => {}
        }
        Ok(())
    })?;
    Ok((common, value))
}

#[expect(clippy::cast_precision_loss, reason = "what a double can hold of an int is what is kept")]
pub(super) fn to_f64(int: i64) -> f64 {
    int as f64
}

/// The numbers of a classic histogram; the lists are reused from point to point.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// All values.
    pub(super) count: u64,
    /// Their sum, when the sender knows it.
    pub(super) sum: Option<f64>,
    /// Values in each bucket, not cumulated; one more than there are bounds, or none.
    pub(super) counts: Vec<u64>,
    /// Upper bounds, inclusive.
    pub(super) bounds: Vec<f64>,
}

impl Histogram {
    /// Returns what tells histograms apart that cannot be added up: their bounds, and whether they have
    /// a sum. Never 0.
    pub(super) fn shape(&self) -> u64 {
        let mut hasher = Xxh3::new();
        self.bounds.iter().for_each(|bound| hasher.update(&bound.to_bits().to_le_bytes()));
        hasher.update(&[u8::from(self.sum.is_some())]);
        hasher.digest().max(1)
    }

    /// Reads a `HistogramDataPoint`.
    pub(super) fn read<'a>(&mut self, field: &Field<'a>) -> Result<Common<'a>, RowError> {
        (self.count, self.sum) = (0, None);
        self.counts.clear();
        self.bounds.clear();
        let common = walk(field, HISTOGRAM, |field| {
            match field.number {
                4 => self.count = field.fixed64()?,
                5 => self.sum = Some(field.double()?),
                6 => each_fixed64(field, |bits| push_bucket(&mut self.counts, bits))?,
                7 => {
                    let bounds = &mut self.bounds;
                    each_fixed64(field, |bits| push_bucket(bounds, f64::from_bits(bits)))?;
                }
                _ => {}
            }
            Ok(())
        })?;
        check_buckets(self.counts.len().max(self.bounds.len()))?;
        let (n_counts, n_bounds) = (self.counts.len(), self.bounds.len());
        let fits = n_counts == n_bounds + 1 || (n_counts == 0 && n_bounds == 0);
        if !fits && !common.is_stale() {
            let message = format!(
                "a histogram has {n_counts} bucket counts for {n_bounds} bounds: wanted one more than bounds"
            );
            return Err(RowError::Refused(Refusal::new(Reason::Invalid, message)));
        }
        Ok(common)
    }
}

/// The numbers of a summary; the list is reused from point to point.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// All values.
    pub(super) count: u64,
    /// Their sum.
    pub(super) sum: f64,
    /// (quantile, value).
    pub(super) quantiles: Vec<(f64, f64)>,
}

impl Summary {
    /// Reads a `SummaryDataPoint`.
    pub(super) fn read<'a>(&mut self, field: &Field<'a>) -> Result<Common<'a>, RowError> {
        (self.count, self.sum) = (0, 0.0);
        self.quantiles.clear();
        walk(field, SUMMARY, |field| {
            match field.number {
                4 => self.count = field.fixed64()?,
                5 => self.sum = field.double()?,
                6 => {
                    push_bucket(&mut self.quantiles, quantile(field.message()?)?);
                    check_buckets(self.quantiles.len())?;
                }
                _ => {}
            }
            Ok(())
        })
    }
}

/// Reads a quantile and its value.
pub(super) fn quantile(mut reader: Reader<'_>) -> Result<(f64, f64), WireError> {
    let mut pair = (0.0, 0.0);
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => pair.0 = field.double()?,
            2 => pair.1 = field.double()?,
            _ => {}
        }
    }
    Ok(pair)
}

/// Reads an `ExponentialHistogramDataPoint`.
pub(super) fn exp_histogram<'a>(field: &Field<'a>) -> Result<(Common<'a>, ExpHistogram), RowError> {
    let mut point = ExpHistogram::default();
    let common = walk(field, EXP_HISTOGRAM, |field| {
        match field.number {
            4 => point.count = field.fixed64()?,
            5 => point.sum = Some(field.double()?),
            6 => point.scale = sint32(field)?,
            7 => point.zero_count = field.fixed64()?,
            8 => buckets(field, &mut point.positive_offset, &mut point.positive_counts)?,
            9 => buckets(field, &mut point.negative_offset, &mut point.negative_counts)?,
            12 => point.min = Some(field.double()?),
            13 => point.max = Some(field.double()?),
            14 => point.zero_threshold = field.double()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((common, point))
}

/// Reads the buckets on one side of zero.
pub(super) fn buckets(
    field: &Field<'_>,
    offset: &mut i32,
    counts: &mut Vec<u64>,
) -> Result<(), RowError> {
    let mut reader = field.message()?;
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => *offset = sint32(&field)?,
            2 => {
                each_varint(&field, |count| push_bucket(counts, count))?;
                check_buckets(counts.len())?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Keeps a bucket, up to one more than there may be: a count of one byte is eight in memory.
fn push_bucket<T>(buckets: &mut Vec<T>, bucket: T) {
    if buckets.len() <= BUCKETS_MAX {
        buckets.push(bucket);
    }
}

fn check_buckets(n_buckets: usize) -> Result<(), RowError> {
    if n_buckets > BUCKETS_MAX {
        let message = format!("a data point has more than {BUCKETS_MAX} buckets or quantiles");
        return Err(RowError::Refused(Refusal::new(Reason::Invalid, message)));
    }
    Ok(())
}

/// Reads a signed number of 32 bits.
pub(super) fn sint32(field: &Field<'_>) -> Result<i32, RowError> {
    i32::try_from(field.sint64()?).map_err(|_| {
        let message = "an exponential histogram's scale or offset has more than 32 bits";
        RowError::Refused(Refusal::new(Reason::Invalid, message))
    })
}

/// Reads a repeated fixed64 or double: packed, or one a field as old encoders write it.
pub(super) fn each_fixed64(
    field: &Field<'_>,
    mut on_bits: impl FnMut(u64),
) -> Result<(), WireError> {
    if let Value::Fixed64(bits) = field.value {
        on_bits(bits);
        return Ok(());
    }
    let mut packed = field.message()?;
    while !packed.is_empty() {
        on_bits(packed.fixed64()?);
    }
    Ok(())
}

/// Reads a repeated uint64, packed or not.
fn each_varint(field: &Field<'_>, mut on_number: impl FnMut(u64)) -> Result<(), WireError> {
    if let Value::Varint(number) = field.value {
        on_number(number);
        return Ok(());
    }
    let mut packed = field.message()?;
    while !packed.is_empty() {
        on_number(packed.varint()?);
    }
    Ok(())
}
