//! One pass over a `prometheus.WriteRequest`: columns of keys, timestamps and values.
//!
//! ```text
//! WriteRequest { 1: TimeSeries*, 3: metadata (skipped) }
//! TimeSeries   { 1: Label* {1: name, 2: value}, 2: Sample* {1: value, 2: timestamp},
//!                3: exemplars, 4: native histograms }
//! ```
//!
//! The labels are not looked into: the bytes of all label fields together are hashed, and only who
//! meets an unknown hash reads them (`series`). Senders write them in one run, so hashing copies
//! nothing; should other fields stand between them, they are joined first, and give the same hash.
//! Values are taken bit for bit: staleness markers and other NaN payloads survive.

use std::ops::Range;

use crate::ingest::limits::{Limits, OutOfBounds, TimeBounds};
use crate::ingest::outcome::{Reason, Rejected};
use crate::ingest::wire::Reader;
use crate::ingest::{IngestError, Seed};

use super::series;

/// What a request holds, one entry a `TimeSeries` message with samples, and their samples in order.
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
    /// What was refused on the way: times out of bounds, native histograms, exemplars.
    pub rejected: Rejected,
}

impl Columns<'_> {
    fn with_capacity(n_series: usize) -> Self {
        Self {
            keys: Vec::with_capacity(n_series),
            messages: Vec::with_capacity(n_series),
            sample_ends: Vec::with_capacity(n_series),
            timestamps_ms: Vec::with_capacity(n_series),
            values: Vec::with_capacity(n_series),
            rejected: Rejected::default(),
        }
    }

    /// Returns where the samples of one series are.
    #[inline]
    pub fn samples_of(&self, idx: usize) -> Range<usize> {
        let start = idx.checked_sub(1).map_or(0, |before| self.sample_ends[before]);
        start..self.sample_ends[idx]
    }
}

/// Walks a decompressed body.
pub fn walk<'a>(
    body: &'a [u8],
    seed: Seed,
    bounds: TimeBounds,
    limits: &Limits,
) -> Result<Columns<'a>, IngestError> {
    let mut walker = Walker {
        columns: Columns::with_capacity((body.len() / SERIES_BYTES_GUESS).min(SERIES_GUESS_MAX)),
        seed,
        bounds_ms: bounds.in_ms(),
        limits,
        n_series: 0,
        n_items: 0,
        scattered: Vec::new(),
    };
    let mut reader = Reader::new(body);
    while let Some(field) = reader.next_field()? {
        if field.number == 1 {
            walker.series(body, field.message()?)?;
        }
    }
    Ok(walker.columns)
}

/// Field 1, length-delimited.
const LABEL_TAG: u8 = 0x0a;
/// A series takes about 400 bytes; a guess too low costs a few reallocations.
const SERIES_BYTES_GUESS: usize = 256;
/// The most series that room is made for before they are seen.
const SERIES_GUESS_MAX: usize = 8_192;

struct Walker<'a, 'b> {
    columns: Columns<'a>,
    seed: Seed,
    bounds_ms: (i64, i64),
    limits: &'b Limits,
    /// `TimeSeries` messages, also those with nothing in them: walking costs time all the same.
    n_series: usize,
    /// Samples, histograms and exemplars.
    n_items: usize,
    /// Label fields that do not lie in one run, joined. Empty for all senders we know.
    scattered: Vec<u8>,
}

/// What one `TimeSeries` has beside its samples.
#[derive(Default)]
struct Seen {
    /// The run of label fields, as offsets in the body.
    labels: (usize, usize),
    n_histograms: u64,
    n_exemplars: u64,
}

impl<'a> Walker<'a, '_> {
    fn series(&mut self, body: &'a [u8], message: Reader<'a>) -> Result<(), IngestError> {
        let n_samples_before = self.columns.values.len();
        let mut seen = Seen::default();
        let mut reader = message;
        self.scattered.clear();
        count(&mut self.n_series, self.limits)?;
        seen.labels.0 = reader.offset();
        reader.skip_run(LABEL_TAG);
        seen.labels.1 = reader.offset();
        loop {
            let start = reader.offset();
            let Some(field) = reader.next_field()? else { break };
            match field.number {
                1 => {
                    field.bytes()?;
                    self.label(body, &mut seen.labels, (start, field.end_offset));
                }
                2 => self.sample(message, field.message()?)?,
                3 => {
                    count(&mut self.n_items, self.limits)?;
                    seen.n_exemplars += 1;
                }
                4 => {
                    count(&mut self.n_items, self.limits)?;
                    seen.n_histograms += 1;
                }
                _ => {}
            }
        }
        if self.columns.values.len() > n_samples_before {
            self.end_series(body, seen.labels, message);
        }
        if seen.n_histograms + seen.n_exemplars > 0 {
            self.refuse_others(&seen, message);
        }
        Ok(())
    }

    #[inline]
    fn label(&mut self, body: &'a [u8], run: &mut (usize, usize), field: (usize, usize)) {
        if run.1 == field.0 && self.scattered.is_empty() {
            run.1 = field.1;
        } else if run.0 == run.1 {
            *run = field;
        } else {
            if self.scattered.is_empty() {
                self.scattered.extend_from_slice(&body[run.0..run.1]);
            }
            self.scattered.extend_from_slice(&body[field.0..field.1]);
        }
    }

    #[inline]
    fn sample(&mut self, series: Reader<'a>, mut sample: Reader<'a>) -> Result<(), IngestError> {
        let mut value = 0.0;
        let mut timestamp_ms = 0;
        while let Some(field) = sample.next_field()? {
            match field.number {
                1 => value = field.double()?,
                2 => timestamp_ms = field.int64()?,
                _ => {}
            }
        }
        count(&mut self.n_items, self.limits)?;
        let (min_ms, max_ms) = self.bounds_ms;
        if timestamp_ms < min_ms || timestamp_ms > max_ms {
            self.refuse_time(series, timestamp_ms);
        } else {
            self.columns.timestamps_ms.push(timestamp_ms);
            self.columns.values.push(value);
        }
        Ok(())
    }

    #[inline]
    fn end_series(&mut self, body: &'a [u8], run: (usize, usize), message: Reader<'a>) {
        let labels = if self.scattered.is_empty() { &body[run.0..run.1] } else { &self.scattered };
        self.columns.keys.push(self.seed.key(labels));
        self.columns.messages.push(message);
        self.columns.sample_ends.push(self.columns.values.len());
    }

    #[cold]
    fn refuse_time(&mut self, series: Reader<'a>, timestamp_ms: i64) {
        let (_, max_ms) = self.bounds_ms;
        let side = if timestamp_ms > max_ms { OutOfBounds::Future } else { OutOfBounds::Past };
        self.columns.rejected.add(Reason::from(side), 1, || {
            let series = series::text(series);
            format!("{series}: timestamp {timestamp_ms} ms {}", side.explanation())
        });
    }

    #[cold]
    fn refuse_others(&mut self, seen: &Seen, series: Reader<'a>) {
        let rejected = &mut self.columns.rejected;
        rejected.add(Reason::NativeHistogram, seen.n_histograms, || {
            let series = series::text(series);
            format!("{series}: native histograms are not stored; send classic buckets as well")
        });
        rejected.add(Reason::Exemplar, seen.n_exemplars, String::new);
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
