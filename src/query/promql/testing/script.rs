//! Runs test scripts in the form Prometheus uses for its own:
//!
//! ```text
//! load 15s
//!   requests_total{code="200"} 0+10x5
//!
//! eval instant at 1m rate(requests_total[1m])
//!   {code="200"} 0.66666
//!
//! eval range from 0 to 1m step 30s requests_total
//!   requests_total{code="200"} 0 20 40
//!
//! eval_fail instant at 1m requests_total + on () requests_total
//!   message: many-to-many
//! ```
//!
//! `eval_ordered` also compares the order of an instant answer; `eval_warn` and `eval_info` want at
//! least one warning or info (`message:` compares its text); `clear` forgets all series.

use std::sync::Arc;
use std::time::Duration;

use crate::base::units::parse_duration_ms;
use crate::base::{Clock, ManualClock};
use crate::model::{Labels, SeriesData};

use super::super::value::format_value;
use super::super::{Answer, Budget, Engine, ParseLimits, PromqlError, Value, parse};
use super::{MemorySource, parse_series};

/// Results may differ from the script by this part of the value.
const EPSILON: f64 = 1e-6;

/// One check of a script that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ScriptFailure {
    /// Where the check stands, from 1.
    pub line: usize,
    /// What was wrong.
    pub what: String,
}

/// Runs a script; returns the number of evaluations and everything that was not as it says.
pub fn run_script(engine: &Engine, text: &str) -> (usize, Vec<ScriptFailure>) {
    let mut run = Run { engine, source: MemorySource::new(), n_evals: 0, failures: Vec::new() };
    let mut block: Option<(usize, &str)> = None;
    let mut lines: Vec<&str> = Vec::new();
    for (idx, line) in text.lines().enumerate() {
        let line = line.trim_end();
        if line.trim_start().starts_with('#') {
            continue;
        }
        if line.starts_with([' ', '\t']) && !line.trim().is_empty() {
            lines.push(line.trim());
            continue;
        }
        if let Some((at, head)) = block.take() {
            run.block(at, head, &std::mem::take(&mut lines));
        }
        if !line.is_empty() {
            block = Some((idx + 1, line));
        }
    }
    if let Some((at, head)) = block {
        run.block(at, head, &lines);
    }
    (run.n_evals, run.failures)
}

struct Run<'e> {
    engine: &'e Engine,
    source: MemorySource,
    n_evals: usize,
    failures: Vec<ScriptFailure>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Want {
    Answer,
    Ordered,
    Failure,
    Warning,
    Info,
}

/// When to evaluate: one time, or start, end and step.
#[derive(Debug, Clone, Copy)]
enum When {
    Instant(i64),
    Range(i64, i64, i64),
}

impl Run<'_> {
    fn block(&mut self, line: usize, head: &str, lines: &[&str]) {
        if let Err(what) = self.try_block(head, lines) {
            self.failures.push(ScriptFailure { line, what });
        }
    }

    fn try_block(&mut self, head: &str, lines: &[&str]) -> Result<(), String> {
        let (word, rest) = head.split_once(' ').unwrap_or((head, ""));
        let want = match word {
            "clear" => {
                self.source = MemorySource::new();
                return Ok(());
            }
            "load" => return self.load(rest, lines),
            "eval" => Want::Answer,
            "eval_ordered" => Want::Ordered,
            "eval_fail" => Want::Failure,
            "eval_warn" => Want::Warning,
            "eval_info" => Want::Info,
            _ => return Err(format!("`{word}` is not a command")),
        };
        self.n_evals += 1;
        let (when, expr) = parse_when(rest)?;
        let (messages, results): (Vec<&str>, Vec<&str>) =
            lines.iter().partition(|line| line.starts_with("message:"));
        let message = messages.first().map(|line| line["message:".len()..].trim());
        match (self.evaluate(when, expr), want) {
            (Ok(answer), Want::Failure) => Err(format!("no error but {:?}", answer.value)),
            (Err(error), Want::Failure) => check_message(message, &[error.to_string()]),
            (Err(error), _) => Err(error.to_string()),
            (Ok(answer), want) => {
                check_notes(&answer, want, message)?;
                check_answer(&answer.value, when, want, &results)
            }
        }
    }

    fn load(&mut self, step: &str, lines: &[&str]) -> Result<(), String> {
        let step_ms = parse_duration_ms(step.trim()).map_err(|error| error.to_string())?;
        for line in lines {
            let (labels, values) = parse_series(line).map_err(|error| error.to_string())?;
            self.source.push_values(&labels, 0, step_ms, &values);
        }
        Ok(())
    }

    fn evaluate(&self, when: When, expr: &str) -> Result<Answer, PromqlError> {
        let expr = parse(expr, &ParseLimits::experimental())?;
        let clock: Arc<dyn Clock> = ManualClock::at_ms(0);
        let budget = Budget::new(clock, Duration::from_secs(60));
        match when {
            When::Instant(at_ms) => self.engine.instant(&self.source, &expr, at_ms, &budget),
            When::Range(start_ms, end_ms, step_ms) => {
                self.engine.range(&self.source, &expr, start_ms, end_ms, step_ms, &budget)
            }
        }
    }
}

/// Reads `instant at 5m EXPR` or `range from 0 to 5m step 1m EXPR`.
fn parse_when(text: &str) -> Result<(When, &str), String> {
    let mut rest = text;
    let mut word = |wanted: &str| -> Result<&str, String> {
        let (word, after) = rest.trim_start().split_once(' ').ok_or("unexpected end of line")?;
        rest = after;
        if !wanted.is_empty() && word != wanted {
            return Err(format!("`{word}` where `{wanted}` was expected"));
        }
        Ok(word)
    };
    let time = |text: &str| -> Result<i64, String> {
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
        parse_duration_ms(digits).map(|ms| sign * ms).map_err(|error| error.to_string())
    };
    let when = match word("")? {
        "instant" => {
            word("at")?;
            When::Instant(time(word("")?)?)
        }
        "range" => {
            word("from")?;
            let start_ms = time(word("")?)?;
            word("to")?;
            let end_ms = time(word("")?)?;
            word("step")?;
            When::Range(start_ms, end_ms, time(word("")?)?)
        }
        other => return Err(format!("`{other}` where `instant` or `range` was expected")),
    };
    Ok((when, rest))
}

fn check_message(wanted: Option<&str>, got: &[String]) -> Result<(), String> {
    match wanted {
        Some(text) if !got.iter().any(|message| message.contains(text)) => {
            Err(format!("no message with `{text}` in {got:?}"))
        }
        _ => Ok(()),
    }
}

fn check_notes(answer: &Answer, want: Want, message: Option<&str>) -> Result<(), String> {
    let (warnings, infos) = (&answer.warnings, &answer.infos);
    match want {
        Want::Warning if warnings.is_empty() => Err("no warning".to_owned()),
        Want::Info if infos.is_empty() => Err("no info".to_owned()),
        Want::Warning => check_message(message, warnings),
        Want::Info => check_message(message, infos),
        _ if !warnings.is_empty() => Err(format!("unexpected warnings {warnings:?}")),
        _ => Ok(()),
    }
}

fn check_answer(value: &Value, when: When, want: Want, lines: &[&str]) -> Result<(), String> {
    let got = match value {
        Value::Scalar { value, .. } => return check_scalar(*value, lines),
        Value::String { value, .. } => {
            let wanted = lines.first().copied().unwrap_or("");
            let is_same = format!("{value:?}") == wanted;
            return if is_same { Ok(()) } else { Err(format!("got {value:?}, wanted {wanted}")) };
        }
        Value::Vector(samples) => {
            let rows =
                samples.iter().map(|sample| (sample.labels.clone(), vec![Some(sample.value)]));
            rows.collect::<Vec<_>>()
        }
        Value::Matrix(series) => series.iter().map(|one| row_of(one, when)).collect(),
    };
    let mut wanted = Vec::new();
    for line in lines {
        wanted.push(parse_series(line).map_err(|error| error.to_string())?);
    }
    let is_sorted = want == Want::Ordered;
    let is_same = if is_sorted { equal_rows(&got, &wanted) } else { same_rows(&got, &wanted) };
    if is_same { Ok(()) } else { Err(format!("got\n{}wanted\n{}", show(&got), show(&wanted))) }
}

type Rows = Vec<(Labels, Vec<Option<f64>>)>;

/// Spreads a series over the steps of the range, gaps included; trailing ones are left out. The
/// samples of a range vector stand as they are.
fn row_of(series: &SeriesData, when: When) -> (Labels, Vec<Option<f64>>) {
    let When::Range(start_ms, end_ms, step_ms) = when else {
        return (series.labels.clone(), series.values.iter().copied().map(Some).collect());
    };
    let mut values = Vec::new();
    let mut at_ms = start_ms;
    while at_ms <= end_ms {
        let idx = series.timestamps_ms.binary_search(&at_ms);
        values.push(idx.ok().map(|idx| series.values[idx]));
        at_ms += step_ms;
    }
    while values.last() == Some(&None) {
        values.pop();
    }
    (series.labels.clone(), values)
}

fn check_scalar(got: f64, lines: &[&str]) -> Result<(), String> {
    let wanted = match lines {
        [line] => line.parse::<f64>().map_err(|_| format!("`{line}` is not a number"))?,
        _ => return Err("a scalar is one line with one number".to_owned()),
    };
    let is_same = nearly_equal(got, wanted);
    if is_same { Ok(()) } else { Err(format!("got {}, wanted {wanted}", format_value(got))) }
}

fn nearly_equal(got: f64, wanted: f64) -> bool {
    if got.is_nan() || wanted.is_nan() {
        return got.is_nan() && wanted.is_nan();
    }
    got == wanted || (got - wanted).abs() <= EPSILON * got.abs().max(wanted.abs())
}

fn equal_rows(got: &Rows, wanted: &Rows) -> bool {
    got.len() == wanted.len()
        && got.iter().zip(wanted).all(|(got, wanted)| {
            got.0 == wanted.0
                && got.1.len() == wanted.1.len()
                && got.1.iter().zip(&wanted.1).all(|pair| match pair {
                    (Some(got), Some(wanted)) => nearly_equal(*got, *wanted),
                    (got, wanted) => got.is_none() && wanted.is_none(),
                })
        })
}

fn same_rows(got: &Rows, wanted: &Rows) -> bool {
    let sorted = |rows: &Rows| {
        let mut rows = rows.clone();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    };
    equal_rows(&sorted(got), &sorted(wanted))
}

fn show(rows: &Rows) -> String {
    let mut text = String::new();
    for (labels, values) in rows {
        let values: Vec<String> =
            values.iter().map(|value| value.map_or("_".to_owned(), format_value)).collect();
        text.push_str(&format!("  {labels} {}\n", values.join(" ")));
    }
    text
}
