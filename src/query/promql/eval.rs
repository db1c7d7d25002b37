//! The evaluator: walks the plan and hands rows from node to node.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use crate::model::{Labels, SeriesData};

use super::error::PromqlError;
use super::fetch::Fetches;
use super::grid::{ABSENT, Grid, is_absent, seconds};
use super::limits::Budget;
use super::native::{Pool, has_float};
use super::parse::ast::Edges;
use super::parse::place::Place;
use super::plan::{Op, RangeCall, RangeOf, RangeSource, ScalarNode, Selector, SortBy, VectorNode};
use super::table::{Column, Meter, RowRef, SAME_LABELSET, Sink, Table};
use super::tally::{self, Tally};
use super::threads::{self, Task};
use super::window::{Samples, Windows, newest};
use super::{binary, elements, labelling, range};

/// What the user should know about a result.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) warnings: BTreeSet<String>,
    pub(super) infos: BTreeSet<String>,
}

/// One evaluation of one plan.
pub(super) struct Eval<'q> {
    pub(super) fetches: Fetches<'q>,
    pub(super) budget: &'q Budget,
    pub(super) meter: Rc<Meter>,
    pub(super) lookback_ms: i64,
    /// What the engine says of it.
    pub(super) zero_is_no_divisor: bool,
    pub(super) notes: RefCell<Notes>,
    /// The native histograms of the query.
    pub(super) pool: Rc<Pool>,
    pub(super) tally: Tally,
    /// How long it took to put the result in order.
    pub(super) sorted_ns: Cell<u64>,
}

/// Takes the column of one series.
type HandOn<'a> = dyn FnMut(&Labels, &[f64]) -> Result<(), PromqlError> + 'a;

impl<'q> Eval<'q> {
    pub(super) fn new(
        fetches: Fetches<'q>,
        budget: &'q Budget,
        lookback_ms: i64,
        tally: Tally,
    ) -> Self {
        let meter = Rc::clone(&fetches.meter);
        let pool = Rc::clone(&fetches.pool);
        Self {
            fetches,
            budget,
            meter,
            lookback_ms,
            zero_is_no_divisor: false,
            notes: RefCell::default(),
            pool,
            tally,
            sorted_ns: Cell::default(),
        }
    }

    /// Sorts a result by labels, and notes how long that took.
    pub(super) fn sort_result<T>(&self, result: &mut [T], labels: impl Fn(&T) -> &Labels) {
        let begun_ns = self.budget.now_ns();
        result.sort_by(|a, b| labels(a).cmp(labels(b)));
        let took_ns = self.budget.now_ns().saturating_sub(begun_ns);
        self.sorted_ns.set(self.sorted_ns.get() + took_ns);
    }

    /// Adds a warning about what stands at a place in the query.
    pub(super) fn warn(&self, place: Place, text: &str) {
        self.notes.borrow_mut().warnings.insert(format!("PromQL warning: {text} ({place})"));
    }

    /// Adds an info about what stands at a place in the query.
    pub(super) fn inform(&self, place: Place, text: &str) {
        self.notes.borrow_mut().infos.insert(format!("PromQL info: {text} ({place})"));
    }

    /// Returns a scalar's value at every step.
    pub(super) fn scalar(&self, node: &ScalarNode, grid: &Grid) -> Result<Column, PromqlError> {
        self.budget.check()?;
        Ok(match node {
            ScalarNode::Number(number) => Column::filled(&self.meter, grid.n, *number)?,
            ScalarNode::Time => {
                let mut column = Column::room(&self.meter, grid.n)?;
                column.extend((0..grid.n).map(|step| seconds(grid.at(step))));
                column
            }
            ScalarNode::Negate(inner) => {
                let mut column = self.scalar(inner, grid)?;
                column.iter_mut().for_each(|value| *value = -*value);
                column
            }
            ScalarNode::Binary(op, left, right) => self.pairs(left, right, grid, |a, b| {
                binary::apply_bool(*op, a, self.divisor(*op, b))
            })?,
            ScalarNode::MinOf(left, right) => self.pairs(left, right, grid, elements::min)?,
            ScalarNode::MaxOf(left, right) => self.pairs(left, right, grid, elements::max)?,
            ScalarNode::Of(inner) => self.scalar_of(inner, grid)?,
        })
    }

    fn pairs(
        &self,
        left: &ScalarNode,
        right: &ScalarNode,
        grid: &Grid,
        apply: impl Fn(f64, f64) -> f64,
    ) -> Result<Column, PromqlError> {
        let mut column = self.scalar(left, grid)?;
        for (left, right) in column.iter_mut().zip(self.scalar(right, grid)?.iter()) {
            *left = apply(*left, *right);
        }
        Ok(column)
    }

    /// `scalar(v)`: the value where there is exactly one series, else NaN.
    fn scalar_of(&self, inner: &VectorNode, grid: &Grid) -> Result<Column, PromqlError> {
        let mut column = Column::filled(&self.meter, grid.n, ABSENT)?;
        self.feed(inner, grid, &mut |row| {
            for (seen, value) in column.iter_mut().zip(row.values) {
                let value = &self.pool.float(*value);
                if !is_absent(*value) {
                    *seen = if is_absent(*seen) { *value } else { f64::NAN };
                }
            }
            Ok(())
        })?;
        for value in column.iter_mut().filter(|value| is_absent(**value)) {
            *value = f64::NAN;
        }
        Ok(column)
    }

    /// Evaluates a node and keeps its rows, no two with equal labels.
    pub(super) fn rows(&self, node: &VectorNode, grid: &Grid) -> Result<Table, PromqlError> {
        let mut table = Table::new(&self.meter);
        self.stream(node, grid, &mut |row| table.push_ref(row))?;
        if drops_name(node) && !node.is_unique_nameless() {
            table.merge_equal(SAME_LABELSET)?;
        }
        Ok(table)
    }

    /// Evaluates a node and hands on its rows, no two with equal labels, keeping them only where
    /// that cannot be known beforehand.
    pub(super) fn feed(
        &self,
        node: &VectorNode,
        grid: &Grid,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        if drops_name(node) && !node.is_unique_nameless() {
            let table = self.rows(node, grid)?;
            return table.rows.iter().try_for_each(|row| sink(row.as_ref()));
        }
        self.stream(node, grid, sink)
    }

    /// Evaluates a node and hands on its rows as they come; each has at least one value.
    fn stream(
        &self,
        node: &VectorNode,
        grid: &Grid,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        let table = match node {
            VectorNode::Select(selector) => {
                return self.select(selector, grid, Wanted::Value, sink);
            }
            VectorNode::SampleTime(selector) => {
                return self.select(selector, grid, Wanted::Time, sink);
            }
            VectorNode::SampleStart(selector) => {
                return self.select(selector, grid, Wanted::Start, sink);
            }
            VectorNode::Nothing => return Ok(()),
            VectorNode::Smoothed(selector, place) => {
                return self.smoothed(selector, *place, grid, sink);
            }
            VectorNode::Range(call) => return self.range_call(call, grid, sink),
            VectorNode::Map { func, params, inner } => {
                return self.map(*func, params, inner, grid, sink);
            }
            VectorNode::VectorScalar { op, is_bool, scalar_is_left, vector, scalar, place } => {
                let scalar = self.scalar(scalar, grid)?;
                let form = binary::ScalarForm {
                    op: *op,
                    is_bool: *is_bool,
                    scalar_is_left: *scalar_is_left,
                    place: *place,
                };
                return self.vector_scalar(form, &scalar, vector, grid, sink);
            }
            VectorNode::Constant(scalar) => {
                let values = self.scalar(scalar, grid)?;
                let labels = Labels::empty();
                return sink(RowRef { labels: &labels, is_nameless: false, values: &values });
            }
            VectorNode::Sort { by, inner } => self.sort(by, inner, grid)?,
            VectorNode::Relabel { how, inner } => self.relabel(how, inner, grid)?,
            VectorNode::Absent { labels, inner } => self.absent(labels, inner, grid)?,
            VectorNode::AbsentOverTime { labels, source } => {
                self.absent_over_time(labels, source, grid)?
            }
            VectorNode::HistogramQuantile { label, quantiles, place, inner } => {
                self.histogram_quantile(label.as_deref(), quantiles, *place, inner, grid)?
            }
            VectorNode::HistogramFraction { lower, upper, place, inner } => {
                self.histogram_fraction(lower, upper, *place, inner, grid)?
            }
            VectorNode::Info(call) => self.info(call, grid)?,
            VectorNode::Aggregate(aggregate) => self.aggregate(aggregate, grid)?,
            VectorNode::VectorVector { op, is_bool, matching, left, right, place } => {
                let (left, right) = (self.rows(left, grid)?, self.rows(right, grid)?);
                self.match_vectors(*op, *is_bool, matching, (left, right), *place)?
            }
            VectorNode::Set { op, matching, left, right } => {
                let (left, right) = (self.rows(left, grid)?, self.rows(right, grid)?);
                self.set(*op, matching, left, right, grid)?
            }
        };
        table.rows.iter().try_for_each(|row| sink(row.as_ref()))
    }

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
    fn smoothed(
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

    fn range_call(
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

    fn sort(&self, by: &SortBy, inner: &VectorNode, grid: &Grid) -> Result<Table, PromqlError> {
        let mut table = self.rows(inner, grid)?;
        if let SortBy::Value { .. } = by {
            // Histograms have no order.
            self.leave_floats(&mut table);
        }
        // A range answer is sorted by labels whatever the query says.
        if grid.n == 1 {
            labelling::sort(&mut table.rows, by);
        }
        Ok(table)
    }
}

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

/// Returns true when a node's rows lose their metric name there.
fn drops_name(node: &VectorNode) -> bool {
    match node {
        VectorNode::Range(call) => !call.func.keeps_name(),
        VectorNode::Map { .. } | VectorNode::SampleTime(_) | VectorNode::SampleStart(_) => true,
        VectorNode::VectorScalar { op, is_bool, .. } => loses_name(*op, *is_bool),
        _ => false,
    }
}

/// Returns true when an operator's result is another quantity than its operand: neither what a
/// comparison lets pass nor what a trim leaves is.
pub(super) fn loses_name(op: Op, is_bool: bool) -> bool {
    is_bool || !(op.is_comparison() || op.is_trim())
}

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

/// Looks at the clock once in a while, by work done and not by rows, which can be long or short.
#[derive(Debug)]
pub(super) struct Work<'q> {
    budget: &'q Budget,
    left: usize,
}

const WORK_BETWEEN_CHECKS: usize = 1 << 17;

impl<'q> Work<'q> {
    pub(super) fn new(budget: &'q Budget) -> Self {
        Self { budget, left: WORK_BETWEEN_CHECKS }
    }

    /// Counts work; now and then fails because the query was canceled or is late.
    pub(super) fn spend(&mut self, n: usize) -> Result<(), PromqlError> {
        match self.left.checked_sub(n) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = WORK_BETWEEN_CHECKS;
                self.budget.check()
            }
        }
    }
}
