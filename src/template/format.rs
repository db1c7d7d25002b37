//! How Go writes values: `%v`, the verbs of `printf`, numbers, times and durations.

use chrono::{DateTime, Timelike};

use super::Value;
use crate::base::units::format_duration_ns;

/// The most bytes that one `printf` may write, and the widest field.
const PRINTF_BYTES_MAX: usize = 64 << 10;

/// Returns the value as `{{ . }}` prints it.
pub(crate) fn print(value: &Value) -> String {
    match value {
        Value::Nil => "<no value>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => float_g(*value, None),
        Value::Text(text) | Value::Safe(text) => text.to_string(),
        Value::Labels(labels) => {
            let pairs: Vec<String> = labels.iter().map(|(n, v)| format!("{n}:{v}")).collect();
            format!("map[{}]", pairs.join(" "))
        }
        Value::Record(fields) => {
            let values: Vec<String> = fields.iter().map(|(_, v)| print(v)).collect();
            format!("{{{}}}", values.join(" "))
        }
        Value::Args(values) => {
            let named = values.iter().enumerate();
            let pairs: Vec<String> = named.map(|(i, v)| format!("arg{i}:{}", print(v))).collect();
            format!("map[{}]", pairs.join(" "))
        }
        Value::Map(map) => {
            let pairs: Vec<String> = map.iter().map(|(n, v)| format!("{n}:{}", print(v))).collect();
            format!("map[{}]", pairs.join(" "))
        }
        // A run puts the host's data in its place before it is printed.
        Value::Root => "{}".to_owned(),
        Value::List(values) => {
            let values: Vec<String> = values.iter().map(print).collect();
            format!("[{}]", values.join(" "))
        }
        Value::Time(ns) => time(*ns),
        Value::Zoned(ns, zone) => {
            super::dates::format("2006-01-02 15:04:05.999999999 -0700 MST", *ns, *zone)
        }
        Value::Duration(ns) => format_duration_ns(*ns),
    }
}

/// Writes a number in `%e` with the fewest digits that read back to the same number, as
/// Prometheus writes the value of an alert: `1e+00`.
pub fn format_float_exponent(value: f64) -> String {
    special(value).unwrap_or_else(|| go_exponent(&format!("{value:e}")))
}

fn special(value: f64) -> Option<String> {
    match value {
        _ if value.is_nan() => Some("NaN".to_owned()),
        f64::INFINITY => Some("+Inf".to_owned()),
        f64::NEG_INFINITY => Some("-Inf".to_owned()),
        _ => None,
    }
}

/// Gives Rust's `1.5e-7` Go's exponent of a sign and at least two digits: `1.5e-07`.
fn go_exponent(rust: &str) -> String {
    let (digits, exponent) = rust.split_once('e').unwrap_or((rust, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// Writes a number in `%g`: `precision` significant digits, or as few as are needed.
pub(super) fn float_g(value: f64, precision: Option<usize>) -> String {
    if let Some(text) = special(value) {
        return text;
    }
    let scientific = match precision {
        Some(precision) => format!("{value:.*e}", precision.max(1) - 1),
        None => format!("{value:e}"),
    };
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    };
    // Go's strconv decides as if the shortest form had six digits: 1234567 prints as 1.234567e+06.
    let threshold = precision.map_or(6, |p| i32::try_from(p.max(1)).unwrap_or(i32::MAX));
    if exponent < -4 || exponent >= threshold {
        return go_exponent(&format!("{digits}e{exponent}"));
    }
    let n_digits = digits.chars().filter(char::is_ascii_digit).count();
    let n_digits = i32::try_from(n_digits).unwrap_or(i32::MAX);
    let decimals = usize::try_from(n_digits - 1 - exponent).unwrap_or(0);
    format!("{:.*}", decimals, format!("{digits}e{exponent}").parse().unwrap_or(value))
}

/// Writes a time as Go prints it in UTC.
pub(super) fn time(ns: i64) -> String {
    let time = DateTime::from_timestamp_nanos(ns);
    let fraction = format!("{:09}", time.nanosecond());
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    format!("{}{dot}{fraction} +0000 UTC", time.format("%Y-%m-%d %H:%M:%S"))
}

/// What stands between `%` and the verb.
#[derive(Default)]
struct Directive {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

/// Returns what Go's `Sprintf` does, wrong arguments included: `%!d(string=x)`.
pub(super) fn printf(format: &str, arguments: &[Value]) -> String {
    let mut output = String::new();
    let mut rest = format;
    let mut arguments = arguments.iter();
    while let Some(percent) = rest.find('%') {
        output.push_str(&rest[..percent]);
        let (directive, after) = directive(&rest[percent + 1..]);
        let Some(verb) = after.chars().next() else {
            output.push_str("%!(NOVERB)");
            rest = "";
            break;
        };
        rest = &after[verb.len_utf8()..];
        match (verb, arguments.len()) {
            ('%', _) => output.push('%'),
            (_, 0) => output.push_str(&format!("%!{verb}(MISSING)")),
            _ => {
                let argument = arguments.next().unwrap_or(&Value::Nil);
                output.push_str(&pad(&directive, &formatted(&directive, verb, argument)));
            }
        }
        if output.len() > PRINTF_BYTES_MAX {
            return output; // The caller refuses it.
        }
    }
    output.push_str(rest);
    let extra: Vec<String> = arguments.map(|v| format!("{}={}", v.type_name(), print(v))).collect();
    if !extra.is_empty() {
        output.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    output
}

fn directive(text: &str) -> (Directive, &str) {
    let mut directive = Directive::default();
    let mut rest = text;
    while let Some(flag) = rest.chars().next() {
        match flag {
            '-' => directive.minus = true,
            '+' => directive.plus = true,
            '#' => directive.sharp = true,
            ' ' => directive.space = true,
            '0' => directive.zero = true,
            _ => break,
        }
        rest = &rest[1..];
    }
    (directive.width, rest) = count(rest);
    if let Some(after) = rest.strip_prefix('.') {
        let (precision, after) = count(after);
        directive.precision = Some(precision);
        rest = after;
    }
    (directive, rest)
}

/// Reads a width or precision; a huge one is cut to what output may be.
fn count(text: &str) -> (usize, &str) {
    let n_digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let value = text[..n_digits].parse().unwrap_or(if n_digits == 0 { 0 } else { usize::MAX });
    (value.min(PRINTF_BYTES_MAX), &text[n_digits..])
}

fn pad(directive: &Directive, text: &str) -> String {
    let n_chars = text.chars().count();
    let n_missing = directive.width.saturating_sub(n_chars);
    // Go pads what is not a number with zeros as well, but not what is no finite number.
    let finite = !text.ends_with("Inf") && !text.ends_with("NaN");
    if directive.minus {
        return format!("{text}{}", " ".repeat(n_missing));
    }
    if directive.zero && finite {
        let (sign, digits) = match text.strip_prefix(['-', '+']) {
            Some(digits) => text.split_at(text.len() - digits.len()),
            None => ("", text),
        };
        return format!("{sign}{}{digits}", "0".repeat(n_missing));
    }
    format!("{}{text}", " ".repeat(n_missing))
}

fn formatted(directive: &Directive, verb: char, value: &Value) -> String {
    match (verb, value) {
        ('v', Value::Float(number)) => signed(directive, float_g(*number, directive.precision)),
        ('v', Value::Int(number)) => signed(directive, number.to_string()),
        ('v', Value::Nil) => "<nil>".to_owned(),
        ('v', other) => print(other),
        ('T', other) => other.type_name().to_owned(),
        ('t', Value::Bool(value)) => value.to_string(),
        ('q', Value::Text(text)) => go_quoted(text),
        ('s', Value::Text(text)) => cut(directive, text),
        ('s', Value::List(_) | Value::Labels(_) | Value::Args(_) | Value::Time(_)) => print(value),
        ('s', Value::Duration(_)) => print(value),
        ('x' | 'X', Value::Text(text)) => {
            let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
            if verb == 'X' { hex.to_uppercase() } else { hex }
        }
        (_, Value::Float(number)) => {
            float_verb(directive, verb, *number).unwrap_or_else(|| wrong(verb, value))
        }
        (_, Value::Int(number) | Value::Duration(number)) => {
            int_verb(directive, verb, *number).unwrap_or_else(|| wrong(verb, value))
        }
        _ => wrong(verb, value),
    }
}

fn wrong(verb: char, value: &Value) -> String {
    match value {
        Value::Nil => format!("%!{verb}(<nil>)"),
        other => format!("%!{verb}({}={})", other.type_name(), print(other)),
    }
}

fn cut(directive: &Directive, text: &str) -> String {
    match directive.precision {
        Some(n_chars) => text.chars().take(n_chars).collect(),
        None => text.to_owned(),
    }
}

fn signed(directive: &Directive, text: String) -> String {
    match (text.starts_with(['-', '+']), directive.plus, directive.space) {
        (false, true, _) => format!("+{text}"),
        (false, false, true) => format!(" {text}"),
        _ => text,
    }
}

fn float_verb(directive: &Directive, verb: char, number: f64) -> Option<String> {
    let precision = directive.precision;
    let text = match verb {
        'f' | 'F' | 'e' | 'E' if special(number).is_some() => special(number)?,
        'f' | 'F' => format!("{number:.*}", precision.unwrap_or(6)),
        'e' | 'E' => go_exponent(&format!("{number:.*e}", precision.unwrap_or(6))),
        'g' | 'G' => float_g(number, precision),
        _ => return None,
    };
    let text = if verb.is_uppercase() { text.to_uppercase() } else { text };
    Some(signed(directive, text))
}

fn int_verb(directive: &Directive, verb: char, number: i64) -> Option<String> {
    let size = number.unsigned_abs();
    let digits = match verb {
        'd' => size.to_string(),
        'x' => format!("{size:x}"),
        'X' => format!("{size:X}"),
        'o' => format!("{size:o}"),
        'b' => format!("{size:b}"),
        'c' => return char::from_u32(u32::try_from(number).ok()?).map(String::from),
        _ => return None,
    };
    let prefix = if directive.sharp && matches!(verb, 'x' | 'X') { "0x" } else { "" };
    let sign = if number < 0 { "-" } else { "" };
    Some(signed(directive, format!("{sign}{prefix}{digits}")))
}

/// Quotes a text as Go's `%q` does.
pub(super) fn go_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
