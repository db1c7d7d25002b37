//! Why a question has no answer, and what that asks of whoever put it.

use std::time::Duration;

use crate::base::Kind;
use crate::base::units::{HumanSize, format_duration_ms};
use crate::storage;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The credential's role does not cover what was asked.
    #[error("a {role} may not read {what}: ask an administrator for the role {needed}")]
    Forbidden {
        /// The caller's role.
        role: &'static str,
        /// What was asked for.
        what: &'static str,
        /// The least role that may.
        needed: &'static str,
    },
    /// The question is wrong, or is one of those we never answer.
    #[error("{0}")]
    Refused(String),
    /// The SQL text is longer than one may be.
    #[error(
        "the query has {n} bytes of text, the most allowed is {max}: shorten it, pass long values as parameters, or raise `query.sql_text_max`"
    )]
    SqlText {
        /// Its bytes.
        n: usize,
        /// The limit.
        max: usize,
    },
    /// The question is right, but failed on this data.
    #[error("{0}")]
    Execution(String),
    /// The question's sorts, joins and groups need more memory than one may hold.
    #[error("{message}: the query may hold {} (query.memory); narrow its time range, select fewer columns, or raise the limit", HumanSize(*max_bytes))]
    Memory {
        /// What asked for the memory.
        message: String,
        /// The limit.
        max_bytes: u64,
    },
    /// A worker died of its memory limit.
    #[error("the query needed more memory than its process may have, {} (query.worker_memory), and was ended; nothing else was affected", HumanSize(*max_bytes))]
    WorkerMemory {
        /// The limit.
        max_bytes: u64,
    },
    /// A worker died of something else.
    #[error("the process that ran the query ended ({how}); nothing else was affected")]
    WorkerDied {
        /// How it ended.
        how: String,
    },
    /// The deadline passed.
    #[error("the query was still running after {}: ask for less, or for more time (query.timeout, at most query.timeout_max)", format_duration_ms(i64::try_from(limit.as_millis()).unwrap_or(i64::MAX)))]
    Timeout {
        /// The deadline.
        limit: Duration,
    },
    /// Too many questions at once.
    #[error("{max} queries are running{whose}, as many as may ({key}): try again shortly")]
    Overloaded {
        /// Empty, or ` for this credential`.
        whose: &'static str,
        /// The limit.
        max: usize,
        /// The limit's name.
        key: &'static str,
    },
    /// The PromQL expression is wrong or cannot be evaluated.
    #[error(transparent)]
    Promql(#[from] super::promql::PromqlError),
    /// The LogQL query is wrong or cannot be evaluated.
    #[error(transparent)]
    Logql(super::logql::LogqlError),
    /// The TraceQL text is wrong, or the answer too large.
    #[error(transparent)]
    Traceql(#[from] super::traceql::TraceqlError),
    /// The store could not be read, or holds more than may be read.
    #[error(transparent)]
    Read(#[from] storage::ReadError),
    /// Nothing was deleted.
    #[error(transparent)]
    Delete(#[from] storage::DeleteError),
    /// There is no snapshot.
    #[error(transparent)]
    Backup(#[from] storage::BackupError),
    /// A process for SQL could not be started.
    #[error("cannot start a process for SQL")]
    Spawn(#[source] std::io::Error),
    /// A fault of ours.
    #[error("{0}")]
    Internal(String),
}

impl From<super::logql::LogqlError> for QueryError {
    fn from(error: super::logql::LogqlError) -> Self {
        use super::logql::LogqlError;
        // What both languages can meet is told in one way.
        match error {
            LogqlError::Metric(error) => QueryError::Promql(error),
            LogqlError::Read(error) => QueryError::Read(error),
            other => QueryError::Logql(other),
        }
    }
}

impl QueryError {
    /// Returns what the error asks of the caller.
    pub fn kind(&self) -> Kind {
        match self {
            QueryError::Forbidden { .. } => Kind::Forbidden,
            QueryError::Refused(_) | QueryError::SqlText { .. } => Kind::BadInput,
            QueryError::Execution(_)
            | QueryError::Memory { .. }
            | QueryError::WorkerMemory { .. }
            | QueryError::WorkerDied { .. } => Kind::Execution,
            QueryError::Timeout { .. } => Kind::Timeout,
            QueryError::Overloaded { .. } => Kind::Overloaded,
            QueryError::Promql(error) => error.kind(),
            QueryError::Logql(error) => error.kind(),
            QueryError::Traceql(error) => error.kind(),
            QueryError::Delete(error) => error.kind(),
            QueryError::Backup(error) => error.kind(),
            QueryError::Read(storage::ReadError::Limit { .. }) => Kind::Execution,
            QueryError::Read(storage::ReadError::Stopped) => Kind::Canceled,
            QueryError::Read(_) | QueryError::Internal(_) => Kind::Internal,
            QueryError::Spawn(_) => Kind::Unavailable,
        }
    }

    /// Returns the key of the limit that the question met, if it met one.
    pub(super) fn limit(&self) -> Option<&'static str> {
        match self {
            QueryError::SqlText { .. } => Some("query.sql_text_max"),
            QueryError::Memory { .. } => Some("query.memory"),
            QueryError::WorkerMemory { .. } => Some("query.worker_memory"),
            QueryError::Timeout { .. } => Some("query.timeout"),
            QueryError::Overloaded { key, .. } => Some(key),
            QueryError::Promql(error) => error.limit(),
            QueryError::Logql(error) => error.limit(),
            QueryError::Traceql(error) => error.limit(),
            QueryError::Delete(storage::DeleteError::TooScattered { .. }) => {
                Some("storage.deletion_ranges_max")
            }
            QueryError::Read(storage::ReadError::Limit { limit, .. }) => Some(limit),
            _ => None,
        }
    }

    /// Returns the outcome's name in `commonwatch_query_seconds`.
    pub(super) fn outcome(&self) -> &'static str {
        match self.kind() {
            Kind::BadInput | Kind::TooLarge => "refused",
            Kind::Forbidden | Kind::Unauthenticated => "forbidden",
            Kind::Timeout => "timeout",
            Kind::Overloaded | Kind::Unavailable => "overloaded",
            Kind::Execution => "failed",
            Kind::NotFound | Kind::Canceled | Kind::Internal => "error",
        }
    }
}
