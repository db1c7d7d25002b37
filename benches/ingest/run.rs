//! One load against one fresh server: fill, send, count.

use std::io;
use std::ops::Range;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use commonwatch::base::clock::{Clock, SystemClock};

use super::http::Poster;
use super::patch::Template;
use super::report::Row;
use super::server::Server;

/// What OTLP/HTTP needs.
pub(crate) const OTLP_HEADERS: &str = "Content-Type: application/x-protobuf\r\n";
/// Senders at a time, each with a connection of its own.
const N_SENDERS: usize = 2;

/// Which listener takes the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    Http,
    OtlpHttp,
}

/// One request of each round.
pub(crate) trait Batch: Send {
    /// Returns the body for a round that begins at `time_ms`.
    fn fill(&mut self, round: u64, time_ms: u64) -> &[u8];
    /// Returns how many items the body has.
    fn n_items(&self) -> u64;
}

/// All that is sent to one server.
pub(crate) struct Load {
    pub(crate) path: &'static str,
    pub(crate) headers: &'static str,
    pub(crate) port: Port,
    pub(crate) batches: Vec<Box<dyn Batch>>,
    pub(crate) n_rounds: u64,
    /// How far telemetry's own time moves in a round.
    pub(crate) round_ms: u64,
    /// Rounds before the ones that are measured: they register the series.
    pub(crate) n_warm_up_rounds: u64,
}

/// A template of records as one request of each round.
pub(crate) struct Records {
    template: Template,
    number: u64,
    n_batches: u64,
    /// ns from one record to the next; 0 when all have the time of their round.
    spacing_ns: u64,
}

impl Records {
    /// Returns batches whose records follow each other in time.
    pub(crate) fn batches(templates: impl Iterator<Item = Template>) -> Vec<Box<dyn Batch>> {
        Self::spaced(templates, 997)
    }

    /// Returns batches whose records all have the time of their round.
    pub(crate) fn batches_at_one_time(
        templates: impl Iterator<Item = Template>,
    ) -> Vec<Box<dyn Batch>> {
        Self::spaced(templates, 0)
    }

    fn spaced(templates: impl Iterator<Item = Template>, spacing_ns: u64) -> Vec<Box<dyn Batch>> {
        let templates: Vec<Template> = templates.collect();
        let n_batches = u64::try_from(templates.len()).expect("a list in memory");
        let records = (0..).zip(templates).map(|(number, template)| -> Box<dyn Batch> {
            Box::new(Records { template, number, n_batches, spacing_ns })
        });
        records.collect()
    }
}

impl Batch for Records {
    fn fill(&mut self, round: u64, time_ms: u64) -> &[u8] {
        let n_records = self.template.n_records();
        let first = (round * self.n_batches + self.number) * n_records;
        let start_ns = time_ms * 1_000_000 + self.number * n_records * self.spacing_ns;
        self.template.fill(first, |record| start_ns + record * self.spacing_ns);
        &self.template.body
    }

    fn n_items(&self) -> u64 {
        self.template.n_records()
    }
}

/// Sends a load and returns what it cost.
pub(crate) fn measure(name: &'static str, mut load: Load) -> io::Result<Row> {
    eprintln!("==> {name}");
    let clock = SystemClock::new();
    let server = Server::start()?;
    let n_round_items: u64 = load.batches.iter().map(|batch| batch.n_items()).sum();
    let span_ms = (load.n_rounds + load.n_warm_up_rounds) * load.round_ms;
    let now_ms = u64::try_from(clock.now_ms()).expect("after 1970");
    let start_ms = now_ms - span_ms - 60_000;

    let cpu_idle_s = server.cpu_s()?;
    let n_warm_up_rounds = load.n_warm_up_rounds;
    send(&mut load, &server, 0..n_warm_up_rounds, start_ms)?;
    let cpu_warm_s = server.cpu_s()?;
    let started_ns = clock.monotonic_ns();
    let rounds = n_warm_up_rounds..n_warm_up_rounds + load.n_rounds;
    let mut acks_ns = send(&mut load, &server, rounds, start_ms)?;
    let wall_ns = clock.monotonic_ns() - started_ns;
    let cpu_sent_s = server.cpu_s()?;
    let (rss_bytes, rss_peak_bytes) = server.memory()?;
    let n_sent = n_round_items * (load.n_rounds + load.n_warm_up_rounds);
    let n_stored = server.n_stored()?;
    if n_stored != n_sent {
        return Err(io::Error::other(format!("{n_sent} items sent, {n_stored} stored")));
    }
    let stopped = server.stop()?;

    acks_ns.sort_unstable();
    Ok(Row {
        name,
        n_items: n_round_items * load.n_rounds,
        n_warm_up_items: n_round_items * load.n_warm_up_rounds,
        cpu_warm_up_s: cpu_warm_s - cpu_idle_s,
        cpu_ack_s: cpu_sent_s - cpu_warm_s,
        cpu_files_s: stopped.cpu_s - cpu_sent_s,
        wall_ns,
        parquet_bytes: stopped.parquet_bytes,
        rss_bytes,
        rss_peak_bytes,
        ack_p50_ns: quantile(&acks_ns, 50),
        ack_p99_ns: quantile(&acks_ns, 99),
    })
}

/// Sends some rounds and returns the time to each acknowledgement.
fn send(
    load: &mut Load,
    server: &Server,
    rounds: Range<u64>,
    start_ms: u64,
) -> io::Result<Vec<u64>> {
    let address = server.address(load.port);
    let in_step = Barrier::new(N_SENDERS);
    let has_failed = AtomicBool::new(false);
    let (path, headers, round_ms) = (load.path, load.headers, load.round_ms);
    let share = load.batches.len().div_ceil(N_SENDERS);
    std::thread::scope(|scope| {
        let senders: Vec<_> = load
            .batches
            .chunks_mut(share)
            .map(|batches| {
                let (rounds, in_step, has_failed) = (rounds.clone(), &in_step, &has_failed);
                scope.spawn(move || -> io::Result<Vec<u64>> {
                    let mut poster = Poster::connect(address, path, headers)?;
                    let mut acks_ns = Vec::new();
                    for round in rounds {
                        let time_ms = start_ms + round * round_ms;
                        let sent = post_all(batches, round, time_ms, &mut poster, &mut acks_ns);
                        if sent.is_err() {
                            has_failed.store(true, Ordering::Relaxed);
                        }
                        in_step.wait();
                        // Whoever goes on alone would wait for the other for ever.
                        if has_failed.load(Ordering::Relaxed) {
                            return sent.map(|()| acks_ns);
                        }
                    }
                    Ok(acks_ns)
                })
            })
            .collect();
        let mut acks_ns = Vec::new();
        for sender in senders {
            acks_ns.extend(sender.join().expect("a sender returns its errors")?);
        }
        Ok(acks_ns)
    })
}

fn post_all(
    batches: &mut [Box<dyn Batch>],
    round: u64,
    time_ms: u64,
    poster: &mut Poster,
    acks_ns: &mut Vec<u64>,
) -> io::Result<()> {
    let clock = SystemClock::new();
    for batch in batches {
        let body = batch.fill(round, time_ms);
        let sent_ns = clock.monotonic_ns();
        poster.post(body)?;
        acks_ns.push(clock.monotonic_ns() - sent_ns);
    }
    Ok(())
}

fn quantile(sorted: &[u64], percent: usize) -> u64 {
    let idx = sorted.len() * percent / 100;
    sorted.get(idx.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}
