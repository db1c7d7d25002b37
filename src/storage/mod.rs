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

mod append;
mod apply;
pub mod backup;
mod by_keeper;
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
mod series;
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
use tokio::sync::mpsc;

use crate::base::clock::SharedClock;
use crate::model::{Commons, Description, ExpHistogram, Matcher, ReadScope, Signal};

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

    /// Returns true when this is not what is known of a metric already.
    pub fn is_news(&self, commons: &Commons, metric: &str, description: &Description) -> bool {
        self.shared.descriptions.is_news(commons, metric, description)
    }

    /// Returns what is known of a metric of a commons.
    pub fn description(&self, commons: &Commons, metric: &str) -> Option<Description> {
        self.shared.descriptions.get(commons, metric)
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

    /// Has merging give way for a moment: senders are told to come back.
    pub fn give_way(&self) {
        let until_ns = self.shared.clock.monotonic_ns().saturating_add(GIVE_WAY_NS);
        self.shared.give_way_until_ns.store(until_ns, std::sync::atomic::Ordering::Relaxed);
    }
}

/// For how long merging gives way after the last time that it was asked to.
const GIVE_WAY_NS: u64 = 2_000_000_000;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod crash_states;
#[cfg(test)]
mod tests;
