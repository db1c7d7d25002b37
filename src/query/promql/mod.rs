//! PromQL over series: our own evaluator with the semantics of Prometheus 3.
//!
//! One idea runs through it: a node of the expression does not answer for one instant, it answers
//! for *all steps of the range at once*, one series after the other. A series' samples are walked
//! once with a sliding window, its column of step values is handed on, and an aggregation folds the
//! column into its group before the next series is looked at. So `sum by (x) (rate(...))` needs
//! groups x steps of memory, never series x steps, and an instant query is a range of one step.
//!
//! ```text
//! text -> parse (limits, tokens, tree, types) -> plan (times, which windows to read)
//! -> eval: fetch -> window/range -> elements, binary, matching, aggregate -> Answer
//! ```
//!
//! Reading samples is left to a [`SeriesSource`],
//! permission to whoever made that source, HTTP to `api`.
//!
//! When you add a function, also touch: `parse/functions.rs`, `plan/functions.rs`, `docs/promql.md`, `tests/cases/promql`.

pub mod error;
pub mod limits;
pub mod source;
pub mod testing;
pub mod value;

mod grid;
mod operand;
mod parse;
mod plan;

mod aggregate;
mod binary;
mod elements;
mod engine;
mod eval;
mod fetch;
mod histogram;
mod info;
mod kahan;
mod native;
mod labelling;
mod matching;
mod range;
mod range_call;
mod scalars;
mod select;
mod sets;
mod table;
mod tally;
mod threads;
mod window;
mod yields;

pub use engine::Engine;
pub use error::PromqlError;
pub(in crate::query) use limits::Held;
pub use limits::{Budget, Config, DEPTH_MAX, Limits, ParseLimits, SharedMemory};
pub use operand::watched;
pub use parse::{
    Expr, ResultType, as_selector, expr_to_json, features, format_expr, parse, parse_selectors,
    selectors,
};
pub use source::SeriesSource;
pub use value::{Answer, Sample, SampleCounts, Timings, Value, format_value};
pub use yields::{labels_yielded, metrics_rated};

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
#[cfg(test)]
mod tests;
