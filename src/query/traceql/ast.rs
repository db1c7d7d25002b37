//! What a TraceQL query says.

use regex::Regex;

use super::attribute::Attribute;
use super::networks::Networks;
use super::value::Value;

pub(super) use super::operators::{
    Aggregate, Arithmetic, Compare, Form, Logic, Relation, SPANSET_OPS, SpansetOp, symbol,
};

/// A query: spansets through a pipeline, perhaps counted over time.
#[derive(Debug, Clone)]
pub struct Query {
    /// The stages, each taking the spansets of the one before.
    pub stages: Vec<Stage>,
    /// What is counted of the spans that come out.
    pub metrics: Option<Metrics>,
    /// Counts of several queries, put together; then there is nothing else but hints.
    pub math: Option<Math>,
    /// `with(…)`: advice that may be followed.
    pub hints: Vec<(String, Value<'static>)>,
}

/// What one query counts, or two that are put together point by point.
#[derive(Debug, Clone)]
pub enum Math {
    /// `({ … } | rate())`
    Query(Box<Query>),
    /// `(…) / (…)`
    Operation {
        /// One of `+ - * /`.
        op: Arithmetic,
        /// The left side.
        lhs: Box<Math>,
        /// The right side.
        rhs: Box<Math>,
        /// What is kept of the series.
        seconds: Vec<SecondStage>,
    },
}

impl Query {
    /// Returns true when it has numbers over time for an answer, and no traces.
    pub fn is_metrics(&self) -> bool {
        self.metrics.is_some() || self.math.is_some()
    }
}

impl Math {
    /// Returns the same with more done to its series, after all else.
    pub(super) fn followed_by(mut self, more: Vec<SecondStage>) -> Self {
        let seconds = match &mut self {
            Math::Query(query) => query.metrics.as_mut().map(|metrics| &mut metrics.seconds),
            Math::Operation { seconds, .. } => Some(seconds),
        };
        seconds.expect("arithmetic is between queries that count").extend(more);
        self
    }
}

/// One stage of a pipeline.
#[derive(Debug, Clone)]
pub enum Stage {
    /// Spans that match.
    Spans(Spanset),
    /// Spansets of which something is true.
    Filter(ScalarFilter),
    /// `by(…)`: one spanset a value.
    By(Field),
    /// `coalesce()`: one spanset again.
    Coalesce,
    /// `select(…)`: what is shown of the spans.
    Select(Vec<Attribute>),
}

/// An expression that picks spans of a trace.
#[derive(Debug, Clone)]
pub enum Spanset {
    /// `{ … }`; without a condition all spans.
    Filter(Option<Field>),
    /// Two spansets, and how their spans relate.
    Operation(SpansetOp, Box<Spanset>, Box<Spanset>),
    /// `({ … } | …)`
    Pipeline(Vec<Stage>),
}

/// A regular expression as it was written, and compiled so that it matches whole texts.
#[derive(Debug, Clone)]
pub struct Pattern {
    pub(super) text: String,
    pub(super) regex: Regex,
}

/// A condition on one span, or a value of it.
#[derive(Debug, Clone)]
pub enum Field {
    /// As written.
    Static(Value<'static>),
    /// Of the span.
    Attribute(Attribute),
    /// `-x`
    Minus(Box<Field>),
    /// `!x`
    Not(Box<Field>),
    /// `a && b`, `a || b`
    Logic(Logic, Box<Field>, Box<Field>),
    /// `a = b`
    Compare(Compare, Box<Field>, Box<Field>),
    /// `a =~ "b"`; true for `!~`.
    Matches(Box<Field>, Pattern, bool),
    /// `cidr(a, "10.0.0.0/8")`
    Cidr(Box<Field>, Networks),
    /// `a + b`
    Arithmetic(Arithmetic, Box<Field>, Box<Field>),
}

/// `count() > 2`
#[derive(Debug, Clone)]
pub struct ScalarFilter {
    /// What is compared.
    pub op: Compare,
    /// One number of a spanset.
    pub lhs: Scalar,
    /// The other.
    pub rhs: Scalar,
}

/// A number of a spanset.
#[derive(Debug, Clone)]
pub enum Scalar {
    /// As written.
    Static(Value<'static>),
    /// Of all its spans.
    Aggregate(Aggregate, Option<Field>),
    /// `a + b`
    Arithmetic(Arithmetic, Box<Scalar>, Box<Scalar>),
    /// `({ … } | count())`: of the spansets that a pipeline of its own makes.
    Pipeline(Vec<Stage>, Box<Scalar>),
}

/// Spans counted over time.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// What is counted.
    pub function: Function,
    /// One series for each of their values.
    pub by: Vec<Attribute>,
    /// What is kept of the series.
    pub seconds: Vec<SecondStage>,
}

/// A function of spans over time.
#[derive(Debug, Clone)]
pub enum Function {
    /// Spans a second.
    Rate,
    /// Spans.
    Count,
    /// The least, greatest, total or mean of a value.
    Fold(Aggregate, Attribute),
    /// Quantiles of a value.
    Quantiles(Attribute, Vec<f64>),
    /// How many there are of a value up to each power of two.
    Histogram(Attribute),
    /// How the spans that match differ from the others.
    Compare {
        /// What the selection is.
        filter: Option<Field>,
        /// The most values of each attribute.
        top: usize,
        /// When it counts, ns since 1970 UTC.
        range_ns: Option<(i64, i64)>,
    },
}

/// What is done with series.
#[derive(Debug, Clone)]
pub enum SecondStage {
    /// The greatest at each point.
    Top(usize),
    /// The least at each point.
    Bottom(usize),
    /// Those of which something is true.
    Filter(Compare, f64),
}
