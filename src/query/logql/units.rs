//! Durations and sizes as Go and its `humanize` write them: `1h2m3.5s`, `1.5 MiB`.

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
        let ns = (number * ns_of_unit(&rest[..n_unit])?).round();
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

fn ns_of_unit(unit: &str) -> Option<f64> {
    const SECOND: f64 = 1e9;
    Some(match unit {
        "ns" => 1.0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" => SECOND,
        "m" => 60.0 * SECOND,
        "h" => 3_600.0 * SECOND,
        "d" => 86_400.0 * SECOND,
        "w" => 7.0 * 86_400.0 * SECOND,
        "y" => 365.0 * 86_400.0 * SECOND,
        _ => return None,
    })
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

/// Writes a duration as Go's `String` does: `1h0m3.5s`.
pub(super) fn format_duration_ns(ns: i64) -> String {
    let magnitude = ns.unsigned_abs();
    let sign = if ns < 0 { "-" } else { "" };
    let decimal = |value: u64, per: u64, unit: &str| {
        let whole = value / per;
        let digits = per.to_string().len() - 1;
        let fraction = format!("{:0digits$}", value % per);
        let fraction = fraction.trim_end_matches('0');
        let dot = if fraction.is_empty() { "" } else { "." };
        format!("{whole}{dot}{fraction}{unit}")
    };
    let text = match magnitude {
        0 => "0s".to_owned(),
        1..1_000 => format!("{magnitude}ns"),
        1_000..1_000_000 => decimal(magnitude, 1_000, "µs"),
        1_000_000..1_000_000_000 => decimal(magnitude, 1_000_000, "ms"),
        _ => {
            let minutes = magnitude / 60_000_000_000;
            let seconds = decimal(magnitude % 60_000_000_000, 1_000_000_000, "s");
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    };
    format!("{sign}{text}")
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
    fn durations_print_as_in_go() {
        for (ns, want) in [
            (0, "0s"),
            (250_000_000, "250ms"),
            (1_500, "1.5µs"),
            (3_600_000_000_000, "1h0m0s"),
            (-90_500_000_000, "-1m30.5s"),
        ] {
            assert_eq!(format_duration_ns(ns), want);
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
