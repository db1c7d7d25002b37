//! The bloom filter of a column chunk: which texts are not in it, for readers that look for one.

use parquet::bloom_filter::Sbbf;
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnDescPtr;

/// A filter that is being filled.
pub(super) struct Bloom {
    filter: Sbbf,
    /// The share of wrong guesses that it is made for.
    fpp: f64,
}

impl Bloom {
    /// Returns an empty filter, if the column is to have one. It is large enough for a whole row group.
    pub(super) fn new(
        descr: &ColumnDescPtr,
        properties: &WriterProperties,
    ) -> Result<Option<Self>> {
        let Some(wanted) = properties.bloom_filter_properties(descr.path()) else {
            return Ok(None);
        };
        let filter = Sbbf::new_with_ndv_fpp(wanted.ndv(), wanted.fpp())?;
        Ok(Some(Self { filter, fpp: wanted.fpp() }))
    }

    /// Takes note of a text.
    pub(super) fn insert(&mut self, text: &[u8]) {
        self.filter.insert(text);
    }

    /// Returns the bytes that the filter holds in memory.
    pub(super) fn memory_size(&self) -> usize {
        self.filter.num_blocks() * 32
    }

    /// Returns the filter, as small as its texts allow.
    pub(super) fn finish(mut self) -> Sbbf {
        self.filter.fold_to_target_fpp(self.fpp);
        self.filter
    }
}
