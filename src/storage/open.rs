//! Start: read the manifest, put aside what it does not know, replay the log it does not cover.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::FileEntry;
use super::apply::apply_replayed;
use super::backup;
use super::catalog::{self, CatalogError, Manifest, Standing, Wrong};
use super::config::Config;
use super::deletion;
use super::deltas;
use super::descriptions::{self, Descriptions};
use super::disk::{self, Disk};
use super::engine::Engine;
use super::files::checked::Checked;
use super::files::group_series::SeriesCache;
use super::files::of_groups::{Counted, GroupCache};
use super::files::read::Footers;
use super::files::sample_cache::SampleCache;
use super::files::{self, path};
use super::flush::{self, FlushError};
use super::head::{CommonsTable, Generation};
use super::metrics::Metrics;
use super::objects::{self, Bucket, Objects, Tiered};
use super::retain;
use super::shared::{Shared, Version, files_of};
use super::spill;
use super::wal;
use super::wal::replay::{self, Damage, SegmentReport};
use super::wal::segment::{Segment, WalError};
use crate::base::clock::SharedClock;
use crate::base::units::HumanSize;
use crate::model::Signal;

/// The folder of what was set aside.
pub(super) const QUARANTINE: &str = "quarantine";

/// How far the replay has come; shared with `/-/ready`.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of log to read.
    pub total_bytes: AtomicU64,
    /// Bytes of log read.
    pub done_bytes: AtomicU64,
}

/// Why storage could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk said no.
    #[error("cannot {action}")]
    Io {
        /// What was being done.
        action: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The manifest cannot be used.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A new log segment could not be made.
    #[error("cannot open the write-ahead log")]
    Wal(#[from] WalError),
    /// The disk is full, and the log does not fit into memory.
    #[error(
        "the disk is full, and the log to replay does not fit into memory ({head_bytes} bytes so far, storage.head_hard is {max_bytes}): free about as much on the data directory's disk, or raise storage.head_hard"
    )]
    NoRoom {
        /// What is in memory.
        head_bytes: u64,
        /// What may be.
        max_bytes: u64,
        /// Why nothing could be written.
        source: FlushError,
    },
    /// Object storage cannot be used as the configuration says.
    #[error(transparent)]
    Objects(#[from] objects::ConnectError),
    /// A generation did not fit into memory beside the others, and could not be written out.
    #[error("cannot make room while replaying the write-ahead log")]
    Flush(#[from] FlushError),
}

/// Opens the data directory and returns the engine that writes to it, and what was damaged.
pub fn open(
    disk: Arc<dyn Disk>,
    clock: SharedClock,
    config: Config,
    metrics: Metrics,
    progress: &Progress,
) -> Result<(Engine, Arc<Shared>, Vec<Damage>), OpenError> {
    let bucket = objects::connect(&config.objects)?;
    open_with_bucket(disk, clock, (config, bucket), metrics, progress)
}

/// As [`open`], with a bucket in hand.
pub fn open_with_bucket(
    disk: Arc<dyn Disk>,
    clock: SharedClock,
    (config, bucket): (Config, Option<Arc<dyn Bucket>>),
    metrics: Metrics,
    progress: &Progress,
) -> Result<(Engine, Arc<Shared>, Vec<Damage>), OpenError> {
    for dir in [wal::DIR, path::DIR] {
        disk::create_dir_synced(&*disk, dir).map_err(io(format!("create the folder {dir}")))?;
    }
    let (mut manifest, wrong) = Manifest::read(&*disk)?;
    let standing = match wrong {
        Some(wrong) => mend_manifest(&*disk, &manifest, &wrong)?,
        None => Standing::Whole,
    };
    // A process that was killed may have left a copy of the manifest whose name is not on disk yet;
    // the log that it covers is only cut once it is, or a power cut would bring back an older one.
    disk.sync_dir(path::DIR).map_err(io("sync the folder of the manifest"))?;
    let descriptions = read_descriptions(&*disk)?;
    let totals = read_totals(&*disk)?;
    let unknown = deletion::attach(&*disk, manifest.files.iter_mut().map(Arc::make_mut));
    let objects = Objects::open(objects::Parts {
        local: Arc::clone(&disk),
        clock: Arc::clone(&clock),
        config: &config.objects,
        bucket,
        metrics: metrics.objects.clone(),
        files: &manifest.files,
    });
    let objects = objects.map_err(io("read what is known of object storage"))?;
    let disk: Arc<dyn Disk> = match &objects {
        Some(objects) => Arc::new(Tiered::new(disk, Arc::clone(objects) as Arc<dyn objects::Far>)),
        None => disk,
    };
    let files = Arc::new(files_of(&manifest));
    let open = Arc::new(Generation::new(manifest.generation + 1, 0, clock.monotonic_ns()));
    let footers = footers(&config, &metrics);
    let shared = Arc::new(Shared {
        disk,
        clock,
        age_clock: Mutex::default(),
        config,
        commons: CommonsTable::new(metrics.series.clone(), metrics.held_series.clone()),
        metrics,
        raw_keys: RwLock::default(),
        wants_retirement: AtomicBool::new(false),
        version: RwLock::new(Version { files: Arc::clone(&files), sealed: Vec::new(), open }),
        manifest: Mutex::new(manifest),
        standing: Mutex::new(standing),
        doomed: Mutex::default(),
        damaged: RwLock::default(),
        lost: OnceLock::new(),
        descriptions,
        totals_changed: AtomicBool::new(false),
        footers,
        flushed: Notify::new(),
        is_stopping: AtomicBool::new(false),
        give_way_until_ns: AtomicU64::new(0),
        objects,
    });
    shared.note_files(&files);
    unknown.iter().for_each(|(path, reason)| shared.mark_damaged(path, reason));
    flush::cut_log(&shared);
    retain::remove_doomed(&shared);
    backup::remove_cut_short(&*shared.disk);
    if shared.may_remove() {
        let manifest = shared.manifest.lock();
        deletion::remove_strays(&*shared.disk, &manifest).map_err(io("remove old deletions"))?;
    }
    deltas::file::restore(&shared, totals);
    let replayed = Replay::run(&shared, progress)?;
    // What the log no longer says in full, a flush cut short may.
    let first_generation = replayed.first_generation.filter(|_| replayed.damage.is_empty());
    set_orphans_aside(&shared, first_generation)?;
    let generation = Arc::clone(&shared.version.read().open);
    let segment = first_segment(&shared, replayed.last_segment + 1, generation.number)?;
    generation.last_segment.store(segment.number(), Ordering::SeqCst);
    shared.metrics.wal_damage.inc_by(replayed.damage.len() as u64);
    shared.note_lost(lost_segments(&*shared.disk)?);
    let engine = Engine::new(Arc::clone(&shared), segment, replayed.last_group + 1);
    Ok((engine, shared, replayed.damage))
}

/// Returns empty caches of what is read of files.
fn footers(config: &Config, metrics: &Metrics) -> Footers {
    let bytes = |size: HumanSize| usize::try_from(size.0).unwrap_or(usize::MAX);
    let of = |cache| Counted::new(cache, &metrics.cache_bytes, &metrics.cache_lookups);
    Footers::new(
        SeriesCache::new(bytes(config.series_cache), of("series")),
        SampleCache::new(bytes(config.sample_cache), of("samples")),
        GroupCache::new(bytes(config.grams_cache), of("grams")),
        GroupCache::new(bytes(config.streams_cache), of("streams")),
        GroupCache::new(bytes(config.values_cache), of("values")),
    )
}

/// Makes the segment that is written to, or leaves that for later when the disk is full: questions
/// are answered meanwhile, and writes refused until there is space.
fn first_segment(shared: &Shared, number: u64, generation: u64) -> Result<Segment, OpenError> {
    match Segment::create(&*shared.disk, number, generation, shared.config.segment_ahead.0) {
        Err(WalError::Full) => {
            error!("the disk is full: writes are refused until space is freed, queries go on");
            shared.metrics.disk_full.set(1);
            Ok(Segment::later(number))
        }
        made => Ok(made?),
    }
}

/// Returns what is known of metrics; a damaged file is set aside, and senders say it all again.
fn read_descriptions(disk: &dyn Disk) -> Result<Descriptions, OpenError> {
    match Descriptions::read(disk).map_err(io(format!("read {}", descriptions::FILE)))? {
        Ok(read) => Ok(read),
        Err(reason) => {
            warn!(path = descriptions::FILE, reason, "the descriptions of metrics are damaged");
            set_aside(disk, descriptions::FILE)?;
            Ok(Descriptions::default())
        }
    }
}

/// Returns what differences were added up to; a damaged file is set aside, and counting begins anew.
fn read_totals(disk: &dyn Disk) -> Result<Vec<deltas::file::OfCommons>, OpenError> {
    let path = deltas::file::FILE;
    match deltas::file::read(disk).map_err(io(format!("read {path}")))? {
        Ok(read) => Ok(read),
        Err(reason) => {
            warn!(path, reason, "what deltas were added up to is damaged: counting begins anew");
            set_aside(disk, path)?;
            disk.remove(path).map_err(io(format!("set {path} aside")))?;
            Ok(Vec::new())
        }
    }
}

/// Sets what is damaged aside, and makes two good ones of the good one if there is room for it.
fn mend_manifest(
    disk: &dyn Disk,
    manifest: &Manifest,
    wrong: &Wrong,
) -> Result<Standing, OpenError> {
    if let Wrong { path, damage: Some(reason) } = wrong {
        error!(path, reason, "the manifest is damaged; the other one takes its place");
        set_aside(disk, path)?;
    }
    match manifest.write(disk) {
        Err(error) if error.is_full() && wrong.damage.is_none() => {
            warn!(path = wrong.path, "the disk is full: the manifest's copy stays as it is");
            Ok(if wrong.path == catalog::COPY { Standing::CopyBehind } else { Standing::CopyOnly })
        }
        written => Ok(written?),
    }
}

/// Returns the files of damaged log segments that were set aside, now or by an earlier process. What
/// they held and no frame could be made of is missing until someone has dealt with it.
fn lost_segments(disk: &dyn Disk) -> Result<Vec<String>, OpenError> {
    let mut names = disk.list(QUARANTINE).map_err(io("list the quarantine"))?;
    names.retain(|name| name.starts_with("wal%") && !name.ends_with(".tmp"));
    names.sort_unstable();
    Ok(names.into_iter().map(|name| format!("{QUARANTINE}/{name}")).collect())
}

fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> OpenError {
    let action = action.into();
    move |source| OpenError::Io { action, source }
}

/// What the log held.
struct Replay {
    last_segment: u64,
    last_group: u64,
    first_generation: Option<u64>,
    damage: Vec<Damage>,
}

impl Replay {
    fn run(shared: &Arc<Shared>, progress: &Progress) -> Result<Self, OpenError> {
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

/// Deals with Parquet files that no manifest lists. Those of a generation that the log still holds
/// are the rest of a flush under way at the crash, and are removed; so is the rest of a merge, as long
/// as what it was made of is whole. Any other is set aside, because neither a lost manifest nor damage
/// must cost the files.
fn set_orphans_aside(shared: &Shared, first_replayed: Option<u64>) -> Result<(), OpenError> {
    let (listed, doomed): (Listed, HashSet<String>) = {
        let manifest = shared.manifest.lock();
        let files = manifest.files.iter().map(|file| (file.path.clone(), Arc::clone(file)));
        (files.collect(), manifest.doomed.iter().cloned().collect())
    };
    for file in parquet_files(&*shared.disk, path::DIR).map_err(io("list the Parquet files"))? {
        // The doomed are removed once nothing needs them.
        if listed.contains_key(&file) || doomed.contains(&file) {
            continue;
        }
        if path::is_merged(&file) && is_whole_elsewhere(&*shared.disk, &file, &listed) {
            shared.disk.remove(&file).map_err(io(format!("remove {file}")))?;
            continue;
        }
        let name = file.rsplit('/').next().unwrap_or(&file);
        let generation = name.split('-').next().and_then(|text| u64::from_str_radix(text, 16).ok());
        let is_replayed = !path::is_merged(&file)
            && matches!((generation, first_replayed), (Some(g), Some(first)) if g >= first);
        if is_replayed || name.ends_with(".tmp") {
            info!(file, "removed the rest of a flush that was cut short");
            shared.disk.remove(&file).map_err(io(format!("remove {file}")))?;
        } else {
            match set_aside(&*shared.disk, &file) {
                Err(OpenError::Io { source, .. }) if disk::is_full(&source) => {
                    warn!(
                        file,
                        "no manifest lists this file, and there is no room to set it aside"
                    );
                }
                done => done?,
            }
        }
    }
    Ok(())
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

fn set_aside(disk: &dyn Disk, file: &str) -> Result<(), OpenError> {
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

pub(super) fn parquet_files(disk: &dyn Disk, dir: &str) -> std::io::Result<Vec<String>> {
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
