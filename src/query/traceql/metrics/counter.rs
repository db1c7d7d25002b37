//! Spans become series of counts.

use hashbrown::HashMap;

use super::super::Limits;
use super::super::ast::{Aggregate, Function, Metrics};
use super::super::attribute::Attribute;
use super::super::compare::Comparison;
use super::super::error::TraceqlError;
use super::super::series_key::SeriesKey;
use super::super::trace::{Place, Trace};
use super::super::value::Value;
use super::buckets::{bucket, shown};
use super::finish::finished;
use super::grid::Grid;
use super::series::{BUCKET, Cell, Measured, Series};
use super::{CountedSeries, Exemplar, Grown};
use crate::query::QueryError;

/// Bytes of a series beside its points and texts, and of an entry of a table.
const SERIES_BYTES: usize = 192;
const ENTRY_BYTES: usize = 64;
/// Of many series each keeps this part of the exemplars that are asked for.
const FEW_EXEMPLARS: usize = 10;

/// Counts spans into series.
pub(super) struct Counter<'a> {
    metrics: &'a Metrics,
    grid: Grid,
    n_exemplars: usize,
    limits: &'a Limits,
    series: HashMap<String, Series>,
    pub(super) key: SeriesKey,
    comparison: Option<Comparison<'a>>,
}

impl<'a> Counter<'a> {
    pub(super) fn new(
        metrics: &'a Metrics,
        grid: Grid,
        n_exemplars: usize,
        limits: &'a Limits,
    ) -> Self {
        let comparison = match &metrics.function {
            Function::Compare { filter, top, range_ns } => {
                Some(Comparison::new(filter.as_ref(), *top, *range_ns, grid.n_points))
            }
            _ => None,
        };
        let (series, key) = (HashMap::new(), SeriesKey::default());
        Self { metrics, grid, n_exemplars, limits, series, key, comparison }
    }

    pub(super) fn take(
        &mut self,
        trace: &Trace,
        place: Place,
        grown: &mut Grown<'_>,
    ) -> Result<(), QueryError> {
        let Some(point) = self.grid.point(trace.start(place)) else { return Ok(()) };
        if let Some(comparison) = &mut self.comparison {
            return comparison.take(trace, place, point, self.limits, grown);
        }
        let Some(value) = self.value(trace, place) else { return Ok(()) };
        let bound = bucket(value);
        let bucket = match (&self.metrics.function, bound) {
            (Function::Histogram(_), None) => return Ok(()),
            (Function::Histogram(_), Some(bound)) => Some(Value::Float(shown(bound, value))),
            _ => None,
        };
        let (metrics, grid, fold) = (self.metrics, self.grid, self.fold());
        let series = self.series_of(trace, place, bucket, grown)?;
        series.count(point, value.number, fold);
        if let (Function::Quantiles(..), Some(bound)) = (&metrics.function, bound) {
            let of_point = series.buckets.entry(point).or_default();
            let n_before = of_point.len();
            *of_point.entry(bound).or_insert(0) += 1;
            if of_point.len() > n_before {
                grown.add(ENTRY_BYTES)?;
            }
        }
        if let Some(kept_at) = series.exemplar_place() {
            let mut exemplar = Exemplar::of(trace, place, &series.labels);
            exemplar.point_ms = grid.timestamp_ms(point);
            if let Function::Fold(..) | Function::Quantiles(..) = metrics.function {
                exemplar.value = value.shown();
            }
            if kept_at == series.exemplars.len() {
                grown.add(exemplar.n_bytes())?;
            }
            series.keep(kept_at, exemplar);
        }
        Ok(())
    }

    /// Returns how many exemplars the next series may keep. When there are more series than exemplars,
    /// each shows one, or some when most series are left out afterwards.
    fn exemplars_of_next(&self) -> usize {
        match self.series.len() < self.n_exemplars {
            true => self.n_exemplars,
            false => self.n_exemplars.div_ceil(FEW_EXEMPLARS),
        }
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
        grown: &mut Grown<'_>,
    ) -> Result<&mut Series, QueryError> {
        self.key.write(&self.metrics.by, (trace, place), bucket.as_ref());
        if !self.series.contains_key(self.key.as_str()) {
            let max = self.limits.series_max;
            if self.series.len() >= max {
                let key = "query.series_max";
                return Err(TraceqlError::TooMuch { what: "series", max, key }.into());
            }
            // The key is about as long as the labels.
            let n_bytes = SERIES_BYTES + 2 * self.key.as_str().len();
            grown.add(n_bytes + self.grid.n_points * size_of::<Cell>())?;
            let label = |attribute: &Attribute| {
                (attribute.to_string(), trace.value(place, attribute).first().into_owned())
            };
            let mut labels: Vec<(String, Value<'static>)> =
                self.metrics.by.iter().map(label).collect();
            labels.extend(bucket.map(|bucket| (BUCKET.to_owned(), bucket)));
            let cells = vec![Cell::default(); self.grid.n_points];
            let exemplars_max = self.exemplars_of_next();
            let series = Series { labels, cells, exemplars_max, ..Series::default() };
            self.series.insert(self.key.as_str().to_owned(), series);
        }
        Ok(self.series.get_mut(self.key.as_str()).expect("it is there, or was just inserted"))
    }

    pub(super) fn finish(self) -> Vec<CountedSeries> {
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
