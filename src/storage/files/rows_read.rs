//! Reading rows of log files back: some row groups, some columns, some rows.
//!
//! A reader asks in two steps: the small columns of a row group first, which tell the rows it
//! wants, then the large ones of those rows alone. With the page index in the footer, pages without
//! a wanted row are neither read nor decompressed.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;

use super::checked::Checked;
use super::deleted::group_starts;
use super::grams::need::rows_for;
use super::grams::section::{self, Block};
use super::grams::{self, LineNeed};
pub use super::page_prune::Bounds;
use super::page_prune::{PageFilter, Timed, by_page, intersection, prune, union};
use super::read::{Footers, Reader, fault};
use crate::base::shield::shield;
use crate::storage::disk::{Disk, DiskRead};
use crate::storage::{FileEntry, ReadError};

/// What the footer says of one row group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStats {
    /// Its place in the file.
    pub group_idx: usize,
    /// Its rows.
    pub n_rows: usize,
    /// Earliest row, ns since 1970 UTC.
    pub min_ns: i64,
    /// Latest row, ns since 1970 UTC.
    pub max_ns: i64,
    /// The rows that may be wanted, by the index of the pages; all when there are none.
    pub rows: Option<Vec<Range<usize>>>,
    /// Bytes of the whole group before compression.
    pub n_bytes: u64,
    /// Earliest and latest row of the whole group, ns since 1970 UTC.
    pub times_ns: (i64, i64),
}

/// Which row groups of a file are wanted.
pub struct GroupFilter<'f> {
    /// First and last ns, both included.
    pub times: (i64, i64),
    /// The column that the file is sorted by.
    pub sort_column: &'f str,
    /// Whether one of its values between two bounds may be wanted; `None` is a row without one.
    pub sorted_by: &'f dyn Fn(Option<Bounds<'_>>) -> bool,
}

impl std::fmt::Debug for GroupFilter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupFilter").field("times", &self.times).finish_non_exhaustive()
    }
}

/// Returns what the footer of a file says of the row groups that may hold wanted rows.
pub fn groups(
    disk: &dyn Disk,
    footers: &Footers,
    entry: &FileEntry,
    filter: &GroupFilter<'_>,
) -> Result<Vec<GroupStats>, ReadError> {
    guarded(disk, entry, |file| {
        let footer = footers.with_pages(&entry.path, &file)?;
        let mut columns = footer.parquet_schema().columns().iter();
        let sort_column = columns.position(|column| column.name() == filter.sort_column);
        let pages = PageFilter { times: filter.times, sorted_by: filter.sorted_by, sort_column };
        let metadata = footer.metadata();
        let groups = metadata.row_groups().iter().enumerate();
        let groups = groups.filter_map(|(idx, group)| {
            let stats = stats(idx, group, entry);
            let overlaps = stats.min_ns <= filter.times.1 && filter.times.0 <= stats.max_ns;
            let wanted = overlaps && may_hold(group, &pages);
            wanted.then(|| without_deleted(pruned(stats, metadata, &pages), metadata, entry))
        });
        Ok(groups.filter(|group| group.rows.as_ref().is_none_or(|rows| !rows.is_empty())).collect())
    })
}

/// Returns false when the bounds of the sort column say that no row is wanted.
fn may_hold(group: &RowGroupMetaData, filter: &PageFilter<'_>) -> bool {
    let found = filter.sort_column.and_then(|column| group.column(column).statistics());
    let Some(Statistics::ByteArray(stats)) = found else { return true };
    let bounds = stats.min_opt().zip(stats.max_opt());
    let named = bounds.is_some_and(|(min, max)| (filter.sorted_by)(Some((min.data(), max.data()))));
    let has_null = stats.null_count_opt().is_none_or(|n| n > 0);
    named || (has_null && (filter.sorted_by)(None))
}

/// Takes deleted rows out of those that may be wanted.
fn without_deleted(stats: GroupStats, metadata: &ParquetMetaData, entry: &FileEntry) -> GroupStats {
    let Some(deleted) = entry.deleted() else { return stats };
    let starts = group_starts(metadata);
    let kept = deleted.kept(starts[stats.group_idx]..starts[stats.group_idx + 1]);
    let rows = match &stats.rows {
        Some(rows) => intersection(rows, &kept),
        None => kept,
    };
    GroupStats { rows: Some(rows), ..stats }
}

fn pruned(stats: GroupStats, metadata: &ParquetMetaData, filter: &PageFilter<'_>) -> GroupStats {
    let Some(pruned) = prune(metadata, stats.group_idx, filter) else { return stats };
    let (min_ns, max_ns) = pruned.times.unwrap_or((stats.min_ns, stats.max_ns));
    GroupStats { rows: Some(pruned.rows), min_ns, max_ns, ..stats }
}

fn stats(group_idx: usize, group: &RowGroupMetaData, entry: &FileEntry) -> GroupStats {
    let (min_ns, max_ns) = match group.column(0).statistics() {
        Some(Statistics::Int64(stats)) => (
            stats.min_opt().copied().unwrap_or(entry.min_ns),
            stats.max_opt().copied().unwrap_or(entry.max_ns),
        ),
        _ => (entry.min_ns, entry.max_ns),
    };
    GroupStats {
        group_idx,
        n_rows: usize::try_from(group.num_rows()).unwrap_or(0),
        min_ns,
        max_ns,
        rows: None,
        n_bytes: u64::try_from(group.total_byte_size()).unwrap_or(0),
        times_ns: (min_ns, max_ns),
    }
}

/// Returns the rows of a row group that may meet a need, as ranges that are sorted and apart, or
/// `None` when nothing is known of its lines.
pub fn narrow(
    disk: &dyn Disk,
    footers: &Footers,
    entry: &FileEntry,
    group_idx: usize,
    need: &LineNeed,
) -> Result<Option<Vec<Range<usize>>>, ReadError> {
    let kept = u32::try_from(group_idx).ok().and_then(|idx| footers.grams.get(&entry.path, &idx));
    if let Some(blocks) = kept {
        // Most needs are met or not by what blocks say alone.
        if let Ok(rows) = rows_for(need, &blocks, &mut |_| Err(())) {
            return Ok(Some(rows));
        }
    }
    guarded(disk, entry, |file| {
        let footer = footers.with_pages(&entry.path, &file)?;
        Narrowing { footers, entry, file, footer }.rows(group_idx, need)
    })
}

/// Returns the rows of a file that may meet a need, counted from its beginning, as ranges that are
/// sorted and apart; row groups of which nothing is known are left whole.
pub fn narrow_file(
    disk: &dyn Disk,
    footers: &Footers,
    entry: &FileEntry,
    need: &LineNeed,
) -> Result<Vec<Range<usize>>, ReadError> {
    guarded(disk, entry, |file| {
        let footer = footers.with_pages(&entry.path, &file)?;
        let starts = group_starts(footer.metadata());
        let narrowing = Narrowing { footers, entry, file, footer };
        let mut found = Vec::new();
        for (group_idx, group) in starts.windows(2).enumerate() {
            let rows = match narrowing.rows(group_idx, need)? {
                Some(rows) => rows,
                None => std::iter::once(0..group[1] - group[0]).collect(),
            };
            let of_file = rows.into_iter().map(|r| r.start + group[0]..r.end + group[0]);
            found = union(&found, &of_file.collect::<Vec<_>>());
        }
        Ok(found)
    })
}

/// A file of which rows are looked for.
struct Narrowing<'f> {
    footers: &'f Footers,
    entry: &'f FileEntry,
    file: Reader,
    footer: ArrowReaderMetadata,
}

impl Narrowing<'_> {
    fn rows(&self, group_idx: usize, need: &LineNeed) -> Result<Option<Vec<Range<usize>>>, Fault> {
        let Some(blocks) = self.blocks(group_idx)? else { return Ok(None) };
        rows_for(need, &blocks, &mut |trace_id| self.of_trace(group_idx, trace_id)).map(Some)
    }

    fn blocks(&self, group_idx: usize) -> Result<Option<Arc<[Block]>>, Fault> {
        let Self { footers, entry, file, footer } = self;
        let place = (entry.path.as_str(), u32::try_from(group_idx)?);
        if let Some(blocks) = footers.grams.get(place.0, &place.1) {
            return Ok(Some(blocks));
        }
        let Some((offset, len)) = grams_of(footer.metadata(), group_idx) else { return Ok(None) };
        if offset.checked_add(len as u64).is_none_or(|end| end > entry.size_bytes) {
            return Ok(None);
        }
        let n_rows = usize::try_from(footer.metadata().row_group(group_idx).num_rows())?;
        let bytes = file.0.read_at(offset, len)?;
        let Some(blocks) = section::decode(&bytes, n_rows) else { return Ok(None) };
        let blocks: Arc<[Block]> = blocks.into();
        footers.grams.put(place, Arc::clone(&blocks), len);
        Ok(Some(blocks))
    }

    /// Returns the rows whose column says that they are of a trace. Mostly the bloom filter says that
    /// there is none.
    fn of_trace(&self, group_idx: usize, trace_id: &str) -> Result<Vec<Range<usize>>, Fault> {
        let Self { file, footer, .. } = self;
        let mut columns = footer.parquet_schema().columns().iter();
        let Some(column) = columns.position(|column| column.name() == TRACE_ID) else {
            return Ok(Vec::new());
        };
        let reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), footer.clone());
        let bloom = reader.get_row_group_column_bloom_filter(group_idx, column)?;
        if bloom.is_some_and(|bloom| !bloom.check(&trace_id)) {
            return Ok(Vec::new());
        }
        let reader = reader
            .with_row_groups(vec![group_idx])
            .with_projection(ProjectionMask::columns(footer.parquet_schema(), [TRACE_ID]))
            .with_batch_size(ID_ROWS)
            .build()?;
        let (mut rows, mut first): (Vec<Range<usize>>, _) = (Vec::new(), 0);
        for batch in reader {
            let batch = batch?;
            let ids = batch.column(0).as_string::<i32>();
            for row in (0..ids.len()).filter(|&row| ids.is_valid(row) && ids.value(row) == trace_id)
            {
                match rows.last_mut() {
                    Some(last) if last.end == first + row => last.end += 1,
                    _ => rows.push(first + row..first + row + 1),
                }
            }
            first += batch.num_rows();
        }
        Ok(rows)
    }
}

/// Ids that are looked through at a time.
const ID_ROWS: usize = 65_536;
const TRACE_ID: &str = "trace_id";

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Returns where a row group's section of grams is, by the footer, and its length.
fn grams_of(metadata: &ParquetMetaData, group_idx: usize) -> Option<(u64, usize)> {
    let mut pairs = metadata.file_metadata().key_value_metadata()?.iter();
    let places = pairs.find(|pair| pair.key == grams::KEY)?.value.as_deref()?;
    let places: Vec<(u64, usize)> = serde_json::from_str(places).ok()?;
    places.get(group_idx).copied()
}

/// Returns rows of a row group by the pages of its times; none when the pages have no index.
pub fn pages(
    disk: &dyn Disk,
    footers: &Footers,
    entry: &FileEntry,
    group_idx: usize,
    rows: &[Range<usize>],
) -> Result<Vec<Timed>, ReadError> {
    guarded(disk, entry, |file| {
        let footer = footers.with_pages(&entry.path, &file)?;
        Ok(by_page(footer.metadata(), group_idx, rows).unwrap_or_default())
    })
}

/// Reads columns of some rows of a row group, `batch_rows` at a time; `rows` are half-open, sorted
/// and apart from each other.
pub fn read_rows(
    disk: &dyn Disk,
    footers: &Footers,
    entry: &FileEntry,
    wanted: &Wanted<'_>,
    each: &mut dyn FnMut(RecordBatch) -> bool,
) -> Result<(), ReadError> {
    guarded(disk, entry, |file| {
        let footer = footers.with_pages(&entry.path, &file)?;
        let projection =
            ProjectionMask::columns(footer.parquet_schema(), wanted.columns.iter().copied());
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, footer)
            .with_row_groups(vec![wanted.group_idx])
            .with_projection(projection)
            .with_batch_size(wanted.batch_rows.max(1));
        if let Some(rows) = wanted.rows {
            builder = builder.with_row_selection(selection(rows));
        }
        for batch in builder.build()? {
            if !each(batch?) {
                break;
            }
        }
        Ok(())
    })
}

/// What to read of a file.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Which row group.
    pub group_idx: usize,
    /// Which columns, by name; they come in the file's order.
    pub columns: &'a [&'a str],
    /// Which rows; all when there are none.
    pub rows: Option<&'a [Range<usize>]>,
    /// Rows decoded at a time.
    pub batch_rows: usize,
}

fn selection(rows: &[Range<usize>]) -> RowSelection {
    let mut selectors = Vec::with_capacity(2 * rows.len());
    let mut at = 0;
    for range in rows {
        if range.start > at {
            selectors.push(RowSelector::skip(range.start - at));
        }
        selectors.push(RowSelector::select(range.len()));
        at = range.end;
    }
    RowSelection::from(selectors)
}

/// Reads from a file whose every byte is checked; one on which the Parquet library panics is one
/// that cannot be read.
fn guarded<T>(
    disk: &dyn Disk,
    entry: &FileEntry,
    read: impl FnOnce(Reader) -> Result<T, Fault>,
) -> Result<T, ReadError> {
    let checked = Arc::new(Checked::open(disk, entry));
    let reader = Reader(Arc::clone(&checked));
    match shield("parquet", || read(reader)) {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(source)) => Err(fault(&entry.path, &checked, source)),
        Err(panic) => Err(fault(&entry.path, &checked, panic.into())),
    }
}
