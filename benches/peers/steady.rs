//! Series that are registered, written to for a while, and stored for good.

use std::io;
use std::time::Duration;

use crate::ingest::run::start_ms;
use crate::load::Load;
use crate::load::remote_write::{self, CHECKED_METRIC};
use crate::load::send::{Sent, pause, send, send_paced};
use crate::servers::{Kind, Server};

/// What is sent to one server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) n_series: u64,
    pub(crate) n_rounds: u64,
    pub(crate) churns: bool,
}

impl Scenario {
    fn load(self) -> Load {
        if self.churns {
            remote_write::churning_load(self.n_series, self.n_rounds)
        } else {
            remote_write::load(self.n_series, self.n_rounds)
        }
    }
}

/// What that came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steady {
    /// CPU time of a series' registration, with what it costs in the background.
    pub(crate) new_us: f64,
    /// CPU time of a sample until its acknowledgement.
    pub(crate) ack_us: f64,
    /// CPU time of a sample until it is where it stays.
    pub(crate) stored_us: f64,
    pub(crate) rss_mib: f64,
    pub(crate) disk_bytes: f64,
    pub(crate) log_bytes: f64,
    /// As fast as two connections go; the wall clock's figure.
    pub(crate) items_per_s: f64,
}

impl Steady {
    /// Returns the median of each figure.
    pub(crate) fn median(runs: &[Steady]) -> Option<Steady> {
        let of = |figure: fn(&Steady) -> f64| {
            let mut figures: Vec<f64> = runs.iter().map(figure).collect();
            figures.sort_unstable_by(f64::total_cmp);
            figures.get(figures.len() / 2).copied()
        };
        Some(Steady {
            new_us: of(|s| s.new_us)?,
            ack_us: of(|s| s.ack_us)?,
            stored_us: of(|s| s.stored_us)?,
            rss_mib: of(|s| s.rss_mib)?,
            disk_bytes: of(|s| s.disk_bytes)?,
            log_bytes: of(|s| s.log_bytes)?,
            items_per_s: of(|s| s.items_per_s)?,
        })
    }
}

/// Sends a scenario to a fresh server.
pub(crate) fn measure(kind: Kind, scenario: Scenario) -> io::Result<Steady> {
    let server = Server::start(kind)?;
    let mut load = scenario.load();
    let start_ms = start_ms(&load);
    let address = server.address(load.port).to_owned();

    let cpu_idle_s = server.process().cpu_s()?;
    send(&mut load, &address, 0..1, start_ms)?;
    server.process().settle()?;
    let cpu_warm_s = server.process().cpu_s()?;
    let sent = send(&mut load, &address, 1..1 + scenario.n_rounds, start_ms)?;
    let cpu_sent_s = server.process().cpu_s()?;
    let (rss_bytes, _) = server.process().memory()?;
    if !scenario.churns {
        check_answer(&server, scenario.n_series, scenario.n_rounds, start_ms)?;
    }
    server.settle()?;
    let cpu_settled_s = server.process().cpu_s()?;
    let stopped = server.finish()?;

    let items = number(sent.n_items);
    let all_items = items + number(scenario.n_series);
    let to_store_s = match kind {
        // Stopping writes the first round's samples too: their share is not the others' cost.
        Kind::Commonwatch => (stopped.cpu_s - cpu_sent_s) * items / all_items,
        _ => cpu_settled_s - cpu_sent_s,
    };
    Ok(Steady {
        new_us: (cpu_warm_s - cpu_idle_s) * 1e6 / number(scenario.n_series),
        ack_us: (cpu_sent_s - cpu_warm_s) * 1e6 / items,
        stored_us: (cpu_sent_s - cpu_warm_s + to_store_s) * 1e6 / items,
        rss_mib: number(rss_bytes >> 20),
        disk_bytes: number(stopped.disk.data) / all_items,
        log_bytes: number(stopped.disk.log) / all_items,
        items_per_s: sent.items_per_s(),
    })
}

/// Asks for the sum of a metric as last sent; a server may take a moment to show what it took.
pub(super) fn check_answer(
    server: &Server,
    n_series: u64,
    round: u64,
    start_ms: u64,
) -> io::Result<()> {
    let wanted = remote_write::checked_sum(n_series, round);
    let time_ms = start_ms + round * remote_write::INTERVAL_MS;
    let mut got = None;
    for _ in 0..100 {
        got = server.ask_sum(CHECKED_METRIC, time_ms);
        if got.is_some_and(|sum| is_same(sum, wanted)) {
            return Ok(());
        }
        pause(Duration::from_millis(200));
    }
    Err(io::Error::other(format!("sum({CHECKED_METRIC}) is {wanted}, and the answer is {got:?}")))
}

/// Returns true for two sums of the same numbers, whatever the order they were added in.
pub(crate) fn is_same(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

/// How long acknowledgements take at a rate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) items_per_s: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// Sends samples of 100,000 known series at a rate.
pub(crate) fn latency(kind: Kind, items_per_s: f64, length_s: f64) -> io::Result<Latency> {
    let n_series = 100_000;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few hundred rounds"
    )]
    let n_rounds = (items_per_s * length_s / number(n_series)).max(3.0) as u64;
    let server = Server::start(kind)?;
    let mut load = remote_write::load(n_series, n_rounds);
    let start_ms = start_ms(&load);
    let address = server.address(load.port).to_owned();
    send(&mut load, &address, 0..1, start_ms)?;
    server.process().settle()?;
    let sent: Sent = send_paced(&mut load, &address, 1..1 + n_rounds, start_ms, items_per_s)?;
    let ms = |percent| number(sent.ack_ns(percent)) / 1e6;
    Ok(Latency { items_per_s: sent.items_per_s(), p50_ms: ms(50), p99_ms: ms(99) })
}

#[expect(clippy::cast_precision_loss, reason = "counts up to 2^53 are exact")]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}
