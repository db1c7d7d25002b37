//! What becomes of a deletion: its rows are read at the start, and when the last byte is gone the
//! receipt says so.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use tracing::{info, warn};

use super::receipt::{Progress, Receipt};
use super::rows_file::{self, RowsByPath};
use super::run::change;
use crate::storage::FileEntry;
use crate::storage::backup;
use crate::storage::catalog::{CatalogError, Manifest};
use crate::storage::disk::Disk;
use crate::storage::shared::Shared;
use crate::storage::wal::replay;

/// What is less far ahead is no future: NTP moves a clock so.
const AHEAD_MS_MIN: i64 = 60_000;

/// Reads the deleted rows of the files that list deletions; returns the files of which it is not
/// known what is deleted, and why. Nothing of them may be shown.
pub fn attach<'a>(
    disk: &dyn Disk,
    files: impl Iterator<Item = &'a mut FileEntry>,
) -> Vec<(String, String)> {
    let mut read: BTreeMap<u64, RowsByPath> = BTreeMap::new();
    let mut unknown = Vec::new();
    for file in files {
        let known: Vec<u64> = file.by_deletion().iter().map(|(id, _)| *id).collect();
        for id in file.deletions.clone().into_iter().filter(|id| !known.contains(id)) {
            let path = rows_file::path(id);
            let rows = read.entry(id).or_insert_with(|| match disk.read(&path) {
                Ok(bytes) => rows_file::decode(id, &bytes),
                Err(error) => {
                    warn!(path, %error, "the rows of a deletion cannot be read");
                    RowsByPath::new()
                }
            });
            match rows.remove(&file.path) {
                Some(rows) => file.attach(id, Arc::new(rows)),
                None => {
                    let why = format!("what was deleted from it is not known: {path} is damaged");
                    unknown.push((file.path.clone(), why));
                }
            }
        }
    }
    unknown
}

/// Removes the rows of deletions that no live file lists.
pub fn remove_strays(disk: &dyn Disk, manifest: &Manifest) -> io::Result<()> {
    let wanted: BTreeSet<u64> =
        manifest.files.iter().flat_map(|file| file.deletions.iter().copied()).collect();
    let mut n_removed = 0;
    for name in disk.list(rows_file::DIR)? {
        if rows_file::id_of(&name).is_none_or(|id| !wanted.contains(&id)) {
            disk.remove(&format!("{}/{name}", rows_file::DIR))?;
            n_removed += 1;
        }
    }
    if n_removed > 0 { disk.sync_dir(rows_file::DIR) } else { Ok(()) }
}

/// Returns how many live files have rows whose bytes may go.
pub fn n_to_write_anew(shared: &Shared) -> usize {
    let now_ms = shared.aging_ms();
    let manifest = shared.manifest.lock();
    let ripe: BTreeSet<u64> =
        manifest.deletions.iter().filter(|r| r.is_ripe(now_ms)).map(|r| r.id).collect();
    manifest.files.iter().filter(|file| file.deletions.iter().any(|id| ripe.contains(id))).count()
}

/// Notes the deletions whose last byte is gone: no file of theirs is on disk, nor a link to one in a
/// snapshot, nor a log segment that held the rows. Returns how many.
pub fn settle(shared: &Shared) -> Result<usize, CatalogError> {
    bring_back(shared)?;
    let done = done(shared, shared.aging_ms());
    if done.is_empty() {
        return Ok(0);
    }
    let now_ms = shared.clock.now_ms();
    change(shared, |next| {
        for receipt in next.deletions.iter_mut().filter(|receipt| done.contains(&receipt.id)) {
            receipt.progress = Progress::Erased;
            receipt.ended_at_ms = Some(now_ms);
        }
    })?;
    let may_remove = shared.may_remove();
    for &id in &done {
        info!(deletion = id, "the bytes of a deletion are gone");
        shared.metrics.erased_deletions.inc();
        if !may_remove {
            continue; // An older manifest may still name it; the next start removes it.
        }
        match shared.disk.remove(&rows_file::path(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                // It is gone at the next start.
                warn!(deletion = id, %error, "cannot remove the rows of a deletion that is done");
            }
            _ => {}
        }
    }
    Ok(done.len())
}

/// Brings back receipts from the future. They were written while the clock was set ahead, and their bytes
/// would stay for as much longer: what was asked for then was asked for now at the latest.
fn bring_back(shared: &Shared) -> Result<(), CatalogError> {
    let now_ms = shared.clock.now_ms();
    let is_ahead = |receipt: &Receipt| {
        receipt.progress == Progress::Hidden && receipt.at_ms.saturating_sub(now_ms) >= AHEAD_MS_MIN
    };
    if !shared.manifest.lock().deletions.iter().any(is_ahead) {
        return Ok(());
    }
    change(shared, |next| {
        for receipt in next.deletions.iter_mut().filter(|receipt| is_ahead(receipt)) {
            let ahead_ms = receipt.at_ms.saturating_sub(now_ms);
            receipt.at_ms = now_ms;
            receipt.cancel_until_ms = receipt.cancel_until_ms.saturating_sub(ahead_ms);
        }
    })
}

fn done(shared: &Shared, now_ms: i64) -> BTreeSet<u64> {
    let off_catalog = off_catalog(&shared.manifest.lock(), now_ms);
    if off_catalog.is_empty() {
        return BTreeSet::new();
    }
    let Ok(segments) = replay::segments(&*shared.disk) else { return BTreeSet::new() };
    let oldest = segments.into_iter().min().unwrap_or(u64::MAX);
    let done = off_catalog.into_iter().filter(|receipt| {
        oldest > receipt.log_segment
            && backup::holds(&*shared.disk, &receipt.files).is_ok_and(|holds| !holds)
    });
    done.map(|receipt| receipt.id).collect()
}

/// Returns the deletions none of whose files the catalog knows any more, not even as doomed.
fn off_catalog(manifest: &Manifest, now_ms: i64) -> Vec<Receipt> {
    let live = manifest.files.iter().map(|file| file.path.as_str());
    let there: BTreeSet<&str> = live.chain(manifest.doomed.iter().map(String::as_str)).collect();
    let is_gone = |path: &String| !there.contains(path.as_str());
    let receipts = manifest.deletions.iter().filter(|receipt| receipt.is_ripe(now_ms));
    receipts.filter(|receipt| receipt.files.iter().all(is_gone)).cloned().collect()
}
