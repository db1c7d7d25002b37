//! Why a question about traces has no answer; the words are Tempo's where it has some.

use crate::base::Kind;

/// Why a question about traces has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceqlError {
    /// The text is not TraceQL.
    #[error("invalid TraceQL query: parse error at line {line}, col {column}: {message}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1, in letters.
        column: usize,
        /// What is there, and what was expected.
        message: String,
    },
    /// The text is TraceQL that makes no sense.
    #[error("invalid TraceQL query: {0}")]
    Invalid(String),
    /// The text is longer or deeper than one may be, or asks for more than one may.
    #[error("the query has {n} {what}, the most allowed is {max}: raise `{key}` to allow more")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        n: usize,
        /// The limit.
        max: usize,
        /// The limit's name in the configuration.
        key: &'static str,
    },
    /// The answer grew past a limit.
    #[error("the answer has more than {max} {what}: narrow the query, or raise `{key}`")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: usize,
        /// The limit's name in the configuration.
        key: &'static str,
    },
}

impl TraceqlError {
    /// Returns what this error asks of the caller.
    pub fn kind(&self) -> Kind {
        match self {
            TraceqlError::TooMuch { .. } => Kind::Execution,
            _ => Kind::BadInput,
        }
    }

    /// Returns the key of the limit that was met.
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            TraceqlError::Limit { key, .. } | TraceqlError::TooMuch { key, .. } => Some(key),
            _ => None,
        }
    }
}
