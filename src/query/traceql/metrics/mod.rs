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
use super::ast::{Metrics, Query};
use super::error::TraceqlError;
use super::eval::places;
use super::math::{operands, together};
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
    let mut counted = asking.answer(&query)?;
    thin::exemplars(&mut counted.series, n_exemplars);
    super::check_bytes(counted.series.iter().map(CountedSeries::n_bytes).sum(), budget)?;
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

/// A query of a question, and what is counted for it.
struct Operand<'q> {
    query: &'q Query,
    metrics: &'q Metrics,
    is_of_single_spans: bool,
    counter: Counter<'q>,
}

impl Operand<'_> {
    fn take(&mut self, spans: &Trace, grown: &mut Grown<'_>) -> Result<(), QueryError> {
        self.counter.key.enter(spans);
        let mut places = places(&self.query.stages, spans).into_iter();
        places.try_for_each(|place| self.counter.take(spans, place, grown))
    }
}

impl<'q> Asking<'q> {
    /// Counts for all queries of a question, and puts their series together.
    fn answer(&self, question: &'q Query) -> Result<Counted, QueryError> {
        let mut operands: Vec<Operand<'q>> =
            operands(question).into_iter().map(|query| self.operand(query)).collect();
        let mut grown = Grown::new(self.budget);
        let of_single_spans = self.scan(&mut operands, true, &mut grown)?;
        let of_traces = self.scan(&mut operands, false, &mut grown)?;
        let mut each = Vec::with_capacity(operands.len());
        for Operand { metrics, counter, .. } in operands {
            let mut series = counter.finish();
            metrics.seconds.iter().for_each(|stage| thin::samples(stage, &mut series));
            each.push(series);
        }
        let series = together(question, &mut each.into_iter());
        let inspected = of_single_spans.and(&of_traces);
        Ok(Counted { series, inspected, warnings: Vec::new() })
    }

    fn operand(&self, query: &'q Query) -> Operand<'q> {
        let metrics = query.metrics.as_ref().expect("operands are queries that count");
        let is_of_single_spans = self.may_sift && is_of_single_spans(query);
        let counter = Counter::new(metrics, self.grid, self.n_exemplars, self.limits);
        Operand { query, metrics, is_of_single_spans, counter }
    }

    /// Counts for the operands of one kind. They are about the same time, so one scan serves all of
    /// them; but what asks for single spans alone is not made to wait for whole traces.
    fn scan(
        &self,
        operands: &mut [Operand<'q>],
        of_single_spans: bool,
        grown: &mut Grown<'_>,
    ) -> Result<Inspected, QueryError> {
        let of_kind = operands.iter_mut().filter(|one| one.is_of_single_spans == of_single_spans);
        let mut those: Vec<&mut Operand<'q>> = of_kind.collect();
        if those.is_empty() {
            return Ok(Inspected::default());
        }
        let queries: Vec<&Query> = those.iter().map(|one| one.query).collect();
        let range = self.range(&queries)?;
        let mut take = |trace: &Trace| -> Result<(), QueryError> {
            those.iter_mut().try_for_each(|one| one.take(trace, grown))
        };
        match of_single_spans {
            true => spans(self.snapshot, &range, self.limits, self.budget, &mut take),
            false => traces(self.snapshot, &range, self.limits, self.budget, &mut |trace| {
                take(&trace)?;
                Ok(true)
            }),
        }
    }

    fn range(&self, queries: &[&Query]) -> Result<SpanRange, QueryError> {
        let each = queries.iter().map(|query| Needs::of(query));
        let needs = each.reduce(Needs::and).unwrap_or_default();
        let range = SpanRange {
            min_ns: self.grid.start_ns.saturating_add(1),
            max_ns: self.grid.end_ns(),
            columns: needs.columns(),
            traces: None,
            sift: None,
        };
        match self.may_sift {
            true => narrowed(range, queries, &needs, &[], self.snapshot, self.budget),
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
