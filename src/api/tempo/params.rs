//! The parameters of a request to Tempo.

use super::super::params::Params;
use super::error::TempoError;

const SECOND_NS: i64 = 1_000_000_000;

/// Returns `start` and `end`, whole seconds since 1970, as ns; `None` when neither is given.
pub(super) fn range_ns(params: &Params) -> Result<Option<(i64, i64)>, TempoError> {
    let (start_s, end_s) = (seconds(params, "start")?, seconds(params, "end")?);
    if (start_s, end_s) == (0, 0) {
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

fn seconds(params: &Params, name: &str) -> Result<i64, TempoError> {
    let Some(text) = params.get(name) else { return Ok(0) };
    text.parse().map_err(|_| {
        TempoError::parameter(format!(
            "invalid {name}: \"{text}\" is not a whole number of seconds since 1970"
        ))
    })
}
