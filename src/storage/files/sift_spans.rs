//! Finding spans by what few columns say, without reading the others.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::file::metadata::ParquetMetaData;

use super::checked::Checked;
use super::deleted::group_starts;
use super::page_prune::intersection;
use super::read::{Footers, Reader, fault};
use super::read_spans::{Fault, SpanRange, TRACE_ID, shielded, time_may_be, with_page_index};
use crate::storage::disk::Disk;
use crate::storage::head::rows::times_ns;
use crate::storage::{FileEntry, ReadError};

/// Rows looked at together: most are not wanted.
const SIFT_ROWS: usize = 16_384;

/// Says which of some spans are wanted.
pub type SpanTest<'t> = dyn FnMut(&RecordBatch) -> Vec<bool> + 't;

/// Hands the trace and the start of every span in the range on that passes a test. The columns that
/// the test looks at are those of the range; the traces' ids are read where a span passes.
pub fn sift(
    disk: &dyn Disk,
    footers: &Footers,
    entry: &FileEntry,
    range: &SpanRange,
    passes: &mut SpanTest<'_>,
    each: &mut dyn FnMut(&str, i64) -> bool,
) -> Result<(), ReadError> {
    let checked = Arc::new(Checked::open(disk, entry));
    let read = shielded(|| {
        let file = Reader(Arc::clone(&checked));
        let footer = footers.get(&entry.path, &file)?;
        for (group, metadata) in footer.metadata().row_groups().iter().enumerate() {
            if !time_may_be(metadata, range) {
                continue;
            }
            let rows = sifted_rows(&file, &footer, group, range, passes)?;
            let rows = without_deleted(entry, footer.metadata(), group, rows);
            if !rows.is_empty() && !ids_of(&file, &footer, group, rows, range, each)? {
                break;
            }
        }
        Ok(())
    });
    read.map_err(|source| fault(&entry.path, &checked, source))
}

/// Takes deleted rows out of some rows of a group.
fn without_deleted(
    entry: &FileEntry,
    metadata: &ParquetMetaData,
    group: usize,
    rows: Vec<Range<usize>>,
) -> Vec<Range<usize>> {
    let Some(deleted) = entry.deleted() else { return rows };
    let starts = group_starts(metadata);
    intersection(&rows, &deleted.kept(starts[group]..starts[group + 1]))
}

/// Returns the rows of a group that pass.
fn sifted_rows(
    file: &Reader,
    footer: &ArrowReaderMetadata,
    group: usize,
    range: &SpanRange,
    passes: &mut SpanTest<'_>,
) -> Result<Vec<Range<usize>>, Fault> {
    let mask = ProjectionMask::columns(footer.parquet_schema(), range.columns.iter().copied());
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), footer.clone())
        .with_row_groups(vec![group])
        .with_projection(mask)
        .with_batch_size(SIFT_ROWS)
        .build()?;
    let (mut rows, mut first): (Vec<Range<usize>>, _) = (Vec::new(), 0);
    for batch in reader {
        let batch = batch?;
        let passed = passes(&batch);
        for row in (0..batch.num_rows()).filter(|&row| passed[row]) {
            match rows.last_mut() {
                Some(last) if last.end == first + row => last.end += 1,
                _ => rows.push(first + row..first + row + 1),
            }
        }
        first += batch.num_rows();
    }
    Ok(rows)
}

/// Hands the ids and starts of some rows on that are in the range; returns false when `each` has enough.
fn ids_of(
    file: &Reader,
    footer: &ArrowReaderMetadata,
    group: usize,
    rows: Vec<Range<usize>>,
    range: &SpanRange,
    each: &mut dyn FnMut(&str, i64) -> bool,
) -> Result<bool, Fault> {
    let n_rows = usize::try_from(footer.metadata().row_group(group).num_rows())?;
    let mask = ProjectionMask::columns(footer.parquet_schema(), ["start_time", TRACE_ID]);
    let paged = with_page_index(footer, file, &[group])?;
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), paged)
        .with_projection(mask)
        .with_row_selection(RowSelection::from_consecutive_ranges(rows.into_iter(), n_rows))
        .with_batch_size(SIFT_ROWS)
        .build()?;
    for batch in reader {
        let batch = batch?;
        let ids = batch.column_by_name(TRACE_ID).ok_or("no ids")?.as_string::<i32>();
        for (row, &start_ns) in times_ns(&batch).iter().enumerate() {
            let is_in_range = (range.min_ns..=range.max_ns).contains(&start_ns);
            if is_in_range && !each(ids.value(row), start_ns) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
