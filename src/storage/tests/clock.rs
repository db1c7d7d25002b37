//! A clock that is set wrong removes nothing that a right one would keep.

use std::time::Duration;

use super::*;
use crate::base::clock::SettableClock;
use crate::storage::DeleteRequest;
use crate::storage::deletion::{self, SeriesJudge};

const HOUR: Duration = Duration::from_secs(3_600);
const YEAR: Duration = Duration::from_secs(365 * 86_400);
const YEAR_MS: i64 = 365 * 86_400_000;

/// Puts a sample of a commons into a file.
fn write(store: &mut Store, commons_name: &str) {
    let part = store.samples(commons_name, &[("a", NOW_MS - 1, 1.0)]);
    store.engine.commit(vec![part]).unwrap();
    store.engine.seal().unwrap();
    assert!(flush::flush_oldest(&store.shared).unwrap());
}

#[test]
fn a_clock_that_leaps_removes_nothing_for_a_day() {
    let (disk, clock) = (SimDisk::new(), SettableClock::at_ms(NOW_MS));
    let shared: SharedClock = Arc::clone(&clock) as _;
    let mut store = open_on(Arc::new(disk.clone()), (Config::default(), None), shared);
    write(&mut store, "heart");
    assert_eq!(store.keeper.tidy().unwrap(), 0);
    let doubted = store.shared.metrics.clock_doubted.clone();

    clock.set_ahead_ms(YEAR_MS);
    clock.passing.advance(HOUR);
    assert_eq!((store.keeper.tidy().unwrap(), store.read().len(), doubted.get()), (0, 1, 1));
    clock.set_ahead_ms(0);
    clock.passing.advance(HOUR);
    assert_eq!((store.keeper.tidy().unwrap(), store.read().len(), doubted.get()), (0, 1, 0));

    // Whoever insists for a day is believed.
    clock.set_ahead_ms(YEAR_MS);
    assert_eq!(store.keeper.tidy().unwrap(), 0);
    clock.passing.advance(24 * HOUR);
    assert_eq!((store.keeper.tidy().unwrap(), store.read().len(), doubted.get()), (1, 0, 0));
}

#[test]
fn what_is_deleted_while_the_clock_is_ahead_can_be_taken_back_for_a_day_and_no_year() {
    let (disk, clock) = (SimDisk::new(), SettableClock::at_ms(NOW_MS));
    let shared: SharedClock = Arc::clone(&clock) as _;
    let mut store = open_on(Arc::new(disk), (Config::default(), None), shared);
    write(&mut store, "heart");
    assert_eq!(store.keeper.tidy().unwrap(), 0);

    clock.set_ahead_ms(YEAR_MS);
    let request = DeleteRequest {
        by: "ann".to_owned(),
        selectors: vec!["a".to_owned()],
        start_ns: i64::MIN,
        end_ns: i64::MAX,
        judge: Box::new(SeriesJudge::new(vec![vec![Matcher::equal("__name__", "a")]])),
    };
    let deleted = deletion::delete(&store.shared, &ReadScope::All, request);

    let day_ms = 86_400_000;
    assert_eq!(deleted.unwrap().unwrap().cancel_until_ms, NOW_MS + YEAR_MS + day_ms);
    store.keeper.tidy().unwrap();
    assert_eq!(store.storage.deletions(&ReadScope::All)[0].at_ms, NOW_MS + YEAR_MS);

    clock.set_ahead_ms(0);
    store.keeper.tidy().unwrap();

    let receipt = store.storage.deletions(&ReadScope::All).remove(0);
    assert_eq!((receipt.at_ms, receipt.cancel_until_ms), (NOW_MS, NOW_MS + day_ms));
}

#[test]
fn a_start_with_a_wrong_clock_removes_nothing_for_a_day() {
    let disk = SimDisk::new();
    write(&mut open(&disk), "_self");
    let clock = ManualClock::at_ms(NOW_MS);
    clock.advance(YEAR);

    let mut store = open_at(&disk, Config::default(), Arc::clone(&clock));

    assert_eq!((store.keeper.tidy().unwrap(), store.read().len()), (0, 1));
    clock.advance(24 * HOUR);
    assert_eq!((store.keeper.tidy().unwrap(), store.read().len()), (1, 0));
}
