//! Deleting, taking back, and letting go at once: each is one new manifest.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMillisecondType;
use chrono::DateTime;
use tracing::info;

use super::receipt::{Progress, Receipt};
use super::rows_file;
use super::{DeleteError, DeleteRequest, RECEIPTS_MAX};
use crate::model::{ReadScope, Signal};
use crate::storage::catalog::{CatalogError, Manifest};
use crate::storage::disk::{self, is_full};
use crate::storage::files::deleted::DeletedRows;
use crate::storage::files::read_columns::read_columns;
use crate::storage::head::rows::times_ns;
use crate::storage::shared::Shared;
use crate::storage::{FileEntry, ReadError, retain};

/// What was asked for, or why not; the outer error says that what is on disk is unknown.
type Outcome<T> = Result<Result<T, DeleteError>, CatalogError>;

/// Takes rows out of all answers. What was in memory when it was asked for must be in files by now.
pub fn delete(shared: &Shared, scope: &ReadScope, mut request: DeleteRequest) -> Outcome<Receipt> {
    let files = candidates(shared, scope, &request);
    let found = match look_through(shared, &files, &mut request) {
        Ok(found) => found,
        Err(error) => return Ok(Err(error)),
    };
    let manifest = shared.manifest.lock().clone();
    let n_waiting = manifest.deletions.iter().filter(|r| r.progress == Progress::Hidden).count();
    if n_waiting >= RECEIPTS_MAX {
        return Ok(Err(DeleteError::TooMany));
    }
    let receipt = receipt(shared, &manifest, &request, &found);
    if let Err(error) = write_rows(shared, receipt.id, &found.rows) {
        let full = is_full(&error);
        return Ok(Err(if full { DeleteError::Full } else { DeleteError::Write(error) }));
    }
    let published = publish(shared, &receipt, found.rows);
    if published.as_ref().is_err_and(CatalogError::is_full) {
        drop(shared.disk.remove(&rows_file::path(receipt.id)));
        return Ok(Err(DeleteError::Full));
    }
    published?;
    // No copy of an older manifest stays, which would bring the rows back should this one be damaged.
    shared.may_remove();
    shared.metrics.deletions.inc();
    shared.metrics.deleted_rows.inc_by(receipt.n_rows);
    info!(
        deletion = receipt.id,
        by = receipt.by,
        n_rows = receipt.n_rows,
        n_files = receipt.files.len(),
        "deleted: no answer has the rows from now on"
    );
    Ok(Ok(receipt))
}

/// Returns the live files that may hold wanted rows.
fn candidates(shared: &Shared, scope: &ReadScope, request: &DeleteRequest) -> Vec<Arc<FileEntry>> {
    let manifest = shared.manifest.lock();
    let may_hold = |file: &&Arc<FileEntry>| {
        scope.covers(&file.commons)
            && request.judge.signals().contains(&file.signal)
            && file.min_ns <= request.end_ns
            && request.start_ns <= file.max_ns
            && request.judge.may_mean(&file.commons)
    };
    manifest.files.iter().filter(may_hold).cloned().collect()
}

/// What is to be deleted.
#[derive(Default)]
struct Found {
    rows: Vec<(Arc<FileEntry>, Arc<DeletedRows>)>,
    skipped: Vec<String>,
    n_ranges: usize,
}

fn look_through(
    shared: &Shared,
    files: &[Arc<FileEntry>],
    request: &mut DeleteRequest,
) -> Result<Found, DeleteError> {
    let ranges_max = shared.config.deletion_ranges_max;
    let mut found = Found::default();
    for file in files {
        if shared.damaged.read().contains_key(&file.path) {
            found.skipped.push(file.path.clone());
            continue;
        }
        match rows_of(shared, file, request, ranges_max - found.n_ranges) {
            Err(DeleteError::Read(ReadError::Damaged { path, reason })) => {
                shared.note_damaged(&path, &reason);
                found.skipped.push(path);
            }
            Err(error) => return Err(error),
            Ok(rows) if rows.is_empty() => {}
            Ok(rows) => {
                found.n_ranges += rows.ranges().len();
                found.rows.push((Arc::clone(file), Arc::new(rows)));
            }
        }
    }
    Ok(found)
}

fn rows_of(
    shared: &Shared,
    file: &FileEntry,
    request: &mut DeleteRequest,
    ranges_left: usize,
) -> Result<DeletedRows, DeleteError> {
    let range_ns = (request.start_ns, request.end_ns);
    let columns = request.judge.columns(file.signal).to_vec();
    let (mut rows, mut marks) = (DeletedRows::default(), Vec::new());
    let mut ended = Ok(());
    read_columns(&*shared.disk, file, &columns, range_ns, &mut |first, batch| {
        marks.clear();
        marks.resize(batch.num_rows(), false);
        request.judge.mark(&file.commons, file.signal, batch, &mut marks);
        for (row, ns) in times(file.signal, batch).into_iter().enumerate() {
            if marks[row] && range_ns.0 <= ns && ns <= range_ns.1 {
                assert!(rows.push(first + row..first + row + 1), "rows come in their order");
            }
        }
        if rows.ranges().len() > ranges_left {
            ended = Err(DeleteError::TooScattered { max: shared.config.deletion_ranges_max });
        } else if shared.is_stopping.load(Ordering::SeqCst) {
            ended = Err(DeleteError::Stopping);
        }
        ended.is_ok()
    })?;
    ended.map(|()| rows)
}

fn times(signal: Signal, batch: &RecordBatch) -> Vec<i64> {
    if signal != Signal::Metrics {
        return times_ns(batch).to_vec();
    }
    let times = batch.column(0).as_primitive::<TimestampMillisecondType>().values();
    times.iter().map(|ms| ms.saturating_mul(1_000_000)).collect()
}

fn receipt(
    shared: &Shared,
    manifest: &Manifest,
    request: &DeleteRequest,
    found: &Found,
) -> Receipt {
    let at_ms = shared.clock.now_ms();
    let nothing = DeletedRows::default();
    let n_new = |(file, rows): &(Arc<FileEntry>, Arc<DeletedRows>)| {
        rows.n_not_in(file.deleted().unwrap_or(&nothing)) as u64
    };
    Receipt {
        id: manifest.last_deletion + 1,
        by: request.by.clone(),
        at_ms,
        signals: request.judge.signals().to_vec(),
        selectors: request.selectors.clone(),
        start_ns: request.start_ns,
        end_ns: request.end_ns,
        n_rows: found.rows.iter().map(n_new).sum(),
        commons: found.rows.iter().map(|(file, _)| file.commons.clone()).collect::<BTreeSet<_>>(),
        files: found.rows.iter().map(|(file, _)| file.path.clone()).collect(),
        skipped: found.skipped.clone(),
        cancel_until_ms: at_ms.saturating_add(shared.config.deletion_grace.as_ms()),
        log_segment: manifest.covered_segment,
        progress: Progress::Hidden,
        ended_at_ms: None,
        ended_by: None,
    }
}

fn write_rows(
    shared: &Shared,
    id: u64,
    rows: &[(Arc<FileEntry>, Arc<DeletedRows>)],
) -> std::io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let by_path = rows.iter().map(|(file, rows)| (file.path.as_str(), &**rows));
    let bytes = rows_file::encode(id, by_path);
    disk::create_dir_synced(&*shared.disk, rows_file::DIR)?;
    disk::replace_file(&*shared.disk, &rows_file::path(id), &bytes)
}

fn publish(
    shared: &Shared,
    receipt: &Receipt,
    rows: Vec<(Arc<FileEntry>, Arc<DeletedRows>)>,
) -> Result<(), CatalogError> {
    let rows: HashMap<String, Arc<DeletedRows>> =
        rows.into_iter().map(|(file, rows)| (file.path.clone(), rows)).collect();
    change(shared, |next| {
        for file in &mut next.files {
            if let Some(rows) = rows.get(&file.path) {
                *file = Arc::new(file.with_deletion(receipt.id, Arc::clone(rows)));
            }
        }
        next.add_receipt(receipt.clone(), RECEIPTS_MAX);
    })
}

/// Replaces the manifest with a changed one, and shows it to readers.
pub(super) fn change(
    shared: &Shared,
    change: impl FnOnce(&mut Manifest),
) -> Result<(), CatalogError> {
    let manifest = shared.manifest.lock();
    let mut next = manifest.clone();
    change(&mut next);
    retain::replace(shared, manifest, next, &[])
}

/// Returns true when a caller of this scope may know of a deletion.
pub fn may_know(scope: &ReadScope, receipt: &Receipt) -> bool {
    receipt.commons.iter().all(|commons| scope.covers(commons))
        && (*scope == ReadScope::All || !receipt.commons.is_empty())
}

/// Takes a deletion back, as long as its bytes are sure to be there.
pub fn cancel(shared: &Shared, scope: &ReadScope, id: u64, by: &str) -> Outcome<Receipt> {
    let now_ms = shared.clock.now_ms();
    let known = {
        let manifest = shared.manifest.lock();
        manifest.deletions.iter().find(|receipt| receipt.id == id).cloned()
    };
    let Some(receipt) = known.filter(|receipt| may_know(scope, receipt)) else {
        return Ok(Err(DeleteError::Unknown { id }));
    };
    if receipt.progress != Progress::Hidden || receipt.is_ripe(shared.aging_ms()) {
        let until = DateTime::from_timestamp_millis(receipt.cancel_until_ms).unwrap_or_default();
        return Ok(Err(DeleteError::TooLate { id, until: until.to_rfc3339() }));
    }
    let cancelled = Receipt {
        progress: Progress::Cancelled,
        ended_at_ms: Some(now_ms),
        ended_by: Some(by.to_owned()),
        ..receipt
    };
    let changed = change(shared, |next| {
        for file in next.files.iter_mut().filter(|file| file.deletions.contains(&id)) {
            *file = Arc::new(file.without_deletion(id));
        }
        next.put_receipt(cancelled.clone());
    });
    if changed.as_ref().is_err_and(CatalogError::is_full) {
        return Ok(Err(DeleteError::Full));
    }
    changed?;
    info!(deletion = id, by, "a deletion was taken back");
    Ok(Ok(cancelled))
}

/// Lets the bytes of all deletions go at once: none of them can be taken back any more.
pub fn ripen(shared: &Shared, scope: &ReadScope) -> Outcome<()> {
    let now_ms = shared.aging_ms();
    let changed = change(shared, |next| {
        for receipt in &mut next.deletions {
            if may_know(scope, receipt) && receipt.progress == Progress::Hidden {
                receipt.cancel_until_ms = receipt.cancel_until_ms.min(now_ms);
            }
        }
    });
    if changed.as_ref().is_err_and(CatalogError::is_full) {
        return Ok(Err(DeleteError::Full));
    }
    changed.map(Ok)
}
