//! Many small files of a day become few, so that a question opens few files and long runs compress.
//!
//! A merge reads neighbouring files of one signal, commons and day and writes their rows, in the
//! same order and first value first, into one file. The manifest is then replaced once: the new
//! file stands where the first of the old ones stood, the old ones are doomed. Readers that began
//! earlier go on with the old files. Rows that were deleted are left behind, once the deletion cannot
//! be taken back any more; a file that lacks rows is then written anew even if it is alone. A crash before that leaves a file that no manifest lists; it
//! names what it was made of, so the next start knows that nothing is lost with it.

mod choose;
mod pace;
mod rows;
mod series;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use tracing::{info, warn};

use super::catalog::CatalogError;
use super::files::path;
use super::files::write::{FileWriter, Origin, Target, WriteError};
use super::flush::rows_schema;
use super::shared::Shared;
use super::{FileEntry, ReadError, retain};
use crate::model::{Signal, metric};

/// Why files were not merged. The old ones are live as before.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// One of the files cannot be read.
    #[error("cannot read a file that was to be merged")]
    Read(#[from] ReadError),
    /// The merged file cannot be written.
    #[error("cannot write a merged file")]
    Write(#[from] WriteError),
    /// The manifest could not be replaced.
    #[error("cannot publish a merged file")]
    Publish(#[source] CatalogError),
    /// The process is stopping.
    #[error("stopping")]
    Stopping,
}

impl MergeError {
    fn is_full(&self) -> bool {
        matches!(self, MergeError::Write(error) if error.is_full())
    }
}

/// Merges files as long as there are some worth it; keeps in mind which ones cannot be merged.
#[derive(Debug, Default)]
pub struct Merger {
    left_alone: HashSet<String>,
    not_before_ns: u64,
}

/// How long to wait for space on a full disk, and for object storage to answer.
const FULL_PAUSE_NS: u64 = 60_000_000_000;

impl Merger {
    /// Does one merge; returns false when there is nothing to merge. Only an error of the catalog
    /// is returned: which manifest is on disk is then unknown, unless the disk was full.
    pub fn merge_next(&mut self, shared: &Shared) -> Result<bool, CatalogError> {
        let start_ns = shared.clock.monotonic_ns();
        if start_ns < self.not_before_ns {
            return Ok(false);
        }
        let Some(inputs) = self.choose(shared) else { return Ok(false) };
        let result = merge(shared, &inputs);
        let outcome = if result.is_ok() { "ok" } else { "failed" };
        shared.metrics.merges.get_or_create(&[("outcome", outcome.to_owned())]).inc();
        match result {
            Ok(n_rows) => {
                let elapsed_ns = shared.clock.monotonic_ns().saturating_sub(start_ns);
                let elapsed = std::time::Duration::from_nanos(elapsed_ns);
                shared.metrics.merge_seconds.observe(elapsed.as_secs_f64());
                info!(n_files = inputs.len(), n_rows, folder = folder(&inputs[0]), "merged");
                Ok(true)
            }
            Err(MergeError::Publish(error)) => Err(error),
            Err(MergeError::Stopping) => Ok(false),
            Err(MergeError::Read(ReadError::Damaged { path, reason })) => {
                shared.note_damaged(&path, &reason);
                Ok(true)
            }
            Err(MergeError::Read(ReadError::Away { path, reason })) => {
                info!(path, reason, "nothing is merged for a while: a file cannot be fetched");
                self.not_before_ns = start_ns + FULL_PAUSE_NS;
                Ok(true)
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                warn!(%error, cause, folder = folder(&inputs[0]), "these files stay as they are");
                if error.is_full() {
                    self.not_before_ns = start_ns + FULL_PAUSE_NS;
                } else {
                    self.left_alone.extend(inputs.iter().map(|file| file.path.clone()));
                }
                Ok(true)
            }
        }
    }

    fn choose(&mut self, shared: &Shared) -> Option<Vec<Arc<FileEntry>>> {
        let files = Arc::clone(&shared.version.read().files);
        let unripe = unripe(shared);
        let today = path::day_of_ms(shared.clock.now_ms());
        let max_bytes = shared.config.merged_file_max.0;
        let damaged = shared.damaged.read();
        let is_left_alone = |file: &FileEntry| {
            self.left_alone.contains(&file.path)
                || damaged.contains_key(&file.path)
                || file.deletions.iter().any(|id| unripe.contains(id))
        };
        let per_commons = files
            .values()
            .filter_map(|files| choose::next_merge(files, today, max_bytes, is_left_alone));
        let lacks_rows =
            |file: &&Arc<FileEntry>| !file.deletions.is_empty() && !is_left_alone(file);
        let alone = || files.values().flatten().find(lacks_rows).map(|file| vec![Arc::clone(file)]);
        // First, because somebody wants these bytes to be gone; they are few, and merges never end.
        alone().or_else(|| per_commons.max_by_key(Vec::len))
    }
}

/// Returns the deletions that can be taken back: their files stay as they are.
fn unripe(shared: &Shared) -> BTreeSet<u64> {
    let now_ms = shared.aging_ms();
    let manifest = shared.manifest.lock();
    let unripe = manifest.deletions.iter().filter(|receipt| !receipt.is_ripe(now_ms));
    unripe.map(|receipt| receipt.id).collect()
}

fn folder(file: &FileEntry) -> String {
    super::disk::parent(&file.path).to_owned()
}

fn merge(shared: &Shared, inputs: &[Arc<FileEntry>]) -> Result<u64, MergeError> {
    let first = &inputs[0];
    if inputs.iter().all(|file| file.n_rows_kept() == 0) {
        publish(shared, inputs, None).map_err(MergeError::Publish)?;
        return Ok(0);
    }
    let schema = match first.signal {
        Signal::Metrics if first.has_exp => metric::exp_schema(),
        signal => rows_schema(signal),
    };
    let target = Target {
        signal: first.signal,
        commons: first.commons.clone(),
        day: first.day,
        origin: Origin::Merge { inputs: inputs.iter().map(|file| file.path.clone()).collect() },
    };
    let result = write(shared, inputs, target, &schema);
    if result.is_err() {
        // What is there of the file is of no use, and on a full disk its space is.
        let merged = path::merged(&inputs.iter().map(|f| f.path.clone()).collect::<Vec<_>>());
        drop(merged.map(|merged| shared.disk.remove(&format!("{merged}.tmp"))));
    }
    let merged = result?;
    let n_rows = merged.n_rows;
    publish(shared, inputs, Some(merged)).map_err(MergeError::Publish)?;
    Ok(n_rows)
}

fn write(
    shared: &Shared,
    inputs: &[Arc<FileEntry>],
    target: Target,
    schema: &SchemaRef,
) -> Result<FileEntry, MergeError> {
    let (disk, first) = (&*shared.disk, &inputs[0]);
    let row_group_rows = shared.config.row_group_rows;
    let pace = pace::Pace::new(shared);
    let writer = if first.signal == Signal::Metrics && !first.has_exp {
        let merge = series::Merge::open(disk, inputs)?;
        let mut writer = FileWriter::create(disk, target, &merge.schema(), row_group_rows)?;
        merge.write(&mut writer, || pace.go_on())?;
        writer
    } else {
        let mut writer = FileWriter::create(disk, target, schema, row_group_rows)?;
        rows::merge(disk, inputs, schema, &mut writer, || pace.go_on())?;
        writer
    };
    Ok(writer.finish(disk)?)
}

fn publish(
    shared: &Shared,
    inputs: &[Arc<FileEntry>],
    merged: Option<FileEntry>,
) -> Result<(), CatalogError> {
    let manifest = shared.manifest.lock();
    // Compared whole: of a file that lacks more rows by now, these would come back.
    let is_input = |file: &Arc<FileEntry>| inputs.contains(file);
    if manifest.files.iter().filter(|file| is_input(file)).count() != inputs.len() {
        // The retention was faster. The next start removes what was written.
        return Ok(());
    }
    let mut next = manifest.clone();
    let place = next.files.iter().position(|file| *file == inputs[0]).expect("it was just counted");
    match merged {
        Some(merged) => next.files[place] = Arc::new(merged),
        None => drop(next.files.remove(place)),
    }
    next.files.retain(|file| !is_input(file));
    retain::replace(shared, manifest, next, inputs)
}

#[cfg(test)]
mod tests;
