//! Prometheus' notation for series in tests: `up{job="a"} 0+1x3 _ stale NaN`.

use crate::model::labels::METRIC_NAME;
use crate::model::metric::stale_marker;
use crate::model::{Labels, LabelsBuilder};

use super::super::parse::quoting::unquote;

/// Text that is not in the notation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}`: {what}")]
pub struct NotationError {
    text: String,
    what: &'static str,
}

fn wrong(text: &str, what: &'static str) -> NotationError {
    NotationError { text: text.to_owned(), what }
}

/// The most values one word may stand for.
const REPEATS_MAX: usize = 1_000_000;

/// Reads a series and its values, one a step; `None` is a gap.
pub fn parse_series(text: &str) -> Result<(Labels, Vec<Option<f64>>), NotationError> {
    let (labels, rest) = split_labels(text.trim())?;
    Ok((labels, parse_values(rest)?))
}

/// Reads a label set: `up{job="a"}`, `{job="a"}`, `up` or `{}`.
pub fn parse_labels(text: &str) -> Result<Labels, NotationError> {
    match split_labels(text.trim())? {
        (labels, "") => Ok(labels),
        (_, rest) => Err(wrong(rest, "unexpected text after the labels")),
    }
}

/// Reads values: numbers, `start+stepxN` (N+1 values), `valuexN` (N+1 values), `_` and `_xN` for
/// gaps, `stale`, `NaN`, `Inf`, `-Inf`.
pub fn parse_values(text: &str) -> Result<Vec<Option<f64>>, NotationError> {
    let mut values = Vec::new();
    for word in text.split_whitespace() {
        parse_word(word, &mut values)?;
    }
    Ok(values)
}

fn parse_word(word: &str, values: &mut Vec<Option<f64>>) -> Result<(), NotationError> {
    if word.starts_with("{{") {
        return Err(wrong(word, "native histograms are not supported here"));
    }
    let (pattern, n_repeats) = match word.rsplit_once('x') {
        None => (word, None),
        Some((pattern, count)) => {
            let count: usize = count.parse().map_err(|_| wrong(word, "not a count after `x`"))?;
            if count > REPEATS_MAX {
                return Err(wrong(word, "more than a million repeats"));
            }
            (pattern, Some(count))
        }
    };
    if values.len() + n_repeats.unwrap_or(0) > REPEATS_MAX {
        return Err(wrong(word, "more than a million values"));
    }
    match (pattern, n_repeats) {
        ("_", n) => values.extend(std::iter::repeat_n(None, n.unwrap_or(1))),
        ("stale", n) => {
            values.extend(std::iter::repeat_n(Some(stale_marker()), n.unwrap_or(0) + 1));
        }
        (pattern, None) => values.push(Some(number(pattern)?)),
        (pattern, Some(n)) => {
            let (mut value, step) = start_and_step(pattern)?;
            for _ in 0..=n {
                values.push(Some(value));
                value += step;
            }
        }
    }
    Ok(())
}

/// Splits `0+10`, `5-1` or `7`; a sign in an exponent or at the start is part of the number.
fn start_and_step(pattern: &str) -> Result<(f64, f64), NotationError> {
    let bytes = pattern.as_bytes();
    let sign = (1..bytes.len()).find(|idx| {
        matches!(bytes[*idx], b'+' | b'-') && !bytes[idx - 1].eq_ignore_ascii_case(&b'e')
    });
    match sign {
        None => Ok((number(pattern)?, 0.0)),
        Some(idx) => Ok((number(&pattern[..idx])?, number(&pattern[idx..])?)),
    }
}

fn number(text: &str) -> Result<f64, NotationError> {
    text.parse().map_err(|_| wrong(text, "not a number"))
}

/// Reads a label set and returns the text after it.
fn split_labels(text: &str) -> Result<(Labels, &str), NotationError> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let name_len = text.find(|c| !is_name(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(name_len);
    let mut builder = LabelsBuilder::new();
    builder.set(METRIC_NAME, name);
    let rest = match rest.strip_prefix('{') {
        Some(inside) => split_pairs(inside, &mut builder)?,
        None if name.is_empty() => return Err(wrong(text, "no series here")),
        None => rest,
    };
    Ok((builder.build(), rest.trim()))
}

fn split_pairs<'t>(text: &'t str, builder: &mut LabelsBuilder) -> Result<&'t str, NotationError> {
    let mut rest = text.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Ok(after);
        }
        let is_quoted = rest.starts_with('"');
        let (name, after) = if is_quoted {
            split_string(rest)?
        } else {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
            (name.to_owned(), after)
        };
        rest = after.trim_start();
        match rest.strip_prefix('=') {
            Some(after) if !name.is_empty() => {
                let (value, after) = split_string(after.trim_start())?;
                builder.set(&name, &value);
                rest = after.trim_start();
            }
            // A quoted name alone is the metric's.
            None if is_quoted && rest.starts_with([',', '}']) => {
                builder.set(METRIC_NAME, &name);
            }
            _ => return Err(wrong(rest, "expected name=\"value\"")),
        }
        rest = match rest.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None if rest.starts_with('}') => rest,
            None => return Err(wrong(rest, "expected `,` or `}`")),
        };
    }
}

/// Reads a quoted string and returns the text after it.
fn split_string(text: &str) -> Result<(String, &str), NotationError> {
    let not_a_string = || wrong(text, "expected a quoted string");
    let quote = text.chars().next().filter(|c| ['"', '\''].contains(c)).ok_or_else(not_a_string)?;
    let mut is_escaped = false;
    for (idx, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == quote => {
                let value = unquote(&text[..=idx]);
                return Ok((value.ok_or_else(not_a_string)?, &text[idx + 1..]));
            }
            _ => {}
        }
    }
    Err(not_a_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_values(text: &str, want: &[f64]) {
        let got: Vec<f64> =
            parse_values(text).unwrap().into_iter().map(|v| v.unwrap_or(-1.0)).collect();
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn values_are_read() {
        check_values("1 2.5 1e3", &[1.0, 2.5, 1000.0]);
        check_values("0+10x3", &[0.0, 10.0, 20.0, 30.0]);
        check_values("5-1x2", &[5.0, 4.0, 3.0]);
        check_values("-2-2x1", &[-2.0, -4.0]);
        check_values("1e-1x1", &[0.1, 0.1]);
        check_values("7x2", &[7.0, 7.0, 7.0]);
        check_values("_ 1 _x2 2", &[-1.0, 1.0, -1.0, -1.0, 2.0]);
        check_values("Inf", &[f64::INFINITY]);
    }

    #[test]
    fn stale_and_nan_are_different() {
        let values = parse_values("stale NaN").unwrap();

        assert!(crate::model::metric::is_stale(values[0].unwrap()));
        assert!(values[1].unwrap().is_nan());
        assert!(!crate::model::metric::is_stale(values[1].unwrap()));
    }

    #[test]
    fn series_are_read() {
        let (labels, values) = parse_series(r#"up{job="a\"b", "odd name"='x',} 1 2"#).unwrap();

        assert_eq!(labels.get("job"), Some("a\"b"));
        assert_eq!(labels.get("odd name"), Some("x"));
        assert_eq!((labels.metric(), values.len()), ("up", 2));
        assert_eq!(parse_labels(r#"{"a.b"}"#).unwrap().metric(), "a.b");
        assert_eq!(parse_labels("{}"), Ok(Labels::empty()));
    }

    #[test]
    fn what_is_not_a_series_is_refused() {
        for text in ["", "{", "up{job}", "up{job=a}", "up{=\"a\"}", "up 1x", "up 1y", "up {{}}"] {
            assert!(parse_series(text).is_err(), "{text}");
        }
    }
}
