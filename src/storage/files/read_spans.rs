//! Reading span files: one trace without a scan, or the rows of a time range in the file's order,
//! which is (trace, time).
//!
//! A trace id is looked for in four steps, each of which mostly ends the search: the bounds of the
//! row groups (in the footer, which is kept), their bloom filters, the bounds of the pages, and only
//! then the rows of the one or two pages where the id can be.

use std::collections::BTreeSet;
use std::ops::{Bound, Range};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderMetadata, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowFilter, RowSelection,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    PageIndexPolicy, ParquetMetaData, ParquetMetaDataBuilder, ParquetMetaDataReader,
    RowGroupMetaData,
};
use parquet::file::page_index::column_index::{ByteArrayColumnIndex, ColumnIndexMetaData};
use parquet::file::statistics::Statistics;

use super::checked::Checked;
use super::deleted::kept_rows;
use super::read::{Footers, Reader, fault};
use crate::base::shield::shield;
use crate::model::upgrade::upgrade;
use crate::storage::disk::Disk;
use crate::storage::{FileEntry, ReadError};

/// Rows decoded at a time; many files may be open at once.
const BATCH_ROWS: usize = 2_048;
/// The column that a trace is found by.
pub(super) const TRACE_ID: &str = "trace_id";

pub(super) type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Returns the rows of one trace in a file.
pub fn read_trace(
    disk: &dyn Disk,
    footers: &Footers,
    entry: &FileEntry,
    trace_id: &str,
    schema: &SchemaRef,
) -> Result<Vec<RecordBatch>, ReadError> {
    let checked = Arc::new(Checked::open(disk, entry));
    let read = shielded(|| {
        let found = find(Reader(Arc::clone(&checked)), footers, entry, trace_id)?;
        found.into_iter().map(|batch| today(batch, schema)).collect()
    });
    read.map_err(|source| fault(&entry.path, &checked, source))
}

pub(super) fn shielded<T>(read: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    shield("parquet", read).unwrap_or_else(|panic| Err(panic.into()))
}

fn today(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Fault> {
    upgrade(batch, schema).ok_or_else(|| "the file has other columns than files of today".into())
}

fn find(
    file: Reader,
    footers: &Footers,
    entry: &FileEntry,
    trace_id: &str,
) -> Result<Vec<RecordBatch>, Fault> {
    let footer = footers.get(&entry.path, &file)?;
    let column = column_of(&footer, TRACE_ID)?;
    let may_hold = |group: &RowGroupMetaData| text_may_be(group, column, trace_id);
    let groups = footer.metadata().row_groups().iter().enumerate();
    let groups: Vec<usize> =
        groups.filter(|(_, group)| may_hold(group)).map(|(idx, _)| idx).collect();
    let mut left = Vec::new();
    for group in groups {
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), footer.clone());
        let filter = builder.get_row_group_column_bloom_filter(group, column)?;
        if filter.is_none_or(|filter| filter.check(&trace_id)) {
            left.push(group);
        }
    }
    if left.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for group in left {
        let paged = with_page_index(&footer, &file, &[group])?;
        let Some(rows) = rows_of(paged.metadata(), 0, column, trace_id)? else { continue };
        let rows = match kept_rows(entry, footer.metadata(), &[group]) {
            Some(kept) => rows.intersection(&kept),
            None => rows,
        };
        let reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), paged.clone())
                .with_row_selection(rows)
                .with_row_filter(trace_filter(&paged, trace_id))
                .with_batch_size(BATCH_ROWS)
                .build()?;
        for batch in reader {
            found.push(batch?);
        }
    }
    Ok(found)
}

fn column_of(footer: &ArrowReaderMetadata, name: &str) -> Result<usize, Fault> {
    let columns = footer.parquet_schema().columns();
    let place = columns.iter().position(|column| column.name() == name);
    place.ok_or_else(|| format!("the file has no column {name}").into())
}

fn text_may_be(group: &RowGroupMetaData, column: usize, wanted: &str) -> bool {
    match group.column(column).statistics() {
        Some(Statistics::ByteArray(stats)) => {
            stats.min_opt().is_none_or(|min| min.data() <= wanted.as_bytes())
                && stats.max_opt().is_none_or(|max| wanted.as_bytes() <= max.data())
        }
        _ => true,
    }
}

/// Returns a footer of some row groups alone, with the index of their pages. The index is read when a
/// row group may really hold what is wanted, and not kept: of all the files there are it would take
/// more memory than their footers, and of all row groups of a large file more time than a trace may.
pub(super) fn with_page_index(
    footer: &ArrowReaderMetadata,
    file: &Reader,
    groups: &[usize],
) -> Result<ArrowReaderMetadata, ParquetError> {
    let metadata = footer.metadata();
    let groups = groups.iter().map(|group| metadata.row_group(*group).clone()).collect();
    let builder = ParquetMetaDataBuilder::new(metadata.file_metadata().clone());
    let metadata = builder.set_row_groups(groups).build();
    let mut reader = ParquetMetaDataReader::new_with_metadata(metadata)
        .with_page_index_policy(PageIndexPolicy::Optional);
    reader.read_page_indexes(file)?;
    ArrowReaderMetadata::try_new(Arc::new(reader.finish()?), Default::default())
}

/// Returns the rows of a group in the pages that may hold a trace; `None` when there is no such page.
fn rows_of(
    metadata: &ParquetMetaData,
    group: usize,
    column: usize,
    trace_id: &str,
) -> Result<Option<RowSelection>, Fault> {
    let n_rows = usize::try_from(metadata.row_group(group).num_rows())?;
    let Some((bounds, pages)) = pages_of(metadata, group, column) else {
        let all = std::iter::once(0..n_rows);
        return Ok(Some(RowSelection::from_consecutive_ranges(all, n_rows)));
    };
    let wanted = trace_id.as_bytes();
    let may_hold = |page: &usize| {
        bounds.min_value(*page).is_none_or(|min| min <= wanted)
            && bounds.max_value(*page).is_none_or(|max| wanted <= max)
    };
    let held = (0..pages.len()).filter(may_hold);
    let ranges: Vec<Range<usize>> = held.map(|page| pages[page].clone()).collect();
    if ranges.is_empty() {
        return Ok(None);
    }
    Ok(Some(RowSelection::from_consecutive_ranges(ranges.into_iter(), n_rows)))
}

/// Returns the bounds of a column's pages, and the rows of each; `None` when there is no index.
fn pages_of(
    metadata: &ParquetMetaData,
    group: usize,
    column: usize,
) -> Option<(&ByteArrayColumnIndex, Vec<Range<usize>>)> {
    let n_rows = usize::try_from(metadata.row_group(group).num_rows()).ok()?;
    let bounds = metadata.column_index()?.get(group)?.get(column)?;
    let ColumnIndexMetaData::BYTE_ARRAY(bounds) = bounds else { return None };
    let pages = metadata.offset_index()?.get(group)?.get(column)?.page_locations();
    let starts = pages.iter().map(|page| usize::try_from(page.first_row_index).ok());
    let starts = starts.collect::<Option<Vec<usize>>>()?;
    let ends = starts.iter().skip(1).copied().chain([n_rows]);
    Some((bounds, starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()))
}

fn trace_filter(footer: &ArrowReaderMetadata, trace_id: &str) -> RowFilter {
    let wanted = trace_id.to_owned();
    let mask = ProjectionMask::columns(footer.parquet_schema(), [TRACE_ID]);
    let predicate = ArrowPredicateFn::new(mask, move |batch: RecordBatch| {
        let ids = batch.column(0).as_string::<i32>();
        Ok(ids.iter().map(|id| Some(id == Some(wanted.as_str()))).collect::<BooleanArray>())
    });
    RowFilter::new(vec![Box::new(predicate)])
}

/// Which rows and columns of a span file are wanted.
#[derive(Debug, Clone)]
pub struct SpanRange {
    /// First start time wanted, ns since 1970 UTC, inclusive.
    pub min_ns: i64,
    /// Last start time wanted, inclusive.
    pub max_ns: i64,
    /// The columns wanted; `start_time` must be among them.
    pub columns: Vec<&'static str>,
    /// Only spans of these traces; `None` is all.
    pub traces: Option<Arc<BTreeSet<String>>>,
    /// Only spans that pass a test; it is not asked when traces are wanted.
    pub sift: Option<SpanSift>,
}

/// A test of spans by few columns: the others are read of those that pass.
#[derive(Clone)]
pub struct SpanSift {
    /// The columns that it looks at.
    pub columns: Vec<&'static str>,
    /// Says which spans of a batch pass.
    pub passes: Arc<RowTest>,
}

/// Says which rows of a batch pass.
pub type RowTest = dyn Fn(&RecordBatch) -> Vec<bool> + Send + Sync;

impl std::fmt::Debug for SpanSift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpanSift").field("columns", &self.columns).finish_non_exhaustive()
    }
}

/// The rows of a file in a time range, sorted by (trace, time), a batch at a time.
pub struct SpanRows {
    path: String,
    file: Arc<Checked>,
    reader: Option<ParquetRecordBatchReader>,
    schema: SchemaRef,
}

impl std::fmt::Debug for SpanRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpanRows").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SpanRows {
    /// Opens a file; `schema` is that of the wanted columns as they are written today.
    pub fn open(
        disk: &dyn Disk,
        footers: &Footers,
        entry: &FileEntry,
        range: &SpanRange,
        schema: &SchemaRef,
    ) -> Result<Self, ReadError> {
        let file = Arc::new(Checked::open(disk, entry));
        let reader = shielded(|| open(Reader(Arc::clone(&file)), footers, entry, range));
        let reader = reader.map_err(|source| fault(&entry.path, &file, source))?;
        Ok(Self { path: entry.path.clone(), file, reader, schema: Arc::clone(schema) })
    }

    /// Returns the next rows, `None` at the end.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>, ReadError> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let schema = &self.schema;
        let next = shielded(|| match reader.next() {
            Some(batch) => Ok(Some(today(batch?, schema)?)),
            None => Ok(None),
        });
        next.map_err(|source| fault(&self.path, &self.file, source))
    }
}

fn open(
    file: Reader,
    footers: &Footers,
    entry: &FileEntry,
    range: &SpanRange,
) -> Result<Option<ParquetRecordBatchReader>, Fault> {
    let footer = footers.get(&entry.path, &file)?;
    let groups = footer.metadata().row_groups().iter().enumerate();
    let groups: Vec<usize> =
        groups.filter(|(_, group)| time_may_be(group, range)).map(|(idx, _)| idx).collect();
    let builder = match &range.traces {
        None => of_any_trace(&file, footer, (entry, groups), range)?,
        Some(traces) => of_traces(&file, &footer, (entry, groups), range, traces)?,
    };
    Ok(builder.map(Builder::build).transpose()?)
}

type Builder = ParquetRecordBatchReaderBuilder<Reader>;

fn builder(
    file: &Reader,
    footer: ArrowReaderMetadata,
    groups: Vec<usize>,
    range: &SpanRange,
) -> Builder {
    let mask = ProjectionMask::columns(footer.parquet_schema(), range.columns.iter().copied());
    ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), footer)
        .with_row_groups(groups)
        .with_projection(mask)
        .with_batch_size(BATCH_ROWS)
}

fn of_any_trace(
    file: &Reader,
    footer: ArrowReaderMetadata,
    (entry, groups): (&FileEntry, Vec<usize>),
    range: &SpanRange,
) -> Result<Option<Builder>, Fault> {
    if groups.is_empty() {
        return Ok(None);
    }
    let kept = kept_rows(entry, footer.metadata(), &groups);
    let reader = match &range.sift {
        Some(sift) => {
            let footer = with_page_index(&footer, file, &groups)?;
            let filter = sift_filter(&footer, sift);
            builder(file, footer, (0..groups.len()).collect(), range).with_row_filter(filter)
        }
        None => builder(file, footer, groups, range),
    };
    Ok(Some(match kept {
        Some(kept) => reader.with_row_selection(kept),
        None => reader,
    }))
}

fn of_traces(
    file: &Reader,
    footer: &ArrowReaderMetadata,
    (entry, groups): (&FileEntry, Vec<usize>),
    range: &SpanRange,
    traces: &Arc<BTreeSet<String>>,
) -> Result<Option<Builder>, Fault> {
    let column = column_of(footer, TRACE_ID)?;
    let (mut left, mut wanted) = (Vec::new(), BTreeSet::new());
    for group in groups {
        if !one_may_be(footer.metadata().row_group(group), column, traces) {
            continue;
        }
        let of_group = passing_bloom(file, footer, group, column, traces)?;
        if !of_group.is_empty() {
            left.push(group);
            wanted.extend(of_group);
        }
    }
    if left.is_empty() {
        return Ok(None);
    }
    let paged = with_page_index(footer, file, &left)?;
    let rows = rows_of_any(paged.metadata(), column, &wanted)?;
    let rows = match kept_rows(entry, footer.metadata(), &left) {
        Some(kept) => rows.intersection(&kept),
        None => rows,
    };
    let filter = traces_filter(&paged, Arc::clone(traces));
    let groups = (0..left.len()).collect();
    let reader = builder(file, paged, groups, range);
    Ok(Some(reader.with_row_selection(rows).with_row_filter(filter)))
}

fn one_may_be(group: &RowGroupMetaData, column: usize, traces: &BTreeSet<String>) -> bool {
    match group.column(column).statistics() {
        Some(Statistics::ByteArray(stats)) => {
            let bounds = stats.min_opt().zip(stats.max_opt());
            bounds.is_none_or(|(min, max)| is_between(traces, min.data(), max.data()))
        }
        _ => true,
    }
}

/// More traces than this are not looked for in bloom filters: most pages would be read anyway.
const BLOOM_TRACES_MAX: usize = 4_096;

/// Returns those of some traces that a group's bloom filter lets through.
fn passing_bloom(
    file: &Reader,
    footer: &ArrowReaderMetadata,
    group: usize,
    column: usize,
    traces: &BTreeSet<String>,
) -> Result<BTreeSet<String>, Fault> {
    if traces.len() > BLOOM_TRACES_MAX {
        return Ok(traces.clone());
    }
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), footer.clone());
    let bloom = builder.get_row_group_column_bloom_filter(group, column)?;
    let may_be = |id: &&String| bloom.as_ref().is_none_or(|bloom| bloom.check(&id.as_str()));
    Ok(traces.iter().filter(may_be).cloned().collect())
}

/// Returns true when one of the texts lies between two.
fn is_between(texts: &BTreeSet<String>, min: &[u8], max: &[u8]) -> bool {
    match (std::str::from_utf8(min), std::str::from_utf8(max)) {
        (Ok(min), Ok(max)) if min <= max => {
            texts.range::<str, _>((Bound::Included(min), Bound::Included(max))).next().is_some()
        }
        _ => true,
    }
}

/// Returns the rows in the pages that may hold one of the traces, of all groups of a footer.
fn rows_of_any(
    metadata: &ParquetMetaData,
    column: usize,
    traces: &BTreeSet<String>,
) -> Result<RowSelection, Fault> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut first = 0;
    for group in 0..metadata.num_row_groups() {
        let n_rows = usize::try_from(metadata.row_group(group).num_rows())?;
        match pages_of(metadata, group, column) {
            Some((bounds, pages)) => {
                for (page, rows) in pages.into_iter().enumerate() {
                    let may_hold = bounds
                        .min_value(page)
                        .zip(bounds.max_value(page))
                        .is_none_or(|(min, max)| is_between(traces, min, max));
                    if may_hold {
                        ranges.push(first + rows.start..first + rows.end);
                    }
                }
            }
            None => ranges.push(first..first + n_rows),
        }
        first += n_rows;
    }
    Ok(RowSelection::from_consecutive_ranges(ranges.into_iter(), first))
}

fn sift_filter(footer: &ArrowReaderMetadata, sift: &SpanSift) -> RowFilter {
    let mask = ProjectionMask::columns(footer.parquet_schema(), sift.columns.iter().copied());
    let passes = Arc::clone(&sift.passes);
    let predicate =
        ArrowPredicateFn::new(mask, move |batch| Ok(BooleanArray::from(passes(&batch))));
    RowFilter::new(vec![Box::new(predicate)])
}

fn traces_filter(footer: &ArrowReaderMetadata, traces: Arc<BTreeSet<String>>) -> RowFilter {
    let mask = ProjectionMask::columns(footer.parquet_schema(), [TRACE_ID]);
    let predicate = ArrowPredicateFn::new(mask, move |batch: RecordBatch| {
        let ids = batch.column(0).as_string::<i32>();
        let is_wanted = |id: Option<&str>| Some(id.is_some_and(|id| traces.contains(id)));
        Ok(ids.iter().map(is_wanted).collect::<BooleanArray>())
    });
    RowFilter::new(vec![Box::new(predicate)])
}

/// Returns false when no span of a group began in the range.
pub(super) fn time_may_be(group: &RowGroupMetaData, range: &SpanRange) -> bool {
    match group.column(0).statistics() {
        Some(Statistics::Int64(stats)) => {
            stats.min_opt().is_none_or(|&min| min <= range.max_ns)
                && stats.max_opt().is_none_or(|&max| range.min_ns <= max)
        }
        _ => true,
    }
}
