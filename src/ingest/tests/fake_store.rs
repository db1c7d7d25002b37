//! A store in memory that remembers what it got and refuses on command.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;

use crate::base::ManualClock;
use crate::derive::{self, Derive};
use crate::ingest::{self, Ingest, Limits, Metrics, Store};
use crate::model::{Commons, Description, Labels, SeriesMeta};
use crate::storage::{AppendError, Epoch, Part, RegisterError, SeriesRef};
use crate::tagging::{self, Tagger};

/// The store, and what it was asked.
#[derive(Debug, Default)]
pub(in crate::ingest) struct FakeStore {
    state: Mutex<State>,
    gate: Mutex<Option<Arc<Semaphore>>>,
}

#[derive(Debug, Default)]
struct State {
    by_key: HashMap<u128, SeriesRef>,
    commons: Vec<Commons>,
    series: HashMap<SeriesRef, Labels>,
    by_labels: HashMap<(u32, Labels), SeriesRef>,
    n_registered: usize,
    series_max: Option<usize>,
    refusals: VecDeque<AppendError>,
    epoch: Epoch,
    samples: Vec<(String, i64, u64)>,
    starts_ns: Vec<i64>,
    metas: BTreeMap<String, SeriesMeta>,
    others: Vec<Part>,
    descriptions: BTreeMap<(String, String), Description>,
    n_appends: usize,
    n_gave_way: usize,
}

impl FakeStore {
    /// Refuses the next append.
    pub(in crate::ingest) fn refuse_next(&self, error: AppendError) {
        self.state.lock().refusals.push_back(error);
    }

    /// Lets every append wait for a permit of what is returned.
    pub(in crate::ingest) fn hold(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.gate.lock() = Some(Arc::clone(&gate));
        gate
    }

    /// Takes no more than `max` series.
    pub(in crate::ingest) fn limit_series(&self, max: usize) {
        self.state.lock().series_max = Some(max);
    }

    /// Lets all series leave.
    pub(in crate::ingest) fn retire_all(&self) {
        self.state.lock().by_key.clear();
        self.end_epoch();
    }

    /// Says that series have left.
    pub(in crate::ingest) fn end_epoch(&self) {
        let mut state = self.state.lock();
        state.epoch = state.epoch.next();
    }

    /// Returns how often a series was registered, known or not.
    pub(in crate::ingest) fn n_registered(&self) -> usize {
        self.state.lock().n_registered
    }

    /// Returns how often it was asked to give way.
    pub(in crate::ingest) fn n_gave_way(&self) -> usize {
        self.state.lock().n_gave_way
    }

    /// Returns how many appends were taken.
    pub(in crate::ingest) fn n_appends(&self) -> usize {
        self.state.lock().n_appends
    }

    /// Returns what was said of a series when it was registered.
    pub(in crate::ingest) fn meta(&self, series: &str) -> Option<SeriesMeta> {
        self.state.lock().metas.get(series).cloned()
    }

    /// Returns the stored parts that are not samples.
    pub(in crate::ingest) fn others(&self) -> Vec<Part> {
        self.state.lock().others.clone()
    }

    /// Returns the stored samples in order: series, ms, bits of the value.
    pub(in crate::ingest) fn samples(&self) -> Vec<(String, i64, u64)> {
        self.state.lock().samples.clone()
    }
}

impl FakeStore {
    /// Returns since when each stored sample counts, ns since 1970 UTC, 0 for none.
    pub(in crate::ingest) fn starts_ns(&self) -> Vec<i64> {
        self.state.lock().starts_ns.clone()
    }
}

impl State {
    fn commons_idx(&mut self, commons: &Commons) -> u32 {
        let known = self.commons.iter().position(|known| known == commons);
        let idx = known.unwrap_or_else(|| {
            self.commons.push(commons.clone());
            self.commons.len() - 1
        });
        u32::try_from(idx).unwrap()
    }

    fn take(&mut self, part: Part) {
        let Part::Samples { commons_idx, series_idx, timestamps_ms, values, starts_ns, .. } = &part
        else {
            if let Part::Descriptions { commons, described } = &part {
                for (metric, description) in described {
                    let key = (commons.to_string(), metric.to_string());
                    self.descriptions.insert(key, description.clone());
                }
            }
            self.others.push(part);
            return;
        };
        assert!(series_idx.len() == timestamps_ms.len() && values.len() == series_idx.len());
        assert!(starts_ns.is_empty() || starts_ns.len() == values.len());
        let starts_ns = starts_ns.iter().copied().chain(std::iter::repeat(0)).take(values.len());
        self.starts_ns.extend(starts_ns);
        for ((series_idx, timestamp_ms), value) in series_idx.iter().zip(timestamps_ms).zip(values)
        {
            let at = SeriesRef { commons_idx: *commons_idx, series_idx: *series_idx };
            let series = self.series[&at].to_string();
            self.samples.push((series, *timestamp_ms, value.to_bits()));
        }
    }
}

#[async_trait]
impl Store for FakeStore {
    fn give_way(&self) {
        self.state.lock().n_gave_way += 1;
    }

    fn lookup(&self, keys: &[u128], out: &mut Vec<Option<SeriesRef>>) -> Epoch {
        let state = self.state.lock();
        out.clear();
        out.extend(keys.iter().map(|key| state.by_key.get(key).copied()));
        state.epoch
    }

    fn register(
        &self,
        key: u128,
        commons: &Commons,
        labels: &Labels,
        meta: &SeriesMeta,
    ) -> Result<SeriesRef, RegisterError> {
        let mut state = self.state.lock();
        state.n_registered += 1;
        let commons_idx = state.commons_idx(commons);
        state.metas.insert(labels.to_string(), meta.clone());
        let series = match state.by_labels.get(&(commons_idx, labels.clone())) {
            Some(series) => *series,
            None => {
                if let Some(max) = state.series_max.filter(|max| state.series.len() >= *max) {
                    return Err(RegisterError::TooManySeries { commons: commons.clone(), max });
                }
                let series_idx = u32::try_from(state.series.len()).unwrap();
                let series = SeriesRef { commons_idx, series_idx };
                state.by_labels.insert((commons_idx, labels.clone()), series);
                state.series.insert(series, labels.clone());
                series
            }
        };
        state.by_key.insert(key, series);
        Ok(series)
    }

    fn labels_of(&self, series: SeriesRef, _: Epoch) -> Option<(Labels, Arc<str>)> {
        let labels = self.state.lock().series.get(&series).cloned();
        labels.map(|labels| (labels, Arc::from("rule")))
    }

    fn is_news(&self, commons: &Commons, metric: &str, description: &Description) -> bool {
        self.description(commons, metric).as_ref() != Some(description)
    }

    fn commons_with(&self, metrics: &[String]) -> Vec<Commons> {
        let state = self.state.lock();
        let has_one = |(series, labels): (&SeriesRef, &Labels)| {
            let is_one = metrics.iter().any(|metric| metric == labels.metric());
            is_one.then(|| state.commons[usize::try_from(series.commons_idx).unwrap()].clone())
        };
        let found: std::collections::BTreeSet<_> =
            state.series.iter().filter_map(has_one).collect();
        found.into_iter().collect()
    }

    fn description(&self, commons: &Commons, metric: &str) -> Option<Description> {
        let state = self.state.lock();
        state.descriptions.get(&(commons.to_string(), metric.to_owned())).cloned()
    }

    fn commons(&self, commons_idx: u32) -> Commons {
        self.state.lock().commons[usize::try_from(commons_idx).unwrap()].clone()
    }

    async fn append(&self, parts: Vec<Part>) -> Result<(), AppendError> {
        let gate = self.gate.lock().clone();
        if let Some(gate) = gate {
            drop(gate.acquire().await.unwrap());
        }
        let mut state = self.state.lock();
        if let Some(error) = state.refusals.pop_front() {
            if let AppendError::SeriesRetired = error {
                state.by_key.clear();
                state.epoch = state.epoch.next();
            }
            return Err(error);
        }
        state.n_appends += 1;
        for part in parts {
            state.take(part);
        }
        Ok(())
    }
}

/// The room with a fake store, at a time of its own.
pub(in crate::ingest) struct Rig {
    pub(in crate::ingest) ingest: Ingest,
    pub(in crate::ingest) store: Arc<FakeStore>,
    registry: Registry,
}

/// What the clock of every rig shows.
pub(in crate::ingest) const NOW_MS: i64 = 1_800_000_000_000;

impl Rig {
    /// Returns a room with the default limits and 90 days of retention.
    pub(in crate::ingest) fn new() -> Self {
        Self::with(|_| {})
    }

    /// Returns a room with some limits changed.
    pub(in crate::ingest) fn with(change: impl FnOnce(&mut Limits)) -> Self {
        Self::with_otlp(ingest::otlp::Config::default(), change)
    }

    /// Returns a room that shows OpenTelemetry's names in a way of its own.
    pub(in crate::ingest) fn with_otlp(
        otlp: ingest::otlp::Config,
        change: impl FnOnce(&mut Limits),
    ) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        let store = Arc::new(FakeStore::default());
        let mut registry = Registry::default();
        let clock = ManualClock::at_ms(NOW_MS);
        let tagger = Arc::new(Tagger::load(&tagging::Config::default()).unwrap());
        let derive = Derive::new(
            derive::Config::default(),
            Arc::clone(&tagger),
            Arc::<ManualClock>::clone(&clock),
            derive::Metrics::default(),
        );
        let ingest = Ingest::new(ingest::Parts {
            store: Arc::<FakeStore>::clone(&store),
            tagger,
            derive,
            limits,
            retention_ms: Some(90 * 86_400_000),
            otlp,
            metrics: Metrics::register(&mut registry),
            clock,
        });
        Self { ingest, store, registry }
    }

    /// Returns the value of one of our own metrics, given as it is printed; 0 when it is not there.
    pub(in crate::ingest) fn metric(&self, series: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }
}
