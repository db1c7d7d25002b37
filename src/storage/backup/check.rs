//! Reading everything below a data directory, or a backup, and naming what is damaged.
//!
//! Nothing is changed, so this runs beside a server too. A file that a merge took away meanwhile is
//! not damaged: what is missing is looked up in the manifest once more.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use super::listing::{LISTING, Listing};
use super::snapshot;
use crate::model::{Signal, metric};
use crate::storage::catalog::{COPY, CatalogError, MANIFEST, Manifest, Wrong};
use crate::storage::descriptions::Descriptions;
use crate::storage::disk::{Disk, DiskRead};
use crate::storage::files::checked::{BLOCK_BYTES, Checked};
use crate::storage::files::read::AllRows;
use crate::storage::flush::rows_schema;
use crate::storage::wal::{self, replay};
use crate::storage::{FileEntry, deletion, deltas, descriptions, objects, open};

/// Bytes read at a time: whole blocks.
const PIECE_BYTES: usize = 16 * BLOCK_BYTES;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which file.
    pub path: String,
    /// What is wrong with it.
    pub what: String,
    /// False for what somebody should look at and nothing is lost by.
    pub is_damage: bool,
}

/// What was read, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checks {
    /// Files read.
    pub n_files: usize,
    /// Bytes read.
    pub n_bytes: u64,
    /// Rows in Parquet files.
    pub n_rows: u64,
    /// What is not as it should be, in the order it was met.
    pub findings: Vec<Finding>,
}

impl Checks {
    /// Returns true when something is damaged.
    pub fn is_damaged(&self) -> bool {
        self.findings.iter().any(|finding| finding.is_damage)
    }

    fn damage(&mut self, path: impl Into<String>, what: impl Into<String>) {
        self.findings.push(Finding { path: path.into(), what: what.into(), is_damage: true });
    }

    fn note(&mut self, path: impl Into<String>, what: impl Into<String>) {
        self.findings.push(Finding { path: path.into(), what: what.into(), is_damage: false });
    }
}

/// Reads everything; `progress` is told of each file before it is read.
pub fn check(disk: &dyn Disk, progress: &mut dyn FnMut(&str)) -> Result<Checks, CatalogError> {
    let mut checks = Checks::default();
    let (mut manifest, wrong) = match Manifest::read(disk) {
        Err(CatalogError::Damaged(why)) => {
            checks.damage(MANIFEST, format!("it and {COPY} are damaged: {why}"));
            return Ok(checks);
        }
        read => read?,
    };
    if let Some(Wrong { path, damage: Some(what) }) = wrong {
        checks.damage(path, what);
    }
    let unknown = deletion::attach(disk, manifest.files.iter_mut().map(Arc::make_mut));
    unknown.into_iter().for_each(|(path, what)| checks.damage(path, what));
    let stored = check_ledger(disk, &mut checks);
    let is_away = |file: &FileEntry| {
        stored.get(&file.path) == Some(&file.size_bytes)
            && disk.open(&file.path).is_err_and(|e| e.kind() == ErrorKind::NotFound)
    };
    let mut away = Away::default();
    for file in &manifest.files {
        if is_away(file) {
            away.add(file);
            continue;
        }
        progress(&file.path);
        check_file(disk, file, &mut checks);
    }
    away.note(&mut checks);
    check_beside(descriptions::FILE, Descriptions::read(disk), &mut checks);
    check_beside(deltas::file::FILE, deltas::file::read(disk), &mut checks);
    check_log(disk, &manifest, progress, &mut checks);
    check_strays(disk, &manifest, &mut checks);
    check_listing(disk, &mut checks);
    Ok(checks)
}

/// Notes what is wrong with a file that is read whole; one that the disk does not give is damaged too.
fn check_beside<T>(path: &str, read: io::Result<Result<T, String>>, checks: &mut Checks) {
    match read {
        Ok(Ok(_)) => {}
        Ok(Err(what)) => checks.damage(path, what),
        Err(error) => checks.damage(path, error.to_string()),
    }
}

/// Live files that are not here, and should not be.
#[derive(Default)]
struct Away {
    n_files: usize,
    n_bytes: u64,
}

impl Away {
    fn add(&mut self, file: &FileEntry) {
        self.n_files += 1;
        self.n_bytes += file.size_bytes;
    }

    fn note(&self, checks: &mut Checks) {
        if self.n_files > 0 {
            let (n_files, n_bytes) = (self.n_files, self.n_bytes);
            checks.note(
                objects::LEDGER,
                format!("{n_files} live files ({n_bytes} bytes) are in object storage alone, and were not read"),
            );
        }
    }
}

/// Returns what is in object storage.
fn check_ledger(disk: &dyn Disk, checks: &mut Checks) -> objects::Stored {
    match objects::stored(disk) {
        Ok(None) => objects::Stored::new(),
        Ok(Some((stored, 0))) => stored,
        Ok(Some((stored, n_damaged))) => {
            checks.damage(objects::LEDGER, format!("{n_damaged} of its lines are damaged"));
            stored
        }
        Err(error) => {
            checks.damage(objects::LEDGER, error.to_string());
            objects::Stored::new()
        }
    }
}

fn check_file(disk: &dyn Disk, entry: &FileEntry, checks: &mut Checks) {
    let read = read_bytes(disk, entry).and_then(|()| read_rows(disk, entry));
    match read {
        Ok(n_rows) => {
            checks.n_files += 1;
            checks.n_bytes += entry.size_bytes;
            checks.n_rows += n_rows;
            if n_rows != entry.n_rows {
                let wanted = entry.n_rows;
                checks.damage(&entry.path, format!("it has {n_rows} rows instead of {wanted}"));
            }
        }
        Err(_) if !is_live(disk, &entry.path) => {}
        Err(what) => checks.damage(&entry.path, what),
    }
}

fn is_live(disk: &dyn Disk, path: &str) -> bool {
    Manifest::read(disk).is_ok_and(|(now, _)| now.files.iter().any(|file| file.path == path))
}

fn read_bytes(disk: &dyn Disk, entry: &FileEntry) -> Result<(), String> {
    let file = Checked::open(disk, entry).forgetful();
    if let Some(damage) = file.damage() {
        return Err(damage.to_owned());
    }
    file.read_through(entry.size_bytes).map_err(|error| error.to_string())
}

/// Decodes all rows, deleted ones included, and counts them.
fn read_rows(disk: &dyn Disk, entry: &FileEntry) -> Result<u64, String> {
    let schema = match entry.signal {
        Signal::Metrics if entry.has_exp => metric::exp_schema(),
        signal => rows_schema(signal),
    };
    let whole = entry.deletions.iter().fold(entry.clone(), |file, id| file.without_deletion(*id));
    let told = |error: crate::storage::ReadError| error.to_string();
    let mut rows = AllRows::open(disk, &whole, &schema).map_err(told)?;
    let mut n_rows = 0;
    while let Some(batch) = rows.next_batch().map_err(told)? {
        n_rows += batch.num_rows() as u64;
    }
    Ok(n_rows)
}

fn check_log(
    disk: &dyn Disk,
    manifest: &Manifest,
    progress: &mut dyn FnMut(&str),
    checks: &mut Checks,
) {
    let segments = match replay::segments(disk) {
        Ok(segments) => segments,
        Err(error) => return checks.damage(wal::DIR, error.to_string()),
    };
    for number in segments.into_iter().filter(|&number| number > manifest.covered_segment) {
        let path = wal::path(number);
        progress(&path);
        match replay::read_segment(disk, number, |_, _, _| {}) {
            Ok(report) => {
                checks.n_files += 1;
                checks.n_bytes += report.n_bytes as u64;
                for damage in &report.damage {
                    checks.damage(&path, format!("{damage:?}"));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => checks.damage(&path, error.to_string()),
        }
    }
}

/// Names what no manifest lists, snapshots, and what was set aside earlier.
fn check_strays(disk: &dyn Disk, manifest: &Manifest, checks: &mut Checks) {
    let listed: BTreeSet<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    for path in open::parquet_files(disk, crate::storage::files::path::DIR).unwrap_or_default() {
        let is_doomed = manifest.doomed.contains(&path);
        if !listed.contains(path.as_str()) && !is_doomed && !is_live(disk, &path) {
            checks.note(path, "no manifest lists it: a flush or merge under way, or a stray");
        }
    }
    for name in snapshot::names(disk) {
        checks.note(
            format!("{}/{name}", snapshot::DIR),
            "a snapshot: until somebody removes it, it keeps the bytes of what is removed or deleted",
        );
    }
    for name in disk.list(open::QUARANTINE).unwrap_or_default() {
        let path = format!("{}/{name}", open::QUARANTINE);
        checks.note(path, "it was set aside at an earlier start, and nobody has dealt with it");
    }
}

/// Holds a backup against its listing; a data directory has none.
fn check_listing(disk: &dyn Disk, checks: &mut Checks) {
    let bytes = match disk.read(LISTING) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        Err(error) => return checks.damage(LISTING, error.to_string()),
    };
    let listing = match Listing::decode(&bytes) {
        Ok(listing) => listing,
        Err(error) => return checks.damage(LISTING, error.to_string()),
    };
    for wanted in &listing.files {
        match disk.open(&wanted.path) {
            Err(error) => checks.damage(&wanted.path, error.to_string()),
            Ok(file) if file.size_bytes() != wanted.size_bytes => {
                let (found, wanted_bytes) = (file.size_bytes(), wanted.size_bytes);
                checks.damage(
                    &wanted.path,
                    format!("it has {found} bytes instead of {wanted_bytes}"),
                );
            }
            Ok(file) => match sum(&*file) {
                Ok(crc) if crc == wanted.crc32c => {}
                Ok(_) => checks.damage(&wanted.path, "its checksum is not that of the listing"),
                Err(error) => checks.damage(&wanted.path, error.to_string()),
            },
        }
    }
}

fn sum(file: &dyn DiskRead) -> io::Result<u32> {
    let (mut at, mut crc) = (0, 0);
    while at < file.size_bytes() {
        let left = usize::try_from(file.size_bytes() - at).unwrap_or(usize::MAX);
        let piece = file.read_at(at, left.min(PIECE_BYTES))?;
        crc = crc32c::crc32c_append(crc, &piece);
        at += piece.len() as u64;
    }
    Ok(crc)
}
