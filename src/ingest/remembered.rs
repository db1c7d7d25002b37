//! What was decided about keys that storage's own table cannot hold.
//!
//! Four kinds. Series that tagging drops, or has added up by `derive`, have no place in storage, and
//! must cost a hash all the same when they come again. Series that no rule could place are stored as
//! `_unassigned`, but tagging learns: they are asked about again when it has, so they are known here,
//! with the version of the rules' knowledge, and their key in storage is another. Series that found
//! their commons or metric full are refused unread until series have left (storage's epoch), so a
//! sender that repeats them for ever costs a hash for each. All memories are bounded; what is
//! forgotten costs one more parse and nothing else. A refused series has a memory of its own, so that
//! one who makes up names cannot push out the others.
//!
//! No `SeriesRef` is kept here: it is good for one request only.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::outcome::Refusal;
use super::resolve::NotStored;
use crate::model::{Commons, Labels, SeriesMeta};
use crate::storage::{Epoch, SeriesRef};
use crate::tagging::Observed;

/// A series that lost a telling label: it is added up with others under what is left.
#[derive(Debug, PartialEq)]
pub struct Folded {
    /// The key, which tells the sender's series apart.
    pub key: u128,
    /// The commons.
    pub commons: Commons,
    /// What is left of the labels.
    pub labels: Labels,
    /// What the numbers are.
    pub meta: SeriesMeta,
    /// What becomes of a label that was a number.
    pub observed: Option<Observed>,
}

/// What is remembered of a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// This rule drops it.
    Dropped(&'static str),
    /// It is added up.
    Folded(Arc<Folded>),
    /// It is stored as `_unassigned`, as far as was known then.
    Unassigned {
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

/// What is recalled of a key that storage does not know.
#[derive(Debug, Clone)]
pub enum Recalled {
    /// Nothing, or nothing that still holds.
    Nothing,
    /// Why its samples are not stored.
    NotStored(NotStored),
    /// It is stored as `_unassigned`, and nothing was learned since.
    Unassigned,
}

/// The bounded memories of verdicts and of refusals.
#[derive(Debug, Default)]
pub struct Remembered {
    memories: Mutex<Memories>,
    asked: Asked,
}

#[derive(Debug)]
struct Memories {
    verdicts: Halves<Verdict>,
    refused: Halves<Refused>,
    /// The words of refusals lately, by their hash; there are few, and many series share each.
    words: HashMap<u64, Arc<Refusal>>,
}

/// A series that found no room.
#[derive(Debug)]
struct Refused {
    refusal: Arc<Refusal>,
    /// No series has left since.
    epoch: Epoch,
}

/// A bounded memory by key. When the young half is full, the older half is forgotten.
#[derive(Debug)]
struct Halves<V> {
    young: ByKey<V>,
    old: ByKey<V>,
    young_bytes: usize,
    half_max: usize,
    half_bytes_max: usize,
}

type ByKey<V> = HashMap<u128, V, BuildHasherDefault<KeyHasher>>;

/// Two halves hold a commons at its default limit of series; 48 bytes each, when it comes to that.
const VERDICTS_HALF_MAX: usize = 256 << 10;
/// At 32 bytes each, and words that many share: about 8 MiB.
const REFUSED_HALF_MAX: usize = 256 << 10;
/// What is folded keeps its labels, and those may have a hundred KiB.
const VERDICTS_HALF_BYTES_MAX: usize = 64 << 20;
/// A metric's name is in the words, so a sender can make up many.
const REFUSED_HALF_BYTES_MAX: usize = 16 << 20;
/// More than a commons has metrics.
const WORDS_MAX: usize = 8 << 10;

impl<V> Halves<V> {
    fn new(half_max: usize, half_bytes_max: usize) -> Self {
        let (young, old) = (ByKey::default(), ByKey::default());
        Self { young, old, young_bytes: 0, half_max, half_bytes_max }
    }

    /// Remembers a value; returns what was forgotten for it, to be dropped when nobody waits.
    #[must_use]
    fn insert(&mut self, key: u128, value: V, n_bytes: usize) -> ByKey<V> {
        let mut forgotten = ByKey::default();
        let is_full = self.young_bytes + n_bytes > self.half_bytes_max;
        if self.young.len() >= self.half_max || is_full {
            forgotten = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
            self.young_bytes = 0;
        }
        self.young_bytes += n_bytes;
        self.young.insert(key, value);
        forgotten
    }

    fn get(&self, key: u128) -> Option<&V> {
        self.young.get(&key).or_else(|| self.old.get(&key))
    }
}

impl Default for Memories {
    fn default() -> Self {
        Self {
            verdicts: Halves::new(VERDICTS_HALF_MAX, VERDICTS_HALF_BYTES_MAX),
            refused: Halves::new(REFUSED_HALF_MAX, REFUSED_HALF_BYTES_MAX),
            words: HashMap::new(),
        }
    }
}

impl Memories {
    fn recall(&self, key: u128, version: u64, epoch: Epoch) -> Recalled {
        match self.verdicts.get(key) {
            Some(Verdict::Unassigned { version: then }) if *then == version => Recalled::Unassigned,
            Some(Verdict::Dropped(rule)) => {
                Recalled::NotStored(NotStored::Refused(Refusal::policy(rule)))
            }
            Some(Verdict::Folded(folded)) => {
                Recalled::NotStored(NotStored::Folded(Arc::clone(folded)))
            }
            Some(Verdict::Unassigned { .. }) | None => match self.refused.get(key) {
                Some(refused) if refused.epoch == epoch => {
                    let refusal = Refusal::clone(&refused.refusal);
                    Recalled::NotStored(NotStored::Refused(refusal))
                }
                _ => Recalled::Nothing,
            },
        }
    }

    /// Returns a refusal that shares its words with those of other series, and the memory that it
    /// takes beside them.
    fn shared(&mut self, refusal: Refusal) -> (Arc<Refusal>, usize) {
        let hash = hash_of(&refusal);
        if let Some(known) = self.words.get(&hash).filter(|known| ***known == refusal) {
            return (Arc::clone(known), 0);
        }
        if self.words.len() >= WORDS_MAX {
            self.words.clear();
        }
        let n_bytes = refusal.n_bytes();
        let refusal = Arc::new(refusal);
        self.words.insert(hash, Arc::clone(&refusal));
        (refusal, n_bytes)
    }
}

fn hash_of(refusal: &Refusal) -> u64 {
    let of_series = refusal.overflow.as_ref().map_or(0, |overflow| overflow.labels.series_id());
    xxh3_64_with_seed(refusal.message.as_bytes(), of_series)
}

impl Remembered {
    /// Remembers a verdict.
    pub fn insert(&self, key: u128, verdict: Verdict) {
        let n_bytes = verdict.n_bytes();
        let forgotten = self.memories.lock().verdicts.insert(key, verdict, n_bytes);
        drop(forgotten);
    }

    /// Remembers that a series found no room at this epoch, or an earlier one; returns the refusal.
    pub fn insert_refused(&self, key: u128, refusal: Refusal, epoch: Epoch) -> Refusal {
        let mut memories = self.memories.lock();
        let (refusal, n_bytes) = memories.shared(refusal);
        let refused = Refused { refusal: Arc::clone(&refusal), epoch };
        let n_bytes = size_of::<(u128, Refused)>() + n_bytes;
        let forgotten = memories.refused.insert(key, refused, n_bytes);
        if memories.refused.young.len() == 1 {
            // Those of the half before are its own from now on, and go with it.
            memories.words.clear();
        }
        drop(memories);
        drop(forgotten);
        Refusal::clone(&refusal)
    }

    /// Returns what is known of the keys that have no series, with their places.
    pub fn recall(
        &self,
        keys: &[u128],
        series: &[Option<SeriesRef>],
        version: u64,
        epoch: Epoch,
    ) -> Vec<(usize, Recalled)> {
        let without = || (0..).zip(series.iter().zip(keys)).filter(|(_, (s, _))| s.is_none());
        if without().next().is_none() {
            // Most requests know all their keys, and never take the lock.
            return Vec::new();
        }
        let memories = self.memories.lock();
        without().map(|(idx, (_, &key))| (idx, memories.recall(key, version, epoch))).collect()
    }

    /// Forgets everything: the rules have changed.
    pub fn clear(&self) {
        *self.memories.lock() = Memories::default();
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

    use crate::ingest::outcome::Overflow;
    use crate::model::labels::OVERFLOW;

    const SERIES: SeriesRef = SeriesRef { commons_idx: 1, series_idx: 2 };
    const NOW: Epoch = Epoch::FIRST;

    #[test]
    fn a_memory_is_bounded_and_keeps_the_young() {
        let mut halves = Halves::new(10, usize::MAX);
        (0..1_000).for_each(|key| drop(halves.insert(key, (), 16)));

        let known: Vec<u128> = (0..1_000).filter(|&key| halves.get(key).is_some()).collect();

        assert!((10..=20).contains(&known.len()), "{known:?}");
        assert!(known.contains(&999) && !known.contains(&0));
    }

    #[test]
    fn a_memory_is_bounded_in_bytes() {
        let mut halves = Halves::new(usize::MAX, 64 << 20);
        (0..1_000).for_each(|key| drop(halves.insert(key, (), 1 << 20)));

        assert!(halves.young_bytes <= 64 << 20);
        assert!(halves.young.len() + halves.old.len() <= 2 * 64);
        assert!(halves.get(999).is_some() && halves.get(0).is_none());
    }

    #[test]
    fn the_unassigned_are_asked_about_when_something_was_learned() {
        let remembered = Remembered::default();
        remembered.insert(7, Verdict::Unassigned { version: 3 });

        let recalled = remembered.recall(&[6, 7, 8], &[Some(SERIES), None, None], 3, NOW);
        assert!(matches!(recalled[..], [(1, Recalled::Unassigned), (2, Recalled::Nothing)]));

        let recalled = remembered.recall(&[7], &[None], 4, NOW);
        assert!(matches!(recalled[..], [(0, Recalled::Nothing)]));
    }

    #[test]
    fn the_refused_are_asked_about_when_series_have_left() {
        let remembered = Remembered::default();
        let refusal = || Refusal::new(crate::ingest::Reason::SeriesLimit, "full");
        for key in 0..1_000 {
            remembered.insert_refused(key, refusal(), NOW);
        }

        let recalled = |epoch| remembered.recall(&[7], &[None], 0, epoch);

        assert!(matches!(
            &recalled(NOW)[..],
            [(0, Recalled::NotStored(NotStored::Refused(why)))] if *why == refusal()
        ));
        assert!(matches!(recalled(NOW.next())[..], [(0, Recalled::Nothing)]));
        assert_eq!(remembered.memories.lock().words.len(), 1, "a thousand series share the words");
    }

    #[test]
    fn words_that_a_sender_makes_up_are_not_kept_for_ever() {
        let remembered = Remembered::default();
        for key in 0..1_000_u128 {
            let refusal = Refusal::new(crate::ingest::Reason::MetricSeriesLimit, key.to_string());
            remembered.insert_refused(key, refusal, NOW);
        }

        assert!(remembered.memories.lock().words.len() <= WORDS_MAX);
    }

    #[test]
    fn a_burst_of_learning_is_one_round() {
        let asked = Asked::default();

        let versions =
            [(0, 0), (1, 1), (2, 2), (9, ROUND_NS), (9, ROUND_NS + 1), (12, ROUND_NS + 2)]
                .map(|(learned, now_ns)| asked.version(learned, now_ns));

        assert_eq!(versions, [0, 1, 1, 1, 9, 9]);
    }

    /// The refusal of a series of a metric, each with words of its own.
    fn refusal_of(metric: &str) -> Refusal {
        let labels = Labels::from_pairs([("__name__", metric), (OVERFLOW, "true")]);
        let overflow = Overflow { commons: Commons::own(), labels, meta: SeriesMeta::default() };
        let overflow = Some(Arc::new(overflow));
        Refusal { overflow, ..Refusal::new(crate::ingest::Reason::SeriesLimit, "full") }
    }

    #[test]
    fn the_series_of_many_metrics_share_the_words_of_each() {
        let remembered = Remembered::default();
        for key in 0..20_000 {
            let _ = remembered.insert_refused(key, refusal_of(&format!("m{}", key % 500)), NOW);
        }

        let memories = remembered.memories.lock();
        assert_eq!(memories.words.len(), 500);
        let n_bytes = memories.refused.young_bytes;
        assert!(n_bytes < 20_000 * 48, "some bytes a series, not a set of labels: {n_bytes}");
    }

    #[test]
    fn who_makes_up_metrics_is_forgotten_when_the_words_are_too_many() {
        let remembered = Remembered::default();
        let long = "x".repeat(60_000);
        for key in 0..1_000 {
            let _ = remembered.insert_refused(key, refusal_of(&format!("{long}{key}")), NOW);
        }

        let memories = remembered.memories.lock();
        assert!(memories.refused.young_bytes <= REFUSED_HALF_BYTES_MAX);
        let n_kept = memories.refused.young.len() + memories.refused.old.len();
        assert!((100..600).contains(&n_kept), "{n_kept}");
    }
}
