//! The templates of rule files: Go's text/template with the functions Prometheus adds.
//!
//! The engine is pure: text and data in, text or a reason out. What needs the outside, `query`, stops
//! the run with the question; [`Template::expand`] asks it and runs again with the answer in hand.
//! Every run has fuel and a largest output, since a rule file is code that others wrote.
//!
//! `lex` cuts the text into tokens, `parse` makes the tree and refuses unknown names, `run` walks it;
//! `builtin` holds Go's functions, `functions` Prometheus', `format` how Go writes values.

mod builtin;
mod format;
mod functions;
mod humanize;
mod lex;
mod parse;
mod run;
#[cfg(test)]
mod tests;
mod value;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use crate::model::Labels;

pub use format::format_float_exponent;
pub use functions::{graph_link, table_link};
pub(crate) use value::Value;

/// The most bytes one expansion may yield.
pub const OUTPUT_BYTES_MAX: usize = 64 << 10;
/// The most steps one expansion may take; a step is a node, a call or an iteration.
pub const STEPS_MAX: u32 = 100_000;
/// The most different queries one expansion may ask.
pub const QUERIES_MAX: usize = 16;

/// Answers of `query`, by expression.
pub(crate) type Answers = HashMap<String, Vec<(Labels, f64)>>;

/// A template that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: {name}:{line}: {message}")]
pub struct TemplateError {
    name: String,
    line: usize,
    message: String,
}

/// What a template may speak of.
#[derive(Debug, Clone)]
pub struct Data {
    /// `$labels`: those of the query result.
    pub labels: Labels,
    /// `$value`.
    pub value: f64,
    /// `$externalLabels`.
    pub external_labels: Labels,
    /// `$externalURL`.
    pub external_url: Arc<str>,
    /// What `now` says, and when `query` asks: ms since 1970 UTC.
    pub now_ms: i64,
}

/// Why a run stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The template is wrong for this data.
    Fail(String),
    /// The answer to this expression is needed first.
    NeedsQuery(String),
}

impl Stop {
    pub(crate) fn fail<T>(message: impl Into<String>) -> Result<T, Stop> {
        Err(Stop::Fail(message.into()))
    }
}

/// A template that has been read; cloning costs one counter.
#[derive(Debug, Clone)]
pub struct Template {
    name: Arc<str>,
    text: Arc<str>,
    program: Arc<parse::Program>,
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.text) == (&other.name, &other.text)
    }
}

impl Template {
    /// Reads a template. Unknown functions and variables are mistakes already here, as in Go.
    pub fn parse(name: &str, text: &str) -> Result<Self, TemplateError> {
        let program = parse::parse(text).map_err(|(line, message)| TemplateError {
            name: name.to_owned(),
            line,
            message,
        })?;
        Ok(Self { name: name.into(), text: text.into(), program: Arc::new(program) })
    }

    /// Returns the text as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the expansion. A template that fails yields Prometheus' words for it, so that a
    /// broken annotation never keeps an alert from being told.
    pub async fn expand<F, A>(&self, data: &Data, ask: F) -> String
    where
        F: Fn(String) -> A,
        A: Future<Output = Result<Vec<(Labels, f64)>, String>>,
    {
        match self.try_expand(data, ask).await {
            Ok(text) => text,
            Err(reason) => format!(
                "<error expanding template: error executing template {}: {reason}>",
                self.name
            ),
        }
    }

    async fn try_expand<F, A>(&self, data: &Data, ask: F) -> Result<String, String>
    where
        F: Fn(String) -> A,
        A: Future<Output = Result<Vec<(Labels, f64)>, String>>,
    {
        let mut answers = Answers::new();
        loop {
            let expr = match run::run(&self.name, &self.program, data, &answers) {
                Ok(text) => return Ok(text),
                Err(Stop::Fail(reason)) => return Err(reason),
                Err(Stop::NeedsQuery(expr)) => expr,
            };
            if answers.len() >= QUERIES_MAX {
                return Err(format!("more than {QUERIES_MAX} different queries in one template"));
            }
            let found = ask(expr.clone()).await.map_err(|e| format!("error calling query: {e}"))?;
            answers.insert(expr, found);
        }
    }
}
