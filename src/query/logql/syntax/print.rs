//! The tree as text: what `format_query` answers, and what can be parsed again.

use std::fmt::{Display, Formatter, Result, Write as _};

use super::ast::{
    Binary, BinaryOp, Conversion, Expr, Extraction, FormatSource, Grouping, LabelFilter,
    LineFilter, LogExpr, MetricExpr, NameOrMatcher, Quantity, RangeAggregation, Stage,
    VectorAggregation,
};
use crate::base::units::{format_duration_ms, format_duration_ns};
use crate::model::Matcher;
use crate::query::promql::format_value;

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Expr::Log(log) => log.fmt(f),
            Expr::Metric(metric) => metric.fmt(f),
        }
    }
}

impl Display for LogExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        push_selector(f, &self.matchers)?;
        self.stages.iter().try_for_each(|stage| write!(f, " {stage}"))
    }
}

fn push_selector(f: &mut Formatter<'_>, matchers: &[Matcher]) -> Result {
    f.write_char('{')?;
    for (idx, matcher) in matchers.iter().enumerate() {
        f.write_str(if idx > 0 { ", " } else { "" })?;
        push_matcher(f, matcher)?;
    }
    f.write_char('}')
}

fn push_matcher(f: &mut Formatter<'_>, matcher: &Matcher) -> Result {
    let is_plain = |c: char| c.is_alphanumeric() || c == '_';
    if matcher.name.chars().all(is_plain) && !matcher.name.starts_with(|c: char| c.is_numeric()) {
        f.write_str(&matcher.name)?;
    } else {
        push_text(f, &matcher.name)?;
    }
    f.write_str(matcher.op.as_str())?;
    push_text(f, &matcher.value)
}

/// Writes a text as a Go string literal.
fn push_text(f: &mut Formatter<'_>, text: &str) -> Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\U{:08x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

/// A text as a Go string literal.
pub(super) struct Text<'a>(pub(super) &'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        push_text(f, self.0)
    }
}

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Stage::Line(filter) => filter.fmt(f),
            Stage::Json(extractions) => push_parser(f, "| json", extractions),
            Stage::Logfmt { is_strict, keeps_empty, extractions } => {
                let strict = if *is_strict { " --strict" } else { "" };
                let empty = if *keeps_empty { " --keep-empty" } else { "" };
                push_parser(f, &format!("| logfmt{strict}{empty}"), extractions)
            }
            Stage::Regexp(regex) => write!(f, "| regexp {}", Text(regex)),
            Stage::Pattern(pattern) => write!(f, "| pattern {}", Text(pattern)),
            Stage::Unpack => f.write_str("| unpack"),
            Stage::Filter(filter) => write!(f, "| {filter}"),
            Stage::LineFormat(template) => write!(f, "| line_format {}", Text(template)),
            Stage::LabelFormat(formats) => {
                for (idx, format) in formats.iter().enumerate() {
                    f.write_str(if idx > 0 { ", " } else { "| label_format " })?;
                    match &format.source {
                        FormatSource::Rename(source) => write!(f, "{}={source}", format.target)?,
                        FormatSource::Template(template) => {
                            write!(f, "{}={}", format.target, Text(template))?;
                        }
                    }
                }
                Ok(())
            }
            Stage::Drop(named) => push_named(f, "| drop ", named),
            Stage::Keep(named) => push_named(f, "| keep ", named),
            Stage::Decolorize => f.write_str("| decolorize"),
            Stage::Unwrap(unwrap) => match unwrap.conversion {
                Conversion::None => write!(f, "| unwrap {}", unwrap.label),
                Conversion::Duration => write!(f, "| unwrap duration({})", unwrap.label),
                Conversion::Bytes => write!(f, "| unwrap bytes({})", unwrap.label),
            },
        }
    }
}

impl Display for LineFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(self.op.as_str())?;
        for (idx, pattern) in self.any_of.iter().enumerate() {
            f.write_str(if idx > 0 { " or " } else { " " })?;
            match pattern.is_ip {
                true => write!(f, "ip({})", Text(&pattern.text))?,
                false => push_text(f, &pattern.text)?,
            }
        }
        Ok(())
    }
}

fn push_parser(f: &mut Formatter<'_>, head: &str, extractions: &[Extraction]) -> Result {
    f.write_str(head)?;
    for (idx, Extraction { name, path }) in extractions.iter().enumerate() {
        write!(f, "{}{name}={}", if idx > 0 { ", " } else { " " }, Text(path))?;
    }
    Ok(())
}

fn push_named(f: &mut Formatter<'_>, head: &str, named: &[NameOrMatcher]) -> Result {
    for (idx, one) in named.iter().enumerate() {
        f.write_str(if idx > 0 { ", " } else { head })?;
        match one {
            NameOrMatcher::Name(name) => f.write_str(name)?,
            NameOrMatcher::Matcher(matcher) => push_matcher(f, matcher)?,
        }
    }
    Ok(())
}

impl Display for LabelFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            LabelFilter::Text(matcher) => push_matcher(f, matcher),
            LabelFilter::Number { name, op, value } => write!(f, "{name} {} {value}", op.as_str()),
            LabelFilter::Ip { name, is_negation, pattern } => {
                let op = if *is_negation { "!=" } else { "=" };
                write!(f, "{name}{op}ip({})", Text(pattern))
            }
            LabelFilter::And(left, right) => write!(f, "({left} and {right})"),
            LabelFilter::Or(left, right) => write!(f, "({left} or {right})"),
        }
    }
}

impl Display for Quantity {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Quantity::Number(number) => f.write_str(&number_text(*number)),
            Quantity::Duration(ns) => f.write_str(&format_duration_ns(*ns)),
            Quantity::Bytes(n_bytes) => write!(f, "{n_bytes}B"),
        }
    }
}

/// Writes a number as it is written in a query: without `NaN`, which is no number there.
pub(super) fn number_text(number: f64) -> String {
    if number.is_infinite() { "1e999".to_owned() } else { format_value(number) }
}

impl Display for MetricExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            MetricExpr::Number(number) => f.write_str(&number_text(*number)),
            MetricExpr::Vector(number) => write!(f, "vector({})", number_text(*number)),
            MetricExpr::Range(call) => call.fmt(f),
            MetricExpr::Aggregate(aggregate) => aggregate.fmt(f),
            MetricExpr::Binary(binary) => binary.fmt(f),
            MetricExpr::LabelReplace(replace) => write!(
                f,
                "label_replace({}, {}, {}, {}, {})",
                replace.inner,
                Text(&replace.target),
                Text(&replace.replacement),
                Text(&replace.source),
                Text(&replace.regex)
            ),
        }
    }
}

impl Display for RangeAggregation {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}(", self.func.as_str())?;
        if let Some(param) = self.param {
            write!(f, "{}, ", number_text(param))?;
        }
        write!(f, "{} {}){}", self.lines, Window(self), Grouped(self.grouping.as_ref()))
    }
}

/// `[5m] offset 1h`
pub(super) struct Window<'a>(pub(super) &'a RangeAggregation);

impl Display for Window<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "[{}]", format_duration_ms(self.0.range_ms))?;
        match self.0.offset_ms {
            0 => Ok(()),
            ms if ms < 0 => write!(f, " offset -{}", format_duration_ms(-ms)),
            ms => write!(f, " offset {}", format_duration_ms(ms)),
        }
    }
}

/// ` by (a, b)`, or nothing.
pub(super) struct Grouped<'a>(pub(super) Option<&'a Grouping>);

impl Display for Grouped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Some(Grouping { is_without, labels }) = self.0 else { return Ok(()) };
        let word = if *is_without { "without" } else { "by" };
        write!(f, " {word} ({})", labels.join(", "))
    }
}

impl Display for VectorAggregation {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}(", Aggregated(self))?;
        if let Some(param) = self.param {
            write!(f, "{}, ", number_text(param))?;
        }
        write!(f, "{})", self.inner)
    }
}

/// `sum by (a) `, what stands before the parentheses.
pub(super) struct Aggregated<'a>(pub(super) &'a VectorAggregation);

impl Display for Aggregated<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self(VectorAggregation { op, grouping, .. }) = self;
        let space = if grouping.is_some() { " " } else { "" };
        write!(f, "{}{}{space}", op.as_str(), Grouped(grouping.as_ref()))
    }
}

impl Display for Binary {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let [left, right] = operands(self);
        push_operand(f, left)?;
        write!(f, " {} ", Operator(self))?;
        push_operand(f, right)
    }
}

/// `/ on (a) group_left (b)`
pub(super) struct Operator<'a>(pub(super) &'a Binary);

impl Display for Operator<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self(Binary { op, is_bool, matching, .. }) = self;
        f.write_str(op.as_str())?;
        f.write_str(if *is_bool { " bool" } else { "" })?;
        let Some(matching) = matching else { return Ok(()) };
        let word = if matching.is_on { "on" } else { "ignoring" };
        write!(f, " {word} ({})", matching.labels.join(", "))?;
        let Some((is_left, labels)) = &matching.group else { return Ok(()) };
        let word = if *is_left { "group_left" } else { "group_right" };
        write!(f, " {word} ({})", labels.join(", "))
    }
}

/// Returns the left and the right operand, each with whether it needs parentheses, because its own
/// operator would not bind strongly enough.
pub(super) fn operands(binary: &Binary) -> [(&MetricExpr, bool); 2] {
    let is_pow = binary.op == BinaryOp::Pow;
    [(&binary.left, is_pow), (&binary.right, !is_pow)].map(|(operand, is_strict)| {
        let MetricExpr::Binary(inner) = operand else { return (operand, false) };
        let (inner, outer) = (inner.op.precedence(), binary.op.precedence());
        (operand, inner < outer || (is_strict && inner == outer))
    })
}

fn push_operand(f: &mut Formatter<'_>, (operand, needs): (&MetricExpr, bool)) -> Result {
    if needs { write!(f, "({operand})") } else { operand.fmt(f) }
}
