//! Which labels a query's result can have, as far as the query alone says: for those who read what
//! people write about results.

use std::collections::BTreeSet;

use promql_parser::parser::value::ValueType;
use promql_parser::parser::{self as ast, LabelModifier, VectorMatchCardinality};

use super::parse::Expr;
use crate::model::MatchOp;

/// Returns the labels that a result can have at most, or `None` when only the series know.
pub fn labels_yielded(expr: &Expr) -> Option<BTreeSet<String>> {
    labels(&expr.0)
}

/// Returns the metrics whose growth a query takes: those under `rate`, `irate` and `increase`.
pub fn metrics_rated(expr: &Expr) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    rated(&expr.0, &mut found);
    found
}

fn set<'a>(names: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
    names.into_iter().cloned().collect()
}

fn labels(expr: &ast::Expr) -> Option<BTreeSet<String>> {
    match expr {
        ast::Expr::Paren(inner) => labels(&inner.expr),
        ast::Expr::Unary(inner) => labels(&inner.expr),
        ast::Expr::Subquery(inner) => labels(&inner.expr),
        ast::Expr::NumberLiteral(_) | ast::Expr::StringLiteral(_) => Some(BTreeSet::new()),
        ast::Expr::Aggregate(aggregate) => of_aggregate(aggregate),
        ast::Expr::Binary(binary) => of_binary(binary),
        ast::Expr::Call(call) => of_call(call),
        _ => None,
    }
}

fn of_aggregate(aggregate: &ast::AggregateExpr) -> Option<BTreeSet<String>> {
    let op = aggregate.op.to_string();
    // These choose series and leave them as they are.
    if ["topk", "bottomk", "limitk", "limit_ratio"].contains(&op.as_str()) {
        return labels(&aggregate.expr);
    }
    let mut kept = match &aggregate.modifier {
        None => BTreeSet::new(),
        Some(LabelModifier::Include(by)) => set(&by.labels),
        Some(LabelModifier::Exclude(without)) => {
            let without = set(&without.labels);
            &labels(&aggregate.expr)? - &without
        }
    };
    if let (Some(ast::Expr::StringLiteral(name)), "count_values") =
        (aggregate.param.as_deref(), op.as_str())
    {
        kept.insert(name.val.clone());
    }
    Some(kept)
}

fn of_binary(binary: &ast::BinaryExpr) -> Option<BTreeSet<String>> {
    if binary.lhs.value_type() == ValueType::Scalar {
        return labels(&binary.rhs);
    }
    if binary.rhs.value_type() == ValueType::Scalar {
        return labels(&binary.lhs);
    }
    if binary.op.is_set_operator() {
        let left = labels(&binary.lhs)?;
        return match binary.op.to_string().as_str() {
            "or" => Some(&left | &labels(&binary.rhs)?),
            _ => Some(left),
        };
    }
    let Some(modifier) = &binary.modifier else { return labels(&binary.lhs) };
    match &modifier.card {
        VectorMatchCardinality::ManyToOne(more) => Some(&labels(&binary.lhs)? | &set(&more.labels)),
        VectorMatchCardinality::OneToMany(more) => Some(&labels(&binary.rhs)? | &set(&more.labels)),
        _ => match &modifier.matching {
            Some(LabelModifier::Include(on)) => Some(set(&on.labels)),
            Some(LabelModifier::Exclude(ignoring)) => {
                Some(&labels(&binary.lhs)? - &set(&ignoring.labels))
            }
            None => labels(&binary.lhs),
        },
    }
}

fn of_call(call: &ast::Call) -> Option<BTreeSet<String>> {
    let arguments = &call.args.args;
    match call.func.name {
        "absent" | "absent_over_time" => Some(of_absent(arguments.first()?)),
        "vector" | "time" | "scalar" | "pi" => Some(BTreeSet::new()),
        "histogram_quantile" | "histogram_fraction" => {
            let mut left = labels(arguments.last()?)?;
            left.remove("le");
            Some(left)
        }
        "label_replace" | "label_join" => {
            let mut left = labels(arguments.first()?)?;
            if let ast::Expr::StringLiteral(name) = &**arguments.get(1)? {
                left.insert(name.val.clone());
            }
            Some(left)
        }
        _ => {
            let is_series = |kind| matches!(kind, ValueType::Vector | ValueType::Matrix);
            let series = arguments.iter().find(|argument| is_series(argument.value_type()));
            series.map_or_else(|| Some(BTreeSet::new()), |argument| labels(argument))
        }
    }
}

/// `absent` invents the labels that its selector demands by an equality.
fn of_absent(argument: &ast::Expr) -> BTreeSet<String> {
    let found = super::parse::selectors(&Expr(argument.clone()));
    let equal = found.iter().flatten().filter(|m| m.op == MatchOp::Eq && m.name != "__name__");
    equal.map(|matcher| matcher.name.clone()).collect()
}

fn rated(expr: &ast::Expr, found: &mut BTreeSet<String>) {
    match expr {
        ast::Expr::Paren(inner) => rated(&inner.expr, found),
        ast::Expr::Unary(inner) => rated(&inner.expr, found),
        ast::Expr::Subquery(inner) => rated(&inner.expr, found),
        ast::Expr::Aggregate(inner) => rated(&inner.expr, found),
        ast::Expr::Binary(binary) => {
            rated(&binary.lhs, found);
            rated(&binary.rhs, found);
        }
        ast::Expr::Call(call) => {
            let takes_growth = ["rate", "irate", "increase"].contains(&call.func.name);
            for argument in &call.args.args {
                match &**argument {
                    ast::Expr::MatrixSelector(matrix) if takes_growth => {
                        found.extend(matrix.vs.name.clone());
                    }
                    other => rated(other, found),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::ParseLimits;
    use super::super::parse::parse;
    use super::*;

    #[track_caller]
    fn check(query: &str, want: Option<&str>) {
        let expr = parse(query, &ParseLimits::default()).unwrap();
        let got = labels_yielded(&expr);
        let got = got.map(|names| names.into_iter().collect::<Vec<_>>().join(" "));
        assert_eq!(got.as_deref(), want, "{query}");
    }

    #[test]
    fn what_a_query_yields_is_known_where_it_says_so() {
        check("up == 0", None);
        check("sum(up)", Some(""));
        check("sum by (a, b) (up) > 3", Some("a b"));
        check("sum without (a) (up)", None);
        check("sum without (a) (sum by (a, b) (up))", Some("b"));
        check("topk(3, sum by (a) (up))", Some("a"));
        check("sum by (a, b) (x) / on (a) sum by (a) (y)", Some("a"));
        check("sum by (a, b) (x) / on (a) group_left (c) y", Some("a b c"));
        check("sum by (a) (x) and y", Some("a"));
        check("sum by (a) (x) or sum by (b) (y)", Some("a b"));
        check("absent(up{job=\"x\", env!=\"y\"})", Some("job"));
        check("histogram_quantile(0.9, sum by (le, a) (rate(b[5m])))", Some("a"));
        check("label_replace(sum(x), \"d\", \"$1\", \"s\", \"(.*)\")", Some("d"));
        check("time() - max by (a) (x)", Some("a"));
    }

    #[test]
    fn rated_metrics_are_named() {
        let query = "sum(rate(a[5m])) / increase(b_total[1h]) > avg_over_time(c[5m])";
        let expr = parse(query, &ParseLimits::default()).unwrap();

        let names: Vec<String> = metrics_rated(&expr).into_iter().collect();

        assert_eq!(names, ["a", "b_total"]);
    }
}
