//! Logs for the router's tests: one line, and refusals by the text of the question.

use async_trait::async_trait;

use super::fake::Fake;
use super::*;
use crate::api::ask::{AskError, AskOptions};
use crate::base::Kind;
use crate::model::{Grant, Labels};
use crate::query::LogqlAnswer;
use crate::query::logql::{
    self, DetectedField, LogAnswer, LogLine, LogPattern, LogRange, Steps, StreamsFound,
};
use crate::query::promql::{Answer, Sample, Timings, Value};

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

fn parse(query: &str) -> Result<logql::Expr, AskError> {
    let expr = logql::parse(query, &logql::ParseLimits::default());
    expr.map_err(|error| AskError::new(error.kind(), error.to_string()))
}

/// The constant of "save and test", and nothing else.
fn numbers(query: &str, steps: Steps) -> Answer {
    let sample = Sample {
        labels: Labels::empty(),
        timestamp_ms: steps.start_ms,
        value: 2.0,
        histogram: None,
    };
    let value = match steps.step_ms {
        Some(_) => Value::Matrix(Vec::new()),
        None if query == "vector(1)+vector(1)" => Value::Vector(vec![sample]),
        None => Value::Vector(Vec::new()),
    };
    Answer {
        value,
        warnings: Vec::new(),
        infos: Vec::new(),
        n_samples: 0,
        counts: None,
        timings: Timings::default(),
    }
}

#[async_trait]
impl AskLogs for Fake {
    async fn logql(
        &self,
        _grant: &Grant,
        query: &str,
        range: LogRange,
        steps: Steps,
        _options: AskOptions,
    ) -> Result<LogqlFound, AskError> {
        if let logql::Expr::Metric(_) = parse(query)? {
            let answer = LogqlAnswer::Numbers(Box::new(numbers(query, steps)), Default::default());
            return Ok(LogqlFound { answer, warnings: Vec::new() });
        }
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
        range: LogRange,
    ) -> Result<Vec<DetectedField>, AskError> {
        // How many lines are looked at is a value, too.
        let values = [range.limit.to_string(), "x".to_owned()];
        let field = |name: &str| DetectedField {
            name: name.to_owned(),
            kind: "string",
            values: values.clone().into(),
            parsers: ["json"].into(),
            json_path: vec!["x".to_owned(), name.to_owned()],
        };
        Ok(vec![field("a"), field("b"), field("c")])
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
        Ok(parse(query)?.pretty())
    }

    async fn follow(&self, _: &Grant, _: &str) -> Result<Box<dyn Follow>, AskError> {
        Err(AskError::new(Kind::BadInput, "nothing to follow"))
    }
}
