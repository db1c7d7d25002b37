//! From a snapshot to a backup, and from a backup to a data directory. Every byte is checked on its
//! way: against the checksums that the file was written with, or against the listing.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use crc32c::crc32c_append;

use super::listing::{LISTING, LISTING_BYTES_MAX, Listed, Listing};
use super::{BackupError, STATE, io_error};
use crate::storage::FileEntry;
use crate::storage::catalog::{COPY, MANIFEST, Manifest, Standing};
use crate::storage::deletion;
use crate::storage::disk::{self, Disk, DiskRead};
use crate::storage::files::checked::{BLOCK_BYTES, Checked};
use crate::storage::{deltas, descriptions};

/// Bytes copied at a time: whole blocks.
const PIECE_BYTES: usize = 16 * BLOCK_BYTES;

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files.
    pub n_files: usize,
    /// Bytes.
    pub n_bytes: u64,
}

/// Copies a snapshot into an empty folder; the listing is the last that is written, so a folder with
/// one is whole. `made_at` is RFC 3339.
pub fn back_up(from: &dyn Disk, to: &dyn Disk, made_at: String) -> Result<Copied, BackupError> {
    let (mut manifest, _) = Manifest::read(from)?;
    let unknown = deletion::attach(from, manifest.files.iter_mut().map(Arc::make_mut));
    if let Some((path, reason)) = unknown.into_iter().next() {
        return Err(BackupError::Damaged { path, reason });
    }
    let mut listed = Vec::new();
    for file in &manifest.files {
        listed.push(copy_checked(from, to, file)?);
    }
    let mut others: Vec<String> = manifest
        .files
        .iter()
        .flat_map(|file| &file.deletions)
        .map(|id| deletion::path(*id))
        .collect();
    others.sort_unstable();
    others.dedup();
    others.extend([descriptions::FILE, deltas::file::FILE, STATE].map(str::to_owned));
    others.retain(|path| from.open(path).is_ok());
    // Last, so that it names nothing that is not there.
    others.push(MANIFEST.to_owned());
    for path in &others {
        let file = from.open(path).map_err(io_error("open", path))?;
        listed.push(copy(&*file, to, path)?);
    }
    let copied = counted(&listed);
    let listing = Listing::new(made_at, listed).encode();
    disk::replace_file(to, LISTING, &listing).map_err(io_error("write", LISTING))?;
    Ok(copied)
}

fn counted(listed: &[Listed]) -> Copied {
    let n_bytes = listed.iter().map(|file| file.size_bytes).sum();
    Copied { n_files: listed.len(), n_bytes }
}

/// Copies a Parquet file, each block held against its checksum.
fn copy_checked(from: &dyn Disk, to: &dyn Disk, entry: &FileEntry) -> Result<Listed, BackupError> {
    let file = Checked::open(from, entry).forgetful();
    let copied = copy(&file, to, &entry.path);
    match file.damage() {
        Some(reason) => {
            Err(BackupError::Damaged { path: entry.path.clone(), reason: reason.to_owned() })
        }
        None => copied,
    }
}

/// Copies a file, synced under its name, and sums it up.
fn copy(from: &dyn DiskRead, to: &dyn Disk, path: &str) -> Result<Listed, BackupError> {
    let folder = disk::parent(path);
    disk::create_dir_synced(to, folder).map_err(io_error("create the folder of", path))?;
    let mut out = to.create(path).map_err(io_error("create", path))?;
    let (size_bytes, mut at, mut crc) = (from.size_bytes(), 0, 0);
    while at < size_bytes {
        let piece = piece(from, at).map_err(io_error("read", path))?;
        out.write_all(&piece).map_err(io_error("write", path))?;
        crc = crc32c_append(crc, &piece);
        at += piece.len() as u64;
    }
    out.sync().map_err(io_error("sync", path))?;
    to.sync_dir(folder).map_err(io_error("sync the folder of", path))?;
    Ok(Listed { path: path.to_owned(), size_bytes, crc32c: crc })
}

fn piece(from: &dyn DiskRead, at: u64) -> std::io::Result<Bytes> {
    let left = usize::try_from(from.size_bytes() - at).unwrap_or(usize::MAX);
    from.read_at(at, left.min(PIECE_BYTES))
}

/// Makes a data directory of a backup. Nothing is believed: a file that is not on the listing is not
/// looked at, and one that differs from it ends the work. The manifest is the last that is written.
pub fn restore(from: &dyn Disk, to: &dyn Disk) -> Result<Copied, BackupError> {
    let listing = read_listing(from)?;
    let by_path: HashMap<&str, &Listed> =
        listing.files.iter().map(|file| (file.path.as_str(), file)).collect();
    let (manifest, _) = Manifest::read(from)?;
    for file in &manifest.files {
        let wanted = by_path.get(file.path.as_str()).map(|listed| listed.size_bytes);
        if wanted != Some(file.size_bytes) {
            let reason = "the manifest names it, and the listing does not, or with another size";
            return Err(BackupError::Damaged {
                path: file.path.clone(),
                reason: reason.to_owned(),
            });
        }
    }
    let (last, first): (Vec<_>, Vec<_>) =
        listing.files.iter().partition(|file| file.path == MANIFEST);
    for wanted in first.into_iter().chain(last) {
        restore_one(from, to, wanted)?;
    }
    let (manifest, _) = Manifest::read(to)?;
    if manifest.write(to)? != Standing::Whole {
        return Err(io_error("write", COPY)(std::io::ErrorKind::StorageFull.into()));
    }
    Ok(counted(&listing.files))
}

fn read_listing(from: &dyn Disk) -> Result<Listing, BackupError> {
    let file = from.open(LISTING).map_err(io_error("open", LISTING))?;
    let n_bytes = file.size_bytes();
    if n_bytes > LISTING_BYTES_MAX {
        let why = format!("it has {n_bytes} bytes, and none has more than {LISTING_BYTES_MAX}");
        return Err(BackupError::Listing(why));
    }
    let n_bytes = usize::try_from(n_bytes).unwrap_or(usize::MAX);
    Listing::decode(&file.read_at(0, n_bytes).map_err(io_error("read", LISTING))?)
}

fn restore_one(from: &dyn Disk, to: &dyn Disk, wanted: &Listed) -> Result<(), BackupError> {
    let path = &wanted.path;
    let damaged = |reason| Err(BackupError::Damaged { path: path.clone(), reason });
    let file = match from.open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return damaged("the listing names it, and it is not there".to_owned());
        }
        opened => opened.map_err(io_error("open", path))?,
    };
    if file.size_bytes() != wanted.size_bytes {
        let (found, wanted) = (file.size_bytes(), wanted.size_bytes);
        return damaged(format!("it has {found} bytes instead of {wanted}"));
    }
    let copied = copy(&*file, to, path)?;
    if copied.crc32c != wanted.crc32c {
        return damaged("its checksum is not that of the listing".to_owned());
    }
    Ok(())
}
