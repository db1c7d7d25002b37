//! Values in files: as decimals where they are decimals.
//!
//! Most series count, or are measured to a few digits. As doubles such values have bits that look
//! random; as whole numbers of a unit that their series share, neighbours differ by little, and take
//! half the space and less time to write and read. So a file has three columns in place of the
//! rows' `value`: a value is `value_digits / 10^value_scale` where that is the very same double, bit
//! for bit, and stands in `value_double` where it is not. No column is called `value`, so that a
//! reader who knows only that name is told, and never sums up half of the values.

mod columns;

pub use columns::{file_schema, from_file, join, rows_schema, to_file};

/// The column of values in rows, as every question sees them.
pub const VALUE: &str = "value";
/// The digits of a decimal as a whole number; null where the value is no decimal.
pub const DIGITS: &str = "value_digits";
/// How many of the digits stand behind the point; 0 where there are no digits.
pub const SCALE: &str = "value_scale";
/// The value where it is no decimal, else null.
pub const DOUBLE: &str = "value_double";

/// 10^scale; each is exact as a double.
const POWERS: [f64; 10] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// Digits end here, at 2^52: half of one more is still exact as a double, which rounding needs.
const DIGITS_MAX: f64 = 4_503_599_627_370_496.0;

/// Returns the digits of a value, when with `scale` of them behind the point they are that value,
/// bit for bit.
pub fn digits(value: f64, scale: usize) -> Option<i64> {
    let scaled = value * POWERS[scale];
    // NaN is not below either.
    if !(-DIGITS_MAX..=DIGITS_MAX).contains(&scaled) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "the number is below 2^53")]
    let digits = (scaled + 0.5_f64.copysign(scaled)) as i64;
    (value_of(digits, scale).to_bits() == value.to_bits()).then_some(digits)
}

/// Returns the value of digits, `scale` of them behind the point.
pub fn value_of(digits: i64, scale: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "digits are written up to 2^52 only")]
    let digits = digits as f64;
    match scale {
        0 => digits,
        // Both are exact, so the quotient is the double nearest to the decimal.
        scale => digits / POWERS.get(scale).copied().unwrap_or(f64::NAN),
    }
}

/// Returns the least scale at which all values of a series are decimals, the special ones (infinities,
/// NaN, negative zero) aside; `None` when there is no such scale.
pub fn scale_of(values: &[f64]) -> Option<usize> {
    let is_special = |value: f64| !value.is_finite() || value.to_bits() == (-0.0_f64).to_bits();
    let mut scale = 0;
    for &value in values {
        while digits(value, scale).is_none() && !is_special(value) {
            scale += 1;
            if scale == POWERS.len() {
                return None;
            }
        }
    }
    Some(scale)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(value: f64, scale: usize, expected: Option<i64>) {
        assert_eq!(digits(value, scale), expected, "{value} with {scale} digits");
    }

    #[test]
    fn a_decimal_has_digits() {
        check(0.0, 0, Some(0));
        check(-3.0, 0, Some(-3));
        check(0.5, 0, None);
        check(0.5, 1, Some(5));
        check(0.1, 1, Some(1));
        check(-17.123, 3, Some(-17_123));
        check(0.1 + 0.2, 9, None);
        check(std::f64::consts::PI, 9, None);
    }

    #[test]
    fn what_would_come_back_as_something_else_has_none() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MIN_POSITIVE, 1e300] {
            check(value, 0, None);
            check(value, 9, None);
        }
        check(DIGITS_MAX, 0, Some(1 << 52));
        check(DIGITS_MAX - 1.0, 0, Some((1 << 52) - 1));
        check(DIGITS_MAX * 2.0, 0, None);
        check(DIGITS_MAX, 1, None);
    }

    #[test]
    fn a_series_has_the_scale_of_its_longest_value() {
        for (values, scale) in [
            (&[][..], Some(0)),
            (&[1.0, 2.0, 5e9], Some(0)),
            (&[1.0, 2.5, 2.25], Some(2)),
            (&[f64::NAN, -0.0, 1.5], Some(1)),
            (&[1.0, std::f64::consts::E], None),
        ] {
            assert_eq!(scale_of(values), scale, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn a_decimal_is_found_and_comes_back(digits_in in -(1_i64 << 53)..=1 << 53, scale in 0_usize..10) {
            let value = value_of(digits_in, scale);
            let found = scale_of(&[value]).and_then(|scale| Some((digits(value, scale)?, scale)));
            if let Some((digits, scale)) = found {
                prop_assert_eq!(value_of(digits, scale).to_bits(), value.to_bits());
            }
            // Few enough digits are always found again.
            prop_assert!(found.is_some() || digits_in.abs() > 1 << 49);
        }

        #[test]
        fn any_bits_come_back_or_have_no_digits(bits: u64, scale in 0_usize..10) {
            let value = f64::from_bits(bits);
            if let Some(digits) = digits(value, scale) {
                prop_assert_eq!(value_of(digits, scale).to_bits(), bits);
            }
        }
    }
}
