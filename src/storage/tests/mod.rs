//! The write path through its door: what is acknowledged is there exactly once, whatever happens.

mod backup;
mod clock;
mod damage;
mod deletion;
mod exemplars;
mod histograms;
mod objects;
mod series;
mod starts;
mod stop;

use std::collections::BTreeMap;

use prometheus_client::registry::Registry;

use super::disk::sim::{Fault, SimDisk};
use super::engine::Engine;
use super::wal::segment::WalError;
use super::*;
use crate::base::clock::ManualClock;
use crate::base::units::HumanSize;
use crate::model::{Labels, LogRow, LogsBuilder, SeriesMeta, SpanRow, SpansBuilder, Tags};

pub(super) const NOW_MS: i64 = 1_790_000_000_000;

/// A store without threads.
pub(super) struct Store {
    pub(super) engine: Engine,
    pub(super) storage: Storage,
    pub(super) shared: Arc<Shared>,
    keeper: Keeper,
    pub(super) damage: usize,
}

fn open(disk: &SimDisk) -> Store {
    open_with(disk, Config::default())
}

fn open_with(disk: &SimDisk, config: Config) -> Store {
    open_at(disk, config, ManualClock::at_ms(NOW_MS))
}

pub(super) fn open_at(disk: &SimDisk, config: Config, clock: Arc<ManualClock>) -> Store {
    open_stored(disk, (config, None), clock)
}

fn open_stored(
    disk: &SimDisk,
    (config, bucket): (Config, Option<Arc<dyn super::objects::Bucket>>),
    clock: Arc<ManualClock>,
) -> Store {
    open_on(Arc::new(disk.clone()), (config, bucket), clock)
}

fn open_on(
    disk: Arc<dyn Disk>,
    config: (Config, Option<Arc<dyn super::objects::Bucket>>),
    clock: SharedClock,
) -> Store {
    let metrics = Metrics::register(&mut Registry::default());
    let progress = Progress::default();
    let (engine, shared, damage) =
        open::open_with_bucket(disk, clock, config, metrics, &progress).unwrap();
    let (requests, _) = mpsc::channel(1);
    let (asker, told) = keeper::Asker::new();
    let storage = Storage { shared: Arc::clone(&shared), requests, keeper: asker };
    let keeper = Keeper::new(Arc::clone(&shared), told);
    Store { engine, storage, shared, keeper, damage: damage.len() }
}

pub(super) fn commons(name: &str) -> Commons {
    Commons::from_stored(name).unwrap()
}

impl Store {
    pub(super) fn samples(&self, commons_name: &str, samples: &[(&str, i64, f64)]) -> Part {
        let name = commons(commons_name);
        let epoch = self.storage.lookup(&[], &mut Vec::new());
        let (mut series_idx, mut timestamps_ms, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for (metric, ms, value) in samples {
            let labels = Labels::from_pairs([("__name__", *metric), ("commons", commons_name)]);
            let key = u128::from(labels.series_id());
            let series =
                self.storage.register(key, &name, &labels, &SeriesMeta::default()).unwrap();
            series_idx.push(series.series_idx);
            timestamps_ms.push(*ms);
            values.push(*value);
        }
        Part::Samples {
            commons_idx: self.storage.commons_idx(&name),
            epoch,
            series_idx,
            timestamps_ms,
            values,
            starts_ns: Vec::new(),
        }
    }

    fn read(&self) -> BTreeMap<(String, i64), u64> {
        self.read_scoped(&ReadScope::All)
    }

    fn read_scoped(&self, scope: &ReadScope) -> BTreeMap<(String, i64), u64> {
        let request = SeriesRequest {
            matchers: &[],
            start_ms: i64::MIN,
            end_ms: i64::MAX,
            samples_max: usize::MAX,
            series_max: usize::MAX,
        };
        let mut all = BTreeMap::new();
        for series in self.storage.snapshot(scope).select(&request).unwrap() {
            for (ms, value) in series.timestamps_ms.iter().zip(&series.values) {
                let before = all.insert((series.labels.to_string(), *ms), value.to_bits());
                assert_eq!(before, None, "a sample came twice");
            }
        }
        all
    }

    /// Returns the bodies of log records or the names of spans, in files and in the head.
    fn rows(&self, signal: Signal) -> Vec<String> {
        let snapshot = self.storage.snapshot(&ReadScope::All);
        let head = snapshot.head(signal, HeadFilter::default()).map(|b| b.batch);
        let mut texts: Vec<String> = head.flat_map(|batch| texts(signal, &batch)).collect();
        for file in snapshot.files(signal) {
            let bytes = self.shared.disk.read(&file.path).unwrap();
            let reader =
                parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes, 1024)
                    .unwrap();
            texts.extend(reader.flat_map(|batch| self::texts(signal, &batch.unwrap())));
        }
        texts.sort();
        texts
    }
}

fn texts(signal: Signal, batch: &RecordBatch) -> Vec<String> {
    let name = if signal == Signal::Logs { "body" } else { "span_id" };
    let column = arrow::compute::cast(
        batch.column_by_name(name).unwrap(),
        &arrow::datatypes::DataType::Utf8,
    )
    .unwrap();
    let column = arrow::array::AsArray::as_string::<i32>(&column);
    column.iter().map(|text| text.unwrap().to_owned()).collect()
}

fn logs(commons_name: &str, bodies: &[&str]) -> Part {
    let mut builder = LogsBuilder::new();
    for body in bodies {
        let row = LogRow {
            timestamp_ns: NOW_MS * 1_000_000,
            body,
            attributes: "{}",
            resource: "{}",
            ..LogRow::default()
        };
        builder.push(&Tags::unassigned(), &row);
    }
    Part::Logs { commons: commons(commons_name), batch: builder.finish() }
}

fn span(commons_name: &str, span_id: &str) -> Part {
    let mut builder = SpansBuilder::new();
    let row = SpanRow {
        start_ns: NOW_MS * 1_000_000,
        trace_id: "t",
        span_id,
        name: "n",
        attributes: "{}",
        resource: "{}",
        events: "[]",
        links: "[]",
        ..SpanRow::default()
    };
    builder.push(&Tags::unassigned(), &row);
    Part::Spans { commons: commons(commons_name), batch: builder.finish() }
}

#[test]
fn what_is_committed_is_visible_at_once_and_after_flush_and_restart() {
    let disk = SimDisk::new();
    let mut store = open(&disk);
    let want = BTreeMap::from([
        (("up{commons=\"heart\"}".to_owned(), NOW_MS), 1.0_f64.to_bits()),
        (("up{commons=\"heart\"}".to_owned(), NOW_MS - 86_400_000), 0.5_f64.to_bits()),
    ]);

    let part = store.samples("heart", &[("up", NOW_MS, 1.0), ("up", NOW_MS - 86_400_000, 0.5)]);
    store.engine.commit(vec![part, logs("heart", &["hello"]), span("heart", "s1")]).unwrap();
    assert_eq!(store.read(), want);

    store = open(&disk);
    assert_eq!((store.read(), store.rows(Signal::Logs)), (want.clone(), vec!["hello".to_owned()]));

    store.engine.seal().unwrap();
    assert_eq!(store.read(), want);
    assert!(flush::flush_oldest(&store.shared).unwrap());
    assert_eq!((store.read(), store.rows(Signal::Spans)), (want.clone(), vec!["s1".to_owned()]));
    assert_eq!(
        store.storage.snapshot(&ReadScope::All).files(Signal::Metrics).len(),
        2,
        "one file a day"
    );

    store = open(&disk);
    assert_eq!((store.read(), store.rows(Signal::Logs)), (want, vec!["hello".to_owned()]));
    assert_eq!(disk.files().iter().filter(|(path, _)| path.starts_with("wal/")).count(), 1);
}

#[test]
fn a_request_sent_again_leaves_each_sample_once() {
    let disk = SimDisk::new();
    let mut store = open(&disk);
    let batch = [("a", NOW_MS, 1.0), ("b", NOW_MS, 2.0), ("a", NOW_MS + 1, 3.0)];

    for step in 0..4 {
        let part = store.samples("heart", &batch);
        store.engine.commit(vec![part]).unwrap();
        if step == 1 {
            store.engine.seal().unwrap();
            flush::flush_oldest(&store.shared).unwrap();
        }
    }

    assert_eq!(store.read().len(), 3);
}

#[test]
fn the_first_value_of_a_timestamp_wins_across_files_and_head() {
    let disk = SimDisk::new();
    let mut store = open(&disk);
    for value in [1.0, 2.0, 3.0] {
        let part = store.samples("heart", &[("a", NOW_MS, value)]);
        store.engine.commit(vec![part]).unwrap();
        store.engine.seal().unwrap();
        if value < 2.5 {
            flush::flush_oldest(&store.shared).unwrap();
        }
    }

    assert_eq!(store.read().into_values().collect::<Vec<_>>(), [1.0_f64.to_bits()]);
}

#[test]
fn a_scope_sees_only_its_commons() {
    let disk = SimDisk::new();
    let mut store = open(&disk);
    for (name, flush) in [("heart", true), ("canine", false)] {
        let part = store.samples(name, &[("a", NOW_MS, 1.0)]);
        store.engine.commit(vec![part]).unwrap();
        if flush {
            store.engine.seal().unwrap();
            flush::flush_oldest(&store.shared).unwrap();
        }
    }

    let scope = ReadScope::Only([commons("canine")].into());

    assert_eq!(store.read().len(), 2);
    assert!(store.read_scoped(&scope).keys().all(|(labels, _)| labels.contains("canine")));
    assert_eq!(store.read_scoped(&scope).len(), 1);
    assert_eq!(store.storage.snapshot(&scope).commons(), [commons("canine")]);
    assert!(store.storage.snapshot(&scope).files(Signal::Metrics).is_empty());
    assert!(store.read_scoped(&ReadScope::Nothing).is_empty());
}

#[test]
fn a_full_disk_refuses_keeps_answering_and_resumes() {
    let disk = SimDisk::new();
    let mut store = open(&disk);
    let part = store.samples("heart", &[("a", NOW_MS, 1.0)]);
    store.engine.commit(vec![part]).unwrap();

    disk.arm(0, Fault::ShortFull);
    let part = store.samples("heart", &[("new", NOW_MS, 2.0)]);
    let refused = store.engine.commit(vec![part]);
    assert!(matches!(refused, Err(WalError::Full)), "{refused:?}");
    assert_eq!(store.read().len(), 1);

    disk.heal();
    let part = store.samples("heart", &[("new", NOW_MS + 1, 3.0)]);
    store.engine.commit(vec![part]).unwrap();
    assert_eq!(store.read().len(), 2);
    let again = open(&disk);
    assert_eq!((again.read(), again.damage), (store.read(), 0));
}

#[test]
fn files_past_the_retention_leave_once_nobody_reads_them() {
    let disk = SimDisk::new();
    let mut store = open(&disk);
    let (old_ms, new_ms) = (NOW_MS - 91 * 86_400_000, NOW_MS - 1);
    let part = store.samples("heart", &[("a", old_ms, 1.0), ("a", new_ms, 2.0)]);
    store.engine.commit(vec![part]).unwrap();
    store.engine.seal().unwrap();
    flush::flush_oldest(&store.shared).unwrap();
    let reader = store.storage.snapshot(&ReadScope::All);

    assert_eq!(store.keeper.tidy().unwrap(), 1);

    assert_eq!((store.read().len(), reader.files(Signal::Metrics).len()), (1, 2));
    let n_files =
        |disk: &SimDisk| disk.files().iter().filter(|(path, _)| path.ends_with(".parquet")).count();
    assert_eq!(n_files(&disk), 2, "a reader still holds it");
    drop(reader);
    store.keeper.tidy().unwrap();
    assert_eq!(n_files(&disk), 1);
    assert_eq!(open(&disk).read().len(), 1);
}

#[test]
fn a_failed_sync_is_fatal() {
    let disk = SimDisk::new();
    let mut store = open(&disk);
    let part = store.samples("heart", &[("a", NOW_MS, 1.0)]);
    let (reservation, write) = (1, 1);
    disk.arm(reservation + write, Fault::SyncFails);

    let result = store.engine.commit(vec![part]);

    assert!(matches!(result, Err(WalError::Fatal { action: "sync", .. })), "{result:?}");
}

#[test]
fn a_lost_manifest_costs_no_file() {
    let disk = SimDisk::new();
    let mut store = open(&disk);
    store.engine.commit(vec![logs("heart", &["kept"])]).unwrap();
    store.engine.seal().unwrap();
    flush::flush_oldest(&store.shared).unwrap();
    disk.remove(catalog::MANIFEST).unwrap();
    disk.remove(catalog::COPY).unwrap();

    let _store = open(&disk);

    assert!(
        disk.files().iter().any(|(path, _)| path.starts_with("quarantine/parquet")),
        "{:?}",
        disk.files()
    );
}

#[test]
fn a_damaged_log_frame_is_set_aside_and_the_rest_served() {
    let disk = SimDisk::new();
    let mut store = open(&disk);
    for body in ["one", "two", "three"] {
        store.engine.commit(vec![logs("heart", &[body])]).unwrap();
    }
    let (path, len) = disk.files().into_iter().find(|(path, _)| path.starts_with("wal/")).unwrap();
    disk.flip_byte(&path, len / 2, 0x10);

    let store = open(&disk);

    assert_eq!(store.rows(Signal::Logs), ["one", "three"]);
    assert_eq!(store.damage, 1);
    assert!(disk.files().iter().any(|(path, _)| path.starts_with("quarantine/wal")));
}

#[test]
fn past_the_hard_mark_senders_are_told_to_come_back_until_a_flush_has_made_room() {
    let disk = Arc::new(SimDisk::new());
    let mark = HumanSize(300 << 10);
    let config = Config {
        head_soft: mark,
        head_firm: mark,
        head_hard: mark,
        firm_wait: crate::base::units::HumanDuration(std::time::Duration::ZERO),
        ..Config::default()
    };
    let metrics = Metrics::register(&mut Registry::default());
    let pressure = metrics.pressure.clone();
    let clock = ManualClock::at_ms(NOW_MS);
    let opened = Storage::open(disk, clock, config, metrics, &Progress::default()).unwrap();
    let Opened { storage, writer, flusher, .. } = opened;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
    let (of_writer, of_flusher) = (runtime.handle().clone(), runtime.handle().clone());
    let writer = std::thread::spawn(move || writer.run(&of_writer));
    let row = || vec![logs("heart", &["a line that is kept in memory until it is in a file"; 100])];

    let mut refused = None;
    for _ in 0..200 {
        if let Err(error) = runtime.block_on(storage.append(row())) {
            refused = Some(error);
            break;
        }
    }
    assert!(
        matches!(refused, Some(AppendError::Overloaded { retry_after_s: 1.., .. })),
        "{refused:?}"
    );
    let flusher = std::thread::spawn(move || flusher.run(&of_flusher));
    assert!(runtime.block_on(storage.flush(std::time::Duration::from_secs(60))));
    // The writer counts the soft mark after it has answered, so only the flush says it has.
    let counted = |mark: &str| pressure.get_or_create(&[("mark", mark.to_owned())]).get();
    assert!(counted("soft") > 0 && counted("hard") > 0);
    runtime.block_on(storage.append(row())).unwrap();

    drop(storage);
    writer.join().unwrap().unwrap();
    flusher.join().unwrap().unwrap();
}
