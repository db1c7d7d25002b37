//! The notifier on a clock that somebody sets wrong, and right again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;

use super::testing::{Memory, Script};
use super::*;
use crate::base::Clock as _;
use crate::base::clock::SettableClock;
use crate::model::{AlertEvent, Labels};

const START_MS: i64 = 1_790_000_000_000;
const MIN: i64 = 60_000;
const YEAR: i64 = 365 * 24 * 60 * MIN;

struct Bench {
    clock: Arc<SettableClock>,
    store: Arc<Memory>,
    script: Arc<Script>,
    notifier: Notifier,
    firing: Vec<AlertEvent>,
}

impl Bench {
    fn new() -> Self {
        let config = Config {
            webhook_url: Some(SecretUrl::parse("https://hooks.example/key").unwrap()),
            external_url: "https://watch.example".to_owned(),
            ..Config::default()
        };
        let clock = SettableClock::at_ms(START_MS);
        let (store, script) = (Arc::<Memory>::default(), Arc::<Script>::default());
        let parts = Parts {
            store: Arc::<Memory>::clone(&store),
            sender: Arc::<Script>::clone(&script),
            clock: Arc::<SettableClock>::clone(&clock),
            metrics: Metrics::default(),
        };
        let policy = Arc::new(Policy::from(&config));
        let notifier = block_on(Notifier::open(&config, policy, parts)).unwrap();
        Self { clock, store, script, notifier, firing: Vec::new() }
    }

    /// One more alert fires.
    fn fires(&mut self, name: &str) {
        self.firing.push(AlertEvent {
            labels: Labels::from_pairs([("alertname", "A"), ("commons", "c"), ("name", name)]),
            annotations: BTreeMap::new(),
            starts_at_ms: self.clock.now_ms(),
            ends_at_ms: 0,
            resolved: false,
            generator_url: String::new(),
        });
        self.tell();
    }

    /// Says what fires, for the next four minutes, as rules do.
    fn tell(&mut self) {
        let ends_at_ms = self.clock.now_ms() + 4 * MIN;
        let told = self.firing.iter().map(|event| AlertEvent { ends_at_ms, ..event.clone() });
        block_on(self.notifier.accept(told.collect()));
    }

    /// Lets minutes pass; what fires is told at the end of each.
    fn pass(&mut self, n_minutes: u32) {
        for second in 1..=n_minutes * 60 {
            self.clock.passing.advance(Duration::from_secs(1));
            block_on(self.notifier.tick());
            if second % 60 == 0 {
                self.tell();
            }
        }
    }

    /// Returns what was heard since the last call: the status and how many alerts.
    fn heard(&self) -> Vec<String> {
        let heard: Vec<Delivery> = self.script.heard.lock().drain(..).collect();
        let told = heard.iter().map(|delivery| {
            let body: serde_json::Value = serde_json::from_str(&delivery.body).unwrap();
            let n_alerts = body["alerts"].as_array().unwrap().len();
            format!("{} {n_alerts}", body["status"].as_str().unwrap())
        });
        told.collect()
    }

    fn n_lines(&self, start_ms: i64) -> usize {
        let end_ms = self.clock.now_ms() + 1;
        block_on(self.notifier.ledger().records(start_ms, end_ms, 1_000)).unwrap().len()
    }
}

#[test]
fn a_clock_that_is_set_wrong_ends_no_alert_and_forgets_nothing() {
    let mut bench = Bench::new();
    bench.fires("x");
    bench.pass(2);
    assert_eq!(bench.heard(), ["firing 1"]);
    let n_lines = bench.store.ledger.lock().len();

    bench.clock.set_ahead_ms(YEAR);
    bench.pass(21);

    assert_eq!(bench.heard(), [""; 0], "it neither ended nor is it time to say it again");
    assert_eq!(bench.store.ledger.lock().len(), n_lines);

    bench.clock.set_ahead_ms(0);
    let right_ms = bench.clock.now_ms();
    bench.fires("y");
    bench.pass(6);
    assert_eq!(bench.heard(), ["firing 2"], "within the group's interval");
    assert!(bench.n_lines(right_ms) >= 2, "it came, and it was told");
}
