//! Sample values as Prometheus prints them.
//!
//! Go's `strconv.AppendFloat(f, 'f' or 'e', -1, 64)`: the shortest digits that come back to the
//! same number, with an exponent below 1e-6 and from 1e21 on, which has at least two digits and
//! always a sign. Clients compare these texts, so they are part of the API.

use std::fmt::Write as _;

/// Appends a value without quotes.
pub fn push_sample_value(out: &mut String, value: f64) {
    if !value.is_finite() {
        out.push_str(match (value.is_nan(), value > 0.0) {
            (true, _) => "NaN",
            (false, true) => "+Inf",
            (false, false) => "-Inf",
        });
        return;
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        push_exponent(out, value);
        return;
    }
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value);
    if text.contains('e') {
        // Between ryu's and Go's edge: the standard library never uses an exponent.
        write!(out, "{value}").expect("writing into a string");
    } else {
        out.push_str(text.strip_suffix(".0").unwrap_or(text));
    }
}

fn push_exponent(out: &mut String, value: f64) {
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').expect("`{:e}` writes an exponent");
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    write!(out, "{digits}e{sign}{exponent:0>2}").expect("writing into a string");
}

/// Appends a time as seconds with up to three decimals, without quotes.
pub(super) fn push_seconds(out: &mut String, timestamp_ms: i64) {
    if timestamp_ms < 0 {
        out.push('-');
    }
    let magnitude_ms = timestamp_ms.unsigned_abs();
    out.push_str(itoa::Buffer::new().format(magnitude_ms / 1_000));
    let fraction_ms = magnitude_ms % 1_000;
    if fraction_ms != 0 {
        write!(out, ".{fraction_ms:03}").expect("writing into a string");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: f64, want: &str) {
        let mut out = String::new();
        push_sample_value(&mut out, value);
        assert_eq!(out, want);
    }

    #[test]
    fn values_look_as_go_prints_them() {
        check(0.0, "0");
        check(-0.0, "-0");
        check(1.0, "1");
        check(-2.5, "-2.5");
        check(0.1, "0.1");
        check(1_763_700_000.123, "1763700000.123");
        check(1e15, "1000000000000000");
        check(1e16, "10000000000000000");
        check(123_456_789_012_345_680_000.0, "123456789012345680000");
        check(999_999_999_999_999_900_000.0, "999999999999999900000");
        check(1e21, "1e+21");
        check(-1.5e300, "-1.5e+300");
        check(1e100, "1e+100");
        check(0.000_001, "0.000001");
        check(0.000_012_5, "0.0000125");
        check(9.99e-7, "9.99e-07");
        check(5e-324, "5e-324");
        check(f64::MAX, "1.7976931348623157e+308");
        check(f64::NAN, "NaN");
        check(f64::INFINITY, "+Inf");
        check(f64::NEG_INFINITY, "-Inf");
    }

    #[test]
    fn every_value_comes_back_bit_for_bit() {
        use rand::{Rng as _, SeedableRng as _};
        let seed = 7;
        let mut rng = rand::rngs::SmallRng::seed_from_u64(seed);
        for _ in 0..20_000 {
            let value = f64::from_bits(rng.random());
            if value.is_finite() {
                let mut out = String::new();
                push_sample_value(&mut out, value);
                assert_eq!(out.parse::<f64>().unwrap().to_bits(), value.to_bits(), "seed {seed}");
            }
        }
    }

    #[test]
    fn times_have_up_to_three_decimals() {
        for (ms, want) in [
            (0, "0"),
            (4_000, "4"),
            (1_500, "1.500"),
            (1_007, "1.007"),
            (-1_500, "-1.500"),
            (i64::MIN, "-9223372036854775.808"),
        ] {
            let mut out = String::new();
            push_seconds(&mut out, ms);
            assert_eq!(out, want);
        }
    }
}
