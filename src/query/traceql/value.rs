//! The values that TraceQL compares and adds up.
//!
//! Numbers and durations are one kind of thing, a duration being its nanoseconds. What is not there
//! is nil, and nothing but `= nil` is true of it: a span without the attribute is neither equal to a
//! text nor different from it.

use std::borrow::Cow;
use std::fmt;

use regex::Regex;

use super::ast::Compare;
use crate::base::units::format_duration_ns;
use crate::model::json_read::{Json, elements};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Not there.
    Nil,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Nanoseconds.
    Duration(i64),
    /// A text.
    Text(Cow<'a, str>),
    /// OTLP's status: 0 unset, 1 ok, 2 error.
    Status(u8),
    /// OTLP's kind: 0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    Kind(u8),
    /// An attribute that is an array: equal when one element is, different when none is.
    Array(Vec<Value<'a>>),
    /// One value an event or link: whatever is asked is true when it is true of one of them.
    Each(Vec<Value<'a>>),
}

/// The names of the statuses, by their numbers.
pub(super) const STATUSES: [&str; 3] = ["unset", "ok", "error"];
/// The names of the kinds, by their numbers.
pub(super) const KINDS: [&str; 6] =
    ["unspecified", "internal", "server", "client", "producer", "consumer"];

impl<'a> Value<'a> {
    /// Reads an attribute's value; maps are their JSON.
    pub(super) fn of_json(raw: &'a str) -> Self {
        match Json::of(raw) {
            Json::Null => Value::Nil,
            Json::Bool(value) => Value::Bool(value),
            Json::Number(text) => match text.parse() {
                Ok(whole) => Value::Int(whole),
                Err(_) => text.parse().map_or(Value::Nil, Value::Float),
            },
            Json::Text(text) => Value::Text(text),
            Json::Array(array) => Value::Array(elements(array).map(Value::of_json).collect()),
            Json::Object(object) => Value::Text(Cow::Borrowed(object)),
        }
    }

    /// Returns the value without its borrowed texts.
    pub fn into_owned(self) -> Value<'static> {
        let all = |list: Vec<Value<'_>>| list.into_iter().map(Value::into_owned).collect();
        match self {
            Value::Nil => Value::Nil,
            Value::Bool(value) => Value::Bool(value),
            Value::Int(value) => Value::Int(value),
            Value::Float(value) => Value::Float(value),
            Value::Duration(value) => Value::Duration(value),
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Status(value) => Value::Status(value),
            Value::Kind(value) => Value::Kind(value),
            Value::Array(list) => Value::Array(all(list)),
            Value::Each(list) => Value::Each(all(list)),
        }
    }

    /// Returns the number that this is; a duration is its nanoseconds.
    #[expect(clippy::cast_precision_loss, reason = "TraceQL counts in doubles")]
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Value::Int(value) | Value::Duration(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            Value::Each(list) => list.first()?.number(),
            _ => None,
        }
    }

    /// Returns the first value of several.
    pub(super) fn first(self) -> Value<'a> {
        match self {
            Value::Each(list) => list.into_iter().next().unwrap_or(Value::Nil),
            one => one,
        }
    }

    /// Returns true for what a filter lets through.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Value::Bool(value) => *value,
            Value::Each(list) => list.iter().any(Value::is_true),
            _ => false,
        }
    }

    /// Returns the name of the type, as Tempo lists values.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Duration(_) => "duration",
            Value::Status(_) => "status",
            Value::Kind(_) => "kind",
            _ => "string",
        }
    }

    /// Returns the text without quotes, as values are listed and label values written.
    pub fn plain(&self) -> String {
        match self {
            Value::Text(text) => text.clone().into_owned(),
            other => other.to_string(),
        }
    }
}

/// Compares two values.
pub(super) fn compare(op: Compare, a: &Value<'_>, b: &Value<'_>) -> bool {
    match (a, b) {
        (Value::Nil, Value::Nil) => op == Compare::Equal,
        (Value::Each(list), b) => match (b, op) {
            (Value::Nil, _) => (op == Compare::Equal) == list.is_empty(),
            _ => list.iter().any(|a| compare(op, a, b)),
        },
        (a, Value::Each(list)) => list.iter().any(|b| compare(op, a, b)),
        (Value::Nil, _) => false,
        (_, Value::Nil) => op == Compare::NotEqual,
        (Value::Array(list), b) if !matches!(b, Value::Array(_)) => match op {
            Compare::NotEqual => !list.iter().any(|a| compare(Compare::Equal, a, b)),
            _ => list.iter().any(|a| compare(op, a, b)),
        },
        (a, Value::Array(_)) if !matches!(a, Value::Array(_)) => compare(op.turned(), b, a),
        _ => compare_alike(op, a, b),
    }
}

fn compare_alike(op: Compare, a: &Value<'_>, b: &Value<'_>) -> bool {
    if let (Some(a), Some(b)) = (a.number(), b.number()) {
        return op.holds(a.partial_cmp(&b));
    }
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => op.holds(Some(a.cmp(b))),
        (Value::Bool(a), Value::Bool(b)) if op.is_equality() => op.holds(Some(a.cmp(b))),
        (Value::Status(a), Value::Status(b)) | (Value::Kind(a), Value::Kind(b))
            if op.is_equality() =>
        {
            op.holds(Some(a.cmp(b)))
        }
        (Value::Array(a), Value::Array(b)) if op.is_equality() => {
            (a == b) == (op == Compare::Equal)
        }
        _ => false,
    }
}

/// Returns true for a text, or a list with one, that a pattern matches, or does not match.
pub(super) fn matches(value: &Value<'_>, regex: &Regex, is_negated: bool) -> bool {
    match value {
        Value::Text(text) => regex.is_match(text) != is_negated,
        Value::Each(list) => list.iter().any(|one| matches(one, regex, is_negated)),
        // As with `!=`: true when no element matches.
        Value::Array(list) if is_negated => list.iter().all(|one| matches(one, regex, true)),
        Value::Array(list) => list.iter().any(|one| matches(one, regex, false)),
        _ => false,
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("nil"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{}", Decimal(*value)),
            Value::Duration(ns) => f.write_str(&format_duration_ns(*ns)),
            Value::Text(text) => f.write_str(&quoted(text)),
            Value::Status(value) => f.write_str(STATUSES[usize::from(*value).min(2)]),
            Value::Kind(value) => f.write_str(KINDS[usize::from(*value).min(5)]),
            Value::Array(list) | Value::Each(list) => {
                let texts: Vec<String> = list.iter().map(Value::plain).collect();
                f.write_str(&texts.join(", "))
            }
        }
    }
}

/// A double that is read back as a double: never like a whole number.
struct Decimal(f64);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ryu::Buffer::new().format(self.0))
    }
}

/// Writes a text as Go quotes it, which is how TraceQL reads it.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => out.push_str(&format!("\\x{:02x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
