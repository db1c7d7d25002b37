//! One piece of work at a time, failing at each of its operations in turn: what chance hits rarely.

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::ledger::{Item, Ledger};
use super::store::Store;
use super::{SHORT_STATES, number};
use crate::base::units::HumanSize;
use crate::storage::disk::sim::{Fault, SimDisk};
use crate::storage::{Config, catalog, flush, retain};

/// A store with a few acknowledged items, and what its senders were told.
struct Given {
    disk: SimDisk,
    store: Store,
    ledger: Ledger,
    rng: SmallRng,
}

impl Given {
    fn new() -> Self {
        let disk = SimDisk::new();
        let store = Store::open(&disk, Config::default()).unwrap();
        let mut this =
            Self { disk, store, ledger: Ledger::new(0), rng: SmallRng::seed_from_u64(1) };
        this.commit(4);
        this
    }

    fn commit(&mut self, n_items: usize) {
        let items = self.items(n_items);
        self.send(&items);
    }

    fn items(&mut self, n_items: usize) -> Vec<Item> {
        (0..n_items).map(|_| self.ledger.new_item(&mut self.rng)).collect()
    }

    /// Sends items, for the first time or again; returns true when they are acknowledged.
    fn send(&mut self, items: &[Item]) -> bool {
        let parts = items.iter().map(|item| self.store.part(item)).collect();
        let result = self.store.engine.commit(parts);
        self.ledger.told(items, &result);
        result.is_ok()
    }

    fn flush(&mut self) {
        if self.store.engine.seal().is_ok() {
            drop(flush::flush_oldest(&self.store.shared));
        }
    }

    fn retain(&mut self) {
        self.ledger.retaining();
        drop(retain::retain(&self.store.shared));
        retain::sweep(&self.store.shared);
    }

    /// Opens what is left and judges it.
    fn restart(&mut self, left: SimDisk) {
        self.disk = left;
        self.store = Store::open(&self.disk, Config::default()).unwrap();
        self.store.must_be_tidy(0);
        self.ledger.judge(&self.store);
    }
}

/// Lets `work` fail at each of its operations. After a kill or a power cut, the next process serves
/// what is left and stores more, and then the power goes. With more than a thousand crash states each
/// fault is followed by both ends at each operation, and otherwise by one and the other in turn.
#[track_caller]
fn check(given: impl Fn() -> Given, work: impl Fn(&mut Given)) {
    let mut uncut = given();
    let n_before = uncut.disk.n_ops();
    work(&mut uncut);
    let n_ops = uncut.disk.n_ops() - n_before;
    assert!(n_ops > 1, "nothing was done");

    let alone = [Fault::PowerCut, Fault::SyncFails, Fault::Full, Fault::ShortFull];
    let alone = alone.map(|fault| (fault, None));
    // After a failed sync the process may die before it has done anything about it.
    let faults = alone.into_iter().chain([(Fault::SyncFails, Some(Fault::PowerCut))]);
    let is_long = number("CRASH_STATES", SHORT_STATES) > SHORT_STATES;
    for (nth, (fault, next)) in (0..).zip(faults) {
        // What is left does not depend on a full disk: once a fault and an end are enough.
        let has_both_ends = is_long && !matches!(fault, Fault::Full | Fault::ShortFull);
        for at in 0..n_ops {
            for is_kill in [true, false] {
                if !has_both_ends && is_kill == (at + nth).is_multiple_of(2) {
                    continue;
                }
                let mut given = given();
                given.disk.arm(at, fault);
                if let Some(next) = next {
                    given.disk.arm(at + 1, next);
                }
                work(&mut given);
                let left = if is_kill { given.disk.kill() } else { given.disk.crash(at) };
                given.restart(left);
                given.commit(4);
                let left = given.disk.crash(at);
                given.restart(left);
            }
        }
    }
}

#[test]
fn a_commit_that_fails_anywhere_costs_nothing_that_was_acknowledged() {
    check(Given::new, |given| given.commit(4));
}

#[test]
fn a_flush_that_fails_anywhere_costs_nothing() {
    check(Given::new, Given::flush);
}

#[test]
fn retention_that_fails_anywhere_brings_nothing_back() {
    let with_files = || {
        let mut given = Given::new();
        given.commit(16); // Among them some that are past the retention.
        given.flush();
        given
    };
    check(with_files, |given| {
        given.retain();
        given.commit(3);
        given.flush();
    });
}

#[test]
fn what_a_full_disk_refused_never_comes_back() {
    for fault in [Fault::Full, Fault::ShortFull] {
        for crash in 0..40 {
            let mut given = Given::new();
            given.disk.arm(0, fault);
            given.commit(4);
            let left = given.disk.crash(crash);
            given.restart(left);
        }
    }
}

#[test]
fn series_first_seen_by_a_full_disk_are_defined_again_when_there_is_room() {
    for fault in [Fault::Full, Fault::ShortFull] {
        let mut given = Given::new();
        given.store.engine.seal().unwrap(); // The log of a new generation defines nothing yet.
        let items = given.items(60);
        // No room can be reserved; then, after what it may have got is given back, none for frames.
        given.disk.arm(0, Fault::Full);
        given.disk.arm(2, fault);
        assert!(!given.send(&items), "the disk is full");

        assert!(given.send(&items), "there is room, and the sender comes again");

        let left = given.disk.kill();
        given.restart(left);
    }
}

// A start that makes room writes files, and publishes them, before it looks for files that nobody
// lists. The disk may have room for the manifest and none for its copy.
#[test]
fn a_start_that_finds_the_disk_full_anywhere_costs_nothing() {
    let tight = || Config { head_soft: HumanSize(1), ..Config::default() };
    let given = || {
        let mut given = Given::new();
        given.store.engine.seal().unwrap();
        given.commit(3);
        given.disk = given.disk.kill();
        given
    };
    let n_ops = {
        let given = given();
        let n_before = given.disk.n_ops();
        Store::open(&given.disk, tight()).unwrap();
        given.disk.n_ops() - n_before
    };
    for at in 0..n_ops {
        let fault = if at.is_multiple_of(3) { Fault::ShortFull } else { Fault::Full };
        let mut given = given();
        given.disk.arm(at, fault);
        given.store = Store::open(&given.disk, tight()).unwrap();
        given.ledger.judge(&given.store);
        let left = if at.is_multiple_of(5) { given.disk.crash(at) } else { given.disk.kill() };
        given.restart(left);
    }
}

// The manifest's copy is what is left when the manifest is damaged. One that a power cut takes back
// to an older state must not name a log that is gone.
#[test]
fn the_copy_of_the_manifest_is_on_disk_before_the_next_process_cuts_the_log() {
    let uncut = {
        let mut given = Given::new();
        let n_before = given.disk.n_ops();
        given.flush();
        given.disk.n_ops() - n_before
    };

    for (at, how) in (0..uncut).flat_map(|at| (0..16).map(move |how| (at, how))) {
        let mut given = Given::new();
        given.disk.arm(at, Fault::PowerCut);
        given.flush();
        let left = given.disk.kill();
        given.restart(left);

        let left = given.disk.crash(how);
        left.flip_byte(catalog::MANIFEST, 0, 1);

        let store = Store::open(&left, Config::default());
        given.ledger.judge(&store.unwrap_or_else(|error| panic!("{at} {how}: {error}")));
    }
}
