//! Where samples come from.

use crate::model::SeriesData;
use crate::storage::{ReadError, SeriesRequest, Snapshot};

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
}

impl SeriesSource for Snapshot {
    fn select(&self, request: &SeriesRequest<'_>) -> Result<Vec<SeriesData>, ReadError> {
        Snapshot::select(self, request)
    }

    fn select_started(&self, request: &SeriesRequest<'_>) -> Result<Vec<SeriesData>, ReadError> {
        Snapshot::select_started(self, request)
    }
}
