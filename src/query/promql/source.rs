//! Where samples come from.

use crate::model::SeriesData;
use crate::storage::{ReadError, SeriesRequest, Snapshot};

/// Something that has series: a storage snapshot limited to a scope, or a test's memory.
pub trait SeriesSource: Send + Sync {
    /// Returns the matching series with their samples in the time range, each label set once;
    /// series without a sample there may be left out. Sorted by labels where the order of an
    /// instant answer should be stable.
    fn select(&self, request: &SeriesRequest<'_>) -> Result<Vec<SeriesData>, ReadError>;
}

impl SeriesSource for Snapshot {
    fn select(&self, request: &SeriesRequest<'_>) -> Result<Vec<SeriesData>, ReadError> {
        Snapshot::select(self, request)
    }
}
