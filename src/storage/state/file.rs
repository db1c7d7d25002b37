//! The file of the database: made so that a crash leaves none or a whole one, looked through before
//! it is believed, and set aside, never removed, when it is damaged.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable, TableHandle};
use tracing::{error, warn};

use super::{StateError, Table, fault};
use crate::base::shield::shield;

/// Below the data directory.
const DIR: &str = "state";
const NAME: &str = "control.redb";
/// What a damaged one is called in the quarantine folder; a number follows when there are more.
const SET_ASIDE: &str = "state%control.redb";

/// Where the database is.
#[derive(Debug)]
pub(super) struct StateFile {
    data_dir: PathBuf,
    path: PathBuf,
}

/// Why there is no database.
pub(super) enum Unopened {
    /// The disk is full; the file, if there is one, is as it was.
    Full,
    /// What is in the file is not what was written, or cannot be read.
    Damaged(String),
    /// Something that another file would not change.
    Failed(StateError),
}

impl StateFile {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned(), path: data_dir.join(DIR).join(NAME) }
    }

    /// Opens the database that is there, looked through, or makes an empty one.
    pub(super) fn open_or_create(&self) -> Result<Database, Unopened> {
        if !self.path.exists() {
            self.create().map_err(|error| judge(fault("create")(error)))?;
        }
        // On damaged bytes redb panics here and there; what it had opened is gone by then.
        let opened = shield("redb", || self.open_whole());
        match opened {
            Ok(opened) => opened.map_err(judge),
            Err(panicked) => Err(Unopened::Damaged(panicked.to_string())),
        }
    }

    /// Opens the database and reads every page of it against its checksums.
    fn open_whole(&self) -> Result<Database, StateError> {
        let mut database = self.open()?;
        if !database.check_integrity().map_err(fault("check"))? {
            warn!("the state database was repaired: its last change may be missing");
        }
        let transaction = database.begin_read().map_err(fault("read"))?;
        for table in transaction.list_tables().map_err(fault("read"))? {
            let table = transaction.open_table(Table::new(table.name())).map_err(fault("read"))?;
            for entry in table.iter().map_err(fault("read"))? {
                entry.map_err(fault("read"))?;
            }
        }
        drop(transaction);
        Ok(database)
    }

    /// Opens the file as it is.
    pub(super) fn open(&self) -> Result<Database, StateError> {
        open_file(&self.path)
    }

    /// Makes an empty database under another name first: a process that ends half-way through would
    /// leave a file that no later one could open.
    fn create(&self) -> Result<(), redb::Error> {
        let dir = self.data_dir.join(DIR);
        fs::create_dir_all(&dir)?;
        let temporary = dir.join(format!("{NAME}.tmp"));
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        drop(open_file(&temporary).map_err(|error| *error.source)?);
        fs::rename(&temporary, &self.path)?;
        sync_dirs(&[&dir, &self.data_dir])?;
        Ok(())
    }

    /// Moves the damaged file into the quarantine folder, under a name that is free.
    pub(super) fn set_aside(&self, reason: &str) -> Result<(), StateError> {
        let to = self.try_set_aside().map_err(fault("set aside"))?;
        error!(
            reason,
            to = %to.display(),
            "the state database is damaged and was set aside: alerts begin anew from the rules, \
             and notifications that were on their way are not known any more"
        );
        Ok(())
    }

    fn try_set_aside(&self) -> io::Result<PathBuf> {
        let quarantine = self.data_dir.join(super::super::open::QUARANTINE);
        fs::create_dir_all(&quarantine)?;
        let mut to = quarantine.join(SET_ASIDE);
        for n in 1.. {
            if !to.exists() {
                break;
            }
            to = quarantine.join(format!("{SET_ASIDE}.{n}"));
        }
        fs::rename(&self.path, &to)?;
        sync_dirs(&[&quarantine, &self.data_dir.join(DIR), &self.data_dir])?;
        Ok(to)
    }

    /// Returns what was set aside and nobody has dealt with, below the data directory.
    pub(super) fn set_aside_earlier(&self) -> Vec<String> {
        let folder = super::super::open::QUARANTINE;
        let entries = fs::read_dir(self.data_dir.join(folder)).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut found: Vec<String> = names
            .filter(|name| name.starts_with(SET_ASIDE))
            .map(|name| format!("{folder}/{name}"))
            .collect();
        found.sort_unstable();
        found
    }
}

fn sync_dirs(dirs: &[&Path]) -> io::Result<()> {
    dirs.iter().try_for_each(|dir| fs::File::open(dir)?.sync_all())
}

/// Sorts errors of opening by what they ask for.
fn judge(error: StateError) -> Unopened {
    const EIO: i32 = 5;
    if error.is_full() {
        return Unopened::Full;
    }
    let is_damage = match &*error.source {
        redb::Error::Io(error) => {
            error.raw_os_error() == Some(EIO)
                || matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
        }
        // Somebody else has it open, or we have.
        redb::Error::DatabaseAlreadyOpen | redb::Error::TransactionInProgress => false,
        _ => true,
    };
    if is_damage { Unopened::Damaged(error.source.to_string()) } else { Unopened::Failed(error) }
}

#[cfg(not(debug_assertions))]
fn open_file(file: &Path) -> Result<Database, StateError> {
    Database::create(file).map_err(fault("open"))
}

/// Opens the database with the faults that a test may have armed.
#[cfg(debug_assertions)]
fn open_file(file: &Path) -> Result<Database, StateError> {
    let mut options = fs::OpenOptions::new();
    let opened = options.read(true).write(true).create(true).truncate(false).open(file);
    let backend =
        redb::backends::FileBackend::new(opened.map_err(fault("open"))?).map_err(fault("open"))?;
    let backend = crate::storage::disk::faults::FaultBackend::new(backend);
    Database::builder().create_with_backend(backend).map_err(fault("open"))
}
