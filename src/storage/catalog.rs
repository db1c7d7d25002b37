//! Which files are live, as one atomically replaced manifest.
//!
//! `parquet/manifest.json` is one line of JSON and one line with its CRC-32C in hex. It names every
//! live file and the last log segment whose rows are in files; both change in one rename, so after a
//! crash a row is either in a listed file or in a segment that will be replayed, never in both.

use std::io;
use std::sync::Arc;

use crc32c::crc32c;
use serde::{Deserialize, Serialize};

use super::FileEntry;
use super::disk::{self, Disk};

/// Where the manifest is.
pub const MANIFEST: &str = "parquet/manifest.json";
/// The version this code writes and the only one it reads.
const VERSION: u32 = 1;

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
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            version: VERSION,
            covered_segment: 0,
            generation: 0,
            files: Vec::new(),
            doomed: Vec::new(),
        }
    }
}

/// Why the manifest could not be used. Nothing is ever deleted because of it.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Reading or writing failed.
    #[error("cannot {action} {MANIFEST}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The checksum or the text is wrong.
    #[error(
        "{MANIFEST} is damaged ({0}): restore it from a backup, or move the data directory away to start anew"
    )]
    Damaged(String),
    /// A later version wrote it.
    #[error("{MANIFEST} has version {found}, this program reads {VERSION}: use the newer program")]
    Newer {
        /// The version found.
        found: u32,
    },
}

impl Manifest {
    /// Reads the manifest; a data directory without one is new.
    pub fn read(disk: &dyn Disk) -> Result<Self, CatalogError> {
        let bytes = match disk.read(MANIFEST) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(CatalogError::Io { action: "read", source }),
        };
        parse(&bytes)
    }

    /// Replaces the manifest.
    pub fn write(&self, disk: &dyn Disk) -> Result<(), CatalogError> {
        let mut text = serde_json::to_string(self).expect("plain values have a JSON form");
        let crc = crc32c(text.as_bytes());
        text.push_str(&format!("\n{crc:08x}\n"));
        assert!(
            parse(text.as_bytes()).is_ok_and(|read| read == *self),
            "what is written can be read"
        );
        disk::replace_file(disk, MANIFEST, text.as_bytes())
            .map_err(|source| CatalogError::Io { action: "replace", source })
    }
}

pub(super) fn parse(bytes: &[u8]) -> Result<Manifest, CatalogError> {
    let damaged = |reason: &str| CatalogError::Damaged(reason.to_owned());
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("not UTF-8"))?;
    let (json, crc) = text.split_once('\n').ok_or_else(|| damaged("no checksum line"))?;
    if crc.trim_end() != format!("{:08x}", crc32c(json.as_bytes())) {
        return Err(damaged("wrong checksum"));
    }
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    let head: Head = serde_json::from_str(json).map_err(|e| damaged(&e.to_string()))?;
    if head.version != VERSION {
        return Err(CatalogError::Newer { found: head.version });
    }
    serde_json::from_str(json).map_err(|e| damaged(&e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Commons, Signal};
    use crate::storage::disk::sim::SimDisk;

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
        };
        Manifest {
            covered_segment: 4,
            generation: 2,
            files: vec![Arc::new(file)],
            ..Manifest::default()
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let disk = SimDisk::new();

        manifest().write(&disk).unwrap();

        assert_eq!(Manifest::read(&disk).unwrap(), manifest());
    }

    #[test]
    fn a_new_directory_has_an_empty_manifest() {
        assert_eq!(Manifest::read(&SimDisk::new()).unwrap(), Manifest::default());
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let disk = SimDisk::new();
        manifest().write(&disk).unwrap();
        let len = disk.read(MANIFEST).unwrap().len();
        for at in 0..len - 1 {
            disk.flip_byte(MANIFEST, at, 0x04);
            assert!(Manifest::read(&disk).is_err(), "byte {at}");
            disk.flip_byte(MANIFEST, at, 0x04);
        }
    }

    #[test]
    fn after_a_crash_the_old_or_the_new_one_is_there() {
        for seed in 0..300 {
            let disk = SimDisk::new();
            Manifest::default().write(&disk).unwrap();
            let cut_at = seed % 6;
            disk.arm(cut_at, crate::storage::disk::sim::Fault::PowerCut);
            let result = manifest().write(&disk);

            let after = Manifest::read(&disk.crash(seed)).unwrap();

            assert!(after == manifest() || after == Manifest::default(), "seed {seed}");
            assert!(result.is_err() || after == manifest(), "seed {seed}: lost after success");
        }
    }
}
