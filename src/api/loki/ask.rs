//! What the handlers ask about logs, as traits, so that a test can answer instead.

use std::fmt::Debug;

use async_trait::async_trait;

use super::super::ask::{AskError, AskOptions};
use crate::model::Grant;
use crate::query::LogqlAnswer;
use crate::query::logql::{
    Bounds, DetectedField, LogLine, LogPattern, LogRange, Steps, StreamsFound,
};

/// The answer to a LogQL query.
#[derive(Debug, Clone, PartialEq)]
pub struct LogqlFound {
    /// The answer.
    pub answer: LogqlAnswer,
    /// Why that is not all there is; empty when it is.
    pub warnings: Vec<String>,
}

/// Which streams are meant, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogStreams {
    /// Selectors as written; a stream is meant when any of them matches, and all are when there is
    /// none.
    pub selectors: Vec<String>,
    /// First ns, inclusive.
    pub start_ns: i64,
    /// Last ns, exclusive.
    pub end_ns: i64,
    /// Sizes are counted for each of these spans.
    pub step_ns: Option<i64>,
}

/// Answers questions about logs; each is limited to what its `Grant` may read.
#[async_trait]
pub trait AskLogs: Send + Sync + Debug {
    /// Answers LogQL: a log query over the range, a metric query at the steps.
    async fn logql(
        &self,
        grant: &Grant,
        query: &str,
        range: LogRange,
        steps: Steps,
        options: AskOptions,
    ) -> Result<LogqlFound, AskError>;

    /// Returns the streams that have lines in the time, sorted by their labels.
    async fn log_streams(
        &self,
        grant: &Grant,
        wanted: LogStreams,
    ) -> Result<StreamsFound, AskError>;

    /// Returns the fields of the newest lines of a log query.
    async fn log_fields(
        &self,
        grant: &Grant,
        query: &str,
        range: LogRange,
    ) -> Result<Vec<DetectedField>, AskError>;

    /// Returns the patterns of a log query's lines, the most frequent first.
    async fn log_patterns(
        &self,
        grant: &Grant,
        query: &str,
        range: LogRange,
        step_ns: i64,
    ) -> Result<Vec<LogPattern>, AskError>;

    /// Lays LogQL out as people do.
    async fn logql_format(&self, grant: &Grant, query: &str) -> Result<String, AskError>;

    /// Begins to follow the lines of a log query.
    async fn follow(&self, grant: &Grant, query: &str) -> Result<Box<dyn Follow>, AskError>;
}

/// Lines as they come.
#[async_trait]
pub trait Follow: Send {
    /// Returns the lines that have come since the last look, by time, the newest of them within the
    /// bounds, and how many more there were.
    async fn look(&mut self, bounds: Bounds) -> Result<(Vec<LogLine>, usize), AskError>;
}
