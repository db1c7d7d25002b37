//! `anchored` and `smoothed`: a window that ends at its edges and not at its samples, so that nothing is
//! stretched. What stands at an edge is the newest sample at or before it, or, smoothed, a point on the
//! line between the samples around it; for that a window reaches beyond its edges by the lookback.
//!
//! Source: Prometheus 3.x, `extended range selectors` (docs/feature_flags.md, its test script
//! `extended_vectors.test`).

use super::super::grid::{ABSENT, seconds};
use super::super::parse::ast::Edges;
use super::super::plan::RangeFn;
use super::super::window::{Samples, Window, Windows};

/// Writes the function's value at every step, absent where it has none.
pub(super) fn column(func: RangeFn, samples: Samples<'_>, windows: &Windows, out: &mut Vec<f64>) {
    out.clear();
    for window in windows.over(samples.timestamps_ms) {
        let reached = Reached::of(samples, window, windows);
        out.push(reached.map_or(ABSENT, |reached| reached.value(func, windows)));
    }
}

/// Returns the value at a moment, on the line between the samples around it; after the last of them,
/// that one.
pub(in super::super) fn smoothed_at(samples: Samples<'_>, at_ms: i64) -> Option<f64> {
    let after = samples.timestamps_ms.partition_point(|ms| *ms < at_ms);
    if samples.timestamps_ms.get(after) == Some(&at_ms) {
        return Some(samples.values[after]);
    }
    let before = after.checked_sub(1)?;
    if after == samples.timestamps_ms.len() {
        return Some(samples.values[before]);
    }
    Some(between(samples, before, at_ms, false))
}

/// Returns the value at a moment between a sample and the next; a counter that was reset there began at
/// zero.
fn between(samples: Samples<'_>, before: usize, at_ms: i64, is_counter: bool) -> f64 {
    let (mut low, high) = (samples.values[before], samples.values[before + 1]);
    if is_counter && high < low {
        low = 0.0;
    }
    let (low_ms, high_ms) = (samples.timestamps_ms[before], samples.timestamps_ms[before + 1]);
    low + (high - low) * seconds(at_ms - low_ms) / seconds(high_ms - low_ms)
}

/// The samples of a window and those around it.
pub(in super::super) struct Reached<'a> {
    pub(in super::super) samples: Samples<'a>,
    pub(in super::super) window: Window,
    /// The newest sample at or before the window's start, or the first there is.
    pub(in super::super) first: usize,
    /// The last sample within the window, or, smoothed, the first at or after its end.
    pub(in super::super) last: usize,
    pub(in super::super) is_smoothed: bool,
}

impl<'a> Reached<'a> {
    /// Returns what a window reaches; none when there is no sample at all.
    pub(in super::super) fn of(
        samples: Samples<'a>,
        window: Window,
        windows: &Windows,
    ) -> Option<Self> {
        let is_smoothed = windows.edges == Edges::Smoothed;
        let reach_ms = windows.reach_ms;
        let after_ms =
            if is_smoothed { window.end_ms.saturating_add(reach_ms) } else { window.end_ms };
        let samples = samples.within((window.start_ms.saturating_sub(reach_ms), after_ms));
        let n = Some(samples.values.len()).filter(|n| *n > 0)?;
        let times = &samples.timestamps_ms[..n - 1];
        let first = times.partition_point(|ms| *ms <= window.start_ms).saturating_sub(1);
        let last = match is_smoothed {
            true => times.partition_point(|ms| *ms < window.end_ms),
            false => n - 1,
        };
        Some(Self { samples, window, first, last, is_smoothed })
    }

    /// Returns true when there is something to tell of the window: a sample after its start and, where
    /// lines are drawn to its end, one that is not after it.
    pub(in super::super) fn has_any(&self) -> bool {
        let times = self.samples.timestamps_ms;
        let is_late = self.is_smoothed && times[self.first] > self.window.end_ms;
        times[self.last] > self.window.start_ms && !is_late
    }

    /// Returns the function's value, where all samples are numbers.
    pub(in super::super) fn value(&self, func: RangeFn, windows: &Windows) -> f64 {
        if !self.has_any() {
            return ABSENT;
        }
        match func {
            RangeFn::Changes => self.count(|a, b| a != b && !(a.is_nan() && b.is_nan())),
            RangeFn::Resets => self.count(|before, after| after < before),
            RangeFn::Rate => self.change(true) / seconds(windows.range_ms),
            _ => self.change(func != RangeFn::Delta),
        }
    }

    /// Counts neighbours that are an event, from the sample that stands at the window's start.
    fn count(&self, is_event: impl Fn(f64, f64) -> bool) -> f64 {
        let pairs = self.samples.values[self.first..=self.last].windows(2);
        pairs.filter(|pair| is_event(pair[0], pair[1])).count() as f64
    }

    /// Returns by how much the value grew from edge to edge.
    fn change(&self, is_counter: bool) -> f64 {
        let Self { samples, window, first, last, is_smoothed } = *self;
        let times = samples.timestamps_ms;
        let left = match is_smoothed && times[first] < window.start_ms {
            true => between(samples, first, window.start_ms, is_counter),
            false => samples.values[first],
        };
        let right = match is_smoothed && last > 0 && times[last] > window.end_ms {
            true => between(samples, last - 1, window.end_ms, is_counter),
            false => samples.values[last],
        };
        if !is_counter {
            return right - left;
        }
        // The edges stand for the samples on them.
        let from = first + usize::from(times[first] <= window.start_ms);
        let until = last + usize::from(times[last] < window.end_ms);
        let inside = samples.values.get(from..until).unwrap_or_default();
        right - left + grown_before_resets(left, inside, right)
    }
}

/// Returns what a counter had grown to before each of its resets.
fn grown_before_resets(left: f64, values: &[f64], right: f64) -> f64 {
    let mut before = left;
    let mut grown = 0.0;
    for &value in values.iter().chain([&right]) {
        if value < before {
            grown += before;
        }
        before = value;
    }
    grown
}
