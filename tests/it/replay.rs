//! A log that is larger than the memory of the process that replays it: the replay writes files as
//! it goes, so a server that was killed with gigabytes unflushed comes back on a smaller machine.
//!
//! A server with room for everything is filled and killed before it has written one file; the next
//! one starts over the same folder in a memory cage that the log does not fit into. The short form
//! replays 192 MiB in 176 MiB; `scripts/soak replay` takes gigabytes (`REPLAY_MIB`) in 512 MiB.

use std::sync::Arc;
use std::time::Duration;

use commonwatch::base::clock::{Clock, SystemClock};

use crate::support::cage::Cage;
use crate::support::http::Connection;
use crate::support::wait::{PATIENCE, now_ns};
use crate::support::{Caller, Setup, otlp};

/// Nothing of this is flushed: the marks of the head are out of reach.
const ROOMY: &str = "[server]\nmemory = \"64GiB\"\n\n[storage]\nhead_soft = \"16GiB\"\n\
                     head_firm = \"17GiB\"\nhead_hard = \"18GiB\"\nsegment_size = \"16MiB\"\n";
const RECORDS_A_REQUEST: i64 = 1_000;
const BODY_BYTES: usize = 1_000;

struct Plan {
    log_bytes: u64,
    cage_bytes: u64,
}

fn plan() -> Plan {
    let mib = |name: &str, short: u64| {
        let given = std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        given.unwrap_or(short) << 20
    };
    Plan { log_bytes: mib("REPLAY_MIB", 192), cage_bytes: mib("REPLAY_CAGE_MIB", 176) }
}

#[test]
fn a_log_larger_than_memory_is_replayed_whole() {
    let plan = plan();
    let setup = Setup::new("replay-memory").config(ROOMY);
    let server = setup.start();
    let start_ns = now_ns() - 3_600_000_000_000;
    let n_sent = fill(&server.caller(), &setup, start_ns, plan.log_bytes);
    let rss_bytes = server.rss_bytes();
    server.kill_9();
    let log_bytes = log_bytes(&setup);
    assert_eq!(n_files(&setup), 0, "something was flushed, so the log is not all there is");

    let cage = Arc::new(Cage::new(plan.cage_bytes));
    let memory = format!("[server]\nmemory = \"{}MiB\"\n", plan.cage_bytes >> 20);
    let clock = SystemClock::new();
    let mut server = setup.clone().config(&memory).cage(&cage).spawn();
    server.wait_until_ready_within(PATIENCE * 10);
    let took = Duration::from_nanos(clock.monotonic_ns());
    let (_, peak) = server.memory();

    assert!(log_bytes > cage.limit_bytes, "the log would have fitted");
    // What the kernel can take back, pages of the program say, counts for the process and not for the cage.
    assert!(cage.is_real() || peak < cage.limit_bytes, "{} MiB at its highest", peak >> 20);
    assert_eq!(cage.n_killed(), 0, "the kernel has ended a process in the cage");
    check_whole(&server.caller(), start_ns, n_sent);
    server.kill_9();
    let server = setup.clone().config(&memory).cage(&cage).start();
    check_whole(&server.caller(), start_ns, n_sent);
    eprintln!(
        "replay: {n_sent} records, a log of {} MiB (RSS {} MiB when it was killed) in a cage of {} \
         MiB ({}): ready after {:.1} s, RSS {} MiB at most; nothing lost",
        log_bytes >> 20,
        rss_bytes >> 20,
        cage.limit_bytes >> 20,
        cage.kind(),
        took.as_secs_f64(),
        peak >> 20,
    );
}

/// Sends records a microsecond apart, whose bodies nothing compresses, until the log is large
/// enough; returns how many.
fn fill(caller: &Caller, setup: &Setup, start_ns: i64, wanted_bytes: u64) -> i64 {
    let mut connection = Connection::open(&caller.otlp_http).unwrap();
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut n_sent = 0;
    while log_bytes(setup) < wanted_bytes {
        let records = (n_sent..n_sent + RECORDS_A_REQUEST)
            .map(|number| otlp::record(start_ns + number * 1_000, &noise(&mut random)))
            .collect();
        let resource = otlp::resource(&[("service.name", "fence")]);
        let request = otlp::post("/v1/logs", &otlp::logs(resource, records));
        let answer = connection.send(&request).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        n_sent += RECORDS_A_REQUEST;
    }
    n_sent
}

/// Returns text that has no repetition.
fn noise(random: &mut u64) -> String {
    let mut text = String::with_capacity(BODY_BYTES + 16);
    while text.len() < BODY_BYTES {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        text.push_str(&format!("{random:016x}"));
    }
    text
}

fn log_bytes(setup: &Setup) -> u64 {
    let files = std::fs::read_dir(setup.data_dir().join("wal")).unwrap();
    files.map(|file| file.unwrap().metadata().map_or(0, |known| known.len())).sum()
}

/// Returns how many Parquet files the store has.
fn n_files(setup: &Setup) -> usize {
    let found = |folder: &std::path::Path| {
        std::fs::read_dir(folder).map(|files| files.flatten().collect::<Vec<_>>())
    };
    let mut folders = vec![setup.data_dir()];
    let mut n_files = 0;
    while let Some(folder) = folders.pop() {
        for entry in found(&folder).unwrap_or_default() {
            let path = entry.path();
            n_files += usize::from(path.extension().is_some_and(|ending| ending == "parquet"));
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    n_files
}

/// Records are a microsecond apart: their number and the sum of their places tell what is missing or
/// there twice.
#[track_caller]
fn check_whole(caller: &Caller, start_ns: i64, n_sent: i64) {
    let place = format!("(arrow_cast(timestamp, 'Int64') - {start_ns}) / 1000");
    let rows = caller.sql(&format!(
        "SELECT count(*) AS n, count(DISTINCT {place}) AS n_different, min({place}) AS first, \
         max({place}) AS last FROM logs"
    ));
    let got = ["n", "n_different", "first", "last"].map(|name| rows[0][name].as_i64());
    assert_eq!(got, [Some(n_sent), Some(n_sent), Some(0), Some(n_sent - 1)]);
}
