//! Tree to text: on one line as Prometheus prints it, or laid out for people (`format_query`).

use std::fmt;

use crate::model::labels::METRIC_NAME;
use crate::model::names::is_label_name;
use crate::model::{MatchOp, Matcher};

use super::super::value::{format_number, format_value};
use super::ast::{Aggregate, At, Binary, Card, Edges, Node, NodeExpr, Selector, When};
use super::lengths::format_seconds;
use super::quoting::quoted;

/// The longest line that is left as it is.
const LINE_CHARS_MAX: usize = 100;

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.expr {
            NodeExpr::Number { value, is_duration: true } => f.write_str(&format_seconds(*value)),
            NodeExpr::Number { value, .. } => f.write_str(&format_number(*value)),
            NodeExpr::Text(text) => f.write_str(&quoted(text)),
            NodeExpr::Paren(inner) => write!(f, "({inner})"),
            NodeExpr::Unary { is_minus, inner } => {
                write!(f, "{}{inner}", if *is_minus { "-" } else { "+" })
            }
            NodeExpr::Binary(binary) => {
                write!(f, "{} {} {}", binary.left, operator(binary), binary.right)
            }
            NodeExpr::Call { func, args } => write!(f, "{}({})", func.name, joined(args)),
            NodeExpr::Aggregate(aggregate) => {
                write!(f, "{}(", head_of(aggregate))?;
                if let Some(param) = &aggregate.param {
                    write!(f, "{param}, ")?;
                }
                write!(f, "{})", aggregate.inner)
            }
            NodeExpr::Selector(selector) => {
                write!(f, "{}{}", bare(selector), at_of(&selector.when))?;
                write!(f, "{}{}", edges_of(selector), offset_of(&selector.when))
            }
            NodeExpr::Matrix { selector, range } => {
                write!(f, "{}[{range}]{}", bare(selector), edges_of(selector))?;
                write!(f, "{}{}", at_of(&selector.when), offset_of(&selector.when))
            }
            NodeExpr::Subquery(subquery) => write!(f, "{}{}", subquery.inner, suffix_of(self)),
        }
    }
}

fn joined(args: &[Node]) -> String {
    args.iter().map(Node::to_string).collect::<Vec<_>>().join(", ")
}

fn operator(binary: &Binary) -> String {
    let mut out = binary.op.as_str().to_owned();
    if binary.is_bool {
        out.push_str(" bool");
    }
    let matching = &binary.matching;
    let is_grouped = matches!(matching.card, Card::ManyToOne | Card::OneToMany);
    if matching.is_on || is_grouped || !matching.labels.is_empty() {
        let word = if matching.is_on { "on" } else { "ignoring" };
        out.push_str(&format!(" {word} ({})", names(&matching.labels)));
    }
    if is_grouped {
        let side = if matching.card == Card::ManyToOne { "left" } else { "right" };
        out.push_str(&format!(" group_{side} ({})", names(&matching.include)));
    }
    match (matching.fill_left, matching.fill_right) {
        (Some(left), Some(right)) if left.to_bits() == right.to_bits() => {
            out.push_str(&format!(" fill ({})", format_value(left)));
        }
        (left, right) => {
            for (side, value) in [("left", left), ("right", right)] {
                if let Some(value) = value {
                    out.push_str(&format!(" fill_{side} ({})", format_value(value)));
                }
            }
        }
    }
    out
}

fn head_of(aggregate: &Aggregate) -> String {
    let (op, labels) = (aggregate.op.as_str(), names(&aggregate.labels));
    if aggregate.is_without {
        format!("{op} without ({labels}) ")
    } else if aggregate.labels.is_empty() {
        op.to_owned()
    } else {
        format!("{op} by ({labels}) ")
    }
}

fn names(labels: &[String]) -> String {
    labels.iter().map(|label| name_of(label)).collect::<Vec<_>>().join(", ")
}

/// Quotes a label's name unless it can stand as it is.
fn name_of(label: &str) -> String {
    if is_label_name(label) { label.to_owned() } else { quoted(label) }
}

fn matcher_of(matcher: &Matcher) -> String {
    format!("{}{}{}", name_of(&matcher.name), matcher.op.as_str(), quoted(&matcher.value))
}

/// Prints a selector without what stands after it.
fn bare(selector: &Selector) -> String {
    let is_named = |m: &&Matcher| {
        m.name == METRIC_NAME
            && m.op == MatchOp::Eq
            && !m.value.is_empty()
            && m.value == selector.name
    };
    let others = selector.matchers.iter().filter(|matcher| !is_named(matcher));
    let mut matchers: Vec<String> = others.map(matcher_of).collect();
    matchers.sort();
    if matchers.is_empty() && !selector.name.is_empty() {
        return selector.name.clone();
    }
    format!("{}{{{}}}", selector.name, matchers.join(","))
}

fn edges_of(selector: &Selector) -> &'static str {
    match selector.edges {
        Edges::Extrapolated => "",
        Edges::Anchored => " anchored",
        Edges::Smoothed => " smoothed",
    }
}

fn at_of(when: &When) -> String {
    match when.at {
        None => String::new(),
        Some(At::Start) => " @ start()".to_owned(),
        Some(At::End) => " @ end()".to_owned(),
        Some(At::Ms(ms)) => {
            let (sign, ms) = (if ms < 0 { "-" } else { "" }, ms.unsigned_abs());
            format!(" @ {sign}{}.{:03}", ms / 1000, ms % 1000)
        }
    }
}

fn offset_of(when: &When) -> String {
    when.offset.as_ref().map_or_else(String::new, |offset| format!(" offset {offset}"))
}

fn suffix_of(node: &Node) -> String {
    let NodeExpr::Subquery(subquery) = &node.expr else { return String::new() };
    let step = subquery.step.as_ref().map_or_else(String::new, ToString::to_string);
    let (at, offset) = (at_of(&subquery.when), offset_of(&subquery.when));
    format!("[{}:{step}]{at}{offset}", subquery.range)
}

/// Lays a tree out as people do: what is longer than a line is broken at its brackets and operators.
pub(super) fn pretty(node: &Node, level: usize) -> String {
    let indent = "  ".repeat(level);
    let line = node.to_string();
    if line.chars().count() <= LINE_CHARS_MAX {
        return format!("{indent}{line}");
    }
    let below = |node: &Node| pretty(node, level + 1);
    match &node.expr {
        NodeExpr::Aggregate(aggregate) => {
            let param = aggregate.param.iter().map(|param| format!("{},\n", below(param)));
            let param: String = param.collect();
            let (head, inner) = (head_of(aggregate), below(&aggregate.inner));
            format!("{indent}{head}(\n{param}{inner}\n{indent})")
        }
        NodeExpr::Binary(binary) => {
            let (left, right) = (below(&binary.left), below(&binary.right));
            format!("{left}\n{indent}{}\n{right}", operator(binary))
        }
        NodeExpr::Call { func, args } => {
            let args: Vec<String> = args.iter().map(below).collect();
            format!("{indent}{}(\n{}\n{indent})", func.name, args.join(",\n"))
        }
        NodeExpr::Paren(inner) => format!("{indent}(\n{}\n{indent})", below(inner)),
        NodeExpr::Subquery(subquery) => {
            format!("{}{}", pretty(&subquery.inner, level), suffix_of(node))
        }
        NodeExpr::Unary { is_minus, inner } => {
            let sign = if *is_minus { "-" } else { "+" };
            format!("{indent}{sign}{}", pretty(inner, level).trim_start())
        }
        NodeExpr::Number { .. }
        | NodeExpr::Text(_)
        | NodeExpr::Selector(_)
        | NodeExpr::Matrix { .. } => format!("{indent}{line}"),
    }
}
