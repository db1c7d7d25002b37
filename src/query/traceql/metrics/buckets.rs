//! Quantiles and histograms are those of Tempo: values fall into powers of two, and a quantile
//! lies between two of them, exponentially.

use std::collections::BTreeMap;

use super::series::Measured;

/// Returns the power of two that bounds a value; what is below 2 has none, as in Tempo.
pub(super) fn bucket(value: Measured) -> Option<u64> {
    let number = value.number;
    if !(2.0..9.2e18).contains(&number) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 2 and 9.2e18"
    )]
    let whole = number.ceil() as u64;
    whole.checked_next_power_of_two()
}

#[expect(clippy::cast_precision_loss, reason = "a power of two is exact")]
pub(super) fn shown(bound: u64, value: Measured) -> f64 {
    if value.is_duration { bound as f64 / 1e9 } else { bound as f64 }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53; bounds are powers of two")]
pub(super) fn log2_quantile(q: f64, buckets: &BTreeMap<u64, u64>) -> f64 {
    let total: u64 = buckets.values().sum();
    let wanted = (q * total as f64).ceil().max(1.0);
    let mut below = 0.0;
    let mut lower: Option<f64> = None;
    for (bound, count) in buckets {
        let (bound, count) = (*bound as f64, *count as f64);
        if below + count >= wanted {
            let part = (wanted - below) / count;
            let top = bound.log2();
            let bottom = lower.unwrap_or(top - 1.0);
            return (bottom + (top - bottom) * part).exp2();
        }
        below += count;
        lower = Some(bound.log2());
    }
    lower.map_or(f64::NAN, f64::exp2)
}
