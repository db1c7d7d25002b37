//! Times and durations as Prometheus' API takes them: seconds with a fraction, or text.

use chrono::DateTime;

use crate::base::units;

/// The times that fit into ns; Prometheus takes more, but nothing can be stored there.
const MS_MAX: f64 = 9.2e15;
/// The times that fit into ms: an end that lies further out than [`MS_MAX`] is open.
const MS_SAID_MAX: f64 = 9.3e18;
/// [`MS_MAX`] in seconds.
const OPEN_S: f64 = 9.2e12;
/// The ends of time as Prometheus writes them, and with it whoever leaves an end open. Of RFC 3339 they
/// are not, which ends with the year 9999.
const FIRST: &str = "-292273086-05-16T16:47:06Z";
const LAST: &str = "292277025-08-18T07:12:54.999999999Z";

/// Reads seconds since 1970 (`1435781451.781`, `4`, `1e9`) or RFC 3339 into ms since 1970 UTC.
pub(super) fn parse_ms(text: &str) -> Option<i64> {
    if let Some(seconds) = parse_number(text) {
        let is_said = (seconds * 1_000.0).abs() <= MS_SAID_MAX;
        return seconds_to_ms(if is_said { seconds.clamp(-OPEN_S, OPEN_S) } else { seconds });
    }
    match text {
        FIRST => seconds_to_ms(-OPEN_S),
        LAST => seconds_to_ms(OPEN_S),
        text => DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis()),
    }
}

/// Reads seconds (`15`, `0.5`) or a duration (`15s`, `1h30m`) into ms.
pub(super) fn parse_duration_ms(text: &str) -> Option<i64> {
    if let Some(seconds) = parse_number(text) {
        return seconds_to_ms(seconds);
    }
    units::parse_duration_ms(text).ok()
}

/// Rust reads `inf` and `nan` as numbers; no time is one of them.
fn parse_number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|seconds: &f64| seconds.is_finite())
}

fn seconds_to_ms(seconds: f64) -> Option<i64> {
    let ms = (seconds * 1_000.0).round();
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and within ±9.2e15")]
    (ms.abs() <= MS_MAX).then_some(ms as i64)
}

/// Writes ms since 1970 UTC as RFC 3339.
pub(super) fn rfc3339(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms)
        .unwrap_or_default()
        .to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<i64>) {
        assert_eq!(parse_ms(text), want, "{text}");
    }

    #[test]
    fn times_are_seconds_or_rfc3339() {
        check("4", Some(4_000));
        check("1435781451.781", Some(1_435_781_451_781));
        check("-1.5", Some(-1_500));
        check("1e9", Some(1_000_000_000_000));
        check("2015-07-01T20:10:51.781Z", Some(1_435_781_451_781));
        check("2015-07-01T22:10:51.781+02:00", Some(1_435_781_451_781));
        check("1763700000000", Some(1_763_700_000_000_000)); // Grafana's probe sends ms.
    }

    #[test]
    fn ends_that_are_open_are_the_furthest_there_are() {
        let (first, last) = (Some(-9_200_000_000_000_000), Some(9_200_000_000_000_000));
        check(FIRST, first);
        check(LAST, last);
        // The same of Prometheus' Go client.
        check("-9223309901257974", first);
        check("9223309901257974", last);
        check("-62135596800", Some(-62_135_596_800_000)); // Go's zero time.
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "now", "nan", "inf", "-inf", "1e300", "2015-07-01", "2015-07-01T20:10:51"]
        {
            check(text, None);
        }
    }

    #[test]
    fn durations_are_seconds_or_units() {
        for (text, want) in [
            ("15", Some(15_000)),
            ("0.25", Some(250)),
            ("5m", Some(300_000)),
            ("-5", Some(-5_000)),
            ("5 m", None),
            ("inf", None),
        ] {
            assert_eq!(parse_duration_ms(text), want, "{text}");
        }
    }
}
