//! Native histograms in the evaluator.
//!
//! Columns of step values stay columns of floats: a histogram stands in one as a NaN whose payload is
//! its place in the query's [`Pool`]. So what only looks at presence (sets, matching, `count`, label
//! functions) works on histograms as it is, a query without histograms pays one look at an empty pool,
//! and only what computes asks whether a value is one. A NaN of a sender with that payload is a
//! histogram of its own query at worst.

mod add;
mod calls;
mod fold;
mod pairs;
mod quantile;
mod range;
mod reach;
mod reset;
mod told;
mod trim;
#[cfg(test)]
mod tests;

pub(super) use fold::NativeTotals;

use std::cell::RefCell;
use std::sync::Arc;

use crate::model::{Histogram, HistogramPoints, SeriesData};

use super::error::PromqlError;
use super::grid::{ABSENT, is_absent};
use super::table::{Meter, Share};

/// The upper half of the bits of a value that is a histogram: a quiet NaN that arithmetic does not make.
const TAG: u64 = 0x7ffa_c3a5;

/// The histograms of one query.
pub(super) struct Pool {
    all: RefCell<Vec<Arc<Histogram>>>,
    share: RefCell<Share>,
}

impl Pool {
    pub(super) fn new(meter: &std::rc::Rc<Meter>) -> Self {
        Self { all: RefCell::default(), share: RefCell::new(meter.share()) }
    }

    /// Returns true when no value of the query is a histogram.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.all.borrow().is_empty()
    }

    /// Returns the value that stands for a histogram.
    pub(super) fn keep(&self, histogram: Arc<Histogram>) -> Result<f64, PromqlError> {
        self.share.borrow_mut().grow::<u8>(histogram.n_bytes())?;
        let mut all = self.all.borrow_mut();
        let place = u32::try_from(all.len()).expect("memory ends far before");
        all.push(histogram);
        Ok(f64::from_bits(TAG << 32 | u64::from(place)))
    }

    /// Returns the histogram that a value stands for.
    #[inline]
    pub(super) fn get(&self, value: f64) -> Option<Arc<Histogram>> {
        let bits = value.to_bits();
        if bits >> 32 != TAG {
            return None;
        }
        let place = usize::try_from(bits & u64::from(u32::MAX)).ok()?;
        self.all.borrow().get(place).cloned()
    }

    /// Returns true when a value stands for a histogram.
    #[inline]
    pub(super) fn is_one(&self, value: f64) -> bool {
        value.to_bits() >> 32 == TAG && self.get(value).is_some()
    }

    /// Returns true when any of the values does.
    pub(super) fn has_one(&self, values: &[f64]) -> bool {
        !self.is_empty() && values.iter().any(|value| self.is_one(*value))
    }

    /// Puts a series' histograms among its samples.
    pub(super) fn merge(&self, series: &mut SeriesData) -> Result<(), PromqlError> {
        let histograms = std::mem::take(&mut series.histograms);
        if histograms.is_empty() {
            return Ok(());
        }
        let n = series.values.len() + histograms.len();
        let (mut times, mut values) = (Vec::with_capacity(n), Vec::with_capacity(n));
        // Since when histograms count is not said here.
        let has_starts = !series.starts_ns.is_empty();
        let mut starts = Vec::with_capacity(if has_starts { n } else { 0 });
        let own_starts = series.starts_ns.iter().copied().chain(std::iter::repeat(0));
        let floats = series.timestamps_ms.iter().zip(&series.values).zip(own_starts);
        let mut floats = floats.map(|((ms, value), start_ns)| (*ms, *value, start_ns)).peekable();
        let mut push = |ms, value, start_ns| {
            times.push(ms);
            values.push(value);
            if has_starts {
                starts.push(start_ns);
            }
        };
        for (ms, histogram) in histograms {
            while let Some(float) = floats.next_if(|(float_ms, ..)| *float_ms <= ms) {
                push(float.0, float.1, float.2);
            }
            push(ms, self.keep(histogram)?, 0);
        }
        floats.for_each(|(ms, value, start_ns)| push(ms, value, start_ns));
        (series.timestamps_ms, series.values, series.starts_ns) = (times, values, starts);
        Ok(())
    }

    /// Takes the histograms out from among a series' values again.
    pub(super) fn part(&self, series: &mut SeriesData) {
        if !self.has_one(&series.values) {
            return;
        }
        let (mut times, mut values) = (Vec::new(), Vec::new());
        let mut histograms: HistogramPoints = Vec::new();
        for (ms, value) in series.timestamps_ms.iter().zip(&series.values) {
            match self.get(*value) {
                Some(histogram) => histograms.push((*ms, histogram)),
                None => {
                    times.push(*ms);
                    values.push(*value);
                }
            }
        }
        (series.timestamps_ms, series.values, series.histograms) = (times, values, histograms);
    }

    /// Returns the value, or none where it is a histogram.
    #[inline]
    pub(super) fn float(&self, value: f64) -> f64 {
        if self.is_one(value) { ABSENT } else { value }
    }

    /// Keeps what became of an operation, if anything did.
    pub(super) fn keep_some(&self, made: Option<Histogram>) -> Result<f64, PromqlError> {
        made.map_or(Ok(ABSENT), |histogram| self.keep(Arc::new(histogram)))
    }
}

/// Returns true when there is a float at some step.
pub(super) fn has_float(pool: &Pool, values: &[f64]) -> bool {
    values.iter().any(|value| !is_absent(*value) && !pool.is_one(*value))
}
