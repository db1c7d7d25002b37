//! What senders were told, item by item, and the judge who holds a store against it.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::SmallRng;

use super::store::Store;
use crate::storage::wal::segment::WalError;

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Sample,
    ExpHistogram,
    Log,
    Span,
}

/// One sample, histogram, record or span; all that is stored of it follows from its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    pub(super) number: u32,
    pub(super) kind: Kind,
    /// Index of its commons.
    pub(super) commons: u8,
    /// Past the retention: once in a file, it may be removed.
    pub(super) is_old: bool,
}

/// What is known of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Must be there once.
    Acknowledged,
    /// May be there once.
    Unknown,
    /// Was refused, was not there when it might have been, or is past the retention and was removed:
    /// must not be there.
    Absent,
}

#[derive(Debug)]
pub(super) struct Ledger {
    seed: u64,
    next_number: u32,
    fates: BTreeMap<Item, Fate>,
    has_retained: bool,
}

const N_COMMONS: u8 = 3;

impl Ledger {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, next_number: 0, fates: BTreeMap::new(), has_retained: false }
    }

    pub(super) fn new_item(&mut self, rng: &mut SmallRng) -> Item {
        self.next_number += 1;
        let kind = match rng.random_range(0..7) {
            0..3 => Kind::Sample,
            3 => Kind::ExpHistogram,
            4 | 5 => Kind::Log,
            _ => Kind::Span,
        };
        let is_old = rng.random_ratio(1, 8);
        Item { number: self.next_number, kind, commons: rng.random_range(0..N_COMMONS), is_old }
    }

    /// Returns a sample that was sent before, which its sender may send again.
    pub(super) fn sent_before(&self, rng: &mut SmallRng) -> Option<Item> {
        let may_repeat = |item: &&Item| item.kind == Kind::Sample && !item.is_old;
        let samples: Vec<&Item> = self.fates.keys().filter(may_repeat).collect();
        (!samples.is_empty()).then(|| *samples[rng.random_range(0..samples.len())])
    }

    /// Notes what the sender of a group was told.
    pub(super) fn told(&mut self, items: &[Item], result: &Result<(), WalError>) {
        for item in items {
            let before = self.fates.get(item).copied();
            let fate = match (result, before) {
                (Ok(()), _) | (Err(_), Some(Fate::Acknowledged)) => Fate::Acknowledged,
                (Err(WalError::Full), None | Some(Fate::Absent)) => Fate::Absent,
                (Err(_), _) => Fate::Unknown,
            };
            self.fates.insert(*item, fate);
        }
    }

    /// Retention begins: from now on, old items may be gone.
    pub(super) fn retaining(&mut self) {
        self.has_retained = true;
    }

    /// Holds the store against what the senders were told.
    #[track_caller]
    pub(super) fn judge(&mut self, store: &Store) {
        let seed = self.seed;
        let mut found = store.found();
        for (item, fate) in &mut self.fates {
            let n_found = found.remove(item).unwrap_or(0);
            *fate = match (*fate, n_found) {
                (Fate::Acknowledged | Fate::Unknown, 1) => Fate::Acknowledged,
                (Fate::Acknowledged, 0) if item.is_old && self.has_retained => Fate::Absent,
                (Fate::Unknown | Fate::Absent, 0) => Fate::Absent,
                _ => panic!("seed {seed}: {item:?} was {fate:?} and is there {n_found} times"),
            };
        }
        assert!(found.is_empty(), "seed {seed}: never sent: {found:?}");
    }
}
