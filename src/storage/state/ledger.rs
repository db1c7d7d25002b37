//! Values that go together, and tables that are read by a range of keys and cut from their start.

use redb::{ReadableDatabase, ReadableTableMetadata, TableError};

use super::{StateError, StateStore, Table, fault};

/// A subject, a key, and the value it gets; none removes it.
pub type StateChange = (&'static str, String, Option<Vec<u8>>);

impl StateStore {
    /// Sets values by subject and key, or removes them where there is none: all of it or nothing.
    pub fn apply(&self, changes: &[StateChange]) -> Result<(), StateError> {
        self.with(|database| {
            let transaction = database.begin_write().map_err(fault("write to"))?;
            for (subject, key, value) in changes {
                let table = Table::new(subject);
                let mut table = transaction.open_table(table).map_err(fault("write to"))?;
                match value {
                    Some(value) => table.insert(key.as_str(), value.as_slice()).map(drop),
                    None => table.remove(key.as_str()).map(drop),
                }
                .map_err(fault("write to"))?;
            }
            transaction.commit().map_err(fault("write to"))
        })
    }

    /// Returns the last keys and values of a half-open range of a subject's keys, sorted: at most `n_max`, and
    /// none before the one by which the values have `bytes_max`.
    pub fn range(
        &self,
        subject: &str,
        start: &str,
        end: &str,
        (n_max, bytes_max): (usize, usize),
    ) -> Result<Vec<(String, Vec<u8>)>, StateError> {
        self.with(|database| {
            let transaction = database.begin_read().map_err(fault("read"))?;
            let table = Table::new(subject);
            let table = match transaction.open_table(table) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                Err(error) => return Err(fault("read")(error)),
            };
            let (mut found, mut n_bytes) = (Vec::new(), 0);
            if start < end {
                let range = table.range(start..end).map_err(fault("read"))?;
                for entry in range.rev().take(n_max) {
                    let (key, value) = entry.map_err(fault("read"))?;
                    n_bytes += value.value().len();
                    found.push((key.value().to_owned(), value.value().to_vec()));
                    if n_bytes >= bytes_max {
                        break;
                    }
                }
            }
            found.reverse();
            Ok(found)
        })
    }

    /// Removes a subject's keys before a key, and then the first ones past a number.
    pub fn trim(&self, subject: &str, before: &str, n_max: usize) -> Result<(), StateError> {
        self.write(subject, |table| {
            table.retain_in(..before, |_, _| false)?;
            let n_over = usize::try_from(table.len()?).unwrap_or(usize::MAX).saturating_sub(n_max);
            for _ in 0..n_over {
                table.pop_first()?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_is_read_by_range_and_cut_from_its_start() {
        let store = StateStore::in_memory().unwrap();
        let change = |key: &str| ("ledger", key.to_owned(), Some(b"x".to_vec()));
        store.apply(&["a", "b", "c", "d"].map(change)).unwrap();
        let keys = |start: &str, end: &str, n_max| -> Vec<String> {
            let found = store.range("ledger", start, end, (n_max, 100)).unwrap();
            found.into_iter().map(|(key, _)| key).collect()
        };

        assert_eq!(keys("b", "d", 9), ["b", "c"]);
        assert_eq!(keys("a", "z", 2), ["c", "d"]);
        assert!(
            keys("d", "a", 9).is_empty()
                && store.range("none", "a", "z", (9, 100)).unwrap().is_empty()
        );
        for (bytes_max, n_wanted) in [(0, 1), (1, 1), (2, 2), (100, 4)] {
            let found = store.range("ledger", "a", "z", (9, bytes_max)).unwrap();
            assert_eq!((found.len(), found.last().unwrap().0.as_str()), (n_wanted, "d"));
        }
        store.trim("ledger", "b", 2).unwrap();
        assert_eq!(keys("", "z", 9), ["c", "d"]);
        store.apply(&[("ledger", "c".to_owned(), None)]).unwrap();
        assert_eq!(keys("", "z", 9), ["d"]);
    }
}
