//! A metric query as PromQL over series that its leaves make.
//!
//! Both languages mean the same by everything above a function over a window, so that part is
//! written down as PromQL, with a made-up metric in the place of each leaf.

use super::syntax::MetricExpr;
use super::syntax::ast::{
    Binary, BinaryOp, Grouping, LabelReplace, RangeAggregation, RangeFunc, Stage,
    VectorAggregation, VectorOp,
};
use crate::base::go_text::quoted;
use crate::base::units::format_duration_ms;
use crate::model::MatchOp;
use crate::query::promql::format_value;

/// What is above the leaves, and the leaves.
#[derive(Debug)]
pub(super) struct Rewritten<'e> {
    pub(super) promql: String,
    pub(super) leaves: Vec<Leaf<'e>>,
}

/// A function over a window of lines.
#[derive(Debug)]
pub(super) struct Leaf<'e> {
    /// The metric that stands in its place.
    pub(super) name: String,
    pub(super) call: &'e RangeAggregation,
    pub(super) kind: LeafKind,
    /// How its lines are grouped, by its own wish or by that of the sum above it.
    pub(super) grouping: Option<Grouping>,
}

/// What a leaf keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeafKind {
    /// Two numbers a step.
    Counted,
    /// Every value.
    Sampled,
}

/// Writes a metric query as PromQL.
pub(super) fn rewrite(expr: &MetricExpr) -> Rewritten<'_> {
    let mut rewritten = Rewritten { promql: String::new(), leaves: Vec::new() };
    let promql = rewritten.expr(expr, None);
    rewritten.promql = promql;
    rewritten
}

impl<'e> Rewritten<'e> {
    fn expr(&mut self, expr: &'e MetricExpr, above: Option<&VectorAggregation>) -> String {
        match expr {
            MetricExpr::Number(number) => number_text(*number),
            MetricExpr::Vector(number) => format!("vector({})", number_text(*number)),
            MetricExpr::Range(call) => self.leaf(call, above),
            MetricExpr::Aggregate(aggregate) => self.aggregate(aggregate),
            MetricExpr::Binary(binary) => self.binary(binary),
            MetricExpr::LabelReplace(replace) => self.label_replace(replace),
        }
    }

    fn leaf(&mut self, call: &'e RangeAggregation, above: Option<&VectorAggregation>) -> String {
        let name = format!("logql_{}", self.leaves.len());
        let has_unwrap = call.lines.stages.iter().any(|s| matches!(s, Stage::Unwrap(_)));
        let kind = match call.func {
            _ if has_unwrap && call.func != RangeFunc::Absent => LeafKind::Sampled,
            _ => LeafKind::Counted,
        };
        let grouping = match call.func {
            RangeFunc::Absent => Some(Grouping { is_without: false, labels: Vec::new() }),
            _ => call.grouping.clone().or_else(|| pushed_down(call, kind, above)),
        };
        let promql = leaf_text(&name, call, kind);
        self.leaves.push(Leaf { name, call, kind, grouping });
        promql
    }

    fn aggregate(&mut self, aggregate: &'e VectorAggregation) -> String {
        let inner = self.expr(&aggregate.inner, Some(aggregate));
        let grouping = aggregate.grouping.as_ref().map_or_else(String::new, |grouping| {
            let word = if grouping.is_without { "without" } else { "by" };
            format!(" {word} ({})", grouping.labels.join(", "))
        });
        let param = aggregate.param.map_or_else(String::new, |k| format!("{}, ", number_text(k)));
        let name = match aggregate.op {
            // PromQL has no other.
            VectorOp::ApproxTopk => VectorOp::Topk.as_str(),
            op => op.as_str(),
        };
        format!("{name}{grouping} ({param}{inner})")
    }

    fn binary(&mut self, binary: &'e Binary) -> String {
        let is_number = |expr: &MetricExpr| is_scalar(expr);
        let left = self.operand(&binary.left, binary.op, binary.op == BinaryOp::Pow);
        let right = self.operand(&binary.right, binary.op, binary.op != BinaryOp::Pow);
        let mut op = binary.op.as_str().to_owned();
        // Between two numbers PromQL wants the word, and LogQL means it.
        let is_comparison = matches!(binary.op, BinaryOp::Compare(_));
        let of_numbers = is_number(&binary.left) && is_number(&binary.right);
        if binary.is_bool || (is_comparison && of_numbers) {
            op.push_str(" bool");
        }
        if let Some(matching) = &binary.matching {
            let word = if matching.is_on { "on" } else { "ignoring" };
            op.push_str(&format!(" {word} ({})", matching.labels.join(", ")));
            if let Some((is_left, labels)) = &matching.group {
                let word = if *is_left { "group_left" } else { "group_right" };
                op.push_str(&format!(" {word} ({})", labels.join(", ")));
            }
        }
        format!("{left} {op} {right}")
    }

    fn operand(&mut self, operand: &'e MetricExpr, op: BinaryOp, strict: bool) -> String {
        let text = self.expr(operand, None);
        let needs = match operand {
            MetricExpr::Binary(inner) => {
                let (inner, outer) = (inner.op.precedence(), op.precedence());
                inner < outer || (strict && inner == outer)
            }
            MetricExpr::Number(number) => *number < 0.0,
            // `rate` of values is a division.
            MetricExpr::Range(call) => {
                call.func == RangeFunc::Rate && op.precedence() >= BinaryOp::Div.precedence()
            }
            _ => false,
        };
        if needs { format!("({text})") } else { text }
    }

    fn label_replace(&mut self, replace: &'e LabelReplace) -> String {
        let inner = self.expr(&replace.inner, None);
        let texts = [&replace.target, &replace.replacement, &replace.source, &replace.regex];
        let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
        format!("label_replace({inner}, {})", texts.join(", "))
    }
}

/// Returns true for what is a number in PromQL.
fn is_scalar(expr: &MetricExpr) -> bool {
    match expr {
        MetricExpr::Number(_) => true,
        MetricExpr::Binary(binary) => is_scalar(&binary.left) && is_scalar(&binary.right),
        _ => false,
    }
}

/// A sum of counts is a count of more lines, a maximum of maxima one of more values: grouping the
/// lines at once saves the series between, and the labels that nobody will see.
fn pushed_down(
    call: &RangeAggregation,
    kind: LeafKind,
    above: Option<&VectorAggregation>,
) -> Option<Grouping> {
    let above = above?;
    let is_same = match (above.op, call.func) {
        (
            VectorOp::Sum,
            RangeFunc::Count | RangeFunc::Rate | RangeFunc::Bytes | RangeFunc::BytesRate,
        ) => kind == LeafKind::Counted,
        (VectorOp::Max, RangeFunc::Max) | (VectorOp::Min, RangeFunc::Min) => true,
        _ => false,
    };
    is_same.then(|| match &above.grouping {
        Some(grouping) => grouping.clone(),
        None => Grouping { is_without: false, labels: Vec::new() },
    })
}

fn leaf_text(name: &str, call: &RangeAggregation, kind: LeafKind) -> String {
    if call.func == RangeFunc::Absent {
        return format!("absent({name}{})", demanded(call));
    }
    if kind == LeafKind::Counted {
        return name.to_owned();
    }
    let offset = match call.offset_ms {
        0 => String::new(),
        ms if ms < 0 => format!(" offset -{}", format_duration_ms(-ms)),
        ms => format!(" offset {}", format_duration_ms(ms)),
    };
    let range = format!("{name}[{}]{offset}", format_duration_ms(call.range_ms));
    match call.func {
        RangeFunc::Rate => {
            let seconds = format_value(call.range_ms as f64 / 1_000.0);
            format!("sum_over_time({range}) / {seconds}")
        }
        RangeFunc::RateCounter => format!("rate({range})"),
        RangeFunc::Quantile => {
            let quantile = number_text(call.param.unwrap_or(f64::NAN));
            format!("quantile_over_time({quantile}, {range})")
        }
        func => format!("{}({range})", func.as_str()),
    }
}

/// The labels that a stream must have, which what is absent is said to have.
fn demanded(call: &RangeAggregation) -> String {
    let is_plain = |name: &str| {
        name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !name.starts_with(|c: char| c.is_ascii_digit())
    };
    let demanded = call.lines.matchers.iter();
    let demanded = demanded.filter(|m| m.op == MatchOp::Eq && is_plain(&m.name));
    let demanded: Vec<String> =
        demanded.map(|m| format!("{}={}", m.name, quoted(&m.value))).collect();
    format!("{{{}}}", demanded.join(","))
}

fn number_text(number: f64) -> String {
    match number {
        n if n == f64::INFINITY => "Inf".to_owned(),
        n if n == f64::NEG_INFINITY => "-Inf".to_owned(),
        n => format_value(n),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::logql::syntax::{Expr, ParseLimits, parse};

    #[track_caller]
    fn check(query: &str, want: &str) {
        let Expr::Metric(expr) = parse(query, &ParseLimits::default()).unwrap() else {
            panic!("{query}")
        };
        assert_eq!(rewrite(&expr).promql, want, "{query}");
    }

    #[test]
    fn leaves_become_metrics() {
        check("sum by (a) (rate({x=\"y\"}[5m]))", "sum by (a) (logql_0)");
        check(
            "topk(2, sum by (a) (count_over_time({x=\"y\"}[5m]))) / on (a) vector(2)",
            "topk (2, sum by (a) (logql_0)) / on (a) vector(2)",
        );
        check(
            "quantile_over_time(0.9, {x=\"y\"} | unwrap z [5m] offset 1h) by (a)",
            "quantile_over_time(0.9, logql_0[5m] offset 1h)",
        );
        check("absent_over_time({x=\"y\", z=~\"a.+\"}[5m])", "absent(logql_0{x=\"y\"})");
        check("2 ^ rate({x=\"y\"} | unwrap z [1m])", "2 ^ (sum_over_time(logql_0[1m]) / 60)");
        check("(1 + 2) * 3 > 4", "(1 + 2) * 3 > bool 4");
        check("vector(1) - (vector(2) - -1)", "vector(1) - (vector(2) - (-1))");
    }

    #[test]
    fn only_what_changes_nothing_is_pushed_down() {
        let grouping = |query: &str| {
            let Expr::Metric(expr) = parse(query, &ParseLimits::default()).unwrap() else {
                panic!("{query}")
            };
            rewrite(&expr).leaves[0].grouping.clone()
        };

        assert!(grouping("sum by (a) (rate({x=\"y\"}[5m]))").is_some());
        assert!(grouping("sum(rate({x=\"y\"} | unwrap z [5m]))").is_none());
        assert!(grouping("avg by (a) (rate({x=\"y\"}[5m]))").is_none());
        assert!(grouping("count_over_time({x=\"y\"}[5m])").is_none());
    }
}
