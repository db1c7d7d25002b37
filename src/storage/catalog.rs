//! Which files are live, as one atomically replaced manifest.
//!
//! `parquet/manifest.json` is one line of JSON and one line with its CRC-32C in hex. It names every
//! live file and the last log segment whose rows are in files; both change in one rename, so after a
//! crash a row is either in a listed file or in a segment that will be replayed, never in both.
//!
//! `parquet/manifest.copy.json` is the same, written after it and before anything that an older one
//! needs is removed: one that a crash left behind is the state of a moment ago, and still true. So
//! when the manifest is lost or damaged, the copy takes its place; otherwise the start brings it up
//! to date. (Were it written first, it could be of a future that a crash prevented.)
//!
//! A full disk may have room for the first and none for the second. The manifest counts then, here
//! and after a restart, and its copy is behind: [`Shared::may_remove`](super::shared::Shared::may_remove)
//! brings it up to date, or takes it away, before anything goes that it still needs.

use std::io;
use std::sync::Arc;

use crc32c::crc32c;
use serde::{Deserialize, Serialize};

use super::FileEntry;
use super::deletion::{Progress, Receipt};
use super::disk::{self, Disk};

/// Where the manifest is.
pub const MANIFEST: &str = "parquet/manifest.json";
/// Where its copy is.
pub const COPY: &str = "parquet/manifest.copy.json";
/// The version of a manifest that knows of no deletion.
const VERSION: u32 = 1;
/// The version of one that does: a program that knew nothing of them would show what was deleted.
const WITH_DELETIONS: u32 = 2;

/// The content of the manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    version: u32,
    /// Log segments up to this one are covered by the files.
    pub covered_segment: u64,
    /// Generations up to this one are in the files.
    pub generation: u64,
    /// The live files, in the order they were written.
    pub files: Vec<Arc<FileEntry>>,
    /// Files that are no longer live and have yet to be removed.
    #[serde(default)]
    pub doomed: Vec<String>,
    /// The receipts of deletions, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deletions: Vec<Receipt>,
    /// The id of the last deletion; 0 when there was none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub last_deletion: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            version: VERSION,
            covered_segment: 0,
            generation: 0,
            files: Vec::new(),
            doomed: Vec::new(),
            deletions: Vec::new(),
            last_deletion: 0,
        }
    }
}

/// Why the manifest could not be used. Nothing is ever deleted because of it.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Reading or writing failed.
    #[error("cannot {action} {path}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which of the two.
        path: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The checksums or the texts of both are wrong.
    #[error(
        "{MANIFEST} and {COPY} are damaged ({0}): restore one from a backup, or move the data directory away to start anew"
    )]
    Damaged(String),
    /// A later version wrote it.
    #[error(
        "{MANIFEST} has version {found}, this program reads up to {WITH_DELETIONS}: use the newer program"
    )]
    Newer {
        /// The version found.
        found: u32,
    },
}

impl CatalogError {
    /// Returns true when the disk was full: the old manifest is in place, and later may work.
    pub fn is_full(&self) -> bool {
        matches!(self, CatalogError::Io { source, .. } if disk::is_full(source))
    }
}

/// One of the two that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Which.
    pub path: &'static str,
    /// What is wrong with it; `None` when it is not there, or behind.
    pub damage: Option<String>,
}

/// How the two stand on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Both say the same.
    Whole,
    /// The copy is older than the manifest, or not there.
    CopyBehind,
    /// There is only the copy.
    CopyOnly,
}

enum Found {
    Whole(Manifest),
    Damaged(String),
    Nothing,
}

impl Manifest {
    /// Adds the receipt of a new deletion; of more than `n_max` the oldest that are done go.
    pub fn add_receipt(&mut self, receipt: Receipt, n_max: usize) {
        self.version = WITH_DELETIONS;
        self.last_deletion = receipt.id;
        self.deletions.push(receipt);
        while self.deletions.len() > n_max
            && let Some(oldest) =
                self.deletions.iter().position(|known| known.progress != Progress::Hidden)
        {
            self.deletions.remove(oldest);
        }
    }

    /// Replaces the receipt of a deletion.
    pub fn put_receipt(&mut self, receipt: Receipt) {
        let id = receipt.id;
        if let Some(known) = self.deletions.iter_mut().find(|known| known.id == id) {
            *known = receipt;
        }
    }

    /// Reads the manifest, or its copy when it is lost or damaged; a data directory without either
    /// is new. Which of the two is wrong, if one is, comes with it.
    pub fn read(disk: &dyn Disk) -> Result<(Self, Option<Wrong>), CatalogError> {
        let (first, second) = (Self::read_one(disk, MANIFEST)?, Self::read_one(disk, COPY)?);
        let wrong = |path, damage| Some(Wrong { path, damage });
        match (first, second) {
            (Found::Whole(manifest), Found::Whole(copy)) if manifest == copy => {
                Ok((manifest, None))
            }
            (Found::Whole(manifest), Found::Damaged(why)) => Ok((manifest, wrong(COPY, Some(why)))),
            (Found::Whole(manifest), _) => Ok((manifest, wrong(COPY, None))),
            (Found::Nothing, Found::Whole(copy)) => Ok((copy, wrong(MANIFEST, None))),
            (Found::Damaged(why), Found::Whole(copy)) => Ok((copy, wrong(MANIFEST, Some(why)))),
            // Both are made at once, so that there is a copy when the first file is published.
            (Found::Nothing, Found::Nothing) => Ok((Self::default(), wrong(COPY, None))),
            (Found::Nothing, Found::Damaged(why)) | (Found::Damaged(why), _) => {
                Err(CatalogError::Damaged(why))
            }
        }
    }

    fn read_one(disk: &dyn Disk, path: &'static str) -> Result<Found, CatalogError> {
        match disk.read(path) {
            Ok(bytes) => match parse(&bytes) {
                Ok(manifest) => Ok(Found::Whole(manifest)),
                Err(CatalogError::Damaged(reason)) => Ok(Found::Damaged(reason)),
                Err(error) => Err(error),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
            Err(source) => Err(io_error("read", path)(source)),
        }
    }

    /// Replaces the manifest, then its copy; for the second a disk may be too full.
    pub fn write(&self, disk: &dyn Disk) -> Result<Standing, CatalogError> {
        self.replace(disk, MANIFEST)?;
        match self.replace(disk, COPY) {
            Ok(()) => Ok(Standing::Whole),
            Err(error) if error.is_full() => Ok(Standing::CopyBehind),
            Err(error) => Err(error),
        }
    }

    /// Brings the two into a standing in which what older manifests needed may be removed: a copy
    /// that cannot be brought up to date is taken away, so that nobody goes by it.
    pub fn settle(&self, disk: &dyn Disk, standing: Standing) -> Result<Standing, CatalogError> {
        match standing {
            Standing::Whole => return Ok(Standing::Whole),
            Standing::CopyOnly => self.replace(disk, MANIFEST)?,
            Standing::CopyBehind => {}
        }
        match self.replace(disk, COPY) {
            Ok(()) => Ok(Standing::Whole),
            Err(error) if error.is_full() => {
                drop_copy(disk).map_err(io_error("remove", COPY))?;
                Ok(Standing::CopyBehind)
            }
            Err(error) => Err(error),
        }
    }

    fn replace(&self, disk: &dyn Disk, path: &'static str) -> Result<(), CatalogError> {
        let mut text = serde_json::to_string(self).expect("plain values have a JSON form");
        let crc = crc32c(text.as_bytes());
        text.push_str(&format!("\n{crc:08x}\n"));
        assert!(
            parse(text.as_bytes()).is_ok_and(|read| read == *self),
            "what is written can be read"
        );
        disk::replace_file(disk, path, text.as_bytes()).map_err(io_error("replace", path))
    }
}

fn io_error(action: &'static str, path: &'static str) -> impl FnOnce(io::Error) -> CatalogError {
    move |source| CatalogError::Io { action, path, source }
}

fn drop_copy(disk: &dyn Disk) -> io::Result<()> {
    match disk.remove(COPY) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    disk.sync_dir(disk::parent(COPY))
}

pub(super) fn parse(bytes: &[u8]) -> Result<Manifest, CatalogError> {
    let damaged = |reason: &str| CatalogError::Damaged(reason.to_owned());
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("not UTF-8"))?;
    let (json, crc) = text.split_once('\n').ok_or_else(|| damaged("no checksum line"))?;
    if crc != format!("{:08x}\n", crc32c(json.as_bytes())) {
        return Err(damaged("wrong checksum"));
    }
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    let head: Head = serde_json::from_str(json).map_err(|e| damaged(&e.to_string()))?;
    if !(VERSION..=WITH_DELETIONS).contains(&head.version) {
        return Err(CatalogError::Newer { found: head.version });
    }
    serde_json::from_str(json).map_err(|e| damaged(&e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Commons, Signal};
    use crate::storage::disk::sim::{Fault, SimDisk};
    use crate::storage::files::deleted::Live;

    fn manifest() -> Manifest {
        let file = FileEntry {
            path: "parquet/logs/commons=_self/date=2026-11-21/1-0.parquet".to_owned(),
            signal: Signal::Logs,
            commons: Commons::own(),
            day: 20_778,
            n_rows: 3,
            size_bytes: 99,
            min_ns: -1,
            max_ns: i64::MAX,
            has_exp: false,
            seal: None,
            deletions: Vec::new(),
            live: Live::default(),
        };
        Manifest {
            covered_segment: 4,
            generation: 2,
            files: vec![Arc::new(file)],
            ..Manifest::default()
        }
    }

    fn wrong(path: &'static str) -> Option<Wrong> {
        Some(Wrong { path, damage: None })
    }

    fn read(disk: &SimDisk) -> Manifest {
        Manifest::read(disk).unwrap().0
    }

    #[test]
    fn what_was_written_is_read() {
        let disk = SimDisk::new();

        manifest().write(&disk).unwrap();

        assert_eq!(Manifest::read(&disk).unwrap(), (manifest(), None));
    }

    #[test]
    fn a_new_directory_has_an_empty_manifest() {
        assert_eq!(read(&SimDisk::new()), Manifest::default());
    }

    #[test]
    fn every_flipped_bit_is_found_and_the_copy_takes_its_place() {
        let disk = SimDisk::new();
        manifest().write(&disk).unwrap();
        let len = disk.read(MANIFEST).unwrap().len();
        for at in 0..len {
            for mask in [0x01, 0x04, 0x80] {
                for (path, whole_one) in [(MANIFEST, COPY), (COPY, MANIFEST)] {
                    disk.flip_byte(path, at, mask);
                    let (found, wrong) = Manifest::read(&disk).unwrap();
                    assert_eq!((found, wrong.unwrap().path), (manifest(), path), "{at} {mask}");

                    disk.flip_byte(whole_one, len - 1 - at, mask);
                    let both = Manifest::read(&disk);
                    assert!(matches!(both, Err(CatalogError::Damaged(_))), "{at} {mask}");
                    disk.flip_byte(path, at, mask);
                    disk.flip_byte(whole_one, len - 1 - at, mask);
                }
            }
        }
    }

    #[test]
    fn a_lost_manifest_is_replaced_by_its_copy() {
        let disk = SimDisk::new();
        manifest().write(&disk).unwrap();
        disk.remove(MANIFEST).unwrap();

        let (found, wrong) = Manifest::read(&disk).unwrap();

        assert_eq!((found, wrong.unwrap().path), (manifest(), MANIFEST));
    }

    #[test]
    fn on_a_full_disk_the_manifest_counts_and_an_old_copy_does_not_stay() {
        // Making, writing and syncing a file, renaming it, syncing the folder.
        let n_ops_each = 5;
        for (at, fault) in [(0, Fault::Full), (1, Fault::Full), (1, Fault::ShortFull)] {
            let disk = SimDisk::new();
            Manifest::default().write(&disk).unwrap();
            disk.arm(n_ops_each + at, fault);

            let standing = manifest().write(&disk).unwrap();

            assert_eq!(standing, Standing::CopyBehind);
            assert_eq!(Manifest::read(&disk).unwrap(), (manifest(), wrong(COPY)));

            disk.arm(0, Fault::Full);
            let settled = manifest().settle(&disk, standing).unwrap();
            assert_eq!(settled, Standing::CopyBehind, "there is still no room");
            assert!(disk.read(COPY).is_err(), "the copy of an older state is gone");

            let settled = manifest().settle(&disk, settled).unwrap();
            assert_eq!(
                (settled, Manifest::read(&disk).unwrap()),
                (Standing::Whole, (manifest(), None))
            );
        }
    }

    #[test]
    fn a_copy_that_stands_for_a_lost_manifest_is_not_taken_away() {
        let disk = SimDisk::new();
        manifest().write(&disk).unwrap();
        disk.remove(MANIFEST).unwrap();
        disk.arm(0, Fault::Full);

        assert!(manifest().settle(&disk, Standing::CopyOnly).unwrap_err().is_full());

        assert_eq!(Manifest::read(&disk).unwrap(), (manifest(), wrong(MANIFEST)));
    }

    #[test]
    fn after_a_crash_the_old_or_the_new_one_is_there() {
        for seed in 0..300 {
            let disk = SimDisk::new();
            Manifest::default().write(&disk).unwrap();
            let cut_at = seed % 12;
            disk.arm(cut_at, Fault::PowerCut);
            let result = manifest().write(&disk);

            let after = read(&disk.crash(seed));

            assert!(after == manifest() || after == Manifest::default(), "seed {seed}");
            assert!(result.is_err() || after == manifest(), "seed {seed}: lost after success");
        }
    }
}
