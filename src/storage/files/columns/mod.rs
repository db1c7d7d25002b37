//! Record batches become row groups.
//!
//! The Parquet crate encodes most columns. Those whose values repeat from row to row, dictionary
//! columns of texts and the series ids, are encoded here, a run at a time; and so are all other texts,
//! taken straight from the batches they came in, in whatever order rows are wanted, and the digits of
//! values, series by series.

mod bloom;
mod chunk;
mod delta;
mod digits;
mod hybrid;
mod interned;
mod pages;
mod plain;
mod texts;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_values;

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{interleave, interleave_record_batch};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, SchemaRef, UInt64Type};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;

use super::grams;
use crate::model::decimal;
use chunk::DictionaryChunk;
use digits::DigitsChunk;
use interned::Form;
use pages::Compressor;
use texts::TextChunk;

/// Writes the row groups of a file, and its footer.
pub struct RowGroups<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    factory: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    rows_max: usize,
    open: Option<OpenGroup>,
    compressor: Compressor,
    lines: Option<Lines>,
}

/// What is written about the lines of each row group.
struct Lines {
    builder: grams::Builder,
    /// Where each row group's section begins, and its length.
    sections: Vec<(u64, u64)>,
}

/// The row group under way.
struct OpenGroup {
    columns: Vec<Column>,
    n_rows: usize,
}

/// A column chunk under way.
enum Column {
    Dictionary(Box<DictionaryChunk>),
    Texts(Box<TextChunk>),
    Digits(Box<DigitsChunk>),
    Other(Box<ArrowColumnWriter>),
}

impl<W: Write + Send> std::fmt::Debug for RowGroups<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowGroups").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl<W: Write + Send> RowGroups<W> {
    /// Begins a file. No column may hold lists of structures: a field has one leaf.
    pub fn new(out: W, schema: &SchemaRef, properties: WriterProperties) -> Result<Self> {
        let rows_max = properties.max_row_group_row_count().unwrap_or(usize::MAX);
        let writer = ArrowWriter::try_new(out, Arc::clone(schema), Some(properties))?;
        let (writer, factory) = writer.into_serialized_writer()?;
        let schema = Arc::clone(schema);
        Ok(Self {
            writer,
            factory,
            schema,
            rows_max,
            open: None,
            compressor: Compressor::default(),
            lines: None,
        })
    }

    /// Has what may stand in the lines written behind each row group, when the schema has lines.
    pub fn with_grams(mut self) -> Self {
        let builder = grams::Builder::of(&self.schema);
        self.lines = builder.map(|builder| Lines { builder, sections: Vec::new() });
        self
    }

    /// Appends rows.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut from = 0;
        while from < batch.num_rows() {
            let mut group = self.open_group()?;
            let n = (batch.num_rows() - from).min(self.rows_max - group.n_rows);
            let rows = batch.slice(from, n);
            group.write(&self.schema, &rows, &mut self.compressor)?;
            if let Some(lines) = &mut self.lines {
                lines.builder.push(&rows);
            }
            from += n;
            self.put_back(group)?;
        }
        Ok(())
    }

    /// Appends rows of several batches, each by its batch and its place there. Calls that follow each
    /// other cost less when they name the same batches.
    pub fn write_places(
        &mut self,
        batches: &[&RecordBatch],
        mut places: &[(usize, usize)],
    ) -> Result<()> {
        if self.lines.is_some() {
            // What is written about lines is made of whole rows.
            let rows = interleave_record_batch(batches, places).map_err(arrow_error)?;
            return self.write(&rows);
        }
        while !places.is_empty() {
            let mut group = self.open_group()?;
            let n = places.len().min(self.rows_max - group.n_rows);
            let (now, later) = places.split_at(n);
            group.write_places(&self.schema, batches, now, &mut self.compressor)?;
            places = later;
            self.put_back(group)?;
        }
        Ok(())
    }

    fn open_group(&mut self) -> Result<OpenGroup> {
        match self.open.take() {
            Some(group) => Ok(group),
            None => OpenGroup::new(&self.writer, &self.factory, &self.schema),
        }
    }

    fn put_back(&mut self, group: OpenGroup) -> Result<()> {
        let is_full = group.n_rows == self.rows_max;
        self.open = Some(group);
        if is_full { self.end_row_group() } else { Ok(()) }
    }

    /// Returns the bytes that the row group under way holds in memory.
    pub fn memory_size(&self) -> usize {
        let columns = self.open.iter().flat_map(|group| &group.columns).map(Column::memory_size);
        let lines = self.lines.iter().map(|lines| lines.builder.memory_size());
        columns.chain(lines).sum()
    }

    /// Writes the row group under way, if there is one.
    pub fn end_row_group(&mut self) -> Result<()> {
        let Some(group) = self.open.take() else { return Ok(()) };
        let mut row_group = self.writer.next_row_group()?;
        for column in group.columns {
            match column {
                Column::Other(column) => column.close()?.append_to_row_group(&mut row_group)?,
                Column::Dictionary(column) => {
                    let chunk = column.finish(&mut self.compressor)?;
                    row_group.append_column(&chunk.bytes, chunk.close)?;
                }
                Column::Texts(column) => {
                    let chunk = column.finish(&mut self.compressor)?;
                    row_group.append_column(&chunk.bytes, chunk.close)?;
                }
                Column::Digits(column) => {
                    let chunk = column.finish(&mut self.compressor)?;
                    row_group.append_column(&chunk.bytes, chunk.close)?;
                }
            }
        }
        row_group.close()?;
        if let Some(lines) = &mut self.lines {
            let section = lines.builder.end_group();
            let offset = self.writer.bytes_written() as u64;
            self.writer.write_all(&section)?;
            lines.sections.push((offset, section.len() as u64));
        }
        Ok(())
    }

    /// Ends the row groups; what `tail` returns for the writer below is a key of the footer.
    pub fn start_tail(&mut self, tail: impl FnOnce(&mut W) -> KeyValue) -> Result<()> {
        self.end_row_group()?;
        if let Some(Lines { sections, .. }) = &self.lines {
            let places = serde_json::to_string(sections).expect("numbers are JSON");
            let key = KeyValue::new(grams::KEY.to_owned(), places);
            self.writer.append_key_value_metadata(key);
        }
        // What is still in the crate's buffer would be taken for a part of the tail.
        self.writer.flush()?;
        let key = tail(self.writer.inner_mut());
        self.writer.append_key_value_metadata(key);
        Ok(())
    }

    /// Writes the footer and returns the writer below.
    pub fn into_inner(mut self) -> Result<W> {
        self.end_row_group()?;
        self.writer.into_inner()
    }
}

impl OpenGroup {
    fn new<W: Write + Send>(
        writer: &SerializedFileWriter<W>,
        factory: &ArrowRowGroupWriterFactory,
        schema: &SchemaRef,
    ) -> Result<Self> {
        let ordinal = writer.flushed_row_groups().len();
        let others = factory.create_column_writers(ordinal)?;
        assert_eq!(others.len(), schema.fields().len(), "every field has one leaf");
        let columns = schema.fields().iter().zip(others).enumerate();
        let columns = columns.map(|(idx, (field, other))| {
            let (descr, properties) = (writer.schema_descr().column(idx), writer.properties());
            Ok(match form(field) {
                Some(form) => {
                    Column::Dictionary(Box::new(DictionaryChunk::new(form, descr, properties)))
                }
                None if field.data_type() == &DataType::Utf8 => {
                    Column::Texts(Box::new(TextChunk::new(descr, properties)?))
                }
                None if field.name() == decimal::DIGITS => {
                    Column::Digits(Box::new(DigitsChunk::new(descr, properties)))
                }
                None => Column::Other(Box::new(other)),
            })
        });
        Ok(Self { columns: columns.collect::<Result<_>>()?, n_rows: 0 })
    }

    fn write_places(
        &mut self,
        schema: &SchemaRef,
        batches: &[&RecordBatch],
        places: &[(usize, usize)],
        compressor: &mut Compressor,
    ) -> Result<()> {
        for (idx, (column, field)) in self.columns.iter_mut().zip(schema.fields()).enumerate() {
            let arrays: Vec<&ArrayRef> = batches.iter().map(|batch| batch.column(idx)).collect();
            column.write_places(field, &arrays, places, compressor)?;
        }
        self.n_rows += places.len();
        Ok(())
    }

    fn write(
        &mut self,
        schema: &SchemaRef,
        batch: &RecordBatch,
        compressor: &mut Compressor,
    ) -> Result<()> {
        let series = series(batch);
        for ((column, field), array) in
            self.columns.iter_mut().zip(schema.fields()).zip(batch.columns())
        {
            match column {
                Column::Digits(column) => {
                    column.push(array.as_primitive::<Int64Type>(), &series, compressor)?;
                }
                column => column.write(field, array, compressor)?,
            }
        }
        self.n_rows += batch.num_rows();
        Ok(())
    }
}

/// Returns which rows of metrics belong to one series; all of them, where there are no series.
fn series(batch: &RecordBatch) -> Vec<Range<usize>> {
    let Some(ids) = batch.column_by_name("series_id") else {
        return std::iter::once(0..batch.num_rows()).collect();
    };
    let runs = ids.as_primitive::<UInt64Type>().values().chunk_by(|a, b| a == b);
    let mut from = 0;
    let runs = runs.map(|run| {
        from += run.len();
        from - run.len()..from
    });
    runs.collect()
}

/// Returns how the values of a field that is encoded here look; `None` leaves it to the crate.
fn form(field: &Field) -> Option<Form> {
    match field.data_type() {
        DataType::Dictionary(..) => Some(Form::Text),
        DataType::UInt64 if field.name() == "series_id" => Some(Form::Number),
        DataType::Int32 if field.name() == decimal::SCALE => Some(Form::Number),
        _ => None,
    }
}

impl Column {
    fn write(
        &mut self,
        field: &Field,
        array: &ArrayRef,
        compressor: &mut Compressor,
    ) -> Result<()> {
        match self {
            Column::Other(column) => {
                compute_leaves(field, array)?.iter().try_for_each(|leaf| column.write(leaf))
            }
            Column::Texts(column) => column.push_texts(array.as_string::<i32>(), compressor),
            Column::Digits(column) => {
                let all = 0..array.len();
                let digits = array.as_primitive::<Int64Type>();
                column.push(digits, std::slice::from_ref(&all), compressor)
            }
            Column::Dictionary(column) if array.data_type() == &DataType::UInt64 => {
                column.push_numbers(array.as_primitive::<UInt64Type>(), compressor)
            }
            Column::Dictionary(column) if array.data_type() == &DataType::Int32 => {
                column.push_numbers(array.as_primitive::<Int32Type>(), compressor)
            }
            Column::Dictionary(column) => {
                column.push_texts(array.as_dictionary::<Int32Type>(), compressor)
            }
        }
    }

    fn write_places(
        &mut self,
        field: &Field,
        arrays: &[&ArrayRef],
        places: &[(usize, usize)],
        compressor: &mut Compressor,
    ) -> Result<()> {
        match self {
            Column::Texts(column) => {
                let texts: Vec<_> = arrays.iter().map(|array| array.as_string::<i32>()).collect();
                column.push_places(&texts, places, compressor)
            }
            Column::Dictionary(column) if matches!(field.data_type(), DataType::Dictionary(..)) => {
                column.push_places(arrays, places, compressor)
            }
            Column::Dictionary(_) | Column::Digits(_) | Column::Other(_) => {
                let arrays: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
                let gathered = interleave(&arrays, places).map_err(arrow_error)?;
                self.write(field, &gathered, compressor)
            }
        }
    }

    fn memory_size(&self) -> usize {
        match self {
            Column::Texts(column) => column.memory_size(),
            Column::Digits(column) => column.memory_size(),
            Column::Dictionary(column) => column.memory_size(),
            Column::Other(column) => column.memory_size(),
        }
    }
}

fn arrow_error(error: ArrowError) -> ParquetError {
    ParquetError::ArrowError(error.to_string())
}
