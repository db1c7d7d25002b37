//! The open segment: frames go in as a group and are synced before anyone hears of it.

use std::io;

use crate::storage::disk::{self, Disk, DiskFile};

use super::frame::{SEGMENT_HEADER_BYTES, segment_header};
use super::path;

/// Why a group is not on disk.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The disk is full; the segment is as it was before.
    #[error("the disk is full")]
    Full,
    /// What is on disk is unknown. Going on could acknowledge what a restart will not find, so the
    /// process must stop; the log is replayed.
    #[error("cannot {action} log segment {path}")]
    Fatal {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: String,
        /// The cause.
        source: io::Error,
    },
}

/// A segment open for appending.
pub struct Segment {
    /// `None` until there is room for it.
    file: Option<Box<dyn DiskFile>>,
    number: u64,
    len_bytes: u64,
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Segment {
    /// Creates a segment whose header and name survive a power cut.
    pub fn create(disk: &dyn Disk, number: u64, generation: u64) -> Result<Self, WalError> {
        let file = Self::try_create(disk, number, generation)
            .map_err(|source| fault("create", number, source))?;
        Ok(Self { file: Some(file), number, len_bytes: SEGMENT_HEADER_BYTES as u64 })
    }

    /// Returns a segment that is not on disk yet, for a start that finds the disk full.
    pub fn later(number: u64) -> Self {
        Self { file: None, number, len_bytes: 0 }
    }

    /// Returns true until the segment is on disk.
    pub fn is_yet_to_come(&self) -> bool {
        self.file.is_none()
    }

    fn try_create(disk: &dyn Disk, number: u64, generation: u64) -> io::Result<Box<dyn DiskFile>> {
        let mut file = disk.create(&path(number))?;
        file.write_all(&segment_header(number, generation))?;
        file.sync()?;
        disk.sync_dir(super::DIR)?;
        Ok(file)
    }

    /// Writes the frames of one group and syncs them.
    pub fn append(&mut self, frames: &[u8]) -> Result<(), WalError> {
        let file = self.file.as_mut().expect("whoever appends has made the segment first");
        if let Err(source) = file.write_all(frames) {
            let error = fault("write to", self.number, source);
            if matches!(error, WalError::Full) {
                // Whole frames may be there: a refusal is only true once a restart cannot find them.
                let cut = file.truncate(self.len_bytes).and_then(|()| file.sync());
                cut.map_err(|source| fatal("truncate", self.number, source))?;
            }
            return Err(error);
        }
        if let Err(source) = file.sync() {
            // The kernel may go on showing bytes that it will never write. The next process must not
            // build on them, and if they cannot be cut off, that is what this one has to say anyway.
            let _: io::Result<()> = file.truncate(self.len_bytes);
            return Err(fatal("sync", self.number, source));
        }
        self.len_bytes += frames.len() as u64;
        Ok(())
    }

    /// Returns the segment's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns the length of the file.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }
}

fn fault(action: &'static str, number: u64, source: io::Error) -> WalError {
    if disk::is_full(&source) { WalError::Full } else { fatal(action, number, source) }
}

// A failed sync is fatal even when it says "full": the kernel may have dropped the pages.
fn fatal(action: &'static str, number: u64, source: io::Error) -> WalError {
    WalError::Fatal { action, path: path(number), source }
}
