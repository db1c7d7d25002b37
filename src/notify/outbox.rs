//! What is to be sent, and which of it may be tried now; pure.
//!
//! Notifications of one group are sent in order, so that an end never overtakes its beginning; groups
//! do not wait for each other, nor receivers. A failed one is tried again after 1 s, doubling to 5 min,
//! for a week.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::said::Message;
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
    /// The way of telling that it waits for.
    pub(super) desk: String,
    pub(super) group_key: String,
    /// Further groups that it tells of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) covers: Vec<String>,
    /// Order of arrival.
    pub(super) seq: u64,
    pub(super) body: String,
    /// What comes behind the receiver's URL.
    #[serde(default)]
    pub(super) path: String,
    pub(super) created_ms: i64,
    #[serde(default)]
    pub(super) n_attempts: u32,
    #[serde(default)]
    next_ms: i64,
    #[serde(skip)]
    is_under_way: bool,
}

impl Entry {
    /// Returns the keys of all groups that it tells of.
    fn groups(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.group_key).chain(&self.covers).map(String::as_str)
    }
}

/// A notification on its way into the outbox.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NewEntry {
    pub(super) id: String,
    pub(super) desk: String,
    pub(super) group_key: String,
    pub(super) covers: Vec<String>,
    pub(super) message: Message,
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
    ids: HashSet<String>,
    n_by_group: HashMap<String, usize>,
    last_seq: u64,
}

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.by_seq.len()
    }

    /// Returns all entries, in order.
    pub(super) fn into_entries(self) -> impl Iterator<Item = Entry> {
        self.by_seq.into_values()
    }

    /// Returns an entry that still waits.
    pub(super) fn get(&self, seq: u64) -> Option<&Entry> {
        self.by_seq.get(&seq)
    }

    /// Takes back an entry that an earlier process stored, maybe while its clock was ahead.
    pub(super) fn restore(&mut self, mut entry: Entry, now_ms: i64) {
        entry.created_ms = entry.created_ms.min(now_ms);
        entry.next_ms = entry.next_ms.min(now_ms.saturating_add(BACKOFF_MS_MAX));
        self.last_seq = self.last_seq.max(entry.seq);
        self.add(entry);
    }

    /// Moves along with a clock that has made a leap.
    pub(super) fn leap(&mut self, by_ms: i64) {
        for entry in self.by_seq.values_mut() {
            entry.created_ms = entry.created_ms.saturating_add(by_ms);
            entry.next_ms = entry.next_ms.saturating_add(by_ms);
        }
    }

    /// Adds a notification, or returns `None` when this very one waits already.
    pub(super) fn push(&mut self, new: NewEntry, now_ms: i64) -> Option<Entry> {
        if !self.ids.insert(new.id.clone()) {
            return None;
        }
        self.last_seq += 1;
        let entry = Entry {
            id: new.id,
            desk: new.desk,
            group_key: new.group_key,
            covers: new.covers,
            seq: self.last_seq,
            body: new.message.body,
            path: new.message.path,
            created_ms: now_ms,
            n_attempts: 0,
            next_ms: now_ms,
            is_under_way: false,
        };
        self.add(entry.clone());
        Some(entry)
    }

    fn add(&mut self, entry: Entry) {
        for group in entry.groups() {
            *self.n_by_group.entry(group.to_owned()).or_default() += 1;
        }
        self.ids.insert(entry.id.clone());
        self.by_seq.insert(entry.seq, entry);
    }

    fn remove(&mut self, seq: u64) -> Option<Entry> {
        let entry = self.by_seq.remove(&seq)?;
        self.ids.remove(&entry.id);
        for group in entry.groups() {
            if let Some(n) = self.n_by_group.get_mut(group) {
                *n -= 1;
                if *n == 0 {
                    self.n_by_group.remove(group);
                }
            }
        }
        Some(entry)
    }

    /// Removes and returns what is too old or too much; the oldest goes first.
    pub(super) fn shed(&mut self, aging_ms: i64) -> Vec<(Entry, &'static str)> {
        let mut shed = Vec::new();
        while let Some((&seq, entry)) = self.by_seq.first_key_value() {
            let why = match () {
                () if aging_ms.saturating_sub(entry.created_ms) > AGE_MS_MAX => "expired",
                () if self.by_seq.len() > ENTRIES_MAX => "dropped",
                () => break,
            };
            shed.extend(self.remove(seq).map(|entry| (entry, why)));
        }
        shed
    }

    /// Returns whether a notification of the group waits.
    pub(super) fn holds(&self, group_key: &str) -> bool {
        self.n_by_group.contains_key(group_key)
    }

    /// Returns what may be tried now and notes that it is: the oldest of each group whose pause is over.
    pub(super) fn take_due(&mut self, now_ms: i64) -> Vec<Entry> {
        let n_under_way = self.by_seq.values().filter(|entry| entry.is_under_way).count();
        let mut n_free = UNDER_WAY_MAX.saturating_sub(n_under_way);
        let mut seen = HashSet::new();
        let mut due = Vec::new();
        for entry in self.by_seq.values_mut() {
            let groups: Vec<&str> = entry.groups().collect();
            let is_first = !groups.iter().any(|group| seen.contains(*group));
            seen.extend(groups.into_iter().map(str::to_owned));
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
            Outcome::Delivered { .. } => return self.leave(seq, "delivered"),
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
        self.remove(seq);
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
        Outcome::Failed { reason: "answered 503".to_owned(), status: Some(503), retry_after: None }
    }

    fn new(id: &str, group: &str) -> NewEntry {
        NewEntry {
            id: id.to_owned(),
            desk: "webhook".to_owned(),
            group_key: group.to_owned(),
            covers: Vec::new(),
            message: Message::default(),
        }
    }

    fn push(outbox: &mut Outbox, id: &str, group: &str) {
        outbox.push(new(id, group), 0).unwrap();
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
        outbox.settle(due[1].seq, &Outcome::Delivered { status: 200 }, 0);

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
            status: Some(429),
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
                desk: String::new(),
                covers: Vec::new(),
                group_key: n.to_string(),
                body: String::new(),
                path: String::new(),
                created_ms: 0,
                n_attempts: 0,
                next_ms: 0,
                is_under_way: false,
            };
            outbox.restore(entry, 0);
        }

        let shed = outbox.shed(0);

        assert_eq!((shed.len(), shed[0].0.id.as_str(), shed[0].1), (1, "0", "dropped"));
    }

    #[test]
    fn one_notification_is_queued_once() {
        let mut outbox = Outbox::default();
        push(&mut outbox, "a", "a");

        assert_eq!(outbox.push(new("a", "a"), 0), None);
    }
}
