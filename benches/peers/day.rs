//! A day of samples, written to files many times and merged: what it takes on disk in the end, and
//! what all of it costs, merging and the cutting of blocks included.

use std::io;

use super::steady::{check_answer, number};
use crate::ingest::run::start_ms;
use crate::load::remote_write;
use crate::load::send::send;
use crate::servers::{Kind, Server};

/// Whole requests of 2,000.
const N_SERIES: u64 = 6_000;
/// Half a day at 15 s; the long form takes all of it.
const HALF_A_DAY: u64 = 2_880;
/// Ours writes files about once an hour of these samples, as it does with its own marks and a real
/// clock.
const HEAD_SOFT: &str = "3MiB";

/// What that came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Day {
    /// CPU time of a sample until everything is in its final form.
    pub(super) all_us: f64,
    pub(super) disk_bytes: f64,
    /// What of the time went into merging files, and into how many; only ours tells.
    pub(super) merging_us: Option<f64>,
    pub(super) n_files: Option<f64>,
}

/// Sends the day to a fresh server.
pub(super) fn measure(kind: Kind, is_long: bool) -> io::Result<Day> {
    let n_rounds = if is_long { 2 * HALF_A_DAY } else { HALF_A_DAY };
    let mut load = remote_write::load(N_SERIES, n_rounds);
    let start_ms = start_ms(&load);
    let server = Server::start_with(kind, HEAD_SOFT)?;
    let address = server.address(load.port).to_owned();

    let sent = send(&mut load, &address, 0..1 + n_rounds, start_ms)?;
    check_answer(&server, N_SERIES, n_rounds, start_ms)?;
    server.settle()?;
    let n_samples = number(sent.n_items);
    if kind == Kind::Commonwatch {
        return ours(server, n_samples);
    }
    let stopped = server.finish()?;
    Ok(Day {
        all_us: stopped.cpu_s * 1e6 / n_samples,
        disk_bytes: number(stopped.disk.data) / n_samples,
        merging_us: None,
        n_files: None,
    })
}

/// Ours merges as it goes; what a stop wrote last is merged by the next start.
fn ours(server: Server, n_samples: f64) -> io::Result<Day> {
    let mut merging_s = server.merging_s()?;
    let (server, cpu_s) = server.stop_and_start()?;
    server.settle()?;
    merging_s += server.merging_s()?;
    let n_files = server.n_files("metrics");
    let stopped = server.finish()?;
    Ok(Day {
        all_us: (cpu_s + stopped.cpu_s) * 1e6 / n_samples,
        disk_bytes: number(stopped.disk.data) / n_samples,
        merging_us: Some(merging_s * 1e6 / n_samples),
        n_files: Some(number(n_files)),
    })
}
