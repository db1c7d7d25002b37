//! Control state that must survive a restart: alerts, notifications on their way.
//!
//! Small values by key in an embedded database (redb) below `state/`, one table a subject. Each
//! write is a transaction that is synced before it returns, so a value is there whole or not.
//!
//! The one rule: telemetry does not wait for it. A database that is damaged is set aside, and an
//! empty one takes its place ([`file`]). One that a full disk does not let be opened stays as it is;
//! until it can be, values are kept in memory, and then they are written over what it holds.
//!
//! After a write that found the disk full redb answers nothing any more until it is opened again;
//! that is done at the next call, so what is kept here resumes by itself when there is space. After
//! any other fault of the disk it is not: what a failed sync left on disk is unknown, and only a
//! restart reads it back.

mod copy;
mod file;
mod ledger;

#[cfg(test)]
mod tests;

use std::path::Path;

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableHandle};
use tracing::{error, info};

pub use copy::look_through;
use file::{StateFile, Unopened};
pub use ledger::StateChange;

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

/// What the database tells of itself.
#[derive(Debug, Clone, Default)]
pub struct StateMetrics {
    set_aside: Gauge,
    in_memory: Gauge,
}

impl StateMetrics {
    /// Returns the metrics, registered as `commonwatch_state_…`.
    pub fn register(registry: &mut Registry) -> Self {
        let own = Self::default();
        let name = "commonwatch_state_set_aside_files";
        let help = "Damaged databases of alerts and notifications in the quarantine folder";
        registry.register(name, help, own.set_aside.clone());
        let name = "commonwatch_state_in_memory";
        let help = "1 while alerts and notifications are kept in memory for want of disk space";
        registry.register(name, help, own.in_memory.clone());
        own
    }
}

type Table<'a> = TableDefinition<'a, &'static str, &'static [u8]>;

/// Where values are now.
#[derive(Debug)]
enum Kept {
    /// In the file, or in memory for good.
    Open(Database),
    /// The disk was full: the next call opens the file again.
    Closed,
    /// The disk has been full since the start: in memory until the file can be opened.
    Waiting(Database),
}

/// The database of control state.
#[derive(Debug)]
pub struct StateStore {
    /// `None` for one in memory.
    file: Option<StateFile>,
    kept: Mutex<Kept>,
    metrics: StateMetrics,
}

impl StateStore {
    /// Opens `<data_dir>/state/control.redb`, creating it if need be. A damaged one is set aside; with
    /// a full disk, values are kept in memory until there is room.
    pub fn open(data_dir: &Path, metrics: StateMetrics) -> Result<Self, StateError> {
        let file = StateFile::new(data_dir);
        let kept = match file.open_or_create() {
            Ok(database) => Kept::Open(database),
            Err(Unopened::Failed(error)) => return Err(error),
            Err(Unopened::Damaged(reason)) => replace(&file, &reason)?,
            Err(Unopened::Full) => waiting()?,
        };
        metrics.in_memory.set(i64::from(matches!(kept, Kept::Waiting(_))));
        metrics.set_aside.set(i64::try_from(file.set_aside_earlier().len()).unwrap_or(i64::MAX));
        Ok(Self { file: Some(file), kept: Mutex::new(kept), metrics })
    }

    /// Returns a database that is gone with this value.
    pub fn in_memory() -> Result<Self, StateError> {
        let kept = Mutex::new(Kept::Open(memory()?));
        Ok(Self { file: None, kept, metrics: StateMetrics::default() })
    }

    /// Returns the damaged files that were set aside, now or by an earlier process, below the data
    /// directory. What they held is unknown until someone has dealt with them.
    pub fn set_aside(&self) -> Vec<String> {
        self.file.as_ref().map(StateFile::set_aside_earlier).unwrap_or_default()
    }

    /// Returns true while values are kept in memory because the disk was full at the start; tries to
    /// write them to the file first.
    pub fn is_waiting(&self) -> bool {
        let mut kept = self.kept.lock();
        if let (Kept::Waiting(_), Some(file)) = (&*kept, &self.file)
            && let Err(error) = self.return_to(file, &mut kept)
        {
            error!(%error, "alerts and notifications are still kept in memory");
        }
        matches!(&*kept, Kept::Waiting(_))
    }

    fn with<T>(
        &self,
        act: impl FnOnce(&Database) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let mut kept = self.kept.lock();
        if let Some(file) = &self.file {
            self.return_to(file, &mut kept)?;
        }
        let (Kept::Open(database) | Kept::Waiting(database)) = &*kept else {
            unreachable!("it was opened just now, and one in memory is never closed")
        };
        let result = act(database);
        if self.file.is_some() && result.as_ref().is_err_and(StateError::is_full) {
            *kept = Kept::Closed;
        }
        result
    }

    /// Opens the file again if there may be room now.
    fn return_to(&self, file: &StateFile, kept: &mut Kept) -> Result<(), StateError> {
        match kept {
            Kept::Open(_) => {}
            Kept::Closed => *kept = Kept::Open(file.open()?),
            Kept::Waiting(memory) => match file.open_or_create() {
                Ok(database) => match pour(memory, &database) {
                    Ok(()) => {
                        info!("the disk has space again: alerts and notifications are saved");
                        self.metrics.in_memory.set(0);
                        *kept = Kept::Open(database);
                    }
                    Err(error) if error.is_full() => {}
                    Err(error) => return Err(error),
                },
                // There was no room to set it aside at the start; the next call finds none there.
                Err(Unopened::Damaged(reason)) => drop(file.set_aside(&reason)),
                Err(Unopened::Full | Unopened::Failed(_)) => {}
            },
        }
        Ok(())
    }

    fn write(
        &self,
        subject: &str,
        act: impl FnOnce(&mut redb::Table<'_, &str, &[u8]>) -> Result<(), redb::StorageError>,
    ) -> Result<(), StateError> {
        self.with(|database| {
            let transaction = database.begin_write().map_err(fault("write to"))?;
            {
                let table = Table::new(subject);
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

    /// Returns all keys and values of a subject's table, sorted by key.
    pub fn list(&self, subject: &str) -> Result<Vec<(String, Vec<u8>)>, StateError> {
        self.with(|database| {
            let transaction = database.begin_read().map_err(fault("read"))?;
            let table = Table::new(subject);
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
        self.with(|database| {
            let transaction = database.begin_read().map_err(fault("read"))?;
            let table = match transaction.open_table(Table::new(subject)) {
                Ok(table) => table,
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
                Err(error) => return Err(fault("read")(error)),
            };
            let value = table.get(key).map_err(fault("read"))?;
            Ok(value.map(|value| value.value().to_vec()))
        })
    }
}

/// Sets a damaged database aside and begins an empty one.
fn replace(file: &StateFile, reason: &str) -> Result<Kept, StateError> {
    let again = file.set_aside(reason).and_then(|()| match file.open_or_create() {
        Ok(database) => Ok(Kept::Open(database)),
        Err(Unopened::Full) => waiting(),
        Err(Unopened::Failed(error)) => Err(error),
        Err(Unopened::Damaged(reason)) => {
            Err(fault("open an empty")(redb::Error::Corrupted(reason)))
        }
    });
    match again {
        // There is no room for the folder: the damaged one stays where it is.
        Err(error) if error.is_full() => waiting(),
        other => other,
    }
}

fn memory() -> Result<Database, StateError> {
    let backend = redb::backends::InMemoryBackend::new();
    Database::builder().create_with_backend(backend).map_err(fault("open"))
}

fn waiting() -> Result<Kept, StateError> {
    error!(
        "the disk is full: alerts begin anew from the rules and are kept in memory until there is \
         space"
    );
    memory().map(Kept::Waiting)
}

/// Writes everything of one database over what another one holds.
fn pour(from: &Database, to: &Database) -> Result<(), StateError> {
    let reading = from.begin_read().map_err(fault("read"))?;
    let writing = to.begin_write().map_err(fault("write to"))?;
    for table in reading.list_tables().map_err(fault("read"))? {
        let from = reading.open_table(Table::new(table.name())).map_err(fault("read"))?;
        let mut to = writing.open_table(Table::new(table.name())).map_err(fault("write to"))?;
        for entry in from.iter().map_err(fault("read"))? {
            let (key, value) = entry.map_err(fault("read"))?;
            to.insert(key.value(), value.value()).map_err(fault("write to"))?;
        }
    }
    writing.commit().map_err(fault("write to"))
}
