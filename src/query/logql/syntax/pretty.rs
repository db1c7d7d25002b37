//! A query laid out as people do, which `format_query` answers: as in Loki, what is longer than a line
//! stands on several, broken at its stages, operators and parentheses.

use std::fmt::{Display, Error, Result, Write};

use super::ast::{
    Binary, Expr, LabelReplace, LogExpr, MetricExpr, RangeAggregation, Stage, VectorAggregation,
};
use super::print::{Aggregated, Grouped, Operator, Text, Window, number_text, operands};

/// Letters of a line that is not broken.
const LINE_CHARS_MAX: usize = 100;

impl Expr {
    /// Lays a query out over as many lines as it needs.
    pub fn pretty(&self) -> String {
        let mut out = String::new();
        match self {
            Expr::Log(log) => push_log(&mut out, log, 0),
            Expr::Metric(metric) => push_metric(&mut out, metric, 0),
        }
        out
    }
}

/// How many letters of a line are written; more than it takes are a fault.
struct Line(usize);

impl Write for Line {
    fn write_str(&mut self, text: &str) -> Result {
        self.0 += text.chars().count();
        if self.0 <= LINE_CHARS_MAX { Ok(()) } else { Err(Error) }
    }
}

fn fits(what: &impl Display) -> bool {
    write!(Line(0), "{what}").is_ok()
}

fn push(out: &mut String, level: usize, what: impl Display) {
    out.push_str(&format!("{}{what}", "  ".repeat(level)));
}

/// Adds a selector with its stages; an `unwrap` and what follows it have lines of their own.
fn push_log(out: &mut String, log: &LogExpr, level: usize) {
    let unwrap_at = log.stages.iter().position(|stage| matches!(stage, Stage::Unwrap(_)));
    let (before, unwrapped) = log.stages.split_at(unwrap_at.unwrap_or(log.stages.len()));
    let head = LogExpr { matchers: log.matchers.clone(), stages: before.to_vec() };
    if fits(&head) {
        push(out, level, head);
    } else {
        push(out, level, LogExpr { stages: Vec::new(), ..head });
        push_stages(out, before, level + 1);
    }
    for stage in unwrapped {
        out.push('\n');
        push(out, level + 1, stage);
    }
}

/// Adds stages, each on its own line but for filters of lines, of which one has as many as it takes.
fn push_stages(out: &mut String, stages: &[Stage], level: usize) {
    let mut n_filter_chars = 0;
    for stage in stages {
        let text = stage.to_string();
        let follows = n_filter_chars > 0;
        n_filter_chars = match stage {
            Stage::Line(_) => n_filter_chars + usize::from(follows) + text.chars().count(),
            _ => 0,
        };
        if follows && (1..=LINE_CHARS_MAX).contains(&n_filter_chars) {
            push(out, 0, format_args!(" {text}"));
        } else {
            out.push('\n');
            push(out, level, text);
        }
    }
}

fn push_metric(out: &mut String, metric: &MetricExpr, level: usize) {
    if fits(metric) {
        return push(out, level, metric);
    }
    match metric {
        MetricExpr::Number(_) | MetricExpr::Vector(_) => push(out, level, metric),
        MetricExpr::Range(call) => push_range(out, call, level),
        MetricExpr::Aggregate(aggregate) => push_aggregate(out, aggregate, level),
        MetricExpr::Binary(binary) => push_binary(out, binary, level),
        MetricExpr::LabelReplace(replace) => push_label_replace(out, replace, level),
    }
}

fn push_range(out: &mut String, call: &RangeAggregation, level: usize) {
    push(out, level, format_args!("{}(\n", call.func.as_str()));
    push_param(out, call.param, level + 1);
    push_log(out, &call.lines, level + 1);
    push(out, 0, format_args!(" {}\n", Window(call)));
    push(out, level, format_args!("){}", Grouped(call.grouping.as_ref())));
}

fn push_param(out: &mut String, param: Option<f64>, level: usize) {
    if let Some(param) = param {
        push(out, level, format_args!("{},\n", number_text(param)));
    }
}

fn push_aggregate(out: &mut String, aggregate: &VectorAggregation, level: usize) {
    push(out, level, format_args!("{}(\n", Aggregated(aggregate)));
    push_param(out, aggregate.param, level + 1);
    push_metric(out, &aggregate.inner, level + 1);
    out.push('\n');
    push(out, level, ')');
}

fn push_binary(out: &mut String, binary: &Binary, level: usize) {
    let [left, right] = operands(binary);
    push_operand(out, left, level + 1);
    out.push('\n');
    push(out, level, format_args!("{}\n", Operator(binary)));
    push_operand(out, right, level + 1);
}

fn push_operand(out: &mut String, (operand, needs): (&MetricExpr, bool), level: usize) {
    if !needs {
        push_metric(out, operand, level);
    } else if fits(operand) {
        push(out, level, format_args!("({operand})"));
    } else {
        push(out, level, "(\n");
        push_metric(out, operand, level + 1);
        out.push('\n');
        push(out, level, ')');
    }
}

fn push_label_replace(out: &mut String, replace: &LabelReplace, level: usize) {
    push(out, level, "label_replace(\n");
    push_metric(out, &replace.inner, level + 1);
    for text in [&replace.target, &replace.replacement, &replace.source, &replace.regex] {
        out.push_str(",\n");
        push(out, level + 1, Text(text));
    }
    out.push('\n');
    push(out, level, ')');
}
