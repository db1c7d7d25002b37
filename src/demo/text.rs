//! Times and numbers as the services of a commons print them.

use chrono::{DateTime, Utc};

/// Returns a moment for printing; what is no date becomes 1970.
pub(super) fn utc(at_ns: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(at_ns)
}

/// Prints a moment.
pub(super) fn time(at_ns: i64, format: &str) -> String {
    utc(at_ns).format(format).to_string()
}

/// Returns a line as cdislogging writes it.
pub(super) fn cdis(at_ns: i64, logger: &str, level: &str, message: &str) -> String {
    let ms = at_ns.rem_euclid(1_000_000_000) / 1_000_000;
    format!("[{},{ms:03}][{logger:>10}][{level:>7}] {message}", time(at_ns, "%Y-%m-%d %H:%M:%S"))
}

/// Returns a number of things as a metric's value.
#[expect(clippy::cast_precision_loss, reason = "the demo counts far below 2^53")]
pub(super) fn as_f64(n: u64) -> f64 {
    n as f64
}

/// Returns a time in s since 1970, as a metric's value.
#[expect(clippy::cast_precision_loss, reason = "ms since 1970 fit a double exactly")]
pub(super) fn seconds(at_ms: i64) -> f64 {
    at_ms as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_look_as_cdislogging_writes_them() {
        let line = cdis(1_786_529_472_345_000_000, "fence", "INFO", "x");

        assert_eq!(line, "[2026-08-12 10:11:12,345][     fence][   INFO] x");
    }
}
