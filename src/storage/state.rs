//! Control state that must survive a restart: alerts, notifications on their way, tokens.
//!
//! Small values by key in an embedded database (redb) below `state/`, one table a subject. Each
//! write is a transaction that is synced before it returns, so a value is there whole or not.
//!
//! After a write that found the disk full redb answers nothing any more until it is opened again;
//! that is done at the next call, so what is kept here resumes by itself when there is space. After
//! any other fault of the disk it is not: what a failed sync left on disk is unknown, and only a
//! restart reads it back.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the state database")]
pub struct StateError {
    action: &'static str,
    source: Box<redb::Error>,
}

fn fault<E: Into<redb::Error>>(action: &'static str) -> impl FnOnce(E) -> StateError {
    move |error| StateError { action, source: Box::new(error.into()) }
}

impl StateError {
    fn is_full(&self) -> bool {
        matches!(&*self.source, redb::Error::Io(error) if super::disk::is_full(error))
    }
}

/// A subject, a key, and the value it gets; none removes it.
pub type StateChange = (&'static str, String, Option<Vec<u8>>);

/// The database of control state.
#[derive(Debug)]
pub struct StateStore {
    /// Where it is; `None` for one in memory.
    file: Option<PathBuf>,
    /// `None` after the disk was full, until the next call opens it again.
    database: Mutex<Option<Database>>,
}

impl StateStore {
    /// Opens `<data_dir>/state/control.redb`, creating it if need be.
    pub fn open(data_dir: &Path) -> Result<Self, StateError> {
        let dir = data_dir.join("state");
        std::fs::create_dir_all(&dir).map_err(fault("create the folder of"))?;
        let file = dir.join("control.redb");
        if !file.exists() {
            create(data_dir, &dir, &file).map_err(fault("create"))?;
        }
        let database = open_file(&file)?;
        Ok(Self { file: Some(file), database: Mutex::new(Some(database)) })
    }

    /// Returns a database that is gone with this value.
    pub fn in_memory() -> Result<Self, StateError> {
        let backend = redb::backends::InMemoryBackend::new();
        let database = Database::builder().create_with_backend(backend).map_err(fault("open"))?;
        Ok(Self { file: None, database: Mutex::new(Some(database)) })
    }

    fn with<T>(
        &self,
        act: impl FnOnce(&Database) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let mut database = self.database.lock();
        if let (None, Some(file)) = (&*database, &self.file) {
            *database = Some(open_file(file)?);
        }
        let opened = database.as_ref().expect("one in memory is never closed");
        let result = act(opened);
        if self.file.is_some() && result.as_ref().is_err_and(StateError::is_full) {
            *database = None;
        }
        result
    }

    fn write(
        &self,
        subject: &str,
        act: impl FnOnce(&mut redb::Table<'_, &str, &[u8]>) -> Result<(), redb::StorageError>,
    ) -> Result<(), StateError> {
        self.with(|database| {
            let transaction = database.begin_write().map_err(fault("write to"))?;
            {
                let table = TableDefinition::<&str, &[u8]>::new(subject);
                let mut table = transaction.open_table(table).map_err(fault("write to"))?;
                act(&mut table).map_err(fault("write to"))?;
            }
            transaction.commit().map_err(fault("write to"))
        })
    }

    /// Sets the value of a key in a subject's table.
    pub fn put(&self, subject: &str, key: &str, value: &[u8]) -> Result<(), StateError> {
        self.write(subject, |table| table.insert(key, value).map(drop))
    }

    /// Removes a key from a subject's table; an absent one is fine.
    pub fn delete(&self, subject: &str, key: &str) -> Result<(), StateError> {
        self.write(subject, |table| table.remove(key).map(drop))
    }

    /// Sets values by subject and key, or removes them where there is none: all of it or nothing.
    pub fn apply(&self, changes: &[StateChange]) -> Result<(), StateError> {
        self.with(|database| {
            let transaction = database.begin_write().map_err(fault("write to"))?;
            for (subject, key, value) in changes {
                let table = TableDefinition::<&str, &[u8]>::new(subject);
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

    /// Returns the last `n_max` keys and values of a half-open range of a subject's keys, sorted.
    pub fn range(
        &self,
        subject: &str,
        start: &str,
        end: &str,
        n_max: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StateError> {
        self.with(|database| {
            let transaction = database.begin_read().map_err(fault("read"))?;
            let table = TableDefinition::<&str, &[u8]>::new(subject);
            let table = match transaction.open_table(table) {
                Ok(table) => table,
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                Err(error) => return Err(fault("read")(error)),
            };
            let mut found = Vec::new();
            if start < end {
                let range = table.range(start..end).map_err(fault("read"))?;
                for entry in range.rev().take(n_max) {
                    let (key, value) = entry.map_err(fault("read"))?;
                    found.push((key.value().to_owned(), value.value().to_vec()));
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

    /// Returns all keys and values of a subject's table, sorted by key.
    pub fn list(&self, subject: &str) -> Result<Vec<(String, Vec<u8>)>, StateError> {
        self.with(|database| {
            let transaction = database.begin_read().map_err(fault("read"))?;
            let table = TableDefinition::<&str, &[u8]>::new(subject);
            let table = match transaction.open_table(table) {
                Ok(table) => table,
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                Err(error) => return Err(fault("read")(error)),
            };
            let mut all = Vec::new();
            for entry in table.iter().map_err(fault("read"))? {
                let (key, value) = entry.map_err(fault("read"))?;
                all.push((key.value().to_owned(), value.value().to_vec()));
            }
            Ok(all)
        })
    }

    /// Returns the value of a key in a subject's table.
    pub fn get(&self, subject: &str, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.list(subject)?.into_iter().find(|(k, _)| k == key).map(|(_, value)| value))
    }
}

/// Makes an empty database under another name first: a process that ends half-way through would
/// leave a file that no later one could open.
fn create(data_dir: &Path, dir: &Path, file: &Path) -> Result<(), redb::Error> {
    let temporary = dir.join("control.redb.tmp");
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    drop(open_file(&temporary).map_err(|error| *error.source)?);
    std::fs::rename(&temporary, file)?;
    for folder in [dir, data_dir] {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(not(debug_assertions))]
fn open_file(file: &Path) -> Result<Database, StateError> {
    Database::create(file).map_err(fault("open"))
}

/// Opens the database with the faults that a test may have armed.
#[cfg(debug_assertions)]
fn open_file(file: &Path) -> Result<Database, StateError> {
    let mut options = std::fs::OpenOptions::new();
    let opened = options.read(true).write(true).create(true).truncate(false).open(file);
    let backend =
        redb::backends::FileBackend::new(opened.map_err(fault("open"))?).map_err(fault("open"))?;
    let backend = super::disk::faults::FaultBackend::new(backend);
    Database::builder().create_with_backend(backend).map_err(fault("open"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_reopening() {
        let dir = tempfile::tempdir().unwrap();
        {
            let store = StateStore::open(dir.path()).unwrap();
            store.put("alerts", "a", b"1").unwrap();
            store.put("alerts", "b", b"2").unwrap();
            store.delete("alerts", "a").unwrap();
        }

        let store = StateStore::open(dir.path()).unwrap();

        assert_eq!(store.list("alerts").unwrap(), [("b".to_owned(), b"2".to_vec())]);
        assert_eq!(store.get("alerts", "b").unwrap(), Some(b"2".to_vec()));
        assert_eq!(store.get("alerts", "a").unwrap(), None);
    }

    #[test]
    fn a_ledger_is_read_by_range_and_cut_from_its_start() {
        let store = StateStore::in_memory().unwrap();
        let change = |key: &str| ("ledger", key.to_owned(), Some(b"x".to_vec()));
        store.apply(&["a", "b", "c", "d"].map(change)).unwrap();
        let keys = |start: &str, end: &str, n_max| -> Vec<String> {
            let found = store.range("ledger", start, end, n_max).unwrap();
            found.into_iter().map(|(key, _)| key).collect()
        };

        assert_eq!(keys("b", "d", 9), ["b", "c"]);
        assert_eq!(keys("a", "z", 2), ["c", "d"]);
        assert!(
            keys("d", "a", 9).is_empty() && store.range("none", "a", "z", 9).unwrap().is_empty()
        );
        store.trim("ledger", "b", 2).unwrap();
        assert_eq!(keys("", "z", 9), ["c", "d"]);
        store.apply(&[("ledger", "c".to_owned(), None)]).unwrap();
        assert_eq!(keys("", "z", 9), ["d"]);
    }

    #[test]
    fn an_unknown_subject_is_empty() {
        assert!(StateStore::in_memory().unwrap().list("nothing").unwrap().is_empty());
    }
}
