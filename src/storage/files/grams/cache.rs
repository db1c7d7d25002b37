//! Blocks read lately: a search for a text asks all of a day, and the next one asks them again.

use std::sync::Arc;

use parking_lot::Mutex;

use super::section::Block;
use crate::storage::files::of_groups::{Counted, OfGroups};

/// Blocks of row groups.
#[derive(Debug)]
pub struct GramsCache {
    groups: Mutex<OfGroups<Arc<[Block]>>>,
    bytes_max: usize,
    counted: Counted,
}

impl Default for GramsCache {
    fn default() -> Self {
        Self::new(64 << 20, Counted::default())
    }
}

impl GramsCache {
    /// Returns an empty cache of so many bytes.
    pub fn new(bytes_max: usize, counted: Counted) -> Self {
        Self { groups: Mutex::default(), bytes_max, counted }
    }

    /// Returns the blocks of a row group, if they are kept.
    pub(in crate::storage::files) fn get(
        &self,
        path: &str,
        group_idx: u32,
    ) -> Option<Arc<[Block]>> {
        let blocks = self.groups.lock().get(path, group_idx)?;
        self.counted.hits.inc();
        Some(blocks)
    }

    /// Keeps the blocks of a row group, of a section of so many bytes.
    pub(in crate::storage::files) fn put(
        &self,
        (path, group_idx): (&str, u32),
        blocks: Arc<[Block]>,
        n_bytes: usize,
    ) {
        self.counted.misses.inc();
        if n_bytes > self.bytes_max {
            return;
        }
        let mut groups = self.groups.lock();
        groups.put((path, group_idx), blocks, n_bytes);
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
        let cache = GramsCache::new(bytes_max, Counted::default());
        let blocks: Arc<[Block]> = Arc::from([]);
        for group_idx in 0..4 {
            cache.put(("a", group_idx), Arc::clone(&blocks), bytes_max / 3);
            assert!(cache.get("a", group_idx).is_some());
        }
        assert!(cache.get("a", 0).is_none() && cache.get("a", 3).is_some());
        cache.put(("b", 0), blocks, bytes_max + 1);
        assert!(cache.get("b", 0).is_none(), "one that is too large takes no other's place");
        assert!(cache.get("a", 3).is_some());
    }
}
