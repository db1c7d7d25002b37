//! `printf`: the verbs of Go that make sense for texts and numbers.

use super::arithmetic::{to_float, to_int};
use super::run::OUTPUT_BYTES_MAX;
use super::value::Value;

#[derive(Debug, Default)]
struct Verb {
    is_left: bool,
    is_zero: bool,
    has_plus: bool,
    width: usize,
    precision: Option<usize>,
}

/// The widest column.
const WIDTH_MAX: usize = 1_000;

/// Formats values as Go's `fmt.Sprintf`.
pub(super) fn printf(format: &str, values: &[Value]) -> Result<String, String> {
    let mut out = String::with_capacity(format.len());
    let mut values = values.iter();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let verb = read(&mut rest);
        let Some(letter) = rest.chars().next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        rest = &rest[letter.len_utf8()..];
        if letter == '%' {
            out.push('%');
            continue;
        }
        match values.next() {
            Some(value) => push(&mut out, &verb, letter, value),
            None => out.push_str(&format!("%!{letter}(MISSING)")),
        }
        if out.len() > OUTPUT_BYTES_MAX {
            return Err(format!("it would make more than {OUTPUT_BYTES_MAX} bytes"));
        }
    }
    out.push_str(rest);
    let extra: Vec<String> =
        values.map(|value| format!("{}={}", value.type_name(), value.to_text())).collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    Ok(out)
}

fn read(rest: &mut &str) -> Verb {
    let mut verb = Verb::default();
    while let Some(flag) = rest.chars().next().filter(|c| "-+ 0#".contains(*c)) {
        match flag {
            '-' => verb.is_left = true,
            '+' => verb.has_plus = true,
            '0' => verb.is_zero = true,
            _ => {}
        }
        *rest = &rest[1..];
    }
    verb.width = number(rest).min(WIDTH_MAX);
    if let Some(behind) = rest.strip_prefix('.') {
        *rest = behind;
        verb.precision = Some(number(rest).min(WIDTH_MAX));
    }
    verb
}

fn number(rest: &mut &str) -> usize {
    let n_digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let number = rest[..n_digits].parse().unwrap_or(if n_digits > 0 { usize::MAX } else { 0 });
    *rest = &rest[n_digits..];
    number
}

fn push(out: &mut String, verb: &Verb, letter: char, value: &Value) {
    let wrong = || format!("%!{letter}({}={})", value.type_name(), value.to_text());
    let is_number = matches!(value, Value::Int(_) | Value::Float(_));
    let text = match (letter, value) {
        ('v' | 's', Value::Text(text)) => cut(text, verb.precision),
        ('v', value) => value.to_text(),
        ('s', value) if !is_number => value.to_text(),
        ('q', Value::Text(text)) => format!("{text:?}"),
        ('d', Value::Int(_)) => to_int(value).to_string(),
        ('x', Value::Int(int)) => format!("{int:x}"),
        ('X', Value::Int(int)) => format!("{int:X}"),
        ('o', Value::Int(int)) => format!("{int:o}"),
        ('b', Value::Int(int)) => format!("{int:b}"),
        ('x', Value::Text(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ('c', Value::Int(int)) => {
            u32::try_from(*int).ok().and_then(char::from_u32).map(String::from).unwrap_or_default()
        }
        ('t', Value::Bool(is_true)) => is_true.to_string(),
        ('f' | 'F', Value::Float(_)) => {
            format!("{:.*}", verb.precision.unwrap_or(6), to_float(value))
        }
        ('e', Value::Float(float)) => exponent(*float, verb.precision.unwrap_or(6)),
        ('g', Value::Float(_)) => value.to_text(),
        _ => wrong(),
    };
    let text = if verb.has_plus && is_number && !text.starts_with('-') {
        format!("+{text}")
    } else {
        text
    };
    let pad = verb.width.saturating_sub(text.chars().count());
    match (verb.is_left, verb.is_zero && is_number) {
        (true, _) => out.push_str(&format!("{text}{}", " ".repeat(pad))),
        (false, true) => {
            let n_sign = usize::from(text.starts_with(['-', '+']));
            out.push_str(&text[..n_sign]);
            out.push_str(&"0".repeat(pad));
            out.push_str(&text[n_sign..]);
        }
        (false, false) => out.push_str(&format!("{}{text}", " ".repeat(pad))),
    }
}

fn cut(text: &str, precision: Option<usize>) -> String {
    precision.map_or_else(|| text.to_owned(), |n| text.chars().take(n).collect())
}

fn exponent(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    match exponent.strip_prefix('-') {
        Some(exponent) => format!("{digits}e-{exponent:0>2}"),
        None => format!("{digits}e+{exponent:0>2}"),
    }
}
