//! Selectors: at each step the newest sample of each series, or the value between two.

use crate::model::{Labels, SeriesData};

use super::error::PromqlError;
use super::eval::{Eval, Work};
use super::grid::{ABSENT, Grid, is_absent, seconds};
use super::parse::place::Place;
use super::plan::Selector;
use super::range;
use super::range_call::each_fresh;
use super::table::{Column, RowRef, Sink};
use super::window::{Samples, Windows, newest};

/// What of the newest sample is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Value,
    Time,
    /// The time of a number, and a histogram as it is.
    NumberTime,
    Start,
}

/// Returns since when a sample counts, 0 where nobody says.
fn start_ms(series: &SeriesData, idx: usize) -> i64 {
    series.starts_ns.get(idx).map_or(0, |start_ns| start_ns.div_euclid(1_000_000))
}

impl Eval<'_> {
    pub(super) fn select(
        &self,
        selector: &Selector,
        grid: &Grid,
        wanted: Wanted,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        let windows = Windows::new(*grid, selector.shift, self.lookback_ms);
        let mut column = Column::room(&self.meter, grid.n)?;
        let mut work = Work::new(self.budget);
        self.fetches.each_block(selector.fetch_idx, &mut |series| {
            for one in series {
                work.spend(grid.n + one.values.len())?;
                let samples = Samples { timestamps_ms: &one.timestamps_ms, values: &one.values };
                let has_value = newest(samples, &windows, &mut column, |idx| match wanted {
                    Wanted::Value => one.values[idx],
                    Wanted::NumberTime if self.pool.is_one(one.values[idx]) => one.values[idx],
                    Wanted::Time | Wanted::NumberTime => seconds(one.timestamps_ms[idx]),
                    Wanted::Start => seconds(start_ms(one, idx)),
                });
                if has_value {
                    self.tally.newest(&column);
                    let is_nameless = wanted != Wanted::Value;
                    sink(RowRef { labels: &one.labels, is_nameless, values: &column })?;
                }
            }
            Ok(())
        })
    }

    /// The value at each step, on the line between the samples around it.
    pub(super) fn smoothed(
        &self,
        selector: &Selector,
        place: Place,
        grid: &Grid,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        let lookback_ms = self.lookback_ms;
        let mut column = Column::room(&self.meter, grid.n)?;
        let mut work = Work::new(self.budget);
        let mut each = |labels: &Labels, samples: Samples<'_>| {
            work.spend(grid.n + samples.values.len())?;
            column.clear();
            let has_natives = self.pool.has_one(samples.values);
            for step in 0..grid.n {
                let at_ms = selector.shift.apply(grid.at(step));
                let around = (at_ms.saturating_sub(lookback_ms), at_ms.saturating_add(lookback_ms));
                let around = samples.within(around);
                if has_natives {
                    work.spend(8 * around.values.len())?;
                    column.push(self.native_smoothed_at((labels, around), place, at_ms)?);
                } else {
                    column.push(range::smoothed_at(around, at_ms).unwrap_or(ABSENT));
                }
            }
            if column.iter().all(|value| is_absent(*value)) {
                return Ok(());
            }
            self.tally.newest(&column);
            sink(RowRef { labels, is_nameless: false, values: &column })
        };
        self.fetches.each_block(selector.fetch_idx, &mut |series| {
            series.iter().try_for_each(|one| each_fresh(one, &mut each))
        })
    }
}
