//! A store without threads, items written to it and everything read back from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;

use super::ledger::{Item, Kind};
use crate::base::clock::ManualClock;
use crate::model::{
    Commons, ExpHistogram, Labels, LogRow, LogsBuilder, ReadScope, SeriesMeta, Signal, SpanRow,
    SpansBuilder, Tags, decimal,
};
use crate::storage::compact::Merger;
use crate::storage::disk::sim::SimDisk;
use crate::storage::engine::Engine;
use crate::storage::head::rows::times_ns;
use crate::storage::keeper::Asker;
use crate::storage::shared::Shared;
use crate::storage::wal::replay::Damage;
use crate::storage::{
    Config, HeadFilter, Metrics, OpenError, Part, Progress, SeriesRequest, Storage, catalog, open,
    wal,
};

const NOW_MS: i64 = 1_790_000_000_000;
const DAY_MS: i64 = 86_400_000;
/// Few series, so that samples lean on definitions in earlier groups.
const N_SERIES: u32 = 5;

pub(super) struct Store {
    pub(super) engine: Engine,
    pub(super) storage: Storage,
    pub(super) shared: Arc<Shared>,
    pub(super) merger: Merger,
    disk: SimDisk,
    damage: Vec<Damage>,
}

impl Store {
    pub(super) fn open(disk: &SimDisk, config: Config) -> Result<Self, OpenError> {
        let metrics = Metrics::register(&mut Registry::default());
        let clock = ManualClock::at_ms(NOW_MS);
        let progress = Progress::default();
        let (engine, shared, damage) =
            open::open(Arc::new(disk.clone()), clock, config, metrics, &progress)?;
        let (requests, keeper) = (mpsc::channel(1).0, Asker::new().0);
        let storage = Storage { shared: Arc::clone(&shared), requests, keeper };
        let merger = Merger::default();
        Ok(Self { engine, storage, shared, merger, disk: disk.clone(), damage })
    }

    /// Returns true when a generation was replayed in parts.
    pub(super) fn has_parts(&self) -> bool {
        let manifest = self.shared.manifest.lock();
        manifest.files.iter().any(|file| file.path.ends_with("-1000.parquet"))
    }

    /// Returns the part of a request that carries an item.
    pub(super) fn part(&self, item: &Item) -> Part {
        let epoch = self.storage.lookup(&[], &mut Vec::new());
        match item.kind {
            Kind::Sample => {
                let (commons_idx, series_idx) = self.series(item);
                Part::Samples {
                    epoch,
                    commons_idx,
                    series_idx: vec![series_idx],
                    timestamps_ms: vec![at_ms(item)],
                    values: vec![f64::from(item.number)],
                    starts_ns: Vec::new(),
                }
            }
            Kind::ExpHistogram => {
                let (commons_idx, series_idx) = self.series(item);
                let histogram = ExpHistogram { count: item.number.into(), ..histogram() };
                Part::ExpHistograms {
                    epoch,
                    commons_idx,
                    points: vec![(series_idx, at_ms(item), histogram)],
                }
            }
            Kind::Log => Part::Logs { commons: commons(item), batch: log(item) },
            Kind::Span => Part::Spans { commons: commons(item), batch: span(item) },
        }
    }

    fn series(&self, item: &Item) -> (u32, u32) {
        let commons = commons(item);
        let prefix = if item.kind == Kind::Sample { 'm' } else { 'e' };
        let metric = format!("{prefix}{}", item.number % N_SERIES);
        let labels =
            Labels::from_pairs([("__name__", metric.as_str()), ("commons", commons.as_str())]);
        let key = u128::from(labels.series_id());
        let series = self.storage.register(key, &commons, &labels, &SeriesMeta::default()).unwrap();
        (series.commons_idx, series.series_idx)
    }

    /// Returns how often each item is there. What is stored of it must follow from its number.
    pub(super) fn found(&self) -> BTreeMap<Item, u32> {
        let mut found = BTreeMap::new();
        let mut note = |item| *found.entry(item).or_default() += 1;
        self.samples().into_iter().for_each(&mut note);
        self.batches(Signal::Metrics, |commons, batch| {
            histograms(commons, batch).into_iter().for_each(&mut note);
        });
        for (signal, kind) in [(Signal::Logs, Kind::Log), (Signal::Spans, Kind::Span)] {
            self.batches(signal, |commons, batch| {
                rows(kind, commons, batch).into_iter().for_each(&mut note);
            });
        }
        found
    }

    fn samples(&self) -> Vec<Item> {
        let request = SeriesRequest {
            matchers: &[],
            start_ms: i64::MIN,
            end_ms: i64::MAX,
            samples_max: usize::MAX,
            series_max: usize::MAX,
        };
        let mut items = Vec::new();
        for series in self.storage.snapshot(&ReadScope::All).select(&request).unwrap() {
            let name = series.labels.get("commons").unwrap().to_owned();
            for (&ms, &value) in series.timestamps_ms.iter().zip(&series.values) {
                let item = item(Kind::Sample, &name, whole(value), ms);
                assert_eq!(series.labels.metric(), format!("m{}", item.number % N_SERIES));
                items.push(item);
            }
        }
        items
    }

    /// Hands over the batches of a signal, in files and in the head.
    fn batches(&self, signal: Signal, mut visit: impl FnMut(&str, &RecordBatch)) {
        let snapshot = self.storage.snapshot(&ReadScope::All);
        for head in snapshot.head(signal, HeadFilter::default()) {
            visit(head.commons.as_str(), &head.batch);
        }
        for file in snapshot.files(signal) {
            if signal == Signal::Metrics && !file.has_exp {
                continue;
            }
            let bytes = self.shared.disk.read(&file.path).unwrap();
            assert_eq!(bytes.len() as u64, file.size_bytes);
            for batch in ParquetRecordBatchReader::try_new(bytes, 1024).unwrap() {
                visit(file.commons.as_str(), &decimal::from_file(batch.unwrap()));
            }
        }
    }

    /// A power cut is not damage, and once the store is open nothing lies about that it left behind.
    #[track_caller]
    pub(super) fn must_be_tidy(&self, seed: u64) {
        assert_eq!(self.damage, [], "seed {seed}: a power cut is not damage");
        let manifest = self.shared.manifest.lock().clone();
        for (path, _) in self.disk.files() {
            let is_known = match path.strip_prefix("wal/").and_then(wal::segment_of) {
                Some(segment) => segment > manifest.covered_segment,
                None => {
                    path == catalog::MANIFEST
                        || path == catalog::COPY
                        || manifest.files.iter().any(|file| file.path == path)
                }
            };
            assert!(is_known, "seed {seed}: {path} was left behind");
        }
    }
}

fn commons(item: &Item) -> Commons {
    Commons::new(&format!("c{}", item.commons)).unwrap()
}

fn at_ms(item: &Item) -> i64 {
    let day = if item.is_old {
        NOW_MS - 91 * DAY_MS
    } else {
        NOW_MS - i64::from(item.number % 2) * DAY_MS
    };
    day + i64::from(item.number)
}

fn histogram() -> ExpHistogram {
    ExpHistogram { scale: 3, positive_counts: vec![1, 2, 3], ..ExpHistogram::default() }
}

fn log(item: &Item) -> RecordBatch {
    let body = item.number.to_string();
    let mut builder = LogsBuilder::new();
    let row = LogRow {
        timestamp_ns: at_ms(item) * 1_000_000,
        body: &body,
        attributes: "{}",
        resource: "{}",
        ..LogRow::default()
    };
    builder.push(&Tags::unassigned(), &row);
    builder.finish()
}

fn span(item: &Item) -> RecordBatch {
    let name = item.number.to_string();
    let mut builder = SpansBuilder::new();
    let row = SpanRow {
        start_ns: at_ms(item) * 1_000_000,
        trace_id: "t",
        span_id: "s",
        name: &name,
        attributes: "{}",
        resource: "{}",
        events: "[]",
        links: "[]",
        ..SpanRow::default()
    };
    builder.push(&Tags::unassigned(), &row);
    builder.finish()
}

/// Returns the item that a stored row is; what does not fit together was not sent.
fn item(kind: Kind, commons_name: &str, number: u32, ms: i64) -> Item {
    let is_old = ms < NOW_MS - 10 * DAY_MS;
    let commons_idx = commons_name.strip_prefix('c').and_then(|digits| digits.parse().ok());
    let item = Item { number, kind, commons: commons_idx.expect("we named it"), is_old };
    assert_eq!(at_ms(&item), ms, "{item:?}");
    item
}

fn rows(kind: Kind, commons_name: &str, batch: &RecordBatch) -> Vec<Item> {
    let text = if kind == Kind::Log { "body" } else { "name" };
    let texts = column(batch, text, &DataType::Utf8);
    let times = times_ns(batch);
    let rows = texts.as_string::<i32>().iter().zip(times.iter());
    rows.map(|(text, ns)| item(kind, commons_name, text.unwrap().parse().unwrap(), ns / 1_000_000))
        .collect()
}

fn histograms(commons_name: &str, batch: &RecordBatch) -> Vec<Item> {
    let scales = column(batch, "exp_scale", &DataType::Int64);
    let values = column(batch, "value", &DataType::Float64);
    let times = column(batch, "timestamp", &DataType::Int64);
    let times = times.as_primitive::<Int64Type>().values();
    let values = values.as_primitive::<Float64Type>().values();
    let rows = (0..batch.num_rows()).filter(|&row| scales.is_valid(row));
    rows.map(|row| item(Kind::ExpHistogram, commons_name, whole(values[row]), times[row])).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "items are few")]
fn whole(value: f64) -> u32 {
    assert_eq!(value.fract(), 0.0);
    value as u32
}

fn column(batch: &RecordBatch, name: &str, data_type: &DataType) -> ArrayRef {
    arrow::compute::cast(batch.column_by_name(name).unwrap(), data_type).unwrap()
}
