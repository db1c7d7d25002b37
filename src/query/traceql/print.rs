//! How a TraceQL query is written again: so that it is read as the same.

use std::fmt;

use super::ast::{
    Arithmetic, Compare, Field, Function, Logic, Math, Metrics, Query, SPANSET_OPS, Scalar,
    ScalarFilter, SecondStage, Spanset, Stage, symbol,
};
use super::value::{Value, quoted};

fn listed<T: fmt::Display>(list: &[T]) -> String {
    list.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// Writes a value so that it is read again: the digits of the least whole number do not fit without
/// their sign.
fn literal(value: &Value<'_>) -> String {
    match value {
        Value::Int(i64::MIN) => "minInt".to_owned(),
        other => other.to_string(),
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.math {
            Some(math) => write!(f, "{math}")?,
            None => f.write_str(&stages_text(&self.stages))?,
        }
        if let Some(metrics) = &self.metrics {
            write!(f, " | {metrics}")?;
        }
        if !self.hints.is_empty() {
            let hints: Vec<String> = self
                .hints
                .iter()
                .map(|(name, value)| format!("{name}={}", literal(value)))
                .collect();
            write!(f, " with({})", hints.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Math {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Math::Query(query) => write!(f, "({query})"),
            Math::Operation { op, lhs, rhs, seconds } => {
                write!(f, "({lhs} {} {rhs}", op.symbol())?;
                seconds.iter().try_for_each(|stage| write!(f, "{stage}"))?;
                f.write_str(")")
            }
        }
    }
}

fn stages_text(stages: &[Stage]) -> String {
    stages.iter().map(Stage::to_string).collect::<Vec<_>>().join(" | ")
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stage::Spans(spanset) => write!(f, "{spanset}"),
            Stage::Filter(ScalarFilter { op, lhs, rhs }) => {
                write!(f, "{lhs} {} {rhs}", symbol(&Compare::ALL, *op))
            }
            Stage::By(field) => write!(f, "by({field})"),
            Stage::Coalesce => f.write_str("coalesce()"),
            Stage::Select(attributes) => write!(f, "select({})", listed(attributes)),
        }
    }
}

impl fmt::Display for Spanset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Spanset::Filter(None) => f.write_str("{ }"),
            Spanset::Filter(Some(field)) => write!(f, "{{ {field} }}"),
            Spanset::Operation(op, lhs, rhs) => {
                write!(f, "({lhs} {} {rhs})", symbol(&SPANSET_OPS, *op))
            }
            Spanset::Pipeline(stages) => write!(f, "({})", stages_text(stages)),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Field::Static(value) => f.write_str(&literal(value)),
            Field::Attribute(attribute) => write!(f, "{attribute}"),
            Field::Minus(field) => write!(f, "-({field})"),
            Field::Not(field) => write!(f, "!({field})"),
            Field::Logic(logic, a, b) => {
                write!(f, "({a} {} {b})", if *logic == Logic::And { "&&" } else { "||" })
            }
            Field::Compare(op, a, b) => write!(f, "({a} {} {b})", symbol(&Compare::ALL, *op)),
            Field::Matches(field, pattern, is_negated) => {
                let op = if *is_negated { "!~" } else { "=~" };
                write!(f, "({field} {op} {})", quoted(&pattern.text))
            }
            Field::Cidr(field, networks) => write!(f, "cidr({field}, {networks})"),
            Field::Arithmetic(op, a, b) => {
                let (open, close) = if is_negative(a) { ("(", ")") } else { ("", "") };
                write!(f, "({open}{a}{close} {} {b})", symbol(&Arithmetic::ALL, *op))
            }
        }
    }
}

/// Returns true for what is written with a minus in front, which would take in the operator behind it.
fn is_negative(field: &Field) -> bool {
    match field {
        Field::Minus(_) => true,
        Field::Static(value) => literal(value).starts_with('-'),
        _ => false,
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Static(value) => f.write_str(&literal(value)),
            Scalar::Aggregate(aggregate, None) => write!(f, "{}()", aggregate.name()),
            Scalar::Aggregate(aggregate, Some(field)) => write!(f, "{}({field})", aggregate.name()),
            Scalar::Arithmetic(op, a, b) => {
                write!(f, "({a} {} {b})", symbol(&Arithmetic::ALL, *op))
            }
            Scalar::Pipeline(stages, scalar) => {
                write!(f, "({} | {scalar})", stages_text(stages))
            }
        }
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.function)?;
        if !self.by.is_empty() {
            write!(f, " by({})", listed(&self.by))?;
        }
        self.seconds.iter().try_for_each(|stage| write!(f, "{stage}"))
    }
}

impl fmt::Display for SecondStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecondStage::Top(n) => write!(f, " | topk({n})"),
            SecondStage::Bottom(n) => write!(f, " | bottomk({n})"),
            SecondStage::Filter(op, value) => {
                write!(f, " {} {}", symbol(&Compare::ALL, *op), Value::Float(*value))
            }
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Function::Rate => f.write_str("rate()"),
            Function::Count => f.write_str("count_over_time()"),
            Function::Fold(aggregate, attribute) => {
                write!(f, "{}_over_time({attribute})", aggregate.name())
            }
            Function::Quantiles(attribute, quantiles) => {
                let quantiles: Vec<Value<'_>> =
                    quantiles.iter().map(|q| Value::Float(*q)).collect();
                write!(f, "quantile_over_time({attribute}, {})", listed(&quantiles))
            }
            Function::Histogram(attribute) => write!(f, "histogram_over_time({attribute})"),
            Function::Compare { filter, top, range_ns } => {
                write!(f, "compare({}, {top}", Spanset::Filter(filter.clone()))?;
                match range_ns {
                    Some((start, end)) => write!(f, ", {start}, {end})"),
                    None => f.write_str(")"),
                }
            }
        }
    }
}
