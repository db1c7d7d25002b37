//! Functions of numbers. As in sprig, whatever is not a number counts as 0.

use crate::template::Value;

/// Calls a function of numbers, when that is one.
pub(super) fn call(name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    let ints = || args.iter().map(to_int);
    let floats = || args.iter().map(to_float);
    let non_zero = |by: &Value| match to_int(by) {
        0 => Err("division by zero".to_owned()),
        by => Ok(by),
    };
    Some(Ok(match (name, args) {
        ("int", [value]) => Value::Int(to_int(value)),
        ("float64", [value]) => Value::Float(to_float(value)),
        ("add", _) => Value::Int(ints().fold(0, i64::wrapping_add)),
        ("add1", [value]) => Value::Int(to_int(value).wrapping_add(1)),
        ("sub", [left, right]) => Value::Int(to_int(left).wrapping_sub(to_int(right))),
        ("mul", _) => Value::Int(ints().fold(1, i64::wrapping_mul)),
        ("div", [left, right]) => match non_zero(right) {
            Ok(by) => Value::Int(to_int(left).wrapping_div(by)),
            Err(error) => return Some(Err(error)),
        },
        ("mod", [left, right]) => match non_zero(right) {
            Ok(by) => Value::Int(to_int(left).wrapping_rem(by)),
            Err(error) => return Some(Err(error)),
        },
        ("addf", _) => Value::Float(floats().sum()),
        ("subf", [first, rest @ ..]) => {
            Value::Float(to_float(first) - rest.iter().map(to_float).sum::<f64>())
        }
        ("mulf", _) => Value::Float(floats().product()),
        ("divf", [first, rest @ ..]) => {
            Value::Float(rest.iter().map(to_float).fold(to_float(first), |a, b| a / b))
        }
        ("max", _) => Value::Int(ints().max().unwrap_or(0)),
        ("min", _) => Value::Int(ints().min().unwrap_or(0)),
        ("maxf", _) => Value::Float(floats().fold(f64::NEG_INFINITY, f64::max)),
        ("minf", _) => Value::Float(floats().fold(f64::INFINITY, f64::min)),
        ("ceil", [value]) => Value::Float(to_float(value).ceil()),
        ("floor", [value]) => Value::Float(to_float(value).floor()),
        ("round", [value, places, ..]) => {
            let factor = 10_f64.powf(to_float(places));
            Value::Float((to_float(value) * factor).round() / factor)
        }
        _ => return None,
    }))
}

/// Returns a value as a whole number.
#[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates, as wanted here")]
pub(super) fn to_int(value: &Value) -> i64 {
    match value {
        Value::Int(int) => *int,
        Value::Float(float) => *float as i64,
        Value::Bool(is_true) => i64::from(*is_true),
        Value::Text(text) => {
            let text = text.trim();
            text.parse().unwrap_or_else(|_| text.parse::<f64>().unwrap_or(0.0) as i64)
        }
        Value::Time(ns) => ns.div_euclid(1_000_000_000),
        Value::Duration(ns) => *ns,
        _ => 0,
    }
}

/// Returns a value as a float.
pub(super) fn to_float(value: &Value) -> f64 {
    match value {
        Value::Float(float) => *float,
        Value::Text(text) => text.trim().parse().unwrap_or(0.0),
        other => to_int(other) as f64,
    }
}
