//! What is answered of a series that was counted.

use super::super::ast::{Aggregate, Function, Metrics};
use super::super::attribute::Attribute;
use super::super::value::Value;
use super::buckets::log2_quantile;
use super::grid::Grid;
use super::series::{Cell, Series};
use super::{CountedSeries, Exemplar, NAME};

/// The label of a quantile's series.
const QUANTILE: &str = "p";

pub(super) fn finished(series: Series, metrics: &Metrics, grid: Grid) -> Vec<CountedSeries> {
    let is_duration_of = |attribute: &Attribute| {
        use super::super::attribute::Intrinsic::{Duration, EventTime, TraceDuration};
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
