//! How far values lie apart: quantiles, variance, median deviation.

use super::super::grid::to_index;
use super::super::kahan::Sum;

/// Returns a quantile of unsorted values; `scratch` saves an allocation a call.
pub(in super::super) fn quantile_of(q: f64, values: &[f64], scratch: &mut Vec<f64>) -> f64 {
    scratch.clear();
    scratch.extend_from_slice(values);
    quantile(q, scratch)
}

/// Returns a quantile, interpolated between neighbours; NaN sorts below everything.
pub(in super::super) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let last = values.len() - 1;
    let rank = q * last as f64;
    let lower_idx = to_index(rank.floor()).min(last);
    let order = |a: &f64, b: &f64| b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(b));
    let (_, lower, above) = values.select_nth_unstable_by(lower_idx, order);
    let lower = *lower;
    let upper = above.iter().copied().min_by(|a, b| order(a, b)).unwrap_or(lower);
    let weight = rank - rank.floor();
    lower * (1.0 - weight) + upper * weight
}

/// Returns the population variance.
pub(super) fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut squares) = (Sum::default(), Sum::default());
    for (idx, value) in values.iter().enumerate() {
        let delta = value - (mean.sum + mean.compensation);
        mean.add(delta / (idx + 1) as f64);
        squares.add(delta * (value - (mean.sum + mean.compensation)));
    }
    (squares.sum + squares.compensation) / values.len() as f64
}

/// Returns the median of the distances from the median; what has a NaN has none.
pub(super) fn median_deviation(values: &[f64], scratch: &mut Vec<f64>) -> f64 {
    if values.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    let median = quantile_of(0.5, values, scratch);
    scratch.clear();
    scratch.extend(values.iter().map(|value| (value - median).abs()));
    quantile(0.5, scratch)
}
