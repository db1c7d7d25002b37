//! The open segment: frames go in as a group and are synced before anyone hears of it.
//!
//! Room is reserved ahead of the frames. The sync of a file that has grown waits until the file system
//! has written its journal, and with it whatever else is in there, the bytes of other files included;
//! the sync of bytes inside a file waits for them alone. Reserved room reads as zeros: the reader takes
//! zeros up to the end for what was never written. It is only about time, so where it cannot be had
//! the segment grows with each group.

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

/// The least that is reserved at a time; then as much again as there is, up to the setting.
const AHEAD_BYTES_MIN: u64 = 64 << 10;

/// A segment open for appending.
pub struct Segment {
    /// `None` until there is room for it.
    file: Option<Box<dyn DiskFile>>,
    number: u64,
    len_bytes: u64,
    /// Up to where there is room.
    reserved_bytes: u64,
    /// The most to reserve at a time; 0 once the file system has refused.
    ahead_bytes: u64,
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Segment {
    /// Creates a segment whose header and name survive a power cut; up to `ahead_bytes` are reserved
    /// at a time.
    pub fn create(
        disk: &dyn Disk,
        number: u64,
        generation: u64,
        ahead_bytes: u64,
    ) -> Result<Self, WalError> {
        let file = Self::try_create(disk, number, generation)
            .map_err(|source| fault("create", number, source))?;
        let len_bytes = SEGMENT_HEADER_BYTES as u64;
        Ok(Self { file: Some(file), number, len_bytes, reserved_bytes: len_bytes, ahead_bytes })
    }

    /// Returns a segment that is not on disk yet, for a start that finds the disk full.
    pub fn later(number: u64) -> Self {
        Self { file: None, number, len_bytes: 0, reserved_bytes: 0, ahead_bytes: 0 }
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
        self.reserve(frames.len() as u64);
        let file = self.file.as_mut().expect("whoever appends has made the segment first");
        if let Err(source) = file.write_all(frames) {
            let error = fault("write to", self.number, source);
            if matches!(error, WalError::Full) {
                // Whole frames may be there: a refusal is only true once a restart cannot find them.
                let cut = file.truncate(self.len_bytes).and_then(|()| file.sync());
                self.reserved_bytes = self.len_bytes;
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

    /// Sees to room for `n_bytes` more, and for those after them. The header is synced before there is
    /// any, so that a file of zeros is damage and not a segment that was just begun.
    fn reserve(&mut self, n_bytes: u64) {
        let end = self.len_bytes + n_bytes;
        if self.ahead_bytes == 0 || end <= self.reserved_bytes {
            return;
        }
        let file = self.file.as_mut().expect("whoever appends has made the segment first");
        let wanted = end + end.max(AHEAD_BYTES_MIN).min(self.ahead_bytes);
        if file.reserve(wanted).is_ok() {
            self.reserved_bytes = wanted;
        } else {
            // On a full disk it may have got a part, which frames and files need more.
            let _: io::Result<()> = file.truncate(self.len_bytes);
            (self.reserved_bytes, self.ahead_bytes) = (self.len_bytes, 0);
        }
    }

    /// Returns the segment's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns the length of what was written.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::disk::RealDisk;
    use crate::storage::disk::sim::{Fault, SimDisk};

    const AHEAD: u64 = 1 << 20;

    fn size(disk: &dyn Disk) -> u64 {
        disk.open(&path(1)).unwrap().size_bytes()
    }

    #[test]
    fn room_doubles_up_to_the_setting_and_frames_stand_one_behind_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(folder.path()).unwrap();
        disk.create_dir_all(crate::storage::wal::DIR).unwrap();
        let mut segment = Segment::create(&disk, 1, 1, AHEAD).unwrap();
        assert_eq!(size(&disk), 28, "the header alone is what a start may find");

        let mut sizes = Vec::new();
        for byte in 0..100 {
            segment.append(&[byte; 50_000]).unwrap();
            sizes.push(size(&disk));
        }

        sizes.dedup();
        assert_eq!(sizes[..3], [28 + 50_000 + 65_536, 2 * (28 + 150_000), 2 * (28 + 350_000)]);
        assert!(sizes.windows(2).all(|pair| pair[1] - pair[0] <= AHEAD + 50_000), "{sizes:?}");
        let written = disk.read(&path(1)).unwrap();
        let (frames, rest) = written[28..].split_at(100 * 50_000);
        assert!(frames.chunks(50_000).zip(0..).all(|(frame, byte)| frame == [byte; 50_000]));
        assert!(rest.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn where_no_room_can_be_had_the_segment_grows_with_each_group() {
        let disk = SimDisk::new();
        let mut segment = Segment::create(&disk, 1, 1, AHEAD).unwrap();
        disk.arm(0, Fault::Full);

        segment.append(&[1; 10]).unwrap();
        assert_eq!(size(&disk), 38);
        segment.append(&[2; 10]).unwrap();
        assert_eq!(size(&disk), 48);

        let mut none_wanted = Segment::create(&disk, 1, 1, 0).unwrap();
        none_wanted.append(&[1; 10]).unwrap();
        assert_eq!(size(&disk), 38);
    }

    #[test]
    fn after_a_full_disk_room_is_asked_for_again_where_the_group_was_cut_off() {
        let disk = SimDisk::new();
        let mut segment = Segment::create(&disk, 1, 1, AHEAD).unwrap();
        segment.append(&[1; 10]).unwrap();
        disk.arm(0, Fault::ShortFull);

        assert!(matches!(segment.append(&[2; 10]), Err(WalError::Full)));
        assert_eq!(size(&disk), 38, "what was refused is cut off, and the room behind it");
        segment.append(&[3; 10]).unwrap();

        assert!(size(&disk) > 48);
        assert_eq!(disk.read(&path(1)).unwrap()[28..48], [[1; 10], [3; 10]].concat());
    }
}
