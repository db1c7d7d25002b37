//! Merging metrics files: series by series, the samples of one series from all files at once.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::MergeError;
use crate::model::{Labels, MetricKind, SeriesMeta, Temporality, metric};
use crate::storage::disk::Disk;
use crate::storage::files::metrics_rows::MetricsRows;
use crate::storage::files::read::{AllRows, Columns};
use crate::storage::files::write::FileWriter;
use crate::storage::head::metrics::sort_first_wins;
use crate::storage::{FileEntry, ReadError};

/// Rows handed to the encoder at a time.
const BATCH_ROWS: usize = 65_536;

/// Writes the samples of all files: by metric, labels and time, the first file's value where several
/// have a timestamp.
pub(super) fn merge(
    disk: &dyn Disk,
    inputs: &[Arc<FileEntry>],
    writer: &mut FileWriter,
    go_on: impl Fn() -> Result<(), MergeError>,
) -> Result<(), MergeError> {
    let mut streams = Vec::with_capacity(inputs.len());
    for entry in inputs {
        let mut stream = SeriesStream::open(disk, Arc::clone(entry))?;
        let next = stream.next_series()?;
        streams.push((stream, next));
    }
    let mut rows = MetricsRows::default();
    while let Some(least) = least(&streams) {
        let mut merged = None;
        for (stream, next) in &mut streams {
            if next.as_ref().is_some_and(|series| series.labels == least) {
                let series = std::mem::replace(next, stream.next_series()?);
                append(&mut merged, series.expect("it is the one just looked at"));
            }
        }
        let mut merged: Series = merged.expect("one stream has the least series");
        sort_first_wins(&mut merged.timestamps_ms, &mut merged.values);
        rows.push(&merged.labels, merged.id, &merged.meta, &merged.timestamps_ms, &merged.values);
        if rows.len() >= BATCH_ROWS {
            go_on()?;
            writer.write(&rows.finish())?;
        }
    }
    if !rows.is_empty() {
        writer.write(&rows.finish())?;
    }
    Ok(())
}

fn least(streams: &[(SeriesStream, Option<Series>)]) -> Option<Labels> {
    let next = streams.iter().filter_map(|(_, next)| next.as_ref().map(|series| &series.labels));
    next.min_by(|a, b| a.metric().cmp(b.metric()).then_with(|| a.cmp(b))).cloned()
}

fn append(merged: &mut Option<Series>, series: Series) {
    match merged {
        None => *merged = Some(series),
        Some(merged) => {
            merged.timestamps_ms.extend(series.timestamps_ms);
            merged.values.extend(series.values);
        }
    }
}

/// One series of a file.
struct Series {
    labels: Labels,
    id: u64,
    meta: SeriesMeta,
    timestamps_ms: Vec<i64>,
    values: Vec<f64>,
}

/// The series of a file, one at a time.
struct SeriesStream {
    entry: Arc<FileEntry>,
    rows: AllRows,
    batch: Option<RecordBatch>,
    row: usize,
}

impl SeriesStream {
    fn open(disk: &dyn Disk, entry: Arc<FileEntry>) -> Result<Self, ReadError> {
        let rows = AllRows::open(disk, &entry, &metric::schema())?;
        let mut stream = Self { entry, rows, batch: None, row: 0 };
        stream.load()?;
        Ok(stream)
    }

    fn load(&mut self) -> Result<(), ReadError> {
        self.row = 0;
        self.batch = self.rows.next_batch()?;
        Ok(())
    }

    /// Returns the next series with all its rows, which may lie in several batches.
    fn next_series(&mut self) -> Result<Option<Series>, ReadError> {
        let mut series: Option<Series> = None;
        while let Some(batch) = &self.batch {
            let columns = Columns::new(batch);
            let end = end_of_run(&columns, self.row, batch.num_rows());
            let labels = columns.labels(self.row, &self.entry);
            let series = match &mut series {
                Some(series) if series.labels != labels => break,
                Some(series) => series,
                none => none.insert(Series {
                    labels,
                    id: columns.series_id.value(self.row),
                    meta: meta(&columns, self.row),
                    timestamps_ms: Vec::new(),
                    values: Vec::new(),
                }),
            };
            series.timestamps_ms.extend_from_slice(&columns.timestamp.values()[self.row..end]);
            series.values.extend_from_slice(&columns.value.values()[self.row..end]);
            self.row = end;
            if end < batch.num_rows() {
                break;
            }
            self.load()?;
        }
        Ok(series)
    }
}

/// Returns the end of the run of rows of one series that begins at `row`.
fn end_of_run(columns: &Columns<'_>, row: usize, n_rows: usize) -> usize {
    let ids = columns.series_id.values();
    let (labels, metric) = (columns.keys("labels"), columns.keys("metric"));
    // Two label sets may share an id; two keys of one dictionary do not share a text.
    let is_same =
        |at: usize| ids[at] == ids[row] && labels[at] == labels[row] && metric[at] == metric[row];
    (row + 1..n_rows).find(|&at| !is_same(at)).unwrap_or(n_rows)
}

fn meta(columns: &Columns<'_>, row: usize) -> SeriesMeta {
    let kind = columns.text("kind", row);
    let temporality = Some(columns.text("temporality", row)).filter(|text| !text.is_empty());
    SeriesMeta {
        kind: MetricKind::ALL.into_iter().find(|k| k.as_str() == kind).unwrap_or_default(),
        temporality: Temporality::ALL
            .into_iter()
            .find(|t| t.as_str() == temporality)
            .unwrap_or_default(),
        unit: Arc::from(columns.text("unit", row)),
        tag_rule: Arc::from(columns.text("tag_rule", row)),
    }
}
