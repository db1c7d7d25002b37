//! Pages in memory, and what the footer says of them.

use bytes::Bytes;
use parquet::basic::{BoundaryOrder, Compression, Encoding, PageType, Type};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk;
use zstd::zstd_safe::compress_bound;

/// Compresses pages, with one context and one piece of memory for all of them.
#[derive(Default)]
pub(super) struct Compressor {
    /// The level that the context is for, and the context.
    zstd: Option<(i32, bulk::Compressor<'static>)>,
    room: Vec<u8>,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Compressor")
    }
}

/// The body of a page.
#[derive(Debug)]
pub(super) struct Body {
    bytes: Bytes,
    n_raw_bytes: usize,
}

impl Compressor {
    /// Compresses a page's body as the column's settings say.
    pub(super) fn compress(&mut self, compression: Compression, raw: &[u8]) -> Result<Body> {
        let n_raw_bytes = raw.len();
        let level = match compression {
            Compression::UNCOMPRESSED => {
                return Ok(Body { bytes: Bytes::copy_from_slice(raw), n_raw_bytes });
            }
            Compression::ZSTD(level) => level.compression_level(),
            other => return Err(ParquetError::NYI(format!("dictionary pages with {other:?}"))),
        };
        let compressor = match &mut self.zstd {
            Some((of, compressor)) if *of == level => compressor,
            other => &mut other.insert((level, bulk::Compressor::new(level)?)).1,
        };
        self.room.clear();
        self.room.reserve(compress_bound(n_raw_bytes));
        compressor.compress_to_buffer(raw, &mut self.room)?;
        Ok(Body { bytes: Bytes::copy_from_slice(&self.room), n_raw_bytes })
    }
}

/// The smallest and the largest value of a page.
#[derive(Debug, Clone)]
pub(super) struct PageBounds {
    pub(super) min: Vec<u8>,
    pub(super) max: Vec<u8>,
}

impl PageBounds {
    /// Widens the bounds so that a value lies within them.
    pub(super) fn include(&mut self, value: &[u8]) {
        let bound = if value < self.min.as_slice() {
            &mut self.min
        } else if value > self.max.as_slice() {
            &mut self.max
        } else {
            return;
        };
        bound.clear();
        bound.extend_from_slice(value);
    }
}

/// A page of values.
#[derive(Debug)]
pub(super) struct DataPage {
    pub(super) body: Body,
    pub(super) encoding: Encoding,
    pub(super) n_rows: u32,
    pub(super) n_nulls: u32,
    /// `None` in a column without bounds, and for a page without a value.
    pub(super) bounds: Option<PageBounds>,
}

/// The data pages of a column chunk so far.
pub(super) struct Pages {
    bytes: TrackedWrite<Vec<u8>>,
    /// Offset and length of each page.
    places: Vec<(u64, u64)>,
    rows: Vec<u32>,
    nulls: Vec<u32>,
    /// Of each page, if the column has them; `None` for pages without a value.
    bounds: Vec<Option<PageBounds>>,
    with_bounds: bool,
    n_raw_bytes: usize,
    /// How many pages have which encoding.
    encodings: Vec<(Encoding, i32)>,
    physical_type: Type,
}

/// A column chunk, ready for a row group.
#[derive(Debug)]
pub(super) struct EncodedChunk {
    /// Its bytes.
    pub(super) bytes: Bytes,
    /// What the footer says of it.
    pub(super) close: ColumnCloseResult,
}

impl Pages {
    pub(super) fn new(physical_type: Type, with_bounds: bool) -> Self {
        Self {
            bytes: TrackedWrite::new(Vec::new()),
            places: Vec::new(),
            rows: Vec::new(),
            nulls: Vec::new(),
            bounds: Vec::new(),
            with_bounds,
            n_raw_bytes: 0,
            encodings: Vec::new(),
            physical_type,
        }
    }

    pub(super) fn push_data(&mut self, page: DataPage) -> Result<()> {
        let DataPage { body, encoding, n_rows, n_nulls, bounds } = page;
        let page = Page::DataPage {
            buf: body.bytes,
            num_values: n_rows,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let spec = SerializedPageWriter::new(&mut self.bytes)
            .write_page(CompressedPage::new(page, body.n_raw_bytes))?;
        match self.encodings.iter_mut().find(|(known, _)| *known == encoding) {
            Some((_, n)) => *n += 1,
            None => self.encodings.push((encoding, 1)),
        }
        self.places.push((spec.offset, spec.bytes_written));
        self.n_raw_bytes += spec.uncompressed_size;
        self.rows.push(n_rows);
        self.nulls.push(n_nulls);
        self.bounds.push(bounds);
        Ok(())
    }

    pub(super) fn memory_size(&self) -> usize {
        self.bytes.bytes_written()
    }

    /// Puts the dictionary, if there is one, before the pages: its page and its number of values.
    pub(super) fn finish(
        mut self,
        descr: ColumnDescPtr,
        compression: Compression,
        dictionary: Option<(Body, usize)>,
    ) -> Result<EncodedChunk> {
        let data = std::mem::replace(&mut self.bytes, TrackedWrite::new(Vec::new()));
        let data = data.into_inner()?;
        let Some((body, n_values)) = dictionary else {
            let close = self.describe(descr, compression, None, data.len())?;
            return Ok(EncodedChunk { bytes: data.into(), close });
        };
        let page = Page::DictionaryPage {
            buf: body.bytes,
            num_values: u32::try_from(n_values).expect("keys have 32 bits"),
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        let mut bytes = TrackedWrite::new(Vec::new());
        let spec = SerializedPageWriter::new(&mut bytes)
            .write_page(CompressedPage::new(page, body.n_raw_bytes))?;
        self.n_raw_bytes += spec.uncompressed_size;
        let mut bytes = bytes.into_inner()?;
        bytes.extend_from_slice(&data);
        let close = self.describe(descr, compression, Some(spec.bytes_written), bytes.len())?;
        Ok(EncodedChunk { bytes: bytes.into(), close })
    }

    fn describe(
        self,
        descr: ColumnDescPtr,
        compression: Compression,
        dictionary_bytes: Option<u64>,
        n_bytes: usize,
    ) -> Result<ColumnCloseResult> {
        let n_rows: u64 = self.rows.iter().map(|&n| u64::from(n)).sum();
        let data_at = dictionary_bytes.unwrap_or(0);
        let of_pages = self.encodings.iter().map(|&(encoding, _)| encoding);
        // A dictionary is plain, and the levels are runs.
        let always = [Encoding::PLAIN, Encoding::RLE].into_iter();
        let encodings = always.chain(of_pages.filter(|&encoding| encoding != Encoding::PLAIN));
        let mut metadata = ColumnChunkMetaData::builder(descr)
            .set_compression(compression)
            .set_encodings(encodings.collect())
            .set_page_encoding_stats(self.encoding_stats(dictionary_bytes.is_some()))
            .set_total_compressed_size(signed(n_bytes as u64))
            .set_total_uncompressed_size(signed(self.n_raw_bytes as u64))
            .set_num_values(signed(n_rows))
            .set_dictionary_page_offset(dictionary_bytes.map(|_| 0))
            .set_data_page_offset(signed(data_at));
        if let Some(statistics) = self.statistics() {
            metadata = metadata.set_statistics(statistics);
        }
        Ok(ColumnCloseResult {
            bytes_written: n_bytes as u64,
            rows_written: n_rows,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: self.with_bounds.then(|| self.column_index()).transpose()?,
            offset_index: Some(self.offset_index(data_at)),
        })
    }

    fn encoding_stats(&self, has_dictionary: bool) -> Vec<PageEncodingStats> {
        let stats = |page_type, encoding, count| PageEncodingStats { page_type, encoding, count };
        let dictionary =
            has_dictionary.then(|| stats(PageType::DICTIONARY_PAGE, Encoding::PLAIN, 1));
        let data = self.encodings.iter();
        let data = data.map(|&(encoding, n)| stats(PageType::DATA_PAGE, encoding, n));
        dictionary.into_iter().chain(data).collect()
    }

    /// Returns the bounds of the whole chunk; `None` when the column has none.
    fn statistics(&self) -> Option<Statistics> {
        if !self.with_bounds {
            return None;
        }
        let bounds = || self.bounds.iter().flatten();
        let min = bounds().map(|b| &b.min).min().map(|value| value.clone().into());
        let max = bounds().map(|b| &b.max).max().map(|value| value.clone().into());
        let n_nulls = self.nulls.iter().map(|&n| u64::from(n)).sum();
        Some(Statistics::ByteArray(ValueStatistics::new(min, max, None, Some(n_nulls), false)))
    }

    fn column_index(&self) -> Result<parquet::file::page_index::column_index::ColumnIndexMetaData> {
        let mut index = ColumnIndexBuilder::new(self.physical_type);
        for (bounds, &n_nulls) in self.bounds.iter().zip(&self.nulls) {
            let (min, max) = bounds.clone().map_or_else(Default::default, |b| (b.min, b.max));
            index.append(bounds.is_none(), min, max, i64::from(n_nulls));
        }
        index.set_boundary_order(self.order());
        index.build()
    }

    /// Returns whether both bounds grow from page to page, which lets readers search and not walk.
    fn order(&self) -> BoundaryOrder {
        let bounds: Vec<&PageBounds> = self.bounds.iter().flatten().collect();
        let grow =
            bounds.windows(2).all(|two| two[0].min <= two[1].min && two[0].max <= two[1].max);
        if grow { BoundaryOrder::ASCENDING } else { BoundaryOrder::UNORDERED }
    }

    fn offset_index(
        &self,
        data_at: u64,
    ) -> parquet::file::page_index::offset_index::OffsetIndexMetaData {
        let mut index = OffsetIndexBuilder::new();
        for (&(offset, n_bytes), &n_rows) in self.places.iter().zip(&self.rows) {
            index.append_row_count(i64::from(n_rows));
            let n_bytes = i32::try_from(n_bytes).expect("a page has few rows");
            index.append_offset_and_size(signed(data_at + offset), n_bytes);
        }
        index.build()
    }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).expect("files are far smaller than 8 EiB")
}
