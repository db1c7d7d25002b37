//! Parameters as Loki reads them: times in ns, seconds or RFC 3339, directions, limits.

use chrono::DateTime;

use super::super::error::ApiError;
use super::super::params::Params;
use super::super::time;
use crate::query::logql::LogRange;

/// Lines in an answer that asks for no number.
const LIMIT: usize = 100;
const HOUR_NS: i64 = 3_600_000_000_000;
const MS_NS: i64 = 1_000_000;

/// Reads a time into ns since 1970 UTC: up to ten digits are seconds, more are ns, a number with a
/// fraction is seconds, the rest is RFC 3339.
pub(super) fn parse_ns(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let number: i64 = text.parse().ok()?;
        return if digits.len() <= 10 { number.checked_mul(1_000_000_000) } else { Some(number) };
    }
    if let Some((whole, fraction)) = text.split_once('.')
        && !fraction.is_empty()
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
    {
        let whole: i64 = whole.parse().ok()?;
        let ns: i64 = format!("{:0<9}", &fraction[..fraction.len().min(9)]).parse().ok()?;
        return whole.checked_mul(1_000_000_000)?.checked_add(ns);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return time.timestamp_nanos_opt();
    }
    time::parse_ms(text)?.checked_mul(MS_NS)
}

fn time_ns(params: &Params, name: &str) -> Result<Option<i64>, ApiError> {
    let parse = |text: &str| {
        parse_ns(text).ok_or_else(|| {
            ApiError::parameter(
                name,
                format!("cannot parse \"{text}\" as a time: wanted ns, seconds or RFC 3339"),
            )
        })
    };
    params.get(name).map(parse).transpose()
}

/// Returns the time of an instant query, ms since 1970 UTC.
pub(super) fn instant_ms(params: &Params, now_ms: i64) -> Result<i64, ApiError> {
    let time_ns = time_ns(params, "time")?;
    Ok(time_ns.map_or(now_ms, |ns| ns.div_euclid(MS_NS)))
}

/// Returns start and end, ns since 1970 UTC: the last hour unless something else is said. Neither is
/// before 1970, when nobody logged here, so that their difference always is a number.
pub(super) fn times_ns(params: &Params, now_ms: i64) -> Result<(i64, i64), ApiError> {
    let now_ns = now_ms.saturating_mul(MS_NS);
    let end_ns = time_ns(params, "end")?.unwrap_or(now_ns).max(0);
    let since_ns = params.duration_ms("since")?.map_or(HOUR_NS, |ms| ms.saturating_mul(MS_NS));
    // As in Loki, an open start is before the end, and before now.
    let start_ns = time_ns(params, "start")?
        .unwrap_or_else(|| end_ns.min(now_ns).saturating_sub(since_ns))
        .max(0);
    if end_ns < start_ns {
        return Err(ApiError::parameter(
            "end",
            "end timestamp must not be before or equal to start time",
        ));
    }
    Ok((start_ns, end_ns))
}

/// Returns the times of a deletion, ns since 1970 UTC, both included: it must say where it starts.
pub(super) fn times_of_deletion(params: &Params, now_ms: i64) -> Result<(i64, i64), ApiError> {
    let start_ns = time_ns(params, "start")?
        .ok_or_else(|| ApiError::parameter("start", "start time not set"))?;
    let end_ns = time_ns(params, "end")?.unwrap_or(now_ms.saturating_mul(MS_NS));
    if end_ns < start_ns {
        return Err(ApiError::parameter("end", "start time can't be greater than end time"));
    }
    Ok((start_ns, end_ns))
}

/// Returns which lines a query wants.
pub(super) fn range_of(params: &Params, now_ms: i64) -> Result<LogRange, ApiError> {
    let (start_ns, end_ns) = times_ns(params, now_ms)?;
    let interval_ns = params.duration_ms("interval")?.unwrap_or(0).saturating_mul(MS_NS);
    if interval_ns < 0 {
        return Err(ApiError::parameter("interval", "interval must be >= 0"));
    }
    Ok(LogRange {
        start_ns,
        end_ns,
        limit: limit_of(params, LIMIT)?,
        is_backward: is_backward(params)?,
        interval_ns,
    })
}

/// Returns the limit, which must be above 0.
pub(super) fn limit_of(params: &Params, default: usize) -> Result<usize, ApiError> {
    limit_named(params, "limit", default)
}

/// Returns a limit by its name; it must be above 0.
pub(super) fn limit_named(params: &Params, name: &str, default: usize) -> Result<usize, ApiError> {
    let Some(text) = params.get(name) else { return Ok(default) };
    match text.parse::<i64>().map(usize::try_from) {
        Ok(Ok(limit)) if limit > 0 => Ok(limit),
        Ok(_) => Err(ApiError::parameter(name, "limit must be a positive value")),
        Err(_) => {
            Err(ApiError::parameter(name, format!("cannot parse \"{text}\" to a valid number")))
        }
    }
}

fn is_backward(params: &Params) -> Result<bool, ApiError> {
    match params.get("direction").map(str::to_ascii_lowercase).as_deref() {
        None | Some("backward") => Ok(true),
        Some("forward") => Ok(false),
        Some(other) => {
            Err(ApiError::parameter("direction", format!("invalid direction '{other}'")))
        }
    }
}

/// Returns the step in ms: what is asked for, or a 250th of the time in whole seconds.
pub(super) fn step_ms(params: &Params, (start_ns, end_ns): (i64, i64)) -> Result<i64, ApiError> {
    let default_ms = ((end_ns - start_ns) / 1_000_000_000 / 250).max(1) * 1_000;
    let step_ms = params.duration_ms("step")?.unwrap_or(default_ms);
    if step_ms <= 0 {
        return Err(ApiError::parameter(
            "step",
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    Ok(step_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_ns_or_rfc3339() {
        for (text, want) in [
            ("4", Some(4_000_000_000)),
            ("4000000000", Some(4_000_000_000_000_000_000)),
            ("1763730000123456789", Some(1_763_730_000_123_456_789)),
            ("1763730000.5", Some(1_763_730_000_500_000_000)),
            ("2025-11-21T13:00:00.25Z", Some(1_763_730_000_250_000_000)),
            ("", None),
            ("x", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(parse_ns(text), want, "{text}");
        }
    }
}
