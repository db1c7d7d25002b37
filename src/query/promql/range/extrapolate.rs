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
    let per = if func == RangeFn::Rate { seconds(windows.range_ms) } else { 1.0 };
    let mut stretching = Stretching { is_counter, per, last: None, last_factor: None };
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
        let factor = stretching.factor(Shape::of(samples, window), first, change);
        out.push(change * factor);
    }
}

/// What the change of each window is multiplied by. Mostly windows lie alike over their samples, and a
/// counter is far from where it began: then it is the factor of the window before.
struct Stretching {
    is_counter: bool,
    per: f64,
    last: Option<(Shape, Reach)>,
    last_factor: Option<f64>,
}

impl Stretching {
    fn factor(&mut self, shape: Shape, first: f64, change: f64) -> f64 {
        let reach = match self.last {
            Some((last, reach)) if last == shape => reach,
            _ => {
                self.last_factor = None;
                self.last.insert((shape, shape.reach())).1
            }
        };
        let is_far = !self.is_counter || first >= change && reach.to_start_s <= reach.sampled_s;
        if let Some(factor) = self.last_factor.filter(|_| is_far) {
            return factor;
        }
        let factor = reach.factor(self.is_counter.then_some((first, change))) / self.per;
        self.last_factor = is_far.then_some(factor).or(self.last_factor);
        factor
    }
}

/// How the samples of a window lie in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    n_samples: usize,
    sampled_ms: i64,
    to_start_ms: i64,
    to_end_ms: i64,
}

/// How far the change between the samples is stretched, in seconds.
#[derive(Debug, Clone, Copy)]
struct Reach {
    sampled_s: f64,
    to_start_s: f64,
    to_end_s: f64,
}

impl Shape {
    fn of(samples: Samples<'_>, window: Window) -> Self {
        let first_ms = samples.timestamps_ms[window.lo];
        let last_ms = samples.timestamps_ms[window.hi - 1];
        Self {
            n_samples: window.len(),
            sampled_ms: last_ms - first_ms,
            to_start_ms: first_ms.saturating_sub(window.start_ms),
            to_end_ms: window.end_ms.saturating_sub(last_ms),
        }
    }

    fn reach(self) -> Reach {
        let sampled_s = seconds(self.sampled_ms);
        let between_s = sampled_s / (self.n_samples - 1) as f64;
        let late_s = between_s * LATE_FACTOR;
        let edge = |ms: i64| {
            let edge_s = seconds(ms);
            if edge_s >= late_s { between_s / 2.0 } else { edge_s }
        };
        Reach { sampled_s, to_start_s: edge(self.to_start_ms), to_end_s: edge(self.to_end_ms) }
    }
}

impl Reach {
    /// Returns by how much the change is to be multiplied for the whole window; `counter` is the first
    /// value and the change.
    fn factor(self, counter: Option<(f64, f64)>) -> f64 {
        let Self { sampled_s, mut to_start_s, to_end_s } = self;
        if let Some((first, change)) = counter {
            // A counter cannot have been below zero: never stretch beyond where it would have been.
            if change > 0.0 && first >= 0.0 {
                to_start_s = to_start_s.min(sampled_s * (first / change));
            }
        }
        (sampled_s + to_start_s + to_end_s) / sampled_s
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
    Shape::of(samples, window).reach().factor(counter)
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
