//! The life of series under random work, against an oracle that is a map.
//!
//! Every sample has a time and a value of its own, so one that went to a wrong series, was lost or
//! came twice is seen by comparing maps. Requests are held back between lookup and append, readers
//! hold snapshots, the clock jumps, passes stop half-way, the power goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::disk::sim::{Fault, SimDisk};
use super::tests::{NOW_MS, Store, commons, open_at};
use super::*;
use crate::base::clock::{Clock, ManualClock};
use crate::base::units::{HumanDuration, HumanSize};

/// (labels as text, ms) to the bits of the value.
type Samples = BTreeMap<(String, i64), u64>;

const COMMONS: [&str; 2] = ["heart", "canine"];
const SERIES_MAX: u32 = 24;
const IDLE: Duration = Duration::from_secs(3600);

fn config() -> Config {
    Config {
        segment_size: HumanSize(4096),
        series_idle: HumanDuration(IDLE),
        row_group_rows: 1000,
        ..Config::default()
    }
}

/// A sample that a sender has: commons, number of the series, ms, value.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sent {
    commons: &'static str,
    series: u32,
    ms: i64,
    value: f64,
}

impl Sent {
    fn labels(&self) -> Labels {
        labels(self.commons, self.series)
    }

    fn in_oracle(&self) -> ((String, i64), u64) {
        ((self.labels().to_string(), self.ms), self.value.to_bits())
    }
}

fn labels(commons: &str, series: u32) -> Labels {
    // Half of the series share a metric, and every label but one is shared.
    let metric = if series.is_multiple_of(2) { "m".to_owned() } else { format!("m{series}") };
    let n = series.to_string();
    Labels::from_pairs([
        ("__name__", metric.as_str()),
        ("commons", commons),
        ("job", "j"),
        ("n", n.as_str()),
    ])
}

/// One store with its senders, its readers and the oracle.
struct World {
    seed: u64,
    rng: SmallRng,
    clock: Arc<ManualClock>,
    disk: SimDisk,
    store: Store,
    acknowledged: Samples,
    /// Under way when the power went.
    maybe: Samples,
    held_requests: Vec<(Vec<Sent>, Vec<Part>)>,
    held_snapshots: Vec<(Snapshot, Samples)>,
    /// When a series was last acknowledged, since the start.
    last_ns: BTreeMap<(&'static str, u32), i64>,
    n_sent: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let (disk, clock) = (SimDisk::new(), ManualClock::at_ms(NOW_MS));
        let store = open_at(&disk, config(), Arc::<ManualClock>::clone(&clock));
        Self {
            seed,
            rng: SmallRng::seed_from_u64(seed),
            clock,
            disk,
            store,
            acknowledged: Samples::new(),
            maybe: Samples::new(),
            held_requests: Vec::new(),
            held_snapshots: Vec::new(),
            last_ns: BTreeMap::new(),
            n_sent: 0,
        }
    }

    /// Makes samples that were never sent before.
    fn make(&mut self) -> Vec<Sent> {
        let n = self.rng.random_range(1..6);
        let make = |_| {
            self.n_sent += 1;
            let commons = COMMONS.choose(&mut self.rng).expect("there are two");
            let series = self.rng.random_range(0..SERIES_MAX);
            let ms = NOW_MS + i64::from(self.n_sent);
            Sent { commons, series, ms, value: f64::from(self.n_sent) }
        };
        (0..n).map(make).collect()
    }

    /// Looks up and registers as the door does.
    fn look_up(&self, sent: &[Sent]) -> Vec<Part> {
        let key = |sent: &Sent| u128::from(sent.labels().series_id());
        let keys: Vec<u128> = sent.iter().map(key).collect();
        let mut found = Vec::new();
        let epoch = self.store.storage.lookup(&keys, &mut found);
        let part = |(sent, found): (&Sent, Option<SeriesRef>)| {
            let labels = sent.labels();
            let register = || {
                let (name, meta) = (commons(sent.commons), SeriesMeta::default());
                self.store.storage.register(key(sent), &name, &labels, &meta).unwrap()
            };
            let series = found.unwrap_or_else(register);
            Part::Samples {
                commons_idx: series.commons_idx,
                epoch,
                series_idx: vec![series.series_idx],
                timestamps_ms: vec![sent.ms],
                values: vec![sent.value],
            }
        };
        sent.iter().zip(found).map(part).collect()
    }

    /// Appends as the writer and the door do; returns false when the power went.
    fn append(&mut self, sent: &[Sent], mut parts: Vec<Part>) -> bool {
        if !self.store.engine.may_commit(&parts) {
            parts = self.look_up(sent);
            assert!(self.store.engine.may_commit(&parts), "seed {}: refused twice", self.seed);
        }
        let is_stored = self.store.engine.commit(parts).is_ok();
        let book = if is_stored { &mut self.acknowledged } else { &mut self.maybe };
        book.extend(sent.iter().map(Sent::in_oracle));
        let now_ns = self.clock.now_ns();
        self.last_ns.extend(sent.iter().map(|sent| ((sent.commons, sent.series), now_ns)));
        is_stored
    }

    /// Does one thing; returns false when the power is off.
    fn step(&mut self) -> bool {
        match self.rng.random_range(0..24) {
            0..8 => {
                let sent = self.make();
                let parts = self.look_up(&sent);
                self.append(&sent, parts)
            }
            8..10 => {
                let sent = self.make();
                let parts = self.look_up(&sent);
                self.held_requests.push((sent, parts));
                true
            }
            10..12 if !self.held_requests.is_empty() => {
                let nth = self.rng.random_range(0..self.held_requests.len());
                let (sent, parts) = self.held_requests.swap_remove(nth);
                self.append(&sent, parts)
            }
            12..14 => self.store.engine.seal().is_ok(),
            14..16 => flush::flush_oldest(&self.store.shared).is_ok(),
            16..19 => {
                self.store.shared.wants_retirement.store(true, Ordering::Relaxed);
                for _ in 0..self.rng.random_range(1..12) {
                    self.store.engine.retire();
                }
                true
            }
            19 => {
                self.clock.advance(Duration::from_secs(self.rng.random_range(1..2400)));
                true
            }
            20 => {
                let snapshot = self.store.storage.snapshot(&ReadScope::All);
                self.held_snapshots.push((snapshot, self.acknowledged.clone()));
                true
            }
            21 if !self.held_snapshots.is_empty() => {
                let nth = self.rng.random_range(0..self.held_snapshots.len());
                let (snapshot, then) = self.held_snapshots.swap_remove(nth);
                self.check_old(&snapshot, &then);
                true
            }
            _ => {
                self.check();
                true
            }
        }
    }

    /// A snapshot shows all that was acknowledged before it, and nothing that never was sent.
    fn check_old(&self, snapshot: &Snapshot, then: &Samples) {
        let found = select(snapshot, &[]);
        for (sample, bits) in then {
            assert_eq!(found.get(sample), Some(bits), "seed {}: {sample:?} is lost", self.seed);
        }
        for (sample, bits) in &found {
            assert_eq!(self.acknowledged.get(sample), Some(bits), "seed {}: {sample:?}", self.seed);
        }
    }

    fn check(&mut self) {
        let snapshot = self.store.storage.snapshot(&ReadScope::All);
        let found = select(&snapshot, &[]);
        assert!(found == self.acknowledged, "seed {}: {:?}", self.seed, self.difference(&found));
        let (name, series) =
            (COMMONS.choose(&mut self.rng).expect("two"), self.rng.random_range(0..SERIES_MAX));
        let labels = labels(name, series);
        let matchers: Vec<Matcher> =
            labels.iter().map(|(name, value)| Matcher::equal(name, value)).collect();
        let mut wanted = self.acknowledged.clone();
        wanted.retain(|(text, _), _| *text == labels.to_string());
        assert_eq!(select(&snapshot, &matchers), wanted, "seed {}", self.seed);
        self.check_tables();
        self.check_rows(&snapshot);
    }

    /// What a SQL scan meets: each sample in one row, in files or in the head.
    fn check_rows(&self, snapshot: &Snapshot) {
        let mut values = BTreeSet::new();
        for batch in snapshot.head(Signal::Metrics, HeadFilter::default()) {
            let column = batch.batch.column_by_name("value").unwrap();
            let column =
                arrow::array::AsArray::as_primitive::<arrow::datatypes::Float64Type>(column);
            values.extend(column.values().iter().map(|value| value.to_bits()));
        }
        let n_in_files: u64 = snapshot.files(Signal::Metrics).iter().map(|file| file.n_rows).sum();
        let known: BTreeSet<u64> = self.acknowledged.values().copied().collect();
        assert!(values.is_subset(&known), "seed {}", self.seed);
        assert_eq!(values.len() + usize::try_from(n_in_files).unwrap(), known.len());
    }

    /// The tables agree with each other, and whoever was active is known.
    fn check_tables(&self) {
        let shared = &self.store.shared;
        let mut n_series = 0;
        for entry in shared.commons.all() {
            entry.registry.read().check();
            n_series += entry.registry.read().len();
        }
        // What a replay registered has no key until its sender comes back.
        assert!(shared.raw_keys.read().len() <= n_series, "seed {}", self.seed);
        let since_ns = self.clock.now_ns() - i64::try_from(IDLE.as_nanos()).unwrap();
        for (&(commons, series), &ns) in &self.last_ns {
            let key = u128::from(labels(commons, series).series_id());
            let is_known = shared.raw_keys.read().get(key).is_some();
            assert!(is_known || ns <= since_ns, "seed {}: {commons} {series} is active", self.seed);
        }
    }

    fn difference(&self, found: &Samples) -> Vec<String> {
        let lost = self.acknowledged.iter().filter(|(s, bits)| found.get(s) != Some(bits));
        let wrong = found.iter().filter(|(s, bits)| self.acknowledged.get(s) != Some(bits));
        let text = |kind: &'static str| {
            move |((s, ms), _): (&(String, i64), _)| format!("{kind} {s} {ms}")
        };
        lost.map(text("lost")).chain(wrong.map(text("wrong"))).take(10).collect()
    }

    /// Ends the process, and starts another on what the disk has.
    fn restart(&mut self, disk: SimDisk) {
        self.held_requests.clear();
        self.held_snapshots.clear();
        self.last_ns.clear();
        self.disk = disk;
        self.store = open_at(&self.disk, config(), Arc::<ManualClock>::clone(&self.clock));
        assert_eq!(self.store.damage, 0, "seed {}: a power cut is not damage", self.seed);
        // What was under way may be there, whole or in part; what is, stays.
        let found = select(&self.store.storage.snapshot(&ReadScope::All), &[]);
        let maybe = std::mem::take(&mut self.maybe);
        self.acknowledged
            .extend(maybe.into_iter().filter(|(sample, _)| found.contains_key(sample)));
        self.check();
    }

    /// Lets everybody go and all series be idle: then nothing is left of them in memory.
    fn come_to_rest(&mut self) {
        self.held_requests.clear();
        self.held_snapshots.clear();
        self.store.engine.seal().unwrap();
        while flush::flush_oldest(&self.store.shared).unwrap() {}
        self.clock.advance(IDLE);
        for _ in 0..2 {
            self.store.shared.wants_retirement.store(true, Ordering::Relaxed);
            while self.store.engine.retire() {}
        }
        self.check();
        for entry in self.store.shared.commons.all() {
            assert!(entry.registry.read().is_empty(), "seed {}", self.seed);
        }
        assert!(self.store.shared.raw_keys.read().is_empty(), "seed {}", self.seed);
    }
}

fn select(snapshot: &Snapshot, matchers: &[Matcher]) -> Samples {
    let request = SeriesRequest {
        matchers,
        start_ms: i64::MIN,
        end_ms: i64::MAX,
        samples_max: usize::MAX,
        series_max: usize::MAX,
    };
    let mut all = Samples::new();
    for series in snapshot.select(&request).unwrap() {
        for (ms, value) in series.timestamps_ms.iter().zip(&series.values) {
            let before = all.insert((series.labels.to_string(), *ms), value.to_bits());
            assert_eq!(before, None, "a sample came twice");
        }
    }
    all
}

fn n_seeds(default: u64) -> u64 {
    std::env::var("SERIES_LIVES").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

#[test]
fn no_sample_goes_to_a_wrong_series_whatever_comes_and_goes() {
    for seed in 0..n_seeds(12) {
        let mut world = World::new(seed);
        for _ in 0..200 {
            assert!(world.step());
        }
        world.check();
        world.come_to_rest();
        for _ in 0..50 {
            assert!(world.step());
        }
        world.check();
    }
}

#[test]
fn power_cuts_lose_nothing_and_revive_nobody_as_another() {
    for seed in 0..n_seeds(12) {
        let mut world = World::new(seed);
        for _ in 0..4 {
            let (n_ops, crash) = (world.rng.random_range(0..80), world.rng.random());
            world.disk.arm(n_ops, Fault::PowerCut);
            while world.step() {}
            let disk = world.disk.crash(crash);
            world.restart(disk);
        }
        world.come_to_rest();
    }
}

#[test]
fn an_idle_series_leaves_after_its_flush_and_comes_back() {
    let mut world = World::new(1);
    let sent = Sent { commons: "heart", series: 1, ms: NOW_MS, value: 1.0 };
    let parts = world.look_up(&[sent]);
    assert!(world.append(&[sent], parts));
    let n_series = |world: &World| world.store.shared.commons.get(0).registry.read().len();
    let retire = |world: &mut World| {
        world.store.shared.wants_retirement.store(true, Ordering::Relaxed);
        while world.store.engine.retire() {}
    };

    world.clock.advance(2 * IDLE);
    retire(&mut world);
    assert_eq!(n_series(&world), 1, "its samples are not in files yet");
    world.store.engine.seal().unwrap();
    assert!(flush::flush_oldest(&world.store.shared).unwrap());
    retire(&mut world);
    assert_eq!(n_series(&world), 1, "it was active until the seal");
    let reader = world.store.storage.snapshot(&ReadScope::All);
    world.clock.advance(IDLE);
    retire(&mut world);
    assert_eq!(n_series(&world), 0);
    world.check();
    world.check_old(&reader, &world.acknowledged.clone());

    let again = Sent { ms: NOW_MS + 1, value: 2.0, ..sent };
    let parts = world.look_up(&[again]);
    assert!(world.append(&[again], parts));
    assert_eq!((n_series(&world), world.acknowledged.len()), (1, 2));
    world.check();
}

#[test]
fn a_reader_keeps_what_it_may_still_ask_for() {
    let mut world = World::new(1);
    let sent = Sent { commons: "heart", series: 1, ms: NOW_MS, value: 1.0 };
    let parts = world.look_up(&[sent]);
    assert!(world.append(&[sent], parts));
    let reader = world.store.storage.snapshot(&ReadScope::All);
    world.store.engine.seal().unwrap();
    assert!(flush::flush_oldest(&world.store.shared).unwrap());
    world.clock.advance(IDLE);

    while world.store.engine.retire() {}
    assert_eq!(world.store.shared.commons.get(0).registry.read().len(), 1);
    world.check_old(&reader, &world.acknowledged.clone());
    drop(reader);
    world.store.shared.wants_retirement.store(true, Ordering::Relaxed);
    while world.store.engine.retire() {}
    assert_eq!(world.store.shared.commons.get(0).registry.read().len(), 0);
}

#[test]
fn a_request_that_waited_for_two_passes_is_refused_even_if_its_index_lives_again() {
    let mut world = World::new(1);
    let first = Sent { commons: "heart", series: 1, ms: NOW_MS, value: 1.0 };
    let waiting = world.look_up(&[first]);
    let pass = |world: &mut World| {
        world.clock.advance(IDLE);
        world.store.shared.wants_retirement.store(true, Ordering::Relaxed);
        while world.store.engine.retire() {}
    };

    pass(&mut world);
    assert!(!world.store.engine.may_commit(&waiting), "its series left");
    pass(&mut world);
    let other = Sent { series: 2, ms: NOW_MS + 1, ..first };
    let parts = world.look_up(&[other]);
    let index = |parts: &[Part]| match &parts[0] {
        Part::Samples { series_idx, .. } => series_idx[0],
        _ => panic!("samples"),
    };
    assert_eq!(index(&parts), index(&waiting), "the index lives again");

    assert!(world.store.engine.may_commit(&parts));
    assert!(!world.store.engine.may_commit(&waiting));
}

#[test]
fn a_full_commons_refuses_new_series_and_takes_them_when_others_have_left() {
    let (disk, clock) = (SimDisk::new(), ManualClock::at_ms(NOW_MS));
    let config = Config { series_per_commons: 10, series_per_metric: 4, ..config() };
    let mut store = open_at(&disk, config, Arc::<ManualClock>::clone(&clock));
    let register = |store: &Store, commons_name: &str, metric: &str, n: u32| {
        let n_text = n.to_string();
        let labels = Labels::from_pairs([("__name__", metric), ("n", n_text.as_str())]);
        let key = u128::from(labels.series_id());
        store.storage.register(key, &commons(commons_name), &labels, &SeriesMeta::default())
    };

    let results: Vec<_> = (0..6).map(|n| register(&store, "heart", "a", n)).collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 4);
    let error = results[5].clone().unwrap_err();
    assert_eq!(error.limit(), "limits.series_per_metric");
    assert!(error.to_string().contains("metric a of commons heart has 4"), "{error}");

    for n in 0..6 {
        register(&store, "heart", &format!("b{n}"), 0).unwrap();
    }
    let error = register(&store, "heart", "c", 0).unwrap_err();
    assert_eq!(error.limit(), "limits.series_per_commons");
    assert!(error.to_string().contains("commons heart has 10"), "{error}");
    register(&store, "heart", "a", 0).unwrap();
    register(&store, "canine", "a", 0).unwrap();
    let refused = &store.shared.metrics;
    assert_eq!(refused.refused_series(&commons("heart"), "limits.series_per_metric").get(), 2);
    assert_eq!(refused.refused_series(&commons("heart"), "limits.series_per_commons").get(), 1);

    clock.advance(IDLE);
    while store.engine.retire() {}
    register(&store, "heart", "c", 0).unwrap();
    register(&store, "heart", "a", 5).unwrap();
}

#[test]
fn hours_of_churn_leave_memory_flat_and_refuse_nobody() {
    const ACTIVE: u32 = 500;
    const REPLACED: u32 = ACTIVE / 10;
    let (disk, clock) = (SimDisk::new(), ManualClock::at_ms(NOW_MS));
    let ten_minutes = HumanDuration::from_secs(600);
    let config = Config {
        flush_age: ten_minutes,
        series_idle: ten_minutes,
        // What was active within twenty minutes, and a little: see `storage.series_idle`.
        series_per_commons: usize::try_from(ACTIVE + 22 * REPLACED).unwrap(),
        ..Config::default()
    };
    let mut store = open_at(&disk, config, Arc::<ManualClock>::clone(&clock));
    let mut sizes = Vec::new();
    for minute in 0..360_u32 {
        let first = minute * REPLACED;
        let names: Vec<String> = (first..first + ACTIVE).map(|n| format!("m{n}")).collect();
        let samples: Vec<(&str, i64, f64)> =
            names.iter().map(|name| (name.as_str(), clock.now_ms(), 1.0)).collect();
        let part = store.samples("heart", &samples);
        store.engine.commit(vec![part]).unwrap();
        clock.advance(Duration::from_secs(60));
        if store.engine.wants_seal() {
            store.engine.seal().unwrap();
            assert!(flush::flush_oldest(&store.shared).unwrap());
        }
        while store.engine.retire() {}

        let registry = &store.shared.commons.get(0).registry;
        let n_series = u32::try_from(registry.read().len()).unwrap();
        let within = |minutes: u32| ACTIVE + minutes.min(minute) * REPLACED;
        assert!(within(9) <= n_series && n_series <= within(21), "minute {minute}: {n_series}");
        if minute % 60 == 59 {
            let raw_keys = store.shared.raw_keys.read();
            assert_eq!(raw_keys.len(), registry.read().len());
            registry.read().check();
            sizes.push(registry.read().size_bytes() + raw_keys.size_bytes());
        }
    }

    let total: u32 = ACTIVE + 359 * REPLACED;
    // Tables have grown to what they need in the second hour; from then on nothing is added.
    assert!(sizes[5] <= sizes[1] * 21 / 20, "{total} series passed through: {sizes:?}");
}

/// Reads over and over until told to stop: each value tells which series it is of.
fn read_all_the_time(storage: &Storage, is_over: &std::sync::atomic::AtomicBool) -> usize {
    let mut n_reads = 0;
    while !is_over.load(Ordering::Relaxed) {
        let snapshot = storage.snapshot(&ReadScope::All);
        for ((text, ms), bits) in select(&snapshot, &[Matcher::equal("job", "j")]) {
            let want = labels("heart", number_of(f64::from_bits(bits))).to_string();
            assert_eq!(text, want, "at {ms}");
        }
        for batch in snapshot.head(Signal::Metrics, HeadFilter::default()) {
            assert!(batch.batch.num_rows() > 0);
        }
        n_reads += 1;
    }
    n_reads
}

struct SetWhenDropped<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The series of a value that [`many_threads_at_once_never_take_one_series_for_another`] sends.
fn number_of(value: f64) -> u32 {
    (0..64).find(|&n| (f64::from(n) - value).abs() < 0.5).expect("such values are sent")
}

#[test]
fn many_threads_at_once_never_take_one_series_for_another() {
    let (disk, clock) = (SimDisk::new(), ManualClock::at_ms(NOW_MS));
    let mut store = open_at(&disk, config(), Arc::<ManualClock>::clone(&clock));
    let storage = store.storage.clone();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let mut rng = SmallRng::seed_from_u64(7);
    std::thread::scope(|scope| {
        let readers = [0, 1].map(|_| scope.spawn(|| read_all_the_time(&storage, &is_over)));
        let registrar = scope.spawn(|| {
            let (name, meta) = (commons("heart"), SeriesMeta::default());
            let mut n: u32 = 0;
            while !is_over.load(Ordering::Relaxed) {
                let labels = labels("heart", n % 64);
                let key = u128::from(labels.series_id());
                storage.register(key, &name, &labels, &meta).unwrap();
                n += 1;
            }
        });
        // However this ends, the others must not go on for ever.
        let ending = SetWhenDropped(&is_over);
        for round in 0..200_i64 {
            let epoch = storage.lookup(&[], &mut Vec::new());
            let (name, meta) = (commons("heart"), SeriesMeta::default());
            for _ in 0..8 {
                let n = rng.random_range(0..64_u32);
                let labels = labels("heart", n);
                let key = u128::from(labels.series_id());
                let series = storage.register(key, &name, &labels, &meta).unwrap();
                let part = Part::Samples {
                    commons_idx: series.commons_idx,
                    epoch,
                    series_idx: vec![series.series_idx],
                    timestamps_ms: vec![NOW_MS + round],
                    values: vec![f64::from(n)],
                };
                if store.engine.may_commit(std::slice::from_ref(&part)) {
                    store.engine.commit(vec![part]).unwrap();
                }
                store.engine.retire();
            }
            if round % 4 == 0 {
                store.engine.seal().unwrap();
                while flush::flush_oldest(&store.shared).unwrap() {}
                clock.advance(IDLE);
                while store.engine.retire() {}
            }
        }
        drop(ending);
        registrar.join().unwrap();
        let n_reads: usize = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        assert!(n_reads > 0);
    });
    store.shared.commons.get(0).registry.read().check();
}

/// Twelve labels as agents on Kubernetes set them; 50 metrics of a pod share all but one.
fn twelve_labels(n: u32) -> Labels {
    let pod = n / 50;
    let (metric, name) = (format!("http_server_requests_{}_total", n % 50), format!("fence-{pod}"));
    let address = format!("10.0.{}.{}:9102", pod / 250, pod % 250);
    Labels::from_pairs([
        ("__name__", metric.as_str()),
        ("app", "fence"),
        ("cluster", "production"),
        ("commons", "heart"),
        ("container", "fence"),
        ("instance", &address),
        ("job", "integrations/autodiscovery_metrics"),
        ("method", "GET"),
        ("namespace", "default"),
        ("pod", &name),
        ("release", "production"),
        ("service", "fence"),
    ])
}

#[test]
fn an_active_series_costs_at_most_400_bytes_beside_its_labels() {
    const N: u32 = 20_000;
    let store = open_at(&SimDisk::new(), Config::default(), ManualClock::at_ms(NOW_MS));
    let mut engine = store.engine;
    let (name, meta) = (commons("heart"), SeriesMeta::default());
    let mut n_label_bytes = 0;
    let series_idx = (0..N).map(|n| {
        let labels = twelve_labels(n);
        n_label_bytes += labels.packed().len();
        let key = u128::from(labels.series_id()) << 3;
        store.storage.register(key, &name, &labels, &meta).unwrap().series_idx
    });
    let part = Part::Samples {
        commons_idx: 0,
        epoch: Epoch::FIRST,
        series_idx: series_idx.collect(),
        timestamps_ms: vec![NOW_MS; N as usize],
        values: vec![1.0; N as usize],
    };
    engine.commit(vec![part]).unwrap();

    let per_series = |n_bytes: usize| n_bytes / N as usize;
    let registry = per_series(store.shared.commons.get(0).registry.read().size_bytes());
    let raw_keys = per_series(store.shared.raw_keys.read().size_bytes());
    let head_bytes = usize::try_from(store.shared.version.read().head_bytes()).unwrap();
    let (head, labels) = (per_series(head_bytes), per_series(n_label_bytes));
    let beside = registry - labels + raw_keys + head;
    eprintln!("registry {registry}, of it labels {labels}; raw keys {raw_keys}; head {head}");
    assert!(beside <= 400, "{beside} bytes a series beside its labels");
}

#[test]
fn the_series_that_stand_for_others_find_room_up_to_a_number() {
    let config = Config { series_per_commons: 1, series_per_metric: 1, ..config() };
    let store = open_at(&SimDisk::new(), config, ManualClock::at_ms(NOW_MS));
    let register = |pairs: &[(&str, &str)]| {
        let labels = Labels::from_pairs(pairs.iter().copied());
        let key = u128::from(labels.series_id());
        store.storage.register(key, &commons("heart"), &labels, &SeriesMeta::default()).is_ok()
    };

    assert!(register(&[("__name__", "a")]) && !register(&[("__name__", "b")]));
    let n_taken = (0..1_100)
        .filter(|n| register(&[("__name__", &format!("m{n}")), ("__overflow__", "true")]))
        .count();

    assert_eq!(n_taken, 1_000);
    assert!(!register(&[("__name__", "b")]));
}
