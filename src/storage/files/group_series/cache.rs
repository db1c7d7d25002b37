//! What was learned of row groups, up to a size.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::GroupSeries;
use crate::model::Labels;
use crate::storage::files::of_groups::{Counted, OfGroups};

/// What was learned of row groups.
#[derive(Debug)]
pub struct SeriesCache {
    inner: Mutex<Inner>,
    bytes_max: usize,
    counted: Counted,
}

impl Default for SeriesCache {
    fn default() -> Self {
        Self::new(64 << 20, Counted::default())
    }
}

#[derive(Debug, Default)]
struct Inner {
    groups: OfGroups<Arc<GroupSeries>>,
    /// Label sets that several row groups share.
    interned: HashMap<u64, Labels>,
    intern_purge_at: usize,
}

impl SeriesCache {
    /// Returns an empty cache of so many bytes.
    pub fn new(bytes_max: usize, counted: Counted) -> Self {
        Self { inner: Mutex::default(), bytes_max, counted }
    }

    /// Returns what is held, in bytes.
    pub fn n_bytes(&self) -> usize {
        self.inner.lock().groups.n_bytes()
    }

    /// Returns what is known of a row group.
    pub(super) fn kept(&self, path: &str, group_idx: u32) -> Option<Arc<GroupSeries>> {
        let series = self.inner.lock().groups.get(path, group_idx)?;
        self.counted.hits.inc();
        Some(series)
    }

    /// Keeps what was learned of a row group of a file.
    pub(super) fn keep(&self, (path, group_idx): (&str, u32), series: &Arc<GroupSeries>) {
        let mut inner = self.inner.lock();
        inner.groups.put((path, group_idx), Arc::clone(series), series.n_bytes);
        if inner.groups.n_bytes() > self.bytes_max {
            inner.groups.shrink(self.bytes_max / 8 * 7);
            inner.purge();
        }
        self.counted.misses.inc();
        self.counted.bytes.set(i64::try_from(inner.groups.n_bytes()).unwrap_or(i64::MAX));
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
    /// Forgets label sets that nobody else holds.
    fn purge(&mut self) {
        self.interned.retain(|_, labels| labels.is_shared());
        self.interned.shrink_to(2 * self.interned.len());
        self.intern_purge_at = (2 * self.interned.len()).max(4_096);
    }
}
