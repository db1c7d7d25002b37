//! What the local disk holds of files that are in object storage too, the least recently used first.
//!
//! Two kinds: the files as they were written, under their own paths, and pieces of files that were
//! fetched back. This keeps the account; who owns the bytes removes them.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use parking_lot::Mutex;

/// One thing that may be removed and fetched back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kept {
    /// The file itself.
    File(String),
    /// The `n`th piece of a file.
    Piece(String, u64),
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    used_at: u64,
    n_bytes: u64,
    is_checked: bool,
}

#[derive(Debug, Default)]
struct Account {
    entries: HashMap<Kept, Entry>,
    by_use: BTreeMap<u64, Kept>,
    n_uses: u64,
    n_bytes: u64,
}

impl Account {
    fn put(&mut self, kept: Kept, n_bytes: u64, is_checked: bool) {
        self.remove(&kept);
        self.n_uses += 1;
        self.n_bytes += n_bytes;
        self.by_use.insert(self.n_uses, kept.clone());
        self.entries.insert(kept, Entry { used_at: self.n_uses, n_bytes, is_checked });
    }

    fn remove(&mut self, kept: &Kept) -> Option<Entry> {
        let entry = self.entries.remove(kept)?;
        self.by_use.remove(&entry.used_at);
        self.n_bytes -= entry.n_bytes;
        Some(entry)
    }
}

/// The account.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Account>);

impl Cache {
    /// Takes something into the account, as the most recently used. What is not checked is held
    /// against its checksum before its first use.
    pub(super) fn put(&self, kept: Kept, n_bytes: u64, is_checked: bool) {
        self.0.lock().put(kept, n_bytes, is_checked);
    }

    /// Notes a use; returns whether it was checked, or `None` when it is not there.
    pub(super) fn touch(&self, kept: &Kept) -> Option<bool> {
        let mut account = self.0.lock();
        let entry = account.remove(kept)?;
        account.put(kept.clone(), entry.n_bytes, entry.is_checked);
        Some(entry.is_checked)
    }

    /// Returns true when something is in the account, without using it.
    pub(super) fn contains(&self, kept: &Kept) -> bool {
        self.0.lock().entries.contains_key(kept)
    }

    /// Takes something off the account; returns true when it was there.
    pub(super) fn remove(&self, kept: &Kept) -> bool {
        self.0.lock().remove(kept).is_some()
    }

    /// Takes all pieces of a file off the account, and returns their numbers.
    pub(super) fn remove_pieces(&self, path: &str) -> Vec<u64> {
        let mut account = self.0.lock();
        let of_file = account.entries.keys().filter_map(|kept| match kept {
            Kept::Piece(its, n) if its == path => Some(*n),
            _ => None,
        });
        let numbers: Vec<u64> = of_file.collect();
        for &n in &numbers {
            account.remove(&Kept::Piece(path.to_owned(), n));
        }
        numbers
    }

    /// Takes what was not used for the longest time off the account, until the rest fits.
    pub(super) fn take_oldest(&self, bytes_max: u64) -> Vec<Kept> {
        let mut account = self.0.lock();
        let mut taken = Vec::new();
        while account.n_bytes > bytes_max
            && let Some((_, kept)) = account.by_use.pop_first()
        {
            account.remove(&kept);
            taken.push(kept);
        }
        taken
    }

    /// Returns the bytes in the account.
    pub(super) fn n_bytes(&self) -> u64 {
        self.0.lock().n_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> Kept {
        Kept::File(name.to_owned())
    }

    #[test]
    fn what_was_not_used_for_the_longest_time_goes_first() {
        let cache = Cache::default();
        for name in ["a", "b", "c"] {
            cache.put(file(name), 10, true);
        }
        cache.put(Kept::Piece("d".to_owned(), 0), 5, true);
        cache.touch(&file("a"));

        assert_eq!(cache.take_oldest(35), []);
        assert_eq!(cache.take_oldest(16), [file("b"), file("c")]);
        assert_eq!((cache.n_bytes(), cache.touch(&file("b"))), (15, None));
        assert_eq!(cache.take_oldest(0), [Kept::Piece("d".to_owned(), 0), file("a")]);
        assert_eq!(cache.n_bytes(), 0);
    }

    #[test]
    fn something_put_again_counts_once() {
        let cache = Cache::default();
        cache.put(file("a"), 10, false);
        assert_eq!(cache.touch(&file("a")), Some(false));
        cache.put(file("a"), 20, true);

        assert_eq!((cache.n_bytes(), cache.touch(&file("a"))), (20, Some(true)));
        assert!(cache.remove(&file("a")) && !cache.remove(&file("a")));
        assert_eq!(cache.n_bytes(), 0);
    }

    #[test]
    fn the_pieces_of_a_file_go_together() {
        let cache = Cache::default();
        for (path, n) in [("a", 0), ("a", 3), ("b", 0)] {
            cache.put(Kept::Piece(path.to_owned(), n), 1, true);
        }

        let mut numbers = cache.remove_pieces("a");
        numbers.sort_unstable();

        assert_eq!((numbers, cache.n_bytes()), (vec![0, 3], 1));
    }
}
