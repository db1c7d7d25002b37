//! Durations and sizes as people write them for Go and its `humanize`: `1h2m3.5s`, `1.5 MiB`.

use crate::base::units::unit_ns;

/// Reads a duration into ns: Prometheus' `1d2h`, or Go's `1.5h`, `-3µs`.
pub(super) fn parse_duration_ns(text: &str) -> Option<i64> {
    let (negative, rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let ns = parse_parts(rest)?;
    i64::try_from(if negative { -ns } else { ns }).ok()
}

fn parse_parts(mut rest: &str) -> Option<i128> {
    let mut total = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let n_digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..n_digits].parse().ok()?;
        rest = &rest[n_digits..];
        let n_unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let ns = (number * unit_ns(&rest[..n_unit])?).round();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a cast saturates, and too much is refused"
        )]
        let ns = ns.min(1e30) as i128;
        total += ns;
        rest = &rest[n_unit..];
    }
    Some(total)
}

/// Reads a size into bytes: `512`, `42MB`, `1.5 KiB`.
pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let n_digits =
        text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',').unwrap_or(text.len());
    let number: f64 = text[..n_digits].replace(',', "").parse().ok()?;
    let factor: f64 = match text[n_digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "p" | "pb" => 1e15,
        "ki" | "kib" => 1024.0,
        "mi" | "mib" => 1_048_576.0,
        "gi" | "gib" => 1_073_741_824.0,
        "ti" | "tib" => 1_099_511_627_776.0,
        "pi" | "pib" => 1_125_899_906_842_624.0,
        _ => return None,
    };
    let bytes = number * factor;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked first")]
    (0.0..1.8e19).contains(&bytes).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go_and_of_prometheus() {
        for (text, want) in [
            ("5m", Some(300_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("1h30m", Some(5_400_000_000_000)),
            ("2d", Some(172_800_000_000_000)),
            ("-250ms", Some(-250_000_000)),
            ("10µs", Some(10_000)),
            ("0", Some(0)),
            ("5", None),
            ("m", None),
            ("", None),
            ("1000y", None),
        ] {
            assert_eq!(parse_duration_ns(text), want, "{text}");
        }
    }

    #[test]
    fn sizes_are_decimal_or_binary() {
        for (text, want) in [
            ("42MB", Some(42_000_000)),
            ("1.5 KiB", Some(1_536)),
            ("512", Some(512)),
            ("2kb", Some(2_000)),
            ("1 parsec", None),
            ("", None),
        ] {
            assert_eq!(parse_bytes(text), want, "{text}");
        }
    }
}
