//! One column chunk of texts that are not a dictionary column: each is looked up in a dictionary until
//! that has grown too large to be worth it, and is written as it is from there on. Columns without a
//! dictionary begin there.

use arrow::array::{Array, StringArray};
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnDescPtr;

use super::bloom::Bloom;
use super::chunk::DictionaryChunk;
use super::interned::Form;
use super::pages::{Compressor, EncodedChunk};
use super::plain::{Noted, PlainPage};

/// A column chunk being written.
pub(super) struct TextChunk {
    /// Holds the pages, those without keys too.
    chunk: DictionaryChunk,
    bloom: Option<Bloom>,
    dictionary: Dictionary,
    plain: PlainPage,
    page_bytes_max: usize,
}

/// How far the dictionary goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dictionary {
    /// All texts so far are in it, and more may come as long as it has fewer bytes.
    Open { bytes_max: usize },
    /// Some texts are in it, but no more.
    Full,
    /// There is none.
    None,
}

impl TextChunk {
    /// Begins an empty chunk with the column's settings.
    pub(super) fn new(descr: ColumnDescPtr, properties: &WriterProperties) -> Result<Self> {
        let path = descr.path();
        let bytes_max = properties.column_dictionary_page_size_limit(path);
        let dictionary = if properties.dictionary_enabled(path) {
            Dictionary::Open { bytes_max }
        } else {
            Dictionary::None
        };
        Ok(Self {
            bloom: Bloom::new(&descr, properties)?,
            dictionary,
            plain: PlainPage::default(),
            page_bytes_max: properties.column_data_page_size_limit(path).max(1),
            chunk: DictionaryChunk::new(Form::Text, descr, properties),
        })
    }

    /// Appends all rows of a column.
    pub(super) fn push_texts(
        &mut self,
        column: &StringArray,
        compressor: &mut Compressor,
    ) -> Result<()> {
        (0..column.len()).try_for_each(|row| self.push(text_at(column, row), compressor))
    }

    /// Appends rows of several columns, each by its column and its place there.
    pub(super) fn push_places(
        &mut self,
        columns: &[&StringArray],
        places: &[(usize, usize)],
        compressor: &mut Compressor,
    ) -> Result<()> {
        let mut places = places.iter();
        places.try_for_each(|&(column, row)| self.push(text_at(columns[column], row), compressor))
    }

    fn push(&mut self, text: Option<&[u8]>, compressor: &mut Compressor) -> Result<()> {
        let Dictionary::Open { bytes_max } = self.dictionary else {
            let (with_bounds, bloom) = (self.chunk.has_bounds(), self.bloom.as_mut());
            self.plain.push(text, &mut Noted { with_bounds, bloom });
            let is_full = self.plain.n_rows() >= self.chunk.page_rows_max()
                || self.plain.n_bytes() >= self.page_bytes_max;
            return if is_full {
                self.chunk.push_plain(&mut self.plain, compressor)
            } else {
                Ok(())
            };
        };
        self.chunk.push_text(text, compressor)?;
        // Looked at after every row: a page's worth of long texts could be a gigabyte.
        if self.chunk.dictionary_bytes() >= bytes_max {
            self.chunk.end_keys(compressor)?;
            self.dictionary = Dictionary::Full;
        }
        Ok(())
    }

    /// Returns the bytes that the chunk holds in memory.
    pub(super) fn memory_size(&self) -> usize {
        let of_bloom = self.bloom.as_ref().map_or(0, Bloom::memory_size);
        self.chunk.memory_size() + self.plain.memory_size() + of_bloom
    }

    /// Ends the chunk.
    pub(super) fn finish(mut self, compressor: &mut Compressor) -> Result<EncodedChunk> {
        if self.plain.n_rows() > 0 {
            self.chunk.push_plain(&mut self.plain, compressor)?;
        }
        if let Some(bloom) = &mut self.bloom {
            self.chunk.texts().for_each(|text| bloom.insert(text));
        }
        let mut encoded = match self.dictionary {
            Dictionary::None => self.chunk.finish_without_dictionary()?,
            Dictionary::Open { .. } | Dictionary::Full => self.chunk.finish(compressor)?,
        };
        encoded.close.bloom_filter = self.bloom.map(Bloom::finish);
        Ok(encoded)
    }
}

fn text_at(column: &StringArray, row: usize) -> Option<&[u8]> {
    (!column.is_null(row)).then(|| column.value(row).as_bytes())
}
