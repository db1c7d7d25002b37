//! LogQL over log records: our own evaluator with the semantics of Loki 3.
//!
//! ```text
//! text -> syntax (limits, tree) -> pipeline (stages compiled) -> scan (pieces, streams, rows)
//!      -> select: lines        -> metric: leaves, tallied -> rewrite -> promql
//! ```
//! A pipeline is run over Arrow columns, a line at a time, and borrows from them. Two things differ
//! from Loki on purpose, and `docs/logql.md` has the list: nothing is sampled or approximated, and
//! nginx' `\xHH` escapes are read as JSON.
//!
//! When you add a stage or a function, also touch: `docs/logql.md`, `tests/cases/logql`.

pub mod error;
pub mod syntax;

mod clusters;
mod columns;
mod counted;
mod detect;
mod erase;
mod explore;
mod fields;
mod follow;
mod leaf;
mod level;
mod metric;
mod patterns;
mod pipeline;
mod prune;
mod rewrite;
mod scan;
mod select;
mod stream;
mod tally;
mod template;
mod units;
mod yields;

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
#[cfg(test)]
mod tests;

pub use clusters::LogPattern;
pub use detect::DetectedField;
pub(super) use erase::{LogsJudge, QuotedLines};
pub use error::{LogqlError, ParseError};
pub use explore::{StreamUse, StreamsFound, StreamsWanted};
pub use follow::{Bounds, newest};
pub use metric::Steps;
pub(super) use patterns::patterns;
pub(super) use prune::of_regex;
pub use scan::ScanStats;
pub use select::{LogAnswer, LogLine, LogRange, Pairs};
pub use syntax::{Expr, ParseLimits, parse, parse_log, parse_selector, parse_selectors};
pub use yields::{labels_yielded, lines_counted};

use super::promql::{self, Budget};
use crate::storage::Snapshot;

/// The deepest nesting that the configuration may allow.
pub const DEPTH_MAX: usize = syntax::DEPTH_MAX;

/// What one LogQL question may be and use beside what PromQL may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// What is checked before and while parsing.
    pub parse: ParseLimits,
    /// The most lines of one answer (`query.log_lines_max`).
    pub lines_max: usize,
    /// The most bytes of one answer (`query.result_bytes_max`).
    pub result_bytes_max: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { parse: ParseLimits::default(), lines_max: 5_000, result_bytes_max: 64 << 20 }
    }
}

/// Answers a log query.
pub(super) fn lines(
    snapshot: &Snapshot,
    log: &syntax::LogExpr,
    range: LogRange,
    limits: &LogLimits,
    budget: &Budget,
    now_ns: i64,
) -> Result<LogAnswer, LogqlError> {
    select::select(snapshot, log, range, limits, budget, now_ns)
}

/// Answers a metric query.
pub(super) fn numbers(
    snapshot: &Snapshot,
    expr: &syntax::MetricExpr,
    steps: Steps,
    budget: &Budget,
    now_ns: i64,
) -> Result<(promql::Answer, ScanStats), LogqlError> {
    metric::evaluate(snapshot, expr, steps, budget, now_ns)
}

/// Returns the streams that have lines in the time.
pub(super) fn streams(
    snapshot: &Snapshot,
    wanted: &StreamsWanted,
    budget: &Budget,
) -> Result<StreamsFound, LogqlError> {
    explore::streams(snapshot, wanted, budget)
}

/// Returns the fields of lines.
pub(super) fn fields(lines: &[LogLine]) -> Vec<DetectedField> {
    detect::fields(lines)
}

pub(super) use follow::Follower;
