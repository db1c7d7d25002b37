//! Merging through the door of storage: the same rows before and after, in fewer files.

use super::*;
use crate::base::clock::ManualClock;
use crate::model::{
    Commons, ExpHistogram, Labels, LogRow, LogsBuilder, ReadScope, SeriesMeta, Tags,
};
use crate::storage::disk::replace_file;
use crate::storage::disk::sim::SimDisk;
use crate::storage::engine::Engine;
use crate::storage::files::read::{MERGE_ROWS, footer_text};
use crate::storage::files::write::MERGED_FROM;
use crate::storage::files::{held_rows, path};
use crate::storage::keeper::Asker;
use crate::storage::{
    Config, Epoch, HeadFilter, Metrics, Part, Progress, SeriesRequest, Storage, flush, open,
};

const DAY_MS: i64 = 86_400_000;
const NOW_MS: i64 = 1_790_000_000_000;

struct Store {
    disk: SimDisk,
    engine: Engine,
    storage: Storage,
    shared: Arc<Shared>,
    merger: Merger,
    clock: Arc<ManualClock>,
}

impl Store {
    fn open(disk: &SimDisk) -> Self {
        Self::open_with(disk, Config::default())
    }

    fn open_with(disk: &SimDisk, config: Config) -> Self {
        let metrics = Metrics::register(&mut Default::default());
        let clock = ManualClock::at_ms(NOW_MS);
        let disk = disk.clone();
        let opened = open::open(
            Arc::new(disk.clone()),
            Arc::clone(&clock) as _,
            config,
            metrics,
            &Progress::default(),
        );
        let (engine, shared, _) = opened.unwrap();
        let (requests, keeper) = (tokio::sync::mpsc::channel(1).0, Asker::new().0);
        let storage = Storage { shared: Arc::clone(&shared), requests, keeper };
        Self { disk, engine, storage, shared, merger: Merger::default(), clock }
    }

    fn flush(&mut self, parts: Vec<Part>) {
        self.engine.commit(parts).unwrap();
        self.engine.seal().unwrap();
        assert!(flush::flush_oldest(&self.shared).unwrap());
    }

    fn series_idx(&self, name: &str) -> u32 {
        let labels = Labels::from_pairs([
            ("__name__", name),
            ("commons", "heart"),
            ("service", "fence"),
            ("pod", "fence-0"),
        ]);
        let meta = SeriesMeta { unit: Arc::from("By"), ..SeriesMeta::default() };
        let key = u128::from(labels.series_id());
        self.storage.register(key, &heart(), &labels, &meta).unwrap().series_idx
    }

    fn epoch(&self) -> Epoch {
        self.storage.lookup(&[], &mut Vec::new())
    }

    fn samples(&self, samples: &[(&str, i64, f64)]) -> Part {
        Part::Samples {
            epoch: self.epoch(),
            commons_idx: self.storage.commons_idx(&heart()),
            series_idx: samples.iter().map(|(name, ..)| self.series_idx(name)).collect(),
            timestamps_ms: samples.iter().map(|(_, ms, _)| *ms).collect(),
            values: samples.iter().map(|(.., value)| *value).collect(),
            starts_ns: Vec::new(),
        }
    }

    fn merge_all(&mut self) -> usize {
        (0..).take_while(|_| self.merger.merge_next(&self.shared).unwrap()).count()
    }

    fn files(&self, signal: Signal) -> Vec<Arc<FileEntry>> {
        self.storage.snapshot(&ReadScope::All).files(signal)
    }

    fn read(&self) -> Vec<(String, Vec<i64>, Vec<u64>)> {
        let request = SeriesRequest {
            matchers: &[],
            start_ms: i64::MIN,
            end_ms: i64::MAX,
            samples_max: usize::MAX,
            series_max: usize::MAX,
        };
        let series = self.storage.snapshot(&ReadScope::All).select(&request).unwrap();
        series
            .into_iter()
            .map(|s| {
                let bits = s.values.iter().map(|value| value.to_bits()).collect();
                (s.labels.to_string(), s.timestamps_ms, bits)
            })
            .collect()
    }

    /// Returns the rows of a file as text, one a row.
    fn rows(&self, file: &FileEntry) -> Vec<String> {
        let bytes = self.shared.disk.read(&file.path).unwrap();
        let reader =
            parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes, 1 << 20)
                .unwrap();
        let batches: Vec<_> = reader.map(Result::unwrap).collect();
        let text = arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
        text.lines().filter(|line| line.starts_with('|')).skip(1).map(str::to_owned).collect()
    }
}

fn heart() -> Commons {
    Commons::new("heart").unwrap()
}

fn logs(rows: &[(&str, i64, &str)]) -> Part {
    let mut builder = LogsBuilder::new();
    for (service, ms, body) in rows {
        let tags = Tags { service: Some(Arc::from(*service)), ..Tags::unassigned() };
        let row = LogRow {
            timestamp_ns: ms * 1_000_000,
            body,
            attributes: "{}",
            resource: "{}",
            ..LogRow::default()
        };
        builder.push(&tags, &row);
    }
    Part::Logs { commons: heart(), batch: builder.finish() }
}

#[test]
fn samples_are_the_same_in_fewer_files() {
    let yesterday = NOW_MS - DAY_MS;
    let mut store = Store::open(&SimDisk::new());
    for n in 0..30_u8 {
        let part = store.samples(&[
            ("up", yesterday + i64::from(n), f64::from(n)),
            ("up", yesterday + 1000 - i64::from(n), -1.0),
            ("down", yesterday, f64::from(n)),
            ("last", NOW_MS - i64::from(n), f64::NAN),
        ]);
        store.flush(vec![part]);
    }
    let (before, n_files) = (store.read(), store.files(Signal::Metrics).len());

    assert!(store.merge_all() > 0);

    let files = store.files(Signal::Metrics);
    assert!(n_files == 60 && files.len() < 10, "{n_files} files became {}", files.len());
    assert_eq!(store.read(), before);
    assert!(store.rows(&files[0])[0].contains("By"), "what is known of a series stays");
    assert_eq!(Store::open(&store.disk).read(), before, "after a restart too");
}

#[test]
fn the_first_value_of_a_timestamp_stays() {
    let mut store = Store::open(&SimDisk::new());
    for value in [1.0, 2.0, 3.0, 4.0] {
        let part = store.samples(&[("up", NOW_MS, value)]);
        store.flush(vec![part]);
    }

    assert_eq!(store.merge_all(), 1);

    assert_eq!(store.files(Signal::Metrics)[0].n_rows, 1);
    assert_eq!(store.read()[0].2, [1.0_f64.to_bits()]);
}

#[test]
fn records_are_merged_in_the_order_of_their_files() {
    let mut store = Store::open(&SimDisk::new());
    for (n, service) in ["sheepdog", "fence", "fence", "arborist"].into_iter().enumerate() {
        let ms = NOW_MS - 10 * i64::try_from(n).unwrap();
        store.flush(vec![logs(&[
            (service, ms, "late"),
            ("guppy", NOW_MS, "alike"),
            (service, ms - 5, "early"),
        ])]);
    }

    assert_eq!(store.merge_all(), 1);

    let files = store.files(Signal::Logs);
    let rows = store.rows(&files[0]);
    let services: Vec<&str> = ["arborist", "fence", "guppy", "sheepdog"]
        .into_iter()
        .filter(|service| rows.iter().any(|row| row.contains(service)))
        .collect();
    assert_eq!((files.len(), files[0].n_rows, services.len()), (1, 12, 4));
    let place = |text: &str| rows.iter().position(|row| row.contains(text)).unwrap();
    assert!(services.windows(2).all(|pair| place(pair[0]) < place(pair[1])), "{rows:#?}");
    assert!(place("early") < place("late"));
    let in_head = store.storage.snapshot(&ReadScope::All).head(Signal::Logs, HeadFilter::default());
    assert_eq!(in_head.count(), 0);
}

#[test]
fn a_point_of_a_histogram_sent_twice_is_merged_into_one() {
    let mut store = Store::open(&SimDisk::new());
    for count in [3, 3, 3, 4] {
        let commons_idx = store.storage.commons_idx(&heart());
        let histogram = ExpHistogram { count, ..ExpHistogram::default() };
        let points = vec![
            (store.series_idx("latency"), NOW_MS, histogram.clone()),
            (store.series_idx("latency"), NOW_MS + i64::try_from(count).unwrap(), histogram),
        ];
        store.flush(vec![Part::ExpHistograms { epoch: store.epoch(), commons_idx, points }]);
    }

    assert_eq!(store.merge_all(), 1);

    let files = store.files(Signal::Metrics);
    assert_eq!((files.len(), files[0].n_rows, files[0].has_exp), (1, 3, true));
}

#[test]
fn readers_keep_what_they_began_with() {
    let mut store = Store::open(&SimDisk::new());
    for n in 0..4 {
        let part = store.samples(&[("up", NOW_MS + n, 0.5)]);
        store.flush(vec![part]);
    }
    let reader = store.storage.snapshot(&ReadScope::All);

    store.merge_all();
    retain::sweep(&store.shared);

    let paths = |files: Vec<Arc<FileEntry>>| {
        files.into_iter().map(|file| file.path.clone()).collect::<Vec<_>>()
    };
    let on_disk = |path: &String| store.disk.files().iter().any(|(file, _)| file == path);
    let old = paths(reader.files(Signal::Metrics));
    assert!(old.len() == 4 && old.iter().all(on_disk));
    drop(reader);
    retain::sweep(&store.shared);
    assert!(!old.iter().any(on_disk));
    assert!(paths(store.files(Signal::Metrics)).iter().all(on_disk));
}

#[test]
fn a_damaged_file_is_left_alone_and_the_others_are_merged() {
    let mut store = Store::open(&SimDisk::new());
    for n in 0..9 {
        store.flush(vec![logs(&[("fence", NOW_MS + n, "a line")])]);
    }
    let bad = Arc::clone(&store.files(Signal::Logs)[0]);
    store.disk.flip_byte(&bad.path, 100, 0x01);

    store.merge_all();

    let manifest = store.shared.manifest.lock().clone();
    assert!(manifest.files.iter().any(|file| file.path == bad.path), "it stays in the catalog");
    assert!(store.disk.files().iter().any(|(path, _)| *path == bad.path), "and on disk");
    assert!(store.shared.damaged.read().contains_key(&bad.path), "and every answer says so");
    assert!(manifest.files.len() < 9, "the others were merged: {:?}", manifest.files);
}

/// Returns a disk as a merge leaves it whose process died before the catalog knew of it, with the merged
/// file and one of those that it was made of.
fn cut_short() -> (SimDisk, String, String) {
    let mut store = Store::open(&SimDisk::new());
    for n in 0..9 {
        store.flush(vec![logs(&[("fence", NOW_MS + n, "a line")])]);
    }
    let before = store.disk.kill();
    assert!(store.merger.merge_next(&store.shared).unwrap());
    let files = store.files(Signal::Logs);
    let merged = files.iter().find(|file| path::is_merged(&file.path)).unwrap();
    let after = &*store.shared.disk;
    let inputs = footer_text(after, &merged.path, MERGED_FROM).unwrap();
    let inputs: Vec<String> = serde_json::from_str(&inputs).unwrap();
    replace_file(&before, &merged.path, &after.read(&merged.path).unwrap()).unwrap();
    (before, merged.path.clone(), inputs[0].clone())
}

#[test]
fn the_rest_of_a_merge_is_removed_only_while_what_it_was_made_of_is_whole() {
    let (disk, merged, input) = cut_short();
    let hurt = disk.kill();
    hurt.flip_byte(&input, 100, 0x01);
    let aside = format!("quarantine/{}", merged.replace('/', "%"));
    let is_on = |disk: &SimDisk, wanted: &str| disk.files().iter().any(|(path, _)| path == wanted);
    assert!(is_on(&disk, &merged) && is_on(&hurt, &merged));

    Store::open(&disk);
    Store::open(&hurt);

    assert!(!is_on(&disk, &merged) && !is_on(&disk, &aside), "it has nothing of its own");
    assert!(!is_on(&hurt, &merged) && is_on(&hurt, &aside), "it may be all that is left");
}

#[test]
fn a_merge_rests_while_senders_are_told_to_come_back_and_no_longer() {
    let store = Store::open(&SimDisk::new());
    let pace = pace::Pace::new(&store.shared);
    let work = || store.clock.advance(std::time::Duration::from_millis(40));
    work();
    assert_eq!(pace.due(), None);

    store.storage.give_way();

    assert_eq!(pace.due(), Some(std::time::Duration::from_millis(120)));
    pace.go_on().unwrap();
    work();
    assert_eq!(pace.due(), Some(std::time::Duration::from_millis(120)), "each stretch for itself");
    store.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(pace.due(), None);
}

/// As many of a day as are merged at once.
const N_FILES: usize = 4;

/// Merges four large files into one and returns how many rows it has, and how many were on their way at a
/// time. The encoder holds no more than a row group beside.
fn merged_with_held(store: &mut Store, signal: Signal) -> (usize, usize) {
    assert_eq!(store.files(signal).len(), N_FILES);
    held_rows::reset();

    assert_eq!(store.merge_all(), 1);

    let most = held_rows::most();
    let files = store.files(signal);
    let bytes = store.shared.disk.read(&files[0].path).unwrap();
    let footer =
        parquet::arrow::arrow_reader::ArrowReaderMetadata::load(&bytes, Default::default());
    let row_group_rows = i64::try_from(ROW_GROUP_ROWS).unwrap();
    for group in footer.unwrap().metadata().row_groups() {
        assert!(group.num_rows() <= row_group_rows, "{} rows", group.num_rows());
    }
    (usize::try_from(files[0].n_rows).unwrap(), most)
}

const ROW_GROUP_ROWS: usize = 10_000;

fn store_of_small_groups() -> Store {
    let config = Config { row_group_rows: ROW_GROUP_ROWS, ..Config::default() };
    Store::open_with(&SimDisk::new(), config)
}

#[test]
fn merging_records_holds_a_batch_of_each_file_however_long_the_files_are() {
    let mut store = store_of_small_groups();
    for nth in 0..i64::try_from(N_FILES).unwrap() {
        let row = |at: i64| (["fence", "guppy"][usize::from(at % 2 == 0)], NOW_MS + nth + at, "x");
        let rows: Vec<_> = (0..20_000).map(row).collect();
        store.flush(vec![logs(&rows)]);
    }

    let (n_rows, most) = merged_with_held(&mut store, Signal::Logs);

    assert_eq!(n_rows, N_FILES * 20_000);
    assert!((1..=N_FILES * MERGE_ROWS).contains(&most), "{most} of {n_rows} rows at a time");
}

#[test]
fn merging_samples_holds_a_series_and_what_is_encoded_next_however_long_the_files_are() {
    const N_SERIES: usize = 160;
    const SAMPLES: usize = 500;
    let mut store = store_of_small_groups();
    for nth in 0..N_FILES {
        let times = || (nth * SAMPLES..(nth + 1) * SAMPLES).map(|at| i64::try_from(at).unwrap());
        let names: Vec<String> = (0..N_SERIES).map(|n| format!("m{n:03}")).collect();
        let series = names.iter().map(|name| store.series_idx(name));
        let series_idx: Vec<u32> = series.flat_map(|idx| vec![idx; SAMPLES]).collect();
        let part = Part::Samples {
            epoch: store.epoch(),
            commons_idx: store.storage.commons_idx(&heart()),
            timestamps_ms: names.iter().flat_map(|_| times().map(|at| NOW_MS + at)).collect(),
            values: vec![1.0; series_idx.len()],
            series_idx,
            starts_ns: Vec::new(),
        };
        store.flush(vec![part]);
    }

    let (n_rows, most) = merged_with_held(&mut store, Signal::Metrics);

    // Of each file a batch and the next series; the series under way, of all files; what was gathered.
    let bound = N_FILES * (MERGE_ROWS + SAMPLES) + N_FILES * SAMPLES + series::BATCH_ROWS;
    assert_eq!(n_rows, N_FILES * N_SERIES * SAMPLES);
    assert!(3 * bound < n_rows && (1..=bound).contains(&most), "{most} of {n_rows}, bound {bound}");
}
