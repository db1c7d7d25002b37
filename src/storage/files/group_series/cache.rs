//! What was learned of row groups, up to a size.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::GroupSeries;
use super::metric_rows::MetricRows;
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

/// A row group, or the rows of one metric in it, by the first of them.
pub(super) type Part = (u32, Option<u32>);

#[derive(Debug, Default)]
struct Inner {
    parts: OfGroups<Arc<GroupSeries>, Part>,
    /// At most an eighth of all.
    metric_rows: OfGroups<Arc<MetricRows>>,
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
        self.inner.lock().n_bytes()
    }

    /// Returns what is known of a row group or a part of it.
    pub(super) fn kept(&self, path: &str, part: Part) -> Option<Arc<GroupSeries>> {
        let series = self.inner.lock().parts.get(path, &part)?;
        self.counted.hits.inc();
        Some(series)
    }

    /// Keeps what was learned of a row group of a file, or of a part of it.
    pub(super) fn keep(&self, place: (&str, Part), series: &Arc<GroupSeries>) {
        let mut inner = self.inner.lock();
        inner.parts.put(place, Arc::clone(series), series.n_bytes);
        self.counted.misses.inc();
        self.fit(&mut inner);
    }

    /// Returns which rows of a row group are known to be of which metric.
    pub(super) fn metric_rows(&self, (path, group_idx): (&str, u32)) -> Option<Arc<MetricRows>> {
        self.inner.lock().metric_rows.get(path, &group_idx)
    }

    /// Keeps which rows of a row group are of which metric.
    pub(super) fn keep_metric_rows(&self, place: (&str, u32), rows: &Arc<MetricRows>) {
        let mut inner = self.inner.lock();
        inner.metric_rows.put(place, Arc::clone(rows), rows.n_bytes());
        self.fit(&mut inner);
    }

    /// Forgets what has no room.
    fn fit(&self, inner: &mut Inner) {
        if inner.metric_rows.n_bytes() > self.bytes_max / 8 {
            inner.metric_rows.shrink(self.bytes_max / 9);
        }
        if inner.n_bytes() > self.bytes_max {
            inner.parts.shrink(self.bytes_max / 4 * 3);
            inner.purge();
        }
        self.counted.bytes.set(i64::try_from(inner.n_bytes()).unwrap_or(i64::MAX));
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
    fn n_bytes(&self) -> usize {
        self.parts.n_bytes() + self.metric_rows.n_bytes()
    }

    /// Forgets label sets that nobody else holds.
    fn purge(&mut self) {
        self.interned.retain(|_, labels| labels.is_shared());
        self.interned.shrink_to(2 * self.interned.len());
        self.intern_purge_at = (2 * self.interned.len()).max(4_096);
    }
}
