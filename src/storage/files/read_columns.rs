//! Reading a few columns of all rows of a file with the rows' numbers, deleted ones included: what a
//! deletion looks at.

use std::sync::Arc;

use arrow::array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;

use super::checked::Checked;
use super::deleted::group_starts;
use super::read::{Reader, fault};
use crate::base::shield::shield;
use crate::model::Signal;
use crate::storage::disk::Disk;
use crate::storage::{FileEntry, ReadError};

/// Rows decoded at a time.
const BATCH_ROWS: usize = 16_384;

/// Hands columns of the rows of all row groups that may have a row in a range of time, both ends
/// included, to `each`, with the number of the first row, until it returns false.
pub fn read_columns(
    disk: &dyn Disk,
    entry: &FileEntry,
    columns: &[&str],
    range_ns: (i64, i64),
    each: &mut dyn FnMut(usize, &RecordBatch) -> bool,
) -> Result<(), ReadError> {
    let checked = Arc::new(Checked::open(disk, entry));
    let file = Reader(Arc::clone(&checked));
    let read = shield("parquet", || read(&file, entry, columns, range_ns, each));
    let read = read.unwrap_or_else(|panic| Err(panic.into()));
    read.map_err(|source| fault(&entry.path, &checked, source))
}

fn read(
    file: &Reader,
    entry: &FileEntry,
    columns: &[&str],
    range_ns: (i64, i64),
    each: &mut dyn FnMut(usize, &RecordBatch) -> bool,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let footer = ArrowReaderMetadata::load(file, ArrowReaderOptions::default())?;
    file.0.set_blocks(file.0.learn(footer.metadata())?);
    let starts = group_starts(footer.metadata());
    let mask = ProjectionMask::columns(footer.parquet_schema(), columns.iter().copied());
    for (idx, group) in footer.metadata().row_groups().iter().enumerate() {
        if !may_be_in(group, entry.signal, range_ns) {
            continue;
        }
        let reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), footer.clone())
                .with_row_groups(vec![idx])
                .with_projection(mask.clone())
                .with_batch_size(BATCH_ROWS)
                .build()?;
        let mut at = starts[idx];
        for batch in reader {
            let batch = batch?;
            if !each(at, &batch) {
                return Ok(());
            }
            at += batch.num_rows();
        }
    }
    Ok(())
}

fn may_be_in(group: &RowGroupMetaData, signal: Signal, (min_ns, max_ns): (i64, i64)) -> bool {
    let unit_ns = if signal == Signal::Metrics { 1_000_000 } else { 1 };
    let Some(Statistics::Int64(stats)) = group.column(0).statistics() else { return true };
    let to_ns = |time: &i64| time.saturating_mul(unit_ns);
    stats.min_opt().map(to_ns).is_none_or(|min| min <= max_ns)
        && stats.max_opt().map(to_ns).is_none_or(|max| min_ns <= max)
}
