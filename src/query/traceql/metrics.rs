//! Spans counted over time.
//!
//! A point stands for the spans that began in the step before it, its own moment included, as in
//! Tempo: `(t - step, t]`. Start and end of a question are moved outwards to whole steps, so that the
//! same span is counted in the same point however a dashboard is scrolled, and both have a point.
//!
//! Quantiles and histograms are those of Tempo too: values fall into powers of two, and a quantile
//! lies between two of them, exponentially.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::Limits;
use super::ast::{Aggregate, Function, Math, Metrics, Query};
use super::attribute::Attribute;
use super::compare::Comparison;
use super::error::TraceqlError;
use super::eval::places;
use super::math::combined;
use super::needs::Needs;
use super::scan::{Inspected, spans, traces};
use super::series_key::SeriesKey;
use super::sift::{is_of_single_spans, narrowed};
use super::thin;
use super::trace::{Place, Trace};
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
const BUCKET: &str = "__bucket";
const QUANTILE: &str = "p";
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
        let mut take = |trace: &Trace| -> Result<(), QueryError> {
            counter.key.enter(trace);
            let mut places = places(&query.stages, trace).into_iter();
            places.try_for_each(|place| counter.take(trace, place))
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

/// The points of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    start_ns: i64,
    step_ns: i64,
    n_points: usize,
}

impl Grid {
    fn of(wanted: &Counting, limits: &Limits) -> Result<Self, TraceqlError> {
        let Counting { start_ns, end_ns, step_ns, .. } = *wanted;
        let Some(step_ns) = step_ns else {
            let step_ns = end_ns.saturating_sub(start_ns).max(1);
            return Ok(Self { start_ns, step_ns, n_points: 1 });
        };
        let step_ns = step_ns.max(1);
        // One step earlier: what began in the step before the start is the start's own point.
        let start_ns = start_ns.div_euclid(step_ns).saturating_mul(step_ns).saturating_sub(step_ns);
        let span_ns = end_ns.saturating_sub(start_ns).max(1);
        let n_points = span_ns.saturating_sub(1) / step_ns + 1;
        let (n, max) = (usize::try_from(n_points).unwrap_or(usize::MAX), limits.points_max);
        if n > max {
            let key = "query.points_max";
            return Err(TraceqlError::Limit { what: "points", n, max, key });
        }
        Ok(Self { start_ns, step_ns, n_points: n })
    }

    fn end_ns(&self) -> i64 {
        self.start_ns.saturating_add(self.step_ns.saturating_mul(whole(self.n_points)))
    }

    /// Returns the point that a moment counts for.
    fn point(&self, at_ns: i64) -> Option<usize> {
        let past = at_ns.checked_sub(self.start_ns)?.checked_sub(1)?;
        let point = usize::try_from(past.checked_div(self.step_ns)?).ok()?;
        (past >= 0 && point < self.n_points).then_some(point)
    }

    fn timestamp_ms(&self, point: usize) -> i64 {
        self.start_ns.saturating_add(self.step_ns.saturating_mul(whole(point + 1))) / MS_NS
    }

    fn step_s(&self) -> f64 {
        seconds(self.step_ns)
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "TraceQL counts in doubles")]
fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}

/// What is known of a point so far.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    n: f64,
    folded: f64,
}

/// A series under way.
#[derive(Debug, Default)]
struct Series {
    labels: Vec<(String, Value<'static>)>,
    cells: Vec<Cell>,
    /// Counts by the power of two that bounds them, of each point; for quantiles.
    buckets: BTreeMap<usize, BTreeMap<u64, u64>>,
    exemplars: Vec<Exemplar>,
    n_seen: usize,
}

/// Counts spans into series.
struct Counter<'a> {
    metrics: &'a Metrics,
    grid: Grid,
    n_exemplars: usize,
    limits: &'a Limits,
    series: HashMap<String, Series>,
    key: SeriesKey,
    comparison: Option<Comparison<'a>>,
}

impl<'a> Counter<'a> {
    fn new(metrics: &'a Metrics, grid: Grid, n_exemplars: usize, limits: &'a Limits) -> Self {
        let comparison = match &metrics.function {
            Function::Compare { filter, top, range_ns } => {
                Some(Comparison::new(filter.as_ref(), *top, *range_ns, grid.n_points))
            }
            _ => None,
        };
        let (series, key) = (HashMap::new(), SeriesKey::default());
        Self { metrics, grid, n_exemplars, limits, series, key, comparison }
    }

    fn take(&mut self, trace: &Trace, place: Place) -> Result<(), QueryError> {
        let Some(point) = self.grid.point(trace.start(place)) else { return Ok(()) };
        if let Some(comparison) = &mut self.comparison {
            return comparison.take(trace, place, point, self.limits);
        }
        let Some(value) = self.value(trace, place) else { return Ok(()) };
        let bound = bucket(value);
        let bucket = match (&self.metrics.function, bound) {
            (Function::Histogram(_), None) => return Ok(()),
            (Function::Histogram(_), Some(bound)) => Some(Value::Float(shown(bound, value))),
            _ => None,
        };
        let (metrics, grid, n_exemplars, fold) =
            (self.metrics, self.grid, self.n_exemplars, self.fold());
        let series = self.series_of(trace, place, bucket)?;
        series.count(point, value.number, fold);
        if let (Function::Quantiles(..), Some(bound)) = (&metrics.function, bound) {
            *series.buckets.entry(point).or_default().entry(bound).or_insert(0) += 1;
        }
        if let Some(kept_at) = series.exemplar_place(n_exemplars) {
            let mut exemplar = Exemplar::of(trace, place, &series.labels);
            exemplar.point_ms = grid.timestamp_ms(point);
            if let Function::Fold(..) | Function::Quantiles(..) = metrics.function {
                exemplar.value = value.shown();
            }
            series.keep(kept_at, exemplar);
        }
        Ok(())
    }

    fn fold(&self) -> Aggregate {
        match &self.metrics.function {
            Function::Fold(aggregate, _) => *aggregate,
            _ => Aggregate::Count,
        }
    }

    /// Returns the number that is counted; a span without one is not.
    fn value(&self, trace: &Trace, place: Place) -> Option<Measured> {
        let attribute: &Attribute = match &self.metrics.function {
            Function::Fold(_, attribute)
            | Function::Quantiles(attribute, _)
            | Function::Histogram(attribute) => attribute,
            _ => return Some(Measured { number: 1.0, is_duration: false }),
        };
        let value = trace.value(place, attribute).first();
        let is_duration = matches!(value, Value::Duration(_));
        Some(Measured { number: value.number()?, is_duration })
    }

    /// Returns the series of a span, of one of its buckets if there are such. Its labels are written
    /// down when it is a new one.
    fn series_of(
        &mut self,
        trace: &Trace,
        place: Place,
        bucket: Option<Value<'static>>,
    ) -> Result<&mut Series, QueryError> {
        self.key.write(&self.metrics.by, (trace, place), bucket.as_ref());
        if !self.series.contains_key(self.key.as_str()) {
            let max = self.limits.series_max;
            if self.series.len() >= max {
                let key = "query.series_max";
                return Err(TraceqlError::TooMuch { what: "series", max, key }.into());
            }
            let label = |attribute: &Attribute| {
                (attribute.to_string(), trace.value(place, attribute).first().into_owned())
            };
            let mut labels: Vec<(String, Value<'static>)> =
                self.metrics.by.iter().map(label).collect();
            labels.extend(bucket.map(|bucket| (BUCKET.to_owned(), bucket)));
            let cells = vec![Cell::default(); self.grid.n_points];
            let series = Series { labels, cells, ..Series::default() };
            self.series.insert(self.key.as_str().to_owned(), series);
        }
        Ok(self.series.get_mut(self.key.as_str()).expect("it is there, or was just inserted"))
    }

    fn finish(self) -> Vec<CountedSeries> {
        let Self { metrics, grid, series, comparison, .. } = self;
        if let Some(comparison) = comparison {
            return comparison.finish(|point| grid.timestamp_ms(point));
        }
        let mut finished: Vec<CountedSeries> =
            series.into_values().flat_map(|series| finished(series, metrics, grid)).collect();
        // Of values that are too small for a quantile nothing is known at any point.
        finished.retain(|series| !series.samples.is_empty());
        if finished.is_empty()
            && metrics.by.is_empty()
            && matches!(metrics.function, Function::Rate | Function::Count)
        {
            // Nothing is a count as well.
            let none = Series { cells: vec![Cell::default(); grid.n_points], ..Series::default() };
            finished.extend(self::finished(none, metrics, grid));
        }
        finished.sort_by_key(|series| {
            series.labels.iter().map(|(_, value)| value.plain()).collect::<Vec<_>>()
        });
        finished
    }
}

/// A number of a span.
#[derive(Debug, Clone, Copy)]
struct Measured {
    /// A duration in ns.
    number: f64,
    is_duration: bool,
}

impl Measured {
    /// Returns the number as answers show it: durations in seconds.
    fn shown(self) -> f64 {
        if self.is_duration { self.number / 1e9 } else { self.number }
    }
}

impl Series {
    fn count(&mut self, point: usize, number: f64, fold: Aggregate) {
        let cell = &mut self.cells[point];
        cell.folded = match fold {
            _ if cell.n == 0.0 => number,
            Aggregate::Min => cell.folded.min(number),
            Aggregate::Max => cell.folded.max(number),
            _ => cell.folded + number,
        };
        cell.n += 1.0;
    }

    /// Returns where the exemplar of a span that comes now is kept, if it is. Those that are kept are
    /// spread over all that were seen: of `n` that come, each is as likely to stay, decided by a hash
    /// so that the same question has the same answer.
    fn exemplar_place(&mut self, max: usize) -> Option<usize> {
        if max == 0 {
            return None;
        }
        self.n_seen += 1;
        if self.exemplars.len() < max {
            return Some(self.exemplars.len());
        }
        let hash = xxhash_rust::xxh3::xxh3_64(&self.n_seen.to_le_bytes());
        let place = usize::try_from(hash % (self.n_seen as u64)).unwrap_or(usize::MAX);
        (place < self.exemplars.len()).then_some(place)
    }

    fn keep(&mut self, place: usize, exemplar: Exemplar) {
        match self.exemplars.get_mut(place) {
            Some(kept) => *kept = exemplar,
            None => self.exemplars.push(exemplar),
        }
    }
}

impl Exemplar {
    /// Returns a span of a series with these labels. Of a count the span has no value: it is shown
    /// where its point is.
    fn of(trace: &Trace, place: Place, labels: &[(String, Value<'static>)]) -> Self {
        let id = Value::Text(trace.trace_id(place).to_owned().into());
        let own = labels.iter().filter(|(name, value)| name != BUCKET && *value != Value::Nil);
        let labels = std::iter::once(("trace:id".to_owned(), id)).chain(own.cloned()).collect();
        let timestamp_ms = trace.start(place) / MS_NS;
        Self { labels, value: f64::NAN, timestamp_ms, point_ms: 0 }
    }
}

fn finished(series: Series, metrics: &Metrics, grid: Grid) -> Vec<CountedSeries> {
    let is_duration_of = |attribute: &Attribute| {
        use super::attribute::Intrinsic::{Duration, EventTime, TraceDuration};
        matches!(attribute, Attribute::Intrinsic(Duration | TraceDuration | EventTime))
    };
    if let Function::Quantiles(attribute, quantiles) = &metrics.function {
        let unit = if is_duration_of(attribute) { 1e9 } else { 1.0 };
        let one = |q: &f64| quantile_series(&series, *q, unit, grid);
        let mut list: Vec<CountedSeries> = quantiles.iter().map(one).collect();
        spread_exemplars(series.exemplars, &mut list);
        return list;
    }
    let sample = |(point, cell): (usize, &Cell)| {
        let value = match &metrics.function {
            Function::Rate => cell.n / grid.step_s(),
            Function::Count | Function::Histogram(_) | Function::Compare { .. } => cell.n,
            Function::Fold(..) | Function::Quantiles(..) if cell.n == 0.0 => return None,
            Function::Fold(Aggregate::Avg, attribute) => {
                cell.folded / cell.n / if is_duration_of(attribute) { 1e9 } else { 1.0 }
            }
            Function::Fold(_, attribute) | Function::Quantiles(attribute, _) => {
                cell.folded / if is_duration_of(attribute) { 1e9 } else { 1.0 }
            }
        };
        Some((grid.timestamp_ms(point), value))
    };
    let samples: Vec<(i64, f64)> = series.cells.iter().enumerate().filter_map(sample).collect();
    let mut labels = known(&series.labels);
    // A series needs something to be told by.
    if labels.is_empty() {
        let name = || (NAME.to_owned(), Value::Text(function_name(&metrics.function).into()));
        labels.push(series.labels.into_iter().next().unwrap_or_else(name));
    }
    let exemplars = placed(series.exemplars, &samples);
    vec![CountedSeries { labels, samples, exemplars }]
}

/// Leaves out the labels that spans do not have.
fn known(labels: &[(String, Value<'static>)]) -> Vec<(String, Value<'static>)> {
    labels.iter().filter(|(_, value)| *value != Value::Nil).cloned().collect()
}

/// Gives exemplars without a value that of their point.
fn placed(mut exemplars: Vec<Exemplar>, samples: &[(i64, f64)]) -> Vec<Exemplar> {
    for exemplar in exemplars.iter_mut().filter(|exemplar| exemplar.value.is_nan()) {
        let sample = samples.iter().find(|(ms, _)| *ms == exemplar.point_ms);
        exemplar.value = sample.map_or(f64::NAN, |(_, value)| *value);
    }
    exemplars.retain(|exemplar| !exemplar.value.is_nan());
    exemplars.sort_by_key(|exemplar| exemplar.timestamp_ms);
    exemplars
}

fn function_name(function: &Function) -> String {
    match function {
        Function::Quantiles(..) => "quantile_over_time".to_owned(),
        Function::Histogram(_) => "histogram_over_time".to_owned(),
        other => other.to_string().split('(').next().unwrap_or_default().to_owned(),
    }
}

fn quantile_series(series: &Series, q: f64, unit: f64, grid: Grid) -> CountedSeries {
    let mut labels = known(&series.labels);
    labels.push((QUANTILE.to_owned(), Value::Float(q)));
    let samples = series
        .buckets
        .iter()
        .map(|(point, buckets)| (grid.timestamp_ms(*point), log2_quantile(q, buckets) / unit));
    CountedSeries { labels, samples: samples.collect(), exemplars: Vec::new() }
}

/// Each exemplar goes to the series whose values it is nearest to.
fn spread_exemplars(exemplars: Vec<Exemplar>, list: &mut [CountedSeries]) {
    for exemplar in exemplars {
        let distance = |series: &CountedSeries| {
            let its = series.samples.iter().find(|(ms, _)| *ms == exemplar.point_ms);
            its.map_or(f64::INFINITY, |(_, value)| (value - exemplar.value).abs())
        };
        let nearest =
            (0..list.len()).min_by(|a, b| distance(&list[*a]).total_cmp(&distance(&list[*b])));
        if let Some(nearest) = nearest {
            list[nearest].exemplars.push(exemplar);
        }
    }
    for series in list {
        series.exemplars.sort_by_key(|exemplar| exemplar.timestamp_ms);
    }
}

/// Returns the power of two that bounds a value; what is below 2 has none, as in Tempo.
fn bucket(value: Measured) -> Option<u64> {
    let number = value.number;
    if !(2.0..9.2e18).contains(&number) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 2 and 9.2e18"
    )]
    let whole = number.ceil() as u64;
    whole.checked_next_power_of_two()
}

#[expect(clippy::cast_precision_loss, reason = "a power of two is exact")]
fn shown(bound: u64, value: Measured) -> f64 {
    if value.is_duration { bound as f64 / 1e9 } else { bound as f64 }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53; bounds are powers of two")]
fn log2_quantile(q: f64, buckets: &BTreeMap<u64, u64>) -> f64 {
    let total: u64 = buckets.values().sum();
    let wanted = (q * total as f64).ceil().max(1.0);
    let mut below = 0.0;
    let mut lower: Option<f64> = None;
    for (bound, count) in buckets {
        let (bound, count) = (*bound as f64, *count as f64);
        if below + count >= wanted {
            let part = (wanted - below) / count;
            let top = bound.log2();
            let bottom = lower.unwrap_or(top - 1.0);
            return (bottom + (top - bottom) * part).exp2();
        }
        below += count;
        lower = Some(bound.log2());
    }
    lower.map_or(f64::NAN, f64::exp2)
}

impl CountedSeries {
    fn n_bytes(&self) -> usize {
        let labels: usize =
            self.labels.iter().map(|(name, value)| 48 + name.len() + value.plain().len()).sum();
        labels + 48 * self.samples.len() + 160 * self.exemplars.len()
    }
}
