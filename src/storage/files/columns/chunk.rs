//! One column chunk of values that repeat: a dictionary page, then pages of keys.
//!
//! Rows come as runs, because rows that stand together mostly share the value. So a value is looked
//! up once a run and not once a row, which is what the Parquet crate's own encoder does and what
//! used to be most of a flush. The bytes are plain Parquet (`PLAIN` dictionary, `RLE_DICTIONARY`
//! data pages of version 1), with the page indexes that let readers skip.

use arrow::array::{Array, AsArray, DictionaryArray, UInt64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::Int32Type;
use parquet::basic::Compression;
use parquet::errors::Result;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnDescPtr;

use super::hybrid::{Hybrid, width_below};
use super::interned::{Form, Interned};
use super::pages::{Compressor, EncodedChunk, PageBounds, Pages};

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
        let with_bounds = properties.statistics_enabled(path) == EnabledStatistics::Page;
        Self {
            compression: properties.compression(path),
            page_rows_max: u32::try_from(page_rows_max.max(1)).unwrap_or(u32::MAX),
            with_bounds,
            values: Interned::new(form),
            page: OpenPage::default(),
            pages: Pages::new(descr.physical_type(), with_bounds),
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

    /// Appends rows of numbers.
    pub(super) fn push_numbers(
        &mut self,
        column: &UInt64Array,
        compressor: &mut Compressor,
    ) -> Result<()> {
        for run in column.values().chunk_by(|a, b| a == b) {
            let key = self.values.key(&run[0].to_le_bytes());
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
        let body = compressor.compress(self.compression, keys.finish())?;
        self.pages.push_data(body, page.n_rows, page.n_nulls, bounds)?;
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
        self.values.memory_size() + self.page.runs.capacity() * 8 + self.pages.memory_size()
    }

    /// Ends the chunk.
    pub(super) fn finish(mut self, compressor: &mut Compressor) -> Result<EncodedChunk> {
        if self.page.n_rows > 0 {
            self.end_page(compressor)?;
        }
        let n_values = self.values.len();
        let body = compressor.compress(self.compression, self.values.into_page())?;
        self.pages.finish(self.descr, self.compression, body, n_values)
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

    /// Writes which rows have a value, behind the length of that.
    fn definition_levels(&self, body: &mut Vec<u8>) {
        let mut levels = Hybrid::new(Vec::new(), 1);
        self.runs.iter().for_each(|&(key, n)| levels.push_run(u32::from(key != NULL), n));
        let levels = levels.finish();
        let n_bytes = u32::try_from(levels.len()).expect("a page has few rows");
        body.extend_from_slice(&n_bytes.to_le_bytes());
        body.extend_from_slice(&levels);
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
