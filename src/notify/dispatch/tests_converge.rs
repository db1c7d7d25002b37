//! Nobody is left believing what is not so: whatever fires, ends, begins again and restarts, each receiver
//! that was told of an alert last heard what is true of it, and each that should know of one does.
//!
//! Seeds are printed by what fails; `CONVERGE_SEED` repeats one.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::tests::{Bench, HOUR, MIN, config, labels};
use super::*;

const ROUTES: [&str; 4] = [
    "route: {receiver: x, group_by: [g]}",
    // The same matchers, two receivers; and one receiver by two of them.
    "route:\n  receiver: x\n  group_by: [g]\n  routes:\n  - {receiver: x, continue: true}\n  \
     - {receiver: y, group_wait: 1m, continue: true}\n  \
     - {receiver: x, group_wait: 2m, group_interval: 3m, repeat_interval: 1h}",
    "route:\n  receiver: x\n  group_by: [g]\n  routes:\n  \
     - {match: {sev: page}, receiver: y, group_by: ['...'], continue: true}\n  \
     - {match: {sev: page}, receiver: x, group_interval: 1m, continue: true}\n  \
     - {receiver: z, group_by: [], group_interval: 7m}",
    "route:\n  receiver: x\n  group_by: [sev]\n  group_interval: 90s\n  routes:\n  \
     - receiver: y\n    continue: true\n    routes:\n    - {match: {g: a}, receiver: y, group_wait: 0s}\n    \
     - {match: {g: b}, receiver: z}\n  - {match: {g: a}, receiver: z, repeat_interval: 10m}",
];

const ALERTS: [&str; 8] = [
    "n=0 g=a sev=page",
    "n=1 g=a sev=page",
    "n=2 g=a sev=low",
    "n=3 g=b sev=page",
    "n=4 g=b sev=low",
    "n=5 g=b sev=low",
    "n=6 g=c sev=page",
    "n=7 g=c sev=low",
];

/// Receiver and alert, and whether it was last told to fire.
type Known = BTreeMap<(String, String), bool>;

fn listen(bench: &mut Bench, end_ms: i64, known: &mut Known) {
    // `5:30 x: 1 !2`
    for said in bench.run_to(end_ms) {
        let (head, alerts) = said.split_once(": ").unwrap();
        let receiver = head.rsplit(' ').next().unwrap();
        for alert in alerts.split(' ') {
            let name = alert.trim_start_matches('!');
            known.insert((receiver.to_owned(), name.to_owned()), !alert.starts_with('!'));
        }
    }
}

fn check(seed: u64) {
    let mut dice = SmallRng::seed_from_u64(seed);
    let policy = config(ROUTES[dice.random_range(0..ROUTES.len())], &["x", "y", "z"]);
    let mut bench = Bench::new(Arc::clone(&policy));
    let (mut stored, mut known) = (BTreeMap::new(), Known::new());
    for _ in 0..60 {
        let alert = ALERTS[dice.random_range(0..ALERTS.len())];
        match bench.is_firing(alert) {
            true => bench.end(&[alert]),
            false => bench.fire(&[alert]),
        }
        if dice.random_range(0..5) == 0 {
            bench.restart(&mut stored, Arc::clone(&policy));
        }
        let pause_ms = dice.random_range(1..300_i64) * 1_000;
        let until_ms = bench.now_ms + pause_ms;
        listen(&mut bench, until_ms, &mut known);
    }
    // Every group has its turn.
    let until_ms = bench.now_ms + 20 * MIN;
    listen(&mut bench, until_ms, &mut known);
    for alert in ALERTS {
        let (is_firing, name) = (bench.is_firing(alert), &alert[2..3]);
        let receivers = policy.receivers_of(&labels(alert));
        for receiver in ["x", "y", "z"] {
            let told = known.get(&(receiver.to_owned(), name.to_owned()));
            let is_right = match told {
                Some(told) => *told == is_firing,
                None => !is_firing || !receivers.contains(&receiver),
            };
            assert!(
                is_right,
                "seed {seed}: alert {name} fires: {is_firing}, {receiver} was told {told:?}"
            );
        }
    }
    for alert in ALERTS.iter().filter(|alert| bench.is_firing(alert)).copied().collect::<Vec<_>>() {
        bench.end(&[alert]);
    }
    let until_ms = bench.now_ms + HOUR;
    listen(&mut bench, until_ms, &mut known);
    assert!(known.values().all(|is_firing| !is_firing), "seed {seed}: {known:?}");
    assert_eq!(bench.dispatcher.log.told.len(), 0, "seed {seed}: nothing is left behind");
    assert_eq!((bench.dispatcher.n_alerts(), bench.dispatcher.n_groups()), (0, 0), "seed {seed}");
}

#[test]
fn everybody_last_hears_what_is_true() {
    match std::env::var("CONVERGE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => check(seed),
        None => (0..100).for_each(check),
    }
}
