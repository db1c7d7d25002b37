//! Every byte on disk, and nothing else knows where.
//!
//! *Acknowledged means synced; visible means acknowledged; cut means catalogued.*
//!
//! One generation of the head belongs to one run of log segments. A batch is framed into the log,
//! synced together with all that waits, put into the open generation and answered. When the
//! generation is old or large it is sealed: a new one opens with a new log segment, the sealed one
//! is written as Parquet, one commons and day a file, and published in the catalog together with
//! "covers the log up to generation N"; then those segments are cut. A reader holds a `Snapshot`:
//! the files and generations of one moment, so a row is seen exactly once.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::model::{
    Commons, ExpHistogram, Labels, Matcher, ReadScope, SeriesData, SeriesMeta, Signal,
};

/// Names a registered series of one commons.
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
        /// The series' indexes.
        series_idx: Vec<u32>,
        /// ms since 1970 UTC.
        timestamps_ms: Vec<i64>,
        /// Values, NaN payloads untouched.
        values: Vec<f64>,
    },
    /// Exponential histograms: (series index, ms since 1970 UTC, histogram).
    ExpHistograms {
        /// The commons' index, as in [`SeriesRef`].
        commons_idx: u32,
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
}

/// Why a batch was not stored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The hard memory mark is passed; come back after `retry_after_s`.
    #[error(
        "the head holds {used_bytes} of {max_bytes} bytes (storage.head_hard): retry in {retry_after_s} s"
    )]
    Overloaded {
        /// Bytes in the head.
        used_bytes: u64,
        /// The mark.
        max_bytes: u64,
        /// When to come back.
        retry_after_s: u32,
    },
    /// The disk is full; nothing was stored, and writing resumes by itself.
    #[error("the disk is full: nothing can be stored until space is freed")]
    DiskFull,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// A series was removed for idleness between lookup and append; sending again registers it.
    #[error("a series was retired while the request was under way: send it again")]
    SeriesRetired,
}

/// Why a series was not registered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegisterError {
    /// The commons has as many series as it may.
    #[error(
        "commons {commons} has {max} active series, the most it may (limits.series_per_commons)"
    )]
    TooManySeries {
        /// The commons.
        commons: Commons,
        /// The limit.
        max: usize,
    },
}

/// Why reading failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// More than a limit of the query.
    #[error("the query reads more than {max} {what} ({limit})")]
    Limit {
        /// `samples` or `series`.
        what: &'static str,
        /// The limit's value.
        max: usize,
        /// The limit's name in the configuration.
        limit: &'static str,
    },
    /// A file could not be read.
    #[error("cannot read {path}")]
    File {
        /// The file's path below the data directory.
        path: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
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
    /// At most this many samples (`limits.query_samples`).
    pub samples_max: usize,
    /// At most this many series (`limits.query_series`).
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

/// The files and generations of one moment, limited to a scope.
#[derive(Debug, Clone)]
pub struct Snapshot {
    _private: (),
}

impl Snapshot {
    /// Returns the commons that have data, within the scope.
    pub fn commons(&self) -> Vec<Commons> {
        unimplemented!()
    }

    /// Returns the matching series with their samples in the time range, sorted by labels; series
    /// without a sample there are left out.
    pub fn select(&self, _request: &SeriesRequest<'_>) -> Result<Vec<SeriesData>, ReadError> {
        unimplemented!()
    }

    /// Returns the labels of the matching series with at least one sample in the range, sorted.
    pub fn series(&self, _request: &SeriesRequest<'_>) -> Result<Vec<Labels>, ReadError> {
        unimplemented!()
    }

    /// Returns what is known of each metric, sorted by name.
    pub fn metadata(&self) -> Vec<(String, SeriesMeta)> {
        unimplemented!()
    }

    /// Returns the live files of a signal within the scope.
    pub fn files(&self, _signal: Signal) -> Vec<Arc<FileEntry>> {
        unimplemented!()
    }

    /// Returns the head's rows of a signal within the scope, one batch at a time, so that memory
    /// stays bounded; a row is either here or in a file of the same snapshot.
    pub fn head(
        &self,
        _signal: Signal,
        _filter: HeadFilter,
    ) -> Box<dyn Iterator<Item = HeadBatch> + Send> {
        unimplemented!()
    }
}

/// The store; cloning costs one counter.
#[derive(Debug, Clone)]
pub struct Storage {
    _private: (),
}

impl Storage {
    /// Looks up series by the hash of their raw bytes; `out` gets one entry a key.
    pub fn lookup(&self, _keys: &[u128], _out: &mut Vec<Option<SeriesRef>>) {
        unimplemented!()
    }

    /// Registers a series under its raw hash, or returns the one that has these labels already.
    pub fn register(
        &self,
        _key: u128,
        _commons: &Commons,
        _labels: &Labels,
        _meta: &SeriesMeta,
    ) -> Result<SeriesRef, RegisterError> {
        unimplemented!()
    }

    /// Stores the parts of one request: when this returns `Ok` they are synced and visible.
    pub async fn append(&self, _parts: Vec<Part>) -> Result<(), AppendError> {
        unimplemented!()
    }

    /// Returns what a caller of this scope may read now.
    pub fn snapshot(&self, _scope: &ReadScope) -> Snapshot {
        unimplemented!()
    }
}
