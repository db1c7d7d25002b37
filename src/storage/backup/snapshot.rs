//! A snapshot on disk: links to all live files, and a manifest that names them.

use std::collections::BTreeSet;
use std::io;

use tracing::info;

use super::below::Below;
use super::{BackupError, io_error};
use crate::storage::catalog::Manifest;
use crate::storage::deletion;
use crate::storage::disk::{self, Disk};
use crate::storage::files::path;
use crate::storage::shared::Shared;
use crate::storage::{deltas, descriptions};

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

/// Links all live files into a new folder. Only the keeper takes files away, and it is the keeper
/// that runs this, so what the manifest names is there.
pub(in crate::storage) fn take(shared: &Shared, name: &str) -> Result<Taken, BackupError> {
    assert!(is_name(name), "whoever asks for a snapshot names it");
    let mut manifest = shared.manifest.lock().clone();
    let damaged: BTreeSet<String> = shared.damaged.read().keys().cloned().collect();
    manifest.files.retain(|file| !damaged.contains(&file.path));
    manifest.doomed.clear();
    let to = format!("{DIR}/{name}");
    link_all(&*shared.disk, &to, &manifest)?;
    let taken = Taken {
        name: name.to_owned(),
        n_files: manifest.files.len(),
        n_bytes: manifest.files.iter().map(|file| file.size_bytes).sum(),
        left_out: damaged.into_iter().collect(),
    };
    info!(name, n_files = taken.n_files, n_bytes = taken.n_bytes, "took a snapshot");
    Ok(taken)
}

fn link_all(disk: &dyn Disk, to: &str, manifest: &Manifest) -> Result<(), BackupError> {
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
        let link = format!("{to}/{path}");
        disk.link(path, &link).map_err(io_error("link", &link))?;
    }
    for folder in &folders {
        disk.sync_dir(folder).map_err(io_error("sync the folder", folder))?;
    }
    // Last: a folder without one is a snapshot that was cut short.
    manifest.write(&Below::new(disk, to.to_owned()))?;
    Ok(())
}

/// Returns true when a snapshot has a link to one of these files.
pub(in crate::storage) fn holds(disk: &dyn Disk, paths: &[String]) -> io::Result<bool> {
    let names = disk.list(DIR)?;
    Ok(names
        .iter()
        .any(|name| paths.iter().any(|path| disk.open(&format!("{DIR}/{name}/{path}")).is_ok())))
}
