//! Hundreds of hostile requests to every endpoint in every dialect, against the real server in a
//! memory cage: each is refused clearly or taken rightly, and none leaves a mark.
//!
//! The cases are made by code in tables, family by family; a name is `family: mutation` and the
//! bytes are the same in every run but for the clock. `HOSTILE=<part of a name>` runs a few alone.

mod bodies;
mod bytes;
mod calls;
mod case;
mod doors;
mod frames;
mod heads;
mod identity;
mod items;
mod questions;
mod routes;
mod seeds;
mod send;
mod sizes;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use case::Case;
use parking_lot::Mutex;

use crate::bad_input::unbalanced;
use crate::support::ask::OwnMetric;
use crate::support::cage::Cage;
use crate::support::server::Addresses;
use crate::support::wait::{now_ms, pause, until};
use crate::support::{Caller, Server, Setup};

/// Short deadlines, because many cases never send what they promise; and tagging as it comes.
const CONFIG: &str = "[server]\nheader_timeout = \"2s\"\nbody_timeout = \"3s\"\n\
                      [limits]\nbody_read = \"3s\"\n\
                      bytes_in_flight_per_credential = \"256MiB\"\n[query]\ntimeout = \"5s\"\n";
const CAGE_BYTES: u64 = 2 << 30;
/// What the server may hold when all is over: its pools, the head of what was taken, and nothing
/// of what was refused.
const AFTERWARDS_BYTES: u64 = 512 << 20;
/// How many send at a time.
const N_SENDERS: usize = 4;
const HONEST_PAUSE: Duration = Duration::from_millis(50);

#[test]
fn hostile_requests_are_refused_clearly_or_taken_rightly() {
    let cases = chosen(all());
    let cage = Arc::new(Cage::new(CAGE_BYTES));
    let server = Setup::new("hostile").config(CONFIG).cage(&cage).start();
    let caller = server.caller();
    let honest = Honest::new();

    let wrong = honest.while_others(&caller, || run(server.addresses(), &cases));

    let (now, peak) = server.memory();
    eprintln!(
        "hostile: {} cases, {} wrong, RSS {} MiB then, {} MiB at most, in a cage of {} MiB ({})",
        cases.len(),
        wrong.len(),
        now >> 20,
        peak >> 20,
        cage.limit_bytes >> 20,
        cage.kind(),
    );
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert_eq!(unbalanced(&caller), None);
    honest.check(&caller);
    check_memory(&server, &cage);
    if std::env::var("HOSTILE").is_err() {
        assert!(closed(&caller, "h2_calm") > 0.0, "a flood of resets ends its connection");
        assert!(closed(&caller, "header_timeout") > 0.0, "half a head ends its connection");
    }
    check_commons(&caller, &server);
}

#[test]
fn headers_of_proxies_and_made_up_credentials_open_nothing() {
    let cases = chosen(identity::cases());
    let server = Setup::new("hostile-identity").config(&identity::config()).start();

    let wrong = run(server.addresses(), &cases);

    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    let right = server.caller_with(identity::TOKEN).get("/api/v1/query?query=1");
    assert_eq!(right.status, 200, "a right token is let in all the same: {}", right.text());
}

#[test]
fn there_are_five_hundred_cases_with_names_of_their_own() {
    let cases = [all(), identity::cases()].concat();

    let names: HashSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();

    assert!(cases.len() >= 500, "{}", cases.len());
    assert_eq!(names.len(), cases.len(), "a name says which case it is");
}

fn all() -> Vec<Case> {
    let mut cases = bodies::cases();
    cases.extend(sizes::cases());
    cases.extend(items::cases());
    cases.extend(heads::cases());
    cases.extend(frames::cases());
    cases.extend(calls::cases());
    cases.extend(questions::cases());
    cases.extend(doors::cases());
    cases.extend(routes::cases());
    cases
}

fn chosen(cases: Vec<Case>) -> Vec<Case> {
    let Ok(part) = std::env::var("HOSTILE") else { return cases };
    cases.into_iter().filter(|case| case.name.contains(&part)).collect()
}

/// Sends every case, a few at a time, and returns what was wrong with the answers.
fn run(addresses: &Addresses, cases: &[Case]) -> Vec<String> {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let got = send::send(addresses, case);
            if let Err(reason) = case.judge(&got) {
                wrong.lock().push(format!("{}: {reason}", case.name));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..N_SENDERS {
            scope.spawn(work);
        }
    });
    wrong.into_inner()
}

/// Someone who does everything right while others do not.
struct Honest {
    start_ms: i64,
    n_sent: AtomicU32,
}

impl Honest {
    fn new() -> Self {
        Self { start_ms: now_ms() - 3_600_000, n_sent: AtomicU32::new(0) }
    }

    /// Sends a sample every now and then while `others` run; each must be taken.
    fn while_others<T: Send>(&self, caller: &Caller, others: impl FnOnce() -> T + Send) -> T {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    self.send(caller);
                    pause(HONEST_PAUSE);
                }
            });
            let came = others();
            is_over.store(true, Ordering::Relaxed);
            sender.join().expect("the honest sender was served");
            came
        })
    }

    fn send(&self, caller: &Caller) {
        let number = self.n_sent.fetch_add(1, Ordering::Relaxed);
        let at_ms = self.start_ms + i64::from(number) * 1_000;
        // The bytes in flight are shared with the others: being told to come back is right.
        until("the honest sender's acknowledgement", Duration::from_secs(60), || {
            let answer = caller.send(sizes::honest(number, at_ms));
            match answer.status {
                204 => Ok(()),
                429 => Err(answer.text()),
                status => panic!("the honest sender got {status}: {}", answer.text()),
            }
        });
    }

    #[track_caller]
    fn check(&self, caller: &Caller) {
        let rows = caller.sql("SELECT value FROM metrics WHERE metric = 'honest' ORDER BY value");
        let values: Vec<f64> = rows.iter().map(|row| row["value"].as_f64().unwrap()).collect();
        let n_sent = self.n_sent.load(Ordering::Relaxed);
        assert!(n_sent > 0);
        assert_eq!(values, (0..n_sent).map(f64::from).collect::<Vec<f64>>());
    }
}

/// Returns how many connections the server has closed for this reason.
#[track_caller]
pub(crate) fn closed(caller: &Caller, reason: &str) -> f64 {
    let is_it = |metric: &OwnMetric| {
        metric.name == "commonwatch_server_closed_connections_total"
            && metric.labels.get("reason").is_some_and(|known| known == reason)
    };
    caller.own_metrics().iter().filter(|metric| is_it(metric)).map(|metric| metric.value).sum()
}

#[track_caller]
fn check_memory(server: &Server, cage: &Cage) {
    let (_, peak) = server.memory();
    assert!(peak < cage.limit_bytes, "{} MiB at its highest", peak >> 20);
    assert_eq!(cage.n_killed(), 0, "the kernel has ended a process in the cage");
    until("memory to come back", Duration::from_secs(30), || {
        let (now, _) = server.memory();
        let is_back = now < AFTERWARDS_BYTES;
        is_back.then_some(()).ok_or_else(|| format!("RSS is {} MiB", now >> 20))
    });
}

/// Names that would be paths have become none, and nobody wrote in the server's own name.
#[track_caller]
fn check_commons(caller: &Caller, server: &Server) {
    assert!(!Path::new("/tmp/commonwatch-was-here.csv").exists());
    let rows = caller.sql(
        "SELECT DISTINCT commons FROM metrics WHERE metric LIKE 'hostile%' \
         UNION SELECT DISTINCT commons FROM logs",
    );
    for row in &rows {
        let commons = row["commons"].as_str().unwrap_or_default();
        assert_ne!(commons, "_self");
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        assert!(commons.chars().all(is_plain) && !commons.contains(".."), "{commons:?}");
    }
    assert!(!rows.is_empty(), "some of the hostile rows were taken, and are asked for here");
    let panicked = server.log().lines().filter(|line| line.contains("panicked")).count();
    assert_eq!(panicked, 0, "{}", server.log());
}
