//! Lines through samples, and smoothing.

use super::super::grid::{ABSENT, seconds};
use super::super::kahan::Sum;

/// The slope of the best line, per second.
pub(super) fn deriv(timestamps_ms: &[i64], values: &[f64]) -> f64 {
    if values.len() < 2 {
        return ABSENT;
    }
    line(timestamps_ms, values, timestamps_ms[0]).0
}

/// Where the best line will be `ahead_s` after `now_ms`.
pub(super) fn predict(timestamps_ms: &[i64], values: &[f64], now_ms: i64, ahead_s: f64) -> f64 {
    if values.len() < 2 {
        return ABSENT;
    }
    let (slope, at_now) = line(timestamps_ms, values, now_ms);
    slope * ahead_s + at_now
}

/// Returns the slope of the least-squares line and its value at `origin_ms`.
fn line(timestamps_ms: &[i64], values: &[f64], origin_ms: i64) -> (f64, f64) {
    if values.iter().all(|value| *value == values[0]) {
        let is_infinite = values[0].is_infinite();
        return if is_infinite { (f64::NAN, f64::NAN) } else { (0.0, values[0]) };
    }
    let [mut sum_x, mut sum_y, mut sum_xy, mut sum_xx] = [Sum::default(); 4];
    for (time_ms, y) in timestamps_ms.iter().zip(values) {
        let x = seconds(time_ms.saturating_sub(origin_ms));
        sum_x.add(x);
        sum_y.add(*y);
        sum_xy.add(x * y);
        sum_xx.add(x * x);
    }
    let n = values.len() as f64;
    let [x, y, xy, xx] = [sum_x, sum_y, sum_xy, sum_xx].map(|s| s.sum + s.compensation);
    let slope = (xy - x * y / n) / (xx - x * x / n);
    (slope, y / n - slope * x / n)
}

/// Holt's double exponential smoothing.
pub(super) fn smooth(values: &[f64], smoothing: f64, trend: f64) -> f64 {
    if values.len() < 2 {
        return ABSENT;
    }
    let (mut before, mut level) = (0.0, values[0]);
    let mut slope = values[1] - values[0];
    for (idx, value) in values.iter().enumerate().skip(1) {
        if idx > 1 {
            slope = trend * (level - before) + (1.0 - trend) * slope;
        }
        let next = smoothing * value + (1.0 - smoothing) * (level + slope);
        (before, level) = (level, next);
    }
    level
}
