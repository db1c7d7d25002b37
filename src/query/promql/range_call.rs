//! Functions over a window of each series, and of what a sub-query yields.

use crate::model::{Labels, SeriesData};

use super::error::PromqlError;
use super::eval::{Eval, Work};
use super::grid::{Grid, is_absent};
use super::native::has_float;
use super::parse::ast::Edges;
use super::plan::{RangeCall, RangeOf, RangeSource};
use super::range;
use super::table::{Column, RowRef, Sink};
use super::tally;
use super::threads::{self, Task};
use super::window::{Samples, Windows};

/// Takes the column of one series.
type HandOn<'a> = dyn FnMut(&Labels, &[f64]) -> Result<(), PromqlError> + 'a;

impl Eval<'_> {
    /// Calls `each` with every series of a range vector, stale markers taken out. `inside` says what
    /// the samples of a sub-query are to the query.
    pub(super) fn each_series(
        &self,
        source: &RangeSource,
        inside: tally::Place,
        each: &mut dyn FnMut(&Labels, Samples<'_>) -> Result<(), PromqlError>,
    ) -> Result<(), PromqlError> {
        match &source.of {
            RangeOf::Selector(selector) => {
                self.fetches.each_block(selector.fetch_idx, &mut |series| {
                    series.iter().try_for_each(|one| each_fresh(one, each))
                })
            }
            RangeOf::Subquery { inner, grid } => {
                // The times, and one row's samples.
                let mut share = self.meter.share();
                share.grow::<i64>(grid.n.saturating_mul(3))?;
                let times: Vec<i64> = (0..grid.n).map(|step| grid.at(step)).collect();
                let outside = self.tally.enter(inside);
                self.feed(inner, grid, &mut |row| {
                    let present = times.iter().zip(row.values).filter(|(_, v)| !is_absent(**v));
                    let (timestamps_ms, values): (Vec<i64>, Vec<f64>) = present.unzip();
                    let samples = Samples { timestamps_ms: &timestamps_ms, values: &values };
                    let inside = self.tally.enter(outside);
                    let taken = each(&row.owned_labels(), samples);
                    self.tally.enter(inside);
                    taken
                })?;
                self.tally.enter(outside);
                Ok(())
            }
        }
    }

    pub(super) fn range_call(
        &self,
        call: &RangeCall,
        grid: &Grid,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        let params = call.params.iter().map(|param| self.scalar(param, grid));
        let params = params.collect::<Result<Vec<_>, _>>()?;
        self.check_params(call, &params)?;
        let windows = Windows {
            edges: call.edges,
            reach_ms: self.lookback_ms,
            ..Windows::new(*grid, call.source.shift, call.source.range_ms)
        };
        let params: Vec<&[f64]> = params.iter().map(|column| column.as_slice()).collect();
        let is_nameless = !call.func.keeps_name();
        let mut hand_on = |labels: &Labels, column: &[f64]| {
            if column.iter().all(|value| is_absent(*value)) {
                return Ok(());
            }
            if self.pool.is_empty() || has_float(&self.pool, column) {
                self.inform_of_gauge(call, labels);
            }
            sink(RowRef { labels, is_nameless, values: column })
        };
        let RangeOf::Selector(selector) = &call.source.of else {
            let mut column = Column::room(&self.meter, grid.n)?;
            let mut work = Work::new(self.budget);
            let inside = tally::Place::Argument;
            return self.each_series(&call.source, inside, &mut |labels, samples| {
                self.tally.windows(samples, &windows);
                self.range_of_one(
                    call,
                    &params,
                    (labels, samples),
                    &windows,
                    (&mut column, &mut work),
                )?;
                hand_on(labels, &column)
            });
        };
        self.fetches.each_block(selector.fetch_idx, &mut |series| {
            self.range_of_block(call, &params, series, &windows, &mut hand_on)
        })
    }

    /// Computes a block of series, on several threads unless there are histograms among them.
    fn range_of_block(
        &self,
        call: &RangeCall,
        params: &[&[f64]],
        series: &[SeriesData],
        windows: &Windows,
        hand_on: &mut HandOn<'_>,
    ) -> Result<(), PromqlError> {
        let n_steps = windows.grid.n;
        self.tally.block(series, windows)?;
        // Whether there are histograms is known once the series are read.
        if !self.pool.is_empty() {
            let mut column = Column::room(&self.meter, n_steps)?;
            let mut work = Work::new(self.budget);
            return series.iter().try_for_each(|one| {
                each_fresh(one, &mut |labels, samples| {
                    let out = (&mut column, &mut work);
                    self.range_of_one(call, params, (labels, samples), windows, out)?;
                    hand_on(labels, &column)
                })
            });
        }
        let mut share = self.meter.share();
        // Where memory is short, a block is small.
        let n_fit = self.meter.left_bytes() / 4 / size_of::<f64>() / n_steps.max(1);
        let n_block = n_fit.min(series.len()).clamp(1, threads::SERIES_A_BLOCK);
        share.grow::<f64>(n_steps.saturating_mul(n_block))?;
        let task = Task { func: call.func, params, windows, budget: self.budget };
        for block in series.chunks(n_block) {
            let columns = threads::columns(block, task)?;
            for (one, column) in block.iter().zip(&columns) {
                hand_on(&one.labels, column)?;
            }
        }
        Ok(())
    }

    /// Computes one series: of what a subquery yields, and what may be histograms.
    fn range_of_one(
        &self,
        call: &RangeCall,
        params: &[&[f64]],
        (labels, samples): (&Labels, Samples<'_>),
        windows: &Windows,
        (column, work): (&mut Column, &mut Work<'_>),
    ) -> Result<(), PromqlError> {
        if self.pool.has_one(samples.values) && windows.edges != Edges::Extrapolated {
            self.native_reach(call, (labels, samples), windows, column)
        } else if self.pool.has_one(samples.values) {
            self.native_range(call, params, (labels, samples), windows, column)
        } else {
            range::column(call.func, params, samples, windows, column, work)
        }
    }
}

/// Hands a series on, stale markers taken out.
pub(super) fn each_fresh(
    one: &SeriesData,
    each: &mut dyn FnMut(&Labels, Samples<'_>) -> Result<(), PromqlError>,
) -> Result<(), PromqlError> {
    // Without an exit between a few values, which are then looked at together.
    let has_absent = |some: &[f64]| some.iter().fold(false, |has, value| has | is_absent(*value));
    if !one.values.chunks(64).any(has_absent) {
        let samples = Samples { timestamps_ms: &one.timestamps_ms, values: &one.values };
        return each(&one.labels, samples);
    }
    let fresh = one.timestamps_ms.iter().zip(&one.values).filter(|(_, value)| !is_absent(**value));
    let (timestamps_ms, values): (Vec<i64>, Vec<f64>) = fresh.unzip();
    each(&one.labels, Samples { timestamps_ms: &timestamps_ms, values: &values })
}
