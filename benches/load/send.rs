//! Sending: rounds of batches over a few connections, as fast as they are answered or at a rate.

use std::io;
use std::ops::Range;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use commonwatch::base::clock::{Clock, SystemClock};

use super::http::Poster;
use super::{Batch, Load};

/// Connections when each request waits for the answer to the one before.
const N_SENDERS: usize = 2;
/// Connections at a fixed rate: enough that a slow answer does not hold up the next request.
const N_PACED_SENDERS: usize = 8;

/// What sending some rounds came to.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) n_items: u64,
    pub(crate) wall_ns: u64,
    acks_ns: Vec<u64>,
}

impl Sent {
    /// Returns how long acknowledgements took, at most, for so many percent of the requests.
    pub(crate) fn ack_ns(&self, percent: usize) -> u64 {
        let idx = self.acks_ns.len() * percent / 100;
        self.acks_ns.get(idx.min(self.acks_ns.len().saturating_sub(1))).copied().unwrap_or(0)
    }

    /// Returns items a second of the wall clock.
    pub(crate) fn items_per_s(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
        let (items, ns) = (self.n_items as f64, self.wall_ns.max(1) as f64);
        items * 1e9 / ns
    }
}

/// Sends some rounds. The connections keep in step, since Prometheus refuses samples that are more
/// than an hour of their own time behind the newest.
pub(crate) fn send(
    load: &mut Load,
    address: &str,
    rounds: Range<u64>,
    start_ms: u64,
) -> io::Result<Sent> {
    run(load, address, rounds, start_ms, None)
}

/// Sends some rounds at a rate, whatever the answers take. A request's time counts from when it was
/// due, so that one that had to wait for a slow answer counts as slow too.
pub(crate) fn send_paced(
    load: &mut Load,
    address: &str,
    rounds: Range<u64>,
    start_ms: u64,
    items_per_s: f64,
) -> io::Result<Sent> {
    run(load, address, rounds, start_ms, Some(items_per_s))
}

fn run(
    load: &mut Load,
    address: &str,
    rounds: Range<u64>,
    start_ms: u64,
    items_per_s: Option<f64>,
) -> io::Result<Sent> {
    let n_items = load.n_round_items() * (rounds.end - rounds.start);
    let n_senders = if items_per_s.is_some() { N_PACED_SENDERS } else { N_SENDERS };
    let share = load.batches.len().div_ceil(n_senders);
    let n_senders = load.batches.len().div_ceil(share);
    let clock = SystemClock::new();
    let all = Sender {
        clock: &clock,
        address,
        path: load.path,
        headers: load.headers,
        rounds,
        start_ms,
        round_ms: load.round_ms,
        period_ns: items_per_s.map(|rate| period_ns(rate, &*load.batches[0], n_senders)),
        in_step: &Barrier::new(n_senders),
        has_failed: &AtomicBool::new(false),
    };
    let acks_ns = std::thread::scope(|scope| -> io::Result<Vec<u64>> {
        let shares = load.batches.chunks_mut(share);
        let senders: Vec<_> = shares
            .map(|batches| (all.clone(), batches))
            .map(|(s, b)| scope.spawn(|| s.run(b)))
            .collect();
        let mut acks_ns = Vec::new();
        for sender in senders {
            acks_ns.extend(sender.join().expect("a sender returns its errors")?);
        }
        acks_ns.sort_unstable();
        Ok(acks_ns)
    })?;
    Ok(Sent { n_items, wall_ns: clock.monotonic_ns(), acks_ns })
}

/// Returns how long a connection waits from one request to the next at a rate.
fn period_ns(items_per_s: f64, batch: &dyn Batch, n_senders: usize) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "both are small")]
    let seconds = batch.n_items() as f64 * n_senders as f64 / items_per_s.max(1.0);
    u64::try_from(Duration::from_secs_f64(seconds).as_nanos()).expect("far below 584 years")
}

/// One connection and what goes over it.
#[derive(Clone)]
struct Sender<'a> {
    clock: &'a SystemClock,
    address: &'a str,
    path: &'a str,
    headers: &'a str,
    rounds: Range<u64>,
    start_ms: u64,
    round_ms: u64,
    period_ns: Option<u64>,
    in_step: &'a Barrier,
    has_failed: &'a AtomicBool,
}

impl Sender<'_> {
    fn run(self, batches: &mut [Box<dyn Batch>]) -> io::Result<Vec<u64>> {
        let mut poster = Poster::connect(self.address, self.path, self.headers)?;
        let mut acks_ns = Vec::new();
        let mut due_ns = self.clock.monotonic_ns();
        for round in self.rounds.clone() {
            let sent = self.round(batches, round, &mut poster, &mut due_ns, &mut acks_ns);
            if sent.is_err() {
                self.has_failed.store(true, Ordering::Relaxed);
            }
            // At a rate, the clock keeps them in step.
            if self.period_ns.is_none() {
                self.in_step.wait();
            }
            // Whoever goes on alone would wait for the other for ever.
            if self.has_failed.load(Ordering::Relaxed) {
                return sent.map(|()| acks_ns);
            }
        }
        Ok(acks_ns)
    }

    fn round(
        &self,
        batches: &mut [Box<dyn Batch>],
        round: u64,
        poster: &mut Poster,
        due_ns: &mut u64,
        acks_ns: &mut Vec<u64>,
    ) -> io::Result<()> {
        let time_ms = self.start_ms + round * self.round_ms;
        for batch in batches {
            let body = batch.fill(round, time_ms);
            match self.period_ns {
                None => *due_ns = self.clock.monotonic_ns(),
                Some(period_ns) => {
                    *due_ns += period_ns;
                    pause(Duration::from_nanos(due_ns.saturating_sub(self.clock.monotonic_ns())));
                }
            }
            poster.post(body)?;
            acks_ns.push(self.clock.monotonic_ns() - *due_ns);
        }
        Ok(())
    }
}

/// Lets some time pass.
pub(crate) fn pause(length: Duration) {
    let (_sender, nothing) = std::sync::mpsc::channel::<()>();
    let _ = nothing.recv_timeout(length);
}
