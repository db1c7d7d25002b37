//! Series by the hash of their raw label bytes, so that a known series costs one probe.
//!
//! The only table that the door asks for each sample. An [`Epoch`] tells how old an answer is: it
//! ends whenever series leave, so what was looked up in the current epoch is known to be right, and
//! what was looked up earlier is checked before it is used (`engine`).

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as TableEntry;

use crate::storage::SeriesRef;

/// The time between two departures of series, counted from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub(in crate::storage) u64);

impl Epoch {
    /// The epoch in which a store starts.
    pub const FIRST: Self = Self(0);

    /// Returns the epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A key in two halves: as a `u128` it would need 8 bytes more for its alignment.
#[derive(Debug, Clone, Copy)]
struct Entry {
    low: u64,
    high: u64,
    series: SeriesRef,
}

/// Series by key.
#[derive(Debug, Default)]
pub struct RawKeys {
    table: HashTable<Entry>,
    epoch: Epoch,
}

impl RawKeys {
    /// Returns the epoch that is under way.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Begins the next epoch: series have left.
    pub fn end_epoch(&mut self) {
        self.epoch = self.epoch.next();
    }

    /// Returns the series of a key.
    #[inline]
    pub fn get(&self, key: u128) -> Option<SeriesRef> {
        let (low, high) = halves(key);
        let entry = self.table.find(low, |entry| entry.low == low && entry.high == high)?;
        Some(entry.series)
    }

    /// Makes `key` a key of `series`; returns true when it was not.
    pub fn insert(&mut self, key: u128, series: SeriesRef) -> bool {
        let (low, high) = halves(key);
        let is_same = |entry: &Entry| entry.low == low && entry.high == high;
        match self.table.entry(low, is_same, |entry| entry.low) {
            TableEntry::Occupied(mut entry) => {
                let entry = entry.get_mut();
                std::mem::replace(&mut entry.series, series) != series
            }
            TableEntry::Vacant(entry) => {
                entry.insert(Entry { low, high, series });
                true
            }
        }
    }

    /// Removes the key whose lower half is `low`, if it is still one of `series`.
    pub fn remove(&mut self, low: u64, series: SeriesRef) {
        let is_its = |entry: &Entry| entry.low == low && entry.series == series;
        if let Ok(entry) = self.table.find_entry(low, is_its) {
            entry.remove();
        }
    }

    /// Gives memory back when most of the table is empty.
    pub fn shrink(&mut self) {
        if self.table.capacity() / 4 > self.table.len().max(1024) {
            self.table.shrink_to(2 * self.table.len(), |entry| entry.low);
        }
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns true when there is no key.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Returns the memory held.
    pub fn size_bytes(&self) -> usize {
        self.table.allocation_size()
    }
}

/// Parts a key; the lower half is its hash as well, being one already. It is never 0, which stands
/// for no key.
#[expect(clippy::cast_possible_truncation, reason = "it is the point")]
fn halves(key: u128) -> (u64, u64) {
    ((key as u64).max(1), (key >> 64) as u64)
}

/// Returns the half of a key by which it is removed.
pub(super) fn low_half(key: u128) -> u64 {
    halves(key).0
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SeriesRef = SeriesRef { commons_idx: 0, series_idx: 1 };
    const B: SeriesRef = SeriesRef { commons_idx: 1, series_idx: 0 };

    #[test]
    fn keys_that_share_a_half_are_told_apart() {
        let mut keys = RawKeys::default();

        assert!(keys.insert(7, A) && keys.insert(7 | 1 << 64, B) && !keys.insert(7, A));

        assert_eq!([keys.get(7), keys.get(7 | 1 << 64), keys.get(8)], [Some(A), Some(B), None]);
        keys.remove(7, A);
        assert_eq!([keys.get(7), keys.get(7 | 1 << 64)], [None, Some(B)]);
    }

    #[test]
    fn a_key_that_went_to_another_series_stays_with_it() {
        let mut keys = RawKeys::default();
        keys.insert(7, A);
        keys.insert(7, B);

        keys.remove(7, A);

        assert_eq!(keys.get(7), Some(B));
    }

    #[test]
    fn an_entry_has_24_bytes() {
        assert_eq!(size_of::<Entry>(), 24);
    }
}
