//! The parameters of a request to Tempo.

use super::super::params::Params;
use super::error::TempoError;
use crate::query::traceql::Part;

const SECOND_NS: i64 = 1_000_000_000;

/// Returns `start` and `end`, whole seconds since 1970, as ns; `None` unless both are given: as in Tempo one
/// alone says nothing.
pub(super) fn range_ns(params: &Params) -> Result<Option<(i64, i64)>, TempoError> {
    let (start_s, end_s) = (seconds(params, "start")?, seconds(params, "end")?);
    if start_s == 0 || end_s == 0 {
        return Ok(None);
    }
    if end_s <= start_s {
        return Err(TempoError::parameter(format!(
            "http parameter start must be before end. received start={start_s} end={end_s}"
        )));
    }
    let ns = |s: i64| s.saturating_mul(SECOND_NS);
    Ok(Some((ns(start_s), ns(end_s).saturating_add(SECOND_NS - 1))))
}

/// Returns which part of a trace is wanted; `None` is all of it. What says how much of it is not
/// looked at without a filter.
pub(super) fn part(params: &Params) -> Result<Option<Part>, TempoError> {
    let Some(filter) = params.get("q") else { return Ok(None) };
    let n_above_max = match is_kept(params, "keep_hierarchy")? {
        true => levels(params, "ancestor_depth", None)?,
        false => Some(0),
    };
    let n_below_max = levels(params, "match_depth", Some(0))?;
    Ok(Some(Part { filter: filter.to_owned(), n_above_max, n_below_max }))
}

/// Reads a truth as Go writes it; unless it is said it is true.
fn is_kept(params: &Params, name: &str) -> Result<bool, TempoError> {
    match params.get(name) {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(text) => Err(TempoError::parameter(format!(
            "invalid value for {name}: \"{text}\" is neither true nor false"
        ))),
    }
}

/// Reads how many levels of a trace are wanted; -1 is all of them, which is `None`.
fn levels(
    params: &Params,
    name: &str,
    unless_said: Option<usize>,
) -> Result<Option<usize>, TempoError> {
    let Some(text) = params.get(name) else { return Ok(unless_said) };
    if text == "-1" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        TempoError::parameter(format!(
            "invalid value for {name}: \"{text}\" is not a number of levels, nor -1 for all"
        ))
    })
}

fn seconds(params: &Params, name: &str) -> Result<i64, TempoError> {
    let Some(text) = params.get(name) else { return Ok(0) };
    text.parse().map_err(|_| {
        TempoError::parameter(format!(
            "invalid {name}: \"{text}\" is not a whole number of seconds since 1970"
        ))
    })
}
