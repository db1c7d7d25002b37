//! Retention: files whose rows are all too old leave the catalog, then the disk.
//!
//! A file is first taken off the manifest, which at the same time lists it as doomed; it is removed
//! once no reader holds a snapshot with it, or at the next start.

use std::sync::Arc;

use tracing::{info, warn};

use super::FileEntry;
use super::catalog::CatalogError;
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
    let mut manifest = shared.manifest.lock();
    let gone = expired(&manifest.files, cutoff_ns);
    if gone.is_empty() {
        return Ok(0);
    }
    let mut next = manifest.clone();
    next.files.retain(|file| file.max_ns >= cutoff_ns);
    next.doomed.extend(gone.iter().map(|file| file.path.clone()));
    next.write(&*shared.disk)?;
    *manifest = next;
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
    info!(n_files = gone.len(), "files past the retention left the catalog");
    shared.doomed.lock().extend(gone.iter().cloned());
    Ok(gone.len())
}

/// Removes doomed files that no reader holds any more.
pub fn sweep(shared: &Shared) {
    // One holder is the list itself; a snapshot or an older version is another.
    shared.doomed.lock().retain(|file| {
        if Arc::strong_count(file) > 1 {
            return true;
        }
        match shared.disk.remove(&file.path) {
            Ok(()) => false,
            Err(error) => {
                warn!(path = file.path, %error, "cannot remove a file past the retention");
                error.kind() != std::io::ErrorKind::NotFound
            }
        }
    });
    let left: Vec<String> = shared.doomed.lock().iter().map(|file| file.path.clone()).collect();
    let mut manifest = shared.manifest.lock();
    manifest.doomed.retain(|path| left.contains(path));
}
