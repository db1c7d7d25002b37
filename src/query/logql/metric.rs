//! Metric queries: what pipelines make of lines becomes series, and the rest is PromQL.
//!
//! Every function over a window is a leaf, which makes series of lines ([`leaf`](super::leaf),
//! [`tally`](super::tally)). Leaves are then the series of a PromQL query that says what is above them
//! ([`rewrite`](super::rewrite)), so that aggregation, matching and arithmetic are one code for both
//! languages.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::error::LogqlError;
use super::leaf;
use super::rewrite::rewrite;
use super::scan::ScanStats;
use super::syntax::MetricExpr;
use super::tally::Used;
use crate::model::SeriesData;
use crate::query::promql::{self, Answer, Budget, SeriesSource};
use crate::storage::{ReadError, SeriesRequest, Snapshot};

/// Evenly spaced times, ms since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// The first.
    pub start_ms: i64,
    /// None is later.
    pub end_ms: i64,
    /// From one to the next; `None` is one time alone.
    pub step_ms: Option<i64>,
}

impl Steps {
    pub(super) fn n(&self) -> i64 {
        let step_ms = self.step_ms.unwrap_or(1);
        if self.step_ms.is_none() { 1 } else { (self.end_ms - self.start_ms) / step_ms + 1 }
    }

    pub(super) fn at(&self, step: usize) -> i64 {
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        self.start_ms.saturating_add(self.step_ms.unwrap_or(0).saturating_mul(step))
    }
}

/// Answers a metric query.
pub(super) fn evaluate(
    snapshot: &Snapshot,
    expr: &MetricExpr,
    steps: Steps,
    budget: &Budget,
    now_ns: i64,
) -> Result<(Answer, ScanStats), LogqlError> {
    check_steps(&steps, budget)?;
    let query = rewrite(expr);
    let text_limits = promql::ParseLimits {
        // LogQL has functions of its own name that PromQL only has behind a flag.
        has_experimental: true,
        text_bytes_max: usize::MAX,
        tokens_max: usize::MAX,
        ..budget.limits.parse
    };
    let above = promql::parse(&query.promql, &text_limits)?;
    let mut series = HashMap::new();
    let mut stats = ScanStats::default();
    let used = Used::default();
    for leaf in &query.leaves {
        let asked = leaf::Asked { snapshot, leaf, steps: &steps, budget, now_ns, used: &used };
        let (found, of_leaf) = leaf::run(&asked)?;
        series.insert(leaf.name.clone(), found);
        stats.add(&of_leaf);
    }
    let source = Made(Mutex::new(series));
    // A leaf that counts has a value at each step and nothing between them.
    let engine = promql::Engine {
        lookback_ms: 1,
        subquery_step_ms: 1_000,
        counts_samples: false,
        zero_is_no_divisor: true,
    };
    let answer = match steps.step_ms {
        None => engine.instant(&source, &above, steps.start_ms, budget)?,
        Some(step_ms) => {
            engine.range(&source, &above, steps.start_ms, steps.end_ms, step_ms, budget)?
        }
    };
    Ok((answer, stats))
}

fn check_steps(steps: &Steps, budget: &Budget) -> Result<(), LogqlError> {
    let Some(step_ms) = steps.step_ms else { return Ok(()) };
    if step_ms <= 0 || steps.end_ms < steps.start_ms {
        let text = "a range query needs a step above 0 and an end that is not before its start";
        return Err(LogqlError::Refused(text.to_owned()));
    }
    let max = budget.limits.points_max;
    match usize::try_from((steps.end_ms.saturating_sub(steps.start_ms)) / step_ms) {
        Ok(n) if n <= max => Ok(()),
        _ => Err(promql::PromqlError::Points { max }.into()),
    }
}

/// The series that the leaves made, each asked for once.
struct Made(Mutex<HashMap<String, Vec<SeriesData>>>);

impl SeriesSource for Made {
    fn select(&self, request: &SeriesRequest<'_>) -> Result<Vec<SeriesData>, ReadError> {
        let name = request.matchers.iter().find(|matcher| matcher.name == "__name__");
        let found = name.and_then(|name| self.0.lock().remove(&name.value));
        Ok(found.unwrap_or_default())
    }
}
