//! When a group is due, as pure arithmetic.
//!
//! Each group has its own place within its interval, taken from its name, so that groups of one
//! interval do not all ask at once and a restart does not move them. Times between two evaluations
//! are exact multiples of the interval, however long each takes.

use xxhash_rust::xxh3::xxh3_64;

/// Returns a group's place within its interval.
pub(super) fn offset_ms(file: &str, group: &str, interval_ms: i64) -> i64 {
    let hash = xxh3_64(format!("{file}\0{group}").as_bytes());
    i64::try_from(hash % interval_ms.unsigned_abs().max(1)).unwrap_or(0)
}

/// Returns the last evaluation time at or before `now_ms`.
pub(super) fn slot_ms(now_ms: i64, interval_ms: i64, offset_ms: i64) -> i64 {
    (now_ms - offset_ms).div_euclid(interval_ms) * interval_ms + offset_ms
}

/// Returns the evaluation that is due and how many were missed before it. A clock that was set back
/// by more than an interval starts the count anew.
pub(super) fn due(
    last_ms: i64,
    now_ms: i64,
    interval_ms: i64,
    offset_ms: i64,
) -> Option<(i64, u64)> {
    let slot_ms = slot_ms(now_ms, interval_ms, offset_ms);
    let n_passed = (slot_ms - last_ms) / interval_ms;
    match n_passed {
        0 => None,
        1.. => Some((slot_ms, n_passed.unsigned_abs() - 1)),
        _ => Some((slot_ms, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(last_ms: i64, now_ms: i64, want: Option<(i64, u64)>) {
        assert_eq!(due(last_ms, now_ms, 100, 7), want);
    }

    #[test]
    fn a_group_is_due_once_an_interval_at_its_own_place() {
        check(107, 107, None);
        check(107, 206, None);
        check(107, 207, Some((207, 0)));
        check(107, 250, Some((207, 0)));
        check(107, 306, Some((207, 0)));
    }

    #[test]
    fn slow_evaluations_miss_some() {
        check(107, 450, Some((407, 2)));
    }

    #[test]
    fn a_clock_set_back_does_not_stop_the_rules() {
        check(100_007, 450, Some((407, 0)));
        check(107, 106, Some((7, 0)));
    }

    #[test]
    fn groups_are_spread_over_their_interval() {
        let mut places: Vec<i64> =
            (0..100).map(|n| offset_ms("f", &n.to_string(), 60_000) / 15_000).collect();
        places.sort_unstable();
        places.dedup();

        assert_eq!(places, [0, 1, 2, 3]);
    }
}
