//! Durations and sizes as people write them: `15s`, `1h30m`, `90d`, `256MiB`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is not a duration or a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {wanted}")]
pub struct UnitError {
    text: String,
    wanted: &'static str,
}

/// Reads a duration in Prometheus' notation: `1y2w3d4h5m6s7ms`, largest unit first, each at most
/// once; `0` alone is zero.
pub fn parse_duration_ms(text: &str) -> Result<i64, UnitError> {
    let wrong =
        || UnitError { text: text.to_owned(), wanted: "duration such as 15s, 5m, 1h30m or 90d" };
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text;
    let mut total_ms: i64 = 0;
    let mut last_unit_ms = i64::MAX;
    while !rest.is_empty() {
        let n_digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: i64 = rest[..n_digits].parse().map_err(|_| wrong())?;
        rest = &rest[n_digits..];
        let n_letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit_ms = duration_unit_ms(&rest[..n_letters]).ok_or_else(wrong)?;
        if unit_ms >= last_unit_ms {
            return Err(wrong());
        }
        last_unit_ms = unit_ms;
        total_ms = count
            .checked_mul(unit_ms)
            .and_then(|part_ms| total_ms.checked_add(part_ms))
            .ok_or_else(wrong)?;
        rest = &rest[n_letters..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total_ms) }
}

fn duration_unit_ms(unit: &str) -> Option<i64> {
    Some(match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 7 * 86_400_000,
        "y" => 365 * 86_400_000,
        _ => return None,
    })
}

/// Writes a duration the way [`parse_duration_ms`] reads it, as Prometheus prints it: `1h30m`.
pub fn format_duration_ms(duration_ms: i64) -> String {
    if duration_ms == 0 {
        return "0s".to_owned();
    }
    let mut rest = duration_ms;
    let mut text = String::new();
    // Weeks and years only when they divide the whole, as in Prometheus' model.Duration.
    for (unit, unit_ms, exact) in [
        ("y", 365 * 86_400_000, true),
        ("w", 7 * 86_400_000, true),
        ("d", 86_400_000, false),
        ("h", 3_600_000, false),
        ("m", 60_000, false),
        ("s", 1_000, false),
        ("ms", 1, false),
    ] {
        if exact && rest % unit_ms != 0 {
            continue;
        }
        if rest / unit_ms > 0 {
            text.push_str(&format!("{}{unit}", rest / unit_ms));
            rest %= unit_ms;
        }
    }
    text
}

/// Writes a duration as Go does: `1h2m3.5s`, `1.5ms`, `0s`.
pub fn format_duration_ns(duration_ns: i64) -> String {
    let sign = if duration_ns < 0 { "-" } else { "" };
    let ns = duration_ns.unsigned_abs();
    let text = match ns {
        0 => "0s".to_owned(),
        1..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => decimal(ns, 1_000, "µs"),
        1_000_000..1_000_000_000 => decimal(ns, 1_000_000, "ms"),
        _ => {
            let minutes = ns / 60_000_000_000;
            let seconds = decimal(ns % 60_000_000_000, 1_000_000_000, "s");
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    };
    format!("{sign}{text}")
}

fn decimal(ns: u64, unit_ns: u64, unit: &str) -> String {
    let n_digits = unit_ns.ilog10() as usize;
    let fraction = format!("{:0n_digits$}", ns % unit_ns);
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    format!("{}{dot}{fraction}{unit}", ns / unit_ns)
}

/// Returns the ns of a unit of Go's durations, or of Prometheus' longer ones.
pub fn unit_ns(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1.0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3_600e9,
        "d" => 86_400e9,
        "w" => 7.0 * 86_400e9,
        "y" => 365.0 * 86_400e9,
        _ => return None,
    })
}

/// Reads a size: digits and an optional unit, `B`, `KiB`, `MiB`, `GiB`, `TiB`, `kB`, `MB`, `GB`.
pub fn parse_size_bytes(text: &str) -> Result<u64, UnitError> {
    let wrong = || UnitError { text: text.to_owned(), wanted: "size such as 64KiB, 16MiB or 2GiB" };
    let n_digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let count: u64 = text[..n_digits].parse().map_err(|_| wrong())?;
    let unit: u64 = match text[n_digits..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(wrong()),
    };
    count.checked_mul(unit).ok_or_else(wrong)
}

/// A duration that configuration files write as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

impl HumanDuration {
    /// Returns a duration of whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// Returns the length in ms.
    pub fn as_ms(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let ms = parse_duration_ms(&text).map_err(serde::de::Error::custom)?;
        Ok(Self(Duration::from_millis(ms.unsigned_abs())))
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration_ms(self.as_ms()))
    }
}

/// A size that configuration files write as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanSize(pub u64);

impl HumanSize {
    /// Returns a size of whole MiB.
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// Returns the size in bytes; on a machine with smaller words, at most what fits.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl std::fmt::Display for HumanSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (unit, unit_bytes) in [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 >= unit_bytes && self.0.is_multiple_of(unit_bytes) {
                return write!(f, "{}{unit}", self.0 / unit_bytes);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl<'de> Deserialize<'de> for HumanSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_size_bytes(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl Serialize for HumanSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_duration(text: &str, want: Option<i64>) {
        assert_eq!(parse_duration_ms(text).ok(), want, "{text}");
    }

    #[test]
    fn durations_are_read() {
        check_duration("15s", Some(15_000));
        check_duration("1h30m", Some(5_400_000));
        check_duration("90d", Some(90 * 86_400_000));
        check_duration("100ms", Some(100));
        check_duration("0", Some(0));
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in ["", "5", "m", "5x", "30m1h", "1h1h", "-5m", "99999999999999999999y"] {
            check_duration(text, None);
        }
    }

    #[test]
    fn durations_are_written_as_prometheus_writes_them() {
        assert_eq!(format_duration_ms(5_400_000), "1h30m");
        assert_eq!(format_duration_ms(90 * 86_400_000), "90d");
        assert_eq!(format_duration_ms(14 * 86_400_000), "2w");
        assert_eq!(format_duration_ms(1_500), "1s500ms");
    }

    #[test]
    fn durations_of_go_are_written_as_go_writes_them() {
        for (ns, want) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (250_000_000, "250ms"),
            (1_000_000_001, "1.000000001s"),
            (3_600_000_000_000, "1h0m0s"),
            (-90_500_000_000, "-1m30.5s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(format_duration_ns(ns), want);
        }
    }

    #[test]
    fn sizes_are_read_and_written() {
        assert_eq!(parse_size_bytes("16MiB"), Ok(16 << 20));
        assert_eq!(HumanSize(16 << 20).to_string(), "16MiB");
        assert!(parse_size_bytes("16 parsecs").is_err());
    }
}
