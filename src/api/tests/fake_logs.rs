//! Logs for the router's tests: one line, and refusals by the text of the question.

use async_trait::async_trait;

use super::fake::Fake;
use super::*;
use crate::api::ask::{AskError, AskOptions};
use crate::base::Kind;
use crate::model::Grant;
use crate::query::LogqlAnswer;
use crate::query::logql::{
    self, DetectedField, LogAnswer, LogLine, LogPattern, LogRange, Steps, StreamsFound,
};

fn pairs(list: &[(&str, &str)]) -> logql::Pairs {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(super) fn line() -> LogLine {
    LogLine {
        ts_ns: 1_795_219_199_123_456_789,
        line: "a \"quoted\" line".to_owned(),
        stream: pairs(&[("app", "fence")]),
        metadata: pairs(&[("trace_id", "7")]),
        parsed: pairs(&[("status", "200")]),
    }
}

#[async_trait]
impl AskLogs for Fake {
    async fn logql(
        &self,
        _grant: &Grant,
        query: &str,
        range: LogRange,
        _steps: Steps,
        _options: AskOptions,
    ) -> Result<LogqlFound, AskError> {
        let expr = logql::parse(query, &logql::ParseLimits::default());
        expr.map_err(|error| AskError::new(error.kind(), error.to_string()))?;
        let lines = vec![line(), LogLine { ts_ns: i64::from(range.is_backward), ..line() }];
        let answer = LogqlAnswer::Lines(LogAnswer { lines, ..LogAnswer::default() });
        Ok(LogqlFound { answer, warnings: Vec::new() })
    }

    async fn log_streams(&self, _: &Grant, _: LogStreams) -> Result<StreamsFound, AskError> {
        Ok(StreamsFound::default())
    }

    async fn log_fields(
        &self,
        _: &Grant,
        _: &str,
        _: LogRange,
    ) -> Result<Vec<DetectedField>, AskError> {
        Ok(Vec::new())
    }

    async fn log_patterns(
        &self,
        _: &Grant,
        _: &str,
        _: LogRange,
        _: i64,
    ) -> Result<Vec<LogPattern>, AskError> {
        Ok(Vec::new())
    }

    async fn logql_format(&self, _: &Grant, query: &str) -> Result<String, AskError> {
        Ok(query.to_owned())
    }

    async fn follow(&self, _: &Grant, _: &str) -> Result<Box<dyn Follow>, AskError> {
        Err(AskError::new(Kind::BadInput, "nothing to follow"))
    }
}
