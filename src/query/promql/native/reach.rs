//! `anchored` and `smoothed` over histograms: a window ends at its edges, and what stands there is a
//! histogram as it is or, smoothed, one between the two around the edge. Resets between the edges count as
//! they do for numbers.
//!
//! Source: Prometheus 3.13, `extendedHistogramRate` and `smoothSeries`.

use std::sync::Arc;

use crate::model::{Histogram, Labels, ResetHint};

use super::super::error::PromqlError;
use super::super::eval::{Eval, Work};
use super::super::grid::{ABSENT, seconds};
use super::super::parse::place::Place;
use super::super::plan::{RangeCall, RangeFn};
use super::super::range::{self, Reached};
use super::super::window::{Samples, Windows};
use super::add::{divide, scale};
use super::range::{count, differ, was_reset};
use super::reset::is_reset;
use super::told::Told;

/// A histogram, and when it was taken, ms since 1970 UTC.
type Point = (i64, Arc<Histogram>);

impl Eval<'_> {
    /// Writes the function's value at every step for a series with histograms whose windows end at
    /// their edges.
    pub(in super::super) fn native_reach(
        &self,
        call: &RangeCall,
        (labels, samples): (&Labels, Samples<'_>),
        windows: &Windows,
        out: &mut Vec<f64>,
    ) -> Result<(), PromqlError> {
        let told = Told { eval: self, place: call.place, labels };
        let mut work = Work::new(self.budget);
        out.clear();
        for window in windows.over(samples.timestamps_ms) {
            let Some(reached) = Reached::of(samples, window, windows) else {
                out.push(ABSENT);
                continue;
            };
            work.spend(8 * reached.samples.values.len())?;
            out.push(told.of_reached(call.func, &reached, windows)?);
        }
        Ok(())
    }

    /// Returns what stands at a moment among the samples around it, where some may be histograms.
    pub(in super::super) fn native_smoothed_at(
        &self,
        (labels, samples): (&Labels, Samples<'_>),
        place: Place,
        at_ms: i64,
    ) -> Result<f64, PromqlError> {
        let told = Told { eval: self, place, labels };
        let n_histograms = told.n_histograms(samples);
        if n_histograms == 0 {
            return Ok(range::smoothed_at(samples, at_ms).unwrap_or(ABSENT));
        }
        if n_histograms < samples.values.len() {
            told.warn_of_mixture();
            return Ok(ABSENT);
        }
        let after = samples.timestamps_ms.partition_point(|ms| *ms < at_ms);
        if samples.timestamps_ms.get(after) == Some(&at_ms) {
            return Ok(samples.values[after]);
        }
        let before = after.checked_sub(1).and_then(|before| told.point(samples, before));
        let made = match (before, told.point(samples, after)) {
            (None, _) => None,
            // What it says of a reset is about the one before it, and not about the step.
            (Some((_, last)), None) => {
                Some(Histogram { reset_hint: ResetHint::Unknown, ..Histogram::clone(&last) })
            }
            (Some(before), Some(after)) => {
                let is_counter = !(is_gauge(&before.1) && is_gauge(&after.1));
                told.between((&before, &after), at_ms, is_counter)
            }
        };
        self.pool.keep_some(made)
    }
}

impl Told<'_> {
    fn n_histograms(self, samples: Samples<'_>) -> usize {
        samples.values.iter().filter(|value| self.eval.pool.is_one(**value)).count()
    }

    fn point(self, samples: Samples<'_>, idx: usize) -> Option<Point> {
        let histogram = self.eval.pool.get(*samples.values.get(idx)?)?;
        Some((samples.timestamps_ms[idx], histogram))
    }

    /// Returns the function's value of one window.
    fn of_reached(
        self,
        func: RangeFn,
        reached: &Reached<'_>,
        windows: &Windows,
    ) -> Result<f64, PromqlError> {
        let (pool, values) = (&self.eval.pool, reached.samples.values);
        if let RangeFn::Changes | RangeFn::Resets = func {
            let values = &values[reached.first..=reached.last];
            return Ok(match func {
                _ if !reached.has_any() => ABSENT,
                RangeFn::Changes => count(values, |a, b| differ(pool, a, b)),
                _ => count(values, |a, b| was_reset(pool, a, b)),
            });
        }
        match self.n_histograms(reached.samples) {
            0 => return Ok(reached.value(func, windows)),
            n if n < values.len() => {
                self.warn_of_mixture();
                return Ok(ABSENT);
            }
            _ if !reached.has_any() => return Ok(ABSENT),
            _ => {}
        }
        let per = if func == RangeFn::Rate { seconds(windows.range_ms) } else { 1.0 };
        let change = self.change(reached, func != RangeFn::Delta);
        pool.keep_some(
            change.map(|change| Histogram { reset_hint: ResetHint::Gauge, ..divide(&change, per) }),
        )
    }

    /// Returns by how much the histogram grew from edge to edge.
    fn change(self, reached: &Reached<'_>, is_counter: bool) -> Option<Histogram> {
        let idxs = reached.first..=reached.last;
        let points: Vec<Point> = idxs.filter_map(|idx| self.point(reached.samples, idx)).collect();
        if points.iter().any(|(_, one)| one.is_custom() != points[0].1.is_custom()) {
            self.warn_of_schemas();
            return None;
        }
        if is_counter && points.iter().any(|(_, one)| is_gauge(one)) {
            self.warn_of_kind("counter");
        }
        let (left, right) = self.edges(&points, reached, is_counter)?;
        let are_gauges = is_gauge(&left) && is_gauge(&right);
        if !is_counter && !are_gauges {
            self.warn_of_kind("gauge");
        }
        let change = self.join(&right, &left, -1.0, "subtraction")?;
        if !is_counter {
            return Some(change);
        }
        self.with_resets(change, &points, (&left, &right), starts_between(&points, reached))
    }

    /// Returns what stands at the two edges.
    fn edges(
        self,
        points: &[Point],
        reached: &Reached<'_>,
        is_counter: bool,
    ) -> Option<(Histogram, Histogram)> {
        let n = points.len();
        let left = match starts_between(points, reached) {
            true => self.between((&points[0], &points[1]), reached.window.start_ms, is_counter)?,
            false => Histogram::clone(&points[0].1),
        };
        let end_ms = reached.window.end_ms;
        let right = match reached.is_smoothed && n > 1 && points[n - 1].0 > end_ms {
            true => self.between((&points[n - 2], &points[n - 1]), end_ms, is_counter)?,
            false => Histogram::clone(&points[n - 1].1),
        };
        Some((left, right))
    }

    /// Returns the histogram at a moment between two; a counter that was reset there began at zero.
    fn between(
        self,
        (before, after): (&Point, &Point),
        at_ms: i64,
        is_counter: bool,
    ) -> Option<Histogram> {
        if before.1.is_custom() != after.1.is_custom() {
            self.warn_of_schemas();
            return None;
        }
        let share = seconds(at_ms - before.0) / seconds(after.0 - before.0);
        if is_counter && is_reset(&before.1, &after.1) {
            return Some(scale(&after.1, share));
        }
        let grown = self.join(&after.1, &before.1, -1.0, "subtraction")?;
        self.join(&scale(&grown, share), &before.1, 1.0, "addition")
    }

    /// Adds what a counter had grown to before each of its resets.
    fn with_resets(
        self,
        mut change: Histogram,
        points: &[Point],
        (left, right): (&Histogram, &Histogram),
        starts_between: bool,
    ) -> Option<Histogram> {
        let (mut before, mut rest) = (left, &points[1..]);
        if starts_between && is_reset(&points[0].1, &points[1].1) {
            // The left edge lies after that reset.
            before = &points[1].1;
            rest = &points[2..];
        }
        // The last one is the right edge, or the right edge lies before it.
        let Some((_, inside)) = rest.split_last() else { return Some(change) };
        for (_, now) in inside {
            if is_reset(before, now) {
                change = self.join(&change, before, 1.0, "addition")?;
            }
            before = now;
        }
        if is_reset(before, right) {
            change = self.join(&change, before, 1.0, "addition")?;
        }
        Some(change)
    }
}

/// Returns true when the left edge lies between two of the points.
fn starts_between(points: &[Point], reached: &Reached<'_>) -> bool {
    reached.is_smoothed && points.len() > 1 && points[0].0 < reached.window.start_ms
}

fn is_gauge(histogram: &Histogram) -> bool {
    histogram.reset_hint == ResetHint::Gauge
}
