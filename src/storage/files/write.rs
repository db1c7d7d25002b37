//! Writing one file so that it is whole or not there: temporary name, sync, rename, sync of the
//! folder. The catalog names it only after that.

use std::io;

use arrow::array::{Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::SchemaRef;
use parquet::errors::ParquetError;

use super::checked::Summing;
use super::columns::RowGroups;
use super::deleted::Live;
use super::path;
use super::properties::properties;
use crate::model::{Commons, Signal, decimal};
use crate::storage::FileEntry;
use crate::storage::disk::{self, Disk};
use crate::storage::head::rows::times_ns;

/// Why a file was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk said no.
    #[error("cannot {action} {path}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// The encoder said no.
    #[error("cannot encode {path}")]
    Encode {
        /// Which file.
        path: String,
        /// The cause.
        source: ParquetError,
    },
}

impl WriteError {
    /// Returns true when the disk was full: trying again later may work.
    pub fn is_full(&self) -> bool {
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = source {
            if error.downcast_ref::<io::Error>().is_some_and(disk::is_full) {
                return true;
            }
            source = error.source();
        }
        // The encoder turns the cause into text.
        matches!(self, WriteError::Encode { source: ParquetError::General(text), .. } if text.contains("storage space"))
    }
}

/// Which file to write.
#[derive(Debug, Clone)]
pub struct Target {
    /// The signal.
    pub signal: Signal,
    /// The commons.
    pub commons: Commons,
    /// Days since 1970 UTC.
    pub day: i32,
    /// Where the rows come from.
    pub origin: Origin,
}

/// Where the rows of a file come from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A generation of the head.
    Flush {
        /// The generation.
        generation: u64,
        /// Tells files of one generation and day apart.
        n: usize,
    },
    /// Files of one folder, whose place the new one takes.
    Merge {
        /// Their paths.
        inputs: Vec<String>,
    },
}

impl Target {
    fn path(&self) -> String {
        let Target { signal, commons, day, origin } = self;
        match origin {
            Origin::Flush { generation, n } => path::file(*signal, commons, *day, *generation, *n),
            Origin::Merge { inputs } => {
                path::merged(inputs).expect("the catalog names only files of ours")
            }
        }
    }
}

/// The key in a merged file's footer of the paths it was made of, as a JSON list.
pub const MERGED_FROM: &str = "commonwatch.merged_from";

/// A file being written.
pub struct FileWriter {
    path: String,
    target: Target,
    in_file: SchemaRef,
    writer: RowGroups<Summing>,
    n_rows: u64,
    min_ns: i64,
    max_ns: i64,
    has_exp: bool,
}

impl std::fmt::Debug for FileWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

fn temporary(path: &str) -> String {
    format!("{path}.tmp")
}

impl FileWriter {
    /// Creates the file under its temporary name, for rows of a schema.
    pub fn create(
        disk: &dyn Disk,
        target: Target,
        schema: &SchemaRef,
        row_group_rows: usize,
    ) -> Result<Self, WriteError> {
        let path = target.path();
        let io = |action| {
            let path = path.clone();
            move |source| WriteError::Io { action, path, source }
        };
        disk::create_dir_synced(disk, disk::parent(&path)).map_err(io("create the folder of"))?;
        let file = disk.create(&temporary(&path)).map_err(io("create"))?;
        let properties = properties(&target, row_group_rows);
        let in_file = match target.signal {
            Signal::Metrics => decimal::file_schema(schema),
            _ => SchemaRef::clone(schema),
        };
        let writer = RowGroups::new(Summing::new(file), &in_file, properties)
            .map_err(|source| WriteError::Encode { path: path.clone(), source })?;
        let writer = if target.signal == Signal::Logs { writer.with_grams() } else { writer };
        let has_exp = schema.column_with_name("exp_scale").is_some();
        let (min_ns, max_ns) = (i64::MAX, i64::MIN);
        Ok(Self { path, target, in_file, writer, n_rows: 0, min_ns, max_ns, has_exp })
    }

    /// Appends rows that sort after those before.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), WriteError> {
        let (min_ns, max_ns) = range_ns(self.target.signal, batch);
        self.min_ns = self.min_ns.min(min_ns);
        self.max_ns = self.max_ns.max(max_ns);
        self.n_rows += batch.num_rows() as u64;
        #[cfg(test)]
        super::held_rows::written(batch.num_rows());
        let written = match self.target.signal {
            Signal::Metrics => self.writer.write(&decimal::to_file(batch, &self.in_file)),
            _ => self.writer.write(batch),
        };
        written.map_err(|source| WriteError::Encode { path: self.path.clone(), source })
    }

    /// Appends rows of several batches of log records, spans or exemplars, each by its batch and its
    /// place there; they sort after those before. All calls for a file should name the same batches.
    pub fn write_places(
        &mut self,
        batches: &[&RecordBatch],
        places: &[(usize, usize)],
    ) -> Result<(), WriteError> {
        let times: Vec<&[i64]> = batches.iter().map(|batch| times_ns(batch)).collect();
        for &(batch, row) in places {
            let ns = times[batch][row];
            (self.min_ns, self.max_ns) = (self.min_ns.min(ns), self.max_ns.max(ns));
        }
        self.n_rows += places.len() as u64;
        self.writer
            .write_places(batches, places)
            .map_err(|source| WriteError::Encode { path: self.path.clone(), source })
    }

    /// Writes the row group under way when its encoders hold more than `n_bytes`.
    pub fn end_row_group_past(&mut self, n_bytes: usize) -> Result<(), WriteError> {
        if self.writer.memory_size() <= n_bytes {
            return Ok(());
        }
        self.writer
            .end_row_group()
            .map_err(|source| WriteError::Encode { path: self.path.clone(), source })
    }

    /// Completes the file and gives it its name.
    pub fn finish(mut self, disk: &dyn Disk) -> Result<FileEntry, WriteError> {
        assert!(self.n_rows > 0, "a file is created for its first row");
        let path = self.path;
        let io = |action| {
            let path = path.clone();
            move |source| WriteError::Io { action, path, source }
        };
        let encode = |source| WriteError::Encode { path: path.clone(), source };
        self.writer.start_tail(Summing::start_tail).map_err(encode)?;
        let (mut file, seal) = self.writer.into_inner().map_err(encode)?.finish();
        file.sync().map_err(io("sync"))?;
        drop(file);
        disk.rename(&temporary(&path), &path).map_err(io("rename"))?;
        disk.sync_dir(disk::parent(&path)).map_err(io("sync the folder of"))?;
        let size_bytes = disk.open(&path).map_err(io("open"))?.size_bytes();
        let Target { signal, commons, day, .. } = self.target;
        let (n_rows, min_ns, max_ns) = (self.n_rows, self.min_ns, self.max_ns);
        Ok(FileEntry {
            path,
            signal,
            commons,
            day,
            n_rows,
            size_bytes,
            min_ns,
            max_ns,
            has_exp: self.has_exp,
            seal: Some(seal),
            deletions: Vec::new(),
            live: Live::default(),
        })
    }
}

fn range_ns(signal: Signal, batch: &RecordBatch) -> (i64, i64) {
    let fold = |times: &[i64]| {
        times.iter().fold((i64::MAX, i64::MIN), |(min, max), &t| (min.min(t), max.max(t)))
    };
    if signal != Signal::Metrics {
        return fold(times_ns(batch));
    }
    let column = batch.column(0).as_any().downcast_ref::<TimestampMillisecondArray>();
    let (min_ms, max_ms) =
        fold(column.expect("the metrics schema begins with the timestamp").values());
    (min_ms.saturating_mul(1_000_000), max_ms.saturating_mul(1_000_000).saturating_add(999_999))
}
