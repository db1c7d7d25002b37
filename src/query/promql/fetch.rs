//! Reads what the plan asks for, each window once, and forgets it after its last use.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::model::SeriesData;
use crate::storage::{ReadError, SeriesRequest};

use super::error::PromqlError;
use super::limits::Budget;
use super::plan::FetchPlan;
use super::source::SeriesSource;

/// The reads of one query.
pub(super) struct Fetches<'q> {
    source: &'q dyn SeriesSource,
    budget: &'q Budget,
    plans: Vec<FetchPlan>,
    kept: RefCell<Vec<Kept>>,
    n_samples: Cell<usize>,
    n_series: Cell<usize>,
}

#[derive(Default)]
struct Kept {
    n_uses: usize,
    series: Option<Rc<Vec<SeriesData>>>,
}

impl<'q> Fetches<'q> {
    pub(super) fn new(
        source: &'q dyn SeriesSource,
        budget: &'q Budget,
        plans: Vec<FetchPlan>,
    ) -> Self {
        let kept = plans.iter().map(|_| Kept::default()).collect();
        Self {
            source,
            budget,
            plans,
            kept: RefCell::new(kept),
            n_samples: Cell::new(0),
            n_series: Cell::new(0),
        }
    }

    /// Returns how many samples were read.
    pub(super) fn n_samples(&self) -> usize {
        self.n_samples.get()
    }

    /// Returns the series of one read.
    pub(super) fn get(&self, fetch_idx: usize) -> Result<Rc<Vec<SeriesData>>, PromqlError> {
        self.budget.check()?;
        let known = self.kept.borrow()[fetch_idx].series.clone();
        let series = match known {
            Some(series) => series,
            None => Rc::new(self.read(&self.plans[fetch_idx])?),
        };
        let kept = &mut self.kept.borrow_mut()[fetch_idx];
        kept.n_uses += 1;
        let is_last = kept.n_uses >= self.plans[fetch_idx].n_uses;
        kept.series = (!is_last).then(|| Rc::clone(&series));
        Ok(series)
    }

    fn read(&self, plan: &FetchPlan) -> Result<Vec<SeriesData>, PromqlError> {
        let samples_left = self.budget.samples_max - self.n_samples.get();
        let series_left = self.budget.series_max - self.n_series.get();
        let series = self.source.select(&SeriesRequest {
            matchers: &plan.matchers,
            start_ms: plan.start_ms,
            end_ms: plan.end_ms,
            samples_max: samples_left,
            series_max: series_left,
        });
        let series = series.map_err(|error| self.name_whole_limit(error))?;
        let n_samples = series.iter().map(|one| one.values.len()).sum::<usize>();
        // A source may leave counting to us.
        if n_samples > samples_left {
            return Err(self.too_many("samples", self.budget.samples_max, "limits.query_samples"));
        }
        if series.len() > series_left {
            return Err(self.too_many("series", self.budget.series_max, "limits.query_series"));
        }
        self.n_samples.set(self.n_samples.get() + n_samples);
        self.n_series.set(self.n_series.get() + series.len());
        Ok(series)
    }

    /// The source knows what was left of a limit; the reader should see the limit.
    fn name_whole_limit(&self, error: ReadError) -> PromqlError {
        match error {
            ReadError::Limit { what: "samples", limit, .. } => {
                self.too_many("samples", self.budget.samples_max, limit)
            }
            ReadError::Limit { what: "series", limit, .. } => {
                self.too_many("series", self.budget.series_max, limit)
            }
            other => PromqlError::Read(other),
        }
    }

    fn too_many(&self, what: &'static str, max: usize, limit: &'static str) -> PromqlError {
        PromqlError::Read(ReadError::Limit { what, max, limit })
    }
}
