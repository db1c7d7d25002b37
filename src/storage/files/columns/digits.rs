//! One column chunk of whole numbers, those of a series close to each other: digits of values.
//!
//! Differences take few bits as long as a series lasts; where the next begins, one difference is so
//! large that its whole block is written as wide. So a long series has pages of its own, written as
//! differences (`DELTA_BINARY_PACKED`). Short ones share pages, in which all first bytes of numbers
//! stand together, then all second ones (`BYTE_STREAM_SPLIT`), so that zstd finds the zeros.

use std::ops::Range;

use arrow::array::{Array, Int64Array};
use parquet::basic::Compression;
use parquet::basic::Encoding;
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnDescPtr;

use super::delta;
use super::pages::{Compressor, DataPage, EncodedChunk, Pages};
use super::plain::push_levels;

/// Rows from which on a series is worth pages of its own: a page and its place in the index take about
/// 50 bytes, a new series amid differences some 300.
const LONG_ROWS: usize = 400;

/// A column chunk being written.
pub(super) struct DigitsChunk {
    descr: ColumnDescPtr,
    compression: Compression,
    page_rows_max: usize,
    page: OpenPage,
    pages: Pages,
    /// The bodies of pages, one after the other.
    room: Vec<u8>,
}

/// The rows of the page under way.
#[derive(Default)]
struct OpenPage {
    /// Of the rows that have one.
    numbers: Vec<i64>,
    /// Which rows have a number, as runs.
    present: Vec<(bool, u32)>,
    n_rows: usize,
    /// Whether they are of a long series.
    is_long: bool,
}

impl DigitsChunk {
    /// Begins an empty chunk with the column's settings. It has no bounds.
    pub(super) fn new(descr: ColumnDescPtr, properties: &WriterProperties) -> Self {
        Self {
            compression: properties.compression(descr.path()),
            page_rows_max: properties.data_page_row_count_limit().max(1),
            page: OpenPage::default(),
            pages: Pages::new(descr.physical_type(), false),
            room: Vec::new(),
            descr,
        }
    }

    /// Appends rows; `series` are the ranges of them that belong together.
    pub(super) fn push(
        &mut self,
        column: &Int64Array,
        series: &[Range<usize>],
        compressor: &mut Compressor,
    ) -> Result<()> {
        for rows in series {
            let is_long = rows.len() >= LONG_ROWS;
            if is_long || self.page.is_long {
                self.end_page(compressor)?;
            }
            self.page.is_long = is_long;
            let mut from = rows.start;
            while from < rows.end {
                let n = (rows.end - from).min(self.page_rows_max - self.page.n_rows);
                self.page.push(column, from..from + n);
                from += n;
                if self.page.n_rows == self.page_rows_max {
                    self.end_page(compressor)?;
                    self.page.is_long = is_long;
                }
            }
        }
        Ok(())
    }

    fn end_page(&mut self, compressor: &mut Compressor) -> Result<()> {
        let page = &mut self.page;
        if page.n_rows == 0 {
            return Ok(());
        }
        self.room.clear();
        if self.descr.max_def_level() > 0 {
            push_levels(&mut self.room, &page.present);
        }
        let encoding = if page.is_long {
            delta::encode(&page.numbers, &mut self.room);
            Encoding::DELTA_BINARY_PACKED
        } else {
            split_bytes(&page.numbers, &mut self.room);
            Encoding::BYTE_STREAM_SPLIT
        };
        let n_rows = u32::try_from(page.n_rows).expect("a page has few rows");
        let n_nulls = u32::try_from(page.n_rows - page.numbers.len()).expect("a page has few rows");
        let body = compressor.compress(self.compression, &self.room)?;
        self.pages.push_data(DataPage { body, encoding, n_rows, n_nulls, bounds: None })?;
        page.clear();
        Ok(())
    }

    /// Returns the bytes that the chunk holds in memory.
    pub(super) fn memory_size(&self) -> usize {
        self.page.numbers.capacity() * 8 + self.room.capacity() + self.pages.memory_size()
    }

    /// Ends the chunk.
    pub(super) fn finish(mut self, compressor: &mut Compressor) -> Result<EncodedChunk> {
        self.end_page(compressor)?;
        self.pages.finish(self.descr, self.compression, None)
    }
}

impl OpenPage {
    fn push(&mut self, column: &Int64Array, rows: Range<usize>) {
        self.n_rows += rows.len();
        if column.null_count() == 0 {
            self.numbers.extend_from_slice(&column.values()[rows.clone()]);
            return self.push_present(true, rows.len());
        }
        for row in rows {
            let is_present = column.is_valid(row);
            if is_present {
                self.numbers.push(column.value(row));
            }
            self.push_present(is_present, 1);
        }
    }

    fn push_present(&mut self, is_present: bool, n: usize) {
        let n = u32::try_from(n).expect("a page has few rows");
        match self.present.last_mut() {
            Some((last, n_rows)) if *last == is_present => *n_rows += n,
            _ => self.present.push((is_present, n)),
        }
    }

    fn clear(&mut self) {
        self.numbers.clear();
        self.present.clear();
        self.n_rows = 0;
    }
}

/// Writes the first bytes of all numbers, then the second ones, and so on.
fn split_bytes(numbers: &[i64], out: &mut Vec<u8>) {
    out.reserve(8 * numbers.len());
    for byte in 0..8 {
        out.extend(numbers.iter().map(|number| number.to_le_bytes()[byte]));
    }
}
