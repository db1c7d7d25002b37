//! SQL over the tables `metrics`, `logs` and `spans`.
//!
//! Everything here runs inside a worker process (see [`super::worker`]); the server only passes the
//! question on. Three gates stand before anything runs: `tokens` counts the text, `statements`
//! lets queries through, `plan` walks the logical plan against an allow-list of operators, tables and
//! functions. `table` shows a snapshot's files and head rows as tables, with the columns of `layout`; `lines`
//! leaves out rows whose text cannot be what is asked for; `dedupe` lets a sample through once; `json_get` is
//! `attributes['key']`; `promql` is the one table function, whose rows the server makes.

mod tokens;
mod values;
mod statements;
mod judge;
mod context;
mod functions;
mod json_get;
mod promql;
mod plan;
mod table;
mod layout;
mod filter;
mod lines;
mod overlap;
mod dedupe;
mod heads;
mod store;
mod run;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
#[cfg(test)]
mod judged;
#[cfg(test)]
pub(super) mod tests;

use datafusion::scalar::ScalarValue;

pub use judge::check_sql;

pub(super) use heads::{FileRequest, HeadRange, HeadRequest, HeadRows, Heads};
pub(super) use promql::{Asked, PromqlRequest, failure as promql_failure, rows as promql_rows};
pub(super) use run::{Limits, Question, Sink, run};

/// The value of a parameter `$1`, `$2`, … as JSON says it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum Param {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A text; times are written as text too, e.g. `2026-01-02T03:04:05Z`.
    Text(String),
}

impl Param {
    fn to_scalar(&self) -> ScalarValue {
        match self {
            Param::Null => ScalarValue::Null,
            Param::Bool(value) => ScalarValue::Boolean(Some(*value)),
            Param::Int(value) => ScalarValue::Int64(Some(*value)),
            Param::Float(value) => ScalarValue::Float64(Some(*value)),
            Param::Text(value) => ScalarValue::Utf8(Some(value.clone())),
        }
    }
}

/// Which limit cut an answer off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truncated {
    /// `query.rows_max`
    Rows,
    /// `query.result_bytes_max`
    Bytes,
}

impl Truncated {
    /// Returns the limit's key in the configuration.
    pub fn key(self) -> &'static str {
        match self {
            Truncated::Rows => "query.rows_max",
            Truncated::Bytes => "query.result_bytes_max",
        }
    }
}

/// Why a worker has no answer, as it tells the server.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Failure {
    /// What it asks of the caller.
    pub(super) kind: FailureKind,
    /// What was wrong.
    pub(super) message: String,
}

impl Failure {
    fn refused(message: String) -> Self {
        Self { kind: FailureKind::Refused, message }
    }
}

/// What a failure asks of the caller.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum FailureKind {
    /// Another question.
    Refused,
    /// Less of the same: the pool is empty.
    Memory,
    /// The question failed on this data.
    Execution,
    /// Nothing; it is ours.
    Internal,
    /// The same again without this file, which is damaged.
    Damaged {
        /// The file.
        path: String,
    },
    /// The same again without this file, which cannot be fetched now.
    Away {
        /// The file.
        path: String,
    },
}
