//! What a metric query's text alone says of its answer: which labels, and which lines it counts.

use std::collections::BTreeSet;

use super::syntax::ast::{
    Binary, BinaryOp, Grouping, LogExpr, MetricExpr, RangeFunc, VectorAggregation, VectorOp,
};
use crate::model::MatchOp;

/// Returns the labels that every series of the answer has at most, or `None` when it may have any.
pub fn labels_yielded(expr: &MetricExpr) -> Option<BTreeSet<String>> {
    match expr {
        MetricExpr::Number(_) | MetricExpr::Vector(_) => Some(BTreeSet::new()),
        MetricExpr::Range(range) => match &range.grouping {
            Some(Grouping { is_without: false, labels }) => Some(set(labels)),
            _ if range.func == RangeFunc::Absent => Some(demanded(&range.lines)),
            _ => None,
        },
        MetricExpr::Aggregate(aggregation) => of_aggregation(aggregation),
        MetricExpr::Binary(binary) => of_binary(binary),
        MetricExpr::LabelReplace(replace) => {
            let mut left = labels_yielded(&replace.inner)?;
            left.insert(replace.target.clone());
            Some(left)
        }
    }
}

fn set(labels: &[String]) -> BTreeSet<String> {
    labels.iter().cloned().collect()
}

/// `absent_over_time` invents the labels that its selector demands by an equality.
fn demanded(lines: &LogExpr) -> BTreeSet<String> {
    let equal = lines.matchers.iter().filter(|matcher| matcher.op == MatchOp::Eq);
    equal.map(|matcher| matcher.name.clone()).collect()
}

fn of_aggregation(aggregation: &VectorAggregation) -> Option<BTreeSet<String>> {
    if matches!(
        aggregation.op,
        VectorOp::Topk
            | VectorOp::ApproxTopk
            | VectorOp::Bottomk
            | VectorOp::Sort
            | VectorOp::SortDesc
    ) {
        return labels_yielded(&aggregation.inner);
    }
    match &aggregation.grouping {
        None => Some(BTreeSet::new()),
        Some(Grouping { is_without: false, labels }) => Some(set(labels)),
        Some(Grouping { is_without: true, labels }) => {
            Some(&labels_yielded(&aggregation.inner)? - &set(labels))
        }
    }
}

fn is_number(expr: &MetricExpr) -> bool {
    matches!(expr, MetricExpr::Number(_))
}

fn of_binary(binary: &Binary) -> Option<BTreeSet<String>> {
    let (left, right) = (&binary.left, &binary.right);
    if is_number(left) {
        return labels_yielded(right);
    }
    if is_number(right) {
        return labels_yielded(left);
    }
    match binary.op {
        BinaryOp::Or => return Some(&labels_yielded(left)? | &labels_yielded(right)?),
        BinaryOp::And | BinaryOp::Unless => return labels_yielded(left),
        _ => {}
    }
    let Some(matching) = &binary.matching else { return labels_yielded(left) };
    match &matching.group {
        Some((true, include)) => Some(&labels_yielded(left)? | &set(include)),
        Some((false, include)) => Some(&labels_yielded(right)? | &set(include)),
        None if matching.is_on => Some(set(&matching.labels)),
        None => Some(&labels_yielded(left)? - &set(&matching.labels)),
    }
}

/// Returns the log queries whose lines are counted.
pub fn lines_counted(expr: &MetricExpr) -> Vec<&LogExpr> {
    match expr {
        MetricExpr::Number(_) | MetricExpr::Vector(_) => Vec::new(),
        MetricExpr::Range(range) => vec![&range.lines],
        MetricExpr::Aggregate(aggregation) => lines_counted(&aggregation.inner),
        MetricExpr::LabelReplace(replace) => lines_counted(&replace.inner),
        MetricExpr::Binary(binary) => {
            let mut all = lines_counted(&binary.left);
            all.extend(lines_counted(&binary.right));
            all
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::syntax::{Expr, ParseLimits, parse};
    use super::*;

    #[track_caller]
    fn check(query: &str, want: Option<&str>) {
        let Expr::Metric(expr) = parse(query, &ParseLimits::default()).unwrap() else {
            panic!("{query} gives lines")
        };
        let got = labels_yielded(&expr);
        let got = got.map(|names| names.into_iter().collect::<Vec<_>>().join(" "));
        assert_eq!(got.as_deref(), want, "{query}");
    }

    #[test]
    fn the_labels_of_an_answer_are_known_beforehand() {
        check(r#"sum by (a, b) (count_over_time({x="y"}[5m])) > 5"#, Some("a b"));
        check(r#"sum(count_over_time({x="y"}[5m]))"#, Some(""));
        check(r#"count_over_time({x="y"}[5m])"#, None);
        check(r#"topk(3, sum by (a) (rate({x="y"} | json [5m])))"#, Some("a"));
        check(r#"sum without (a) (sum by (a, b) (rate({x="y"}[5m])))"#, Some("b"));
        check(r#"absent_over_time({x="y", z=~"w"}[5m])"#, Some("x"));
        check(
            r#"sum by (a, b) (rate({x="y"}[5m])) / on (a) group_left sum by (a) (rate({x="y"}[5m]))"#,
            Some("a b"),
        );
        check(r#"label_replace(sum(rate({x="y"}[5m])), "c", "$1", "x", "(.*)")"#, Some("c"));
    }
}
