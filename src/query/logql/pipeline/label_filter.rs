//! Conditions on labels: texts, numbers with their units, addresses.
//!
//! A label that is not there has the empty text, but no number. A text that is not the number it
//! should be is not filtered out: the line passes with an `__error__`, and a line that has one
//! passes every condition but those on texts, so that it can be asked for.

use super::super::error::{LogqlError, ParseError};
use super::super::syntax::ast::{CompareOp, LabelFilter, Quantity};
use super::super::units::{parse_bytes, parse_duration_ns};
use super::Entry;
use super::ip::IpPattern;
use crate::model::Matcher;

/// A compiled condition.
#[derive(Debug)]
pub(super) enum Compiled {
    Text(Matcher),
    Number { name: String, op: CompareOp, value: Quantity },
    Ip { name: String, is_negation: bool, pattern: IpPattern },
    And(Box<Compiled>, Box<Compiled>),
    Or(Box<Compiled>, Box<Compiled>),
}

/// The `__error__` of a text that is not the number it should be.
const LABEL_FILTER: &str = "LabelFilterErr";

impl Compiled {
    pub(super) fn new(filter: &LabelFilter) -> Result<Self, LogqlError> {
        let boxed = |filter: &LabelFilter| Self::new(filter).map(Box::new);
        Ok(match filter {
            LabelFilter::Text(matcher) => Compiled::Text(matcher.clone()),
            LabelFilter::Number { name, op, value } => {
                Compiled::Number { name: name.clone(), op: *op, value: *value }
            }
            LabelFilter::Ip { name, is_negation, pattern } => Compiled::Ip {
                name: name.clone(),
                is_negation: *is_negation,
                pattern: IpPattern::parse(pattern).map_err(ParseError::whole)?,
            },
            LabelFilter::And(left, right) => Compiled::And(boxed(left)?, boxed(right)?),
            LabelFilter::Or(left, right) => Compiled::Or(boxed(left)?, boxed(right)?),
        })
    }

    /// Returns true when the line stays.
    pub(super) fn keeps(&self, entry: &mut Entry<'_>) -> bool {
        match self {
            Compiled::Text(matcher) => {
                matcher.matches(entry.fields.get(&matcher.name).unwrap_or(""))
            }
            // A line that has failed is asked on: a condition on a text may take it out.
            Compiled::And(left, right) => left.keeps(entry) && right.keeps(entry),
            // What one side lets through does not fail by the other.
            Compiled::Or(left, right) => left.keeps(entry) || right.keeps(entry),
            _ if entry.fields.error().is_some() => true,
            Compiled::Ip { name, is_negation, pattern } => {
                let text = entry.fields.get(name);
                text.is_some_and(|text| pattern.is_in(text) != *is_negation)
            }
            Compiled::Number { name, op, value } => {
                let Some(text) = entry.fields.get(name) else { return false };
                match compare(text, *op, *value) {
                    Ok(keeps) => keeps,
                    Err(details) => {
                        entry.fields.fail(LABEL_FILTER, details);
                        true
                    }
                }
            }
        }
    }
}

fn compare(text: &str, op: CompareOp, value: Quantity) -> Result<bool, String> {
    let order = match value {
        Quantity::Number(number) => parse_float(text)?.partial_cmp(&number),
        Quantity::Duration(ns) => {
            let found = parse_duration_ns(text);
            Some(found.ok_or_else(|| format!("time: invalid duration {text:?}"))?.cmp(&ns))
        }
        Quantity::Bytes(n_bytes) => {
            let found = parse_bytes(text);
            let found = found.ok_or_else(|| format!("unhandled size name: {text:?}"))?;
            Some(found.cmp(&n_bytes))
        }
    };
    Ok(match (op, order) {
        (CompareOp::Ne, order) => !order.is_some_and(std::cmp::Ordering::is_eq),
        (_, None) => false,
        (CompareOp::Eq, Some(order)) => order.is_eq(),
        (CompareOp::Lt, Some(order)) => order.is_lt(),
        (CompareOp::Le, Some(order)) => order.is_le(),
        (CompareOp::Gt, Some(order)) => order.is_gt(),
        (CompareOp::Ge, Some(order)) => order.is_ge(),
    })
}

/// Reads a number as Go's `ParseFloat` does.
pub(super) fn parse_float(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("strconv.ParseFloat: parsing {text:?}: invalid syntax"))
}
