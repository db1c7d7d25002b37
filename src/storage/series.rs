//! Series for those who write: looked up by the bytes they came in, registered, refused.

use std::sync::Arc;

use super::head::CommonsEntry;
use super::head::registry::Registry;
use super::retire;
use super::{Epoch, RegisterError, SeriesRef, Storage};
use crate::model::labels::OVERFLOW;
use crate::model::{Commons, Labels, SeriesMeta};

/// The most series of a commons that stand for others, one a metric.
const OVERFLOW_SERIES_MAX: usize = 1_000;

impl Storage {
    /// Looks up series by the hash of their raw bytes; `out` gets one entry a key. The epoch goes
    /// with the parts made of them, and of what is registered after.
    pub fn lookup(&self, keys: &[u128], out: &mut Vec<Option<SeriesRef>>) -> Epoch {
        let raw_keys = self.shared.raw_keys.read();
        out.extend(keys.iter().map(|&key| raw_keys.get(key)));
        raw_keys.epoch()
    }

    /// Returns the labels of a series that was looked up in an epoch, and the rule that placed it;
    /// `None` when it has left.
    pub fn labels_of(&self, series: SeriesRef, epoch: Epoch) -> Option<(Labels, Arc<str>)> {
        let entry = self.shared.commons.get(series.commons_idx);
        let registry = entry.registry.read();
        registry.is_valid(series.series_idx, epoch).then(|| {
            let labels = registry.series(series.series_idx).labels.clone();
            (labels, Arc::clone(&registry.meta(series.series_idx).tag_rule))
        })
    }

    /// Registers a series under its raw hash, or returns the one that has these labels already.
    pub fn register(
        &self,
        key: u128,
        commons: &Commons,
        labels: &Labels,
        meta: &SeriesMeta,
    ) -> Result<SeriesRef, RegisterError> {
        let commons_idx = self.shared.commons.index_of(commons);
        let entry = self.shared.commons.get(commons_idx);
        let now_s = retire::seconds(self.shared.clock.monotonic_ns());
        {
            // Most that are refused are refused here, where they keep nobody waiting.
            let registry = entry.registry.read();
            if self.is_full(&registry, labels) && registry.find(labels).is_none() {
                return Err(self.refuse(&registry, commons, labels.metric()));
            }
        }
        let mut registry = entry.registry.write();
        let series_idx = match registry.find(labels) {
            Some(series_idx) => {
                registry.touch(series_idx, now_s);
                series_idx
            }
            None if self.is_full(&registry, labels) => {
                return Err(self.refuse(&registry, commons, labels.metric()));
            }
            None => {
                let series_idx = registry.insert(labels, meta, now_s);
                entry.note_len(&registry);
                series_idx
            }
        };
        let series = SeriesRef { commons_idx, series_idx };
        // Under the registry's lock, so that the series cannot leave in between.
        let mut raw_keys = self.shared.raw_keys.write();
        if raw_keys.insert(key, series)
            && let Some(forgotten) = registry.add_key(series_idx, key)
        {
            raw_keys.remove(forgotten, series);
        }
        Ok(series)
    }

    fn is_full(&self, registry: &Registry, labels: &Labels) -> bool {
        let config = &self.shared.config;
        let metric = labels.metric();
        if labels.get(OVERFLOW).is_some() {
            // It stands for those that found no room.
            return registry.n_overflow() >= OVERFLOW_SERIES_MAX;
        }
        let is_full = registry.n_places() >= config.series_per_commons
            || registry.n_places_of_metric(metric) >= config.series_per_metric;
        is_full && !registry.is_held(labels)
    }

    fn refuse(&self, registry: &Registry, commons: &Commons, metric: &str) -> RegisterError {
        let config = &self.shared.config;
        let (commons, max) = (commons.clone(), config.series_per_commons);
        let error = if registry.n_places() >= max {
            RegisterError::TooManySeries { commons, max }
        } else {
            let (metric, max) = (metric.to_owned(), config.series_per_metric);
            RegisterError::TooManyOfMetric { commons, metric, max }
        };
        self.shared.metrics.refused_series(error.commons(), error.limit()).inc();
        error
    }

    /// Returns the commons that have an active series of one of these metrics.
    pub fn commons_with(&self, metrics: &[String]) -> Vec<Commons> {
        let all = self.shared.commons.all();
        let has_one = |entry: &&Arc<CommonsEntry>| {
            let registry = entry.registry.read();
            metrics.iter().any(|metric| registry.n_of_metric(metric) > 0)
        };
        all.iter().filter(has_one).map(|entry| entry.name.clone()).collect()
    }

    /// Returns how many series each commons has of each value of a label.
    pub fn series_by(&self, label: &str) -> Vec<(Commons, String, usize)> {
        let mut all = Vec::new();
        for entry in self.shared.commons.all() {
            let registry = entry.registry.read();
            let counts = registry.counts(label);
            all.extend(counts.map(|(value, n)| (entry.name.clone(), value.to_owned(), n)));
        }
        all
    }

    /// Refreshes the gauges of the memory that series take, and of differences; called now and then.
    pub fn note_series(&self) {
        let mut n_bytes = self.shared.raw_keys.read().size_bytes();
        for entry in self.shared.commons.all() {
            n_bytes += entry.registry.read().size_bytes();
        }
        self.shared.metrics.series_bytes.set(i64::try_from(n_bytes).unwrap_or(i64::MAX));
        let n_totals: usize = self.shared.commons.all().iter().map(|e| e.totals.lock().len()).sum();
        self.shared.metrics.delta_series.set(i64::try_from(n_totals).unwrap_or(i64::MAX));
    }
}
