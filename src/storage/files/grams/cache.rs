//! Blocks read lately: a search for a text asks all of a day, and the next one asks them again.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::section::Block;

/// What is kept: about ten million long lines.
const BYTES_MAX: usize = 64 << 20;

/// Blocks of row groups by path and place; a path is never used for two contents.
#[derive(Debug, Default)]
pub(in crate::storage::files) struct Cache {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    by_path: HashMap<String, HashMap<usize, Arc<[Block]>>>,
    n_bytes: usize,
}

impl Cache {
    /// Returns the blocks of a row group, if they are kept.
    pub(in crate::storage::files) fn get(
        &self,
        path: &str,
        group_idx: usize,
    ) -> Option<Arc<[Block]>> {
        self.kept.lock().by_path.get(path)?.get(&group_idx).cloned()
    }

    /// Keeps the blocks of a row group, of a section of so many bytes.
    pub(in crate::storage::files) fn put(
        &self,
        path: &str,
        group_idx: usize,
        blocks: Arc<[Block]>,
        n_bytes: usize,
    ) {
        let kept = &mut *self.kept.lock();
        if n_bytes > BYTES_MAX {
            return;
        }
        // As footers are: what a question needs it reads again, and that is mostly all of it.
        if kept.n_bytes + n_bytes > BYTES_MAX {
            *kept = Kept::default();
        }
        let groups = kept.by_path.entry_ref(path).or_default();
        if groups.insert(group_idx, blocks).is_none() {
            kept.n_bytes += n_bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_kept_than_may_be() {
        let cache = Cache::default();
        let blocks: Arc<[Block]> = Arc::from([]);
        for group_idx in 0..4 {
            cache.put("a", group_idx, Arc::clone(&blocks), BYTES_MAX / 3);
        }
        assert!(cache.get("a", 0).is_none() && cache.get("a", 3).is_some());
        cache.put("b", 0, blocks, BYTES_MAX + 1);
        assert!(cache.get("b", 0).is_none(), "one that is too large takes no other's place");
        assert!(cache.get("a", 3).is_some());
    }
}
