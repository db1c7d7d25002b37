//! `kill -9` at random moments under load: what was acknowledged is there exactly once.
//!
//! A ledger keeps what each sender was told. A batch is *acknowledged* (the answer was 2xx), or
//! *unknown* (the process died first). Remote-write batches that are unknown are sent again after
//! the restart, as Prometheus does; logs and spans are not, so they may be there once or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value};

use crate::support::http::Connection;
use crate::support::wait::{now_ms, pause};
use crate::support::{Caller, Request, Server, Setup, otlp, remote_write};

const N_CYCLES: u32 = 20;
const BATCH_ITEMS: u64 = 50;
const N_SERIES: u64 = 10;
const CHECK_EVERY: u32 = 5;
const PAGE_IDS: u64 = 50_000;

/// Small files and frequent flushes, so that kills fall into those as well.
const CONFIG: &str = r#"
[tagging]
enabled = false

[storage]
flush_age = "150ms"
"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Signal {
    Samples,
    Logs,
    Spans,
}

const SIGNALS: [Signal; 3] = [Signal::Samples, Signal::Logs, Signal::Spans];

/// What the senders were told.
#[derive(Debug, Default)]
struct Ledger {
    acknowledged: BTreeSet<(Signal, u64)>,
    unknown: BTreeSet<(Signal, u64)>,
}

/// A whole run: batches are numbered, and everything in them follows from the number.
#[derive(Debug)]
struct Run {
    start_ms: i64,
    next_batch: AtomicU64,
    ledger: Mutex<Ledger>,
}

#[test]
fn what_was_acknowledged_survives_kill_9_exactly_once() {
    let seed = seed();
    eprintln!("durability: seed {seed} (COMMONWATCH_TEST_SEED repeats it)");
    let mut random = StdRng::seed_from_u64(seed);
    let setup = Setup::new("durability").config(CONFIG);
    let run = Run {
        start_ms: now_ms() - 3_600_000,
        next_batch: AtomicU64::new(0),
        ledger: Mutex::default(),
    };

    for cycle in 1..=N_CYCLES {
        let mut server = setup.spawn();
        // A fifth of the kills fall into start-up, which is replay once there is something to replay.
        if random.random_ratio(1, 5) {
            pause(Duration::from_millis(random.random_range(0..400)));
            server.kill_9();
            continue;
        }
        server.wait_until_ready();
        run.send_unknown_samples_again(&server.caller());
        if cycle.is_multiple_of(CHECK_EVERY) {
            run.check(&server.caller(), &format!("seed {seed}, cycle {cycle}"));
        }
        run.load_until_killed(server, Duration::from_millis(random.random_range(50..1_500)));
    }

    let server = setup.start();
    run.send_unknown_samples_again(&server.caller());
    run.check(&server.caller(), &format!("seed {seed}, at the end"));
    server.stop();
    let server = setup.start();
    run.check(&server.caller(), &format!("seed {seed}, after an ordinary stop"));
}

fn seed() -> u64 {
    let given = std::env::var("COMMONWATCH_TEST_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| now_ms().unsigned_abs())
}

impl Run {
    fn load_until_killed(&self, server: Server, after: Duration) {
        let caller = server.caller();
        std::thread::scope(|scope| {
            for signal in SIGNALS {
                for _ in 0..2 {
                    let caller = &caller;
                    scope.spawn(move || self.send_until_broken(caller, signal));
                }
            }
            pause(after);
            server.kill_9();
        });
    }

    fn send_until_broken(&self, caller: &Caller, signal: Signal) {
        let address = if signal == Signal::Samples { &caller.http } else { &caller.otlp_http };
        let Ok(mut connection) = Connection::open(address) else { return };
        loop {
            let batch = self.next_batch.fetch_add(1, Ordering::Relaxed);
            let answer = connection.send(&self.request(signal, batch));
            let status = answer.as_ref().map(|answer| answer.status);
            let mut ledger = self.ledger.lock().unwrap();
            match status {
                Ok(200..=299) => ledger.acknowledged.insert((signal, batch)),
                Err(_) => ledger.unknown.insert((signal, batch)),
                Ok(status) => panic!("batch {batch} of {signal:?}: {status} {answer:?}"),
            };
            if status.is_err() {
                return;
            }
        }
    }

    /// Sends what lost its answer once more; that must succeed, and leave each sample once.
    fn send_unknown_samples_again(&self, caller: &Caller) {
        let mut ledger = self.ledger.lock().unwrap();
        let lost: Vec<(Signal, u64)> = ledger
            .unknown
            .iter()
            .copied()
            .filter(|(signal, _)| *signal == Signal::Samples)
            .collect();
        for (signal, batch) in lost {
            let answer = caller.send(self.request(signal, batch));
            assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
            ledger.unknown.remove(&(signal, batch));
            ledger.acknowledged.insert((signal, batch));
        }
    }

    fn request(&self, signal: Signal, batch: u64) -> Request {
        let ids = ids(batch);
        match signal {
            Signal::Samples => remote_write::write(ids.map(|id| self.series(id)).collect()),
            Signal::Logs => {
                let records = ids.map(|id| otlp::record(self.at_ns(id), &line(id))).collect();
                otlp::post(
                    "/v1/logs",
                    &otlp::logs(otlp::resource(&[("service.name", "ledger")]), records),
                )
            }
            Signal::Spans => {
                let spans = ids.map(|id| otlp::span(id, self.at_ns(id), &line(id))).collect();
                otlp::post(
                    "/v1/traces",
                    &otlp::spans(otlp::resource(&[("service.name", "ledger")]), spans),
                )
            }
        }
    }

    fn series(&self, id: u64) -> remote_write::TimeSeries {
        let writer = (id % N_SERIES).to_string();
        let labels = [("__name__", "ledger_samples"), ("writer", writer.as_str())];
        remote_write::series(&labels, &[(self.at_ms(id), number(id))])
    }

    fn at_ms(&self, id: u64) -> i64 {
        self.start_ms + i64::try_from(id).unwrap()
    }

    fn at_ns(&self, id: u64) -> i64 {
        self.at_ms(id) * 1_000_000
    }

    fn check(&self, caller: &Caller, when: &str) {
        let ledger = self.ledger.lock().unwrap();
        for signal in SIGNALS {
            let found = self.stored(caller, signal);
            let mut wrong = Vec::new();
            let of_signal = |set: &BTreeSet<(Signal, u64)>| -> BTreeSet<u64> {
                let batches = set.iter().filter(|(other, _)| *other == signal);
                batches.flat_map(|(_, batch)| ids(*batch)).collect()
            };
            let acknowledged = of_signal(&ledger.acknowledged);
            let unknown = of_signal(&ledger.unknown);
            for id in &acknowledged {
                if found.get(id) != Some(&1) {
                    wrong.push(format!("{id}: acknowledged, there {:?} times", found.get(id)));
                }
            }
            for (id, n_times) in &found {
                if *n_times > 1 || !(acknowledged.contains(id) || unknown.contains(id)) {
                    wrong.push(format!("{id}: there {n_times} times, never acknowledged"));
                }
            }
            eprintln!(
                "{when}: {signal:?}: {} acknowledged, {} stored",
                acknowledged.len(),
                found.len()
            );
            wrong.truncate(10);
            assert!(wrong.is_empty(), "{when}: {signal:?}:\n{}", wrong.join("\n"));
            assert!(
                !acknowledged.is_empty(),
                "{when}: nothing was acknowledged, so nothing was tested"
            );
        }
    }

    /// Returns how often each item is there, after checking that its content follows from its id.
    fn stored(&self, caller: &Caller, signal: Signal) -> BTreeMap<u64, u32> {
        let (columns, time, rows) = match signal {
            Signal::Samples => (
                "CAST(value AS BIGINT) AS id, labels['writer'] AS what",
                "timestamp",
                "metrics WHERE metric = 'ledger_samples'",
            ),
            Signal::Logs => ("body AS what", "timestamp", "logs WHERE true"),
            Signal::Spans => ("name AS what", "start_time", "spans WHERE true"),
        };
        let per_ms = if signal == Signal::Samples { 1 } else { 1_000_000 };
        let n_ids = self.next_batch.load(Ordering::Relaxed) * BATCH_ITEMS;
        let mut found = BTreeMap::new();
        // In pages below the limit of rows in one answer.
        for page in 0..=n_ids / PAGE_IDS {
            let [from, to] =
                [page * PAGE_IDS, (page + 1) * PAGE_IDS].map(|id| self.at_ms(id) * per_ms);
            for row in caller.sql(&format!(
                "SELECT {columns}, CAST({time} AS BIGINT) AS at FROM {rows} \
                 AND CAST({time} AS BIGINT) >= {from} AND CAST({time} AS BIGINT) < {to}"
            )) {
                *found.entry(self.checked_id(signal, &row)).or_default() += 1;
            }
        }
        let n_rows = caller.sql(&format!("SELECT count(*) AS n FROM {rows}"))[0]["n"].as_u64();
        assert_eq!(
            n_rows,
            Some(found.values().map(|n| u64::from(*n)).sum()),
            "{signal:?} elsewhere"
        );
        found
    }

    fn checked_id(&self, signal: Signal, row: &Map<String, Value>) -> u64 {
        let what = row["what"].as_str().unwrap_or_else(|| panic!("{row:?}"));
        let at = row["at"].as_i64();
        let id = match signal {
            Signal::Samples => row["id"].as_u64().unwrap_or_else(|| panic!("{row:?}")),
            _ => what.rsplit(' ').next().unwrap().parse().unwrap(),
        };
        let (what_wanted, at_wanted) = match signal {
            Signal::Samples => ((id % N_SERIES).to_string(), self.at_ms(id)),
            _ => (line(id), self.at_ns(id)),
        };
        assert_eq!((what, at), (what_wanted.as_str(), Some(at_wanted)), "{row:?}");
        id
    }
}

fn ids(batch: u64) -> Range<u64> {
    batch * BATCH_ITEMS..(batch + 1) * BATCH_ITEMS
}

fn line(id: u64) -> String {
    format!("item of the ledger {id}")
}

fn number(id: u64) -> f64 {
    f64::from(u32::try_from(id).expect("a run is short"))
}
