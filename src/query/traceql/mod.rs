//! Traces: one by its id, and TraceQL over all of them.
//!
//! A trace is what the spans with one trace id say, wherever they lie: in several files, in the head,
//! sent by several commons. So the sources, each sorted by trace id, are merged, and what a query
//! sees is one whole trace after the other; nothing is kept of a trace that does not match.
//!
//! Text becomes a [`Query`] (`lex`, `parse`, `check`), which names what it asks of spans (`needs`); a
//! trace is a set of rows (`batch`, `trace`) that a pipeline makes spansets of (`eval`). A search
//! shows them, metrics count them over time, the menus list what there is; what each span answers by
//! itself is asked of rows (`rows`, `menu_columns`) or of spans of many traces at a time (`scan`).
//! `docs/traceql.md` says what is understood and where it differs from Tempo.

mod ast;
mod attribute;
mod batch;
mod by_id;
mod check;
mod compare;
mod error;
mod eval;
mod lex;
mod limits;
mod math;
mod menu_columns;
mod metrics;
mod named;
mod needs;
mod networks;
mod operators;
mod parse;
mod part;
mod print;
mod repeated;
mod rows;
mod scan;
mod search;
mod series_key;
mod sieve;
mod sift;
mod tags;
mod thin;
mod trace;
mod value;

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
#[cfg(test)]
mod tests;

pub use ast::Query;
pub use attribute::{Attribute, Intrinsic, Scope};
pub use by_id::Trace;
pub use error::TraceqlError;
pub use limits::{DEPTH_MAX, Limits};
pub use metrics::{Counted, CountedSeries, Counting, EXEMPLARS_MAX, Exemplar};
pub use parse::parse;
pub use part::Part;
pub use scan::Inspected;
pub use search::{Found, FoundSet, FoundSpan, FoundTrace, Search};
pub use tags::{Menu, Names, Values, scope_named};
pub use value::Value;

pub(super) use by_id::find;
pub(super) use metrics::count;
pub(super) use part::Picking;
pub(super) use search::search;
pub(super) use tags::{names, values};

use super::QueryError;
use super::promql::Budget;

/// Reads an attribute as the menus name it: `span.http.method`, `status`, `event:name`; a bare name is
/// looked for on the span and on the resource.
pub fn parse_attribute(text: &str) -> Result<Attribute, TraceqlError> {
    let tokens = lex::tokens(text)?;
    if let [(lex::Token::Attribute(attribute), 0), (lex::Token::End, _)] = tokens.as_slice() {
        return Ok(attribute.clone());
    }
    Err(TraceqlError::Invalid(format!(
        "`{text}` is not an attribute, such as span.http.method, .cluster or status"
    )))
}

/// Reads a duration as TraceQL has it, and Go, into ns: `1h30m`, `1.5s`, `100us`.
pub fn parse_duration_ns(text: &str) -> Option<i64> {
    lex::duration_ns(text)
}

/// Fails when an answer would be longer than one may be.
fn check_bytes(n_bytes: usize, budget: &Budget) -> Result<(), QueryError> {
    let max = budget.limits.result_bytes_max;
    if n_bytes <= max {
        return Ok(());
    }
    let key = "query.result_bytes_max";
    Err(TraceqlError::TooMuch { what: "bytes", max, key }.into())
}

/// Says that traces were not looked at whole.
fn cut_warnings(n_cut: u64, limits: &Limits) -> Vec<String> {
    if n_cut == 0 {
        return Vec::new();
    }
    let max = limits.trace_spans_max;
    vec![format!(
        "{n_cut} traces have more than {max} spans (query.trace_spans_max): only so many of theirs were looked at"
    )]
}
