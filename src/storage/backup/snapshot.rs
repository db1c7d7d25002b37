//! A snapshot on disk: links to all live files, and a manifest that names them.

use std::collections::BTreeSet;
use std::io;

use tracing::info;

use super::below::Below;
use super::{BackupError, STATE, io_error};
use crate::storage::catalog::{COPY, MANIFEST, Manifest};
use crate::storage::deletion;
use crate::storage::disk::{self, Disk};
use crate::storage::files::path;
use crate::storage::shared::Shared;
use crate::storage::{deltas, descriptions, open};

/// The folder of all snapshots.
pub const DIR: &str = "snapshots";

/// What a snapshot holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its name: it is in `snapshots/<name>`.
    pub name: String,
    /// Parquet files in it.
    pub n_files: usize,
    /// Their size.
    pub n_bytes: u64,
    /// Damaged files that are not in it.
    pub left_out: Vec<String>,
}

/// Returns true for what a snapshot may be called.
pub fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Links all live files into a new folder, or leaves nothing there: also when nobody wants it any more,
/// for files that are fetched take their time. Only the keeper takes files away, and it is the keeper that
/// runs this, so what the manifest names is there.
pub(in crate::storage) fn take(
    shared: &Shared,
    name: &str,
    is_wanted: &dyn Fn() -> bool,
) -> Result<Taken, BackupError> {
    assert!(is_name(name), "whoever asks for a snapshot names it");
    let mut manifest = shared.manifest.lock().clone();
    let damaged: BTreeSet<String> = shared.damaged.read().keys().cloned().collect();
    manifest.files.retain(|file| !damaged.contains(&file.path));
    manifest.doomed.clear();
    let to = format!("{DIR}/{name}");
    // Files that are copied and not linked would keep a full disk full.
    link_all(&*shared.disk, &to, &manifest, is_wanted)
        .inspect_err(|_| remove(&*shared.disk, name))?;
    let taken = Taken {
        name: name.to_owned(),
        n_files: manifest.files.len(),
        n_bytes: manifest.files.iter().map(|file| file.size_bytes).sum(),
        left_out: damaged.into_iter().collect(),
    };
    info!(name, n_files = taken.n_files, n_bytes = taken.n_bytes, "took a snapshot");
    Ok(taken)
}

fn link_all(
    disk: &dyn Disk,
    to: &str,
    manifest: &Manifest,
    is_wanted: &dyn Fn() -> bool,
) -> Result<(), BackupError> {
    let go_on = || if is_wanted() { Ok(()) } else { Err(BackupError::Unwanted) };
    let mut folders = BTreeSet::from([to.to_owned(), format!("{to}/{}", path::DIR)]);
    let mut paths: Vec<String> = manifest.files.iter().map(|file| file.path.clone()).collect();
    let deletions: BTreeSet<u64> =
        manifest.files.iter().flat_map(|file| file.deletions.iter().copied()).collect();
    paths.extend(deletions.into_iter().map(deletion::path));
    let beside = [descriptions::FILE, deltas::file::FILE];
    paths.extend(beside.into_iter().filter(|path| disk.open(path).is_ok()).map(str::to_owned));
    folders.extend(paths.iter().map(|path| disk::parent(&format!("{to}/{path}")).to_owned()));
    for folder in &folders {
        disk::create_dir_synced(disk, folder).map_err(io_error("create the folder", folder))?;
    }
    for path in &paths {
        go_on()?;
        let link = format!("{to}/{path}");
        disk.link(path, &link).map_err(io_error("link", &link))?;
    }
    for folder in &folders {
        disk.sync_dir(folder).map_err(io_error("sync the folder", folder))?;
    }
    // Last: a folder without one is a snapshot that was cut short.
    manifest.write(&Below::new(disk, to.to_owned()))?;
    go_on()
}

/// Removes what is left of snapshots that were cut short; at a start nobody takes one. Their links would
/// keep the bytes of what is removed or deleted, and nobody was told their names.
pub(in crate::storage) fn remove_cut_short(disk: &dyn Disk) {
    let names = disk.list(DIR).unwrap_or_default();
    for name in names.iter().filter(|name| is_name(name)) {
        let is_missing = |file: &str| {
            let opened = disk.open(&format!("{DIR}/{name}/{file}"));
            opened.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        if is_missing(MANIFEST) && is_missing(COPY) {
            remove(disk, name);
        }
    }
}

/// Removes the files of a snapshot, as far as that goes; its folders stay.
fn remove(disk: &dyn Disk, name: &str) {
    let files = files_of(disk, &format!("{DIR}/{name}")).unwrap_or_default();
    let n_removed = files.iter().filter(|path| disk.remove(path).is_ok()).count();
    if n_removed > 0 {
        info!(name, n_removed, "removed the rest of a snapshot that was cut short");
    }
}

/// Returns the files that may be in a snapshot, whole or not.
fn files_of(disk: &dyn Disk, folder: &str) -> io::Result<Vec<String>> {
    let mut files = open::parquet_files(disk, &format!("{folder}/{}", path::DIR))?;
    let deletions = format!("{folder}/{}", disk::parent(&deletion::path(0)));
    files.extend(disk.list(&deletions)?.into_iter().map(|name| format!("{deletions}/{name}")));
    let beside = [MANIFEST, COPY, descriptions::FILE, deltas::file::FILE, STATE];
    files.extend(beside.map(|file| format!("{folder}/{file}")));
    Ok(files)
}

/// Returns the names of the snapshots that are whole.
pub(super) fn names(disk: &dyn Disk) -> Vec<String> {
    let mut names = disk.list(DIR).unwrap_or_default();
    names.retain(|name| disk.open(&format!("{DIR}/{name}/{MANIFEST}")).is_ok());
    names
}

/// Returns true when a snapshot has a link to one of these files.
pub(in crate::storage) fn holds(disk: &dyn Disk, paths: &[String]) -> io::Result<bool> {
    let names = disk.list(DIR)?;
    Ok(names
        .iter()
        .any(|name| paths.iter().any(|path| disk.open(&format!("{DIR}/{name}/{path}")).is_ok())))
}
