//! Retention: files whose rows are all too old leave the catalog, then the disk.
//!
//! A file is first taken off the manifest, which at the same time lists it as doomed; it is removed
//! once no reader holds a snapshot with it, or at the next start.

use std::io;
use std::sync::Arc;

use parking_lot::MutexGuard;
use tracing::{info, warn};

use super::FileEntry;
use super::catalog::{CatalogError, Manifest};
use super::disk;
use super::shared::{Shared, Version, files_of};

/// Returns the files whose newest row is older than `cutoff_ns`.
pub fn expired(files: &[Arc<FileEntry>], cutoff_ns: i64) -> Vec<Arc<FileEntry>> {
    files.iter().filter(|file| file.max_ns < cutoff_ns).cloned().collect()
}

/// Takes expired files off the catalog; returns how many.
pub fn retain(shared: &Shared) -> Result<usize, CatalogError> {
    let retention_ns = i64::try_from(shared.config.retention.0.as_nanos()).unwrap_or(i64::MAX);
    if retention_ns == 0 {
        return Ok(0);
    }
    let cutoff_ns = shared.clock.now_ns().saturating_sub(retention_ns);
    let manifest = shared.manifest.lock();
    let gone = expired(&manifest.files, cutoff_ns);
    if gone.is_empty() {
        return Ok(0);
    }
    let mut next = manifest.clone();
    next.files.retain(|file| file.max_ns >= cutoff_ns);
    replace(shared, manifest, next, &gone)?;
    info!(n_files = gone.len(), "files past the retention left the catalog");
    Ok(gone.len())
}

/// Puts `next` in the place of the manifest and dooms the files that are `gone` from it.
pub fn replace(
    shared: &Shared,
    mut manifest: MutexGuard<'_, Manifest>,
    mut next: Manifest,
    gone: &[Arc<FileEntry>],
) -> Result<(), CatalogError> {
    next.doomed.extend(gone.iter().map(|file| file.path.clone()));
    shared.put_manifest(&mut manifest, next)?;
    let files = Arc::new(files_of(&manifest));
    shared.note_files(&files);
    let mut version = shared.version.write();
    *version = Version { files, ..version.clone() };
    drop(version);
    {
        let mut damaged = shared.damaged.write();
        gone.iter().for_each(|file| drop(damaged.remove(&file.path)));
        shared.metrics.damaged_files.set(i64::try_from(damaged.len()).unwrap_or(i64::MAX));
    }
    shared.doomed.lock().extend(gone.iter().cloned());
    Ok(())
}

/// Removes doomed files that no reader holds any more.
pub fn sweep(shared: &Shared) {
    if !shared.may_remove() {
        return;
    }
    // One holder is the list itself; a snapshot or an older version is another.
    let is_read = |file: &Arc<FileEntry>| Arc::strong_count(file) > 1;
    shared.doomed.lock().retain(|file| is_read(file) || !is_removed(shared, &file.path));
    forget_removed(shared);
}

/// Removes files that had left the catalog when the process ended.
pub fn remove_doomed(shared: &Shared) {
    if !shared.may_remove() {
        return;
    }
    let doomed = shared.manifest.lock().doomed.clone();
    for path in &doomed {
        is_removed(shared, path);
    }
    forget_removed(shared);
}

fn is_removed(shared: &Shared, path: &str) -> bool {
    match shared.disk.remove(path) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => {
            warn!(path, %error, "cannot remove a file that left the catalog");
            false
        }
    }
}

/// Takes files off the list of the doomed once a power cut cannot bring them back: by then nothing
/// else would know that they were to go.
fn forget_removed(shared: &Shared) {
    shared.manifest.lock().doomed.retain(|path| {
        let is_there = shared.disk.open(path).is_ok();
        is_there || shared.disk.sync_dir(disk::parent(path)).is_err()
    });
}
