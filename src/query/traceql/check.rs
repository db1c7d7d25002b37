//! What a query must not say although it can be read; the words are Tempo's.

use super::ast::{
    Aggregate, Compare, Field, Function, Math, Query, Scalar, ScalarFilter, Spanset, Stage,
};
use super::attribute::{Attribute, Intrinsic};
use super::error::TraceqlError;
use super::value::Value;

/// What a field is known to be before any span is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    /// Whatever the span says.
    Any,
    Nil,
    Bool,
    Number,
    Text,
    Status,
    Kind,
}

/// Fails when a query makes no sense.
pub(super) fn query(query: &Query) -> Result<(), TraceqlError> {
    if let Some(of_several) = &query.math {
        return math(of_several);
    }
    stages(&query.stages)?;
    let Some(metrics) = &query.metrics else { return Ok(()) };
    if query.stages.is_empty() {
        return invalid("a metrics function needs a spanset before it, such as `{ } |`");
    }
    match &metrics.function {
        Function::Compare { filter: Some(filter), .. } => condition(filter),
        Function::Quantiles(_, quantiles) if quantiles.is_empty() => {
            invalid("quantile_over_time() needs at least one quantile, such as .99")
        }
        Function::Quantiles(_, quantiles) if !quantiles.iter().all(|q| (0.0..=1.0).contains(q)) => {
            invalid("quantiles must be between 0 and 1")
        }
        _ => Ok(()),
    }
}

fn math(of: &Math) -> Result<(), TraceqlError> {
    match of {
        Math::Query(one) => {
            let function = one.metrics.as_ref().map(|metrics| &metrics.function);
            if matches!(function, Some(Function::Compare { .. })) {
                return invalid("compare() stands alone: its series are not added up with others");
            }
            query(one)
        }
        Math::Operation { lhs, rhs, .. } => {
            math(lhs)?;
            math(rhs)
        }
    }
}

fn invalid<T>(message: impl Into<String>) -> Result<T, TraceqlError> {
    Err(TraceqlError::Invalid(message.into()))
}

fn stages(list: &[Stage]) -> Result<(), TraceqlError> {
    for stage in list {
        match stage {
            Stage::Spans(spanset) => check_spanset(spanset)?,
            Stage::Filter(filter) => scalar_filter(filter)?,
            Stage::By(field) => {
                type_of(field)?;
                if !references_span(field) {
                    return invalid(format!(
                        "grouping field expressions must reference the span: by({field})"
                    ));
                }
            }
            Stage::Coalesce | Stage::Select(_) => {}
        }
    }
    Ok(())
}

fn check_spanset(spanset: &Spanset) -> Result<(), TraceqlError> {
    match spanset {
        Spanset::Filter(None) => Ok(()),
        Spanset::Filter(Some(field)) => condition(field),
        Spanset::Operation(_, lhs, rhs) => {
            check_spanset(lhs)?;
            check_spanset(rhs)
        }
        Spanset::Pipeline(list) => stages(list),
    }
}

fn condition(field: &Field) -> Result<(), TraceqlError> {
    match type_of(field)? {
        Type::Any | Type::Bool => Ok(()),
        _ => invalid(format!(
            "span filter field expressions must resolve to a boolean: {{ {field} }}"
        )),
    }
}

fn scalar_filter(filter: &ScalarFilter) -> Result<(), TraceqlError> {
    scalar(&filter.lhs)?;
    scalar(&filter.rhs)?;
    if has_aggregate(&filter.lhs) || has_aggregate(&filter.rhs) {
        return Ok(());
    }
    invalid(format!("scalar filters must have an aggregate: {}", Stage::Filter(filter.clone())))
}

fn has_aggregate(scalar: &Scalar) -> bool {
    match scalar {
        Scalar::Static(_) => false,
        Scalar::Aggregate(..) | Scalar::Pipeline(..) => true,
        Scalar::Arithmetic(_, a, b) => has_aggregate(a) || has_aggregate(b),
    }
}

fn scalar(of: &Scalar) -> Result<(), TraceqlError> {
    match of {
        Scalar::Static(_) | Scalar::Aggregate(Aggregate::Count, _) | Scalar::Aggregate(_, None) => {
            Ok(())
        }
        Scalar::Aggregate(_, Some(field)) => match type_of(field)? {
            Type::Any | Type::Number if references_span(field) => Ok(()),
            Type::Any | Type::Number => {
                invalid(format!("aggregate field expressions must reference the span: {of}"))
            }
            _ => {
                invalid(format!("aggregate field expressions must resolve to a number type: {of}"))
            }
        },
        Scalar::Arithmetic(_, a, b) => {
            scalar(a)?;
            scalar(b)
        }
        Scalar::Pipeline(list, inner) => {
            stages(list)?;
            scalar(inner)
        }
    }
}

fn references_span(field: &Field) -> bool {
    match field {
        Field::Static(_) => false,
        Field::Attribute(_) => true,
        Field::Minus(inner)
        | Field::Not(inner)
        | Field::Matches(inner, ..)
        | Field::Cidr(inner, _) => references_span(inner),
        Field::Logic(_, a, b) | Field::Compare(_, a, b) | Field::Arithmetic(_, a, b) => {
            references_span(a) || references_span(b)
        }
    }
}

/// Returns the type of a field; each part of it is looked at once, however deep they lie.
fn type_of(field: &Field) -> Result<Type, TraceqlError> {
    let one = |inner: &Field, wanted| checked(field, type_of(inner)?, wanted);
    match field {
        Field::Static(value) => Ok(type_of_value(value)),
        Field::Attribute(Attribute::Named { .. }) => Ok(Type::Any),
        Field::Attribute(Attribute::Intrinsic(intrinsic)) => Ok(type_of_intrinsic(*intrinsic)),
        Field::Minus(inner) => one(inner, Type::Number),
        Field::Not(inner) => one(inner, Type::Bool),
        Field::Matches(inner, ..) => one(inner, Type::Text).map(|_| Type::Bool),
        Field::Cidr(inner, _) => match type_of(inner)? {
            Type::Any | Type::Text => Ok(Type::Bool),
            _ => invalid(format!(
                "cidr() requires a string attribute as its first argument: {field}"
            )),
        },
        Field::Logic(_, a, b) => both(field, (type_of(a)?, type_of(b)?), Type::Bool),
        Field::Arithmetic(_, a, b) => both(field, (type_of(a)?, type_of(b)?), Type::Number),
        Field::Compare(op, a, b) => {
            let found = alike(field, (type_of(a)?, type_of(b)?))?;
            let has_order = matches!(found, Type::Any | Type::Number | Type::Text);
            if has_order || matches!(op, Compare::Equal | Compare::NotEqual) {
                return Ok(Type::Bool);
            }
            invalid(format!("illegal operation for the given types: {field}"))
        }
    }
}

fn type_of_value(value: &Value<'_>) -> Type {
    match value {
        Value::Nil => Type::Nil,
        Value::Bool(_) => Type::Bool,
        Value::Int(_) | Value::Float(_) | Value::Duration(_) => Type::Number,
        Value::Status(_) => Type::Status,
        Value::Kind(_) => Type::Kind,
        _ => Type::Text,
    }
}

/// Fails where a part of a field is known to be of another type than is wanted.
fn checked(field: &Field, found: Type, wanted: Type) -> Result<Type, TraceqlError> {
    if found == Type::Any || found == wanted {
        return Ok(wanted);
    }
    invalid(format!("illegal operation for the given type: {field}"))
}

fn both(field: &Field, (a, b): (Type, Type), wanted: Type) -> Result<Type, TraceqlError> {
    alike(field, (a, b))?;
    checked(field, a, wanted)?;
    checked(field, b, wanted)
}

/// Returns what two sides have in common.
fn alike(field: &Field, sides: (Type, Type)) -> Result<Type, TraceqlError> {
    match sides {
        (Type::Any, other) | (other, Type::Any) => Ok(other),
        (Type::Nil, _) | (_, Type::Nil) => Ok(Type::Nil),
        (a, b) if a == b => Ok(a),
        _ => invalid(format!("binary operations must operate on the same type: {field}")),
    }
}

fn type_of_intrinsic(intrinsic: Intrinsic) -> Type {
    match intrinsic {
        Intrinsic::Duration
        | Intrinsic::ChildCount
        | Intrinsic::TraceDuration
        | Intrinsic::NestedSetParent
        | Intrinsic::NestedSetLeft
        | Intrinsic::NestedSetRight
        | Intrinsic::EventTime => Type::Number,
        Intrinsic::Status => Type::Status,
        Intrinsic::Kind => Type::Kind,
        _ => Type::Text,
    }
}
