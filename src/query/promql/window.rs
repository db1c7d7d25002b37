//! Sliding over one series' samples: every step's window, found without looking back.

use super::grid::{ABSENT, Grid, is_absent};
use super::parse::ast::Edges;
use super::plan::Shift;

/// The samples of one series, stale markers taken out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Samples<'a> {
    pub(super) timestamps_ms: &'a [i64],
    pub(super) values: &'a [f64],
}

impl<'a> Samples<'a> {
    /// Returns the samples after a first time and not after a last.
    pub(super) fn within(self, (after_ms, last_ms): (i64, i64)) -> Samples<'a> {
        let lo = self.timestamps_ms.partition_point(|ms| *ms <= after_ms);
        let hi = self.timestamps_ms.partition_point(|ms| *ms <= last_ms).max(lo);
        Samples { timestamps_ms: &self.timestamps_ms[lo..hi], values: &self.values[lo..hi] }
    }
}

/// Where the windows of all steps lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows {
    pub(super) grid: Grid,
    pub(super) shift: Shift,
    pub(super) range_ms: i64,
    /// What stands at the edges.
    pub(super) edges: Edges,
    /// How far beyond its edges a window that is anchored or smoothed reaches.
    pub(super) reach_ms: i64,
}

/// The window of one step: the samples `lo..hi`, taken in `(start_ms, end_ms]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) step: usize,
    pub(super) lo: usize,
    pub(super) hi: usize,
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
}

impl Window {
    pub(super) fn len(&self) -> usize {
        self.hi - self.lo
    }
}

impl Windows {
    /// Returns windows that end at their samples.
    pub(super) fn new(grid: Grid, shift: Shift, range_ms: i64) -> Self {
        Self { grid, shift, range_ms, edges: Edges::Extrapolated, reach_ms: 0 }
    }

    /// Walks the windows in order of their steps, empty ones included.
    pub(super) fn over<'a>(&'a self, timestamps_ms: &'a [i64]) -> impl Iterator<Item = Window> {
        let first_ms = self.shift.apply(self.grid.start_ms).saturating_sub(self.range_ms);
        let mut lo = timestamps_ms.partition_point(|t| *t <= first_ms);
        let mut hi = lo;
        (0..self.grid.n).map(move |step| {
            let end_ms = self.shift.apply(self.grid.at(step));
            let start_ms = end_ms.saturating_sub(self.range_ms);
            while hi < timestamps_ms.len() && timestamps_ms[hi] <= end_ms {
                hi += 1;
            }
            while lo < hi && timestamps_ms[lo] <= start_ms {
                lo += 1;
            }
            Window { step, lo, hi, start_ms, end_ms }
        })
    }
}

/// Writes for each step what `pick` makes of the index of the newest sample in the window, unless
/// that is a stale marker. Returns true when there is a value at any step.
pub(super) fn newest(
    samples: Samples<'_>,
    windows: &Windows,
    out: &mut Vec<f64>,
    pick: impl Fn(usize) -> f64,
) -> bool {
    out.clear();
    let mut has_value = false;
    for window in windows.over(samples.timestamps_ms) {
        let newest = window.hi.wrapping_sub(1);
        if window.len() == 0 || is_absent(samples.values[newest]) {
            out.push(ABSENT);
        } else {
            out.push(pick(newest));
            has_value = true;
        }
    }
    has_value
}

/// Writes for each step `finish` of all samples in the window joined by `merge`.
///
/// Each sample is lifted and merged a fixed number of times however much the windows overlap: the
/// window is kept as two parts, suffixes of the older samples joined ahead of time (`back`), and
/// one running total of the newer ones (`front`). Nothing is ever subtracted, so it holds for
/// minima, and an infinity that leaves the window leaves no NaN behind.
pub(super) fn slide<A: Copy>(
    timestamps_ms: &[i64],
    windows: &Windows,
    out: &mut Vec<f64>,
    lift: impl Fn(usize) -> A,
    merge: impl Fn(A, A) -> A,
    finish: impl Fn(A, Window) -> f64,
) {
    out.clear();
    let mut back: Vec<A> = Vec::new();
    let mut mid = 0;
    let mut front: Option<A> = None;
    let mut front_hi = 0;
    for window in windows.over(timestamps_ms) {
        if window.len() == 0 {
            out.push(ABSENT);
            continue;
        }
        if window.lo >= mid {
            mid = window.hi;
            suffixes(&mut back, window, &lift, &merge);
            (front, front_hi) = (None, mid);
        }
        while front_hi < window.hi {
            let next = lift(front_hi);
            front = Some(front.map_or(next, |front| merge(front, next)));
            front_hi += 1;
        }
        let older = back[mid - 1 - window.lo];
        out.push(finish(front.map_or(older, |front| merge(older, front)), window));
    }
}

/// Fills `back` so that `back[i]` joins the last `i + 1` samples of the window.
fn suffixes<A: Copy>(
    back: &mut Vec<A>,
    window: Window,
    lift: &impl Fn(usize) -> A,
    merge: &impl Fn(A, A) -> A,
) {
    back.clear();
    for idx in (window.lo..window.hi).rev() {
        let next = lift(idx);
        back.push(back.last().map_or(next, |total| merge(next, *total)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NO_SHIFT: Shift = Shift { offset_ms: 0, at_ms: None };

    proptest! {
        #[test]
        fn sliding_joins_exactly_the_samples_of_each_window(
            gaps in prop::collection::vec(1_i64..40, 0..60),
            step_ms in 1_i64..50,
            range_ms in 1_i64..120,
            start_ms in -50_i64..50,
        ) {
            let timestamps: Vec<i64> =
                gaps.iter().scan(0, |t, gap| { *t += gap; Some(*t) }).collect();
            let grid = Grid::range(start_ms, 1_500, step_ms).unwrap();
            let windows = Windows::new(grid, NO_SHIFT, range_ms);

            let mut got = Vec::new();
            let lift = |idx: usize| timestamps[idx];
            slide(&timestamps, &windows, &mut got, lift, |a, b| a + b, |sum, _| sum as f64);

            for (step, got) in got.iter().enumerate() {
                let end = grid.at(step);
                let inside = timestamps.iter().filter(|t| **t > end - range_ms && **t <= end);
                let inside: Vec<i64> = inside.copied().collect();
                if inside.is_empty() {
                    prop_assert!(is_absent(*got));
                } else {
                    prop_assert_eq!(*got, inside.iter().sum::<i64>() as f64);
                }
            }
        }
    }
}
