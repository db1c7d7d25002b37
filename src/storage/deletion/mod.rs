//! Deletion by selector, with a receipt.
//!
//! A deletion is one step: what is in memory goes to files, every file that may hold a wanted row is
//! looked through, the numbers of the rows found are written to `deletions/`, and the manifest is
//! replaced once, with the receipt and with the files that lack rows from then on. So after a crash
//! either all of it happened or nothing did. What comes later is not deleted, whatever its labels
//! and its time.
//!
//! From the new manifest on no snapshot has the rows (`files::deleted`). Their bytes stay until
//! `storage.deletion_grace` has passed, so long a deletion can be taken back; then the files are
//! written anew without them, the old ones go when no reader holds them, and [`settle`] notes in the
//! receipt that the bytes are gone.
//!
//! All of it runs on the keeper's thread, as merging does: so no file is merged under a deletion.
//! Who may delete what is decided upstairs; the rows are chosen by a [`Judge`], which knows a query
//! language where this room knows none.

mod chosen;
mod receipt;
mod rows_file;
mod run;
mod settle;

use arrow::array::RecordBatch;

use super::ReadError;
use super::keeper::Unasked;
use crate::base::Kind;
use crate::model::{Commons, Signal};

pub use chosen::{SeriesJudge, SpansJudge};
pub use receipt::{Progress, Receipt};
#[cfg(any(test, fuzzing))]
pub(super) use rows_file::{decode, encode};
pub(super) use rows_file::{id_of, path};
pub use run::{cancel, delete, may_know, ripen};
pub use settle::{attach, n_to_write_anew, remove_strays, settle};

/// The most receipts that are kept; the oldest of those that are done go first.
pub const RECEIPTS_MAX: usize = 1_000;

/// Decides which rows a deletion takes.
pub trait Judge: Send {
    /// Returns the signals whose files are looked through.
    fn signals(&self) -> &[Signal];

    /// Returns false for a commons none of whose rows are meant.
    fn may_mean(&self, commons: &Commons) -> bool;

    /// Returns the columns that are needed; the first one of the signal, its time, must be there.
    fn columns(&self, signal: Signal) -> &[&'static str];

    /// Sets the marks of the rows that are meant, whatever their time.
    fn mark(&mut self, commons: &Commons, signal: Signal, batch: &RecordBatch, marks: &mut [bool]);
}

/// What to delete.
pub struct DeleteRequest {
    /// The credential's name.
    pub by: String,
    /// What was selected, as it was sent.
    pub selectors: Vec<String>,
    /// First ns, inclusive.
    pub start_ns: i64,
    /// Last ns, inclusive.
    pub end_ns: i64,
    /// Chooses the rows.
    pub judge: Box<dyn Judge>,
}

impl std::fmt::Debug for DeleteRequest {
    // Not the selectors: what somebody wants to be forgotten may stand in them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeleteRequest").field("by", &self.by).finish_non_exhaustive()
    }
}

/// Why nothing was deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// What is in memory is not in files yet.
    #[error(
        "what is in memory could not be written to files in time, so nothing was deleted: try again"
    )]
    Unflushed,
    /// Others are waiting already.
    #[error("other deletions are under way: try again when they are done")]
    Busy,
    /// The rows are too many single ones.
    #[error(
        "the deletion means more than {max} separate runs of rows (storage.deletion_ranges_max): narrow its time range, or raise the limit"
    )]
    TooScattered {
        /// The limit.
        max: usize,
    },
    /// As many receipts of deletions that are not done as there may be.
    #[error(
        "{RECEIPTS_MAX} deletions wait for their bytes to go: clean them up first (POST /api/v1/admin/tsdb/clean_tombstones)"
    )]
    TooMany,
    /// A file could not be read.
    #[error("cannot look through a file, so nothing was deleted: {0}")]
    Read(#[from] ReadError),
    /// The disk has no room for the rows' numbers.
    #[error("the disk is full: nothing was deleted")]
    Full,
    /// The rows' numbers could not be written.
    #[error("cannot write the rows of the deletion")]
    Write(#[source] std::io::Error),
    /// There is no such deletion.
    #[error("there is no deletion {id}")]
    Unknown {
        /// The id.
        id: u64,
    },
    /// The bytes may be gone already.
    #[error("deletion {id} cannot be taken back any more: it could until {until}")]
    TooLate {
        /// The id.
        id: u64,
        /// RFC 3339.
        until: String,
    },
    /// The process is stopping.
    #[error("the server is stopping")]
    Stopping,
}

impl From<Unasked> for DeleteError {
    fn from(unasked: Unasked) -> Self {
        match unasked {
            Unasked::Busy => DeleteError::Busy,
            Unasked::Stopping => DeleteError::Stopping,
        }
    }
}

impl DeleteError {
    /// Returns what the error asks of the caller.
    pub fn kind(&self) -> Kind {
        match self {
            DeleteError::Unflushed | DeleteError::Busy => Kind::Overloaded,
            DeleteError::TooScattered { .. }
            | DeleteError::TooLate { .. }
            | DeleteError::TooMany => Kind::Execution,
            DeleteError::Full
            | DeleteError::Stopping
            | DeleteError::Read(ReadError::Away { .. }) => Kind::Unavailable,
            DeleteError::Unknown { .. } => Kind::NotFound,
            DeleteError::Read(_) | DeleteError::Write(_) => Kind::Internal,
        }
    }
}
