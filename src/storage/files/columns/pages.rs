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

/// Compresses pages, with one context for all of them.
#[derive(Default)]
pub(super) struct Compressor(Option<(i32, bulk::Compressor<'static>)>);

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
    pub(super) fn compress(&mut self, compression: Compression, raw: Vec<u8>) -> Result<Body> {
        let n_raw_bytes = raw.len();
        let level = match compression {
            Compression::UNCOMPRESSED => return Ok(Body { bytes: raw.into(), n_raw_bytes }),
            Compression::ZSTD(level) => level.compression_level(),
            other => return Err(ParquetError::NYI(format!("dictionary pages with {other:?}"))),
        };
        let compressor = match &mut self.0 {
            Some((of, compressor)) if *of == level => compressor,
            other => &mut other.insert((level, bulk::Compressor::new(level)?)).1,
        };
        Ok(Body { bytes: compressor.compress(&raw)?.into(), n_raw_bytes })
    }
}

/// The smallest and the largest value of a page.
#[derive(Debug, Clone)]
pub(super) struct PageBounds {
    pub(super) min: Vec<u8>,
    pub(super) max: Vec<u8>,
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
            physical_type,
        }
    }

    pub(super) fn push_data(
        &mut self,
        body: Body,
        n_rows: u32,
        n_nulls: u32,
        bounds: Option<PageBounds>,
    ) -> Result<()> {
        let page = Page::DataPage {
            buf: body.bytes,
            num_values: n_rows,
            encoding: Encoding::RLE_DICTIONARY,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let spec = SerializedPageWriter::new(&mut self.bytes)
            .write_page(CompressedPage::new(page, body.n_raw_bytes))?;
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

    /// Puts the dictionary before the pages.
    pub(super) fn finish(
        mut self,
        descr: ColumnDescPtr,
        compression: Compression,
        dictionary: Body,
        n_values: usize,
    ) -> Result<EncodedChunk> {
        let page = Page::DictionaryPage {
            buf: dictionary.bytes,
            num_values: u32::try_from(n_values).expect("keys have 32 bits"),
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        let mut bytes = TrackedWrite::new(Vec::new());
        let spec = SerializedPageWriter::new(&mut bytes)
            .write_page(CompressedPage::new(page, dictionary.n_raw_bytes))?;
        self.n_raw_bytes += spec.uncompressed_size;
        let dictionary_bytes = spec.bytes_written;
        let data = std::mem::replace(&mut self.bytes, TrackedWrite::new(Vec::new()));
        let mut bytes = bytes.into_inner()?;
        bytes.extend_from_slice(&data.into_inner()?);
        let close = self.describe(descr, compression, dictionary_bytes, bytes.len())?;
        Ok(EncodedChunk { bytes: bytes.into(), close })
    }

    fn describe(
        self,
        descr: ColumnDescPtr,
        compression: Compression,
        dictionary_bytes: u64,
        n_bytes: usize,
    ) -> Result<ColumnCloseResult> {
        let n_rows: u64 = self.rows.iter().map(|&n| u64::from(n)).sum();
        let mut metadata = ColumnChunkMetaData::builder(descr)
            .set_compression(compression)
            .set_encodings(vec![Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY])
            .set_page_encoding_stats(self.encoding_stats())
            .set_total_compressed_size(signed(n_bytes as u64))
            .set_total_uncompressed_size(signed(self.n_raw_bytes as u64))
            .set_num_values(signed(n_rows))
            .set_dictionary_page_offset(Some(0))
            .set_data_page_offset(signed(dictionary_bytes));
        if let Some(statistics) = self.statistics() {
            metadata = metadata.set_statistics(statistics);
        }
        Ok(ColumnCloseResult {
            bytes_written: n_bytes as u64,
            rows_written: n_rows,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: self.with_bounds.then(|| self.column_index()).transpose()?,
            offset_index: Some(self.offset_index(dictionary_bytes)),
        })
    }

    fn encoding_stats(&self) -> Vec<PageEncodingStats> {
        let stats = |page_type, encoding, n: usize| PageEncodingStats {
            page_type,
            encoding,
            count: i32::try_from(n).expect("a chunk has few pages"),
        };
        vec![
            stats(PageType::DICTIONARY_PAGE, Encoding::PLAIN, 1),
            stats(PageType::DATA_PAGE, Encoding::RLE_DICTIONARY, self.rows.len()),
        ]
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
        dictionary_bytes: u64,
    ) -> parquet::file::page_index::offset_index::OffsetIndexMetaData {
        let mut index = OffsetIndexBuilder::new();
        for (&(offset, n_bytes), &n_rows) in self.places.iter().zip(&self.rows) {
            index.append_row_count(i64::from(n_rows));
            let n_bytes = i32::try_from(n_bytes).expect("a page has few rows");
            index.append_offset_and_size(signed(dictionary_bytes + offset), n_bytes);
        }
        index.build()
    }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).expect("files are far smaller than 8 EiB")
}
