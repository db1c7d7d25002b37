//! Crash states: the real write path on a simulated disk, ended in every way, again and again.
//!
//! A history is a few lives of one store. In each life the store opens, is held against what its
//! senders were told, and does random work: groups of samples, histograms, logs and spans of several
//! commons and days, requests sent again, seals, flushes, merges, retention. Disks fill up, syncs fail, and
//! each life ends in a power cut or a kill, in the middle of any operation, opening included. All of a
//! history follows from its seed.
//!
//! `CRASH_STATES` says after how many power cuts the test is content, `CRASH_SEED` with which seed it
//! begins: a violation prints its seed, and `CRASH_STATES=1 CRASH_SEED=<seed>` runs it again.

mod ledger;
mod store;
mod sweeps;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::catalog::CatalogError;
use super::disk::sim::{Fault, SimDisk};
use super::flush;
use super::wal::segment::WalError;
use super::{Config, OpenError, retain};
use crate::base::units::HumanSize;
use ledger::{Item, Ledger};
use store::Store;

const LIVES: u32 = 4;
const STEPS_MAX: u32 = 60;
/// Enough operations for a cut to fall anywhere into a life.
const LIFE_OPS: u64 = 90;
/// About as many operations as opening takes when there is something to replay and flush.
const OPEN_OPS: u64 = 30;

/// How often what happened, so that a run can show that it was not idle.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Seen {
    power_cuts: u64,
    kills: u64,
    opens_cut_short: u64,
    opens_on_full_disks: u64,
    opens_for_want_of_room: u64,
    opens_in_parts: u64,
    full_disks: u64,
    failed_syncs: u64,
    flushes: u64,
    files_retained: u64,
    merges: u64,
    items: u64,
}

impl std::ops::AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.power_cuts += other.power_cuts;
        self.kills += other.kills;
        self.opens_cut_short += other.opens_cut_short;
        self.opens_on_full_disks += other.opens_on_full_disks;
        self.opens_for_want_of_room += other.opens_for_want_of_room;
        self.opens_in_parts += other.opens_in_parts;
        self.full_disks += other.full_disks;
        self.failed_syncs += other.failed_syncs;
        self.flushes += other.flushes;
        self.files_retained += other.files_retained;
        self.merges += other.merges;
        self.items += other.items;
    }
}

/// Says which history it was when something in it panics.
struct TellSeed(u64);

impl Drop for TellSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!("violation: CRASH_STATES=1 CRASH_SEED={seed} runs this history again");
        }
    }
}

struct History {
    seed: u64,
    rng: SmallRng,
    disk: SimDisk,
    config: Config,
    ledger: Ledger,
    seen: Seen,
}

impl History {
    fn run(seed: u64) -> Seen {
        let _told = TellSeed(seed);
        let mut rng = SmallRng::seed_from_u64(seed);
        let config = Config {
            segment_size: HumanSize(rng.random_range(256..4096)),
            // A store that flushes while it replays, in half of the histories.
            head_soft: HumanSize(if rng.random() { 1 } else { u64::MAX }),
            // One that has to write a generation in parts, in a quarter.
            head_firm: HumanSize(if rng.random_ratio(1, 4) { 1 } else { u64::MAX }),
            ..Config::default()
        };
        let (disk, ledger) = (SimDisk::new(), Ledger::new(seed));
        let mut this = Self { seed, rng, disk, config, ledger, seen: Seen::default() };
        (0..LIVES).for_each(|_| this.live());
        let store = this.open().unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        this.ledger.judge(&store);
        this.seen
    }

    fn live(&mut self) {
        let faults = [Fault::PowerCut, Fault::SyncFails, Fault::Full, Fault::ShortFull];
        let armed = self.rng.random_ratio(1, 2).then(|| faults[self.rng.random_range(0..4)]);
        if let Some(fault) = armed {
            self.disk.arm(self.rng.random_range(0..OPEN_OPS), fault);
        }
        let is_full = matches!(armed, Some(Fault::Full | Fault::ShortFull));
        let n_armed = self.disk.n_armed();
        match self.open() {
            Ok(mut store) => {
                let was_full = is_full && self.disk.n_armed() < n_armed;
                self.seen.opens_on_full_disks += u64::from(was_full);
                self.seen.opens_in_parts += u64::from(store.has_parts());
                if !was_full {
                    store.must_be_tidy(self.seed);
                }
                self.ledger.judge(&store);
                self.work(&mut store);
            }
            Err(_) if armed.is_some() && !is_full => self.seen.opens_cut_short += 1,
            // A full disk keeps no store from opening whose log fits into memory.
            Err(OpenError::NoRoom { .. }) if is_full && self.config.head_firm.0 == 1 => {
                self.seen.opens_for_want_of_room += 1;
            }
            Err(error) => panic!("seed {}: {error:?}", self.seed),
        }
        let how = self.rng.random();
        self.disk = if self.rng.random_ratio(2, 3) {
            self.seen.power_cuts += 1;
            self.disk.crash(how)
        } else {
            self.seen.kills += 1;
            self.disk.kill()
        };
    }

    fn open(&self) -> Result<Store, super::OpenError> {
        Store::open(&self.disk, self.config.clone())
    }

    /// Works until the process would end; what ends it, if anything, is armed beforehand.
    fn work(&mut self, store: &mut Store) {
        self.disk.arm(self.rng.random_range(0..LIFE_OPS), Fault::PowerCut);
        if self.rng.random_ratio(1, 3) {
            let faults = [Fault::Full, Fault::ShortFull, Fault::SyncFails];
            let fault = faults[self.rng.random_range(0..faults.len())];
            self.disk.arm(self.rng.random_range(0..LIFE_OPS), fault);
        }
        for _ in 0..self.rng.random_range(1..STEPS_MAX) {
            if self.step(store).is_err() {
                return;
            }
        }
    }

    /// Does one thing; an error ends the process.
    fn step(&mut self, store: &mut Store) -> Result<(), Died> {
        match self.rng.random_range(0..20) {
            0 | 1 => self.settle(store.engine.seal()).map(drop),
            2 | 3 => match flush::flush_oldest(&store.shared) {
                Err(error) if error.is_fatal() => Err(Died),
                flushed => {
                    self.seen.flushes += u64::from(flushed.is_ok_and(|flushed| flushed));
                    Ok(())
                }
            },
            4 => {
                self.ledger.retaining();
                let retained = retain::retain(&store.shared);
                self.seen.files_retained += *retained.as_ref().unwrap_or(&0) as u64;
                retain::sweep(&store.shared);
                survive(retained.map(drop))
            }
            5 | 6 => {
                let merged = store.merger.merge_next(&store.shared);
                self.seen.merges += u64::from(matches!(merged, Ok(true)));
                retain::sweep(&store.shared);
                survive(merged.map(drop))
            }
            7 => match self.ledger.sent_before(&mut self.rng) {
                Some(item) => self.commit(store, vec![item]),
                None => Ok(()),
            },
            _ => {
                let n_items = self.rng.random_range(1..5);
                let items = (0..n_items).map(|_| self.ledger.new_item(&mut self.rng)).collect();
                self.commit(store, items)
            }
        }
    }

    fn commit(&mut self, store: &mut Store, items: Vec<Item>) -> Result<(), Died> {
        self.seen.items += items.len() as u64;
        let parts = items.iter().map(|item| store.part(item)).collect();
        let result = store.engine.commit(parts);
        self.ledger.told(&items, &result);
        if self.settle(result)? {
            // What was refused must not be seen, what was acknowledged must be.
            self.ledger.judge(store);
        }
        Ok(())
    }

    /// Returns true when the disk was full, which ends nothing.
    fn settle(&mut self, result: Result<(), WalError>) -> Result<bool, Died> {
        match result {
            Ok(()) => Ok(false),
            Err(WalError::Full) => {
                self.seen.full_disks += 1;
                Ok(true)
            }
            Err(WalError::Fatal { action, .. }) => {
                self.seen.failed_syncs += u64::from(action == "sync");
                Err(Died)
            }
        }
    }
}

/// The process has ended itself.
struct Died;

/// A full disk ends nothing.
fn survive(result: Result<(), CatalogError>) -> Result<(), Died> {
    result.or_else(|error| if error.is_full() { Ok(()) } else { Err(Died) })
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Power cuts with which a test that runs with all others is content.
const SHORT_STATES: u64 = 1_000;
/// How often a long run says how far it is.
const PROGRESS_EVERY: u64 = 2_500;

/// Runs the histories of these seeds, one after the other in each of a few threads.
fn run(seeds: Range<u64>) -> Seen {
    let (next, seen) = (AtomicU64::new(seeds.start), Mutex::new(Seen::default()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !seeds.contains(&seed) {
                break;
            }
            let of_history = History::run(seed);
            *seen.lock() += of_history;
            let n_done = seed - seeds.start + 1;
            if n_done.is_multiple_of(PROGRESS_EVERY) {
                let n_all = seeds.end - seeds.start;
                eprintln!("progress: crash states: {n_done} of {n_all} histories");
            }
        }
    };
    std::thread::scope(|scope| {
        let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..n_threads).for_each(|_| drop(scope.spawn(work)));
    });
    seen.into_inner()
}

#[test]
fn a_thousand_crash_states_lose_nothing_and_double_nothing() {
    let (first, n_states) = (number("CRASH_SEED", 0), number("CRASH_STATES", SHORT_STATES));
    // Two of three lives end in a power cut.
    let n_histories = (n_states * 3).div_ceil(u64::from(2 * LIVES));

    let seen = run(first..first + n_histories);

    eprintln!("crash states: seeds {first} to {}: {seen:?}", first + n_histories - 1);
    assert!(n_states < 100 || seen.power_cuts * 10 > n_states * 9, "{seen:?}");
    let was_idle = [
        seen.kills,
        seen.opens_cut_short,
        seen.opens_on_full_disks,
        seen.opens_in_parts,
        seen.full_disks,
        seen.failed_syncs,
        seen.flushes,
        seen.merges,
    ]
    .contains(&0);
    assert!(n_states < 100 || !was_idle, "{seen:?}");
}

#[test]
fn one_seed_is_one_history() {
    assert_eq!(History::run(7), History::run(7));
}
