//! Start: read the manifest, put aside what it does not know, replay the log it does not cover.

mod aside;
mod replay;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tracing::{error, warn};

use super::backup;
use super::catalog::{self, CatalogError, Manifest, Standing, Wrong};
use super::config::Config;
use super::deletion;
use super::deltas;
use super::descriptions::{self, Descriptions};
use super::disk::{self, Disk};
use super::engine::Engine;
use super::files::group_series::SeriesCache;
use super::files::of_groups::{Counted, GroupCache};
use super::files::path;
use super::files::read::Footers;
use super::files::sample_cache::SampleCache;
use super::flush::{self, FlushError};
use super::head::{CommonsTable, Generation};
use super::metrics::Metrics;
use super::objects::{self, Bucket, Objects, Tiered};
use super::retain;
use super::shared::{Shared, Version, files_of};
use super::wal;
use super::wal::replay::Damage;
use super::wal::segment::{Segment, WalError};
use crate::base::clock::SharedClock;
use crate::base::units::HumanSize;
use aside::{lost_segments, set_aside, set_orphans_aside};
use replay::Replay;

pub(super) use aside::{QUARANTINE, parquet_files};

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
    let mut known = Known::read(&*disk)?;
    let totals = read_totals(&*disk)?;
    let files = known.manifest.files.iter_mut();
    let unknown = deletion::attach(&*disk, files.map(Arc::make_mut));
    let objects = Objects::open(objects::Parts {
        local: Arc::clone(&disk),
        clock: Arc::clone(&clock),
        config: &config.objects,
        bucket,
        metrics: metrics.objects.clone(),
        files: &known.manifest.files,
    });
    let objects = objects.map_err(io("read what is known of object storage"))?;
    let shared = Arc::new(known.shared((disk, objects), clock, config, metrics));
    unknown.iter().for_each(|(path, reason)| shared.mark_damaged(path, reason));
    remove_leftovers(&shared)?;
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

/// What the data directory says of itself.
struct Known {
    manifest: Manifest,
    standing: Standing,
    descriptions: Descriptions,
}

impl Known {
    fn read(disk: &dyn Disk) -> Result<Self, OpenError> {
        let (manifest, wrong) = Manifest::read(disk)?;
        let standing = match wrong {
            Some(wrong) => mend_manifest(disk, &manifest, &wrong)?,
            None => Standing::Whole,
        };
        // A process that was killed may have left a copy of the manifest whose name is not on disk
        // yet; the log that it covers is only cut once it is, or a power cut would bring back an
        // older one.
        disk.sync_dir(path::DIR).map_err(io("sync the folder of the manifest"))?;
        Ok(Self { manifest, standing, descriptions: read_descriptions(disk)? })
    }

    /// Returns what all that works on the store shares.
    fn shared(
        self,
        (disk, objects): (Arc<dyn Disk>, Option<Arc<Objects>>),
        clock: SharedClock,
        config: Config,
        metrics: Metrics,
    ) -> Shared {
        let Self { manifest, standing, descriptions } = self;
        let disk: Arc<dyn Disk> = match &objects {
            Some(far) => Arc::new(Tiered::new(disk, Arc::clone(far) as Arc<dyn objects::Far>)),
            None => disk,
        };
        let files = Arc::new(files_of(&manifest));
        let open = Arc::new(Generation::new(manifest.generation + 1, 0, clock.monotonic_ns()));
        let footers = footers(&config, &metrics);
        let shared = Shared {
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
        };
        shared.note_files(&files);
        shared
    }
}

/// Removes what an earlier process was about to remove.
fn remove_leftovers(shared: &Shared) -> Result<(), OpenError> {
    flush::cut_log(shared);
    retain::remove_doomed(shared);
    backup::remove_cut_short(&*shared.disk);
    if shared.may_remove() {
        let manifest = shared.manifest.lock();
        deletion::remove_strays(&*shared.disk, &manifest).map_err(io("remove old deletions"))?;
    }
    Ok(())
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

fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> OpenError {
    let action = action.into();
    move |source| OpenError::Io { action, source }
}
