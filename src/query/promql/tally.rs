//! How many samples a query looks at, step by step: what `stats` of the HTTP API shows. Without it
//! nothing is counted.
//!
//! Counted as in Prometheus: an instant selector looks at one sample of a series a step, a range at
//! all in its window, once more for each window they are in. What a function sees of a sub-query are
//! its values, so these count and not what they were made of; where the sub-query itself is the
//! answer, what it was made of counts, all at the one step there is.
//!
//! Source: prometheus/prometheus `promql/engine.go`, `TestQueryStatistics` of its tests. A native
//! histogram is one sample here, and some more there.

use std::cell::{Cell, RefCell};

use crate::model::SeriesData;

use super::error::PromqlError;
use super::grid::{Grid, is_absent};
use super::range_call::each_fresh;
use super::value::SampleCounts;
use super::window::{Samples, Windows};

/// Whose samples are met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The query's own, at its steps.
    Query,
    /// Those of a sub-query that a function goes over.
    Argument,
    /// Those of a sub-query that is the answer.
    Answer,
}

/// What one evaluation has looked at. The steps are those of the query, of which there are at most
/// `query.points_max`.
#[derive(Debug)]
pub(super) struct Tally {
    /// Empty when nobody wants to know.
    per_step: RefCell<Vec<u64>>,
    place: Cell<Place>,
}

impl Tally {
    /// Returns a tally of a query's steps, or one that counts nothing.
    pub(super) fn new(grid: &Grid, is_wanted: bool) -> Self {
        let n_steps = if is_wanted { grid.n } else { 0 };
        Self { per_step: RefCell::new(vec![0; n_steps]), place: Cell::new(Place::Query) }
    }

    /// Says whose samples are met from now on; returns whose they were.
    pub(super) fn enter(&self, place: Place) -> Place {
        self.place.replace(place)
    }

    fn counts(&self) -> bool {
        self.place.get() != Place::Argument && !self.per_step.borrow().is_empty()
    }

    /// Counts the newest samples of a series, one where the column has a value.
    pub(super) fn newest(&self, column: &[f64]) {
        if self.counts() {
            for (step, value) in column.iter().enumerate() {
                self.add(step, usize::from(!is_absent(*value)));
            }
        }
    }

    /// Counts the samples in each window of a series that has no stale markers any more.
    pub(super) fn windows(&self, samples: Samples<'_>, windows: &Windows) {
        if self.counts() {
            for window in windows.over(samples.timestamps_ms) {
                self.add(window.step, window.len());
            }
        }
    }

    /// Counts the samples in each window of some series.
    pub(super) fn block(
        &self,
        series: &[SeriesData],
        windows: &Windows,
    ) -> Result<(), PromqlError> {
        if !self.counts() {
            return Ok(());
        }
        series.iter().try_for_each(|one| {
            each_fresh(one, &mut |_, samples| {
                self.windows(samples, windows);
                Ok(())
            })
        })
    }

    fn add(&self, step: usize, n: usize) {
        let step = if self.place.get() == Place::Answer { 0 } else { step };
        if let Some(counted) = self.per_step.borrow_mut().get_mut(step) {
            *counted += n as u64;
        }
    }

    /// Returns what was counted, none when nobody wanted to know.
    pub(super) fn told(self, grid: &Grid, n_peak: usize) -> Option<SampleCounts> {
        let per_step = self.per_step.into_inner();
        let per_step: Vec<(i64, u64)> =
            per_step.into_iter().enumerate().map(|(step, n)| (grid.at(step), n)).collect();
        (!per_step.is_empty()).then_some(SampleCounts { per_step, n_peak })
    }
}
