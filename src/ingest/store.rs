//! What this room needs of storage, as a trait, so that tests hand in a store that refuses on
//! command and remembers what it got. The real one is `storage::Storage`.

use async_trait::async_trait;

use crate::model::{Commons, Labels, SeriesMeta};
use crate::storage::{AppendError, Epoch, Part, RegisterError, SeriesRef, Storage};

/// Takes what this room has made of requests.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Looks up series by key; `out` is cleared and gets one entry a key. The epoch goes with the
    /// parts made of them, and of what is registered after; it changes when series have left.
    fn lookup(&self, keys: &[u128], out: &mut Vec<Option<SeriesRef>>) -> Epoch;

    /// Registers a series under its key, or returns the one that has these labels already.
    fn register(
        &self,
        key: u128,
        commons: &Commons,
        labels: &Labels,
        meta: &SeriesMeta,
    ) -> Result<SeriesRef, RegisterError>;

    /// Returns true when rows of this commons may be stored: it is known, or there are fewer than
    /// `max`.
    fn admits(&self, _commons: &Commons, _max: usize) -> bool {
        true
    }

    /// Returns the name of a commons by its index, as in `SeriesRef`.
    fn commons(&self, commons_idx: u32) -> Commons;

    /// Stores the parts of one request: when this returns `Ok` they are synced and visible.
    async fn append(&self, parts: Vec<Part>) -> Result<(), AppendError>;
}

#[async_trait]
impl Store for Storage {
    fn lookup(&self, keys: &[u128], out: &mut Vec<Option<SeriesRef>>) -> Epoch {
        out.clear();
        Storage::lookup(self, keys, out)
    }

    fn register(
        &self,
        key: u128,
        commons: &Commons,
        labels: &Labels,
        meta: &SeriesMeta,
    ) -> Result<SeriesRef, RegisterError> {
        Storage::register(self, key, commons, labels, meta)
    }

    fn admits(&self, commons: &Commons, max: usize) -> bool {
        Storage::admits(self, commons, max)
    }

    fn commons(&self, commons_idx: u32) -> Commons {
        Storage::commons(self, commons_idx)
    }

    async fn append(&self, parts: Vec<Part>) -> Result<(), AppendError> {
        Storage::append(self, parts).await
    }
}
