//! Durations: literals, and the arithmetic that stands in their place.

use std::fmt;

use super::super::error::PromqlError;
use super::super::grid::to_i64;
use super::super::value::format_value;
use super::ast::Op;
use crate::base::units::format_duration_ms;

/// The longest duration: what 63 bits of nanoseconds hold.
pub(super) const SECONDS_MAX: f64 = 9_223_372_036.854_775;

/// A duration as it was written.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Length {
    Number {
        seconds: f64,
        is_duration: bool,
    },
    /// `step()`
    Step,
    /// `range()`
    Range,
    Negate(Box<Length>),
    Binary(Op, Box<Length>, Box<Length>),
    /// `min_of(a, b)` or `max_of(a, b)`
    Extreme {
        is_max: bool,
        left: Box<Length>,
        right: Box<Length>,
    },
    Wrapped(Box<Length>),
}

/// What `step()` and `range()` mean in a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct QueryTimes {
    /// 0 for an instant query.
    pub(in super::super) step_ms: i64,
    /// From the first step to the last.
    pub(in super::super) range_ms: i64,
}

impl Length {
    /// Returns the duration in ms, which may be negative.
    pub(in super::super) fn ms(&self, times: QueryTimes) -> Result<i64, PromqlError> {
        let seconds = self.seconds(times)?;
        if seconds.is_nan() || seconds.abs() > SECONDS_MAX {
            return Err(PromqlError::parse(format!("the duration `{self}` is out of range")));
        }
        Ok(to_i64((seconds * 1000.0).round()))
    }

    /// Returns the ms of a duration that must be longer than 0.
    pub(in super::super) fn positive_ms(&self, times: QueryTimes) -> Result<i64, PromqlError> {
        match self.ms(times)? {
            ms if ms > 0 => Ok(ms),
            _ => Err(PromqlError::parse(format!(
                "duration must be greater than 0 (and at least 1ms): `{self}`"
            ))),
        }
    }

    /// Returns the seconds of a number, and whether it was written as a duration; in parentheses or with
    /// a sign it is still one.
    pub(super) fn literal(&self) -> Option<(f64, bool)> {
        match self {
            Length::Number { seconds, is_duration } => Some((*seconds, *is_duration)),
            Length::Wrapped(inner) => inner.literal(),
            Length::Negate(inner) => {
                inner.literal().map(|(seconds, is_duration)| (-seconds, is_duration))
            }
            _ => None,
        }
    }

    /// Returns the ms when they do not depend on the query.
    pub(super) fn constant_ms(&self) -> Option<i64> {
        let never = QueryTimes { step_ms: 0, range_ms: 0 };
        self.literal().and_then(|_| self.ms(never).ok())
    }

    fn seconds(&self, times: QueryTimes) -> Result<f64, PromqlError> {
        Ok(match self {
            Length::Number { seconds, .. } => *seconds,
            Length::Step => times.step_ms as f64 / 1000.0,
            Length::Range => times.range_ms as f64 / 1000.0,
            Length::Negate(inner) => -inner.seconds(times)?,
            Length::Wrapped(inner) => inner.seconds(times)?,
            Length::Extreme { is_max, left, right } => {
                let (left, right) = (left.seconds(times)?, right.seconds(times)?);
                if *is_max { left.max(right) } else { left.min(right) }
            }
            Length::Binary(op, left, right) => {
                let (left, right) = (left.seconds(times)?, right.seconds(times)?);
                match op {
                    Op::Div if right == 0.0 => return Err(PromqlError::parse("division by zero")),
                    Op::Mod if right == 0.0 => return Err(PromqlError::parse("modulo by zero")),
                    op => super::super::binary::apply_bool(*op, left, right),
                }
            }
        })
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Length::Number { seconds, .. } => f.write_str(&format_seconds(*seconds)),
            Length::Step => f.write_str("step()"),
            Length::Range => f.write_str("range()"),
            Length::Negate(inner) => write!(f, "-{inner}"),
            Length::Wrapped(inner) => write!(f, "({inner})"),
            Length::Extreme { is_max, left, right } => {
                write!(f, "{}({left}, {right})", if *is_max { "max_of" } else { "min_of" })
            }
            Length::Binary(op, left, right) => {
                // Factors of a product stay numbers.
                let side = |f: &mut fmt::Formatter<'_>, side: &Length| match side {
                    Length::Number { seconds, is_duration: false } => {
                        f.write_str(&format_value(*seconds))
                    }
                    other => other.fmt(f),
                };
                side(f, left)?;
                write!(f, " {} ", op.as_str())?;
                side(f, right)
            }
        }
    }
}

/// Prints seconds as a duration, `1h30m`; what is finer than a ms stays a number.
pub(super) fn format_seconds(seconds: f64) -> String {
    let ms = seconds * 1000.0;
    if ms.fract() != 0.0 || ms.abs() > SECONDS_MAX * 1000.0 {
        return seconds.to_string();
    }
    let sign = if ms < 0.0 { "-" } else { "" };
    format!("{sign}{}", format_duration_ms(to_i64(ms.abs())))
}

/// Reads a duration literal: units from years to ms, each at most once.
pub(super) fn parse_duration(text: &str) -> Result<f64, String> {
    const UNITS: [(&str, u64); 7] = [
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    let malformed = || format!("not a valid duration string: {}", super::quoting::quoted(text));
    let (mut rest, mut first_unit, mut total_ms) = (text, 0, 0_u64);
    while !rest.is_empty() {
        let n_digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let n_letters = rest[n_digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let (digits, unit) = (&rest[..n_digits], &rest[n_digits..n_digits + n_letters]);
        let place = UNITS.iter().position(|(name, _)| *name == unit).ok_or_else(malformed)?;
        if n_digits == 0 || place < first_unit {
            return Err(malformed());
        }
        let count: Option<u64> = digits.parse().ok();
        total_ms = count
            .and_then(|count| count.checked_mul(UNITS[place].1))
            .and_then(|ms| ms.checked_add(total_ms))
            .ok_or("duration out of range")?;
        first_unit = place + 1;
        rest = &rest[n_digits + n_letters..];
    }
    let seconds = total_ms as f64 / 1000.0;
    if seconds > SECONDS_MAX { Err("duration out of range".to_owned()) } else { Ok(seconds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, seconds: f64, printed: &str) {
        assert_eq!(parse_duration(text), Ok(seconds));
        assert_eq!(format_seconds(seconds), printed);
    }

    #[test]
    fn durations_are_read_and_printed() {
        check("5m", 300.0, "5m");
        check("1h30m", 5_400.0, "1h30m");
        check("90m", 5_400.0, "1h30m");
        check("250ms", 0.25, "250ms");
        check("2w", 1_209_600.0, "2w");
        check("15d", 1_296_000.0, "15d");
        check("1y", 31_536_000.0, "1y");
        check("0s", 0.0, "0s");
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["5", "m", "1s1m", "1m1m", "5parsecs", "1.5h", "99999999999999999999y", "300y"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
