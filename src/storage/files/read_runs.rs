//! Reading rows of a metrics file whose places are known: times and values, and nothing else; those
//! that were read lately and are still decoded are not read again.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMillisecondType};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::file::metadata::ParquetMetaData;

use super::checked::Checked;
use super::read::{Footers, Reader, fault};
use super::read_histograms::start_at;
use super::sample_cache::{Gathered, Samples};
use crate::base::shield::shield;
use crate::model::decimal;
use crate::model::metric::START_TIME;
use crate::storage::disk::Disk;
use crate::storage::{FileEntry, ReadError};

/// Rows decoded at a time.
const BATCH_ROWS: usize = 32_768;
/// Pieces that are looked up together: so few that what was found is at hand until it is handed on.
const PIECES_LOOKED_UP: usize = 256;

/// Rows of one series, in one row group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where the reader keeps the series.
    pub place: u32,
    /// Which row group.
    pub group_idx: u32,
    /// Which of its rows; half-open, never empty.
    pub rows: Range<u32>,
}

/// Samples of one series in the order of the file, which is that of time.
#[derive(Debug)]
pub struct Rows<'a> {
    /// Where the reader keeps the series.
    pub place: u32,
    /// ms since 1970 UTC.
    pub timestamps_ms: &'a [i64],
    /// One value a timestamp.
    pub values: &'a [f64],
    /// Where they were read, and the first row there; none where nobody wanted starts.
    read: Option<(&'a RecordBatch, usize)>,
}

impl Rows<'_> {
    /// Returns since when a sample counts, ns since 1970 UTC, 0 for none.
    pub fn start_ns(&self, idx: usize) -> i64 {
        self.read.map_or(0, |(batch, first_row)| start_at(batch, first_row + idx))
    }
}

/// What is wanted of rows beside times and values, and what becomes of them.
#[derive(Debug, Clone, Copy)]
pub struct Wants {
    /// Since when samples count.
    pub starts: bool,
    /// That decoded samples be kept for the next question.
    pub keeping: bool,
}

/// Pieces of one file, read one after the other.
pub struct RunReader {
    entry: Arc<FileEntry>,
    pieces: Vec<Piece>,
    /// What of them is decoded already, of as many as were looked up; all of them are before one is read.
    known: Vec<Option<Samples>>,
    n_done: usize,
    wants: Wants,
    gathered: Gathered,
    open: Option<Open>,
}

struct Open {
    file: Arc<Checked>,
    reader: ParquetRecordBatchReader,
    batch: RecordBatch,
    /// The values of the batch.
    values: Vec<f64>,
    /// The first row of the batch that was not handed on.
    at: usize,
}

impl std::fmt::Debug for RunReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunReader").field("path", &self.entry.path).finish_non_exhaustive()
    }
}

impl RunReader {
    /// Returns a reader of pieces that are sorted by row group and row, and by place.
    pub fn new(entry: Arc<FileEntry>, pieces: Vec<Piece>, wants: Wants) -> Self {
        let (known, n_done, gathered, open) = (Vec::new(), 0, Gathered::default(), None);
        Self { entry, pieces, known, n_done, wants, gathered, open }
    }

    /// Hands on the rows of the pieces whose place is below an end and that were not handed on before.
    ///
    /// When the file turns out to be damaged, what was handed on until then is right, and not all. A
    /// file on which the Parquet library panics is one that cannot be read.
    pub fn read_until(
        &mut self,
        (disk, footers): (&dyn Disk, &Footers),
        end_place: u32,
        take: &mut dyn FnMut(Rows<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let rest = &self.pieces[self.n_done..];
        let end = self.n_done + rest.partition_point(|piece| piece.place < end_place);
        while self.n_done < end {
            self.look_up(footers, self.n_done + 1);
            match self.known[self.n_done].take() {
                Some(samples) => take(Rows {
                    place: self.pieces[self.n_done].place,
                    timestamps_ms: &samples.timestamps_ms,
                    values: &samples.values,
                    read: None,
                })?,
                None => self.read_next((disk, footers), take)?,
            }
            self.n_done += 1;
        }
        Ok(())
    }

    /// Looks up what is decoded already of the pieces before an end, and of some more.
    fn look_up(&mut self, footers: &Footers, end: usize) {
        if end <= self.known.len() {
            return;
        }
        let end = end.saturating_add(PIECES_LOOKED_UP).min(self.pieces.len());
        let some = &self.pieces[self.known.len()..end];
        match self.wants.starts {
            // They are in a column that is not kept.
            true => self.known.resize(end, None),
            false => self.known.extend(footers.samples.kept(&self.entry.path, some)),
        }
    }

    /// Hands on the rows of the next piece, read from the file.
    fn read_next(
        &mut self,
        (disk, footers): (&dyn Disk, &Footers),
        take: &mut dyn FnMut(Rows<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        if self.open.is_none() {
            self.look_up(footers, self.pieces.len());
            self.open = Some(self.open(disk, footers)?);
        }
        let open = self.open.as_mut().expect("it was just opened");
        let (path, file) = (&self.entry.path, Arc::clone(&open.file));
        let (piece, gathered) = (&self.pieces[self.n_done], &mut self.gathered);
        let is_kept = self.wants.keeping && !self.wants.starts;
        let read = shield("parquet", || {
            open.read(piece, &mut |rows| {
                if is_kept {
                    gathered.add(rows.timestamps_ms, rows.values);
                }
                take(rows)
            })
        });
        read.map_err(|panic| fault(path, &file, panic.into()))?
            .map_err(|source| fault(path, &file, source))??;
        if is_kept {
            gathered.end(piece);
            // Those between are known: they are not read, whichever row group they are of.
            let mut later = self.pieces.iter().zip(&self.known).skip(self.n_done + 1);
            let next = later.find(|(_, known)| known.is_none()).map(|(piece, _)| piece);
            if let Some((group_idx, read)) = gathered.take_before(next) {
                footers.samples.keep((path, group_idx), read);
            }
        }
        Ok(())
    }

    fn open(&self, disk: &dyn Disk, footers: &Footers) -> Result<Open, ReadError> {
        let file = Arc::new(Checked::open(disk, &self.entry));
        let reader = Reader(Arc::clone(&file));
        match shield("parquet", || self.build(reader, footers)) {
            Ok(Ok(reader)) => {
                let batch =
                    RecordBatch::new_empty(arrow::array::RecordBatchReader::schema(&reader));
                Ok(Open { file, reader, batch, values: Vec::new(), at: 0 })
            }
            Ok(Err(source)) => Err(fault(&self.entry.path, &file, source)),
            Err(panic) => Err(fault(&self.entry.path, &file, panic.into())),
        }
    }

    /// Returns the pieces that are left to be read.
    fn unknown(&self) -> impl Iterator<Item = &Piece> {
        let rest = self.pieces.iter().zip(&self.known).skip(self.n_done);
        rest.filter(|(_, known)| known.is_none()).map(|(piece, _)| piece)
    }

    fn build(&self, file: Reader, footers: &Footers) -> Result<ParquetRecordBatchReader, Fault> {
        let footer = footers.with_places(&self.entry.path, &file)?;
        let metadata = footer.metadata();
        let (mut groups, mut ranges, mut n_before, mut n_group) = (Vec::new(), Vec::new(), 0, 0);
        for piece in self.unknown() {
            let group_idx = piece.group_idx as usize;
            if groups.last() != Some(&group_idx) {
                groups.push(group_idx);
                n_before += n_group;
                n_group = usize::try_from(metadata.row_group(group_idx).num_rows())?;
            }
            let rows = piece.rows.start as usize..piece.rows.end as usize;
            ranges.push(n_before + rows.start..n_before + rows.end);
        }
        let n_rows = n_before + n_group;
        let n_wanted: usize = ranges.iter().map(ExactSizeIterator::len).sum();
        // Files of earlier versions have the value itself.
        let mut columns = vec!["timestamp", decimal::VALUE, decimal::DIGITS, decimal::SCALE];
        columns.extend(
            groups.iter().any(|group| has_doubles(metadata, *group)).then_some(decimal::DOUBLE),
        );
        columns.extend(self.wants.starts.then_some(START_TIME));
        let projection = ProjectionMask::columns(footer.parquet_schema(), columns);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, footer)
            .with_row_groups(groups)
            .with_projection(projection)
            .with_batch_size(n_wanted.clamp(1, BATCH_ROWS));
        if n_wanted == n_rows {
            return Ok(builder.build()?);
        }
        let selection = RowSelection::from_consecutive_ranges(ranges.into_iter(), n_rows);
        Ok(builder.with_row_selection(selection).build()?)
    }
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

impl Open {
    /// Hands on the rows of the next piece that is read, in parts as they are decoded. What the taker
    /// says comes back within.
    fn read(
        &mut self,
        piece: &Piece,
        take: &mut dyn FnMut(Rows<'_>) -> Result<(), ReadError>,
    ) -> Result<Result<(), ReadError>, Fault> {
        let mut n_left = piece.rows.len();
        while n_left > 0 {
            if self.at == self.batch.num_rows() {
                self.batch = self.reader.next().ok_or("the file ends too soon")??;
                self.at = 0;
                read_values(&self.batch, &mut self.values)?;
            }
            let n = n_left.min(self.batch.num_rows() - self.at);
            let rows = self.at..self.at + n;
            let taken = take(Rows {
                place: piece.place,
                timestamps_ms: &times(&self.batch)?[rows.clone()],
                values: &self.values[rows],
                read: Some((&self.batch, self.at)),
            });
            if taken.is_err() {
                return Ok(taken);
            }
            self.at += n;
            n_left -= n;
        }
        Ok(Ok(()))
    }
}

fn times(batch: &RecordBatch) -> Result<&[i64], Fault> {
    let column = batch.column_by_name("timestamp").ok_or("the file has no times")?;
    let column = column.as_primitive_opt::<TimestampMillisecondType>();
    Ok(column.ok_or("the file's times are of another kind")?.values())
}

/// Reads the values of a batch, as the double they were or as decimals.
fn read_values(batch: &RecordBatch, values: &mut Vec<f64>) -> Result<(), Fault> {
    const OF_ANOTHER_KIND: &str = "the file's values are of another kind";
    let column = |name| batch.column_by_name(name);
    values.clear();
    if let Some(plain) = column(decimal::VALUE) {
        let plain = plain.as_primitive_opt::<Float64Type>().ok_or(OF_ANOTHER_KIND)?;
        values.extend_from_slice(plain.values());
        return Ok(());
    }
    let digits = column(decimal::DIGITS).and_then(|digits| digits.as_primitive_opt::<Int64Type>());
    let scales = column(decimal::SCALE).and_then(|scales| scales.as_primitive_opt::<Int32Type>());
    let (digits, scales) = digits.zip(scales).ok_or(OF_ANOTHER_KIND)?;
    let mut rest: &[i64] = digits.values();
    for run in scales.values().chunk_by(|a, b| a == b) {
        let scale = usize::try_from(run[0]).unwrap_or(usize::MAX);
        let (of_run, others) = rest.split_at(run.len());
        values.extend(of_run.iter().map(|digits| decimal::value_of(*digits, scale)));
        rest = others;
    }
    if digits.null_count() > 0 {
        let doubles = column(decimal::DOUBLE).and_then(|d| d.as_primitive_opt::<Float64Type>());
        let doubles = doubles.ok_or(OF_ANOTHER_KIND)?;
        let missing = values.iter_mut().enumerate().filter(|(row, _)| digits.is_null(*row));
        missing.for_each(|(row, value)| *value = doubles.value(row));
    }
    Ok(())
}

/// Returns false when a row group says that all its values are decimals.
fn has_doubles(metadata: &ParquetMetaData, group_idx: usize) -> bool {
    let group = metadata.row_group(group_idx);
    let mut columns = group.columns().iter();
    let doubles = columns.find(|column| column.column_path().string() == decimal::DOUBLE);
    let n_nulls = doubles.and_then(|column| column.statistics()?.null_count_opt());
    n_nulls.is_none_or(|n_nulls| i64::try_from(n_nulls).ok() != Some(group.num_rows()))
}
