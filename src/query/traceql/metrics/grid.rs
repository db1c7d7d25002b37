//! The points of an answer.

use super::super::Limits;
use super::super::error::TraceqlError;
use super::{Counting, MS_NS};

/// The points of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub(super) start_ns: i64,
    step_ns: i64,
    pub(super) n_points: usize,
}

impl Grid {
    pub(super) fn of(wanted: &Counting, limits: &Limits) -> Result<Self, TraceqlError> {
        let Counting { start_ns, end_ns, step_ns, .. } = *wanted;
        let Some(step_ns) = step_ns else {
            let step_ns = end_ns.saturating_sub(start_ns).max(1);
            return Ok(Self { start_ns, step_ns, n_points: 1 });
        };
        let step_ns = step_ns.max(1);
        // One step earlier: what began in the step before the start is the start's own point.
        let start_ns = start_ns.div_euclid(step_ns).saturating_mul(step_ns).saturating_sub(step_ns);
        let span_ns = end_ns.saturating_sub(start_ns).max(1);
        let n_points = span_ns.saturating_sub(1) / step_ns + 1;
        let (n, max) = (usize::try_from(n_points).unwrap_or(usize::MAX), limits.points_max);
        if n > max {
            let key = "query.points_max";
            return Err(TraceqlError::Limit { what: "points", n, max, key });
        }
        Ok(Self { start_ns, step_ns, n_points: n })
    }

    pub(super) fn end_ns(&self) -> i64 {
        self.start_ns.saturating_add(self.step_ns.saturating_mul(whole(self.n_points)))
    }

    /// Returns the point that a moment counts for.
    pub(super) fn point(&self, at_ns: i64) -> Option<usize> {
        let past = at_ns.checked_sub(self.start_ns)?.checked_sub(1)?;
        let point = usize::try_from(past.checked_div(self.step_ns)?).ok()?;
        (past >= 0 && point < self.n_points).then_some(point)
    }

    pub(super) fn timestamp_ms(&self, point: usize) -> i64 {
        self.start_ns.saturating_add(self.step_ns.saturating_mul(whole(point + 1))) / MS_NS
    }

    pub(super) fn step_s(&self) -> f64 {
        seconds(self.step_ns)
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "TraceQL counts in doubles")]
fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}
