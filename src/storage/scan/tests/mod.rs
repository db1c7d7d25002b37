//! What a scan reads is what was written, in whatever blocks it comes and wherever it lies.

mod world;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::base::clock::ManualClock;
use crate::base::units::HumanSize;
use crate::model::{Commons, Labels, MatchOp, Matcher, ReadScope, SeriesMeta};
use crate::storage::compact::Merger;
use crate::storage::disk::sim::SimDisk;
use crate::storage::engine::Engine;
use crate::storage::keeper::Asker;
use crate::storage::{Config, Menu, Metrics, Part, Progress, Storage, flush, open};
use world::{Lies, PATTERNS, TEXTS, matchers, wanted, written};

const NOW_MS: i64 = 1_790_000_000_000;

struct Store {
    engine: Engine,
    storage: Storage,
    merger: Merger,
}

impl Store {
    fn new(config: Config) -> Self {
        let metrics = Metrics::register(&mut Default::default());
        let (disk, clock) = (Arc::new(SimDisk::new()), ManualClock::at_ms(NOW_MS));
        let opened = open::open(disk, clock, config, metrics, &Progress::default());
        let (engine, shared, _) = opened.unwrap();
        let (requests, keeper) = (tokio::sync::mpsc::channel(1).0, Asker::new().0);
        let storage = Storage { shared, requests, keeper };
        Self { engine, storage, merger: Merger::default() }
    }

    fn put(&mut self, series: &Labels, samples: &[(i64, f64)]) {
        let commons = Commons::new(series.get("commons").unwrap()).unwrap();
        let (key, meta) = (u128::from(series.series_id()), SeriesMeta::default());
        let series_idx = self.storage.register(key, &commons, series, &meta).unwrap().series_idx;
        let part = Part::Samples {
            epoch: self.storage.lookup(&[], &mut Vec::new()),
            commons_idx: self.storage.commons_idx(&commons),
            series_idx: vec![series_idx; samples.len()],
            timestamps_ms: samples.iter().map(|(ms, _)| *ms).collect(),
            values: samples.iter().map(|(_, value)| *value).collect(),
            starts_ns: Vec::new(),
        };
        self.engine.commit(vec![part]).unwrap();
    }

    fn flush(&mut self) {
        self.engine.seal().unwrap();
        while flush::flush_oldest(&self.storage.shared).unwrap() {}
    }

    fn snapshot(&self) -> Snapshot {
        self.storage.snapshot(&ReadScope::All)
    }
}

fn request(matchers: &[Matcher], (start_ms, end_ms): (i64, i64)) -> SeriesRequest<'_> {
    SeriesRequest { matchers, start_ms, end_ms, samples_max: usize::MAX, series_max: usize::MAX }
}

/// Series and their samples.
type Sampled = Vec<(Labels, Vec<(i64, f64)>)>;

fn samples(series: Vec<SeriesData>) -> Sampled {
    let pairs =
        |one: SeriesData| (one.labels, one.timestamps_ms.into_iter().zip(one.values).collect());
    series.into_iter().map(pairs).collect()
}

#[test]
fn what_was_written_is_read_whole_or_in_blocks_and_by_name() {
    // How many series were found where each comparison with each text was asked.
    let mut found = BTreeMap::new();
    let mut n_in_order = 0;
    for seed in 0..30 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let lies = [Lies::Head, Lies::Files, Lies::Both][rng.random_range(0..3)];
        // Small row groups, and caches that hold little.
        let row_group_rows = [50, 1 << 20][rng.random_range(0..2)];
        let series_cache = HumanSize([2_000, 1 << 20][rng.random_range(0..2)]);
        let sample_cache = HumanSize([0, 4_000, 1 << 20][rng.random_range(0..3)]);
        let config = Config { row_group_rows, series_cache, sample_cache, ..Config::default() };
        let mut store = Store::new(config);
        let written = written(&mut rng, &mut store, lies);
        let snapshot = store.snapshot();
        for _ in 0..30 {
            let matchers = matchers(&mut rng);
            let start_ms = NOW_MS - rng.random_range(0..5_000_000);
            let end_ms = start_ms + rng.random_range(0..5_000_000);
            let request = request(&matchers, (start_ms, end_ms));
            let wanted = wanted(&written, &request);

            let whole = samples(snapshot.select(&request).unwrap());
            let mut in_blocks = HashMap::new();
            let mut scan = snapshot.scan(&request, false).unwrap();
            let n_rows = rng.random_range(1..200);
            while let Some(block) = scan.next_block(n_rows).unwrap() {
                assert!(block.is_sorted_by(|a, b| a.labels < b.labels), "seed {seed}");
                for (labels, samples) in samples(block) {
                    assert!(in_blocks.insert(labels, samples).is_none(), "seed {seed}: twice");
                }
            }
            let few = in_order(&snapshot, &request, &mut rng);
            let names = snapshot.series(&request).unwrap();
            for matcher in &matchers {
                let key = (format!("{:?}", matcher.op), matcher.value.clone());
                *found.entry(key).or_insert(0) += wanted.len();
            }

            assert_eq!(whole, wanted, "seed {seed}, {lies:?}: {matchers:?} {start_ms} to {end_ms}");
            assert_eq!(in_blocks, wanted.iter().cloned().collect(), "seed {seed}");
            n_in_order += usize::from(few.is_some());
            let mut by_commons = wanted.clone();
            by_commons.sort_by(|(a, _), (b, _)| a.get("commons").cmp(&b.get("commons")));
            assert!(few.is_none_or(|few| few == by_commons), "seed {seed}: {matchers:?}");
            let wanted: Vec<Labels> = wanted.into_iter().map(|(labels, _)| labels).collect();
            assert_eq!(names, wanted, "seed {seed}: {matchers:?} {start_ms} to {end_ms}");
            for name in ["pod", "A", "commons", "nope"] {
                let menu = Menu::Values(name);
                let mut values = snapshot.menu(menu, &request, "query.memory").unwrap();
                values.sort();
                let of = |labels: &Labels| labels.get(name).map(str::to_owned);
                let of_series: BTreeSet<String> = wanted.iter().filter_map(of).collect();
                assert_eq!(values, Vec::from_iter(of_series), "seed {seed}: {name}");
            }
            let mut names = snapshot.menu(Menu::Names, &request, "query.memory").unwrap();
            names.sort();
            let all = wanted.iter().flat_map(|labels| labels.iter().map(|(name, _)| name));
            let all: BTreeSet<String> = all.map(str::to_owned).collect();
            assert_eq!(names, Vec::from_iter(all), "seed {seed}: {matchers:?}");
        }
    }
    assert!((1..30 * 30).contains(&n_in_order), "{n_in_order}");
    assert_eq!(found.len(), 2 * TEXTS.len() + 2 * PATTERNS.len(), "all were asked");
    let never: Vec<_> = found.iter().filter(|(_, n)| **n == 0).map(|(key, _)| key).collect();
    // Every series has a pod.
    let wanted = [("Eq", "nothing"), ("Re", "nothing.*"), ("Nre", ".*"), ("Nre", "pod-.*")];
    let wanted = wanted.map(|(op, value)| (op.to_owned(), value.to_owned()));
    assert!(never.iter().all(|key| wanted.contains(key)), "found nothing: {never:?}");
}

/// Returns the series a few at a time, where those of each commons come in the order of labels by
/// themselves.
fn in_order(
    snapshot: &Snapshot,
    request: &SeriesRequest<'_>,
    rng: &mut SmallRng,
) -> Option<Sampled> {
    let mut scan = snapshot.scan(request, false).unwrap();
    let enough = Enough { n_rows: rng.random_range(1..50), n_series: rng.random_range(1..4) };
    let room = Room { n_rows_max: rng.random_range(1..200), enough };
    if !scan.is_by_labels {
        return None;
    }
    let mut all = Vec::new();
    while let Some(block) = scan.next_of_commons(room).unwrap() {
        all.extend(samples(block));
    }
    Some(all)
}

#[test]
fn what_is_decoded_already_is_told_from_its_neighbours() {
    for seed in 0..40 {
        let mut rng = SmallRng::seed_from_u64(seed);
        // Three series and a part of the next in a row group, so that parts of groups are known.
        let mut store = Store::new(Config { row_group_rows: 70, ..Config::default() });
        for pod in 0..12_i64 {
            let labels = [("__name__", "up"), ("commons", "heart"), ("pod", &format!("{pod:02}"))];
            let samples = (0..20).map(|at| (NOW_MS + 1_000 * at, (100 * pod + at) as f64));
            store.put(&Labels::from_pairs(labels), &samples.collect::<Vec<_>>());
        }
        store.flush();
        for _ in 0..20 {
            let pods: Vec<i64> = (0..12).filter(|_| rng.random_ratio(1, 3)).collect();
            let pattern: Vec<String> = pods.iter().map(|pod| format!("{pod:02}")).collect();
            let pattern = Matcher::new("pod", MatchOp::Re, &pattern.join("|")).unwrap();

            let found = store.snapshot().select(&request(&[pattern], (0, i64::MAX))).unwrap();

            let first: Vec<f64> = found.iter().map(|one| one.values[0]).collect();
            let wanted: Vec<f64> = pods.iter().map(|pod| (100 * pod) as f64).collect();
            assert_eq!(first, wanted, "seed {seed}");
            assert!(found.iter().all(|one| one.values.is_sorted() && one.values.len() == 20));
        }
        assert!(store.snapshot().footers().samples.n_bytes() > 0);
    }
}

#[test]
fn a_cache_of_series_stays_within_its_size() {
    let bytes_max = 3_000;
    let series_cache = HumanSize(bytes_max);
    let mut store =
        Store::new(Config { series_cache, merged_file_max: HumanSize(0), ..Config::default() });
    for file in 0..40 {
        for pod in 0..5 {
            let labels = [("__name__", "up"), ("commons", "heart"), ("pod", &format!("{pod}"))];
            store.put(&Labels::from_pairs(labels), &[(NOW_MS - 1_000 * file, 1.0)]);
        }
        store.flush();
    }

    for _ in 0..3 {
        let found = store.snapshot().select(&request(&[], (0, NOW_MS))).unwrap();
        assert_eq!(found.iter().map(|one| one.values.len()).sum::<usize>(), 200);
        let n_bytes = store.snapshot().footers().series.n_bytes() as u64;
        assert!(0 < n_bytes && n_bytes <= bytes_max, "{n_bytes}");
    }
}

#[test]
fn some_series_are_found_wherever_they_lie_and_the_others_not_looked_at() {
    let mut store = Store::new(Config::default());
    let of = |pod: i64| {
        let pod = format!("{pod:02}");
        Labels::from_pairs([("__name__", "up"), ("commons", "heart"), ("pod", pod.as_str())])
    };
    // In a file: five of which only the samples tell that there is one in the range, five that have
    // none, and five that have one for sure; three of these and five more in the head.
    let (before, at, after) = ((NOW_MS - 10, 1.0), (NOW_MS, 2.0), (NOW_MS + 10, 3.0));
    (0..5).for_each(|pod| store.put(&of(pod), &[before, at, after]));
    (5..10).for_each(|pod| store.put(&of(pod), &[before, after]));
    (10..15).for_each(|pod| store.put(&of(pod), &[at]));
    store.flush();
    (12..20).for_each(|pod| store.put(&of(pod), &[at]));
    let all: BTreeSet<Labels> = (0..5).chain(10..20).map(of).collect();
    let request = request(&[], (NOW_MS - 5, NOW_MS + 5));

    for enough in [0, 1, 4, 5, 6, 14, 15, 16, usize::MAX] {
        let some = store.snapshot().some_series(&request, enough, "query.memory").unwrap();
        let found: BTreeSet<Labels> = some.iter().cloned().collect();
        assert_eq!((some.len(), found.len()), (enough.min(15), enough.min(15)), "{enough}");
        assert!(found.is_subset(&all), "{enough}: {found:?}");
    }
    // The ten that come before them in the file, and two.
    let twelve = SeriesRequest { series_max: 12, ..request };
    let find = |enough| store.snapshot().some_series(&twelve, enough, "query.memory");
    assert_eq!(find(2).unwrap().len(), 2);
    let error = find(3).unwrap_err().to_string();
    assert!(error.contains("12 series (query.memory)"), "{error}");
}

#[test]
fn limits_hold_over_all_blocks() {
    let mut store = Store::new(Config::default());
    for pod in 0..10 {
        let labels = [("__name__", "up"), ("commons", "heart"), ("pod", &format!("{pod}"))];
        store.put(&Labels::from_pairs(labels), &[(NOW_MS, 1.0), (NOW_MS + 1, 2.0)]);
    }
    store.flush();
    let all = request(&[], (0, i64::MAX));

    let few_samples = SeriesRequest { samples_max: 19, ..all.clone() };
    let mut scan = store.snapshot().scan(&few_samples, false).unwrap();
    let read: Result<Vec<_>, _> = std::iter::from_fn(|| scan.next_block(3).transpose()).collect();
    let error = read.unwrap_err().to_string();
    assert!(error.contains("19 samples (query.samples_max)"), "{error}");
    let few_series = SeriesRequest { series_max: 9, ..all.clone() };
    let error = store.snapshot().scan(&few_series, false).unwrap_err().to_string();
    assert!(error.contains("9 series (query.series_max)"), "{error}");
    assert_eq!(
        store.snapshot().select(&SeriesRequest { samples_max: 20, ..all }).unwrap().len(),
        10
    );
}
