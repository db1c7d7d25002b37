//! Rules on a clock that somebody sets wrong, and right again.

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;

use super::tests::{Fake, MIN, groups};
use super::*;
use crate::base::clock::{Clock as _, SettableClock};

const START_MS: i64 = 1_790_000_000_000;
const HOUR: i64 = 60 * MIN;
const YEAR: i64 = 365 * 24 * HOUR;

const RULES: &str = "
groups:
- name: g
  interval: 1m
  rules:
  - {alert: A, expr: x}
  - {alert: B, expr: y, for: 5m}
";

struct Bench {
    world: Arc<Fake>,
    clock: Arc<SettableClock>,
    metrics: Metrics,
    set: RuleSet,
}

impl Bench {
    fn at_ms(now_ms: i64) -> Self {
        let (world, clock) = (Arc::<Fake>::default(), SettableClock::at_ms(now_ms));
        let metrics = Metrics::default();
        let context = Context::new(
            &Config::default(),
            "",
            Arc::<Fake>::clone(&world),
            Arc::<SettableClock>::clone(&clock),
            metrics.clone(),
        );
        Self { world, clock, metrics, set: RuleSet::new(context, groups(RULES)) }
    }

    /// Begins with an alert that fires.
    fn firing() -> Self {
        let bench = Self::at_ms(START_MS);
        bench.world.put("x", &[("a", 1.0)]);
        bench.pass(3);
        assert!(bench.world.fired().contains(&"a firing".to_owned()));
        bench
    }

    fn pass(&self, n_minutes: u32) {
        for _ in 0..n_minutes * 4 {
            self.clock.passing.advance(Duration::from_secs(15));
            block_on(self.set.tick());
        }
    }
}

#[test]
fn a_clock_that_is_set_wrong_for_some_minutes_ends_no_alert() {
    for ahead_ms in [YEAR, -YEAR] {
        let bench = Bench::firing();

        // At the time that the clock shows nothing is stored.
        bench.world.put("x", &[]);
        bench.clock.set_ahead_ms(ahead_ms);
        bench.pass(10);

        let told = bench.world.fired();
        assert!(told.len() >= 5 && told.iter().all(|one| one == "a firing"), "{told:?}");
        assert_eq!(bench.metrics.missed.get(), 0, "nobody was late");

        bench.world.put("x", &[("a", 1.0)]);
        bench.clock.set_ahead_ms(0);
        bench.pass(3);
        let told = bench.world.fired();
        assert!(!told.is_empty() && told.iter().all(|one| one == "a firing"), "{told:?}");

        bench.world.put("x", &[]);
        bench.pass(2);
        assert!(bench.world.fired().contains(&"a over".to_owned()), "what is over is told at once");
    }
}

#[test]
fn a_clock_that_stays_where_it_leapt_to_is_followed_after_some_minutes() {
    let bench = Bench::firing();
    bench.world.put("x", &[]);
    bench.clock.set_ahead_ms(HOUR);
    bench.pass(14);
    assert!(!bench.world.fired().contains(&"a over".to_owned()));

    bench.pass(3);

    assert!(bench.world.fired().contains(&"a over".to_owned()));
}

#[test]
fn for_counts_the_time_that_passes_and_no_leap() {
    for ahead_ms in [HOUR, -HOUR] {
        let bench = Bench::at_ms(START_MS);
        bench.world.put("y", &[("a", 1.0)]);
        bench.pass(3);

        bench.clock.set_ahead_ms(ahead_ms);
        bench.pass(1);
        assert_eq!(bench.world.fired(), [""; 0], "it held for four minutes at most");

        bench.pass(4);
        assert!(bench.world.fired().contains(&"a firing".to_owned()), "{ahead_ms}");
    }
}

#[test]
fn after_a_restart_with_a_clock_that_was_set_back_what_fires_is_told_again() {
    let before = Bench::firing();
    let saved = before.set.save();

    let bench = Bench::at_ms(START_MS - HOUR);
    block_on(bench.set.restore(&saved, bench.clock.now_ms(), None)).unwrap();
    bench.world.put("x", &[("a", 1.0)]);
    bench.pass(3);

    assert!(bench.world.fired().contains(&"a firing".to_owned()));
}
