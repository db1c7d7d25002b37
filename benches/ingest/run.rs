//! One load against one fresh server of ours: send, count, stop.

use std::io;

use commonwatch::base::clock::{Clock, SystemClock};

use super::report::Row;
use crate::load::Load;
use crate::load::send::send;
use crate::servers::{Kind, Server};

/// Sends a load and returns what it cost.
pub(crate) fn measure(name: &'static str, mut load: Load) -> io::Result<Row> {
    eprintln!("==> {name}");
    let server = Server::start(Kind::Commonwatch)?;
    let n_round_items = load.n_round_items();
    let (n_warm_up_rounds, n_rounds) = (load.n_warm_up_rounds, load.n_rounds);
    let start_ms = start_ms(&load);
    let address = server.address(load.port).to_owned();

    let cpu_idle_s = server.process().cpu_s()?;
    send(&mut load, &address, 0..n_warm_up_rounds, start_ms)?;
    let cpu_warm_s = server.process().cpu_s()?;
    let rounds = n_warm_up_rounds..n_warm_up_rounds + n_rounds;
    let sent = send(&mut load, &address, rounds, start_ms)?;
    let cpu_sent_s = server.process().cpu_s()?;
    let (rss_bytes, rss_peak_bytes) = server.process().memory()?;
    let n_sent = n_round_items * (n_rounds + n_warm_up_rounds);
    let n_stored = server.n_stored()?;
    if n_stored != n_sent {
        return Err(io::Error::other(format!("{n_sent} items sent, {n_stored} stored")));
    }
    let stopped = server.finish()?;

    Ok(Row {
        name,
        n_items: sent.n_items,
        n_warm_up_items: n_round_items * n_warm_up_rounds,
        cpu_warm_up_s: cpu_warm_s - cpu_idle_s,
        cpu_ack_s: cpu_sent_s - cpu_warm_s,
        cpu_files_s: stopped.cpu_s - cpu_sent_s,
        wall_ns: sent.wall_ns,
        parquet_bytes: stopped.disk.data,
        rss_bytes,
        rss_peak_bytes,
        ack_p50_ns: sent.ack_ns(50),
        ack_p99_ns: sent.ack_ns(99),
    })
}

/// Returns the time of a load's first round, so that the last one is a minute ago.
pub(crate) fn start_ms(load: &Load) -> u64 {
    let span_ms = (load.n_rounds + load.n_warm_up_rounds) * load.round_ms;
    let now_ms = u64::try_from(SystemClock::new().now_ms()).expect("after 1970");
    now_ms - span_ms - 60_000
}
