//! Making room in the middle of a generation, while the log is replayed.
//!
//! A generation is as large as the marks of memory of the process that wrote it. On a machine with
//! less memory its rows may not fit, and the log cannot be cut in its middle: the series of its
//! samples are defined once, early on. So its rows are written as *parts*, files that nobody lists
//! until the whole generation is published in one manifest, the rest of it included. A process that
//! ends before has left files of a generation that the log still holds, and the next start removes
//! them like those of a flush that was cut short.

use std::collections::{BTreeSet, HashSet};
use std::io;

use tracing::info;

use super::files::path;
use super::flush::{self, FlushError};
use super::head::Generation;
use super::open::parquet_files;
use super::shared::Shared;

/// The most parts of one generation: their names must sort as they were written, and are four digits
/// of which the last tells kinds of files apart.
const PARTS_MAX: usize = 4_500;

/// Writes the rows of a generation that is being replayed as a part when memory is past the firm
/// mark and the rows are most of it.
pub(super) fn relieve(shared: &Shared, generation: &Generation) -> Result<(), FlushError> {
    let firm = shared.config.head_firm.0;
    if shared.version.read().head_bytes() <= firm {
        return Ok(());
    }
    // What the series themselves take stays; writing a file for every few rows beside it would cost
    // more than it gives.
    if generation.row_bytes() < (firm / 4).max(1) || generation.n_parts() >= PARTS_MAX {
        return Ok(());
    }
    let files = flush::write(shared, generation)
        .map_err(|source| FlushError::Write { generation: generation.number, source })?;
    let n_files = files.len();
    generation.add_part(files);
    generation.forget_rows();
    info!(
        generation = generation.number,
        part = generation.n_parts(),
        n_files,
        "made room in the replay"
    );
    Ok(())
}

/// Returns the number that tells the files of a generation's next part apart from those of the parts
/// before it; `kind` tells those of one part apart.
pub(super) fn file_number(generation: &Generation, kind: usize) -> usize {
    match generation.n_parts() {
        0 => kind,
        // Four digits from here on, so that names sort as numbers do.
        n_parts => 998 + 2 * n_parts + kind,
    }
}

/// Removes parts that an earlier replay left and this one did not write anew: it may have had other
/// marks of memory, or frames that were not on disk yet. Once the log is cut they would be taken for
/// files whose manifest was lost. The log must have been read without damage.
pub(super) fn remove_leftovers(shared: &Shared, generation: &Generation) -> io::Result<()> {
    let mut known: HashSet<String> =
        generation.files_of_parts().into_iter().map(|file| file.path).collect();
    {
        let manifest = shared.manifest.lock();
        known.extend(manifest.files.iter().map(|file| file.path.clone()));
        known.extend(manifest.doomed.iter().cloned());
    }
    let mut folders = BTreeSet::new();
    for file in parquet_files(&*shared.disk, path::DIR)? {
        if !known.contains(&file) && path::flushed_generation(&file) == Some(generation.number) {
            info!(file, "removed the rest of a replay that was cut short");
            shared.disk.remove(&file)?;
            folders.extend(file.rsplit_once('/').map(|(folder, _)| folder.to_owned()));
        }
    }
    folders.iter().try_for_each(|folder| shared.disk.sync_dir(folder))
}
