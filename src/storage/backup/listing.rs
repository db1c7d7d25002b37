//! What a backup says it holds: `backup.json`, one line of JSON and one line with its CRC-32C.
//!
//! It comes from outside. A path in it is taken only when it is one that a store of ours writes,
//! letter for letter, so no path leaves the folder it is restored to and none is met twice.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use crc32c::crc32c;
use serde::{Deserialize, Serialize};

use super::{BackupError, STATE};
use crate::model::{Commons, Signal};
use crate::storage::catalog::MANIFEST;
use crate::storage::deletion;
use crate::storage::files::path;
use crate::storage::{deltas, descriptions};

/// Where it is.
pub const LISTING: &str = "backup.json";
/// The version that is written and the only one that is read.
const VERSION: u32 = 1;
/// The longest name of a file, without its ending: three numbers of 16 digits, and two small ones.
const STEM_BYTES_MAX: usize = 80;
/// The largest listing that is read: about two million files.
pub(super) const LISTING_BYTES_MAX: u64 = 256 << 20;

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its path below the backup, and below the data directory.
    pub path: String,
    /// Its size.
    pub size_bytes: u64,
    /// The CRC-32C of all its bytes.
    pub crc32c: u32,
}

/// All files of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    version: u32,
    /// When it was made, RFC 3339.
    pub made_at: String,
    /// What made it.
    pub made_by: String,
    /// The files.
    pub files: Vec<Listed>,
}

impl Listing {
    /// Returns a listing of these files.
    pub fn new(made_at: String, files: Vec<Listed>) -> Self {
        let made_by = concat!("commonwatch ", env!("CARGO_PKG_VERSION")).to_owned();
        Self { version: VERSION, made_at, made_by, files }
    }

    /// Returns the listing as it is written.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_string(self).expect("plain values have a JSON form");
        let crc = crc32c(text.as_bytes());
        text.push_str(&format!("\n{crc:08x}\n"));
        text.into_bytes()
    }

    /// Reads a listing, and refuses one that names what no store writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BackupError> {
        let wrong = |why: &str| BackupError::Listing(why.to_owned());
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))?;
        let (json, crc) = text.split_once('\n').ok_or_else(|| wrong("it is cut short"))?;
        if crc != format!("{:08x}\n", crc32c(json.as_bytes())) {
            return Err(wrong("its checksum is wrong"));
        }
        let listing: Self =
            serde_json::from_str(json).map_err(|error| BackupError::Listing(error.to_string()))?;
        if listing.version != VERSION {
            let version = listing.version;
            return Err(BackupError::Listing(format!(
                "it has version {version}, this program reads {VERSION}"
            )));
        }
        let mut known = BTreeSet::new();
        for file in &listing.files {
            if !is_ours(&file.path) || !known.insert(file.path.as_str()) {
                let path = file.path.chars().take(200).flat_map(char::escape_default).collect();
                return Err(BackupError::Foreign { path });
            }
        }
        if !known.contains(MANIFEST) {
            return Err(wrong("it names no manifest"));
        }
        Ok(listing)
    }
}

/// Returns true for a path that a store writes.
fn is_ours(text: &str) -> bool {
    if [MANIFEST, descriptions::FILE, deltas::file::FILE, STATE].contains(&text) {
        return true;
    }
    if let Some(name) = text.strip_prefix("deletions/") {
        return deletion::id_of(name).is_some();
    }
    is_parquet(text).unwrap_or(false)
}

/// Takes a path apart and holds it against the one that its parts make.
fn is_parquet(text: &str) -> Option<bool> {
    let mut parts = text.strip_prefix("parquet/")?.split('/');
    let (signal, commons, date, name) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let signal = Signal::ALL.into_iter().find(|known| known.as_str() == signal)?;
    let commons = Commons::from_stored(commons.strip_prefix("commons=")?).ok()?;
    let date = NaiveDate::parse_from_str(date.strip_prefix("date=")?, "%Y-%m-%d").ok()?;
    let folder = path::dir(signal, &commons, date.to_epoch_days());
    let stem = name.strip_suffix(".parquet")?;
    let is_plain = stem.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let is_short = (1..=STEM_BYTES_MAX).contains(&stem.len());
    Some(is_plain && is_short && text == format!("{folder}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, is_taken: bool) {
        let listed = |path: &str| Listed { path: path.to_owned(), size_bytes: 1, crc32c: 1 };
        let files = vec![listed(MANIFEST), listed(path)];
        let bytes = Listing::new("2026-11-21T00:00:00Z".to_owned(), files).encode();
        let read = Listing::decode(&bytes);
        assert_eq!(read.is_ok(), is_taken, "{path}: {read:?}");
    }

    #[test]
    fn only_what_a_store_writes_is_taken() {
        check("parquet/logs/commons=heart/date=2026-11-21/000000000000001a-0.parquet", true);
        check("parquet/metrics/commons=_self/date=2026-11-21/1a-1b-0-2.parquet", true);
        check("parquet/descriptions.json", true);
        check("parquet/totals.bin", true);
        check("deletions/000000000000001f.rows", true);
        check("state/control.redb", true);
        for path in [
            "",
            "/etc/passwd",
            "../secret",
            "parquet/../../x.parquet",
            "parquet/logs/commons=../date=2026-11-21/1-0.parquet",
            "parquet/logs/commons=heart/date=2026-11-21/../1-0.parquet",
            "parquet/logs/commons=heart/date=2026-11-21//1-0.parquet",
            "parquet/logs/commons=heart/date=2026-11-21/.parquet",
            "parquet/logs/commons=heart/date=2026-11-21/1-0.parquet/x",
            "parquet/logs/commons=heart/date=2026-11-21/1-0.parquet.tmp",
            "parquet/logs/commons=heart/date=2026-1-2/1-0.parquet",
            "parquet/secrets/commons=heart/date=2026-11-21/1-0.parquet",
            "parquet/logs/commons=Heart/date=2026-11-21/1-0.parquet",
            "parquet/manifest.json",
            "parquet\\manifest.json",
            "wal/0000000000000001.wal",
            "deletions/../x",
            "addresses.json",
            "lock",
            "state/control.redb\0",
        ] {
            check(path, false);
        }
    }

    #[test]
    fn a_listing_is_whole_or_none() {
        let listed = Listed { path: MANIFEST.to_owned(), size_bytes: 1, crc32c: 1 };
        let whole = Listing::new("2026-11-21T00:00:00Z".to_owned(), vec![listed]).encode();

        assert!(Listing::decode(&whole).is_ok());
        for n in 0..whole.len() {
            assert!(Listing::decode(&whole[..n]).is_err(), "{n} bytes");
            let mut flipped = whole.clone();
            flipped[n] ^= 1;
            assert!(Listing::decode(&flipped).is_err(), "byte {n}");
        }
        let without_manifest = Listing::new(String::new(), Vec::new()).encode();
        assert!(Listing::decode(&without_manifest).is_err());
    }
}
