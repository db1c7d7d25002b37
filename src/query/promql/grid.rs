//! The steps a node is evaluated at, and how "no value at this step" is written down.

use crate::model::metric::STALE_NAN_BITS;

/// The value of a step without a value. Prometheus' staleness marker can stand for it, because a
/// marker is never a result, and arithmetic cannot make one: its NaN is a signalling one.
pub(super) const ABSENT: f64 = f64::from_bits(STALE_NAN_BITS);

/// Returns true when a step has no value; an ordinary NaN is a value.
pub(super) fn is_absent(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// Evenly spaced times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Grid {
    pub(super) start_ms: i64,
    pub(super) step_ms: i64,
    pub(super) n: usize,
}

impl Grid {
    /// Returns the grid of one instant.
    pub(super) fn instant(time_ms: i64) -> Self {
        Self { start_ms: time_ms, step_ms: 1, n: 1 }
    }

    /// Returns the grid from `start_ms` to at most `end_ms`, or `None` when it has more steps than
    /// a number can say.
    pub(super) fn range(start_ms: i64, end_ms: i64, step_ms: i64) -> Option<Self> {
        if end_ms < start_ms {
            return Some(Self { start_ms, step_ms, n: 0 });
        }
        let n_steps = end_ms.checked_sub(start_ms)?.checked_div(step_ms)?.checked_add(1)?;
        Some(Self { start_ms, step_ms, n: usize::try_from(n_steps).ok()? })
    }

    /// Returns the time of a step.
    pub(super) fn at(&self, step: usize) -> i64 {
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        self.start_ms.saturating_add(self.step_ms.saturating_mul(step))
    }

    /// Returns the time of the last step.
    pub(super) fn end_ms(&self) -> i64 {
        self.at(self.n.saturating_sub(1))
    }
}

/// Returns the whole part, cut to what an `i64` holds; 0 for NaN.
#[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates, as wanted here")]
pub(super) fn to_i64(value: f64) -> i64 {
    value as i64
}

/// Returns the whole part as an index, cut to what a `usize` holds; 0 for NaN and negatives.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float saturates, as wanted here"
)]
pub(super) fn to_index(value: f64) -> usize {
    value as usize
}

/// Returns ms as seconds.
pub(super) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_ends_at_or_before_its_end() {
        let grid = Grid::range(0, 10, 4).unwrap();

        assert_eq!((grid.n, grid.end_ms()), (3, 8));
        assert_eq!(Grid::range(5, 4, 1).unwrap().n, 0);
        assert_eq!(Grid::range(i64::MIN, i64::MAX, 1), None);
    }

    #[test]
    fn only_the_marker_is_absent_and_arithmetic_does_not_make_one() {
        assert!(is_absent(ABSENT) && !is_absent(f64::NAN));
        assert!(!is_absent(ABSENT + 1.0) && !is_absent(-ABSENT));
    }
}
