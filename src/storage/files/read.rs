//! Reading rows of wanted series back from metrics files: only row groups that can matter, only the
//! columns needed, labels taken apart once a series. Plain samples are read by way of `group_series`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, AsArray, BooleanArray, DictionaryArray, PrimitiveArray, RecordBatch, RecordBatchReader,
};
use arrow::datatypes::{Float64Type, Int32Type, SchemaRef, TimestampMillisecondType, UInt64Type};
use hashbrown::HashMap;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderMetadata, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowFilter,
};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;

use super::checked::Checked;
use super::deleted::kept_rows;
use crate::base::shield::shield;
use crate::model::dictionary::text_at;
use crate::model::upgrade::{can_upgrade, upgrade};
use crate::model::{Labels, LabelsBuilder, Matcher, decimal};
use crate::storage::disk::Disk;
use crate::storage::{FileEntry, ReadError};

pub use super::footers::Footers;
pub(super) use super::footers::Reader;

/// Rows decoded at a time.
const BATCH_ROWS: usize = 16_384;
/// Rows of each file in memory while files are merged.
pub(in crate::storage) const MERGE_ROWS: usize = 4096;

/// All rows of a file that are not deleted, with all columns, a batch at a time, each byte checked.
pub struct AllRows {
    path: String,
    file: Arc<Checked>,
    reader: ParquetRecordBatchReader,
    schema: SchemaRef,
}

impl std::fmt::Debug for AllRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AllRows").field("path", &self.path).finish_non_exhaustive()
    }
}

impl AllRows {
    /// Opens a file, whose rows are read as those of `schema`.
    pub fn open(disk: &dyn Disk, entry: &FileEntry, schema: &SchemaRef) -> Result<Self, ReadError> {
        let file = Arc::new(Checked::open(disk, entry));
        let builder = ParquetRecordBatchReaderBuilder::try_new(Reader(Arc::clone(&file)));
        let reader = builder.map_err(Into::into).and_then(|builder| {
            if !can_upgrade(&decimal::rows_schema(builder.schema()), schema) {
                return Err("the file has other columns than files written today".into());
            }
            let groups: Vec<usize> = (0..builder.metadata().num_row_groups()).collect();
            let builder = match kept_rows(entry, builder.metadata(), &groups) {
                Some(kept) => builder.with_row_selection(kept),
                None => builder,
            };
            Ok(builder.with_batch_size(MERGE_ROWS).build()?)
        });
        match reader {
            Ok(reader) => {
                let (path, schema) = (entry.path.clone(), Arc::clone(schema));
                Ok(Self { path, file, reader, schema })
            }
            Err(source) => Err(fault(&entry.path, &file, source)),
        }
    }

    /// Returns true when the file itself has a column.
    pub fn has_column(&self, name: &str) -> bool {
        self.reader.schema().column_with_name(name).is_some()
    }

    /// Returns the next rows, `None` at the end.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>, ReadError> {
        let batch = self.reader.next().transpose();
        let batch = batch.map_err(|error| fault(&self.path, &self.file, error.into()))?;
        #[cfg(test)]
        super::held_rows::read(batch.as_ref().map_or(0, RecordBatch::num_rows));
        Ok(batch.map(|batch| {
            upgrade(decimal::from_file(batch), &self.schema)
                .expect("the schema was compared when it was opened")
        }))
    }
}

// Asked afterwards, because the Parquet crate turns causes into text on their way.
pub(super) fn fault(
    path: &str,
    file: &Checked,
    source: Box<dyn std::error::Error + Send + Sync>,
) -> ReadError {
    let path = path.to_owned();
    match (file.damage(), file.away()) {
        (Some(reason), _) => ReadError::Damaged { path, reason: reason.to_owned() },
        (None, Some(reason)) => ReadError::Away { path, reason: reason.to_owned() },
        (None, None) => ReadError::File { path, source },
    }
}

/// Returns the text of a key in the footer of a file that no manifest lists.
pub fn footer_text(disk: &dyn Disk, path: &str, key: &str) -> Option<String> {
    let footer = ArrowReaderMetadata::load(&disk.read(path).ok()?, Default::default()).ok()?;
    let texts = footer.metadata().file_metadata().key_value_metadata()?;
    texts.iter().find(|text| text.key == key)?.value.clone()
}

/// Which rows of a file to read.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'a> {
    /// All must match; the `commons` of the file is a label like any other.
    pub matchers: &'a [Matcher],
    /// First ms wanted, inclusive.
    pub start_ms: i64,
    /// Last ms wanted, inclusive.
    pub end_ms: i64,
}

/// What is made of the rows of wanted series.
pub(super) trait Rows {
    /// Fails when no more shall be read; asked before each batch.
    fn go_on(&self) -> Result<(), ReadError>;
    /// Returns the place of a series that matches.
    fn series(&mut self, id: u64, labels: Labels) -> Result<usize, ReadError>;
    /// Takes one row of the series at a place.
    fn row(
        &mut self,
        place: usize,
        columns: &Columns<'_>,
        batch: &RecordBatch,
        row: usize,
    ) -> Result<(), ReadError>;
}

pub(super) fn read_rows<R: Rows>(
    disk: &dyn Disk,
    footers: &Footers,
    entry: &FileEntry,
    selection: Selection<'_>,
    rows: &mut R,
) -> Result<(), ReadError> {
    let file = Reader(Arc::new(Checked::open(disk, entry)));
    let checked = Arc::clone(&file.0);
    let read = shield("parquet", || read_checked(file, footers, entry, selection, rows));
    let read = read.unwrap_or_else(|panic| {
        Err(ReadError::File { path: entry.path.clone(), source: panic.into() })
    });
    // Asked afterwards, because the Parquet crate turns causes into text on their way.
    match read {
        Err(ReadError::File { path, source }) => Err(fault(&path, &checked, source)),
        Err(_) if checked.damage().is_some() => Err(fault(&entry.path, &checked, "damaged".into())),
        read => read,
    }
}

fn read_checked<R: Rows>(
    file: Reader,
    footers: &Footers,
    entry: &FileEntry,
    selection: Selection<'_>,
    rows: &mut R,
) -> Result<(), ReadError> {
    let fault = |source: Box<dyn std::error::Error + Send + Sync>| ReadError::File {
        path: entry.path.clone(),
        source,
    };
    let footer = footers.get(&entry.path, &file).map_err(|e| fault(e.into()))?;
    let names = selection.matchers.iter().filter(|matcher| matcher.name == "__name__");
    let wanted_metric = names.filter_map(Matcher::one_of).min_by_key(|names| names.len());
    let row_groups = footer.metadata().row_groups().iter().enumerate();
    let row_groups: Vec<usize> = row_groups
        .filter(|(_, group)| may_match(group, wanted_metric, selection))
        .map(|(idx, _)| idx)
        .collect();
    if row_groups.is_empty() {
        return Ok(());
    }
    let kept = kept_rows(entry, footer.metadata(), &row_groups);
    let schema = footer.parquet_schema();
    let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, footer.clone())
        .with_row_groups(row_groups)
        .with_batch_size(BATCH_ROWS);
    if let Some(kept) = kept {
        builder = builder.with_row_selection(kept);
    }
    if let Some(names) = wanted_metric {
        builder = builder.with_row_filter(metric_filter(schema, names));
    }
    let reader = builder.build().map_err(|e| fault(e.into()))?;
    let mut places = Places { entry, selection, by_id: HashMap::new() };
    for batch in reader {
        rows.go_on()?;
        places.take(&decimal::from_file(batch.map_err(|e| fault(e.into()))?), rows)?;
    }
    Ok(())
}

pub(super) fn may_match(
    group: &RowGroupMetaData,
    names: Option<&[String]>,
    selection: Selection<'_>,
) -> bool {
    let time_ok = match group.column(0).statistics() {
        Some(Statistics::Int64(stats)) => {
            stats.min_opt().is_none_or(|&min| min <= selection.end_ms)
                && stats.max_opt().is_none_or(|&max| selection.start_ms <= max)
        }
        _ => true,
    };
    let metric_ok = match (names, group.column(1).statistics()) {
        (Some(names), Some(Statistics::ByteArray(stats))) => names.iter().any(|name| {
            let wanted = name.as_bytes();
            // Long names are cut in the statistics: the lower bound stays below, the upper above.
            stats.min_opt().is_none_or(|min| min.data() <= wanted)
                && stats.max_opt().is_none_or(|max| wanted <= max.data())
        }),
        _ => true,
    };
    time_ok && metric_ok
}

fn metric_filter(schema: &parquet::schema::types::SchemaDescriptor, names: &[String]) -> RowFilter {
    let wanted = names.to_vec();
    let predicate = ArrowPredicateFn::new(
        ProjectionMask::columns(schema, ["metric"]),
        move |batch: RecordBatch| {
            let column = batch.column(0).as_dictionary::<Int32Type>();
            let values = column.values().as_string::<i32>();
            let is_wanted = |value: &str| wanted.iter().any(|name| name == value);
            let is_wanted: Vec<bool> =
                values.iter().map(|value| value.is_some_and(is_wanted)).collect();
            Ok(column
                .keys()
                .iter()
                .map(|key| Some(key.is_some_and(|k| is_wanted[k.unsigned_abs() as usize])))
                .collect::<BooleanArray>())
        },
    );
    RowFilter::new(vec![Box::new(predicate)])
}

/// Which series of a file are wanted, and where the sink keeps them.
struct Places<'a> {
    entry: &'a FileEntry,
    selection: Selection<'a>,
    by_id: HashMap<u64, Option<usize>>,
}

impl Places<'_> {
    fn take<R: Rows>(&mut self, batch: &RecordBatch, rows: &mut R) -> Result<(), ReadError> {
        let columns = Columns::new(batch);
        let mut last: Option<(u64, Option<usize>)> = None;
        for row in 0..batch.num_rows() {
            let id = columns.series_id.value(row);
            let place = match last {
                Some((last_id, place)) if last_id == id => place,
                _ => self.place(id, &columns, row, rows)?,
            };
            last = Some((id, place));
            let ms = columns.timestamp.value(row);
            if let Some(place) = place
                && self.selection.start_ms <= ms
                && ms <= self.selection.end_ms
            {
                rows.row(place, &columns, batch, row)?;
            }
        }
        Ok(())
    }

    fn place<R: Rows>(
        &mut self,
        id: u64,
        columns: &Columns<'_>,
        row: usize,
        rows: &mut R,
    ) -> Result<Option<usize>, ReadError> {
        if let Some(&place) = self.by_id.get(&id) {
            return Ok(place);
        }
        let labels = columns.labels(row, self.entry);
        let matches = |m: &Matcher| m.matches(labels.get(&m.name).unwrap_or(""));
        let place = match self.selection.matchers.iter().all(matches) {
            true => Some(rows.series(id, labels)?),
            false => None,
        };
        self.by_id.insert(id, place);
        Ok(place)
    }
}

/// The columns of a batch of a metrics file.
#[derive(Debug)]
pub struct Columns<'a> {
    /// ms since 1970 UTC.
    pub timestamp: &'a PrimitiveArray<TimestampMillisecondType>,
    /// The samples.
    pub value: &'a PrimitiveArray<Float64Type>,
    /// The series' ids.
    pub series_id: &'a PrimitiveArray<UInt64Type>,
    batch: &'a RecordBatch,
}

impl<'a> Columns<'a> {
    /// Takes a batch apart.
    pub fn new(batch: &'a RecordBatch) -> Self {
        Self {
            timestamp: column(batch, "timestamp").as_primitive(),
            value: column(batch, "value").as_primitive(),
            series_id: column(batch, "series_id").as_primitive(),
            batch,
        }
    }

    /// Returns the keys of a dictionary column; those of nulls mean nothing.
    pub fn keys(&self, name: &str) -> &'a [i32] {
        let dictionary: &DictionaryArray<Int32Type> = column(self.batch, name).as_dictionary();
        dictionary.keys().values()
    }

    /// Returns a text of a dictionary column, empty for null.
    pub fn text(&self, name: &str, row: usize) -> &'a str {
        text_at(column(self.batch, name), row)
    }

    /// Returns the labels of a row's series.
    pub fn labels(&self, row: usize, entry: &FileEntry) -> Labels {
        let mut labels = LabelsBuilder::new();
        let others: BTreeMap<String, String> =
            serde_json::from_str(self.text("labels", row)).unwrap_or_default();
        for (name, value) in &others {
            labels.set(name, value);
        }
        labels.set("__name__", self.text("metric", row));
        for name in ["service", "env", "cluster"] {
            labels.set(name, self.text(name, row));
        }
        if !entry.commons.is_unassigned() {
            labels.set("commons", entry.commons.as_str());
        }
        labels.build()
    }
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a dyn Array {
    batch.column_by_name(name).expect("the projection names it").as_ref()
}
