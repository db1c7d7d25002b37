//! What senders were told, held against what the store has: nothing acknowledged is missing, nothing
//! is there twice, nothing is wrong, nothing was never sent.
//!
//! A batch is *acknowledged* (the answer was 2xx), *refused* (the answer said to come back) or
//! *unknown* (the process died first). Remote-write batches that are unknown are sent again after the
//! restart, as Prometheus does; logs and spans are not, so they may be there once or not at all; but
//! what an audit has seen must stay, and what it has not must not come later.

mod audit;
mod items;

use std::process::ExitStatus;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::http::Connection;
use super::wait::{Limit, now_ms, pause};
use super::{Caller, Server};

use audit::Told;
pub(crate) use audit::{Audit, Count};
use items::Items;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Signal {
    Samples,
    Logs,
    Spans,
}

/// Everything that is sent.
pub(crate) const SIGNALS: [Signal; 3] = [Signal::Samples, Signal::Logs, Signal::Spans];

/// A whole run: senders against one store, through as many ends of the server as it takes.
#[derive(Debug)]
pub(crate) struct Run {
    items: Items,
    /// What a sender waits between two batches, ms.
    pace_ms: AtomicU64,
    next_batch: AtomicU64,
    told: Mutex<Told>,
}

impl Run {
    /// Returns a run of batches of so many items.
    pub(crate) fn new(batch_items: u64) -> Self {
        Self {
            items: Items { start_ms: now_ms() - 3_600_000, batch_items },
            pace_ms: AtomicU64::new(0),
            next_batch: AtomicU64::new(0),
            told: Mutex::default(),
        }
    }

    /// Lets every sender wait between two batches, where the number of batches is not the point.
    pub(crate) fn paced(self, pace: Duration) -> Self {
        self.set_pace(pace);
        self
    }

    /// Lets every sender wait from now on.
    pub(crate) fn set_pace(&self, pace: Duration) {
        let pace_ms = u64::try_from(pace.as_millis()).expect("a pause is short");
        self.pace_ms.store(pace_ms, Ordering::Relaxed);
    }

    /// Sends one batch of each signal; all must be acknowledged.
    #[track_caller]
    pub(crate) fn send_one_of_each(&self, caller: &Caller) {
        for signal in SIGNALS {
            let batch = self.next_batch.fetch_add(1, Ordering::Relaxed);
            let mut connection = Connection::open(self.address(caller, signal)).unwrap();
            let answer = connection.send(&self.items.request(signal, batch)).unwrap();
            assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
            self.told.lock().unwrap().acknowledged.insert((signal, batch));
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
        self.load_until(&server.caller(), || {
            pause(after);
            server.kill_9();
        });
    }

    /// Sends from two threads a signal until `end` has ended the server.
    pub(crate) fn load_until(&self, caller: &Caller, end: impl FnOnce()) {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for signal in SIGNALS {
                for _ in 0..2 {
                    let is_over = &is_over;
                    scope.spawn(move || self.send_while(caller, signal, is_over));
                }
            }
            end();
        });
    }

    /// Sends until the connection breaks or the time is over.
    fn send_while(&self, caller: &Caller, signal: Signal, is_over: &AtomicBool) {
        let Ok(mut connection) = Connection::open(self.address(caller, signal)) else { return };
        while !is_over.load(Ordering::SeqCst) {
            let batch = self.next_batch.fetch_add(1, Ordering::Relaxed);
            let answer = connection.send(&caller.sign(self.items.request(signal, batch)));
            let mut told = self.told.lock().unwrap();
            match answer {
                Ok(answer) if (200..300).contains(&answer.status) => {
                    told.acknowledged.insert((signal, batch));
                }
                // A full disk stores nothing of what it refuses, so this batch must not be there.
                Ok(answer) if answer.status == 503 && answer.text().contains("disk is full") => {
                    told.n_refused += 1;
                }
                Ok(answer) if answer.status == 503 => {
                    told.unknown.insert((signal, batch));
                }
                Err(_) => {
                    told.unknown.insert((signal, batch));
                    return;
                }
                Ok(answer) => panic!("batch {batch} of {signal:?}: {answer:?}"),
            }
            drop(told);
            let pace_ms = self.pace_ms.load(Ordering::Relaxed);
            if pace_ms > 0 {
                pause(Duration::from_millis(pace_ms));
            }
        }
    }

    /// Returns how many batches were acknowledged, and how many refused because of a full disk.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let told = self.told.lock().unwrap();
        (told.acknowledged.len(), told.n_refused)
    }

    /// Returns how many items of all signals were acknowledged.
    pub(crate) fn n_acknowledged(&self) -> usize {
        let n_batches = self.told.lock().unwrap().acknowledged.len();
        n_batches * usize::try_from(self.items.batch_items).expect("a small number")
    }

    /// Sends what lost its answer once more; that must succeed, and leave each sample once.
    pub(crate) fn send_unknown_samples_again(&self, caller: &Caller) {
        let mut told = self.told.lock().unwrap();
        let is_samples = |(signal, _): &(Signal, u64)| *signal == Signal::Samples;
        let lost: Vec<(Signal, u64)> = told.unknown.iter().copied().filter(is_samples).collect();
        for (signal, batch) in lost {
            let answer = caller.send(self.items.request(signal, batch));
            assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
            told.unknown.remove(&(signal, batch));
            told.acknowledged.insert((signal, batch));
        }
    }

    /// Asks for all that is stored and holds it against what the senders were told.
    pub(crate) fn audit(&self, caller: &Caller) -> Audit {
        let n_ids = self.next_batch.load(Ordering::Relaxed) * self.items.batch_items;
        self.items.audit(caller, n_ids, &mut self.told.lock().unwrap())
    }

    /// Holds the store against the ledger; a difference fails the story.
    #[track_caller]
    pub(crate) fn check(&self, caller: &Caller, when: &str) {
        let audit = self.audit(caller);
        for (signal, count) in &audit.counts {
            let Count { acknowledged, stored, .. } = count;
            eprintln!("{when}: {signal:?}: {acknowledged} acknowledged, {stored} stored");
            assert!(*acknowledged > 0, "{when}: {signal:?}: so nothing was tested");
        }
        let what = format!("{:?}\n{}", audit.counts, audit.examples.join("\n"));
        assert!(audit.total().is_clean(), "{when}: {what}");
    }
}

/// Returns the seed of a run's chances: `COMMONWATCH_TEST_SEED`, or the time.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("COMMONWATCH_TEST_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| now_ms().unsigned_abs())
}
