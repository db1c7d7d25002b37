//! The functions by name: Go's own, Loki's, and those that Loki takes from sprig.

use super::run::Run;
use super::value::Value;
use super::{arithmetic, dates, printf, texts};
use crate::query::logql::pipeline::json_value;
use crate::query::logql::units::{parse_bytes, parse_duration_ns};

/// Every function.
const NAMES: [&str; 96] = [
    "and",
    "or",
    "not",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "len",
    "index",
    "print",
    "printf",
    "println",
    "html",
    "js",
    "urlquery",
    "slice",
    "ToLower",
    "ToUpper",
    "Replace",
    "Trim",
    "TrimLeft",
    "TrimRight",
    "TrimPrefix",
    "TrimSuffix",
    "TrimSpace",
    "regexReplaceAll",
    "regexReplaceAllLiteral",
    "count",
    "urldecode",
    "urlencode",
    "bytes",
    "duration",
    "duration_seconds",
    "unixEpochMillis",
    "unixEpochNanos",
    "toDateInZone",
    "unixToTime",
    "alignLeft",
    "alignRight",
    "__line__",
    "__timestamp__",
    "b64enc",
    "b64dec",
    "lower",
    "upper",
    "title",
    "trunc",
    "substr",
    "contains",
    "hasPrefix",
    "hasSuffix",
    "indent",
    "nindent",
    "replace",
    "repeat",
    "trim",
    "trimAll",
    "trimSuffix",
    "trimPrefix",
    "int",
    "float64",
    "add",
    "sub",
    "mul",
    "div",
    "mod",
    "addf",
    "subf",
    "mulf",
    "divf",
    "max",
    "min",
    "maxf",
    "minf",
    "ceil",
    "floor",
    "round",
    "fromJson",
    "date",
    "toDate",
    "now",
    "unixEpoch",
    "default",
    "regexMatch",
    "add1",
    "quote",
    "squote",
    "cat",
    "join",
    "split",
    "ternary",
    "empty",
    "toString",
    "coalesce",
];

/// Returns true when there is a function of that name.
pub(super) fn is_function(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Calls a function.
pub(super) fn call(name: &str, args: &[Value], run: &Run<'_>) -> Result<Value, String> {
    if let Some(result) = of_go(name, args) {
        return result;
    }
    if let Some(result) = arithmetic::call(name, args) {
        return result;
    }
    if let Some(result) = texts::call(name, args, run.template) {
        return result;
    }
    if let Some(result) = of_time(name, args, run) {
        return result;
    }
    Ok(match (name, args) {
        ("__line__", []) => Value::Text(run.scope.line.to_owned()),
        ("bytes", [value]) => {
            let text = value.to_text();
            let n_bytes = parse_bytes(&text).ok_or_else(|| format!("invalid bytes: {text:?}"))?;
            Value::Float(n_bytes as f64)
        }
        ("duration" | "duration_seconds", [value]) => {
            let text = value.to_text();
            let ns = parse_duration_ns(&text);
            let ns = ns.ok_or_else(|| format!("time: invalid duration {text:?}"))?;
            Value::Float(ns as f64 / 1e9)
        }
        ("fromJson", [value]) => json_value(&value.to_text()).map_or(Value::Nil, of_json),
        ("default", [fallback, value]) => {
            if value.is_true() {
                value.clone()
            } else {
                fallback.clone()
            }
        }
        ("default", [fallback]) => fallback.clone(),
        ("empty", [value]) => Value::Bool(!value.is_true()),
        ("coalesce", values) => {
            values.iter().find(|value| value.is_true()).cloned().unwrap_or(Value::Nil)
        }
        ("ternary", [yes, no, which]) => if which.is_true() { yes } else { no }.clone(),
        ("toString", [value]) => Value::Text(value.to_text()),
        _ => return Err(format!("wrong number or kind of arguments ({})", args.len())),
    })
}

fn of_json(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(is_true) => Value::Bool(is_true),
        // As Go has them: every number is a float.
        serde_json::Value::Number(number) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Array(list) => Value::List(list.into_iter().map(of_json).collect()),
        serde_json::Value::Object(map) => {
            let mut map: Vec<_> = map.into_iter().map(|(key, v)| (key, of_json(v))).collect();
            map.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Map(map)
        }
    }
}

fn of_time(name: &str, args: &[Value], run: &Run<'_>) -> Option<Result<Value, String>> {
    let digits = |ns: i64, per: i64| Value::Text(ns.div_euclid(per).to_string());
    Some(Ok(match (name, args) {
        ("__timestamp__", []) => Value::Time(run.scope.ts_ns),
        ("now", []) => Value::Time(run.scope.now_ns),
        ("unixEpoch", [Value::Time(ns)]) => digits(*ns, 1_000_000_000),
        ("unixEpochMillis", [Value::Time(ns)]) => digits(*ns, 1_000_000),
        ("unixEpochNanos", [Value::Time(ns)]) => digits(*ns, 1),
        ("date", [Value::Text(layout), Value::Time(ns)]) => Value::Text(dates::format(layout, *ns)),
        ("date", [Value::Text(layout), value]) => match arithmetic::to_int(value) {
            seconds if seconds != 0 => {
                Value::Text(dates::format(layout, seconds.saturating_mul(1_000_000_000)))
            }
            _ => Value::Text(dates::format(layout, run.scope.now_ns)),
        },
        ("toDate", [layout, text]) => Value::Time(dates::parse(&layout.to_text(), &text.to_text())),
        // There is no table of zones here: as in Loki, a zone that is not known is UTC.
        ("toDateInZone", [layout, _, text]) => {
            Value::Time(dates::parse(&layout.to_text(), &text.to_text()))
        }
        ("unixToTime", [text]) => {
            let text = text.to_text();
            let number: Option<i64> = text.trim().parse().ok();
            let per = match text.trim().len() {
                5 => 86_400 * 1_000_000_000,
                10 => 1_000_000_000,
                13 => 1_000_000,
                16 => 1_000,
                19 => 1,
                _ => return Some(Err(format!("unable to parse time '{text}'"))),
            };
            match number.and_then(|number: i64| number.checked_mul(per)) {
                Some(ns) => Value::Time(ns),
                None => return Some(Err(format!("unable to parse time '{text}'"))),
            }
        }
        _ => return None,
    }))
}

/// The functions that every Go template has.
fn of_go(name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    let compared = |wanted: &dyn Fn(std::cmp::Ordering) -> bool| match args {
        [left, right] => compare(left, right).map(|order| Value::Bool(wanted(order))),
        _ => Err("wrong number of arguments".to_owned()),
    };
    Some(match (name, args) {
        ("not", [value]) => Ok(Value::Bool(!value.is_true())),
        ("eq", [first, rest @ ..]) if !rest.is_empty() => {
            let mut is_equal = false;
            for other in rest {
                match compare(first, other) {
                    Ok(order) => is_equal |= order.is_eq(),
                    Err(error) => return Some(Err(error)),
                }
            }
            Ok(Value::Bool(is_equal))
        }
        ("ne", _) => compared(&|order| order.is_ne()),
        ("lt", _) => compared(&|order| order.is_lt()),
        ("le", _) => compared(&|order| order.is_le()),
        ("gt", _) => compared(&|order| order.is_gt()),
        ("ge", _) => compared(&|order| order.is_ge()),
        ("len", [value]) => match value {
            Value::Text(text) => Ok(int(text.len())),
            Value::List(list) => Ok(int(list.len())),
            Value::Map(map) => Ok(int(map.len())),
            other => Err(format!("len of type {}", other.type_name())),
        },
        ("index", [value, keys @ ..]) => {
            keys.iter().try_fold(value.clone(), |value, key| element(&value, key))
        }
        ("print", values) => {
            let texts: Vec<String> = values.iter().map(Value::to_text).collect();
            Ok(Value::Text(texts.join(if values.len() > 1 { " " } else { "" })))
        }
        ("println", values) => {
            let texts: Vec<String> = values.iter().map(Value::to_text).collect();
            Ok(Value::Text(format!("{}\n", texts.join(" "))))
        }
        ("printf", [Value::Text(format), values @ ..]) => {
            printf::printf(format, values).map(Value::Text)
        }
        _ => return None,
    })
}

fn int(n: usize) -> Value {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

fn element(value: &Value, key: &Value) -> Result<Value, String> {
    match (value, key) {
        (Value::Map(_), Value::Text(name)) => value.member(name),
        (Value::List(list), Value::Int(at)) => {
            let found = usize::try_from(*at).ok().and_then(|at| list.get(at));
            found.cloned().ok_or_else(|| format!("index out of range: {at}"))
        }
        (Value::Text(text), Value::Int(at)) => {
            let found = usize::try_from(*at).ok().and_then(|at| text.as_bytes().get(at));
            let byte = found.ok_or_else(|| format!("index out of range: {at}"))?;
            Ok(Value::Int(i64::from(*byte)))
        }
        (value, _) => Err(format!("can't index item of type {}", value.type_name())),
    }
}

fn compare(left: &Value, right: &Value) -> Result<std::cmp::Ordering, String> {
    let unordered = || "incompatible types for comparison".to_owned();
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => Ok(left.cmp(right)),
        (Value::Int(left), Value::Int(right)) => Ok(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Ok(left.cmp(right)),
        (Value::Time(left), Value::Time(right)) => Ok(left.cmp(right)),
        (Value::Float(left), Value::Float(right)) => {
            Ok(left.partial_cmp(right).unwrap_or(std::cmp::Ordering::Less))
        }
        (Value::Nil, Value::Nil) => Ok(std::cmp::Ordering::Equal),
        _ => Err(unordered()),
    }
}
