//! What a request holds, in columns: filled by the walkers of both versions, whose samples,
//! histograms and exemplars are written almost alike.
//!
//! Values are taken bit for bit: staleness markers and other NaN payloads survive.

use std::ops::Range;

use crate::derive::FoldedSample;
use crate::ingest::IngestError;
use crate::ingest::limits::{Limits, OutOfBounds, TimeBounds};
use crate::ingest::outcome::{Reason, Rejected};
use crate::ingest::wire::Reader;
use crate::model::metric::stale_marker;
use crate::model::{Description, ExpHistogram};

use super::histogram::{self, Point};

/// One entry a `TimeSeries` message with anything in it, and what they hold, in order.
#[derive(Debug, Default)]
pub struct Columns<'a> {
    /// The series' keys.
    pub keys: Vec<u128>,
    /// Their whole messages, to read the labels of those that are not known.
    pub messages: Vec<Reader<'a>>,
    /// Where each series' samples end in the two columns below; they begin where the last ended.
    pub sample_ends: Vec<usize>,
    /// ms since 1970 UTC.
    pub timestamps_ms: Vec<i64>,
    /// The values.
    pub values: Vec<f64>,
    /// Since when each value counts, ms since 1970 UTC, 0 for none; empty when none says so (2.0).
    pub starts_ms: Vec<i64>,
    /// Native histograms: the entry, ms since 1970 UTC, the histogram.
    pub histograms: Vec<(usize, i64, ExpHistogram)>,
    /// Exemplars.
    pub exemplars: Vec<RawExemplar<'a>>,
    /// The entries of samples that stand for a histogram which ends its series.
    pub stale_histograms: Vec<usize>,
    /// What is said of families of metrics (1.0).
    pub families: Vec<(&'a str, Description)>,
    /// What was refused on the way.
    pub rejected: Rejected,
}

/// An exemplar whose labels are not read yet.
#[derive(Debug, Clone, Copy)]
pub struct RawExemplar<'a> {
    /// The entry of its series.
    pub entry: usize,
    /// ms since 1970 UTC.
    pub timestamp_ms: i64,
    /// What was observed.
    pub value: f64,
    /// The whole message.
    pub message: Reader<'a>,
}

impl Columns<'_> {
    /// Says since when the samples from an index on count that do not say so themselves.
    pub(super) fn set_starts(&mut self, from: usize, start_ms: i64) {
        self.starts_ms.resize(self.values.len(), 0);
        self.starts_ms[from..].iter_mut().filter(|own| **own == 0).for_each(|own| *own = start_ms);
    }

    /// Returns since when the samples in a range count, ns since 1970 UTC, 0 for none; `None` when no
    /// sample of the request says so.
    pub(super) fn starts_ns(&self, samples: Range<usize>) -> Option<impl Iterator<Item = i64>> {
        let none = std::iter::repeat(&0);
        let starts = self.starts_ms.iter().chain(none).skip(samples.start).take(samples.len());
        (!self.starts_ms.is_empty()).then(|| starts.map(|ms| ms.saturating_mul(1_000_000)))
    }

    /// Returns where the samples of one series are.
    #[inline]
    pub fn samples_of(&self, idx: usize) -> Range<usize> {
        let start = idx.checked_sub(1).map_or(0, |before| self.sample_ends[before]);
        start..self.sample_ends[idx]
    }

    /// Returns the samples of one series as they are added up with those of others.
    pub(super) fn to_fold(&self, idx: usize) -> impl Iterator<Item = FoldedSample> {
        let samples = self.samples_of(idx);
        let times = self.timestamps_ms[samples.clone()].iter();
        let pairs = times.zip(&self.values[samples]);
        pairs.map(move |(ms, value)| self.folded(idx, *ms, *value))
    }

    /// Returns the native histograms of one series, and the count of each.
    pub(super) fn histograms_to_fold(
        &self,
        idx: usize,
    ) -> impl Iterator<Item = (&ExpHistogram, FoldedSample)> {
        let histograms = self.histograms[self.histograms_of(idx)].iter();
        histograms
            .map(move |(_, ms, histogram)| (histogram, self.folded(idx, *ms, histogram.value())))
    }

    fn folded(&self, idx: usize, ms: i64, value: f64) -> FoldedSample {
        let time_ns = ms.saturating_mul(1_000_000);
        FoldedSample { wire_id: self.keys[idx], time_ns, value, is_difference: false }
    }

    /// Returns how many samples, histograms and exemplars one series has.
    pub fn n_items_of(&self, idx: usize) -> usize {
        let of = |range: Range<usize>| range.len();
        of(self.samples_of(idx)) + of(self.histograms_of(idx)) + of(self.exemplars_of(idx))
    }

    /// Returns where the histograms of one series are.
    pub fn histograms_of(&self, idx: usize) -> Range<usize> {
        run(&self.histograms, |(entry, ..)| *entry, idx)
    }

    /// Returns where the exemplars of one series are.
    pub fn exemplars_of(&self, idx: usize) -> Range<usize> {
        run(&self.exemplars, |exemplar| exemplar.entry, idx)
    }
}

/// Returns where the items of an entry are in a list that is sorted by entries.
fn run<T>(items: &[T], entry: impl Fn(&T) -> usize, idx: usize) -> Range<usize> {
    let start = items.partition_point(|item| entry(item) < idx);
    start..start + items[start..].partition_point(|item| entry(item) == idx)
}

/// A series takes about 400 bytes; a guess too low costs a few reallocations.
const SERIES_BYTES_GUESS: usize = 256;
/// The most series that room is made for before they are seen.
const SERIES_GUESS_MAX: usize = 8_192;
/// What histograms may take in memory, in multiples of the largest body: a bucket of one byte on the
/// wire is twelve here.
const BUILT_RATIO: usize = 4;

/// Fills the columns, a `TimeSeries` message after the other.
pub(super) struct Filler<'a, 'b> {
    pub(super) columns: Columns<'a>,
    bounds_ms: (i64, i64),
    limits: &'b Limits,
    /// `TimeSeries` messages, also those with nothing in them: walking costs time all the same.
    n_series: usize,
    /// Samples, histograms and exemplars.
    n_items: usize,
    n_built_bytes: usize,
    /// Whether samples may say since when they count, and senders hear of exemplars that are refused.
    is_version_2: bool,
    /// Puts a series in words, for what is refused.
    text: &'b dyn Fn(Reader<'a>) -> String,
}

impl<'a, 'b> Filler<'a, 'b> {
    pub(super) fn new(
        n_bytes: usize,
        bounds: TimeBounds,
        limits: &'b Limits,
        text: &'b dyn Fn(Reader<'a>) -> String,
    ) -> Self {
        let n_series = (n_bytes / SERIES_BYTES_GUESS).min(SERIES_GUESS_MAX);
        let columns = Columns {
            keys: Vec::with_capacity(n_series),
            messages: Vec::with_capacity(n_series),
            sample_ends: Vec::with_capacity(n_series),
            timestamps_ms: Vec::with_capacity(n_series),
            values: Vec::with_capacity(n_series),
            ..Columns::default()
        };
        let bounds_ms = bounds.in_ms();
        Self {
            columns,
            bounds_ms,
            limits,
            n_series: 0,
            n_items: 0,
            n_built_bytes: 0,
            is_version_2: false,
            text,
        }
    }

    /// Returns a filler for a request of 2.0.
    pub(super) fn of_version_2(self) -> Self {
        Self { is_version_2: true, ..self }
    }

    /// Says since when the samples and histograms of the series under way count that do not say so
    /// themselves; `from` is how many samples and histograms there were before it.
    pub(super) fn created(&mut self, from: (usize, usize), created_ms: i64) {
        let columns = &mut self.columns;
        columns.set_starts(from.0, created_ms);
        for (.., histogram) in &mut columns.histograms[from.1..] {
            if histogram.start_ns == 0 {
                histogram.start_ns = created_ms.saturating_mul(1_000_000);
            }
        }
    }

    /// Returns how many samples, histograms and exemplars were taken.
    #[inline]
    pub(super) fn n_points(&self) -> usize {
        let Columns { values, histograms, exemplars, .. } = &self.columns;
        values.len() + histograms.len() + exemplars.len()
    }

    #[inline]
    pub(super) fn count_series(&mut self) -> Result<(), IngestError> {
        count(&mut self.n_series, self.limits)
    }

    /// Ends the series under way, which has points.
    #[inline]
    pub(super) fn end_series(&mut self, key: u128, message: Reader<'a>) {
        self.columns.keys.push(key);
        self.columns.messages.push(message);
        self.columns.sample_ends.push(self.columns.values.len());
    }

    /// Takes `{1: value, 2: timestamp}`, and `3: start timestamp` of 2.0.
    #[inline]
    pub(super) fn sample(
        &mut self,
        series: Reader<'a>,
        mut sample: Reader<'a>,
    ) -> Result<(), IngestError> {
        let mut value = 0.0;
        let (mut timestamp_ms, mut start_ms) = (0, 0);
        while let Some(field) = sample.next_field()? {
            match field.number {
                1 => value = field.double()?,
                2 => timestamp_ms = field.int64()?,
                3 if self.is_version_2 => start_ms = field.int64()?,
                _ => {}
            }
        }
        count(&mut self.n_items, self.limits)?;
        if self.is_in_time(series, timestamp_ms) {
            self.columns.timestamps_ms.push(timestamp_ms);
            self.columns.values.push(value);
            if start_ms != 0 {
                self.columns.set_starts(self.columns.values.len() - 1, start_ms);
            }
        }
        Ok(())
    }

    /// Takes a `Histogram`, which both versions write alike.
    pub(super) fn histogram(
        &mut self,
        series: Reader<'a>,
        message: Reader<'a>,
    ) -> Result<(), IngestError> {
        count(&mut self.n_items, self.limits)?;
        let (timestamp_ms, point) = histogram::read(message, self.limits)?;
        let entry = self.columns.keys.len();
        match point {
            Err(refusal) => {
                let text = self.text;
                self.columns
                    .rejected
                    .add(refusal.reason, 1, || format!("{}: {}", text(series), refusal.message));
            }
            Ok(_) if !self.is_in_time(series, timestamp_ms) => {}
            Ok(Point::Stale) => {
                self.columns.timestamps_ms.push(timestamp_ms);
                self.columns.values.push(stale_marker());
                self.columns.stale_histograms.push(entry);
            }
            Ok(Point::Histogram(histogram)) => {
                self.n_built_bytes += size_of::<ExpHistogram>() + histogram.n_heap_bytes();
                let max = self.limits.body_decoded;
                if self.n_built_bytes > max.bytes().saturating_mul(BUILT_RATIO) {
                    return Err(IngestError::DecodedTooLarge { max });
                }
                self.columns.histograms.push((entry, timestamp_ms, *histogram));
            }
        }
        Ok(())
    }

    /// Takes `{1: labels, 2: value, 3: timestamp}`.
    pub(super) fn exemplar(
        &mut self,
        series: Reader<'a>,
        message: Reader<'a>,
    ) -> Result<(), IngestError> {
        count(&mut self.n_items, self.limits)?;
        let entry = self.columns.keys.len();
        let mut exemplar = RawExemplar { entry, timestamp_ms: 0, value: 0.0, message };
        let mut reader = message;
        while let Some(field) = reader.next_field()? {
            match field.number {
                2 => exemplar.value = field.double()?,
                3 => exemplar.timestamp_ms = field.int64()?,
                _ => {}
            }
        }
        let (min_ms, max_ms) = self.bounds_ms;
        if (min_ms..=max_ms).contains(&exemplar.timestamp_ms) {
            self.columns.exemplars.push(exemplar);
        } else if self.is_version_2 {
            self.refuse_time(series, exemplar.timestamp_ms);
        } else {
            // A bucket shows its last exemplar, with the time it had, for as long as its process runs. In
            // 1.0 nobody can say so but by failing the whole request.
            self.columns.rejected.add(Reason::Exemplar, 1, String::new);
        }
        Ok(())
    }

    #[inline]
    fn is_in_time(&mut self, series: Reader<'a>, timestamp_ms: i64) -> bool {
        let (min_ms, max_ms) = self.bounds_ms;
        if timestamp_ms < min_ms || timestamp_ms > max_ms {
            self.refuse_time(series, timestamp_ms);
            return false;
        }
        true
    }

    #[cold]
    fn refuse_time(&mut self, series: Reader<'a>, timestamp_ms: i64) {
        let (_, max_ms) = self.bounds_ms;
        let side = if timestamp_ms > max_ms { OutOfBounds::Future } else { OutOfBounds::Past };
        let text = self.text;
        self.columns.rejected.add(Reason::from(side), 1, || {
            format!("{}: timestamp {timestamp_ms} ms {}", text(series), side.explanation())
        });
    }
}

#[inline]
fn count(n: &mut usize, limits: &Limits) -> Result<(), IngestError> {
    *n += 1;
    if *n > limits.records_per_request {
        return Err(IngestError::TooManyRecords { max: limits.records_per_request });
    }
    Ok(())
}
