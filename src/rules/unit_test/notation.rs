//! How test files write series: `up{job="a"}` and `0+10x5 _ stale`.

use crate::model::{Labels, LabelsBuilder};

use super::super::STALE_BITS;

/// The most values of one series; `0x1000000000` must not fill the memory.
const VALUES_MAX: usize = 1_000_000;

/// Reads `name{label="value", …}`.
pub(super) fn labels(text: &str) -> Result<Labels, String> {
    let wrong = |reason: &str| format!("cannot read the series `{text}`: {reason}");
    let trimmed = text.trim();
    let (name, rest) = match trimmed.find('{') {
        Some(open) => (trimmed[..open].trim(), Some(&trimmed[open + 1..])),
        None => (trimmed, None),
    };
    let mut builder = LabelsBuilder::new();
    builder.set("__name__", name);
    let Some(mut rest) = rest else {
        return if name.is_empty() { Err(wrong("it is empty")) } else { Ok(builder.build()) };
    };
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            let is_end = after.trim().is_empty();
            return if is_end { Ok(builder.build()) } else { Err(wrong("text after `}`")) };
        }
        let (label, after) = rest.split_once('=').ok_or_else(|| wrong("a label has no `=`"))?;
        let (value, after) =
            quoted(after.trim_start()).ok_or_else(|| wrong("a value has no quotes"))?;
        builder.set(label.trim(), &value);
        rest = after.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

/// Reads a quoted text and returns what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'))?;
    let mut value = String::new();
    let mut chars = text[1..].char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Some((value, &text[at + 2..])),
            '\\' if quote != '`' => match chars.next()?.1 {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                'r' => value.push('\r'),
                c @ ('\\' | '"' | '\'') => value.push(c),
                c => value.extend(['\\', c]),
            },
            c => value.push(c),
        }
    }
    None
}

/// Reads a series of values; `None` is a missing one.
pub(super) fn values(text: &str) -> Result<Vec<Option<f64>>, String> {
    let mut values = Vec::new();
    for item in text.split_whitespace() {
        if item.starts_with("{{") {
            return Err(format!("`{item}`: native histograms cannot be given"));
        }
        let (item, n_times) = match item.rsplit_once('x') {
            Some((item, n)) => {
                let n =
                    n.parse::<usize>().map_err(|_| format!("`{item}x{n}` has no count after x"))?;
                (item, Some(n))
            }
            None => (item, None),
        };
        let (start, step) = value_and_step(item)?;
        // `_x3` is three missing values, but `7x3` is four sevens: the first and three more.
        let n_values = match (start, n_times) {
            (None, n) => n.unwrap_or(1),
            (Some(_), n) => n.unwrap_or(0).saturating_add(1),
        };
        if values.len().saturating_add(n_values) > VALUES_MAX {
            return Err(format!("more than {VALUES_MAX} values"));
        }
        let mut value = start;
        for _ in 0..n_values {
            values.push(value);
            if step != 0.0 {
                value = value.map(|value| value + step);
            }
        }
    }
    Ok(values)
}

/// Reads `5`, `5+2`, `5-2`, `_` or `stale`.
fn value_and_step(item: &str) -> Result<(Option<f64>, f64), String> {
    match item {
        "_" => return Ok((None, 0.0)),
        "stale" => return Ok((Some(f64::from_bits(STALE_BITS)), 0.0)),
        _ => {}
    }
    let wrong = || format!("`{item}` is not a value");
    if let Some(value) = number(item) {
        return Ok((Some(value), 0.0));
    }
    // A sign after an exponent's `e` does not begin the step.
    let signs = item.char_indices().skip(1).filter(|(_, c)| matches!(c, '+' | '-'));
    for (at, _) in signs {
        if let (Some(start), Some(step)) = (number(&item[..at]), number(&item[at..])) {
            return Ok((Some(start), step));
        }
    }
    Err(wrong())
}

fn number(text: &str) -> Option<f64> {
    // Rust reads `infinity` and `nan` in any case, as PromQL does.
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let got: Vec<String> = values(text)
            .unwrap()
            .into_iter()
            .map(|value| match value {
                None => "_".to_owned(),
                Some(value) if value.to_bits() == STALE_BITS => "stale".to_owned(),
                Some(value) => value.to_string(),
            })
            .collect();
        assert_eq!(got.join(" "), want, "{text}");
    }

    #[test]
    fn values_are_expanded() {
        check("1 2.5 -3", "1 2.5 -3");
        check("0+10x3", "0 10 20 30");
        check("5-1x3", "5 4 3 2");
        check("-5+1x2 7x2", "-5 -4 -3 7 7 7");
        check("_ _x2 stale NaN Inf -Inf", "_ _ _ stale NaN inf -inf");
        check("1e-3+1e-3x1", "0.001 0.002");
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for text in ["a", "1+x3", "1x", "{{schema:0}}", "1x99999999999"] {
            assert!(values(text).is_err(), "{text}");
        }
    }

    #[test]
    fn series_are_read() {
        let want = Labels::from_pairs([("__name__", "up"), ("a", "x,}\"y"), ("b", "z")]);

        assert_eq!(labels(r#" up{a="x,}\"y", b='z',} "#), Ok(want));
        assert_eq!(labels("{}"), Ok(Labels::empty()));
        for text in ["", "up{", "up{a}", "up{a=b}", r#"up{a="b"} x"#] {
            assert!(labels(text).is_err(), "{text}");
        }
    }
}
