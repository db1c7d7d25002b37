//! Merging files row by row: logs, spans, and points of exponential histograms.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::compute::{cast, interleave_record_batch};
use arrow::datatypes::{DataType, SchemaRef, TimestampMillisecondType};

use super::MergeError;
use crate::model::{Labels, Signal};
use crate::storage::disk::Disk;
use crate::storage::files::read::{AllRows, Columns};
use crate::storage::files::sort::sort_column;
use crate::storage::files::write::FileWriter;
use crate::storage::head::rows::times_ns;
use crate::storage::{FileEntry, ReadError};

/// Rows written at a time.
const GATHER_ROWS: usize = 8192;

/// Writes the rows of all files in the order of the signal's files, rows that sort alike in the order
/// of the inputs. A point of a histogram that several have is taken once, the first.
pub(super) fn merge(
    disk: &dyn Disk,
    inputs: &[Arc<FileEntry>],
    schema: &SchemaRef,
    writer: &mut FileWriter,
    go_on: impl Fn() -> Result<(), MergeError>,
) -> Result<(), MergeError> {
    let mut cursors = Vec::with_capacity(inputs.len());
    for entry in inputs {
        cursors.push(Cursor::open(disk, Arc::clone(entry), schema)?);
    }
    let mut gathered = Gathered::default();
    while let Some(least) = least(&cursors) {
        let cursor = &cursors[least];
        if !gathered.is_repeated(cursor) {
            gathered.places.push((least, cursor.row));
        }
        cursors[least].row += 1;
        let is_used_up = cursors[least].row >= cursors[least].keys.len();
        if is_used_up || gathered.places.len() >= GATHER_ROWS {
            go_on()?;
            gathered.write(&cursors, writer)?;
        }
        if is_used_up {
            cursors[least].load()?;
        }
    }
    Ok(())
}

/// Rows that come next, as places in the cursors' batches.
#[derive(Default)]
struct Gathered {
    places: Vec<(usize, usize)>,
    last_point: Option<(Labels, i64)>,
}

impl Gathered {
    /// Returns true when the cursor stands on a point that was taken already; records and spans are
    /// never told apart that way.
    fn is_repeated(&mut self, cursor: &Cursor) -> bool {
        let Keys::Series(labels, times_ms) = &cursor.keys else { return false };
        let point = (labels[cursor.row].clone(), times_ms[cursor.row]);
        let is_repeated = self.last_point.as_ref() == Some(&point);
        self.last_point = Some(point);
        is_repeated
    }

    fn write(&mut self, cursors: &[Cursor], writer: &mut FileWriter) -> Result<(), MergeError> {
        if self.places.is_empty() {
            return Ok(());
        }
        let batches: Vec<&RecordBatch> = cursors.iter().map(|cursor| &cursor.batch).collect();
        let rows = interleave_record_batch(&batches, &self.places)
            .expect("every file was checked to have the signal's schema");
        self.places.clear();
        Ok(writer.write(&rows)?)
    }
}

/// Where a file is read; the batch stays when it is used up, because rows may still be gathered
/// from it.
struct Cursor {
    entry: Arc<FileEntry>,
    rows: AllRows,
    batch: RecordBatch,
    keys: Keys,
    row: usize,
}

/// What the rows of a batch are sorted by.
enum Keys {
    /// A text, then the time in ns.
    Texts(StringArray, Vec<i64>),
    /// Metric and labels, then the time in ms.
    Series(Vec<Labels>, Vec<i64>),
}

impl Keys {
    fn len(&self) -> usize {
        match self {
            Keys::Texts(_, times) | Keys::Series(_, times) => times.len(),
        }
    }

    fn of(entry: &FileEntry, batch: &RecordBatch) -> Self {
        if entry.signal != Signal::Metrics {
            let column = sort_column(entry.signal, batch);
            let texts = cast(column, &DataType::Utf8).expect("a dictionary of texts is texts");
            return Keys::Texts(texts.as_string::<i32>().clone(), times_ns(batch).to_vec());
        }
        let columns = Columns::new(batch);
        let mut labels: Vec<Labels> = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            labels.push(columns.labels(row, entry));
        }
        let times = batch.column(0).as_primitive::<TimestampMillisecondType>();
        Keys::Series(labels, times.values().to_vec())
    }
}

impl Cursor {
    fn open(disk: &dyn Disk, entry: Arc<FileEntry>, schema: &SchemaRef) -> Result<Self, ReadError> {
        let rows = AllRows::open(disk, &entry, schema)?;
        let batch = RecordBatch::new_empty(Arc::clone(schema));
        let keys = Keys::Texts(StringArray::new_null(0), Vec::new());
        let mut cursor = Self { entry, rows, batch, keys, row: 0 };
        cursor.load()?;
        Ok(cursor)
    }

    fn load(&mut self) -> Result<(), ReadError> {
        if let Some(batch) = self.rows.next_batch()? {
            self.keys = Keys::of(&self.entry, &batch);
            (self.batch, self.row) = (batch, 0);
        }
        Ok(())
    }

    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.keys, &other.keys) {
            (Keys::Texts(a, a_ns), Keys::Texts(b, b_ns)) => text(a, self.row)
                .cmp(&text(b, other.row))
                .then(a_ns[self.row].cmp(&b_ns[other.row])),
            (Keys::Series(a, a_ms), Keys::Series(b, b_ms)) => {
                let (a, b) = (&a[self.row], &b[other.row]);
                a.cmp_by_metric(b).then(a_ms[self.row].cmp(&b_ms[other.row]))
            }
            _ => unreachable!("files of one merge have one schema"),
        }
    }
}

fn text(texts: &StringArray, row: usize) -> Option<&str> {
    texts.is_valid(row).then(|| texts.value(row))
}

/// Returns the cursor with the least row; the first of those that are alike.
fn least(cursors: &[Cursor]) -> Option<usize> {
    let left = (0..cursors.len()).filter(|&at| cursors[at].row < cursors[at].keys.len());
    left.min_by(|&a, &b| cursors[a].cmp(&cursors[b]))
}
