//! The tree as the JSON of Prometheus' `/api/v1/parse_query`, which its own page draws.

use serde_json::{Map, Value, json};

use crate::model::Matcher;

use super::super::value::format_number;
use super::ast::{Aggregator, At, Binary, Card, Edges, Node, NodeExpr, Selector, Type, When};
use super::functions::{Function, functions};
use super::lengths::Length;

/// Returns a tree as JSON.
pub(super) fn to_json(node: &Node) -> Value {
    match &node.expr {
        NodeExpr::Number { value, .. } => {
            json!({ "type": "numberLiteral", "val": format_number(*value) })
        }
        NodeExpr::Text(text) => json!({ "type": "stringLiteral", "val": text }),
        NodeExpr::Paren(inner) => json!({ "type": "parenExpr", "expr": to_json(inner) }),
        NodeExpr::Unary { is_minus, inner } => json!({
            "type": "unaryExpr",
            "op": if *is_minus { "-" } else { "+" },
            "expr": to_json(inner),
        }),
        NodeExpr::Binary(binary) => json!({
            "type": "binaryExpr",
            "op": binary.op.as_str(),
            "lhs": to_json(&binary.left),
            "rhs": to_json(&binary.right),
            "matching": matching_of(binary),
            "bool": binary.is_bool,
        }),
        NodeExpr::Call { func, args } => json!({
            "type": "call",
            "func": function_of(func),
            "args": args.iter().map(to_json).collect::<Vec<_>>(),
        }),
        NodeExpr::Aggregate(aggregate) => json!({
            "type": "aggregation",
            "op": aggregate.op.as_str(),
            "expr": to_json(&aggregate.inner),
            "param": aggregate.param.as_ref().map(to_json),
            "grouping": aggregate.labels,
            "without": aggregate.is_without,
        }),
        NodeExpr::Selector(selector) => selector_of("vectorSelector", selector),
        NodeExpr::Matrix { selector, range } => {
            let mut value = selector_of("matrixSelector", selector);
            value["range"] = ms_of(Some(range));
            value["rangeExpr"] = arithmetic_of(Some(range));
            value
        }
        NodeExpr::Subquery(subquery) => json!({
            "type": "subquery",
            "expr": to_json(&subquery.inner),
            "range": ms_of(Some(&subquery.range)),
            "rangeExpr": arithmetic_of(Some(&subquery.range)),
            "step": ms_of(subquery.step.as_ref()),
            "stepExpr": arithmetic_of(subquery.step.as_ref()),
            "offset": ms_of(subquery.when.offset.as_ref()),
            "offsetExpr": arithmetic_of(subquery.when.offset.as_ref()),
            "timestamp": timestamp_of(&subquery.when),
            "startOrEnd": edge_of(&subquery.when),
        }),
    }
}

fn function_of(func: &Function) -> Value {
    json!({
        "name": func.name,
        "argTypes": func.args.iter().map(|ty| ty.as_str()).collect::<Vec<_>>(),
        "variadic": func.variadic,
        "returnType": func.returns.as_str(),
    })
}

/// Prometheus shows no matching where one side is a number.
fn matching_of(binary: &Binary) -> Value {
    if binary.left.ty != Type::Vector || binary.right.ty != Type::Vector {
        return Value::Null;
    }
    let matching = &binary.matching;
    let card = match matching.card {
        Card::OneToOne => "one-to-one",
        Card::ManyToOne => "many-to-one",
        Card::OneToMany => "one-to-many",
        Card::ManyToMany => "many-to-many",
    };
    json!({
        "card": card,
        "labels": matching.labels,
        "on": matching.is_on,
        "include": matching.include,
        "fillValues": { "lhs": matching.fill_left, "rhs": matching.fill_right },
    })
}

fn selector_of(kind: &str, selector: &Selector) -> Value {
    json!({
        "type": kind,
        "name": selector.name,
        "matchers": selector.matchers.iter().map(matcher_of).collect::<Vec<_>>(),
        "offset": ms_of(selector.when.offset.as_ref()),
        "offsetExpr": arithmetic_of(selector.when.offset.as_ref()),
        "timestamp": timestamp_of(&selector.when),
        "startOrEnd": edge_of(&selector.when),
        "anchored": selector.edges == Edges::Anchored,
        "smoothed": selector.edges == Edges::Smoothed,
    })
}

fn matcher_of(matcher: &Matcher) -> Value {
    json!({ "name": matcher.name, "value": matcher.value, "type": matcher.op.as_str() })
}

/// What depends on the query has no ms yet: 0, as in Prometheus.
fn ms_of(length: Option<&Length>) -> Value {
    json!(length.and_then(Length::constant_ms).unwrap_or(0))
}

/// A duration that is more than a number; those are told in ms alone.
fn arithmetic_of(length: Option<&Length>) -> Value {
    let length = length.filter(|length| length.literal().is_none());
    length.map_or(Value::Null, length_of)
}

fn length_of(length: &Length) -> Value {
    let node = |op: &str, lhs: Option<&Length>, rhs: Option<&Length>| {
        json!({
            "type": "durationExpr",
            "op": op,
            "lhs": lhs.map(length_of),
            "rhs": rhs.map(length_of),
            "wrapped": false,
        })
    };
    if let Some((seconds, is_duration)) = length.literal() {
        let val = format_number(seconds);
        return json!({ "type": "numberLiteral", "val": val, "duration": is_duration });
    }
    match length {
        Length::Number { .. } => unreachable!("a number is a literal"),
        Length::Step => node("step", None, None),
        Length::Range => node("range", None, None),
        Length::Negate(inner) => node("-", None, Some(inner.as_ref())),
        Length::Binary(op, left, right) => {
            node(op.as_str(), Some(left.as_ref()), Some(right.as_ref()))
        }
        Length::Extreme { is_max, left, right } => {
            let op = if *is_max { "max_of" } else { "min_of" };
            node(op, Some(left.as_ref()), Some(right.as_ref()))
        }
        Length::Wrapped(inner) => {
            let mut value = length_of(inner);
            value["wrapped"] = Value::from(true);
            value
        }
    }
}

fn timestamp_of(when: &When) -> Value {
    match when.at {
        Some(At::Ms(ms)) => json!(ms),
        _ => Value::Null,
    }
}

fn edge_of(when: &When) -> Value {
    match when.at {
        Some(At::Start) => json!("start"),
        Some(At::End) => json!("end"),
        _ => Value::Null,
    }
}

/// Words of the language, true where they may be used.
pub(super) fn features(has_experimental: bool) -> Value {
    const WORDS: [&str; 12] = [
        "anchored",
        "bool",
        "by",
        "duration_expr",
        "group_left",
        "group_right",
        "ignoring",
        "negative_offset",
        "offset",
        "on",
        "smoothed",
        "without",
    ];
    const EXPERIMENTAL_WORDS: [&str; 3] = ["fill", "fill_left", "fill_right"];
    const OPERATORS: [&str; 20] = [
        "+", "-", "*", "/", "%", "^", "==", "!=", "<", "<=", ">", ">=", "</", ">/", "=~", "!~",
        "and", "or", "unless", "atan2",
    ];
    let all = |names: &[&str], is_on: bool| -> Map<String, Value> {
        names.iter().map(|name| ((*name).to_owned(), Value::from(is_on))).collect()
    };
    let mut words = all(&WORDS, true);
    words.extend(all(&EXPERIMENTAL_WORDS, has_experimental));
    let mut operators = all(&OPERATORS, true);
    for op in Aggregator::ALL {
        let is_on = has_experimental || !op.is_experimental();
        operators.insert(op.as_str().to_owned(), Value::from(is_on));
    }
    let functions = functions().iter().map(|function| {
        let is_on = has_experimental || !function.is_experimental;
        (function.name.to_owned(), Value::from(is_on))
    });
    json!({
        "promql": words,
        "promql_operators": operators,
        "promql_functions": functions.collect::<Map<_, _>>(),
    })
}
