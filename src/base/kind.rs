//! What an error asks of the one who meets it.
//!
//! Each room has its own error enum with a `kind()`; only the edges turn a `Kind` into a status
//! code, so the same fault means the same thing in every dialect.

/// What an error asks of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is wrong and will be wrong again: 4xx, never retried.
    BadInput,
    /// The request is well-formed but cannot be carried out as asked: 422.
    Execution,
    /// No such thing, or not one this caller may know of: 404.
    NotFound,
    /// No credential, or one that is not known: 401.
    Unauthenticated,
    /// The credential does not cover what was asked: 403.
    Forbidden,
    /// Larger than a named limit: 413.
    TooLarge,
    /// More than the server takes right now; the same request may succeed later: 429.
    Overloaded,
    /// The server cannot do this now (disk full, replaying, stopping): 503.
    Unavailable,
    /// The deadline passed: 503 in Prometheus' dialect.
    Timeout,
    /// The client went away: 499.
    Canceled,
    /// A fault of ours: 500.
    Internal,
}

impl Kind {
    /// Returns true when the same request may succeed later without being changed.
    pub fn is_retryable(self) -> bool {
        matches!(self, Kind::Overloaded | Kind::Unavailable)
    }
}
