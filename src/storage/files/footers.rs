//! Footers of files, kept with what else is learned of them; and a file as the Parquet crate reads one.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::Mutex;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::reader::{ChunkReader, Length};

use super::checked::{Blocks, Checked};
use super::grams::section::Block;
use super::group_series::{SeriesCache, Values};
use super::of_groups::GroupCache;
use super::sample_cache::SampleCache;
use super::stream_rows::StreamRows;
use crate::storage::disk::DiskRead;

/// Footers kept; a footer is a few KiB.
const FOOTERS_MAX: usize = 4096;

/// Footers of files read lately, with the checksums they hold, by path; a path is never used for
/// two contents.
#[derive(Debug, Default)]
pub struct Footers {
    by_path: Mutex<HashMap<String, (ArrowReaderMetadata, Blocks)>>,
    pub(super) grams: GroupCache<Arc<[Block]>>,
    pub(super) streams: GroupCache<Arc<StreamRows>>,
    pub(super) values: GroupCache<Arc<Values>, Arc<str>>,
    pub(in crate::storage) series: SeriesCache,
    pub(in crate::storage) samples: SampleCache,
}

impl Footers {
    /// Returns an empty cache that keeps these beside the footers.
    pub fn new(
        series: SeriesCache,
        samples: SampleCache,
        grams: GroupCache<Arc<[Block]>>,
        streams: GroupCache<Arc<StreamRows>>,
        values: GroupCache<Arc<Values>, Arc<str>>,
    ) -> Self {
        Self { series, samples, grams, streams, values, by_path: Mutex::default() }
    }

    /// Returns a footer that is here.
    pub(super) fn known(&self, path: &str) -> Option<ArrowReaderMetadata> {
        self.by_path.lock().get(path).map(|(footer, _)| footer.clone())
    }

    /// Returns a footer with the places of the file's pages, without what is in them.
    pub(super) fn with_places(
        &self,
        path: &str,
        file: &Reader,
    ) -> Result<ArrowReaderMetadata, ParquetError> {
        let options = ArrowReaderOptions::default();
        self.load(path, file, options.with_offset_index_policy(PageIndexPolicy::Optional))
    }

    pub(super) fn get(
        &self,
        path: &str,
        file: &Reader,
    ) -> Result<ArrowReaderMetadata, ParquetError> {
        self.load(path, file, ArrowReaderOptions::default())
    }

    /// Returns a footer with the index of the file's pages.
    pub(super) fn with_pages(
        &self,
        path: &str,
        file: &Reader,
    ) -> Result<ArrowReaderMetadata, ParquetError> {
        let options = ArrowReaderOptions::default();
        self.load(path, file, options.with_page_index_policy(PageIndexPolicy::Optional))
    }

    fn load(
        &self,
        path: &str,
        file: &Reader,
        options: ArrowReaderOptions,
    ) -> Result<ArrowReaderMetadata, ParquetError> {
        if let Some((footer, blocks)) = self.by_path.lock().get(path) {
            file.0.set_blocks(Arc::clone(blocks));
            return Ok(footer.clone());
        }
        let footer = ArrowReaderMetadata::load(file, options)?;
        let blocks = file.0.learn(footer.metadata())?;
        file.0.set_blocks(Arc::clone(&blocks));
        let mut by_path = self.by_path.lock();
        if by_path.len() >= FOOTERS_MAX {
            by_path.clear();
        }
        by_path.insert(path.to_owned(), (footer.clone(), blocks));
        Ok(footer)
    }
}

/// A file of ours as the Parquet crate reads it.
#[derive(Debug, Clone)]
pub(super) struct Reader(pub(super) Arc<Checked>);

impl Length for Reader {
    fn len(&self) -> u64 {
        self.0.size_bytes()
    }
}

impl ChunkReader for Reader {
    type T = SequentialRead;

    fn get_read(&self, start: u64) -> parquet::errors::Result<SequentialRead> {
        Ok(SequentialRead { file: Arc::clone(&self.0), at: start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        Ok(self.0.read_at(start, length)?)
    }
}

pub(super) struct SequentialRead {
    file: Arc<Checked>,
    at: u64,
}

impl io::Read for SequentialRead {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left =
            usize::try_from(self.file.size_bytes().saturating_sub(self.at)).unwrap_or(usize::MAX);
        let n = out.len().min(left);
        out[..n].copy_from_slice(&self.file.read_at(self.at, n)?);
        self.at += n as u64;
        Ok(n)
    }
}
