//! Which questions are answered on the thread that has read them.
//!
//! A question is worked on by a thread of its own, so that a long one keeps no connection waiting. To
//! hand it there and its answer back is a fifth of all the CPU that a question about a few series takes.
//! So one that was answered quickly the last time is tried on the spot: with what is in memory, without a
//! disk, in little time. Where that does not do it goes the long way, as if nothing had been tried.

use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

/// What takes no longer is tried on the spot the next time.
const QUICK: Duration = Duration::from_micros(500);
/// What may be spent on the spot.
pub(super) const ON_THE_SPOT_MAX: Duration = Duration::from_millis(2);
/// How often a question that could not be answered on the spot goes the long way before it is tried again.
pub(super) const LONG_WAYS: u8 = 50;
/// Questions that are remembered; past this all are forgotten, and learned again.
const ASKED_MAX: usize = 4_096;

/// A question as a panel or a rule asks it again and again, whatever the time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Asked(u64);

impl Asked {
    /// Returns the question of somebody over a time of some ms, each step of some ms.
    pub(super) fn new(principal: &str, text: &str, (span_ms, step_ms): (i64, i64)) -> Self {
        Self(xxh3_64(format!("{principal}\0{span_ms} {step_ms}\0{text}").as_bytes()))
    }
}

/// What is known of questions that were asked lately: how often they go the long way yet.
#[derive(Debug, Default)]
pub(super) struct Quick {
    asked: Mutex<HashMap<Asked, u8>>,
}

impl Quick {
    /// Returns true when a question is worth an attempt on the spot.
    pub(super) fn is_quick(&self, asked: Asked) -> bool {
        self.asked.lock().get(&asked) == Some(&0)
    }

    /// Notes that a question was answered, and how long that took.
    pub(super) fn answered(&self, asked: Asked, took_ns: u64) {
        let is_quick = Duration::from_nanos(took_ns) <= QUICK;
        let mut all = self.asked.lock();
        match all.get_mut(&asked) {
            Some(n_left) if is_quick => *n_left = n_left.saturating_sub(1),
            Some(_) => drop(all.remove(&asked)),
            None if is_quick => {
                if all.len() >= ASKED_MAX {
                    all.clear();
                }
                all.insert(asked, 0);
            }
            None => {}
        }
    }

    /// Notes that a question could not be answered on the spot.
    pub(super) fn missed(&self, asked: Asked) {
        if let Some(n_left) = self.asked.lock().get_mut(&asked) {
            *n_left = LONG_WAYS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: u64 = 100_000;
    const LATE: u64 = 1_000_000;

    fn asked(text: &str) -> Asked {
        Asked::new("grafana", text, (0, 0))
    }

    #[test]
    fn what_was_quick_the_last_time_is_tried_on_the_spot() {
        let quick = Quick::default();
        assert!(!quick.is_quick(asked("up")), "nobody knows");

        quick.answered(asked("up"), SOON);
        assert!(quick.is_quick(asked("up")));
        quick.answered(asked("up"), LATE);
        assert!(!quick.is_quick(asked("up")));
        quick.answered(asked("down"), LATE);
        assert!(!quick.is_quick(asked("down")));
    }

    #[test]
    fn the_same_words_of_somebody_else_or_over_another_time_are_another_question() {
        let one = asked("up");

        assert_ne!(one, Asked::new("viewer", "up", (0, 0)));
        assert_ne!(one, Asked::new("grafana", "up", (3_600_000, 15_000)));
        assert_ne!(one, Asked::new("grafana", "up", (0, 15_000)));
        assert_eq!(one, asked("up"));
    }

    #[test]
    fn what_could_not_be_answered_on_the_spot_goes_the_long_way_for_a_while() {
        let quick = Quick::default();
        quick.answered(asked("up"), SOON);

        quick.missed(asked("up"));

        for _ in 0..LONG_WAYS {
            assert!(!quick.is_quick(asked("up")));
            quick.answered(asked("up"), SOON);
        }
        assert!(quick.is_quick(asked("up")));
        quick.missed(asked("never asked"));
        assert!(!quick.is_quick(asked("never asked")));
    }

    #[test]
    fn only_so_many_are_remembered() {
        let quick = Quick::default();
        for at in 0..3 * ASKED_MAX {
            quick.answered(asked(&at.to_string()), SOON);
        }
        assert!((1..=ASKED_MAX).contains(&quick.asked.lock().len()));
    }
}
