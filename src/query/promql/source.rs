//! Where samples come from.

use crate::model::SeriesData;
use crate::storage::{ReadError, Scan, SeriesRequest, Snapshot};

/// Series that are read as they are asked for.
pub trait SeriesBlocks {
    /// Returns some series with all their samples, about `n_rows` of them at most; `None` when there are
    /// no more. Sorted by labels within a block, and from block to block where a source can without
    /// reading all of them first.
    fn next_block(&mut self, n_rows: usize) -> Result<Option<Vec<SeriesData>>, ReadError>;
}

/// Something that has series: a storage snapshot limited to a scope, or a test's memory.
pub trait SeriesSource: Send + Sync {
    /// Returns the matching series with their samples in the time range, each label set once;
    /// series without a sample there may be left out. Sorted by labels where the order of an
    /// instant answer should be stable.
    fn select(&self, request: &SeriesRequest<'_>) -> Result<Vec<SeriesData>, ReadError>;

    /// As `select`, and says since when samples count; who has none of that says nothing.
    fn select_started(&self, request: &SeriesRequest<'_>) -> Result<Vec<SeriesData>, ReadError> {
        self.select(request)
    }

    /// As `select` or `select_started`, some series at a time.
    fn blocks(
        &self,
        request: &SeriesRequest<'_>,
        wants_starts: bool,
    ) -> Result<Box<dyn SeriesBlocks + '_>, ReadError> {
        let all = match wants_starts {
            true => self.select_started(request)?,
            false => self.select(request)?,
        };
        Ok(Box::new(Once(Some(all))))
    }
}

/// All series as one block.
struct Once(Option<Vec<SeriesData>>);

impl SeriesBlocks for Once {
    fn next_block(&mut self, _: usize) -> Result<Option<Vec<SeriesData>>, ReadError> {
        Ok(self.0.take())
    }
}

impl SeriesBlocks for Scan {
    fn next_block(&mut self, n_rows: usize) -> Result<Option<Vec<SeriesData>>, ReadError> {
        self.next_few(n_rows)
    }
}

impl SeriesSource for Snapshot {
    fn blocks(
        &self,
        request: &SeriesRequest<'_>,
        wants_starts: bool,
    ) -> Result<Box<dyn SeriesBlocks + '_>, ReadError> {
        Ok(Box::new(self.scan(request, wants_starts)?))
    }

    fn select(&self, request: &SeriesRequest<'_>) -> Result<Vec<SeriesData>, ReadError> {
        Snapshot::select(self, request)
    }

    fn select_started(&self, request: &SeriesRequest<'_>) -> Result<Vec<SeriesData>, ReadError> {
        Snapshot::select_started(self, request)
    }
}
