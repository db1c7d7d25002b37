//! A typed tree with every time resolved: what to read, at which steps, with which function.
//!
//! Planning knows the query's start, end and step, so `@ start()`, offsets and the steps of nested
//! sub-queries are plain numbers afterwards, and each selector knows the one window it reads.
//! Selectors with equal matchers and overlapping windows share one read.

use crate::model::labels::METRIC_NAME;
use crate::model::{Labels, MatchOp, Matcher};

use super::error::{KEY_SUBQUERY, PromqlError};
use super::grid::Grid;

mod build;
mod call;
mod functions;
mod unique;
mod windows;

use super::parse::ast::Edges;
pub(super) use super::parse::ast::{Op, SetOp};
use super::parse::place::Place;

pub(super) use build::Planner;
pub(super) use functions::{ElementFn, RangeFn};

/// The whole query.
#[derive(Debug)]
pub(super) enum Plan {
    Scalar(ScalarNode),
    Vector(VectorNode),
    /// A range vector as the result of an instant query.
    Matrix(RangeSource),
    Text(String),
}

/// One number a step.
#[derive(Debug)]
pub(super) enum ScalarNode {
    Number(f64),
    /// `time()`
    Time,
    /// `scalar(v)`
    Of(Box<VectorNode>),
    Negate(Box<ScalarNode>),
    Binary(Op, Box<ScalarNode>, Box<ScalarNode>),
    MinOf(Box<ScalarNode>, Box<ScalarNode>),
    MaxOf(Box<ScalarNode>, Box<ScalarNode>),
}

/// Series with at most one number a step.
#[derive(Debug)]
pub(super) enum VectorNode {
    /// The newest sample within the lookback.
    Select(Selector),
    /// `selector smoothed`: the value on the line between the samples around a step.
    Smoothed(Selector, Place),
    /// `timestamp(selector)`: when that sample was taken.
    SampleTime(Selector),
    /// `start_timestamp(selector)`: since when that sample counts, 0 where nobody said.
    SampleStart(Selector),
    /// `start_timestamp(expression)`, of which nobody says anything.
    Nothing,
    /// `vector(s)`
    Constant(ScalarNode),
    /// A function over a window of each series.
    Range(RangeCall),
    /// A function of each value.
    Map {
        func: ElementFn,
        params: Vec<ScalarNode>,
        inner: Box<VectorNode>,
    },
    Sort {
        by: SortBy,
        place: Place,
        inner: Box<VectorNode>,
    },
    Relabel {
        how: Relabel,
        inner: Box<VectorNode>,
    },
    /// 1 where `inner` has nothing.
    Absent {
        labels: Labels,
        inner: Box<VectorNode>,
    },
    /// 1 where no series has a sample in the window.
    AbsentOverTime {
        labels: Labels,
        source: RangeSource,
    },
    /// `histogram_quantile`, or `histogram_quantiles` with the label that tells them apart.
    HistogramQuantile {
        label: Option<String>,
        /// Each with where it stands in the query.
        quantiles: Vec<(ScalarNode, Place)>,
        place: Place,
        inner: Box<VectorNode>,
    },
    HistogramFraction {
        lower: ScalarNode,
        upper: ScalarNode,
        place: Place,
        inner: Box<VectorNode>,
    },
    /// `info(v, {...})`: the labels of info metrics beside those of `inner`.
    Info(InfoCall),
    Aggregate(Aggregate),
    VectorScalar {
        op: Op,
        is_bool: bool,
        scalar_is_left: bool,
        vector: Box<VectorNode>,
        scalar: ScalarNode,
        place: Place,
    },
    VectorVector {
        op: Op,
        is_bool: bool,
        matching: Matching,
        left: Box<VectorNode>,
        right: Box<VectorNode>,
        place: Place,
    },
    Set {
        op: SetOp,
        matching: Matching,
        left: Box<VectorNode>,
        right: Box<VectorNode>,
    },
}

/// Which samples, seen from a step.
#[derive(Debug)]
pub(super) struct Selector {
    /// Index into [`Planner::fetches`].
    pub(super) fetch_idx: usize,
    /// True when every series has the same metric name.
    pub(super) is_one_metric: bool,
    pub(super) shift: Shift,
}

/// The modifiers `offset` and `@`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shift {
    pub(super) offset_ms: i64,
    pub(super) at_ms: Option<i64>,
}

impl Shift {
    /// Returns the time that is looked at from a step at `time_ms`.
    pub(super) fn apply(&self, time_ms: i64) -> i64 {
        self.at_ms.unwrap_or(time_ms).saturating_sub(self.offset_ms)
    }
}

/// What a range function walks over.
#[derive(Debug)]
pub(super) struct RangeSource {
    pub(super) range_ms: i64,
    pub(super) shift: Shift,
    pub(super) of: RangeOf,
}

/// Samples as stored, or as an expression makes them.
#[derive(Debug)]
pub(super) enum RangeOf {
    Selector(Selector),
    Subquery { inner: Box<VectorNode>, grid: Grid },
}

/// A function over a window of each series.
#[derive(Debug)]
pub(super) struct RangeCall {
    pub(super) func: RangeFn,
    pub(super) params: Vec<ScalarNode>,
    pub(super) source: RangeSource,
    /// What stands at the edges of its windows.
    pub(super) edges: Edges,
    /// Where the series stand in the query.
    pub(super) place: Place,
    /// Where the first number does.
    pub(super) param_place: Place,
}

/// `info(v, {...})`.
#[derive(Debug)]
pub(super) struct InfoCall {
    pub(super) inner: Box<VectorNode>,
    /// The info series, in [`Planner::fetches`].
    pub(super) info: Selector,
    /// Conditions on the info metrics' names: series of those names are left as they are.
    pub(super) names: Vec<Matcher>,
    /// Conditions on the labels that are wanted; none is all of them.
    pub(super) labels: Vec<Matcher>,
}

/// One read of the source.
#[derive(Debug)]
pub(super) struct FetchPlan {
    pub(super) matchers: Vec<Matcher>,
    /// First ms wanted.
    pub(super) start_ms: i64,
    /// Last ms wanted.
    pub(super) end_ms: i64,
    /// Whether somebody wants to know since when samples count.
    pub(super) has_starts: bool,
    /// How many nodes read it.
    pub(super) n_uses: usize,
}

/// How `sort` and its relatives order an instant answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum SortBy {
    Value { is_descending: bool },
    Labels { names: Vec<String>, is_descending: bool },
}

/// `label_replace` and `label_join`.
#[derive(Debug)]
pub(super) enum Relabel {
    Replace { target: String, replacement: String, source: String, regex: regex::Regex },
    Join { target: String, separator: String, sources: Vec<String> },
}

/// An aggregation.
#[derive(Debug)]
pub(super) struct Aggregate {
    pub(super) op: AggregateOp,
    pub(super) grouping: Grouping,
    pub(super) inner: Box<VectorNode>,
    /// Where `inner` stands in the query.
    pub(super) place: Place,
}

/// What an aggregation computes.
#[derive(Debug)]
pub(super) enum AggregateOp {
    Fold(FoldOp),
    Quantile(ScalarNode, Place),
    CountValues(String),
    Pick(PickOp, ScalarNode, Place),
}

/// Aggregations that need a few numbers a group and step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum FoldOp {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
}

/// Aggregations that keep some of the series as they are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum PickOp {
    Top,
    Bottom,
    Limit,
    LimitRatio,
}

/// `by (...)` or `without (...)`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grouping {
    pub(super) is_by: bool,
    pub(super) labels: Vec<String>,
}

impl Grouping {
    /// Returns true when a label is part of the group's identity.
    pub(super) fn keeps(&self, name: &str) -> bool {
        let is_listed = self.labels.iter().any(|label| label == name);
        if self.is_by { is_listed } else { !is_listed && !is_identity(name) }
    }
}

/// Which series of two sides belong together.
#[derive(Debug)]
pub(super) struct Matching {
    pub(super) is_on: bool,
    pub(super) labels: Vec<String>,
    pub(super) card: Card,
    /// What stands for a left side that is missing, and for a right one.
    pub(super) fill_left: Option<f64>,
    pub(super) fill_right: Option<f64>,
}

impl Matching {
    /// Returns true when a label is compared.
    pub(super) fn keeps(&self, name: &str) -> bool {
        let is_listed = self.labels.iter().any(|label| label == name);
        if self.is_on { is_listed } else { !is_listed && !is_identity(name) }
    }
}

/// How many series of one side may match one of the other.
#[derive(Debug, PartialEq)]
pub(super) enum Card {
    OneToOne,
    /// `group_left (labels)`
    ManyToOne(Vec<String>),
    /// `group_right (labels)`
    OneToMany(Vec<String>),
}

/// Returns true for the labels that name a metric rather than a thing it is about. Functions whose
/// result is another quantity drop them.
pub(super) fn is_identity(name: &str) -> bool {
    name.starts_with("__") && [METRIC_NAME, "__type__", "__unit__"].contains(&name)
}

/// Returns the labels `absent` can tell from the selector: those it demands, unless a later condition
/// speaks of the same label. (The order counts in Prometheus, and so it does here.)
fn labels_of_absent(matchers: &[Matcher]) -> Labels {
    let mut demanded: Vec<(&str, Option<&str>)> = Vec::new();
    for matcher in matchers.iter().filter(|m| m.name != METRIC_NAME) {
        let is_equal = matcher.op == MatchOp::Eq;
        match demanded.iter_mut().find(|(name, _)| *name == matcher.name) {
            Some((_, value)) => *value = None,
            None if is_equal => demanded.push((&matcher.name, Some(&matcher.value))),
            None => {}
        }
    }
    Labels::from_pairs(demanded.into_iter().filter_map(|(name, value)| Some((name, value?))))
}

/// Returns the error of a sub-query with too many steps.
fn too_many_steps(n_steps: usize, steps_max: usize) -> PromqlError {
    PromqlError::Limit {
        what: "steps in a sub-query",
        n: n_steps as u64,
        max: steps_max as u64,
        key: KEY_SUBQUERY,
    }
}
