//! What is to be sent, and which of it may be tried now; pure.
//!
//! Notifications of one group are sent in order, so that an end never overtakes its beginning; groups
//! do not wait for each other, nor receivers. A failed one is tried again after 1 s, doubling to 5 min,
//! for a week.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::send::Outcome;

/// The longest pause between two attempts.
const BACKOFF_MS_MAX: i64 = 5 * 60_000;
/// How long a notification is tried.
pub(super) const AGE_MS_MAX: i64 = 7 * 86_400_000;
/// The most notifications that wait for one receiver.
pub(super) const ENTRIES_MAX: usize = 10_000;
/// The most attempts under way for one receiver.
pub(super) const UNDER_WAY_MAX: usize = 5;

/// A notification that waits for its delivery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) receiver: String,
    pub(super) group_key: String,
    /// Order of arrival.
    pub(super) seq: u64,
    pub(super) body: String,
    pub(super) created_ms: i64,
    #[serde(skip)]
    n_attempts: u32,
    #[serde(skip)]
    next_ms: i64,
    #[serde(skip)]
    is_under_way: bool,
}

/// What became of an entry after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It leaves the outbox: the word that counts it.
    Leaves(&'static str),
    /// It will be tried again after this long.
    Stays {
        /// The pause.
        pause_ms: i64,
    },
}

/// The notifications that wait for one receiver.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    by_seq: BTreeMap<u64, Entry>,
    last_seq: u64,
}

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.by_seq.len()
    }

    /// Takes back an entry that an earlier process stored.
    pub(super) fn restore(&mut self, entry: Entry) {
        self.last_seq = self.last_seq.max(entry.seq);
        self.by_seq.insert(entry.seq, entry);
    }

    /// Adds a notification, or returns `None` when this very one waits already.
    pub(super) fn push(
        &mut self,
        id: String,
        receiver: &str,
        group_key: &str,
        body: String,
        now_ms: i64,
    ) -> Option<Entry> {
        if self.by_seq.values().any(|entry| entry.id == id) {
            return None;
        }
        self.last_seq += 1;
        let entry = Entry {
            id,
            receiver: receiver.to_owned(),
            group_key: group_key.to_owned(),
            seq: self.last_seq,
            body,
            created_ms: now_ms,
            n_attempts: 0,
            next_ms: now_ms,
            is_under_way: false,
        };
        self.by_seq.insert(entry.seq, entry.clone());
        Some(entry)
    }

    /// Removes and returns what is too old or too much; the oldest goes first.
    pub(super) fn shed(&mut self, now_ms: i64) -> Vec<(Entry, &'static str)> {
        let mut shed = Vec::new();
        while let Some((_, entry)) = self.by_seq.first_key_value() {
            let why = match () {
                () if now_ms - entry.created_ms > AGE_MS_MAX => "expired",
                () if self.by_seq.len() > ENTRIES_MAX => "dropped",
                () => break,
            };
            if let Some((_, entry)) = self.by_seq.pop_first() {
                shed.push((entry, why));
            }
        }
        shed
    }

    /// Returns whether a notification of the group waits.
    pub(super) fn holds(&self, group_key: &str) -> bool {
        self.by_seq.values().any(|entry| entry.group_key == group_key)
    }

    /// Returns what may be tried now and notes that it is: the oldest of each group whose pause is over.
    pub(super) fn take_due(&mut self, now_ms: i64) -> Vec<Entry> {
        let n_under_way = self.by_seq.values().filter(|entry| entry.is_under_way).count();
        let mut n_free = UNDER_WAY_MAX.saturating_sub(n_under_way);
        let mut seen = BTreeSet::new();
        let mut due = Vec::new();
        for entry in self.by_seq.values_mut() {
            let is_first = seen.insert(entry.group_key.clone());
            if n_free > 0 && is_first && !entry.is_under_way && entry.next_ms <= now_ms {
                entry.is_under_way = true;
                n_free -= 1;
                due.push(entry.clone());
            }
        }
        due
    }

    /// Notes how an attempt ended.
    pub(super) fn settle(&mut self, seq: u64, outcome: &Outcome, now_ms: i64) -> Fate {
        let asked_ms = match outcome {
            Outcome::Delivered => return self.leave(seq, "delivered"),
            Outcome::Refused { .. } => return self.leave(seq, "refused"),
            Outcome::Failed { retry_after, .. } => retry_after
                .map_or(0, |after| i64::try_from(after.as_millis()).unwrap_or(BACKOFF_MS_MAX)),
        };
        let Some(entry) = self.by_seq.get_mut(&seq) else {
            return Fate::Leaves("dropped"); // It was shed meanwhile.
        };
        entry.is_under_way = false;
        entry.n_attempts = entry.n_attempts.saturating_add(1);
        let pause_ms = backoff_ms(&entry.id, entry.n_attempts).max(asked_ms.min(BACKOFF_MS_MAX));
        entry.next_ms = now_ms + pause_ms;
        Fate::Stays { pause_ms }
    }

    fn leave(&mut self, seq: u64, why: &'static str) -> Fate {
        self.by_seq.remove(&seq);
        Fate::Leaves(why)
    }
}

/// Returns the pause after the n-th failure: 2 s doubling to 5 min, of which the second half is left to
/// chance, so that what failed together does not come back together. The chance is a hash, not a
/// generator: the same entry pauses alike in every run.
fn backoff_ms(id: &str, n_failures: u32) -> i64 {
    let ceiling_ms = 1_000_i64
        .saturating_mul(1_i64.checked_shl(n_failures.min(30)).unwrap_or(i64::MAX))
        .min(BACKOFF_MS_MAX);
    let chance = xxh3_64(format!("{id}\0{n_failures}").as_bytes()) % 1_000;
    let chance = i64::try_from(chance).unwrap_or(0);
    ceiling_ms / 2 + ceiling_ms / 2 * chance / 1_000
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn failed() -> Outcome {
        Outcome::Failed { reason: "answered 503".to_owned(), retry_after: None }
    }

    fn push(outbox: &mut Outbox, id: &str, group: &str) {
        outbox.push(id.to_owned(), "webhook", group, String::new(), 0).unwrap();
    }

    fn ids(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.id.as_str()).collect()
    }

    #[test]
    fn pauses_double_from_one_second_to_five_minutes() {
        for n_failures in 1..200 {
            let ceiling_ms = (1_000 << n_failures.min(20)).min(BACKOFF_MS_MAX);

            let pause_ms = backoff_ms("a", n_failures);

            assert!((ceiling_ms / 2..=ceiling_ms).contains(&pause_ms), "{n_failures}: {pause_ms}");
        }
        assert!((1..50).any(|n| backoff_ms("a", n) != backoff_ms("b", n)), "there is no chance");
    }

    #[test]
    fn a_group_is_sent_in_order_and_delays_no_other() {
        let mut outbox = Outbox::default();
        push(&mut outbox, "a1", "a");
        push(&mut outbox, "a2", "a");
        push(&mut outbox, "b1", "b");

        let due = outbox.take_due(0);
        assert_eq!(ids(&due), ["a1", "b1"]);
        outbox.settle(due[0].seq, &failed(), 0);
        outbox.settle(due[1].seq, &Outcome::Delivered, 0);

        assert_eq!(ids(&outbox.take_due(0)), [""; 0], "a2 waits for a1");
        let due = outbox.take_due(2_000);
        assert_eq!(ids(&due), ["a1"]);
        outbox.settle(due[0].seq, &Outcome::Refused { status: 404 }, 2_000);
        assert_eq!(ids(&outbox.take_due(2_000)), ["a2"]);
    }

    #[test]
    fn attempts_under_way_are_few() {
        let mut outbox = Outbox::default();
        for n in 0..20 {
            push(&mut outbox, &n.to_string(), &n.to_string());
        }

        assert_eq!(outbox.take_due(0).len(), UNDER_WAY_MAX);
        assert_eq!(outbox.take_due(0).len(), 0);
    }

    #[test]
    fn a_receivers_wish_for_a_pause_is_granted_within_reason() {
        let mut outbox = Outbox::default();
        push(&mut outbox, "a", "a");
        let wish = |secs| Outcome::Failed {
            reason: String::new(),
            retry_after: Some(Duration::from_secs(secs)),
        };

        assert_eq!(outbox.settle(1, &wish(60), 0), Fate::Stays { pause_ms: 60_000 });
        assert_eq!(outbox.settle(1, &wish(u64::MAX), 0), Fate::Stays { pause_ms: BACKOFF_MS_MAX });
    }

    #[test]
    fn what_is_a_week_old_is_given_up() {
        let mut outbox = Outbox::default();
        push(&mut outbox, "a", "a");

        assert_eq!(outbox.shed(AGE_MS_MAX).len(), 0);
        assert_eq!(outbox.shed(AGE_MS_MAX + 1)[0].1, "expired");
    }

    #[test]
    fn a_receiver_that_is_gone_does_not_fill_the_disk() {
        let mut outbox = Outbox::default();
        for n in 0..=ENTRIES_MAX as u64 {
            let entry = Entry {
                seq: n,
                id: n.to_string(),
                receiver: String::new(),
                group_key: n.to_string(),
                body: String::new(),
                created_ms: 0,
                n_attempts: 0,
                next_ms: 0,
                is_under_way: false,
            };
            outbox.restore(entry);
        }

        let shed = outbox.shed(0);

        assert_eq!((shed.len(), shed[0].0.id.as_str(), shed[0].1), (1, "0", "dropped"));
    }

    #[test]
    fn one_notification_is_queued_once() {
        let mut outbox = Outbox::default();
        push(&mut outbox, "a", "a");

        assert_eq!(outbox.push("a".to_owned(), "webhook", "a", String::new(), 0), None);
    }
}
