//! A page of texts, one behind the other, each behind its length: Parquet's `PLAIN`.
//!
//! For texts that mostly differ: to learn that one is new costs more than to write it. They are copied
//! from where they lie into the page, and nowhere between.

use parquet::basic::{Compression, Encoding};
use parquet::errors::Result;

use super::bloom::Bloom;
use super::hybrid::Hybrid;
use super::pages::{Compressor, DataPage, PageBounds};

/// The page under way.
#[derive(Default)]
pub(super) struct PlainPage {
    body: Vec<u8>,
    /// Where the last text begins in the body.
    last: Option<usize>,
    n_rows: u32,
    n_nulls: u32,
    /// Which rows have a text, as runs.
    present: Vec<(bool, u32)>,
    bounds: Option<PageBounds>,
}

/// What is to be known of a column's texts.
pub(super) struct Noted<'a> {
    /// Whether pages have bounds.
    pub(super) with_bounds: bool,
    /// The column's filter, if it has one.
    pub(super) bloom: Option<&'a mut Bloom>,
}

impl PlainPage {
    /// Appends a row.
    pub(super) fn push(&mut self, text: Option<&[u8]>, noted: &mut Noted<'_>) {
        if let Some(text) = text {
            // The first of a page repeats none.
            let repeats = |last: usize| self.body[last..] == *text;
            let is_noted = noted.with_bounds || noted.bloom.is_some();
            if is_noted && !self.last.is_some_and(repeats) {
                self.note(text, noted);
            }
            self.push_text(text);
        } else {
            self.n_nulls += 1;
        }
        self.n_rows += 1;
        match self.present.last_mut() {
            Some((last, n)) if *last == text.is_some() => *n += 1,
            _ => self.present.push((text.is_some(), 1)),
        }
    }

    fn push_text(&mut self, text: &[u8]) {
        let n_bytes = u32::try_from(text.len()).expect("texts are far below 4 GiB");
        self.body.extend_from_slice(&n_bytes.to_le_bytes());
        self.last = Some(self.body.len());
        self.body.extend_from_slice(text);
    }

    fn note(&mut self, text: &[u8], noted: &mut Noted<'_>) {
        if let Some(bloom) = &mut noted.bloom {
            bloom.insert(text);
        }
        if noted.with_bounds {
            match &mut self.bounds {
                Some(bounds) => bounds.include(text),
                none => *none = Some(PageBounds { min: text.to_vec(), max: text.to_vec() }),
            }
        }
    }

    /// Returns the number of rows.
    pub(super) fn n_rows(&self) -> u32 {
        self.n_rows
    }

    /// Returns the bytes of the texts and their lengths.
    pub(super) fn n_bytes(&self) -> usize {
        self.body.len()
    }

    /// Returns the bytes that the page holds in memory.
    pub(super) fn memory_size(&self) -> usize {
        self.body.capacity() + self.present.capacity() * 8
    }

    /// Ends the page; its memory serves the next one.
    pub(super) fn end(
        &mut self,
        is_optional: bool,
        compression: Compression,
        compressor: &mut Compressor,
    ) -> Result<DataPage> {
        assert!(is_optional || self.n_nulls == 0, "a column whose every row has a text");
        let mut with_levels = Vec::new();
        let body = if is_optional {
            with_levels.reserve(self.body.len() + 64);
            push_levels(&mut with_levels, &self.present);
            with_levels.extend_from_slice(&self.body);
            &with_levels
        } else {
            &self.body
        };
        let page = DataPage {
            body: compressor.compress(compression, body)?,
            encoding: Encoding::PLAIN,
            n_rows: self.n_rows,
            n_nulls: self.n_nulls,
            bounds: self.bounds.take(),
        };
        self.body.clear();
        self.present.clear();
        self.last = None;
        (self.n_rows, self.n_nulls) = (0, 0);
        Ok(page)
    }
}

/// Writes which rows have a value, behind the length of that.
pub(super) fn push_levels(body: &mut Vec<u8>, present: &[(bool, u32)]) {
    let mut levels = Hybrid::new(Vec::new(), 1);
    present.iter().for_each(|&(is_present, n)| levels.push_run(u32::from(is_present), n));
    let levels = levels.finish();
    let n_bytes = u32::try_from(levels.len()).expect("a page has few rows");
    body.extend_from_slice(&n_bytes.to_le_bytes());
    body.extend_from_slice(&levels);
}
