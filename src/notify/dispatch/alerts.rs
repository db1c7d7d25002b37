//! The alerts that are known: those that fire, and those whose end some group has yet to tell.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::AlertEvent;

/// After a restart, what fired counts as firing for at least this long, so that the rules have time to
/// say so again before anyone is told that all is well.
const GRACE_MS: i64 = 5 * 60_000;

/// One alert as it was last told to us.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::notify) struct Held {
    pub(in crate::notify) event: AlertEvent,
    /// When we were last told.
    pub(in crate::notify) updated_ms: i64,
    /// Whether its end is only a guess, because whoever told it named none.
    #[serde(default)]
    pub(in crate::notify) times_out: bool,
    /// How many groups have it.
    #[serde(skip)]
    pub(super) n_groups: usize,
}

impl Held {
    /// Returns an alert whose end was named; one that is said to be over is, whatever the clocks say.
    pub(in crate::notify) fn told(mut event: AlertEvent, now_ms: i64) -> Self {
        if event.resolved {
            event.ends_at_ms = event.ends_at_ms.min(now_ms);
        }
        Self { event, updated_ms: now_ms, times_out: false, n_groups: 0 }
    }

    /// Returns true when it is over: by its end, or because nobody speaks of it any more.
    pub(super) fn is_over(&self, now_ms: i64) -> bool {
        self.event.ends_at_ms <= now_ms
    }

    /// Puts what is newly told on top of what was known, as Alertmanager does: times that overlap are
    /// one alert with the earliest start, and an end that was named outlives a guess.
    fn over(self, old: &Held) -> Held {
        let (new, was) = (&self.event, &old.event);
        let within = |time_ms: i64| was.starts_at_ms < time_ms && time_ms < was.ends_at_ms;
        if !within(new.ends_at_ms) && !within(new.starts_at_ms) {
            return self;
        }
        let mut merged = self.clone();
        merged.event.starts_at_ms = was.starts_at_ms.min(new.starts_at_ms);
        let (is_over, was_over) = (self.is_over(self.updated_ms), old.is_over(self.updated_ms));
        let keeps_old = if is_over { was_over } else { !old.times_out };
        if keeps_old && was.ends_at_ms > new.ends_at_ms {
            merged.event.ends_at_ms = was.ends_at_ms;
        }
        merged
    }
}

/// All alerts, by their fingerprints.
#[derive(Debug, Default)]
pub(super) struct AlertBook {
    by_fingerprint: BTreeMap<u64, Held>,
}

impl AlertBook {
    pub(super) fn get(&self, fingerprint: u64) -> Option<&Held> {
        self.by_fingerprint.get(&fingerprint)
    }

    pub(super) fn get_mut(&mut self, fingerprint: u64) -> Option<&mut Held> {
        self.by_fingerprint.get_mut(&fingerprint)
    }

    pub(super) fn len(&self) -> usize {
        self.by_fingerprint.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Held)> {
        self.by_fingerprint.iter().map(|(fingerprint, held)| (*fingerprint, held))
    }

    pub(super) fn remove(&mut self, fingerprint: u64) -> Option<Held> {
        self.by_fingerprint.remove(&fingerprint)
    }

    /// Takes an alert; returns whether it is worth storing: it is new, began anew, or is over.
    pub(super) fn take(&mut self, fingerprint: u64, held: Held, now_ms: i64) -> bool {
        let Some(old) = self.by_fingerprint.get_mut(&fingerprint) else {
            self.by_fingerprint.insert(fingerprint, held);
            return true;
        };
        let n_groups = old.n_groups;
        let new = Held { n_groups, ..held.over(old) };
        let is_change = new.event.starts_at_ms != old.event.starts_at_ms
            || new.is_over(now_ms) != old.is_over(now_ms)
            || new.event.annotations != old.event.annotations;
        *old = new;
        is_change
    }

    /// Gives what fired at a time as much longer as the clock has leapt since.
    pub(super) fn leap(&mut self, by_ms: i64, before_ms: i64) {
        for held in self.by_fingerprint.values_mut().filter(|held| !held.is_over(before_ms)) {
            held.event.ends_at_ms = held.event.ends_at_ms.saturating_add(by_ms);
        }
    }

    /// Takes back what an earlier process stored, maybe while its clock was ahead.
    pub(super) fn restore(&mut self, fingerprint: u64, mut held: Held, now_ms: i64) {
        let ahead_ms = held.updated_ms.saturating_sub(now_ms).max(0);
        held.updated_ms = held.updated_ms.saturating_sub(ahead_ms);
        held.event.ends_at_ms = held.event.ends_at_ms.saturating_sub(ahead_ms);
        if held.event.ends_at_ms > held.updated_ms {
            held.event.ends_at_ms = held.event.ends_at_ms.max(now_ms.saturating_add(GRACE_MS));
        }
        held.n_groups = 0;
        self.by_fingerprint.insert(fingerprint, held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    fn held(starts_at_ms: i64, ends_at_ms: i64, updated_ms: i64, times_out: bool) -> Held {
        let event = AlertEvent {
            labels: Labels::empty(),
            annotations: BTreeMap::new(),
            starts_at_ms,
            ends_at_ms,
            resolved: false,
            generator_url: String::new(),
        };
        Held { event, updated_ms, times_out, n_groups: 0 }
    }

    /// Alertmanager's own table of merges (types_test.go, TestAlertMerge), times in its minutes.
    #[track_caller]
    fn check(old: (i64, i64, i64, bool), new: (i64, i64, i64, bool), want: (i64, i64)) {
        let at = |(s, e, u, t): (i64, i64, i64, bool)| held(s, e, u, t);
        let merged = at(new).over(&at(old));
        assert_eq!((merged.event.starts_at_ms, merged.event.ends_at_ms), want);
    }

    #[test]
    fn overlapping_times_are_one_alert() {
        check((-60, 120, 0, true), (0, 180, 1, true), (-60, 180));
        check((0, 120, 0, true), (-60, 119, 1, true), (-60, 119));
        check((-60, 180, 0, false), (0, 120, 1, true), (-60, 180));
        check((-60, -3, 0, false), (-10, -2, 1, false), (-60, -2));
    }

    #[test]
    fn separate_times_are_two() {
        check((-60, -30, 0, false), (0, 60, 1, false), (0, 60));
    }

    #[test]
    fn what_a_clock_that_was_ahead_has_stored_ends_in_its_time() {
        let mut book = AlertBook::default();

        // A year of minutes ahead, three before its end.
        book.restore(1, held(525_600, 525_603, 525_600, true), 10);

        let restored = book.get(1).unwrap();
        assert_eq!((restored.updated_ms, restored.event.ends_at_ms), (10, 10 + GRACE_MS));
    }

    #[test]
    fn an_end_ends_what_fires() {
        check((-60, 120, 0, false), (-60, 10, 20, false), (-60, 10));
    }
}
