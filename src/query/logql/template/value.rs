//! What a template computes with.

use std::fmt::Write as _;

use super::dates;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Nil,
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// ns since 1970 UTC.
    Time(i64),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

impl Value {
    /// Returns whether `if` takes it for true.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Text(text) => !text.is_empty(),
            Value::Int(int) => *int != 0,
            Value::Float(float) => *float != 0.0,
            Value::Bool(is_true) => *is_true,
            Value::Time(_) => true,
            Value::List(list) => !list.is_empty(),
            Value::Map(map) => !map.is_empty(),
        }
    }

    /// Returns the member of that name.
    pub(super) fn member(&self, name: &str) -> Result<Value, String> {
        match self {
            Value::Map(map) => {
                let found = map.iter().find(|(key, _)| key == name);
                Ok(found.map_or(Value::Nil, |(_, value)| value.clone()))
            }
            Value::Nil => Ok(Value::Nil),
            other => Err(format!("can't evaluate field {name} in type {}", other.type_name())),
        }
    }

    /// Returns Go's name of the type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "nil",
            Value::Text(_) => "string",
            Value::Int(_) => "int",
            Value::Float(_) => "float64",
            Value::Bool(_) => "bool",
            Value::Time(_) => "time.Time",
            Value::List(_) => "[]interface {}",
            Value::Map(_) => "map[string]interface {}",
        }
    }

    /// Appends the value as `print` does.
    pub(super) fn push(&self, out: &mut String) {
        match self {
            Value::Nil => out.push_str("<no value>"),
            Value::Text(text) => out.push_str(text),
            Value::Int(int) => out.push_str(itoa::Buffer::new().format(*int)),
            Value::Float(float) => push_float(out, *float),
            Value::Bool(is_true) => out.push_str(if *is_true { "true" } else { "false" }),
            Value::Time(ns) => out.push_str(&dates::format(dates::GO_STRING, *ns)),
            Value::List(list) => {
                out.push('[');
                for (idx, value) in list.iter().enumerate() {
                    out.push_str(if idx > 0 { " " } else { "" });
                    value.push(out);
                }
                out.push(']');
            }
            Value::Map(map) => {
                out.push_str("map[");
                for (idx, (key, value)) in map.iter().enumerate() {
                    out.push_str(if idx > 0 { " " } else { "" });
                    out.push_str(key);
                    out.push(':');
                    value.push(out);
                }
                out.push(']');
            }
        }
    }

    /// Returns the value as `print` shows it.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        self.push(&mut text);
        text
    }
}

/// Appends a float as Go's `%v`: an exponent below 1e-4 and from 1e21 on.
pub(super) fn push_float(out: &mut String, value: f64) {
    let magnitude = value.abs();
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else if magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').expect("`{:e}` writes an exponent");
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        write!(out, "{digits}e{sign}{exponent:0>2}").expect("writing into a string");
    } else {
        write!(out, "{value}").expect("writing into a string");
    }
}
