//! The log is read back into generations, as it was written.
//!
//! It may hold more than fits into memory: a generation is complete once a segment of the next one is
//! met, and is written out when there is no room for both.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::{info, warn};

use super::aside::set_aside;
use super::{OpenError, Progress, io};
use crate::storage::apply::apply_replayed;
use crate::storage::disk;
use crate::storage::flush::{self, FlushError};
use crate::storage::head::Generation;
use crate::storage::shared::{Shared, Version};
use crate::storage::spill;
use crate::storage::wal;
use crate::storage::wal::replay::{self, Damage, SegmentReport};

/// What the log held.
pub(super) struct Replay {
    pub(super) last_segment: u64,
    pub(super) last_group: u64,
    pub(super) first_generation: Option<u64>,
    pub(super) damage: Vec<Damage>,
}

impl Replay {
    /// Reads what the manifest does not cover.
    pub(super) fn run(shared: &Arc<Shared>, progress: &Progress) -> Result<Self, OpenError> {
        let covered = shared.manifest.lock().covered_segment;
        let segments = replay::segments(&*shared.disk).map_err(io("list the log"))?;
        let segments: Vec<u64> =
            segments.into_iter().filter(|&segment| segment > covered).collect();
        let mut this = Self {
            last_segment: covered,
            last_group: 0,
            first_generation: None,
            damage: Vec::new(),
        };
        for &segment in &segments {
            let size =
                shared.disk.open(&wal::path(segment)).map_err(io("open the log"))?.size_bytes();
            progress.total_bytes.fetch_add(size, Ordering::Relaxed);
        }
        for &segment in &segments {
            this.segment(shared, segment, segments.last() == Some(&segment), progress)?;
        }
        // Rows in parts are seen once the whole generation is published.
        let open = Arc::clone(&shared.version.read().open);
        if open.n_parts() > 0 {
            seal(shared, &open, this.last_segment, open.number + 1);
            make_room(shared, this.damage.is_empty())?;
        }
        if !segments.is_empty() {
            let n_bytes = progress.done_bytes.load(Ordering::Relaxed);
            info!(
                n_segments = segments.len(),
                n_bytes,
                n_damaged = this.damage.len(),
                "replayed the log"
            );
        }
        Ok(this)
    }

    fn segment(
        &mut self,
        shared: &Arc<Shared>,
        number: u64,
        is_newest: bool,
        progress: &Progress,
    ) -> Result<(), OpenError> {
        let mut n_lost = 0;
        let mut fault = None;
        let mut may_relieve = true;
        let is_whole = self.damage.is_empty();
        let report =
            replay::read_segment(&*shared.disk, number, |head, commons, payload| match generation(
                shared,
                head.generation,
                is_whole,
            ) {
                Ok(generation) => {
                    n_lost += apply_replayed(shared, &generation, &commons, payload);
                    if may_relieve {
                        let relieved = relieve(shared, &generation);
                        may_relieve = matches!(relieved, Ok(true));
                        fault = fault.take().or(relieved.err());
                    }
                }
                Err(error) => fault = Some(error),
            });
        let report = report.map_err(io(format!("read {}", wal::path(number))))?;
        // A process that was killed may have left frames that are not on disk yet. They are served
        // from now on, and series defined in them get samples in later segments.
        // Its last sync may even have failed, and the process died before it could cut them off.
        if is_newest {
            write_again(shared, &wal::path(number), report.n_written_bytes)?;
        }
        shared.disk.sync_file(&wal::path(number)).map_err(io("sync the log"))?;
        if let Some(fault) = fault {
            return Err(fault);
        }
        if n_lost > 0 {
            warn!(
                segment = number,
                n_lost, "samples whose series definition is damaged were left out"
            );
        }
        self.note(shared, number, &report)?;
        progress.done_bytes.fetch_add(report.n_bytes as u64, Ordering::Relaxed);
        Ok(())
    }

    fn note(
        &mut self,
        shared: &Shared,
        number: u64,
        report: &SegmentReport,
    ) -> Result<(), OpenError> {
        self.last_segment = self.last_segment.max(number);
        self.last_group = self.last_group.max(report.last_group);
        self.damage.extend(report.damage.iter().cloned());
        if let Some(head) = report.head {
            self.first_generation.get_or_insert(head.generation);
        }
        if !report.damage.is_empty() {
            // Cutting the log would delete the evidence, and what an expert may still read from it.
            set_aside(&*shared.disk, &wal::path(number))?;
        } else if report.n_frames == 0 {
            shared.disk.remove(&wal::path(number)).map_err(io("remove an empty log segment"))?;
        }
        Ok(())
    }
}

/// A file system that needs room to write what is there already may have none; then there is nothing
/// to be done about a sync that failed.
fn write_again(shared: &Shared, path: &str, n_bytes: usize) -> Result<(), OpenError> {
    match shared.disk.write_again(path, n_bytes as u64) {
        Err(error) if disk::is_full(&error) => {
            warn!(path, %error, "the disk is full: the end of the log is not written again");
            Ok(())
        }
        written => written.map_err(io("write the end of the log again")),
    }
}

/// Returns the generation that a segment belongs to, opening it when the segment begins a new one.
/// `is_whole` says that no damage was found in the log so far.
fn generation(
    shared: &Arc<Shared>,
    number: u64,
    is_whole: bool,
) -> Result<Arc<Generation>, OpenError> {
    let open = Arc::clone(&shared.version.read().open);
    if number <= open.number {
        return Ok(open);
    }
    if open.is_empty() {
        let next = Arc::new(Generation::new(number, 0, shared.clock.monotonic_ns()));
        shared.version.write().open = Arc::clone(&next);
        return Ok(next);
    }
    // The generation is complete. Its rows stay in the log until they are in files, so making room
    // now is safe, and a log larger than memory can be replayed.
    let first_of_next = replay::segments(&*shared.disk).map_err(io("list the log"))?;
    let last = first_of_next
        .into_iter()
        .take_while(|&s| segment_generation(shared, s) < Some(number))
        .last();
    let next = seal(shared, &open, last.unwrap_or(0), number);
    make_room(shared, is_whole)?;
    Ok(next)
}

/// Ends the open generation with a segment, and opens the next.
fn seal(
    shared: &Shared,
    open: &Arc<Generation>,
    last_segment: u64,
    next_number: u64,
) -> Arc<Generation> {
    open.last_segment.store(last_segment, Ordering::SeqCst);
    open.sealed(shared.clock.monotonic_ns());
    let next = Arc::new(Generation::new(next_number, 0, shared.clock.monotonic_ns()));
    let mut version = shared.version.write();
    let mut sealed = version.sealed.clone();
    sealed.push(Arc::clone(open));
    *version = Version { files: Arc::clone(&version.files), sealed, open: Arc::clone(&next) };
    next
}

/// Writes rows of a generation out that does not fit into memory by itself. Returns false when there
/// is no use in trying again soon.
fn relieve(shared: &Shared, generation: &Generation) -> Result<bool, OpenError> {
    match spill::relieve(shared, generation) {
        Ok(()) => Ok(true),
        Err(source) => no_room(shared, source).map(|()| false),
    }
}

/// What cannot be written out may stay in memory as long as that is below the hard mark: the log has
/// it.
fn no_room(shared: &Shared, source: FlushError) -> Result<(), OpenError> {
    if source.is_fatal() {
        return Err(source.into());
    }
    let head_bytes = shared.version.read().head_bytes();
    let max_bytes = shared.config.head_hard.0;
    if head_bytes > max_bytes {
        return Err(OpenError::NoRoom { head_bytes, max_bytes, source });
    }
    warn!(%source, head_bytes, "cannot make room while replaying the log, going on");
    Ok(())
}

/// Writes generations out until the rest is below the soft mark and none is in parts.
fn make_room(shared: &Shared, is_whole: bool) -> Result<(), OpenError> {
    loop {
        let (oldest, is_in_parts, is_large) = {
            let version = shared.version.read();
            let is_in_parts = version.sealed.iter().any(|sealed| sealed.n_parts() > 0);
            let is_large = version.head_bytes() > shared.config.head_soft.0;
            (version.sealed.first().cloned(), is_in_parts, is_large)
        };
        if !is_in_parts && !is_large {
            return Ok(());
        }
        if let Some(oldest) = oldest.filter(|oldest| is_whole && oldest.n_parts() > 0) {
            spill::remove_leftovers(shared, &oldest).map_err(io("remove the rest of a replay"))?;
        }
        match flush::flush_oldest(shared) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            // Nobody would see the rows of the parts.
            Err(source) if is_in_parts && !source.is_fatal() => {
                let head_bytes = shared.version.read().head_bytes();
                let max_bytes = shared.config.head_hard.0;
                return Err(OpenError::NoRoom { head_bytes, max_bytes, source });
            }
            Err(source) => return no_room(shared, source),
        }
    }
}

fn segment_generation(shared: &Shared, segment: u64) -> Option<u64> {
    let file = shared.disk.open(&wal::path(segment)).ok()?;
    let header = file.read_at(0, wal::frame::SEGMENT_HEADER_BYTES).ok()?;
    wal::frame::read_segment_header(&header).map(|(_, generation)| generation)
}
