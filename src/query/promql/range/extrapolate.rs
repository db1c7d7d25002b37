//! `rate`, `increase`, `delta`: what happened between the first and last sample, stretched to the
//! window's edges; and `irate`, `idelta`: what happened between the last two.

use super::super::grid::{ABSENT, seconds};
use super::super::plan::RangeFn;
use super::super::window::{Samples, Window, Windows};

/// Samples may be this much later than the average before the series counts as begun or ended
/// inside the window.
const LATE_FACTOR: f64 = 1.1;

pub(super) fn column(func: RangeFn, samples: Samples<'_>, windows: &Windows, out: &mut Vec<f64>) {
    let is_counter = func != RangeFn::Delta;
    let resets = if is_counter { reset_idxs(samples.values) } else { Vec::new() };
    // Resets at or before a window's first sample, and before its end: both only grow.
    let (mut n_before, mut n_until) = (0, 0);
    out.clear();
    for window in windows.over(samples.timestamps_ms) {
        if window.len() < 2 {
            out.push(ABSENT);
            continue;
        }
        while resets.get(n_before).is_some_and(|idx| *idx <= window.lo) {
            n_before += 1;
        }
        while resets.get(n_until).is_some_and(|idx| *idx < window.hi) {
            n_until += 1;
        }
        let (first, last) = (samples.values[window.lo], samples.values[window.hi - 1]);
        let mut change = last - first;
        for reset in &resets[n_before..n_until.max(n_before)] {
            change += samples.values[reset - 1];
        }
        let factor = stretch(samples, window, is_counter.then_some((first, change)));
        let per = if func == RangeFn::Rate { seconds(windows.range_ms) } else { 1.0 };
        out.push(change * (factor / per));
    }
}

/// Returns the indexes of samples smaller than the one before.
fn reset_idxs(values: &[f64]) -> Vec<usize> {
    let pairs = values.windows(2).enumerate();
    pairs.filter(|(_, pair)| pair[1] < pair[0]).map(|(idx, _)| idx + 1).collect()
}

/// Returns by how much the change between the samples is to be multiplied for the whole window.
pub(in super::super) fn stretch(
    samples: Samples<'_>,
    window: Window,
    counter: Option<(f64, f64)>,
) -> f64 {
    let first_ms = samples.timestamps_ms[window.lo];
    let last_ms = samples.timestamps_ms[window.hi - 1];
    let sampled_s = seconds(last_ms - first_ms);
    let between_s = sampled_s / (window.len() - 1) as f64;
    let late_s = between_s * LATE_FACTOR;
    let mut to_start_s = seconds(first_ms.saturating_sub(window.start_ms));
    let mut to_end_s = seconds(window.end_ms.saturating_sub(last_ms));
    if to_start_s >= late_s {
        to_start_s = between_s / 2.0;
    }
    if let Some((first, change)) = counter {
        // A counter cannot have been below zero: never stretch beyond where it would have been.
        if change > 0.0 && first >= 0.0 {
            to_start_s = to_start_s.min(sampled_s * (first / change));
        }
    }
    if to_end_s >= late_s {
        to_end_s = between_s / 2.0;
    }
    (sampled_s + to_start_s + to_end_s) / sampled_s
}

/// The change between the last two samples, for `irate` per second.
pub(super) fn instant(is_rate: bool, samples: Samples<'_>, window: Window) -> f64 {
    if window.len() < 2 {
        return ABSENT;
    }
    let (before, last) = (samples.values[window.hi - 2], samples.values[window.hi - 1]);
    let (before_ms, last_ms) =
        (samples.timestamps_ms[window.hi - 2], samples.timestamps_ms[window.hi - 1]);
    // A counter that shrank was reset: it has grown from zero.
    let change = if is_rate && last < before { last } else { last - before };
    if is_rate { change / seconds(last_ms - before_ms) } else { change }
}
