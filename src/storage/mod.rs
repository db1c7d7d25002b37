//! Every byte on disk, and nothing else knows where.
//!
//! *Acknowledged means synced; visible means acknowledged; cut means catalogued.*
//!
//! One generation of the head belongs to one run of log segments. A batch is framed into the log,
//! synced together with all that waits, put into the open generation and answered. When the
//! generation is old or large it is sealed: a new one opens with a new log segment, the sealed one
//! is written as Parquet, one commons and day a file, and published in the catalog together with
//! "covers the log up to generation N"; then those segments are cut. A reader holds a `Snapshot`:
//! the files and generations of one moment, so a row is seen exactly once. Series live longer than
//! generations, and leave once they have been idle (`retire`).

mod apply;
pub mod backup;
pub mod catalog;
pub mod compact;
pub mod config;
pub mod deletion;
pub mod deltas;
pub mod descriptions;
pub mod disk;
pub mod engine;
mod error;
pub mod exemplars;
pub mod files;
pub mod flush;
pub mod head;
pub mod keeper;
mod known_before;
pub mod logs;
pub mod metrics;
mod missing;
pub mod objects;
pub mod open;
pub mod retain;
pub mod retire;
mod selections;
mod scan;
pub mod shared;
pub mod snapshot;
mod spill;
pub mod snapshot_spans;
pub mod state;
mod stop;
pub mod wal;
pub mod writer;

use std::sync::Arc;

use arrow::array::RecordBatch;
use tokio::sync::{mpsc, oneshot};

use crate::base::clock::SharedClock;
use crate::model::labels::OVERFLOW;
use crate::model::{
    Commons, Description, ExpHistogram, Labels, Matcher, ReadScope, SeriesMeta, Signal,
};

pub use backup::{BackupError, Taken};
pub use config::Config;
pub use deletion::{DeleteError, DeleteRequest, Judge, Receipt};
pub use deltas::{Delta, Difference, LeftOut};
pub use descriptions::Described;
pub use disk::{Disk, RealDisk};
pub use error::{AppendError, ReadError, RegisterError};
pub use exemplars::ExemplarRequest;
pub use files::checked::{Checked, Seal};
pub use files::deleted::{DeletedRows, Live};
pub use files::grams::LineNeed;
pub use files::group_series::Menu;
pub use files::read_spans::{SpanRange, SpanRows, SpanSift};
pub use files::stream_rows::{StreamCount, StreamRows};
pub use head::raw_keys::Epoch;
pub use keeper::Keeper;
pub use logs::{LogCursor, LogPiece, LogsWanted, narrow_file};
pub use metrics::Metrics;
pub use open::{OpenError, Progress};
pub use retain::KeepRule;
pub use scan::{Scan, stored_samples};
pub use snapshot::{FILE_BYTES_MAX, Snapshot, family};
pub use snapshot_spans::{Looked, TraceRequest};
pub use state::{StateChange, StateError, StateMetrics, StateStore};
pub use stop::Stop;
pub use writer::{Fatal, Flusher, Writer};

use head::registry::Registry;
use shared::Shared;
use writer::Request;

/// Names a registered series of one commons. It is good for the request that looked it up and no
/// longer: the series may leave, and another one come to its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeriesRef {
    /// Index of the commons in storage's table.
    pub commons_idx: u32,
    /// Index of the series in its commons.
    pub series_idx: u32,
}

/// Rows of one commons and one signal, as one log frame holds them.
#[derive(Debug, Clone)]
pub enum Part {
    /// Float samples; the three columns have one length.
    Samples {
        /// The commons' index, as in [`SeriesRef`].
        commons_idx: u32,
        /// When the earliest of the series was looked up.
        epoch: Epoch,
        /// The series' indexes.
        series_idx: Vec<u32>,
        /// ms since 1970 UTC.
        timestamps_ms: Vec<i64>,
        /// Values, NaN payloads untouched.
        values: Vec<f64>,
        /// Since when each counts, ns since 1970 UTC, 0 where its sender does not say; empty when none
        /// does.
        starts_ns: Vec<i64>,
    },
    /// Differences, to be added up to totals.
    Deltas {
        /// The commons' index, as in [`SeriesRef`].
        commons_idx: u32,
        /// When the earliest of the series was looked up.
        epoch: Epoch,
        /// The differences, in the order in which they came.
        deltas: Vec<Delta>,
        /// Told of those that cannot be added, once the part is stored.
        left_out: Arc<LeftOut>,
    },
    /// Exponential histograms: (series index, ms since 1970 UTC, histogram).
    ExpHistograms {
        /// The commons' index, as in [`SeriesRef`].
        commons_idx: u32,
        /// When the earliest of the series was looked up.
        epoch: Epoch,
        /// The points.
        points: Vec<(u32, i64, ExpHistogram)>,
    },
    /// Log records, schema `model::log::schema()`.
    Logs {
        /// The commons.
        commons: Commons,
        /// The rows in arrival order.
        batch: RecordBatch,
    },
    /// Spans, schema `model::span::schema()`.
    Spans {
        /// The commons.
        commons: Commons,
        /// The rows in arrival order.
        batch: RecordBatch,
    },
    /// Exemplars, schema `model::exemplar::schema()`.
    Exemplars {
        /// The commons.
        commons: Commons,
        /// The rows in arrival order.
        batch: RecordBatch,
    },
    /// Data points as they were sent, schema `model::point::schema()`.
    Points {
        /// The commons.
        commons: Commons,
        /// The rows in arrival order.
        batch: RecordBatch,
    },
    /// What senders say of metrics.
    Descriptions {
        /// The commons.
        commons: Commons,
        /// Metrics with type, unit and help.
        described: Vec<Described>,
    },
}

/// Which series to read.
#[derive(Debug, Clone)]
pub struct SeriesRequest<'a> {
    /// All must match; `commons`, `service`, `env` and `cluster` are labels like any other.
    pub matchers: &'a [Matcher],
    /// First ms wanted, inclusive.
    pub start_ms: i64,
    /// Last ms wanted, inclusive.
    pub end_ms: i64,
    /// At most this many samples (`query.samples_max`).
    pub samples_max: usize,
    /// At most this many series (`query.series_max`).
    pub series_max: usize,
}

/// A live Parquet file.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FileEntry {
    /// Path below the data directory, `/`-separated.
    pub path: String,
    /// The signal.
    pub signal: Signal,
    /// The one commons whose rows it holds.
    pub commons: Commons,
    /// Days since 1970 UTC.
    pub day: i32,
    /// Rows.
    pub n_rows: u64,
    /// Size of the file.
    pub size_bytes: u64,
    /// Earliest row, ns since 1970 UTC.
    pub min_ns: i64,
    /// Latest row, ns since 1970 UTC.
    pub max_ns: i64,
    /// True when the file has the `exp_*` columns.
    pub has_exp: bool,
    /// The checksum of its end, from which all others follow; none in files of before there was one.
    #[serde(default)]
    pub seal: Option<Seal>,
    /// The deletions that took rows of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deletions: Vec<u64>,
    /// What this process knows of it.
    #[serde(skip)]
    pub live: Live,
}

/// What a scan of the head wants; all `None` means everything.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct HeadFilter {
    /// Only rows at or after, ns since 1970 UTC.
    pub min_ns: Option<i64>,
    /// Only rows at or before, ns since 1970 UTC.
    pub max_ns: Option<i64>,
    /// Only this commons.
    pub commons: Option<Commons>,
    /// Only this metric.
    pub metric: Option<String>,
}

/// Rows of one commons from the head.
#[derive(Debug, Clone)]
pub struct HeadBatch {
    /// The commons.
    pub commons: Commons,
    /// Rows in the signal's schema (metrics: `model::metric::exp_schema()`).
    pub batch: RecordBatch,
}

/// The store; cloning costs one counter.
#[derive(Debug, Clone)]
pub struct Storage {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    keeper: keeper::Asker,
}

/// A store with the two threads that it needs, not yet running.
#[derive(Debug)]
pub struct Opened {
    /// The handle for everyone else.
    pub storage: Storage,
    /// Writes the log and the head.
    pub writer: Writer,
    /// Turns sealed generations into files.
    pub flusher: Flusher,
    /// Merges and retires files.
    pub keeper: Keeper,
    /// Uploads files to object storage, where that is set.
    pub shipper: Option<objects::Shipper>,
    /// Acknowledged bytes of the log that could not be read back.
    pub damage: Vec<wal::replay::Damage>,
}

/// Requests waiting for the writer; bytes in flight are bounded at the door.
const QUEUE_REQUESTS: usize = 1024;

impl Storage {
    /// Opens a data directory and replays its log; this takes as long as the log is large.
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: SharedClock,
        config: Config,
        metrics: Metrics,
        progress: &Progress,
    ) -> Result<Opened, OpenError> {
        let (engine, shared, damage) = open::open(disk, clock, config, metrics, progress)?;
        let (waker, woken) = objects::Waker::new();
        let shipper = shared
            .objects
            .clone()
            .map(|objects| objects::Shipper::new(Arc::clone(&shared), objects, woken));
        let (requests, inbox) = mpsc::channel(QUEUE_REQUESTS);
        let (sealed_sender, sealed) = mpsc::channel(1);
        let (asker, told) = keeper::Asker::new();
        let writer = Writer { engine, shared: Arc::clone(&shared), inbox, sealed: sealed_sender };
        let flusher = Flusher {
            shared: Arc::clone(&shared),
            sealed,
            keeper: asker.clone(),
            shipper: waker.clone(),
        };
        let keeper = Keeper::new(Arc::clone(&shared), told).waking(waker);
        let storage = Storage { shared, requests, keeper: asker };
        Ok(Opened { storage, writer, flusher, keeper, shipper, damage })
    }

    /// Returns the index of a commons, adding it when it is new.
    pub fn commons_idx(&self, commons: &Commons) -> u32 {
        self.shared.commons.index_of(commons)
    }

    /// Returns the name of a commons by its index, as in [`SeriesRef`].
    pub fn commons(&self, commons_idx: u32) -> Commons {
        self.shared.commons.get(commons_idx).name.clone()
    }

    /// Returns true when a commons is known, or there are fewer than `max`.
    pub fn admits(&self, commons: &Commons, max: usize) -> bool {
        self.shared.commons.admits(commons, max)
    }

    /// Looks up series by the hash of their raw bytes; `out` gets one entry a key. The epoch goes
    /// with the parts made of them, and of what is registered after.
    pub fn lookup(&self, keys: &[u128], out: &mut Vec<Option<SeriesRef>>) -> Epoch {
        let raw_keys = self.shared.raw_keys.read();
        out.extend(keys.iter().map(|&key| raw_keys.get(key)));
        raw_keys.epoch()
    }

    /// Returns the labels of a series that was looked up in an epoch, and the rule that placed it;
    /// `None` when it has left.
    pub fn labels_of(&self, series: SeriesRef, epoch: Epoch) -> Option<(Labels, Arc<str>)> {
        let entry = self.shared.commons.get(series.commons_idx);
        let registry = entry.registry.read();
        registry.is_valid(series.series_idx, epoch).then(|| {
            let labels = registry.series(series.series_idx).labels.clone();
            (labels, Arc::clone(&registry.meta(series.series_idx).tag_rule))
        })
    }

    /// Returns true when this is not what is known of a metric already.
    pub fn is_news(&self, commons: &Commons, metric: &str, description: &Description) -> bool {
        self.shared.descriptions.is_news(commons, metric, description)
    }

    /// Returns the commons that have an active series of one of these metrics.
    pub fn commons_with(&self, metrics: &[String]) -> Vec<Commons> {
        let all = self.shared.commons.all();
        let has_one = |entry: &&Arc<head::CommonsEntry>| {
            let registry = entry.registry.read();
            metrics.iter().any(|metric| registry.n_of_metric(metric) > 0)
        };
        all.iter().filter(has_one).map(|entry| entry.name.clone()).collect()
    }

    /// Returns what is known of a metric of a commons.
    pub fn description(&self, commons: &Commons, metric: &str) -> Option<Description> {
        self.shared.descriptions.get(commons, metric)
    }

    /// Registers a series under its raw hash, or returns the one that has these labels already.
    pub fn register(
        &self,
        key: u128,
        commons: &Commons,
        labels: &Labels,
        meta: &SeriesMeta,
    ) -> Result<SeriesRef, RegisterError> {
        let commons_idx = self.shared.commons.index_of(commons);
        let entry = self.shared.commons.get(commons_idx);
        let now_s = retire::seconds(self.shared.clock.monotonic_ns());
        {
            // Most that are refused are refused here, where they keep nobody waiting.
            let registry = entry.registry.read();
            if self.is_full(&registry, labels) && registry.find(labels).is_none() {
                return Err(self.refuse(&registry, commons, labels.metric()));
            }
        }
        let mut registry = entry.registry.write();
        let series_idx = match registry.find(labels) {
            Some(series_idx) => {
                registry.touch(series_idx, now_s);
                series_idx
            }
            None if self.is_full(&registry, labels) => {
                return Err(self.refuse(&registry, commons, labels.metric()));
            }
            None => {
                let series_idx = registry.insert(labels, meta, now_s);
                entry.note_len(&registry);
                series_idx
            }
        };
        let series = SeriesRef { commons_idx, series_idx };
        // Under the registry's lock, so that the series cannot leave in between.
        let mut raw_keys = self.shared.raw_keys.write();
        if raw_keys.insert(key, series)
            && let Some(forgotten) = registry.add_key(series_idx, key)
        {
            raw_keys.remove(forgotten, series);
        }
        Ok(series)
    }

    fn is_full(&self, registry: &Registry, labels: &Labels) -> bool {
        let config = &self.shared.config;
        let metric = labels.metric();
        if labels.get(OVERFLOW).is_some() {
            // It stands for those that found no room.
            return registry.n_overflow() >= OVERFLOW_SERIES_MAX;
        }
        let is_full = registry.n_places() >= config.series_per_commons
            || registry.n_places_of_metric(metric) >= config.series_per_metric;
        is_full && !registry.is_held(labels)
    }

    fn refuse(&self, registry: &Registry, commons: &Commons, metric: &str) -> RegisterError {
        let config = &self.shared.config;
        let (commons, max) = (commons.clone(), config.series_per_commons);
        let error = if registry.n_places() >= max {
            RegisterError::TooManySeries { commons, max }
        } else {
            let (metric, max) = (metric.to_owned(), config.series_per_metric);
            RegisterError::TooManyOfMetric { commons, metric, max }
        };
        self.shared.metrics.refused_series(error.commons(), error.limit()).inc();
        error
    }

    /// Stores the parts of one request: when this returns `Ok` they are synced and visible.
    ///
    /// Past the firm mark this waits a little for memory; past the hard one it refuses at once.
    pub async fn append(&self, parts: Vec<Part>) -> Result<(), AppendError> {
        if parts.is_empty() {
            return Ok(());
        }
        self.wait_for_memory().await?;
        let (done, answer) = oneshot::channel();
        self.shared.metrics.queue_requests.inc();
        let sent = self.requests.send(Request::Append { parts, done }).await;
        let answer = if sent.is_ok() { answer.await } else { Ok(Err(AppendError::Stopping)) };
        self.shared.metrics.queue_requests.dec();
        // A writer that is gone has not acknowledged, so neither do we.
        answer.unwrap_or(Err(AppendError::Stopping))
    }

    async fn wait_for_memory(&self) -> Result<(), AppendError> {
        let config = &self.shared.config;
        let flushed = self.shared.flushed.notified();
        let used_bytes = self.shared.version.read().head_bytes();
        if used_bytes < config.head_firm.0 {
            return Ok(());
        }
        let refuse = |used_bytes, mark: &str| {
            self.shared.metrics.pressure.get_or_create(&[("mark", mark.to_owned())]).inc();
            AppendError::Overloaded {
                used_bytes,
                max_bytes: config.head_hard.0,
                retry_after_s: RETRY_AFTER_S,
            }
        };
        if used_bytes >= config.head_hard.0 {
            return Err(refuse(used_bytes, "hard"));
        }
        self.shared.metrics.pressure.get_or_create(&[("mark", "firm".to_owned())]).inc();
        // Whether or not a flush has ended by then, memory below the hard mark is there to be used.
        drop(tokio::time::timeout(config.firm_wait.0, flushed).await);
        let used_bytes = self.shared.version.read().head_bytes();
        if used_bytes >= config.head_hard.0 { Err(refuse(used_bytes, "hard")) } else { Ok(()) }
    }

    /// Seals what is in memory and waits until it is in files, or until `deadline`.
    pub async fn flush(&self, deadline: std::time::Duration) -> bool {
        let (done, sealed) = oneshot::channel();
        let flush = async {
            if self.requests.send(Request::Seal { done }).await.is_err() || sealed.await.is_err() {
                return false;
            }
            // Under load there is always a generation on its way; what matters are those of before.
            let next = self.shared.version.read().open.number;
            loop {
                let flushed = self.shared.flushed.notified();
                if self.shared.version.read().sealed.iter().all(|one| one.number >= next) {
                    return true;
                }
                flushed.await;
            }
        };
        tokio::time::timeout(deadline, flush).await.unwrap_or(false)
    }

    /// Takes rows out of all answers, of the commons in the scope; what is in memory goes to files
    /// first, so that what was acknowledged before is found.
    pub async fn delete(
        &self,
        scope: &ReadScope,
        request: DeleteRequest,
    ) -> Result<Receipt, DeleteError> {
        if !self.flush(KEEPER_FLUSH).await {
            return Err(DeleteError::Unflushed);
        }
        let scope = scope.clone();
        self.keeper.ask(move |shared| deletion::delete(shared, &scope, request)).await?
    }

    /// Returns the receipts of deletions that a caller of this scope may know of, oldest first.
    pub fn deletions(&self, scope: &ReadScope) -> Vec<Receipt> {
        let manifest = self.shared.manifest.lock();
        let known = manifest.deletions.iter().filter(|r| deletion::may_know(scope, r));
        known.cloned().collect()
    }

    /// Takes a deletion back.
    pub async fn cancel_deletion(
        &self,
        scope: &ReadScope,
        id: u64,
        by: &str,
    ) -> Result<Receipt, DeleteError> {
        let (scope, by) = (scope.clone(), by.to_owned());
        self.keeper.ask(move |shared| deletion::cancel(shared, &scope, id, &by)).await?
    }

    /// Lets the bytes of all deletions in the scope go at once; returns when the files were written
    /// anew without them.
    pub async fn erase_deleted(&self, scope: &ReadScope) -> Result<(), DeleteError> {
        let scope = scope.clone();
        self.keeper.ask(move |shared| deletion::ripen(shared, &scope)).await??;
        // The keeper writes a file at least before it does what it is asked next. One that it cannot
        // write stays, and the receipt says so.
        let mut n_left = usize::MAX;
        loop {
            let n_now = self.keeper.ask(|shared| Ok(deletion::n_to_write_anew(shared))).await?;
            if n_now == 0 || n_now >= n_left {
                return Ok(());
            }
            n_left = n_now;
        }
    }

    /// Links all live files into `snapshots/<name>`; what is in memory goes to files first. When this is
    /// dropped before its end, nothing stays there. See [`backup::is_name`] for the name.
    pub async fn take_snapshot(&self, name: &str) -> Result<Taken, BackupError> {
        if !self.flush(KEEPER_FLUSH).await {
            return Err(BackupError::Unflushed);
        }
        let name = name.to_owned();
        let asked = Arc::new(());
        let asking = Arc::downgrade(&asked);
        let is_wanted = move || asking.strong_count() > 0;
        let taken =
            self.keeper.ask(move |shared| Ok(backup::take(shared, &name, &is_wanted))).await;
        drop(asked);
        taken?
    }

    /// Says that the process is stopping: a failing flush is not tried again.
    pub fn stopping(&self) {
        self.shared.is_stopping.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    /// Returns what a caller of this scope may read now.
    pub fn snapshot(&self, scope: &ReadScope) -> Snapshot {
        Snapshot::new(Arc::clone(&self.shared), scope.clone())
    }

    /// Returns the disk, for readers of whole files.
    pub fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.shared.disk)
    }

    /// Returns how many series each commons has of each value of a label.
    pub fn series_by(&self, label: &str) -> Vec<(Commons, String, usize)> {
        let mut all = Vec::new();
        for entry in self.shared.commons.all() {
            let registry = entry.registry.read();
            let counts = registry.counts(label);
            all.extend(counts.map(|(value, n)| (entry.name.clone(), value.to_owned(), n)));
        }
        all
    }

    /// Has merging give way for a moment: senders are told to come back.
    pub fn give_way(&self) {
        let until_ns = self.shared.clock.monotonic_ns().saturating_add(GIVE_WAY_NS);
        self.shared.give_way_until_ns.store(until_ns, std::sync::atomic::Ordering::Relaxed);
    }

    /// Refreshes the gauges of the memory that series take, and of differences; called now and then.
    pub fn note_series(&self) {
        let mut n_bytes = self.shared.raw_keys.read().size_bytes();
        for entry in self.shared.commons.all() {
            n_bytes += entry.registry.read().size_bytes();
        }
        self.shared.metrics.series_bytes.set(i64::try_from(n_bytes).unwrap_or(i64::MAX));
        let n_totals: usize = self.shared.commons.all().iter().map(|e| e.totals.lock().len()).sum();
        self.shared.metrics.delta_series.set(i64::try_from(n_totals).unwrap_or(i64::MAX));
    }
}

/// For how long merging gives way after the last time that it was asked to.
const GIVE_WAY_NS: u64 = 2_000_000_000;

/// The most series of a commons that stand for others, one a metric.
const OVERFLOW_SERIES_MAX: usize = 1_000;

/// How long a deletion or a snapshot waits until what is in memory is in files.
const KEEPER_FLUSH: std::time::Duration = std::time::Duration::from_secs(120);

/// When a sender that was refused for memory should come back.
const RETRY_AFTER_S: u32 = 5;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod crash_states;
#[cfg(test)]
mod tests;
