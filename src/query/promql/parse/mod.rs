//! Text to syntax tree, and back to text.
//!
//! Our own parser, because none at hand takes hostile text (panics, stack overflows and quadratic
//! time on what any client can send), has places in its errors, or knows all of Prometheus 3. A
//! text is measured and split in one walk ([`lex`](mod@lex)), read by recursive descent with counted
//! depth (`grammar`, `matchers`, `postfix`), and checked (`check`); times stay as written, because
//! only a query knows its `step()` and its `start()`.
//!
//! When you add syntax, also touch: `print` (what is printed must be read back), `json`,
//! `plan::build`, `docs/promql.md`, `tests/cases/promql`.

pub(super) mod ast;
pub(super) mod functions;
pub(super) mod lengths;
pub(super) mod place;
pub(super) mod quoting;
mod item;
mod lex;
mod grammar;
mod matchers;
mod postfix;
mod check;
mod json;
mod print;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::model::Matcher;

use super::error::PromqlError;
use super::limits::ParseLimits;
use ast::{Node, NodeExpr, Type};

pub(super) use matchers::too_long_regex;

/// A parsed and type-checked query; prints as PromQL.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    pub(super) node: Node,
    /// The query as it was written: places in annotations are in it.
    pub(super) text: Arc<str>,
}

/// What a query yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultType {
    /// A number.
    Scalar,
    /// A text.
    String,
    /// One value a series.
    Vector,
    /// Many values a series: instant queries only.
    Matrix,
}

impl ResultType {
    /// Returns the name the HTTP API gives it.
    pub fn as_str(self) -> &'static str {
        match self {
            ResultType::Scalar => "scalar",
            ResultType::String => "string",
            ResultType::Vector => "vector",
            ResultType::Matrix => "matrix",
        }
    }
}

impl Expr {
    /// Returns what the query yields.
    pub fn result_type(&self) -> ResultType {
        match self.node.ty {
            Type::Scalar => ResultType::Scalar,
            Type::Text => ResultType::String,
            Type::Vector => ResultType::Vector,
            Type::Matrix => ResultType::Matrix,
        }
    }
}

impl std::fmt::Display for Expr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.node.fmt(f)
    }
}

/// Parses a query. Whatever the text is, this neither panics nor takes long.
pub fn parse(text: &str, limits: &ParseLimits) -> Result<Expr, PromqlError> {
    let mut node = grammar::Parser::new(text, limits)?.query()?;
    check::check(text, &mut node)?;
    Ok(Expr { node, text: Arc::from(text) })
}

/// Returns the query as people lay it out, for `/api/v1/format_query`.
pub fn format_expr(expr: &Expr) -> String {
    print::pretty(&expr.node, 0)
}

/// Returns the query's tree as the JSON of `/api/v1/parse_query`.
pub fn expr_to_json(expr: &Expr) -> serde_json::Value {
    json::to_json(&expr.node)
}

/// Returns which parts of the language there are, as Prometheus' `/api/v1/features` lists them.
pub fn features(has_experimental: bool) -> serde_json::Value {
    json::features(has_experimental)
}

/// Returns the matchers of every selector in the query, the metric's name among them.
pub fn selectors(expr: &Expr) -> Vec<Vec<Matcher>> {
    let mut found = Vec::new();
    let mut todo = vec![&expr.node];
    while let Some(node) = todo.pop() {
        if let NodeExpr::Selector(selector) | NodeExpr::Matrix { selector, .. } = &node.expr {
            found.push(selector.matchers.clone());
        }
        todo.extend(node.children().into_iter().rev());
    }
    found
}

/// Returns the matchers of a query that is nothing but an instant selector, as `match[]` wants.
pub fn as_selector(expr: &Expr) -> Option<Vec<Matcher>> {
    match &expr.node.expr {
        NodeExpr::Selector(selector) if selector.when == ast::When::default() => {
            Some(selector.matchers.clone())
        }
        _ => None,
    }
}

/// Parses selectors that come together, such as the `match[]` of one request: the limits hold for
/// all of them as if they were one query.
pub fn parse_selectors(
    texts: &[String],
    limits: &ParseLimits,
) -> Result<Vec<Vec<Matcher>>, PromqlError> {
    let (mut n_bytes, mut n_regexes) = (0, 0);
    let mut selectors = Vec::with_capacity(texts.len());
    for text in texts {
        n_bytes += text.len() + 1;
        if n_bytes > limits.text_bytes_max {
            let what = "bytes of text";
            return Err(lex::over(what, n_bytes, limits.text_bytes_max, super::error::KEY_TEXT));
        }
        let not_one = || PromqlError::parse(format!("`{text}` is not one series selector"));
        let selector = as_selector(&parse(text, limits)?).ok_or_else(not_one)?;
        n_regexes += selector.iter().filter(|matcher| matcher.is_regex()).count();
        if n_regexes > matchers::REGEXES_MAX {
            let max = matchers::REGEXES_MAX;
            let what = format!("more than {max} regular expressions in one request");
            return Err(PromqlError::parse(what));
        }
        selectors.push(selector);
    }
    // Each is short enough; all of them share the limits of one query.
    lex::lex(&texts.join("\n"), limits)?;
    Ok(selectors)
}
