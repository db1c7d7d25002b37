//! What is set aside: files that are damaged, and Parquet files that no manifest lists.
//!
//! Nothing here is deleted that might be the only one of its kind.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tracing::{info, warn};

use super::{OpenError, io};
use crate::model::Signal;
use crate::storage::FileEntry;
use crate::storage::disk::{self, Disk};
use crate::storage::files::checked::Checked;
use crate::storage::files::{self, path};
use crate::storage::shared::Shared;

/// The folder of what was set aside.
pub(in crate::storage) const QUARANTINE: &str = "quarantine";

/// Deals with Parquet files that no manifest lists. Those of a generation that the log still holds
/// are the rest of a flush under way at the crash, and are removed; so is the rest of a merge, as long
/// as what it was made of is whole. Any other is set aside, because neither a lost manifest nor damage
/// must cost the files.
pub(super) fn set_orphans_aside(
    shared: &Shared,
    first_replayed: Option<u64>,
) -> Result<(), OpenError> {
    let (listed, doomed): (Listed, HashSet<String>) = {
        let manifest = shared.manifest.lock();
        let files = manifest.files.iter().map(|file| (file.path.clone(), Arc::clone(file)));
        (files.collect(), manifest.doomed.iter().cloned().collect())
    };
    let remove = |file: &str| shared.disk.remove(file).map_err(io(format!("remove {file}")));
    for file in parquet_files(&*shared.disk, path::DIR).map_err(io("list the Parquet files"))? {
        // The doomed are removed once nothing needs them.
        if listed.contains_key(&file) || doomed.contains(&file) {
            continue;
        }
        if path::is_merged(&file) && is_whole_elsewhere(&*shared.disk, &file, &listed) {
            remove(&file)?;
        } else if is_of_a_cut_flush(&file, first_replayed) {
            info!(file, "removed the rest of a flush that was cut short");
            remove(&file)?;
        } else {
            set_aside_if_there_is_room(&*shared.disk, &file)?;
        }
    }
    Ok(())
}

fn is_of_a_cut_flush(file: &str, first_replayed: Option<u64>) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    let generation = name.split('-').next().and_then(|text| u64::from_str_radix(text, 16).ok());
    let is_replayed = !path::is_merged(file)
        && matches!((generation, first_replayed), (Some(g), Some(first)) if g >= first);
    is_replayed || name.ends_with(".tmp")
}

fn set_aside_if_there_is_room(disk: &dyn Disk, file: &str) -> Result<(), OpenError> {
    match set_aside(disk, file) {
        Err(OpenError::Io { source, .. }) if disk::is_full(&source) => {
            warn!(file, "no manifest lists this file, and there is no room to set it aside");
            Ok(())
        }
        done => done,
    }
}

/// The live files, by path.
type Listed = HashMap<String, Arc<FileEntry>>;

/// Returns true when all files that a merged one was made of are listed and whole: the merge was cut
/// short before the catalog knew of it. Of one that is damaged the merged one may hold what is left.
fn is_whole_elsewhere(disk: &dyn Disk, merged: &str, listed: &Listed) -> bool {
    let inputs = files::read::footer_text(disk, merged, files::write::MERGED_FROM);
    let inputs: Option<Vec<String>> = inputs.and_then(|text| serde_json::from_str(&text).ok());
    let is_whole = |input: &String| listed.get(input).is_some_and(|file| is_whole(disk, file));
    inputs.is_some_and(|inputs| !inputs.is_empty() && inputs.iter().all(is_whole))
}

fn is_whole(disk: &dyn Disk, file: &FileEntry) -> bool {
    let checked = Checked::open(disk, file).forgetful();
    checked.damage().is_none() && checked.read_through(file.size_bytes).is_ok()
}

/// Copies a file into the quarantine; a Parquet file is there alone from then on.
pub(super) fn set_aside(disk: &dyn Disk, file: &str) -> Result<(), OpenError> {
    let to = format!("{QUARANTINE}/{}", file.replace('/', "%"));
    disk::create_dir_synced(disk, QUARANTINE).map_err(io("create the quarantine folder"))?;
    copy(disk, file, &to).map_err(io(format!("set {file} aside")))?;
    warn!(file, to, "set aside a file that is damaged or that no manifest lists");
    if file.ends_with(".parquet") {
        disk.remove(file).map_err(io(format!("set {file} aside")))?;
    }
    Ok(())
}

fn copy(disk: &dyn Disk, from: &str, to: &str) -> std::io::Result<()> {
    let content = disk.read(from)?;
    disk::replace_file(disk, to, &content)
}

/// Returns the Parquet files of a folder and those below it, and what is left of half-written ones.
pub(in crate::storage) fn parquet_files(
    disk: &dyn Disk,
    dir: &str,
) -> std::io::Result<Vec<String>> {
    let mut files = Vec::new();
    for name in disk.list(dir)? {
        let path = format!("{dir}/{name}");
        if name.ends_with(".parquet") || name.ends_with(".tmp") {
            files.push(path);
        } else if name.contains('=') || Signal::ALL.iter().any(|signal| signal.as_str() == name) {
            files.extend(parquet_files(disk, &path)?);
        }
    }
    Ok(files)
}

/// Returns the files of damaged log segments that were set aside, now or by an earlier process. What
/// they held and no frame could be made of is missing until someone has dealt with it.
pub(super) fn lost_segments(disk: &dyn Disk) -> Result<Vec<String>, OpenError> {
    let mut names = disk.list(QUARANTINE).map_err(io("list the quarantine"))?;
    names.retain(|name| name.starts_with("wal%") && !name.ends_with(".tmp"));
    names.sort_unstable();
    Ok(names.into_iter().map(|name| format!("{QUARANTINE}/{name}")).collect())
}
