//! One column chunk of values that repeat: a dictionary page, then pages of keys.
//!
//! Rows come as runs, because rows that stand together mostly share the value. So a value is looked
//! up once a run and not once a row, which is what the Parquet crate's own encoder does and what
//! used to be most of a flush. The bytes are plain Parquet (`PLAIN` dictionary, `RLE_DICTIONARY`
//! data pages of version 1), with the page indexes that let readers skip.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, DictionaryArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Int32Type, ToByteSlice};
use parquet::basic::{Compression, Encoding};
use parquet::errors::Result;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnDescPtr;

use super::hybrid::{Hybrid, width_below};
use super::interned::{Form, Interned};
use super::pages::{Compressor, DataPage, EncodedChunk, PageBounds, Pages};
use super::plain::{PlainPage, push_levels};

/// The key of rows without a value.
const NULL: u32 = u32::MAX;

/// A column chunk being written.
pub(super) struct DictionaryChunk {
    descr: ColumnDescPtr,
    compression: Compression,
    page_rows_max: u32,
    with_bounds: bool,
    values: Interned,
    page: OpenPage,
    pages: Pages,
    sources: Vec<Source>,
    /// The last text's, which mostly is the next one's too.
    last_key: u32,
}

/// A column that rows are gathered from, and the chunk's numbers of its texts.
struct Source {
    /// Held, so that its address is no other one's.
    column: ArrayRef,
    key_of: Vec<u32>,
}

/// The rows of the page under way.
#[derive(Debug, Default)]
struct OpenPage {
    /// Keys, and how many rows each is for.
    runs: Vec<(u32, u32)>,
    n_rows: u32,
    n_nulls: u32,
}

impl DictionaryChunk {
    /// Begins an empty chunk with the column's settings.
    pub(super) fn new(form: Form, descr: ColumnDescPtr, properties: &WriterProperties) -> Self {
        let path = descr.path();
        let page_rows_max = properties.data_page_row_count_limit();
        // Bounds are compared as texts are, which says nothing of numbers.
        let with_bounds =
            form == Form::Text && properties.statistics_enabled(path) == EnabledStatistics::Page;
        Self {
            compression: properties.compression(path),
            page_rows_max: u32::try_from(page_rows_max.max(1)).unwrap_or(u32::MAX),
            with_bounds,
            values: Interned::new(form),
            page: OpenPage::default(),
            pages: Pages::new(descr.physical_type(), with_bounds),
            sources: Vec::new(),
            last_key: NULL,
            descr,
        }
    }

    /// Appends rows of texts.
    pub(super) fn push_texts(
        &mut self,
        column: &DictionaryArray<Int32Type>,
        compressor: &mut Compressor,
    ) -> Result<()> {
        let texts = column.values().as_string::<i32>();
        let mut key_of = vec![NULL; texts.len()];
        let keys = column.keys();
        let mut row = 0;
        for run in keys.values().chunk_by(|a, b| a == b) {
            let (from, to) = (row, row + run.len());
            row = to;
            // What stands in place of a key where there is none is anybody's guess.
            for (is_null, n) in null_runs(keys.nulls(), from, to) {
                if is_null {
                    self.push_run(NULL, n, compressor)?;
                    continue;
                }
                let key = usize::try_from(run[0]).expect("keys are indexes");
                if key_of[key] == NULL {
                    key_of[key] = self.values.key(texts.value(key).as_bytes());
                }
                self.push_run(key_of[key], n, compressor)?;
            }
        }
        Ok(())
    }

    /// Appends rows of several columns of texts, each by its column and its place there. What is known
    /// of a column serves the next call that names it at the same index.
    pub(super) fn push_places(
        &mut self,
        columns: &[&ArrayRef],
        places: &[(usize, usize)],
        compressor: &mut Compressor,
    ) -> Result<()> {
        let mut sources = self.take_sources(columns);
        let arrays: Vec<_> = columns.iter().map(|c| c.as_dictionary::<Int32Type>()).collect();
        let (mut run, mut n) = (NULL, 0);
        for &(column, row) in places {
            let array = arrays[column];
            let key = match array.key(row) {
                None => NULL,
                Some(at) => {
                    let key = &mut sources[column].key_of[at];
                    if *key == NULL {
                        let texts = array.values().as_string::<i32>();
                        *key = self.values.key(texts.value(at).as_bytes());
                    }
                    *key
                }
            };
            if key != run {
                self.push_run(run, n, compressor)?;
                (run, n) = (key, 0);
            }
            n += 1;
        }
        self.sources = sources;
        self.push_run(run, n, compressor)
    }

    fn take_sources(&mut self, columns: &[&ArrayRef]) -> Vec<Source> {
        let mut sources = std::mem::take(&mut self.sources);
        sources.truncate(columns.len());
        for (idx, &column) in columns.iter().enumerate() {
            if sources.get(idx).is_some_and(|source| Arc::ptr_eq(&source.column, column)) {
                continue;
            }
            let n_texts = column.as_dictionary::<Int32Type>().values().len();
            let source = Source { column: Arc::clone(column), key_of: vec![NULL; n_texts] };
            match sources.get_mut(idx) {
                Some(old) => *old = source,
                None => sources.push(source),
            }
        }
        sources
    }

    /// Appends a row with a text of no dictionary.
    pub(super) fn push_text(
        &mut self,
        text: Option<&[u8]>,
        compressor: &mut Compressor,
    ) -> Result<()> {
        let key = match text {
            None => NULL,
            Some(text) => {
                let is_last = self.last_key != NULL && self.values.get(self.last_key) == text;
                if !is_last {
                    self.last_key = self.values.key(text);
                }
                self.last_key
            }
        };
        self.push_run(key, 1, compressor)
    }

    /// Ends the page of keys under way, if there is one.
    pub(super) fn end_keys(&mut self, compressor: &mut Compressor) -> Result<()> {
        if self.page.n_rows > 0 { self.end_page(compressor) } else { Ok(()) }
    }

    /// Appends a page of texts that are not in the dictionary.
    pub(super) fn push_plain(
        &mut self,
        page: &mut PlainPage,
        compressor: &mut Compressor,
    ) -> Result<()> {
        let is_optional = self.descr.max_def_level() > 0;
        self.pages.push_data(page.end(is_optional, self.compression, compressor)?)
    }

    /// Returns the texts of the dictionary.
    pub(super) fn texts(&self) -> impl Iterator<Item = &[u8]> {
        (0..).take(self.values.len()).map(|key| self.values.get(key))
    }

    /// Returns the bytes of the dictionary so far.
    pub(super) fn dictionary_bytes(&self) -> usize {
        self.values.n_bytes()
    }

    /// Returns whether pages have bounds.
    pub(super) fn has_bounds(&self) -> bool {
        self.with_bounds
    }

    /// Returns how many rows a page may have.
    pub(super) fn page_rows_max(&self) -> u32 {
        self.page_rows_max
    }

    /// Appends rows of numbers, as every machine of today keeps them: the lowest byte first.
    pub(super) fn push_numbers<T: ArrowPrimitiveType>(
        &mut self,
        column: &PrimitiveArray<T>,
        compressor: &mut Compressor,
    ) -> Result<()> {
        for run in column.values().chunk_by(|a, b| a == b) {
            let key = self.values.key(run[0].to_byte_slice());
            self.push_run(key, run.len(), compressor)?;
        }
        Ok(())
    }

    fn push_run(&mut self, key: u32, n: usize, compressor: &mut Compressor) -> Result<()> {
        let mut n = u32::try_from(n).expect("a batch has far fewer rows than 2^32");
        while n > 0 {
            let n_now = n.min(self.page_rows_max - self.page.n_rows);
            self.page.push(key, n_now);
            n -= n_now;
            if self.page.n_rows == self.page_rows_max {
                self.end_page(compressor)?;
            }
        }
        Ok(())
    }

    fn end_page(&mut self, compressor: &mut Compressor) -> Result<()> {
        let page = std::mem::take(&mut self.page);
        let bounds = if self.with_bounds { self.bounds(&page.runs) } else { None };
        let mut body = Vec::with_capacity(page.runs.len() * 4 + 16);
        if self.descr.max_def_level() > 0 {
            page.definition_levels(&mut body);
        }
        let width = width_below(self.values.len());
        body.push(u8::try_from(width).expect("keys have at most 32 bits"));
        let mut keys = Hybrid::new(body, width);
        let present = page.runs.iter().filter(|(key, _)| *key != NULL);
        present.for_each(|&(key, n)| keys.push_run(key, n));
        self.pages.push_data(DataPage {
            body: compressor.compress(self.compression, &keys.finish())?,
            encoding: Encoding::RLE_DICTIONARY,
            n_rows: page.n_rows,
            n_nulls: page.n_nulls,
            bounds,
        })?;
        self.page.runs = page.runs;
        self.page.runs.clear();
        Ok(())
    }

    /// Returns the smallest and the largest value of a page.
    fn bounds(&self, runs: &[(u32, u32)]) -> Option<PageBounds> {
        let mut keys: Vec<u32> =
            runs.iter().map(|&(key, _)| key).filter(|&key| key != NULL).collect();
        keys.sort_unstable();
        keys.dedup();
        let values = || keys.iter().map(|&key| self.values.get(key));
        Some(PageBounds { min: values().min()?.to_vec(), max: values().max()?.to_vec() })
    }

    /// Returns the bytes that the chunk holds in memory.
    pub(super) fn memory_size(&self) -> usize {
        let of_sources: usize = self.sources.iter().map(|source| source.key_of.len() * 4).sum();
        self.values.memory_size()
            + self.page.runs.capacity() * 8
            + self.pages.memory_size()
            + of_sources
    }

    /// Ends the chunk.
    pub(super) fn finish(mut self, compressor: &mut Compressor) -> Result<EncodedChunk> {
        self.end_keys(compressor)?;
        let n_values = self.values.len();
        let body = compressor.compress(self.compression, &self.values.into_page())?;
        self.pages.finish(self.descr, self.compression, Some((body, n_values)))
    }

    /// Ends a chunk that has only pages of texts that are not in a dictionary.
    pub(super) fn finish_without_dictionary(self) -> Result<EncodedChunk> {
        assert!(self.page.n_rows == 0 && self.values.len() == 0, "keys need a dictionary");
        self.pages.finish(self.descr, self.compression, None)
    }
}

impl OpenPage {
    fn push(&mut self, key: u32, n: u32) {
        self.n_rows += n;
        if key == NULL {
            self.n_nulls += n;
        }
        match self.runs.last_mut() {
            Some((last, n_rows)) if *last == key => *n_rows += n,
            _ => self.runs.push((key, n)),
        }
    }

    /// Writes which rows have a value.
    fn definition_levels(&self, body: &mut Vec<u8>) {
        let present: Vec<_> = self.runs.iter().map(|&(key, n)| (key != NULL, n)).collect();
        push_levels(body, &present);
    }
}

/// Splits rows into those without a value and those with one.
fn null_runs(
    nulls: Option<&NullBuffer>,
    from: usize,
    to: usize,
) -> impl Iterator<Item = (bool, usize)> {
    let mut row = from;
    std::iter::from_fn(move || {
        let is_null = |row: usize| nulls.is_some_and(|nulls| nulls.is_null(row));
        if row == to {
            return None;
        }
        let (start, first) = (row, is_null(row));
        row = if nulls.is_none() {
            to
        } else {
            (start..to).find(|&r| is_null(r) != first).unwrap_or(to)
        };
        Some((first, row - start))
    })
}
