//! Things that are kept of row groups of files, up to a size: what was asked for the longest ago leaves
//! first.

use std::hash::Hash;

use hashbrown::HashMap;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

/// Tells how a cache does.
#[derive(Debug, Clone, Default)]
pub struct Counted {
    /// What is held.
    pub bytes: Gauge,
    /// What was known.
    pub hits: Counter,
    /// What had to be read.
    pub misses: Counter,
}

impl Counted {
    /// Returns counters that are shown under the name of a cache.
    pub fn new(
        cache: &'static str,
        bytes: &Family<[(&'static str, &'static str); 1], Gauge>,
        lookups: &Family<[(&'static str, &'static str); 2], Counter>,
    ) -> Self {
        let of = |outcome| lookups.get_or_create_owned(&[("cache", cache), ("outcome", outcome)]);
        Self {
            bytes: bytes.get_or_create_owned(&[("cache", cache)]),
            hits: of("hit"),
            misses: of("miss"),
        }
    }
}

/// Things by file and row group, or whatever `K` says of a file.
#[derive(Debug)]
pub(super) struct OfGroups<T, K = u32> {
    by_path: HashMap<String, HashMap<K, Kept<T>>>,
    n_bytes: usize,
    n_asked: u64,
}

#[derive(Debug)]
struct Kept<T> {
    thing: T,
    n_bytes: usize,
    last_asked: u64,
}

impl<T, K> Default for OfGroups<T, K> {
    fn default() -> Self {
        Self { by_path: HashMap::new(), n_bytes: 0, n_asked: 0 }
    }
}

impl<T: Clone, K: Hash + Eq> OfGroups<T, K> {
    /// Returns what all things take.
    pub(super) fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    /// Returns what is kept of a row group.
    pub(super) fn get(&mut self, path: &str, place: &K) -> Option<T> {
        self.n_asked += 1;
        let kept = self.by_path.get_mut(path)?.get_mut(place)?;
        kept.last_asked = self.n_asked;
        Some(kept.thing.clone())
    }

    /// Keeps a thing, which replaces what there was of the row group.
    pub(super) fn put(&mut self, (path, place): (&str, K), thing: T, n_bytes: usize) {
        let kept = Kept { thing, n_bytes, last_asked: self.n_asked };
        let before = self.by_path.entry_ref(path).or_default().insert(place, kept);
        self.n_bytes += n_bytes;
        self.n_bytes -= before.map_or(0, |kept| kept.n_bytes);
    }

    /// Forgets what was not asked for the longest, until no more than so many bytes are left.
    pub(super) fn shrink(&mut self, n_bytes_max: usize) {
        let kept = self.by_path.values().flat_map(HashMap::values);
        let mut ages: Vec<u64> = kept.map(|kept| kept.last_asked).collect();
        ages.sort_unstable();
        let mut n_at_once = ages.len().div_ceil(8).max(1);
        while self.n_bytes > n_bytes_max && !ages.is_empty() {
            n_at_once = n_at_once.min(ages.len());
            let youngest = ages[n_at_once - 1];
            ages.drain(..n_at_once);
            self.forget_until(youngest);
        }
    }

    fn forget_until(&mut self, youngest: u64) {
        let n_bytes = &mut self.n_bytes;
        self.by_path.retain(|_, groups| {
            groups.retain(|_, kept| {
                let is_kept = kept.last_asked > youngest;
                *n_bytes -= if is_kept { 0 } else { kept.n_bytes };
                is_kept
            });
            !groups.is_empty()
        });
    }
}

/// Small things of row groups that are read whole and kept for the questions that come.
#[derive(Debug)]
pub struct GroupCache<T, K = u32> {
    groups: Mutex<OfGroups<T, K>>,
    bytes_max: usize,
    counted: Counted,
}

impl<T, K> Default for GroupCache<T, K> {
    fn default() -> Self {
        Self::new(64 << 20, Counted::default())
    }
}

impl<T, K> GroupCache<T, K> {
    /// Returns an empty cache of so many bytes.
    pub fn new(bytes_max: usize, counted: Counted) -> Self {
        Self { groups: Mutex::default(), bytes_max, counted }
    }
}

impl<T: Clone, K: Hash + Eq> GroupCache<T, K> {
    /// Returns what is kept of a row group.
    pub(super) fn get(&self, path: &str, place: &K) -> Option<T> {
        let thing = self.groups.lock().get(path, place)?;
        self.counted.hits.inc();
        Some(thing)
    }

    /// Keeps what had to be read of a row group and takes so many bytes, unless that is more than fits.
    pub(super) fn put(&self, place: (&str, K), thing: T, n_bytes: usize) {
        self.counted.misses.inc();
        if n_bytes > self.bytes_max {
            return;
        }
        let mut groups = self.groups.lock();
        groups.put(place, thing, n_bytes);
        if groups.n_bytes() > self.bytes_max {
            groups.shrink(self.bytes_max / 8 * 7);
        }
        self.counted.bytes.set(i64::try_from(groups.n_bytes()).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_kept_than_may_be() {
        let bytes_max = 900;
        let cache = GroupCache::new(bytes_max, Counted::default());
        for group_idx in 0..4 {
            cache.put(("a", group_idx), group_idx, bytes_max / 3);
            assert_eq!(cache.get("a", &group_idx), Some(group_idx));
        }
        assert!(cache.get("a", &0).is_none() && cache.get("a", &3).is_some());
        cache.put(("b", 0), 7, bytes_max + 1);
        assert!(cache.get("b", &0).is_none(), "one that is too large takes no other's place");
        assert!(cache.get("a", &3).is_some());
    }

    #[test]
    fn what_was_asked_for_the_longest_ago_leaves_first() {
        let mut kept = OfGroups::default();
        (0..8).for_each(|group_idx| kept.put(("a", group_idx), group_idx, 10));
        for group_idx in [7, 0, 1, 2, 3, 4, 5, 6] {
            assert_eq!(kept.get("a", &group_idx), Some(group_idx));
        }

        kept.shrink(65);

        assert_eq!((kept.n_bytes(), kept.get("a", &7), kept.get("a", &0)), (60, None, None));
        assert_eq!(kept.get("a", &1), Some(1));
        kept.shrink(0);
        assert_eq!((kept.n_bytes(), kept.by_path.len()), (0, 0));
    }

    #[test]
    fn a_replaced_thing_counts_once() {
        let mut kept = OfGroups::default();
        kept.put(("a", 0), "old", 10);

        kept.put(("a", 0), "new", 7);

        assert_eq!((kept.get("a", &0), kept.n_bytes()), (Some("new"), 7));
    }
}
