//! The functions that Go's text/template has by itself.
//!
//! `and` and `or` are not here: they evaluate their arguments one by one, which `run` does.

use std::cmp::Ordering;

use super::texts::{query_escape, want};
use super::{Stop, Value, format};

const NAMES: [&str; 19] = [
    "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "slice", "print",
    "printf", "println", "html", "js", "urlquery", "call",
];

/// Returns whether a template may name this function.
pub(super) fn is_known(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Calls a function of Go's, or returns `None` when it is not one.
pub(super) fn call(name: &str, arguments: &[Value]) -> Option<Result<Value, Stop>> {
    Some(match name {
        "not" => want::<1>(arguments).map(|[value]| Value::Bool(!value.is_true())),
        "eq" => equal_any(arguments).map(Value::Bool),
        "ne" => want::<2>(arguments).and_then(|[a, b]| Ok(Value::Bool(!equal(a, b)?))),
        "lt" => compared(arguments, Ordering::is_lt),
        "le" => compared(arguments, Ordering::is_le),
        "gt" => compared(arguments, Ordering::is_gt),
        "ge" => compared(arguments, Ordering::is_ge),
        "len" => want::<1>(arguments).and_then(|[value]| length(value)),
        "index" => index(arguments),
        "slice" => slice(arguments),
        "print" => Ok(Value::text(&sprint(arguments))),
        "println" => Ok(Value::text(&sprintln(arguments))),
        "printf" => printf(arguments),
        "html" => Ok(Value::text(&escape_html(&sprint(arguments)))),
        "js" => Ok(Value::text(&escape_js(&sprint(arguments)))),
        "urlquery" => Ok(Value::text(&query_escape(&sprint(arguments)))),
        "call" => Stop::fail("there are no functions to call"),
        _ => return None,
    })
}

fn equal_any(arguments: &[Value]) -> Result<bool, Stop> {
    let [first, others @ ..] = arguments else {
        return Stop::fail("missing argument for comparison");
    };
    if others.is_empty() {
        return Stop::fail("missing argument for comparison");
    }
    for other in others {
        if equal(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal(a: &Value, b: &Value) -> Result<bool, Stop> {
    match (a, b) {
        (Value::Nil, Value::Nil) => Ok(true),
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Int(a), Value::Int(b))
        | (Value::Duration(a), Value::Duration(b))
        | (Value::Time(a), Value::Time(b)) => Ok(a == b),
        (Value::Float(a), Value::Float(b)) => Ok(a == b),
        (Value::Text(a), Value::Text(b)) => Ok(a == b),
        (Value::Labels(_) | Value::List(_) | Value::Args(_) | Value::Map(_), _)
        | (_, Value::Labels(_) | Value::List(_) | Value::Args(_) | Value::Map(_)) => {
            Stop::fail("non-comparable types")
        }
        _ => Stop::fail("incompatible types for comparison"),
    }
}

fn compared(arguments: &[Value], holds: fn(Ordering) -> bool) -> Result<Value, Stop> {
    let [a, b] = want::<2>(arguments)?;
    let order = match (a, b) {
        (Value::Int(a), Value::Int(b))
        | (Value::Duration(a), Value::Duration(b))
        | (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Bool(_) | Value::Nil, _) => return Stop::fail("invalid type for comparison"),
        _ => return Stop::fail("incompatible types for comparison"),
    };
    // Nothing is less, equal or greater than a number that is none.
    Ok(Value::Bool(order.is_some_and(holds)))
}

fn length(value: &Value) -> Result<Value, Stop> {
    let len = match value {
        Value::Text(text) => text.len(),
        Value::Labels(labels) => labels.len(),
        Value::List(values) | Value::Args(values) => values.len(),
        Value::Map(map) => map.len(),
        other => return Stop::fail(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(i64::try_from(len).unwrap_or(i64::MAX)))
}

fn index(arguments: &[Value]) -> Result<Value, Stop> {
    let [value, keys @ ..] = arguments else {
        return Stop::fail("wrong number of args: want at least 1 got 0");
    };
    let mut value = value.clone();
    for key in keys {
        value = index_one(&value, key)?;
    }
    Ok(value)
}

fn index_one(value: &Value, key: &Value) -> Result<Value, Stop> {
    match (value, key) {
        (Value::Labels(_) | Value::Args(_) | Value::Map(_), Value::Text(name)) => value.field(name),
        (Value::List(values), Value::Int(idx)) => {
            let found = usize::try_from(*idx).ok().and_then(|idx| values.get(idx));
            found.cloned().map_or_else(|| Stop::fail(format!("index out of range: {idx}")), Ok)
        }
        (Value::Text(text), Value::Int(idx)) => {
            let found = usize::try_from(*idx).ok().and_then(|idx| text.as_bytes().get(idx));
            match found {
                Some(byte) => Ok(Value::Int(i64::from(*byte))),
                None => Stop::fail(format!("index out of range: {idx}")),
            }
        }
        (value, key) => {
            Stop::fail(format!("cannot index {} with {}", value.type_name(), key.type_name()))
        }
    }
}

fn slice(arguments: &[Value]) -> Result<Value, Stop> {
    let (value, bounds) = match arguments {
        [value, bounds @ ..] if bounds.len() <= 2 => (value, bounds),
        _ => return Stop::fail("wrong number of args for slice"),
    };
    let bound = |idx: usize, default: usize| match bounds.get(idx) {
        None => Some(default),
        Some(Value::Int(at)) => usize::try_from(*at).ok(),
        Some(_) => None,
    };
    let len = match value {
        Value::Text(text) => text.len(),
        Value::List(values) => values.len(),
        other => return Stop::fail(format!("can't slice item of type {}", other.type_name())),
    };
    let (start, end) = match (bound(0, 0), bound(1, len)) {
        (Some(start), Some(end)) if start <= end && end <= len => (start, end),
        _ => return Stop::fail("index out of range"),
    };
    Ok(match value {
        Value::Text(text) => Value::text(&String::from_utf8_lossy(&text.as_bytes()[start..end])),
        Value::List(values) => Value::List(values[start..end].to_vec().into()),
        _ => Value::Nil,
    })
}

/// Go's `Sprint`: a space between two operands when neither is a text.
fn sprint(arguments: &[Value]) -> String {
    let mut output = String::new();
    let mut after_text = true;
    for value in arguments {
        let is_text = matches!(value, Value::Text(_));
        if !after_text && !is_text {
            output.push(' ');
        }
        output.push_str(&printed(value));
        after_text = is_text;
    }
    output
}

fn sprintln(arguments: &[Value]) -> String {
    let texts: Vec<String> = arguments.iter().map(printed).collect();
    texts.join(" ") + "\n"
}

fn printed(value: &Value) -> String {
    if matches!(value, Value::Nil) { "<nil>".to_owned() } else { format::print(value) }
}

fn printf(arguments: &[Value]) -> Result<Value, Stop> {
    match arguments {
        [Value::Text(text), rest @ ..] => Ok(Value::text(&format::printf(text, rest))),
        [other, ..] => {
            Stop::fail(format!("wrong type for value; expected string; got {}", other.type_name()))
        }
        [] => Stop::fail("wrong number of args for printf: want at least 1 got 0"),
    }
}

/// Escapes a text for HTML, as Go does.
pub(crate) fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            '\0' => escaped.push('\u{FFFD}'),
            c => escaped.push(c),
        }
    }
    escaped
}

fn escape_js(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '\'' => escaped.push_str("\\'"),
            '"' => escaped.push_str("\\\""),
            '<' | '>' | '&' | '=' => escaped.push_str(&format!("\\u{:04X}", u32::from(c))),
            c if c < ' ' => escaped.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => escaped.push(c),
        }
    }
    escaped
}
