//! What was learned of row groups, up to a size.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::GroupSeries;
use crate::model::Labels;

/// What was learned of row groups.
#[derive(Debug)]
pub struct SeriesCache {
    inner: Mutex<Inner>,
    bytes_max: usize,
    counted: Counted,
}

/// Tells how the cache does.
#[derive(Debug, Clone, Default)]
pub struct Counted {
    /// What is held.
    pub bytes: Gauge,
    /// Row groups that were known.
    pub hits: Counter,
    /// Row groups that had to be read.
    pub misses: Counter,
}

impl Default for SeriesCache {
    fn default() -> Self {
        Self::new(64 << 20, Counted::default())
    }
}

#[derive(Debug, Default)]
struct Inner {
    groups: HashMap<String, HashMap<usize, Kept>>,
    n_bytes: usize,
    n_asked: u64,
    /// Label sets that several row groups share.
    interned: HashMap<u64, Labels>,
    intern_purge_at: usize,
}

#[derive(Debug)]
struct Kept {
    series: Arc<GroupSeries>,
    last_asked: u64,
}

impl SeriesCache {
    /// Returns an empty cache of so many bytes.
    pub fn new(bytes_max: usize, counted: Counted) -> Self {
        Self { inner: Mutex::default(), bytes_max, counted }
    }

    /// Returns what is held, in bytes.
    pub fn n_bytes(&self) -> usize {
        self.inner.lock().n_bytes
    }

    /// Returns what is known of a row group.
    pub(super) fn kept(&self, path: &str, group_idx: usize) -> Option<Arc<GroupSeries>> {
        let mut inner = self.inner.lock();
        inner.n_asked += 1;
        let n_asked = inner.n_asked;
        let kept = inner.groups.get_mut(path)?.get_mut(&group_idx)?;
        kept.last_asked = n_asked;
        self.counted.hits.inc();
        Some(Arc::clone(&kept.series))
    }

    /// Keeps what was learned of a row group of a file.
    pub(super) fn keep(&self, (path, group_idx): (&str, usize), series: &Arc<GroupSeries>) {
        let mut inner = self.inner.lock();
        let kept = Kept { series: Arc::clone(series), last_asked: inner.n_asked };
        let before = inner.groups.entry_ref(path).or_default().insert(group_idx, kept);
        inner.n_bytes += series.n_bytes;
        inner.n_bytes -= before.map_or(0, |kept| kept.series.n_bytes);
        if inner.n_bytes > self.bytes_max {
            inner.shrink(self.bytes_max / 8 * 7);
        }
        self.counted.misses.inc();
        self.counted.bytes.set(i64::try_from(inner.n_bytes).unwrap_or(i64::MAX));
    }

    /// Returns a label set that another row group has, by the id of its series.
    pub(super) fn interned(&self, id: u64) -> Option<Labels> {
        self.inner.lock().interned.get(&id).cloned()
    }

    /// Keeps a label set for other row groups.
    pub(super) fn intern(&self, id: u64, labels: &Labels) {
        let mut inner = self.inner.lock();
        if inner.interned.len() >= inner.intern_purge_at {
            inner.purge();
        }
        inner.interned.insert(id, labels.clone());
    }
}

impl Inner {
    /// Forgets what was not asked for the longest, until no more than so many bytes are left.
    fn shrink(&mut self, bytes: usize) {
        let mut ages: Vec<u64> =
            self.groups.values().flat_map(HashMap::values).map(|kept| kept.last_asked).collect();
        ages.sort_unstable();
        let mut n_at_once = ages.len().div_ceil(8).max(1);
        while self.n_bytes > bytes && !ages.is_empty() {
            n_at_once = n_at_once.min(ages.len());
            let youngest = ages[n_at_once - 1];
            ages.drain(..n_at_once);
            let n_bytes = &mut self.n_bytes;
            self.groups.retain(|_, groups| {
                groups.retain(|_, kept| {
                    let is_kept = kept.last_asked > youngest;
                    *n_bytes -= if is_kept { 0 } else { kept.series.n_bytes };
                    is_kept
                });
                !groups.is_empty()
            });
        }
        self.purge();
    }

    /// Forgets label sets that nobody else holds.
    fn purge(&mut self) {
        self.interned.retain(|_, labels| labels.is_shared());
        self.interned.shrink_to(2 * self.interned.len());
        self.intern_purge_at = (2 * self.interned.len()).max(4_096);
    }
}
