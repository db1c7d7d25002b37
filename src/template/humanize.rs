//! Numbers for people, digit for digit as Prometheus' template functions write them.

use super::format::float_g;

const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const LARGE_1024: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

/// Four significant digits, as every function here writes them.
fn four(value: f64) -> String {
    float_g(value, Some(4))
}

/// Returns `1.235M` for 1234567 and `12.34u` for 0.00001234.
pub(super) fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return four(value);
    }
    let (scaled, prefix) = match value.abs() >= 1.0 {
        true => shrink(value, 1000.0, LARGE),
        false => grow(value),
    };
    format!("{}{prefix}", four(scaled))
}

/// Returns `1.177Mi` for 1234567.
pub(super) fn humanize_1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return four(value);
    }
    let (scaled, prefix) = shrink(value, 1024.0, LARGE_1024);
    format!("{}{prefix}", four(scaled))
}

/// Returns `4.5%` for 0.045.
pub(super) fn percentage(value: f64) -> String {
    format!("{}%", four(value * 100.0))
}

/// Returns `1d 2h 3m 4s`; below a minute four significant digits, below a second with a prefix.
pub(super) fn duration(value: f64) -> String {
    if !value.is_finite() {
        return four(value);
    }
    if value == 0.0 {
        return "0s".to_owned();
    }
    if value.abs() < 1.0 {
        let (scaled, prefix) = grow(value);
        return format!("{}{prefix}s", four(scaled));
    }
    let sign = if value < 0.0 { "-" } else { "" };
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, 292 billion years up")]
    let whole = value.abs() as i64;
    let (days, hours) = (whole / 86_400, whole / 3_600 % 24);
    let (minutes, secs) = (whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", four(value.abs())),
        (0, 0, _) => format!("{sign}{minutes}m {secs}s"),
        (0, ..) => format!("{sign}{hours}h {minutes}m {secs}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {secs}s"),
    }
}

fn shrink(value: f64, base: f64, prefixes: [&'static str; 8]) -> (f64, &'static str) {
    let mut scaled = (value, "");
    for prefix in prefixes {
        if scaled.0.abs() < base {
            break;
        }
        scaled = (scaled.0 / base, prefix);
    }
    scaled
}

fn grow(value: f64) -> (f64, &'static str) {
    let mut scaled = (value, "");
    for prefix in SMALL {
        if scaled.0.abs() >= 1.0 {
            break;
        }
        scaled = (scaled.0 * 1000.0, prefix);
    }
    scaled
}
