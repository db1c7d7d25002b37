//! Spans counted over time.
//!
//! A point stands for the spans that began in the step before it, its own moment included, as in
//! Tempo: `(t - step, t]`. Start and end of a question are moved outwards to whole steps, so that the
//! same span is counted in the same point however a dashboard is scrolled, and both have a point.
//!
//! The points are a [`Grid`]; a [`Counter`] counts spans into `series`, whose answer is made in
//! `finish`.

mod buckets;
mod counter;
mod finish;
mod grid;
mod grown;
mod series;

use counter::Counter;
use grid::Grid;
pub(super) use grown::Grown;

use super::Limits;
use super::ast::{Math, Metrics, Query};
use super::error::TraceqlError;
use super::eval::places;
use super::math::combined;
use super::needs::Needs;
use super::scan::{Inspected, spans, traces};
use super::sift::{is_of_single_spans, narrowed};
use super::thin;
use super::trace::Trace;
use super::value::Value;
use crate::query::QueryError;
use crate::query::promql::Budget;
use crate::storage::{Snapshot, SpanRange};

/// What a metrics question asks.
#[derive(Debug, Clone)]
pub struct Counting {
    /// The TraceQL text.
    pub query: String,
    /// From here, ns since 1970 UTC.
    pub start_ns: i64,
    /// To here.
    pub end_ns: i64,
    /// Between two points; `None` asks for one value of the whole range.
    pub step_ns: Option<i64>,
    /// At most this many exemplars in all series together.
    pub exemplars: usize,
}

/// Series of counts.
#[derive(Debug, Clone, Default)]
pub struct Counted {
    /// In the order of their labels.
    pub series: Vec<CountedSeries>,
    /// What was read for that.
    pub inspected: Inspected,
    /// Why that is not all there is; empty when it is.
    pub warnings: Vec<String>,
}

/// One series.
#[derive(Debug, Clone, PartialEq)]
pub struct CountedSeries {
    /// What tells it apart.
    pub labels: Vec<(String, Value<'static>)>,
    /// (ms since 1970 UTC, value), in order; a point without a value is left out.
    pub samples: Vec<(i64, f64)>,
    /// Spans that were counted.
    pub exemplars: Vec<Exemplar>,
}

/// A span that was counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// The trace it is of, and the values of the series' labels.
    pub labels: Vec<(String, Value<'static>)>,
    /// Its value, or that of its point.
    pub value: f64,
    /// When it began.
    pub timestamp_ms: i64,
    /// The point that it is counted in, ms since 1970 UTC.
    pub point_ms: i64,
}

/// The name that a series without other labels has.
pub(super) const NAME: &str = "__name__";
const MS_NS: i64 = 1_000_000;

/// Counts.
pub(in crate::query) fn count(
    snapshot: &Snapshot,
    wanted: &Counting,
    limits: &Limits,
    budget: &Budget,
) -> Result<Counted, QueryError> {
    counting(snapshot, wanted, limits, budget, true)
}

/// Counts by looking at every trace, for tests to compare with.
#[cfg(test)]
pub(super) fn count_unsifted(
    snapshot: &Snapshot,
    wanted: &Counting,
    limits: &Limits,
    budget: &Budget,
) -> Result<Counted, QueryError> {
    counting(snapshot, wanted, limits, budget, false)
}

fn counting(
    snapshot: &Snapshot,
    wanted: &Counting,
    limits: &Limits,
    budget: &Budget,
    may_sift: bool,
) -> Result<Counted, QueryError> {
    let query = super::parse(&wanted.query, limits)?;
    if !query.is_metrics() {
        let message = "not a metrics query: it needs a function such as `| rate()` at its end";
        return Err(TraceqlError::Invalid(message.to_owned()).into());
    }
    let (grid, n_exemplars) = (Grid::of(wanted, limits)?, exemplars_of(&query, wanted.exemplars));
    let asking = Asking { snapshot, grid, n_exemplars, limits, budget, may_sift };
    let mut counted = asking.query(&query)?;
    thin::exemplars(&mut counted.series, n_exemplars);
    counted.warnings = super::cut_warnings(counted.inspected.n_cut, limits);
    Ok(counted)
}

/// What is the same for all queries of a question.
struct Asking<'a> {
    snapshot: &'a Snapshot,
    grid: Grid,
    n_exemplars: usize,
    limits: &'a Limits,
    budget: &'a Budget,
    may_sift: bool,
}

impl Asking<'_> {
    fn query(&self, query: &Query) -> Result<Counted, QueryError> {
        match (&query.math, &query.metrics) {
            (Some(math), _) => self.math(math),
            (None, Some(metrics)) => self.metrics(query, metrics),
            (None, None) => unreachable!("only queries that count are asked for numbers"),
        }
    }

    fn math(&self, math: &Math) -> Result<Counted, QueryError> {
        let (op, lhs, rhs, seconds) = match math {
            Math::Query(query) => return self.query(query),
            Math::Operation { op, lhs, rhs, seconds } => (op, lhs, rhs, seconds),
        };
        let mut counted = combined(*op, &self.math(lhs)?, &self.math(rhs)?);
        seconds.iter().for_each(|stage| thin::samples(stage, &mut counted.series));
        Ok(counted)
    }

    fn metrics(&self, query: &Query, metrics: &Metrics) -> Result<Counted, QueryError> {
        let Self { snapshot, grid, n_exemplars, limits, budget, may_sift } = *self;
        let mut counter = Counter::new(metrics, grid, n_exemplars, limits);
        let mut grown = Grown::new(budget);
        let mut take = |trace: &Trace| -> Result<(), QueryError> {
            counter.key.enter(trace);
            let mut places = places(&query.stages, trace).into_iter();
            places.try_for_each(|place| counter.take(trace, place, &mut grown))
        };
        let range = self.range(query)?;
        let inspected = match may_sift && is_of_single_spans(query) {
            true => spans(snapshot, &range, limits, budget, &mut take)?,
            false => traces(snapshot, &range, limits, budget, &mut |trace| {
                take(&trace)?;
                Ok(true)
            })?,
        };
        let mut series = counter.finish();
        let n_bytes = series.iter().map(CountedSeries::n_bytes).sum();
        super::check_bytes(n_bytes, budget)?;
        metrics.seconds.iter().for_each(|stage| thin::samples(stage, &mut series));
        Ok(Counted { series, inspected, warnings: Vec::new() })
    }

    fn range(&self, query: &Query) -> Result<SpanRange, QueryError> {
        let needs = Needs::of(query);
        let range = SpanRange {
            min_ns: self.grid.start_ns.saturating_add(1),
            max_ns: self.grid.end_ns(),
            columns: needs.columns(),
            traces: None,
            sift: None,
        };
        match self.may_sift {
            true => narrowed(range, query, &needs, &[], self.snapshot, self.budget),
            false => Ok(range),
        }
    }
}

/// `with(exemplars=…)` wins over the parameter.
fn exemplars_of(query: &Query, asked: usize) -> usize {
    let hint = query.hints.iter().find(|(name, _)| name == "exemplars");
    match hint {
        Some((_, Value::Bool(false))) => 0,
        Some((_, Value::Int(n))) => usize::try_from(*n).unwrap_or(0).min(EXEMPLARS_MAX),
        _ => asked.min(EXEMPLARS_MAX),
    }
}

/// The most exemplars of one answer.
pub const EXEMPLARS_MAX: usize = 100;

impl CountedSeries {
    fn n_bytes(&self) -> usize {
        let labels: usize =
            self.labels.iter().map(|(name, value)| 48 + name.len() + value.plain().len()).sum();
        labels + 48 * self.samples.len() + 160 * self.exemplars.len()
    }
}
