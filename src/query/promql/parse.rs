//! Text to syntax tree, and back to text.

use std::panic::{AssertUnwindSafe, catch_unwind};

use promql_parser::label;
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{self as ast, VectorSelector};

use crate::model::labels::METRIC_NAME;
use crate::model::{MatchOp, Matcher};

use super::error::{KEY_DEPTH, PromqlError};
use super::guard;
use super::limits::ParseLimits;

/// A parsed and type-checked query; prints as PromQL.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr(pub(super) ast::Expr);

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
        match self.0.value_type() {
            ValueType::Scalar => ResultType::Scalar,
            ValueType::String => ResultType::String,
            ValueType::Vector => ResultType::Vector,
            ValueType::Matrix => ResultType::Matrix,
        }
    }
}

impl std::fmt::Display for Expr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Parses a query. Whatever the text is, this neither panics nor takes long.
pub fn parse(text: &str, limits: &ParseLimits) -> Result<Expr, PromqlError> {
    let checked = guard::check(text, limits)?;
    // The second lock: should the parser panic on something the guard did not think of.
    let parsed = catch_unwind(AssertUnwindSafe(|| ast::parse(&checked)))
        .map_err(|_| PromqlError::parse("the parser failed on this query"))?;
    let expr = parsed.map_err(PromqlError::Parse)?;
    check_tree(&expr, limits.depth_max.saturating_mul(4))?;
    Ok(Expr(expr))
}

/// Returns the query as people lay it out, for `/api/v1/format_query`.
pub fn format_expr(expr: &Expr) -> String {
    expr.0.prettify()
}

/// Returns the matchers of every selector in the query, the metric's name among them.
pub fn selectors(expr: &Expr) -> Vec<Vec<Matcher>> {
    let mut found = Vec::new();
    walk(&expr.0, |node, _| {
        let selector = match node {
            ast::Expr::VectorSelector(selector) => selector,
            ast::Expr::MatrixSelector(matrix) => &matrix.vs,
            _ => return Ok(()),
        };
        found.push(matchers_of(selector)?);
        Ok(())
    })
    .expect("parse() has made these matchers once already");
    found
}

/// Returns the matchers of a query that is nothing but an instant selector, as `match[]` wants.
pub fn as_selector(expr: &Expr) -> Option<Vec<Matcher>> {
    match &expr.0 {
        ast::Expr::VectorSelector(selector)
            if selector.offset.is_none() && selector.at.is_none() =>
        {
            matchers_of(selector).ok()
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
    if texts.len() > 1 {
        guard::check(&texts.join("\n"), limits)?;
    }
    let selectors = texts.iter().map(|text| {
        let not_one = || PromqlError::parse(format!("`{text}` is not one series selector"));
        as_selector(&parse(text, limits)?).ok_or_else(not_one)
    });
    selectors.collect()
}

/// Returns a selector's matchers as the model has them.
pub(super) fn matchers_of(selector: &VectorSelector) -> Result<Vec<Matcher>, PromqlError> {
    let name = selector.name.iter().map(|name| Ok(Matcher::equal(METRIC_NAME, name)));
    let others = selector.matchers.matchers.iter().map(|matcher| {
        let op = match matcher.op {
            label::MatchOp::Equal => MatchOp::Eq,
            label::MatchOp::NotEqual => MatchOp::Ne,
            label::MatchOp::Re(_) => MatchOp::Re,
            label::MatchOp::NotRe(_) => MatchOp::Nre,
        };
        Matcher::new(&matcher.name, op, &matcher.value)
            .map_err(|error| PromqlError::parse(error.to_string()))
    });
    name.chain(others).collect()
}

/// Checks what the guard cannot see: the tree's depth (an operator chain is as deep as it is long,
/// and everything after the parser walks the tree by recursion), and what no one evaluates.
fn check_tree(expr: &ast::Expr, depth_max: usize) -> Result<(), PromqlError> {
    walk(expr, |node, depth| {
        if depth > depth_max {
            return Err(PromqlError::Limit {
                what: "levels of operators",
                n: depth as u64,
                max: depth_max as u64,
                key: KEY_DEPTH,
            });
        }
        let selector = match node {
            ast::Expr::VectorSelector(selector) => selector,
            ast::Expr::MatrixSelector(matrix) => &matrix.vs,
            _ => return Ok(()),
        };
        if !selector.matchers.or_matchers.is_empty() {
            return Err(PromqlError::parse(format!(
                "`or` between matchers is not PromQL: write two selectors with `or` between them, in `{selector}`"
            )));
        }
        let n_names = selector.matchers.matchers.iter().filter(|m| m.name == METRIC_NAME).count();
        if selector.name.is_some() && n_names > 0 {
            return Err(PromqlError::parse(format!(
                "metric name must not be set twice: `{selector}`"
            )));
        }
        matchers_of(selector).map(drop)
    })
}

/// Visits every node with its depth, without recursion.
fn walk(
    expr: &ast::Expr,
    mut visit: impl FnMut(&ast::Expr, usize) -> Result<(), PromqlError>,
) -> Result<(), PromqlError> {
    let mut todo = vec![(expr, 1)];
    while let Some((node, depth)) = todo.pop() {
        visit(node, depth)?;
        let below = depth + 1;
        match node {
            ast::Expr::Aggregate(aggregate) => {
                todo.push((&aggregate.expr, below));
                todo.extend(aggregate.param.iter().map(|param| (&**param, below)));
            }
            ast::Expr::Unary(unary) => todo.push((&unary.expr, below)),
            ast::Expr::Binary(binary) => {
                todo.extend([(&*binary.rhs, below), (&*binary.lhs, below)]);
            }
            ast::Expr::Paren(paren) => todo.push((&paren.expr, below)),
            ast::Expr::Subquery(subquery) => todo.push((&subquery.expr, below)),
            ast::Expr::Call(call) => {
                todo.extend(call.args.args.iter().rev().map(|arg| (&**arg, below)));
            }
            ast::Expr::NumberLiteral(_)
            | ast::Expr::StringLiteral(_)
            | ast::Expr::VectorSelector(_)
            | ast::Expr::MatrixSelector(_)
            | ast::Expr::Extension(_) => {}
        }
    }
    Ok(())
}
