//! What can go wrong with a query, and whose fault it is.

use crate::base::Kind;
use crate::storage::ReadError;

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum PromqlError {
    /// The text is not PromQL, or PromQL that makes no sense.
    #[error("{0}")]
    Parse(String),
    /// The query is longer or deeper than may be parsed, or needs more than may be used.
    #[error("the query has {n} {what}, the most allowed is {max}: raise `{key}` to allow more")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much the query has, or a number just past the limit where counting stopped.
        n: u64,
        /// The limit.
        max: u64,
        /// The limit's name in the configuration.
        key: &'static str,
    },
    /// The query is well-formed but cannot be carried out on this data.
    #[error("{0}")]
    Execution(String),
    /// The caller went away.
    #[error("the query was canceled")]
    Canceled,
    /// The deadline passed.
    #[error("the query ran longer than it may: raise `limits.query_timeout` or ask for less")]
    Timeout,
    /// The samples could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl PromqlError {
    /// Returns what this error asks of the caller.
    pub fn kind(&self) -> Kind {
        match self {
            PromqlError::Parse(_) => Kind::BadInput,
            PromqlError::Limit { key, .. } if PARSE_KEYS.contains(key) => Kind::BadInput,
            PromqlError::Limit { .. } | PromqlError::Execution(_) => Kind::Execution,
            PromqlError::Canceled => Kind::Canceled,
            PromqlError::Timeout => Kind::Timeout,
            PromqlError::Read(ReadError::Limit { .. }) => Kind::Execution,
            PromqlError::Read(_) => Kind::Internal,
        }
    }

    pub(super) fn parse(message: impl Into<String>) -> Self {
        PromqlError::Parse(message.into())
    }

    pub(super) fn execution(message: impl Into<String>) -> Self {
        PromqlError::Execution(message.into())
    }
}

pub(super) const KEY_TEXT: &str = "limits.query_text";
pub(super) const KEY_TOKENS: &str = "limits.query_tokens";
pub(super) const KEY_DEPTH: &str = "limits.query_depth";
pub(super) const KEY_SAMPLES: &str = "limits.query_samples";
pub(super) const KEY_MEMORY: &str = "limits.query_memory";

/// Limits on the text: a longer query is a bad request, not one that failed while it ran.
const PARSE_KEYS: [&str; 3] = [KEY_TEXT, KEY_TOKENS, KEY_DEPTH];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_on_the_text_is_bad_input_and_one_on_the_data_is_not() {
        let limit = |key| PromqlError::Limit { what: "tokens", n: 2, max: 1, key };

        assert_eq!(limit(KEY_DEPTH).kind(), Kind::BadInput);
        assert_eq!(limit(KEY_SAMPLES).kind(), Kind::Execution);
        assert_eq!(
            limit(KEY_TOKENS).to_string(),
            "the query has 2 tokens, the most allowed is 1: raise `limits.query_tokens` to allow more"
        );
    }
}
