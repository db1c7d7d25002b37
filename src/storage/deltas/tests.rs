//! Each difference counts once, whatever ends the process.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::sum::add;
use super::*;
use crate::base::clock::ManualClock;
use crate::base::units::{HumanDuration, HumanSize};
use crate::model::{Labels, MetricKind, ReadScope, SeriesMeta};
use crate::storage::disk::Disk;
use crate::storage::disk::sim::{Fault, SimDisk};
use crate::storage::tests::{NOW_MS, Store, commons, open_at};
use crate::storage::wal::segment::WalError;
use crate::storage::{Config, Part, SeriesRequest, flush};

fn delta(start_ns: i64, time_ns: i64, number: f64) -> Delta {
    let difference = Difference::Number(number);
    Delta { series_idx: 0, start_ns, time_ns, shape: 0, difference, point_no: 0 }
}

fn total(start_ns: i64, time_ns: i64, number: f64) -> State {
    State { start_ns, time_ns, shape: 0, total: Total::Number(number) }
}

#[track_caller]
fn check(delta: Delta, want: Result<State, Why>) {
    assert_eq!(add(Some(&total(10, 20, 5.0)), delta), want);
}

#[test]
fn a_difference_follows_on_the_total() {
    assert_eq!(add(None, delta(10, 20, 5.0)), Ok(total(10, 20, 5.0)));
    check(delta(20, 30, 2.0), Ok(total(10, 30, 7.0)));
    check(delta(20, 30, -9.0), Ok(total(10, 30, -4.0)));
}

#[test]
fn gaps_and_overlaps_are_added() {
    check(delta(25, 30, 2.0), Ok(total(10, 30, 7.0)));
    check(delta(15, 30, 2.0), Ok(total(10, 30, 7.0)));
    check(delta(10, 30, 2.0), Ok(total(10, 30, 7.0)));
    check(delta(20, 21, 2.0), Ok(total(10, 21, 7.0)));
}

#[test]
fn what_comes_late_or_twice_or_of_an_earlier_life_is_left_out() {
    check(delta(10, 20, 5.0), Err(Why::OutOfOrder));
    check(delta(12, 18, 2.0), Err(Why::OutOfOrder));
    check(delta(9, 30, 2.0), Err(Why::OlderStart));
    check(delta(0, 30, 2.0), Err(Why::OlderStart));
}

#[test]
fn what_is_not_finite_is_left_out_from_the_first_on() {
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        check(delta(20, 30, number), Err(Why::NotFinite));
        assert_eq!(add(None, delta(20, 30, number)), Err(Why::NotFinite));
        let histogram = ExpHistogram { count: 2, sum: Some(number), ..ExpHistogram::default() };
        let difference = Difference::Histogram(Box::new(histogram));
        let of_histogram = Delta { difference, ..delta(20, 30, 0.0) };
        assert_eq!(add(None, of_histogram), Err(Why::NotFinite));
    }
}

#[test]
fn other_bounds_or_another_kind_begin_anew() {
    check(Delta { shape: 7, ..delta(20, 30, 2.0) }, Ok(State { shape: 7, ..total(20, 30, 2.0) }));
    let histogram = ExpHistogram { count: 2, start_ns: 20, ..ExpHistogram::default() };
    check(
        Delta {
            difference: Difference::Histogram(Box::new(histogram.clone())),
            ..delta(20, 30, 0.0)
        },
        Ok(State { total: Total::Histogram(Box::new(histogram)), ..total(20, 30, 0.0) }),
    );
}

/// What one sender has counted of a series, and what it is not sure of.
#[derive(Debug, Default, Clone)]
struct Counted {
    sum: u32,
    time_ms: i64,
    unsure: Option<u32>,
}

/// Senders that count, and a store that they tell.
struct World {
    disk: SimDisk,
    rng: SmallRng,
    config: Config,
    counted: BTreeMap<(&'static str, &'static str), Counted>,
    left_out: u64,
}

const SERIES: [(&str, &str); 4] = [("heart", "a"), ("heart", "b"), ("canine", "a"), ("heart", "h")];

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let config = Config {
            segment_size: HumanSize(rng.random_range(256..4096)),
            // A store that flushes while it replays, and one that writes a generation in parts.
            head_soft: HumanSize(if rng.random() { 1 } else { u64::MAX }),
            head_firm: HumanSize(if rng.random_ratio(1, 4) { 1 } else { u64::MAX }),
            ..Config::default()
        };
        let (disk, counted) = (SimDisk::new(), BTreeMap::new());
        Self { disk, rng, config, counted, left_out: 0 }
    }

    fn open(&self) -> Store {
        open_at(&self.disk, self.config.clone(), ManualClock::at_ms(NOW_MS))
    }

    /// Sends the next difference of some series, or once more the one of which nothing is known.
    fn send(&mut self, store: &mut Store) -> Result<(), WalError> {
        let series = SERIES[self.rng.random_range(0..SERIES.len())];
        let counted =
            self.counted.entry(series).or_insert(Counted { time_ms: NOW_MS, ..Counted::default() });
        let n = *counted.unsure.get_or_insert_with(|| self.rng.random_range(1..9));
        let (part, left_out) = part(store, series, (counted.time_ms, counted.time_ms + 10), n);
        store.engine.commit(vec![part])?;
        self.left_out += left_out.counts().map(|(_, n)| n).sum::<u64>();
        let counted = self.counted.get_mut(&series).unwrap();
        counted.sum += n;
        counted.time_ms += 10;
        counted.unsure = None;
        Ok(())
    }

    /// Sends once more what was acknowledged, as after an answer that was lost.
    fn send_again(&mut self, store: &mut Store, seed: u64) -> Result<(), WalError> {
        let series = SERIES[self.rng.random_range(0..SERIES.len())];
        let acknowledged = self.counted.get(&series).filter(|counted| counted.sum > 0);
        let Some(time_ms) = acknowledged.map(|counted| counted.time_ms) else { return Ok(()) };
        let (part, left_out) = part(store, series, (time_ms - 10, time_ms), 5);
        store.engine.commit(vec![part])?;
        let counts: Vec<_> = left_out.counts().collect();
        assert_eq!(counts, [(Why::OutOfOrder, 1)], "seed {seed}");
        self.left_out += 1;
        Ok(())
    }

    /// Every series shows what its sender has counted, once it has heard of everything.
    #[track_caller]
    fn judge(&mut self, store: &Store, seed: u64) {
        let shown = last_totals(store);
        for (series, counted) in &self.counted {
            let last = shown.get(series).copied();
            let unsure = counted.unsure.unwrap_or(0);
            let is_right = match last {
                None => counted.sum == 0,
                Some((ms, value)) => {
                    (ms == counted.time_ms && value == counted.sum)
                        || (ms == counted.time_ms + 10 && value == counted.sum + unsure)
                }
            };
            assert!(is_right, "seed {seed}: {series:?} has {counted:?} and shows {last:?}");
        }
    }
}

fn part(
    store: &Store,
    (of, metric): (&str, &str),
    (start_ms, end_ms): (i64, i64),
    n: u32,
) -> (Part, Arc<LeftOut>) {
    let name = commons(of);
    let labels = Labels::from_pairs([("__name__", metric), ("commons", of)]);
    let meta = SeriesMeta { kind: MetricKind::Counter, ..SeriesMeta::default() };
    let epoch = store.storage.lookup(&[], &mut Vec::new());
    let key = u128::from(labels.series_id());
    let series = store.storage.register(key, &name, &labels, &meta).unwrap();
    let difference = match metric {
        "h" => Difference::Histogram(Box::new(ExpHistogram {
            count: n.into(),
            positive_offset: i32::try_from(n).unwrap(),
            positive_counts: vec![n.into()],
            ..ExpHistogram::default()
        })),
        _ => Difference::Number(n.into()),
    };
    let left_out = Arc::new(LeftOut::default());
    let delta = Delta {
        series_idx: series.series_idx,
        start_ns: start_ms * 1_000_000,
        time_ns: end_ms * 1_000_000,
        shape: 0,
        difference,
        point_no: 0,
    };
    let (commons_idx, deltas) = (series.commons_idx, vec![delta]);
    (Part::Deltas { commons_idx, epoch, deltas, left_out: Arc::clone(&left_out) }, left_out)
}

/// Returns the last total of each series, and checks that totals only grow.
fn last_totals(store: &Store) -> BTreeMap<(&'static str, &'static str), (i64, u32)> {
    let request = SeriesRequest {
        matchers: &[],
        start_ms: i64::MIN,
        end_ms: i64::MAX,
        samples_max: usize::MAX,
        series_max: usize::MAX,
    };
    let mut last = BTreeMap::new();
    for series in store.storage.snapshot(&ReadScope::All).select_started(&request).unwrap() {
        let is_it = |(of, metric): &&(&str, &str)| {
            series.labels.get("commons") == Some(*of) && series.labels.metric() == *metric
        };
        let name = *SERIES.iter().find(is_it).unwrap();
        assert!(series.starts_ns.iter().all(|start| *start == NOW_MS * 1_000_000));
        assert!(series.values.is_sorted_by(|a, b| a < b), "{name:?}: {:?}", series.values);
        let numbers = series.timestamps_ms.iter().zip(&series.values).map(|(ms, v)| (*ms, *v));
        let histograms = series.histograms.iter().map(|(ms, histogram)| {
            let in_buckets: f64 = histogram.positive.iter().map(|(_, count)| count).sum();
            assert_eq!(in_buckets, histogram.count);
            (*ms, histogram.count)
        });
        let newest = numbers.chain(histograms).last();
        last.insert(name, newest.map(|(ms, value)| (ms, whole(value))).unwrap());
    }
    last
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sums are small")]
fn whole(value: f64) -> u32 {
    assert_eq!(value.fract(), 0.0);
    value as u32
}

/// Runs a history of lives that end anywhere; returns how many differences came a second time.
fn run(seed: u64) -> u64 {
    let mut world = World::new(seed);
    for _ in 0..5 {
        let mut store = world.open();
        world.judge(&store, seed);
        if world.rng.random() {
            let faults = [Fault::PowerCut, Fault::Full, Fault::ShortFull, Fault::SyncFails];
            let fault = faults[world.rng.random_range(0..faults.len())];
            world.disk.arm(world.rng.random_range(0..60), fault);
        }
        for _ in 0..world.rng.random_range(1..30) {
            let done = match world.rng.random_range(0..8) {
                0 => store.engine.seal(),
                1 => match flush::flush_oldest(&store.shared) {
                    Err(error) if error.is_fatal() => break,
                    _ => Ok(()),
                },
                2 => world.send_again(&mut store, seed),
                _ => world.send(&mut store),
            };
            match done {
                Ok(()) => {}
                // What was refused must not be seen.
                Err(WalError::Full) => world.judge(&store, seed),
                Err(WalError::Fatal { .. }) => break,
            }
        }
        let how = world.rng.random();
        world.disk = if world.rng.random() { world.disk.crash(how) } else { world.disk.kill() };
    }
    let store = world.open();
    world.judge(&store, seed);
    world.left_out
}

#[test]
fn each_difference_counts_once_whatever_ends_the_process() {
    let first: u64 = std::env::var("DELTA_SEED").map_or(0, |seed| seed.parse().unwrap());
    let n_again: u64 = (first..first + 100).map(run).sum();

    println!("seeds {first} to {}: {n_again} differences came again", first + 99);
    assert!(n_again > 50, "{n_again} differences came a second time: too few to prove anything");
}

/// Stores a difference; returns those that were left out.
fn send(store: &mut Store, metric: &str, from_to_ms: (i64, i64), n: u32) -> Vec<(Why, u64)> {
    let (part, left_out) = part(store, ("heart", metric), from_to_ms, n);
    store.engine.commit(vec![part]).unwrap();
    left_out.counts().collect()
}

#[test]
fn a_commons_has_no_more_totals_than_it_may() {
    let disk = SimDisk::new();
    let config = Config { delta_series_per_commons: 1, ..Config::default() };
    let mut store = open_at(&disk, config, ManualClock::at_ms(NOW_MS));

    assert_eq!(send(&mut store, "a", (NOW_MS, NOW_MS + 1), 3), []);
    assert_eq!(send(&mut store, "b", (NOW_MS, NOW_MS + 1), 3), [(Why::NoRoom, 1)]);
    assert_eq!(send(&mut store, "a", (NOW_MS + 1, NOW_MS + 2), 4), []);

    let want = BTreeMap::from([(("heart", "a"), (NOW_MS + 2, 7))]);
    assert_eq!(last_totals(&store), want);
}

/// Stores one data point that is of several series; returns whether it was left out.
fn send_point(
    store: &mut Store,
    metrics: [&'static str; 2],
    edit: impl Fn(&mut [Delta]),
) -> Vec<(Why, u64)> {
    let mut all = Vec::new();
    let mut of = None;
    for metric in metrics {
        let (one, left_out) = part(store, ("heart", metric), (NOW_MS, NOW_MS + 2), 4);
        let Part::Deltas { commons_idx, epoch, deltas, .. } = one else { panic!("not of deltas") };
        all.extend(deltas);
        of = Some((commons_idx, epoch, left_out));
    }
    edit(&mut all);
    let (commons_idx, epoch, left_out) = of.unwrap();
    let told = Arc::clone(&left_out);
    let whole = Part::Deltas { commons_idx, epoch, deltas: all, left_out };
    store.engine.commit(vec![whole]).unwrap();
    told.counts().collect()
}

#[test]
fn a_data_point_is_added_whole_or_not_at_all() {
    let disk = SimDisk::new();
    let config = Config { delta_series_per_commons: 2, ..Config::default() };
    let mut store = open_at(&disk, config, ManualClock::at_ms(NOW_MS));
    send(&mut store, "a", (NOW_MS, NOW_MS + 1), 3);

    assert_eq!(send_point(&mut store, ["b", "h"], |_| ()), [(Why::NoRoom, 1)]);
    assert_eq!(last_totals(&store), BTreeMap::from([(("heart", "a"), (NOW_MS + 1, 3))]));
    assert_eq!(send_point(&mut store, ["b", "a"], |_| ()), []);

    let (a, b) = ((NOW_MS + 2, 7), (NOW_MS + 2, 4));
    assert_eq!(last_totals(&store), BTreeMap::from([(("heart", "a"), a), (("heart", "b"), b)]));
}

#[test]
fn points_of_one_request_are_added_in_the_order_of_their_times() {
    let disk = SimDisk::new();
    let mut store = open_at(&disk, Config::default(), ManualClock::at_ms(NOW_MS));
    let later_first = |deltas: &mut [Delta]| {
        (deltas[1].time_ns, deltas[1].point_no) = ((NOW_MS + 1) * 1_000_000, 1);
    };

    assert_eq!(send_point(&mut store, ["a", "a"], later_first), []);

    assert_eq!(last_totals(&store), BTreeMap::from([(("heart", "a"), (NOW_MS + 2, 8))]));
}

#[test]
fn a_sum_that_is_nan_leaves_the_other_parts() {
    let disk = SimDisk::new();
    let mut store = open_at(&disk, Config::default(), ManualClock::at_ms(NOW_MS));
    let with_nan = |deltas: &mut [Delta]| deltas[0].difference = Difference::Number(f64::NAN);

    assert_eq!(send_point(&mut store, ["a", "b"], with_nan), []);

    assert_eq!(last_totals(&store), BTreeMap::from([(("heart", "b"), (NOW_MS + 2, 4))]));
}

#[test]
fn totals_that_go_on_take_no_room_from_new_ones() {
    let disk = SimDisk::new();
    let config = Config { delta_series_per_commons: 2, ..Config::default() };
    let mut store = open_at(&disk, config, ManualClock::at_ms(NOW_MS));
    send(&mut store, "a", (NOW_MS, NOW_MS + 1), 3);

    let group = [("canine", "a"), ("heart", "a"), ("heart", "b"), ("heart", "h")];
    let group = group.map(|series| part(&store, series, (NOW_MS + 1, NOW_MS + 2), 4));
    let (parts, left_out): (Vec<_>, Vec<_>) = group.into_iter().unzip();
    store.engine.commit(parts).unwrap();

    let counts: Vec<Vec<_>> = left_out.iter().map(|one| one.counts().collect()).collect();
    assert_eq!(counts, [vec![], vec![], vec![], vec![(Why::NoRoom, 1)]]);
}

#[test]
fn a_series_that_left_counts_anew() {
    let disk = SimDisk::new();
    let clock = ManualClock::at_ms(NOW_MS);
    let config = Config { series_idle: HumanDuration::from_secs(60), ..Config::default() };
    let mut store = open_at(&disk, config.clone(), Arc::clone(&clock));
    send(&mut store, "a", (NOW_MS, NOW_MS + 1), 3);
    store.engine.seal().unwrap();
    flush::flush_oldest(&store.shared).unwrap();

    clock.advance(std::time::Duration::from_secs(3_600));
    while store.engine.retire() {}
    assert_eq!(store.storage.series_by("__name__").len(), 0);
    // It begins later than the first did, as one does that was started anew.
    send(&mut store, "a", (NOW_MS + 5, NOW_MS + 6), 4);

    let entry = store.shared.commons.all().remove(0);
    let totals = entry.totals.lock();
    let states: Vec<_> = totals.of_series.values().map(|state| state.total.clone()).collect();
    assert_eq!(states, [Total::Number(4.0)]);
}

#[test]
fn totals_that_nobody_claims_after_a_start_are_forgotten() {
    let disk = SimDisk::new();
    let clock = ManualClock::at_ms(NOW_MS);
    let mut store = open_at(&disk, Config::default(), Arc::clone(&clock));
    send(&mut store, "a", (NOW_MS, NOW_MS + 1), 3);
    store.engine.seal().unwrap();
    flush::flush_oldest(&store.shared).unwrap();
    let mut store = open_at(&disk, Config::default(), Arc::clone(&clock));
    let n_totals = |store: &Store| store.shared.commons.all()[0].totals.lock().len();
    assert_eq!(n_totals(&store), 1);

    clock.advance(std::time::Duration::from_secs(2 * 3_600));
    while store.engine.retire() {}

    assert_eq!(n_totals(&store), 0);
}

#[test]
fn a_damaged_file_is_set_aside_and_counting_begins_anew() {
    let disk = SimDisk::new();
    let mut store = open_at(&disk, Config::default(), ManualClock::at_ms(NOW_MS));
    send(&mut store, "a", (NOW_MS, NOW_MS + 1), 3);
    store.engine.seal().unwrap();
    flush::flush_oldest(&store.shared).unwrap();
    disk.flip_byte(file::FILE, 20, 1);

    let mut store = open_at(&disk, Config::default(), ManualClock::at_ms(NOW_MS));
    send(&mut store, "a", (NOW_MS + 1, NOW_MS + 2), 4);

    let aside = disk.files().iter().any(|(path, _)| path.starts_with("quarantine/parquet%totals"));
    assert!(aside, "{:?}", disk.files());
    let entry = store.shared.commons.all().remove(0);
    assert_eq!(entry.totals.lock().of_series[&0].total, Total::Number(4.0));
}

#[test]
fn no_changed_byte_of_the_file_ends_the_process() {
    let disk = SimDisk::new();
    let mut store = open_at(&disk, Config::default(), ManualClock::at_ms(NOW_MS));
    send(&mut store, "a", (NOW_MS, NOW_MS + 1), 3);
    send(&mut store, "h", (NOW_MS, NOW_MS + 1), 3);
    file::write(&store.shared).unwrap();
    let bytes = disk.read(file::FILE).unwrap();

    assert_eq!(file::decode(&bytes).unwrap()[0].1.len(), 2);
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80] {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= flip;
            assert!(file::decode(&damaged).is_err(), "{at}");
            // And with a checksum that is right.
            let end = damaged.len() - 4;
            let crc = crc32c::crc32c(&damaged[..end]);
            damaged[end..].copy_from_slice(&crc.to_le_bytes());
            drop(file::decode(&damaged));
        }
        assert!(file::decode(&bytes[..at]).is_err(), "cut at {at}");
    }
}
