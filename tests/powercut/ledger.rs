//! What senders were told, and whether the server keeps to it.
//!
//! Batches are numbered, and all that is in them follows from the number. A batch is *acknowledged*
//! (the answer was 2xx) or *unknown* (the connection broke first). An audit asks for everything that
//! is stored and holds it against that: what was acknowledged must be there once, what is unknown
//! may be there once or not at all, and from then on must stay as it is. Remote-write batches that
//! are unknown are sent again, as Prometheus does; logs and spans are not.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{AddAssign, Range};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::support::http::Connection;
use crate::support::wait::{now_ms, pause};
use crate::support::{Caller, Request, otlp, remote_write};

const BATCH_ITEMS: u64 = 50;
const N_SERIES: u64 = 10;
const PAGE_IDS: u64 = 50_000;
const EXAMPLES_MAX: usize = 10;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Signal {
    Samples,
    Logs,
    Spans,
}

/// Everything that is sent.
pub(crate) const SIGNALS: [Signal; 3] = [Signal::Samples, Signal::Logs, Signal::Spans];

/// What the senders were told.
#[derive(Debug, Default)]
struct Told {
    acknowledged: BTreeSet<(Signal, u64)>,
    unknown: BTreeSet<(Signal, u64)>,
    /// Items of unknown batches that an audit has found.
    kept: BTreeSet<(Signal, u64)>,
}

/// One run of senders against one store, through as many ends of the server as it takes.
#[derive(Debug)]
pub(crate) struct Ledger {
    start_ms: i64,
    next_batch: AtomicU64,
    told: Mutex<Told>,
    pause: Duration,
}

/// Items of one signal, as an audit counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) acknowledged: usize,
    pub(crate) stored: usize,
    /// Acknowledged or seen before, and not there.
    pub(crate) lost: usize,
    /// There more than once.
    pub(crate) doubled: usize,
    /// There with a content that was not sent.
    pub(crate) wrong: usize,
    /// There, and never sent, or gone in an earlier audit.
    pub(crate) invented: usize,
}

impl Count {
    pub(crate) fn is_clean(self) -> bool {
        [self.lost, self.doubled, self.wrong, self.invented] == [0; 4]
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.stored += other.stored;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.wrong += other.wrong;
        self.invented += other.invented;
    }
}

/// What an audit found.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    pub(crate) counts: BTreeMap<Signal, Count>,
    pub(crate) examples: Vec<String>,
}

impl Audit {
    pub(crate) fn total(&self) -> Count {
        let mut total = Count::default();
        self.counts.values().for_each(|count| total += *count);
        total
    }

    fn note(&mut self, example: String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example);
        }
    }
}

impl Ledger {
    /// Returns an empty ledger; each sender lets `pause` pass between two batches.
    pub(crate) fn new(pause: Duration) -> Self {
        let start_ms = now_ms() - 3_600_000;
        Self { start_ms, next_batch: AtomicU64::new(0), told: Mutex::default(), pause }
    }

    /// Sends all signals from two connections each until `end` has ended the server.
    pub(crate) fn load_until(&self, caller: &Caller, end: impl FnOnce()) {
        std::thread::scope(|scope| {
            for signal in SIGNALS {
                for _ in 0..2 {
                    scope.spawn(move || self.send_until_broken(caller, signal));
                }
            }
            end();
        });
    }

    fn send_until_broken(&self, caller: &Caller, signal: Signal) {
        let address = if signal == Signal::Samples { &caller.http } else { &caller.otlp_http };
        let Ok(mut connection) = Connection::open(address) else { return };
        loop {
            let batch = self.next_batch.fetch_add(1, Ordering::Relaxed);
            let answer = connection.send(&caller.sign(self.request(signal, batch)));
            let status = answer.as_ref().map(|answer| answer.status);
            let mut told = self.told.lock().unwrap();
            match status {
                Ok(200..=299) => told.acknowledged.insert((signal, batch)),
                Err(_) => told.unknown.insert((signal, batch)),
                Ok(status) => panic!("batch {batch} of {signal:?}: {status} {answer:?}"),
            };
            drop(told);
            if status.is_err() {
                return;
            }
            pause(self.pause);
        }
    }

    /// Sends what lost its answer once more; that must succeed, and leave each sample once.
    pub(crate) fn send_unknown_samples_again(&self, caller: &Caller) {
        let mut told = self.told.lock().unwrap();
        let is_samples = |(signal, _): &(Signal, u64)| *signal == Signal::Samples;
        let lost: Vec<(Signal, u64)> = told.unknown.iter().copied().filter(is_samples).collect();
        for (signal, batch) in lost {
            let answer = caller.send(self.request(signal, batch));
            assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
            told.unknown.remove(&(signal, batch));
            told.acknowledged.insert((signal, batch));
        }
    }

    /// Returns how many items of all signals were acknowledged.
    pub(crate) fn n_acknowledged(&self) -> usize {
        let told = self.told.lock().unwrap();
        told.acknowledged.len() * usize::try_from(BATCH_ITEMS).expect("a small number")
    }

    fn request(&self, signal: Signal, batch: u64) -> Request {
        let ids = ids(batch);
        let resource = || otlp::resource(&[("service.name", "ledger")]);
        match signal {
            Signal::Samples => remote_write::write(ids.map(|id| self.series(id)).collect()),
            Signal::Logs => {
                let records = ids.map(|id| otlp::record(self.at_ns(id), &line(id))).collect();
                otlp::post("/v1/logs", &otlp::logs(resource(), records))
            }
            Signal::Spans => {
                let spans = ids.map(|id| otlp::span(id, self.at_ns(id), &line(id))).collect();
                otlp::post("/v1/traces", &otlp::spans(resource(), spans))
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

    /// Asks for all that is stored and holds it against what the senders were told.
    pub(crate) fn audit(&self, caller: &Caller) -> Audit {
        let mut audit = Audit::default();
        for signal in SIGNALS {
            let mut count = Count::default();
            let found = self.stored(caller, signal, &mut count, &mut audit);
            let mut told = self.told.lock().unwrap();
            told.judge(signal, &found, &mut count, &mut audit);
            audit.counts.insert(signal, count);
        }
        audit
    }

    /// Returns how often each item is there, after checking that its content follows from its id.
    fn stored(
        &self,
        caller: &Caller,
        signal: Signal,
        count: &mut Count,
        audit: &mut Audit,
    ) -> BTreeMap<u64, u32> {
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
        let (mut found, mut n_found) = (BTreeMap::new(), 0);
        // In pages below the limit of rows in one answer.
        for page in 0..=n_ids / PAGE_IDS {
            let [from, to] =
                [page * PAGE_IDS, (page + 1) * PAGE_IDS].map(|id| self.at_ms(id) * per_ms);
            for row in caller.sql(&format!(
                "SELECT {columns}, CAST({time} AS BIGINT) AS at FROM {rows} \
                 AND CAST({time} AS BIGINT) >= {from} AND CAST({time} AS BIGINT) < {to}"
            )) {
                n_found += 1;
                match self.id(signal, &row) {
                    Some(id) => *found.entry(id).or_default() += 1,
                    None => {
                        count.wrong += 1;
                        audit.note(format!("{signal:?}: not as it was sent: {row:?}"));
                    }
                }
            }
        }
        let n_rows = caller.sql(&format!("SELECT count(*) AS n FROM {rows}"))[0]["n"].as_u64();
        let n_rows = usize::try_from(n_rows.unwrap()).unwrap();
        assert!(n_found <= n_rows, "{signal:?}: {n_rows} rows are counted, {n_found} are there");
        if n_rows > n_found {
            count.invented += n_rows - n_found;
            audit.note(format!("{signal:?}: {} at times never sent", n_rows - n_found));
        }
        count.stored = n_rows;
        found
    }

    /// Returns the number of an item, if all that is stored of it is what was sent.
    fn id(&self, signal: Signal, row: &Map<String, Value>) -> Option<u64> {
        let what = row["what"].as_str()?;
        let id = match signal {
            Signal::Samples => row["id"].as_u64()?,
            _ => what.rsplit(' ').next()?.parse().ok()?,
        };
        let (what_sent, at_sent) = match signal {
            Signal::Samples => ((id % N_SERIES).to_string(), self.at_ms(id)),
            _ => (line(id), self.at_ns(id)),
        };
        (what == what_sent && row["at"].as_i64() == Some(at_sent)).then_some(id)
    }
}

impl Told {
    fn judge(
        &mut self,
        signal: Signal,
        found: &BTreeMap<u64, u32>,
        count: &mut Count,
        audit: &mut Audit,
    ) {
        let of_signal = |set: &BTreeSet<(Signal, u64)>| -> BTreeSet<u64> {
            let items = set.iter().filter(|(other, _)| *other == signal);
            items.map(|(_, number)| *number).collect()
        };
        let acknowledged: BTreeSet<u64> =
            of_signal(&self.acknowledged).into_iter().flat_map(ids).collect();
        let unknown: BTreeSet<u64> = of_signal(&self.unknown).into_iter().flat_map(ids).collect();
        let kept = of_signal(&self.kept);
        count.acknowledged = acknowledged.len();
        for id in acknowledged.union(&kept).filter(|id| !found.contains_key(id)) {
            count.lost += 1;
            audit.note(format!("{signal:?} {id}: was acknowledged or seen, and is gone"));
        }
        for (&id, &n_times) in found {
            if n_times > 1 {
                count.doubled += 1;
                audit.note(format!("{signal:?} {id}: there {n_times} times"));
            }
            if unknown.contains(&id) {
                self.kept.insert((signal, id));
            } else if !(acknowledged.contains(&id) || kept.contains(&id)) {
                count.invented += 1;
                audit.note(format!("{signal:?} {id}: never acknowledged, or gone before"));
            }
        }
        // Samples are sent again; of the rest, what is not there now must never come.
        if signal != Signal::Samples {
            self.unknown.retain(|(other, _)| *other != signal);
        }
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
