//! A receiver that is ill for an hour, in every way, while alerts come and go and the server restarts:
//! each notification arrives, in the order of its group, what arrives twice says so by its key, the
//! ledger has every attempt, and nobody else notices. How illness looks on a connection is a story of
//! `tests/it/alerting/receivers.rs`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::executor::block_on;
use parking_lot::Mutex;

use super::testing::Memory;
use super::*;
use crate::base::Clock as _;
use crate::base::clock::ManualClock;
use crate::model::{AlertEvent, Labels};

const SEC: i64 = 1_000;
const MIN: i64 = 60 * SEC;
/// So long is the receiver ill, and so long do we look.
const ILL: i64 = 60 * MIN;
const END: i64 = 130 * MIN;
/// When the process dies and another one goes on.
const DEATHS: [i64; 4] = [7 * MIN, 33 * MIN, 59 * MIN, 61 * MIN];

const POLICY: &str = "
route:
  receiver: well
  group_by: [alertname]
  group_wait: 10s
  group_interval: 1m
  repeat_interval: 1d
  routes:
  - {receiver: ill, continue: true}
  - {receiver: well}
receivers:
- {name: ill, webhook_configs: [{url: 'http://ill/'}]}
- {name: well, webhook_configs: [{url: 'http://well/'}]}
";

/// Group, alert, and from when until when it fires.
const ALERTS: [(&str, &str, i64, i64); 5] = [
    ("A", "1", 0, 30 * MIN),
    ("A", "2", 10 * MIN, 80 * MIN),
    ("B", "3", 5 * MIN, 20 * MIN),
    ("B", "4", 40 * MIN, 90 * MIN),
    // Begins and ends while nobody can be told.
    ("C", "5", 15 * MIN, 25 * MIN),
];

/// How the receiver is ill.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Illness {
    None,
    /// No connection comes about.
    Down,
    /// 500.
    Fails,
    /// 429, and asks for two minutes.
    Busy,
    /// Takes it, and never answers.
    Hangs,
}

struct Heard {
    at_ms: i64,
    host: String,
    key: String,
    body: String,
}

struct Receivers {
    clock: Arc<ManualClock>,
    illness: Illness,
    heard: Mutex<Vec<Heard>>,
}

#[async_trait]
impl Sender for Receivers {
    async fn send(&self, delivery: &Delivery) -> Outcome {
        let at_ms = self.clock.now_ms();
        let host = delivery.target.url.host().to_owned();
        let is_ill = host == "ill" && at_ms < ILL && self.illness != Illness::None;
        let failed = |reason: &str, status, retry_after| Outcome::Failed {
            reason: reason.to_owned(),
            status,
            retry_after,
        };
        if is_ill && self.illness == Illness::Down {
            return failed("connection refused", None, None);
        }
        self.heard.lock().push(Heard {
            at_ms,
            host,
            key: delivery.idempotency_key.clone(),
            body: delivery.body.clone(),
        });
        match self.illness {
            Illness::Fails if is_ill => failed("answered 500", Some(500), None),
            Illness::Busy if is_ill => {
                failed("answered 429", Some(429), Some(Duration::from_secs(120)))
            }
            Illness::Hangs if is_ill => failed("no answer within 10s", None, None),
            _ => Outcome::Delivered { status: 200 },
        }
    }
}

/// What came of two hours.
struct Hours {
    receivers: Arc<Receivers>,
    records: Vec<Record>,
}

fn live(illness: Illness) -> Hours {
    let clock = ManualClock::at_ms(0);
    let receivers =
        Arc::new(Receivers { clock: Arc::clone(&clock), illness, heard: Mutex::default() });
    let store = Arc::<Memory>::default();
    let begin = || {
        let parts = Parts {
            store: Arc::clone(&store) as Arc<dyn Store>,
            sender: Arc::clone(&receivers) as Arc<dyn Sender>,
            clock: Arc::clone(&clock) as _,
            metrics: Metrics::default(),
        };
        let policy = Policy::parse(Path::new("am.yml"), POLICY).unwrap();
        block_on(Notifier::open(&Config::default(), Arc::new(policy), parts)).unwrap()
    };
    let mut notifier = begin();
    for now_ms in (0..END).step_by(5_000) {
        clock.set_ms(now_ms);
        if DEATHS.contains(&now_ms) {
            notifier = begin();
        }
        if now_ms % MIN == 0 {
            block_on(notifier.accept(told_at(now_ms)));
        }
        block_on(notifier.tick());
    }
    let records = block_on(notifier.ledger().records(0, i64::MAX, usize::MAX)).unwrap();
    Hours { receivers, records }
}

/// Returns what the rules say at a time: what fires, and for a quarter of an hour what is over.
fn told_at(now_ms: i64) -> Vec<AlertEvent> {
    let told = ALERTS
        .iter()
        .filter(|(_, _, from_ms, to_ms)| *from_ms <= now_ms && now_ms < to_ms + 15 * MIN);
    let event = |(group, name, from_ms, to_ms): &(&str, &str, i64, i64)| AlertEvent {
        labels: Labels::from_pairs([("alertname", *group), ("name", *name)]),
        annotations: BTreeMap::new(),
        starts_at_ms: *from_ms,
        ends_at_ms: if now_ms < *to_ms { now_ms + 4 * MIN } else { *to_ms },
        resolved: now_ms >= *to_ms,
        generator_url: String::new(),
    };
    told.map(event).collect()
}

impl Hours {
    /// Returns what was decided for a receiver: group and key of each notification, in order.
    fn queued(&self, receiver: &str) -> Vec<(&str, &str)> {
        let queued = self.records.iter().filter_map(|record| match &record.what {
            What::Queued { notification, desk, .. } if desk.starts_with(receiver) => {
                Some((record.group.as_str(), notification.as_str()))
            }
            _ => None,
        });
        queued.collect()
    }

    /// Returns the attempts at a notification: their numbers and outcomes, and when they were.
    fn attempts(&self, key: &str) -> Vec<(u32, &str, i64)> {
        let attempts = self.records.iter().filter_map(|record| match &record.what {
            What::Attempt { notification, n, outcome, .. } if notification == key => {
                Some((*n, outcome.as_str(), record.at_ms))
            }
            _ => None,
        });
        attempts.collect()
    }

    fn heard(&self, host: &str) -> Vec<(i64, String, String)> {
        let heard = self.receivers.heard.lock();
        let of = heard.iter().filter(|one| one.host == host);
        of.map(|one| (one.at_ms, one.key.clone(), one.body.clone())).collect()
    }
}

/// Returns the state of each alert as the last body that speaks of it says.
fn state_told(heard: &[(i64, String, String)]) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    for (_, _, body) in heard {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        for alert in body["alerts"].as_array().unwrap() {
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            state.insert(text(&alert["labels"]["name"]), text(&alert["status"]));
        }
    }
    state
}

fn check(illness: Illness) {
    let well = live(Illness::None);
    let hours = live(illness);

    // Nobody else notices: at the same seconds the same words.
    assert_eq!(hours.heard("well"), well.heard("well"));
    let heard = hours.heard("ill");
    let queued = hours.queued("ill");
    assert!(queued.len() >= 6, "{queued:?}");
    let mut first_delivered = Vec::new();
    for (_, key) in &queued {
        // The ledger is complete: numbered from one, all tried again but the last, which was taken.
        let attempts = hours.attempts(key);
        let numbers: Vec<u32> = attempts.iter().map(|(n, ..)| *n).collect();
        let wanted: Vec<u32> = (1..).take(attempts.len()).collect();
        assert_eq!(numbers, wanted, "{key}");
        let (last, before) = attempts.split_last().unwrap_or_else(|| panic!("{key} was not tried"));
        assert_eq!(last.1, "delivered", "{key}");
        assert!(before.iter().all(|(_, outcome, _)| *outcome == "retried"), "{key}: {before:?}");
        first_delivered.push(last.2);
        // What was heard is what was attempted, and what is heard twice is the same.
        let heard: Vec<_> = heard.iter().filter(|(_, one, _)| one == key).collect();
        let n_heard = if illness == Illness::Down { 1 } else { attempts.len() };
        assert_eq!(heard.len(), n_heard, "{key}");
        assert!(heard.iter().all(|(_, _, body)| *body == heard[0].2), "{key}");
        if illness == Illness::Busy {
            let pauses = attempts.windows(2).map(|two| two[1].2 - two[0].2);
            assert!(pauses.clone().all(|pause_ms| pause_ms >= 120 * SEC), "{:?}", pauses.max());
        }
    }
    // Each group in its order, none ahead of one that waits.
    let groups: std::collections::BTreeSet<&str> = queued.iter().map(|(group, _)| *group).collect();
    for group in groups {
        let wanted: Vec<&str> =
            queued.iter().filter(|(one, _)| *one == group).map(|(_, key)| *key).collect();
        let mut told: Vec<&str> = heard
            .iter()
            .map(|(_, key, _)| key.as_str())
            .filter(|key| wanted.contains(key))
            .collect();
        told.dedup();
        assert_eq!(told, wanted, "{group}");
    }
    // It learns in the end what the others know; of what began and ended in its hour too.
    let over = state_told(&heard);
    assert_eq!(over, state_told(&hours.heard("well")));
    assert!(
        over.values().all(|state| state == "resolved") && over.len() == ALERTS.len(),
        "{over:?}"
    );
    if illness != Illness::None {
        assert!(first_delivered.iter().all(|at_ms| *at_ms >= ILL), "nothing was taken before");
        let soon = first_delivered.iter().min().unwrap() - ILL;
        assert!(soon <= 5 * MIN + 5 * SEC, "the longest pause is five minutes: {soon} ms");
    }
}

#[test]
fn an_hour_without_a_connection_costs_nothing_but_the_hour() {
    check(Illness::None);
    check(Illness::Down);
}

#[test]
fn an_hour_of_500_costs_nothing_but_the_hour() {
    check(Illness::Fails);
}

#[test]
fn an_hour_of_429_is_waited_out_as_the_receiver_asks() {
    check(Illness::Busy);
}

#[test]
fn an_hour_of_silence_is_heard_again_under_the_same_keys() {
    check(Illness::Hangs);
}
