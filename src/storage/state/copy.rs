//! The database elsewhere: copied while it is in use, and looked through where nobody uses it.

use std::fs;
use std::path::Path;

use redb::{Database, ReadOnlyDatabase, ReadableDatabase, ReadableTable, TableHandle};

use super::{StateError, StateStore, Table, fault, pour};
use crate::base::shield::shield;

impl StateStore {
    /// Writes all there is at one moment to a new database at `path`, synced.
    pub fn copy_to(&self, path: &Path) -> Result<(), StateError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(fault("create the folder of a copy of"))?;
        }
        self.with(|database| {
            let copy = Database::create(path).map_err(fault("copy"))?;
            pour(database, &copy)
        })
    }
}

/// Reads every value of a database that no process uses; says what is wrong with it. One that a
/// server has open is not looked at, and neither is one that is not there.
pub fn look_through(path: &Path) -> Result<(), String> {
    if !path.exists() {
        return Ok(());
    }
    // On damaged bytes redb panics here and there.
    let read = shield("redb", || match ReadOnlyDatabase::open(path) {
        Ok(database) => read_all(&database).map_err(|error| error.to_string()),
        // It is in use, or its process was ended and the next one mends it.
        Err(redb::DatabaseError::DatabaseAlreadyOpen | redb::DatabaseError::RepairAborted) => {
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    });
    read.unwrap_or_else(|panicked| Err(panicked.to_string()))
}

fn read_all(database: &ReadOnlyDatabase) -> Result<(), redb::Error> {
    let transaction = database.begin_read()?;
    for table in transaction.list_tables()? {
        for entry in transaction.open_table(Table::new(table.name()))?.iter()? {
            entry?;
        }
    }
    Ok(())
}
