//! How the cost of a question about one commons grows with its own series, and with those of others.

use std::io;

use super::table::{Aim, Row};
use crate::ingest::run::start_ms;
use crate::load::Port;
use crate::load::fleet;
use crate::load::http::Getter;
use crate::load::remote_write::INTERVAL_MS;
use crate::load::send::send;
use crate::servers::{Kind, Server};

/// An hour of samples.
const N_ROUNDS: u64 = 240;
/// Ours writes files about every twenty minutes of these samples, so that there are several.
const HEAD_BYTES_PER_SERIES: u64 = 200;
/// How much of a core's time each figure rests on.
const CPU_S: f64 = 0.8;
const ASKED_MAX: u32 = 2_000;

/// What things cost; milliseconds are of CPU, for one question about the first commons.
#[derive(Debug, Clone, Copy)]
struct Cost {
    n_series: u64,
    n_commons: u64,
    instant_ms: f64,
    range_ms: f64,
    names_ms: f64,
    /// Microseconds of CPU until a sample is in a file, registration included.
    stored_us: f64,
    /// KiB of memory for a series.
    series_kib: f64,
}

type Of = fn(&Cost) -> f64;

const MS: &str = "CPU ms";
/// What is compared; a question may cost ten times as much with ten times the series, and what is counted
/// by sample or series may not.
const KINDS: [(&str, &str, Of); 5] = [
    ("at", MS, |c| c.instant_ms),
    ("1h/15s", MS, |c| c.range_ms),
    ("values of pod", MS, |c| c.names_ms),
    ("a sample stored", "CPU us", |c| c.stored_us),
    ("memory of a series", "KiB", |c| c.series_kib),
];

/// Measures and compares. `GROWTH_ONLY` (`100000x1`) names one of the places, for a profile.
pub(super) fn measure(is_long: bool, rows: &mut Vec<Row>) -> io::Result<()> {
    let sizes: &[u64] = if is_long { &[10_000, 100_000, 1_000_000] } else { &[10_000, 100_000] };
    let only = std::env::var("GROWTH_ONLY");
    let mut costs: Vec<Cost> = Vec::new();
    for &n_series in sizes {
        for n_commons in [1, 10, 100] {
            if only.as_ref().is_ok_and(|only| *only != format!("{n_series}x{n_commons}")) {
                continue;
            }
            eprintln!("==> growth: {n_series} series of {n_commons} commons");
            costs.push(cost(n_series, n_commons)?);
        }
    }
    for cost in &costs {
        for (name, unit, of) in KINDS {
            let what = format!("{} series, {} commons: {name}", cost.n_series, cost.n_commons);
            rows.push(Row::new(&what, unit, [Some(of(cost)), None, None]));
        }
    }
    for (name, unit, of) in KINDS {
        for small in &costs {
            let find = |n_series, n_commons| {
                costs.iter().find(|c| (c.n_series, c.n_commons) == (n_series, n_commons))
            };
            // A question that is tiny is mostly what every request takes.
            let least = if unit == MS { 0.3 } else { 0.0 };
            let ratio = |large: &Cost| of(large) / of(small).max(least);
            let from = format!("{name}, {} series of {} commons", small.n_series, small.n_commons);
            if let Some(large) = find(small.n_series * 10, small.n_commons * 10) {
                let what = format!("{from}: ten times the others");
                rows.push(
                    Row::new(&what, "times", [Some(ratio(large)), None, None])
                        .aim(Aim::AtMost(1.5)),
                );
            }
            if let Some(large) = find(small.n_series * 10, small.n_commons) {
                let what = format!("{from}: ten times the series");
                rows.push(
                    Row::new(&what, "times", [Some(ratio(large)), None, None])
                        .aim(Aim::AtMost(if unit == MS { 12.0 } else { 1.2 })),
                );
            }
        }
    }
    Ok(())
}

fn cost(n_series: u64, n_commons: u64) -> io::Result<Cost> {
    let server =
        Server::start_with(Kind::Commonwatch, &format!("{}B", n_series * HEAD_BYTES_PER_SERIES))?;
    let mut load = fleet::load(n_series, N_ROUNDS, n_commons);
    let start_ms = start_ms(&load);
    let address = server.address(Port::Http).to_owned();
    send(&mut load, &address, 0..1 + N_ROUNDS, start_ms)?;
    let rss_kib = server.process().memory()?.0 as f64 / 1024.0;
    server.settle()?;
    let stored_us = server.process().cpu_s()? * 1e6 / (n_series * (1 + N_ROUNDS)) as f64;
    let end_s = (start_ms + N_ROUNDS * INTERVAL_MS) / 1000 + 7;
    let one = fleet::commons(0);
    let query = format!("sum by (service) (rate(http_requests_total{{commons=\"{one}\"}}[5m]))");
    let query = super::queries::encoded(&query);
    let start_s = end_s - 3_000;
    let instant = format!("/api/v1/query?query={query}&time={end_s}");
    let range = format!("/api/v1/query_range?query={query}&start={start_s}&end={end_s}&step=15");
    let selector = super::queries::encoded(&format!("{{commons=\"{one}\"}}"));
    let names = format!(
        "/api/v1/label/pod/values?match[]={selector}&start={}&end={end_s}",
        start_ms / 1000 - 60
    );
    let mut getter = Getter::connect(&address)?;
    Ok(Cost {
        n_series,
        n_commons,
        instant_ms: of_one(&server, &mut getter, &instant)?,
        range_ms: of_one(&server, &mut getter, &range)?,
        names_ms: of_one(&server, &mut getter, &names)?,
        stored_us,
        series_kib: rss_kib / n_series as f64,
    })
}

fn of_one(server: &Server, getter: &mut Getter, path: &str) -> io::Result<f64> {
    let answer = getter.get(path)?;
    let text = String::from_utf8_lossy(&answer);
    if !text.contains("fence") {
        return Err(io::Error::other(format!("{path}: {}", &text[..text.len().min(300)])));
    }
    let before_s = server.process().cpu_s()?;
    let mut n = 0;
    loop {
        getter.get(path)?;
        n += 1;
        let cpu_s = server.process().cpu_s()? - before_s;
        if cpu_s >= CPU_S || n >= ASKED_MAX {
            return Ok(cpu_s * 1e3 / f64::from(n));
        }
    }
}
