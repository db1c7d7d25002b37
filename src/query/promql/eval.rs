//! The evaluator: walks the plan and hands rows from node to node.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::model::Labels;

use super::error::PromqlError;
use super::fetch::Fetches;
use super::grid::Grid;
use super::histogram::Repairs;
use super::limits::Budget;
use super::native::Pool;
use super::parse::place::Place;
use super::plan::{Op, SortBy, VectorNode};
use super::select::Wanted;
use super::table::{Meter, RowRef, SAME_LABELSET, Sink, Table};
use super::tally::Tally;
use super::{binary, labelling};

/// What the user should know about a result.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) warnings: BTreeSet<String>,
    pub(super) infos: BTreeSet<String>,
    /// By the name and the place of the histograms.
    pub(super) repairs: BTreeMap<(String, Place), Repairs>,
}

impl Notes {
    /// Returns the warnings and the infos.
    pub(super) fn told(self) -> (BTreeSet<String>, BTreeSet<String>) {
        let Self { warnings, mut infos, repairs } = self;
        for ((of_metric, place), repairs) in repairs {
            infos.insert(format!("PromQL info: {} ({place})", repairs.told(&of_metric)));
        }
        (warnings, infos)
    }
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
            VectorNode::Sort { by, place, inner } => self.sort(by, *place, inner, grid)?,
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

    fn sort(
        &self,
        by: &SortBy,
        place: Place,
        inner: &VectorNode,
        grid: &Grid,
    ) -> Result<Table, PromqlError> {
        let mut table = self.rows(inner, grid)?;
        if let SortBy::Value { .. } = by {
            // Histograms have no order.
            self.leave_floats(&mut table);
        }
        // A range answer is sorted by labels whatever the query says.
        if grid.n == 1 {
            labelling::sort(&mut table.rows, by);
        } else {
            self.warn(
                place,
                "sort is ineffective for range queries since results are always ordered by labels",
            );
        }
        Ok(table)
    }
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
