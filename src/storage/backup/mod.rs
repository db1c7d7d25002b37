//! Backups: all that is in files at one moment, copied, summed up, and put back.
//!
//! ```text
//! take     the keeper links every live file into snapshots/<name>/ and writes a manifest beside
//!          them: files never change, so a link is a copy that costs nothing and waits for nobody
//! copy     from a snapshot to another folder, each byte checked on its way against the checksums
//!          it was written with; a listing with the checksum of each file comes last
//! restore  from such a folder to a new data directory, each byte checked against the listing
//! check    reads everything below a data directory and names what is damaged
//! ```
//! What is in the log goes to files first, so a backup has no log: the manifest says up to which
//! segment it covers it, and the log of the restored store goes on from there. A backup comes from
//! outside: its listing is not believed but looked at (`listing`), and links are not followed.

mod below;
mod check;
mod copy;
mod listing;
mod snapshot;

use std::io;

use super::catalog::CatalogError;
use super::keeper::Unasked;
use super::objects::Unreachable;
use crate::base::Kind;

pub use below::Below;
pub use check::{Checks, Finding, check};
pub use copy::{Copied, back_up, restore};
pub use listing::{LISTING, Listed, Listing};
pub use snapshot::{DIR, Taken, is_name};
pub(super) use snapshot::{holds, remove_cut_short, take};

/// Where the control state lies, in a data directory and in a backup.
pub const STATE: &str = "state/control.redb";

/// Why there is no backup, or no store made of one.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Reading or writing failed.
    #[error("cannot {action} {path}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// A file is not what it was when it was written.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// Its path.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The listing is no listing.
    #[error("{LISTING} is no listing of a backup: {0}")]
    Listing(String),
    /// The listing names what no backup has.
    #[error("{LISTING} names `{path}`, which is no file of a store: nothing was restored")]
    Foreign {
        /// The path, without what a terminal could take for a command.
        path: String,
    },
    /// The manifest of a backup cannot be used.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// What is in memory is not in files yet.
    #[error("what is in memory could not be written to files in time: try again")]
    Unflushed,
    /// Whoever asked for a snapshot did not wait for it.
    #[error("nobody waits for the snapshot any more")]
    Unwanted,
    /// The keeper has too much to do.
    #[error("the store is busy with other work of its kind: try again")]
    Busy,
    /// The process is stopping.
    #[error("the server is stopping")]
    Stopping,
}

impl From<Unasked> for BackupError {
    fn from(unasked: Unasked) -> Self {
        match unasked {
            Unasked::Busy => BackupError::Busy,
            Unasked::Stopping => BackupError::Stopping,
        }
    }
}

impl BackupError {
    /// Returns what the error asks of the caller.
    pub fn kind(&self) -> Kind {
        match self {
            BackupError::Io { source, .. } if super::disk::is_full(source) => Kind::Unavailable,
            BackupError::Io { source, .. } if Unreachable::why(source).is_some() => {
                Kind::Unavailable
            }
            BackupError::Unflushed | BackupError::Busy => Kind::Overloaded,
            BackupError::Stopping => Kind::Unavailable,
            _ => Kind::Internal,
        }
    }
}

fn io_error(action: &'static str, path: &str) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Io { action, path, source }
}
