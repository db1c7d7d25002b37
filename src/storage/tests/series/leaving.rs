//! When a series leaves, who may still see it, and who may take its place.

use super::*;

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
