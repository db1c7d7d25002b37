//! Sealed generations become Parquet files, oldest first.
//!
//! All files of a generation are written and synced under their names, then the manifest is replaced
//! with one that lists them and says which log segments they cover, then readers are switched over,
//! then those segments are cut. A crash between any two steps leaves a state that the next start
//! understands: files that no manifest lists are rows that the log still holds.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::{error, info, warn};

use super::FileEntry;
use super::catalog::CatalogError;
use super::descriptions;
use super::files::metrics_rows::MetricsRows;
use super::files::path::{DAY_MS, day_of_ms};
use super::files::write::{FileWriter, Origin, Target, WriteError};
use super::files::{series_order, sort};
use super::head::metrics::{MetricsHead, sort_first_wins};
use super::head::registry::Registry;
use super::head::rows::RowsHead;
use super::head::{CommonsHead, Generation};
use super::retire;
use super::shared::{Shared, Version, files_of};
use super::spill;
use super::wal::{self, replay};
use crate::model::{ExpHistogram, Signal, exemplar, log, metric, span};

/// Rows handed to the encoder at a time.
const BATCH_ROWS: usize = 65_536;

/// What the encoders of one commons may hold: a row group is written early when they hold more, as
/// columns of texts that are all different do, each with a dictionary of its own.
const ENCODER_BYTES_MAX: usize = 64 << 20;

/// Why a generation is not in files.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// A file could not be written; the log still holds the rows, so trying again is safe.
    #[error("cannot write generation {generation} as Parquet")]
    Write {
        /// The generation.
        generation: u64,
        /// The cause.
        source: WriteError,
    },
    /// The manifest could not be replaced: which of the two is on disk is unknown, so the process
    /// must stop.
    #[error("cannot publish generation {generation}")]
    Publish {
        /// The generation.
        generation: u64,
        /// The cause.
        source: CatalogError,
    },
}

impl FlushError {
    /// Returns true when the process must stop.
    pub fn is_fatal(&self) -> bool {
        match self {
            FlushError::Write { .. } => false,
            FlushError::Publish { source, .. } => !source.is_full(),
        }
    }
}

/// Writes the oldest sealed generation, publishes it and cuts the log. Returns false when there was
/// none.
pub fn flush_oldest(shared: &Shared) -> Result<bool, FlushError> {
    let Some(generation) = shared.current().sealed.first().cloned() else { return Ok(false) };
    let start_ns = shared.clock.monotonic_ns();
    let number = generation.number;
    let rest = write(shared, &generation)
        .map_err(|source| FlushError::Write { generation: number, source })?;
    let mut files = generation.files_of_parts();
    files.extend(rest);
    let n_files = files.len();
    publish(shared, &generation, files)
        .map_err(|source| FlushError::Publish { generation: number, source })?;
    retire::note_flushed(shared, &generation);
    cut_log(shared);
    // Who waits for this may end the process.
    shared.flushed.notify_waiters();
    let elapsed_ns = shared.clock.monotonic_ns().saturating_sub(start_ns);
    shared.metrics.flush_seconds.observe(std::time::Duration::from_nanos(elapsed_ns).as_secs_f64());
    shared.metrics.flushes.get_or_create(&[("outcome", "ok".to_owned())]).inc();
    info!(generation = number, n_files, "flushed");
    Ok(true)
}

/// Writes what a generation holds in memory as files that nobody lists yet.
pub(super) fn write(
    shared: &Shared,
    generation: &Generation,
) -> Result<Vec<FileEntry>, WriteError> {
    let mut files = Vec::new();
    // The log that holds them is cut after this.
    shared.descriptions.write(&*shared.disk).map_err(|source| {
        let path = descriptions::FILE.to_owned();
        WriteError::Io { action: "replace", path, source }
    })?;
    for head in generation.all() {
        let mut out = FilesOut { shared, head: &head, generation, files: &mut files };
        out.metrics()?;
        out.rows(Signal::Logs, &head.logs.read())?;
        out.rows(Signal::Spans, &head.spans.read())?;
        out.rows(Signal::Exemplars, &head.exemplars.read())?;
    }
    for file in &files {
        let label = [("signal", file.signal.to_string())];
        shared.metrics.flushed_rows.get_or_create(&label).inc_by(file.n_rows);
    }
    Ok(files)
}

/// Returns the schema of a signal's rows and files.
pub(super) fn rows_schema(signal: Signal) -> arrow::datatypes::SchemaRef {
    match signal {
        Signal::Metrics => metric::schema(),
        Signal::Logs => log::schema(),
        Signal::Spans => span::schema(),
        Signal::Exemplars => exemplar::schema(),
    }
}

/// The files of one commons of one generation.
struct FilesOut<'a> {
    shared: &'a Shared,
    head: &'a CommonsHead,
    generation: &'a Generation,
    files: &'a mut Vec<FileEntry>,
}

impl FilesOut<'_> {
    fn create(
        &self,
        signal: Signal,
        day: i32,
        kind: usize,
        schema: &arrow::datatypes::SchemaRef,
    ) -> Result<FileWriter, WriteError> {
        let commons = self.head.entry.name.clone();
        let n = spill::file_number(self.generation, kind);
        let origin = Origin::Flush { generation: self.generation.number, n };
        let target = Target { signal, commons, day, origin };
        FileWriter::create(&*self.shared.disk, target, schema, self.shared.config.row_group_rows)
    }

    fn rows(&mut self, signal: Signal, head: &RowsHead) -> Result<(), WriteError> {
        let schema = rows_schema(signal);
        let batches: Vec<_> = head.batches().iter().map(|batch| &batch.batch).collect();
        let n_at_a_time = sort::rows_at_a_time(head.n_rows(), head.size_bytes());
        for (day, places) in sort::by_day(signal, head.batches()) {
            let mut writer = self.create(signal, day, 0, &schema)?;
            for places in places.chunks(n_at_a_time) {
                writer.write_places(&batches, places)?;
                writer.end_row_group_past(ENCODER_BYTES_MAX)?;
            }
            self.files.push(writer.finish(&*self.shared.disk)?);
        }
        Ok(())
    }

    fn metrics(&mut self) -> Result<(), WriteError> {
        let metrics = self.head.metrics.read();
        let order = sorted_slots(&metrics, &self.head.entry.registry.read());
        self.samples(&metrics, &order)?;
        self.exp_histograms(&metrics, &order)
    }

    fn samples(&mut self, metrics: &MetricsHead, order: &[u32]) -> Result<(), WriteError> {
        let mut days: BTreeMap<i32, DayFile> = BTreeMap::new();
        let (mut timestamps, mut values) = (Vec::new(), Vec::new());
        for &slot in order {
            timestamps.clear();
            values.clear();
            metrics.read(slot, i64::MIN, i64::MAX, |ms, value| {
                timestamps.push(ms);
                values.push(value);
            });
            sort_first_wins(&mut timestamps, &mut values);
            let mut from = 0;
            while from < timestamps.len() {
                let day = day_of_ms(timestamps[from]);
                let n = timestamps[from..].partition_point(|&ms| day_of_ms(ms) == day);
                let range = from..from + n;
                self.day_samples(
                    &mut days,
                    day,
                    metrics,
                    slot,
                    &timestamps[range.clone()],
                    &values[range],
                )?;
                from += n;
            }
        }
        for (_, mut file) in days {
            file.drain(ENCODER_BYTES_MAX)?;
            self.files.push(file.writer.finish(&*self.shared.disk)?);
        }
        Ok(())
    }

    fn day_samples(
        &self,
        days: &mut BTreeMap<i32, DayFile>,
        day: i32,
        metrics: &MetricsHead,
        slot: u32,
        timestamps: &[i64],
        values: &[f64],
    ) -> Result<(), WriteError> {
        let n_days = days.len().max(1);
        let file = match days.entry(day) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let writer = self.create(Signal::Metrics, day, 0, &metric::schema())?;
                entry.insert(DayFile { writer, rows: MetricsRows::default() })
            }
        };
        {
            let registry = self.head.entry.registry.read();
            let series_idx = metrics.series_of(slot);
            let series = registry.series(series_idx);
            file.rows.push(
                &series.labels,
                series.id,
                registry.meta(series_idx),
                timestamps,
                values,
            );
        }
        // Late samples may be of any day of the retention, and every day's file waits here.
        let is_full = file.rows.len() >= BATCH_ROWS / n_days;
        if is_full { file.drain(ENCODER_BYTES_MAX / n_days) } else { Ok(()) }
    }

    fn exp_histograms(&mut self, metrics: &MetricsHead, order: &[u32]) -> Result<(), WriteError> {
        let mut by_day: BTreeMap<i32, Vec<ExpPoint<'_>>> = BTreeMap::new();
        let mut rank = vec![0; metrics.n_slots()];
        order.iter().enumerate().for_each(|(at, &slot)| rank[slot as usize] = at);
        for (slot, ms, histogram) in metrics.exp_histograms() {
            let point = ExpPoint { rank: rank[*slot as usize], slot: *slot, ms: *ms, histogram };
            by_day.entry(day_of_ms(*ms)).or_default().push(point);
        }
        for (day, mut points) in by_day {
            points.sort_by_key(|point| (point.rank, point.ms));
            points.dedup_by_key(|point| (point.rank, point.ms));
            let mut writer = self.create(Signal::Metrics, day, 1, &metric::exp_schema())?;
            for points in points.chunks(BATCH_ROWS) {
                writer.write(&exp_batch(metrics, &self.head.entry.registry.read(), points))?;
            }
            self.files.push(writer.finish(&*self.shared.disk)?);
        }
        Ok(())
    }
}

/// One point of an exponential histogram, with its series' place in the file's order.
#[derive(Clone, Copy)]
pub(super) struct ExpPoint<'a> {
    pub(super) rank: usize,
    pub(super) slot: u32,
    pub(super) ms: i64,
    pub(super) histogram: &'a ExpHistogram,
}

/// Returns the rows of exponential histograms in the schema of the whole table.
pub(super) fn exp_batch(
    metrics: &MetricsHead,
    registry: &Registry,
    points: &[ExpPoint<'_>],
) -> arrow::array::RecordBatch {
    let mut rows = MetricsRows::default();
    for point in points {
        let series_idx = metrics.series_of(point.slot);
        let series = registry.series(series_idx);
        let value = point.histogram.value();
        rows.push(&series.labels, series.id, registry.meta(series_idx), &[point.ms], &[value]);
    }
    let histograms: Vec<&ExpHistogram> = points.iter().map(|point| point.histogram).collect();
    rows.finish_exp(Some(&histograms))
}

/// A metrics file being written.
struct DayFile {
    writer: FileWriter,
    rows: MetricsRows,
}

impl DayFile {
    fn drain(&mut self, encoder_bytes_max: usize) -> Result<(), WriteError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        self.writer.write(&self.rows.finish())?;
        self.writer.end_row_group_past(encoder_bytes_max)
    }
}

/// Returns the slots in the order of a file.
pub(super) fn sorted_slots(metrics: &MetricsHead, registry: &Registry) -> Vec<u32> {
    let slots = (0..).take(metrics.n_slots()).filter(|&slot| metrics.is_defined(slot));
    series_order::sort(slots.map(|slot| (slot, &registry.series(metrics.series_of(slot)).labels)))
}

fn publish(
    shared: &Shared,
    generation: &Arc<Generation>,
    new_files: Vec<FileEntry>,
) -> Result<(), CatalogError> {
    let mut manifest = shared.manifest.lock();
    let mut next = manifest.clone();
    next.files.extend(new_files.into_iter().map(Arc::new));
    next.covered_segment = generation.last_segment.load(Ordering::SeqCst);
    next.generation = generation.number;
    shared.put_manifest(&mut manifest, next)?;
    let files = Arc::new(files_of(&manifest));
    shared.note_files(&files);
    let mut version = shared.version.write();
    let sealed = version.sealed.iter().filter(|g| g.number != generation.number).cloned().collect();
    *version = Version { files, sealed, open: Arc::clone(&version.open) };
    shared.metrics.head_bytes.set(i64::try_from(version.head_bytes()).unwrap_or(i64::MAX));
    drop(version);
    Ok(())
}

/// Removes the log segments that files cover. A segment that cannot be removed is tried again after
/// the next flush; at start it is skipped because the manifest covers it.
pub fn cut_log(shared: &Shared) {
    if !shared.may_remove() {
        return;
    }
    let covered = shared.manifest.lock().covered_segment;
    let segments = match replay::segments(&*shared.disk) {
        Ok(segments) => segments,
        Err(error) => return error!(%error, "cannot list the log"),
    };
    for segment in segments.into_iter().filter(|&segment| segment <= covered) {
        if let Err(error) = shared.disk.remove(&wal::path(segment)) {
            warn!(segment, %error, "cannot remove a log segment that is covered");
        }
    }
}

/// Returns the start of the day of a time; for tests and retention.
pub fn day_start_ms(day: i32) -> i64 {
    i64::from(day) * DAY_MS
}
