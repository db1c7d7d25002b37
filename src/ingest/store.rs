//! What this room needs of storage, as a trait, so that tests hand in a store that refuses on
//! command and remembers what it got. The real one is `storage::Storage`.

use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{Commons, Description, Labels, SeriesMeta};
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

    /// Returns the labels of a series that was looked up in an epoch, and the rule that placed it;
    /// `None` when it has left.
    fn labels_of(&self, series: SeriesRef, epoch: Epoch) -> Option<(Labels, Arc<str>)>;

    /// Returns true when this is not what is known of a metric already.
    fn is_news(&self, commons: &Commons, metric: &str, description: &Description) -> bool;

    /// Returns the commons that have an active series of one of these metrics.
    fn commons_with(&self, metrics: &[String]) -> Vec<Commons>;

    /// Returns what is known of a metric of a commons.
    fn description(&self, commons: &Commons, metric: &str) -> Option<Description>;

    /// Returns the name of a commons by its index, as in `SeriesRef`.
    fn commons(&self, commons_idx: u32) -> Commons;

    /// Hears that senders are told to come back: what can wait gives way.
    fn give_way(&self) {}

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

    fn labels_of(&self, series: SeriesRef, epoch: Epoch) -> Option<(Labels, Arc<str>)> {
        Storage::labels_of(self, series, epoch)
    }

    fn is_news(&self, commons: &Commons, metric: &str, description: &Description) -> bool {
        Storage::is_news(self, commons, metric, description)
    }

    fn commons_with(&self, metrics: &[String]) -> Vec<Commons> {
        Storage::commons_with(self, metrics)
    }

    fn description(&self, commons: &Commons, metric: &str) -> Option<Description> {
        Storage::description(self, commons, metric)
    }

    fn admits(&self, commons: &Commons, max: usize) -> bool {
        Storage::admits(self, commons, max)
    }

    fn commons(&self, commons_idx: u32) -> Commons {
        Storage::commons(self, commons_idx)
    }

    fn give_way(&self) {
        Storage::give_way(self);
    }

    async fn append(&self, parts: Vec<Part>) -> Result<(), AppendError> {
        Storage::append(self, parts).await
    }
}
