//! Retention: files whose rows are all too old, or for which there is no room, leave the catalog,
//! then the disk. Which ones is decided in [`rules`].
//!
//! A file is first taken off the manifest, which at the same time lists it as doomed; it is removed
//! once no reader holds a snapshot with it, or at the next start. It stays listed until it is gone from
//! object storage too.

mod rules;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use parking_lot::MutexGuard;
use tracing::{info, warn};

use super::FileEntry;
use super::catalog::{CatalogError, Manifest};
use super::disk;
use super::shared::{Shared, Version, files_of};

pub use rules::{KeepRule, Plan, plan};

/// Takes files that are too old or too many off the catalog; returns how many.
pub fn retain(shared: &Shared) -> Result<usize, CatalogError> {
    let now_ns = shared.aging_ns();
    let manifest = shared.manifest.lock();
    let plan = plan(&manifest.files, &shared.config, now_ns);
    note(shared, &plan);
    if plan.gone.is_empty() {
        return Ok(0);
    }
    let gone: Vec<_> = plan.gone.iter().map(|(file, _)| Arc::clone(file)).collect();
    let paths: BTreeSet<&str> = gone.iter().map(|file| file.path.as_str()).collect();
    let mut next = manifest.clone();
    next.files.retain(|file| !paths.contains(file.path.as_str()));
    replace(shared, manifest, next, &gone)?;
    for (file, reason) in &plan.gone {
        let labels = [("signal", file.signal.to_string()), ("reason", reason.as_str().to_owned())];
        shared.metrics.expired_files.get_or_create(&labels).inc();
        shared.metrics.expired_bytes.get_or_create(&labels).inc_by(file.size_bytes);
    }
    let n_bytes: u64 = gone.iter().map(|file| file.size_bytes).sum();
    info!(n_files = gone.len(), n_bytes, "files past the retention left the catalog");
    Ok(gone.len())
}

fn note(shared: &Shared, plan: &Plan) {
    let gauge = |n_bytes: u64| i64::try_from(n_bytes).unwrap_or(i64::MAX);
    for budget in &plan.budgets {
        let label = [("rule", budget.rule.clone())];
        let metrics = &shared.metrics;
        metrics.budget_bytes.get_or_create(&label).set(gauge(budget.max_bytes));
        metrics.budget_used_bytes.get_or_create(&label).set(gauge(budget.used_bytes));
    }
    for (rule, n_bytes) in &plan.dry {
        let label = [("rule", rule.clone())];
        shared.metrics.dry_run_bytes.get_or_create(&label).set(gauge(*n_bytes));
    }
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
    let doomed = gone.iter().map(|file| (file.path.clone(), file.live.token()));
    shared.doomed.lock().extend(doomed);
    Ok(())
}

/// Removes doomed files that no reader holds any more.
pub fn sweep(shared: &Shared) {
    if !shared.may_remove() {
        return;
    }
    // One holder is the list itself; a snapshot or an older version is another. An entry that lists
    // a deletion more is another entry of the same file.
    let is_read = |token: &Arc<()>| Arc::strong_count(token) > 1;
    let mut doomed = shared.doomed.lock();
    doomed.retain(|(path, token)| is_read(token) || !is_removed(shared, path));
    drop(doomed);
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
        let may_be_stored = shared.objects.as_ref().is_some_and(|objects| objects.may_hold(path));
        let is_there = may_be_stored || shared.disk.open(path).is_ok();
        is_there || shared.disk.sync_dir(disk::parent(path)).is_err()
    });
}
