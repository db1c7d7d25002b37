//! What senders were told, held against what the store has: nothing acknowledged is missing, nothing
//! is there twice, nothing is wrong, nothing was never sent.
//!
//! A batch is *acknowledged* (the answer was 2xx), *refused* (the answer said to come back) or
//! *unknown* (the process died first). Remote-write batches that are unknown are sent again after the
//! restart, as Prometheus does; logs and spans are not, so they may be there once or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::process::ExitStatus;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Map, Value};

use super::http::Connection;
use super::wait::{Limit, now_ms, pause};
use super::{Caller, Request, Server, otlp, remote_write};

const N_SERIES: u64 = 10;
const PAGE_IDS: u64 = 50_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Signal {
    Samples,
    Logs,
    Spans,
}

pub(crate) const SIGNALS: [Signal; 3] = [Signal::Samples, Signal::Logs, Signal::Spans];

/// What the senders were told.
#[derive(Debug, Default)]
struct Ledger {
    acknowledged: BTreeSet<(Signal, u64)>,
    unknown: BTreeSet<(Signal, u64)>,
    n_refused: usize,
}

/// A whole run: batches are numbered, and everything in them follows from the number.
#[derive(Debug)]
pub(crate) struct Run {
    start_ms: i64,
    batch_items: u64,
    /// What a sender waits between two batches.
    pace: Duration,
    next_batch: AtomicU64,
    ledger: Mutex<Ledger>,
}

impl Run {
    /// Returns a run of batches of so many items.
    pub(crate) fn new(batch_items: u64) -> Self {
        Self {
            start_ms: now_ms() - 3_600_000,
            batch_items,
            pace: Duration::ZERO,
            next_batch: AtomicU64::new(0),
            ledger: Mutex::default(),
        }
    }

    /// Lets every sender wait between two batches, where the number of batches is not the point.
    pub(crate) fn paced(mut self, pace: Duration) -> Self {
        self.pace = pace;
        self
    }

    /// Sends one batch of each signal; all must be acknowledged.
    #[track_caller]
    pub(crate) fn send_one_of_each(&self, caller: &Caller) {
        for signal in SIGNALS {
            let batch = self.next_batch.fetch_add(1, Ordering::Relaxed);
            let mut connection = Connection::open(self.address(caller, signal)).unwrap();
            let answer = connection.send(&self.request(signal, batch)).unwrap();
            assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
            self.ledger.lock().unwrap().acknowledged.insert((signal, batch));
        }
    }

    /// Sends from one thread a signal until the server has ended, or until `limit` is over; returns
    /// how it ended.
    pub(crate) fn load_until_dead(
        &self,
        server: &mut Server,
        limit: Duration,
    ) -> Option<ExitStatus> {
        let (caller, limit) = (server.caller(), Limit::new(limit));
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for signal in SIGNALS {
                let (caller, is_over) = (&caller, &is_over);
                scope.spawn(move || self.send_while(caller, signal, is_over));
            }
            let mut ended = None;
            while ended.is_none() && !limit.is_over() {
                pause(Duration::from_millis(5));
                ended = server.ended();
            }
            is_over.store(true, Ordering::SeqCst);
            ended
        })
    }

    fn address<'a>(&self, caller: &'a Caller, signal: Signal) -> &'a str {
        if signal == Signal::Samples { &caller.http } else { &caller.otlp_http }
    }

    /// Sends from two threads a signal and kills the server after a while.
    pub(crate) fn load_until_killed(&self, server: Server, after: Duration) {
        let (caller, is_over) = (server.caller(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for signal in SIGNALS {
                for _ in 0..2 {
                    let (caller, is_over) = (&caller, &is_over);
                    scope.spawn(move || self.send_while(caller, signal, is_over));
                }
            }
            pause(after);
            server.kill_9();
        });
    }

    /// Sends until the connection breaks or the time is over.
    fn send_while(&self, caller: &Caller, signal: Signal, is_over: &AtomicBool) {
        let Ok(mut connection) = Connection::open(self.address(caller, signal)) else { return };
        while !is_over.load(Ordering::SeqCst) {
            let batch = self.next_batch.fetch_add(1, Ordering::Relaxed);
            let answer = connection.send(&self.request(signal, batch));
            let mut ledger = self.ledger.lock().unwrap();
            match answer {
                Ok(answer) if (200..300).contains(&answer.status) => {
                    ledger.acknowledged.insert((signal, batch));
                }
                // A full disk stores nothing of what it refuses, so this batch must not be there.
                Ok(answer) if answer.status == 503 && answer.text().contains("disk is full") => {
                    ledger.n_refused += 1;
                }
                Ok(answer) if answer.status == 503 => {
                    ledger.unknown.insert((signal, batch));
                }
                Err(_) => {
                    ledger.unknown.insert((signal, batch));
                    return;
                }
                Ok(answer) => panic!("batch {batch} of {signal:?}: {answer:?}"),
            }
            drop(ledger);
            if !self.pace.is_zero() {
                pause(self.pace);
            }
        }
    }

    /// Returns how many batches were acknowledged, and how many refused because of a full disk.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let ledger = self.ledger.lock().unwrap();
        (ledger.acknowledged.len(), ledger.n_refused)
    }

    /// Sends what lost its answer once more; that must succeed, and leave each sample once.
    pub(crate) fn send_unknown_samples_again(&self, caller: &Caller) {
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
        let ids = self.ids(batch);
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

    fn ids(&self, batch: u64) -> Range<u64> {
        batch * self.batch_items..(batch + 1) * self.batch_items
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

    /// Holds the store against the ledger.
    #[track_caller]
    pub(crate) fn check(&self, caller: &Caller, when: &str) {
        let ledger = self.ledger.lock().unwrap();
        for signal in SIGNALS {
            let found = self.stored(caller, signal);
            let mut wrong = Vec::new();
            let of_signal = |set: &BTreeSet<(Signal, u64)>| -> BTreeSet<u64> {
                let batches = set.iter().filter(|(other, _)| *other == signal);
                batches.flat_map(|(_, batch)| self.ids(*batch)).collect()
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
        let n_ids = self.next_batch.load(Ordering::Relaxed) * self.batch_items;
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

fn line(id: u64) -> String {
    format!("item of the ledger {id}")
}

fn number(id: u64) -> f64 {
    f64::from(u32::try_from(id).expect("a run is short"))
}

/// Returns the seed of a run's chances: `COMMONWATCH_TEST_SEED`, or the time.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("COMMONWATCH_TEST_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| now_ms().unsigned_abs())
}
