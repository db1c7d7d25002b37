//! What was found for the same conditions before.
//!
//! A dashboard and a rule ask with the same matchers at each refresh, and what series there are changes
//! seldom, that of a file never. So the lists that a question walked through are kept, until a series
//! comes or goes or they take too much room.

use std::fmt::Write as _;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::model::Matcher;

/// Conditions that take more bytes are not worth looking up.
const KEY_BYTES_MAX: usize = 1 << 10;
/// What a list takes beside its entries and its key.
const LIST_BYTES: usize = 64;

/// Lists of numbers of series by the conditions that those meet.
#[derive(Debug, Default)]
pub(super) struct Selections {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_matchers: HashMap<String, Arc<[u32]>>,
    n_bytes: usize,
}

impl Selections {
    /// Returns what meets conditions: what was found before, or what `find` finds, which is kept while all
    /// lists together take no more than so many bytes.
    pub(super) fn get(
        &self,
        matchers: &[Matcher],
        n_bytes_max: usize,
        find: impl FnOnce() -> Vec<u32>,
    ) -> Arc<[u32]> {
        let key = key(matchers);
        if let Some(known) = self.inner.lock().by_matchers.get(&key) {
            return Arc::clone(known);
        }
        let found: Arc<[u32]> = find().into();
        if key.len() <= KEY_BYTES_MAX {
            self.inner.lock().keep(key, &found, n_bytes_max);
        }
        found
    }

    /// Returns what the lists take.
    pub(super) fn n_bytes(&self) -> usize {
        self.inner.lock().n_bytes
    }

    /// Forgets all lists: there are other series now.
    pub(super) fn clear(&mut self) {
        let inner = self.inner.get_mut();
        if !inner.by_matchers.is_empty() {
            *inner = Inner::default();
        }
    }
}

impl Inner {
    fn keep(&mut self, key: String, found: &Arc<[u32]>, n_bytes_max: usize) {
        let n_bytes = LIST_BYTES + key.len() + size_of_val(&**found);
        if n_bytes > n_bytes_max {
            return;
        }
        if self.n_bytes + n_bytes > n_bytes_max {
            *self = Self::default();
        }
        // Two that looked at once found the same.
        if self.by_matchers.insert(key, Arc::clone(found)).is_none() {
            self.n_bytes += n_bytes;
        }
    }
}

/// Returns a text that no other conditions have.
fn key(matchers: &[Matcher]) -> String {
    let mut key = String::new();
    for Matcher { name, op, value, .. } in matchers {
        write!(key, "{}{name}{op:?}{}:{value}", name.len(), value.len())
            .expect("a text takes everything");
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(kept: &Selections, value: &str, n_bytes_max: usize, found: &[u32]) -> Vec<u32> {
        let matchers = [Matcher::equal("pod", value)];
        kept.get(&matchers, n_bytes_max, || found.to_vec()).to_vec()
    }

    #[test]
    fn the_same_conditions_are_looked_up_once_until_there_are_other_series() {
        let mut kept = Selections::default();
        assert_eq!(ask(&kept, "a", 1_000, &[1, 2]), [1, 2]);

        assert_eq!(ask(&kept, "a", 1_000, &[3]), [1, 2]);
        assert_eq!(ask(&kept, "b", 1_000, &[3]), [3]);
        kept.clear();
        assert_eq!(ask(&kept, "a", 1_000, &[3]), [3]);
    }

    #[test]
    fn they_take_no_more_room_than_they_may() {
        let kept = Selections::default();
        for value in 0..100 {
            ask(&kept, &value.to_string(), 1_000, &[1; 20]);
            assert!(kept.n_bytes() <= 1_000);
        }
        assert!(kept.n_bytes() > 0);

        ask(&kept, "large", 1_000, &[1; 300]);

        assert_eq!(ask(&kept, "large", 1_000, &[2]), [2]);
    }

    #[test]
    fn other_conditions_have_other_keys() {
        let of = |pairs: &[(&str, &str)]| {
            key(&pairs.iter().map(|(name, value)| Matcher::equal(name, value)).collect::<Vec<_>>())
        };
        assert_ne!(of(&[("a", "b"), ("c", "d")]), of(&[("a", "b1cEq1:d")]));
        assert_ne!(of(&[("a", "Eq")]), of(&[("aEq", "")]));
    }
}
