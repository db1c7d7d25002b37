//! What was decided about keys that storage's own table cannot hold.
//!
//! Three kinds. Series that tagging drops, or has added up by `derive`, have no place in storage, and
//! must cost a hash all the same when they come again. Series that no rule could place are stored as `_unassigned`, but tagging
//! learns: they are asked about again when it has, so they are known here, with the version of the
//! rules' knowledge, and not by their key in storage. Both memories are bounded; what is forgotten
//! costs one more parse and nothing else.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::outcome::Refusal;
use super::resolve::NotStored;
use crate::model::{Commons, Labels, SeriesMeta};
use crate::storage::SeriesRef;

/// A series that lost a telling label: it is added up with others under what is left.
#[derive(Debug, PartialEq, Eq)]
pub struct Folded {
    /// The key, which tells the sender's series apart.
    pub key: u128,
    /// The commons.
    pub commons: Commons,
    /// What is left of the labels.
    pub labels: Labels,
    /// What the numbers are.
    pub meta: SeriesMeta,
}

/// What is remembered of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// This rule drops it.
    Dropped(&'static str),
    /// It is added up.
    Folded(Arc<Folded>),
    /// It is stored as `_unassigned`, as far as was known then.
    Unassigned {
        /// The series.
        series: SeriesRef,
        /// What was known then.
        version: u64,
    },
}

impl Verdict {
    /// Returns about how much memory it takes.
    fn n_bytes(&self) -> usize {
        let of_labels = match self {
            Verdict::Folded(folded) => size_of::<Folded>() + folded.labels.packed().len(),
            Verdict::Dropped(_) | Verdict::Unassigned { .. } => 0,
        };
        size_of::<(u128, Self)>() + of_labels
    }
}

/// A bounded memory of verdicts. When the young half is full, the older half is forgotten.
#[derive(Debug)]
pub struct Remembered {
    halves: Mutex<Halves>,
    half_max: usize,
    asked: Asked,
}

#[derive(Debug, Default)]
struct Halves {
    young: Verdicts,
    old: Verdicts,
    young_bytes: usize,
}

type Verdicts = HashMap<u128, Verdict, BuildHasherDefault<KeyHasher>>;

/// Two halves hold a commons at its default limit of series; 48 bytes each, when it comes to that.
const HALF_MAX: usize = 256 << 10;
/// What is folded keeps its labels, and those may have a hundred KiB.
const HALF_BYTES_MAX: usize = 64 << 20;

impl Default for Remembered {
    fn default() -> Self {
        Self::with_half_max(HALF_MAX)
    }
}

impl Remembered {
    fn with_half_max(half_max: usize) -> Self {
        Self { halves: Mutex::default(), half_max, asked: Asked::default() }
    }

    /// Remembers a verdict.
    pub fn insert(&self, key: u128, verdict: Verdict) {
        let mut halves = self.halves.lock();
        let n_bytes = verdict.n_bytes();
        if halves.young.len() >= self.half_max || halves.young_bytes + n_bytes > HALF_BYTES_MAX {
            halves.old = std::mem::take(&mut halves.young);
            halves.young_bytes = 0;
        }
        halves.young_bytes += n_bytes;
        halves.young.insert(key, verdict);
    }

    /// Goes through the keys whose slot is empty: fills those that are `_unassigned` and need not
    /// be asked about, and returns the others with why they are not stored, if that is known.
    pub fn recall(
        &self,
        keys: &[u128],
        version: u64,
        slots: &mut [Option<SeriesRef>],
    ) -> Vec<(usize, Option<NotStored>)> {
        let mut others = Vec::new();
        let mut halves = None;
        for (idx, (slot, key)) in slots.iter_mut().zip(keys).enumerate() {
            if slot.is_some() {
                continue;
            }
            // Most requests know all their keys, and never take the lock.
            let halves = halves.get_or_insert_with(|| self.halves.lock());
            match halves.young.get(key).or_else(|| halves.old.get(key)) {
                Some(Verdict::Unassigned { series, version: then }) if *then == version => {
                    *slot = Some(*series);
                }
                Some(Verdict::Dropped(rule)) => {
                    others.push((idx, Some(NotStored::Refused(Refusal::policy(rule)))));
                }
                Some(Verdict::Folded(folded)) => {
                    others.push((idx, Some(NotStored::Folded(Arc::clone(folded)))));
                }
                Some(Verdict::Unassigned { .. }) | None => others.push((idx, None)),
            }
        }
        others
    }

    /// Forgets everything: the rules have changed, or series are gone.
    pub fn clear(&self) {
        *self.halves.lock() = Halves::default();
    }

    /// Returns the version of tagging's knowledge to ask by; see [`Asked`].
    pub fn version(&self, learned_version: u64, now_ns: u64) -> u64 {
        self.asked.version(learned_version, now_ns)
    }
}

/// The version of tagging's knowledge that `_unassigned` series were last asked by.
///
/// Each thing learned would have all of them described anew, and a new cluster teaches hundreds
/// within a minute; so what is learned counts from the next round on.
#[derive(Debug, Default)]
struct Asked {
    version: AtomicU64,
    next_round_ns: AtomicU64,
}

const ROUND_NS: u64 = 15_000_000_000;

impl Asked {
    fn version(&self, learned_version: u64, now_ns: u64) -> u64 {
        let asked = self.version.load(Ordering::Acquire);
        if learned_version == asked || now_ns < self.next_round_ns.load(Ordering::Acquire) {
            return asked;
        }
        // Two threads at once both begin the round, with versions that are both new.
        self.next_round_ns.store(now_ns.saturating_add(ROUND_NS), Ordering::Release);
        self.version.store(learned_version, Ordering::Release);
        learned_version
    }
}

/// Keys are hashes already.
#[derive(Debug, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("only u128 keys are hashed");
    }

    #[expect(clippy::cast_possible_truncation, reason = "64 of 128 good bits are enough")]
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERIES: SeriesRef = SeriesRef { commons_idx: 1, series_idx: 2 };

    #[test]
    fn the_memory_is_bounded_and_keeps_the_young() {
        let remembered = Remembered::with_half_max(10);
        for key in 0..1_000 {
            remembered.insert(key, Verdict::Dropped("rule"));
        }

        let keys: Vec<u128> = (0..1_000).collect();
        let others = remembered.recall(&keys, 0, &mut vec![None; 1_000]);

        let known: Vec<usize> =
            others.iter().filter(|(_, known)| known.is_some()).map(|(idx, _)| *idx).collect();
        assert!((10..=20).contains(&known.len()), "{known:?}");
        assert!(known.contains(&999) && !known.contains(&0));
    }

    #[test]
    fn long_labels_are_remembered_by_size() {
        let remembered = Remembered::default();
        let long = "x".repeat(32 << 10);
        let labels = Labels::from_pairs([("a", &long), ("b", &long), ("c", &long), ("d", &long)]);
        for key in 0..2_000 {
            let (commons, meta) = (Commons::unassigned(), SeriesMeta::default());
            // The labels are shared here; what is counted is as if they were not.
            let folded = Folded { key, commons, labels: labels.clone(), meta };
            remembered.insert(key, Verdict::Folded(Arc::new(folded)));
        }

        let halves = remembered.halves.lock();
        assert!(halves.young_bytes <= HALF_BYTES_MAX);
        assert!((500..1_100).contains(&(halves.young.len() + halves.old.len())));
    }

    #[test]
    fn the_unassigned_are_asked_about_when_something_was_learned() {
        let remembered = Remembered::default();
        remembered.insert(7, Verdict::Unassigned { series: SERIES, version: 3 });

        let mut slots = [None, None];
        let others = remembered.recall(&[7, 8], 3, &mut slots);
        assert_eq!(slots, [Some(SERIES), None]);
        assert!(matches!(others[..], [(1, None)]));

        let mut slots = [None];
        let others = remembered.recall(&[7], 4, &mut slots);
        assert_eq!(slots, [None]);
        assert!(matches!(others[..], [(0, None)]));
    }

    #[test]
    fn a_burst_of_learning_is_one_round() {
        let asked = Asked::default();

        let versions =
            [(0, 0), (1, 1), (2, 2), (9, ROUND_NS), (9, ROUND_NS + 1), (12, ROUND_NS + 2)]
                .map(|(learned, now_ns)| asked.version(learned, now_ns));

        assert_eq!(versions, [0, 1, 1, 1, 9, 9]);
    }
}
