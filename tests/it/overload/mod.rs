//! Ten times the load that the server can carry, in a memory cage: what it cannot take it refuses
//! with a time to come back, what it takes it keeps, and it goes on answering.
//!
//! The short form looks at memory, answers and books, which no slow machine can spoil. `make
//! overload` takes the long one (`OVERLOAD=long`, ten minutes in a cage of 1 GiB), which also
//! measures: goodput, `/-/ready`, and the time until all is as before. There the server has a quarter
//! of a core (`OVERLOAD_MILLICORES`): senders cost about what a server costs, so on a machine that
//! both share, a server with all it can get is never offered much more than it can carry.

mod load;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use commonwatch::base::clock::{Clock, SystemClock};
use load::{Books, ITEMS, SIGNALS, Sender, Signal, senders, storm};
use parking_lot::Mutex;

use crate::bad_input::unbalanced;
use crate::support::cage::Cage;
use crate::support::wait::{PATIENCE, pause, until};
use crate::support::{Caller, Server, Setup, otlp};

/// How long each part takes, and in how much memory.
struct Plan {
    cage_bytes: u64,
    peak: Duration,
    storm: Duration,
    /// What the server has of the machine; all of it, when there is no number.
    millicores: Option<u64>,
    is_long: bool,
}

fn plan() -> Plan {
    let secs = |text: String| text.parse().map(Duration::from_secs).ok();
    let storm = std::env::var("OVERLOAD_SECS").ok().and_then(secs);
    if std::env::var("OVERLOAD").is_ok_and(|length| length == "long") {
        let storm = storm.unwrap_or(Duration::from_secs(600));
        let given = std::env::var("OVERLOAD_MILLICORES").ok().and_then(|text| text.parse().ok());
        let millicores = Some(given.unwrap_or(250));
        // Long enough that files are written and merged in it too: a rate that it can sustain.
        let peak = Duration::from_secs(60);
        return Plan { cage_bytes: 1 << 30, peak, storm, millicores, is_long: true };
    }
    let storm = storm.unwrap_or(Duration::from_secs(15));
    let peak = Duration::from_secs(3);
    Plan { cage_bytes: 640 << 20, peak, storm, millicores: None, is_long: false }
}

const SENDERS: u64 = 240;
const PEAK_AT_A_TIME: usize = 6;
const STORM_AT_A_TIME: usize = 240;
const TIMES_THE_PEAK: f64 = 10.0;

#[test]
fn ten_times_the_load_is_refused_in_bounds_and_with_a_time_to_come_back() {
    let plan = plan();
    let cage = Cage::new(plan.cage_bytes);
    let cage = Arc::new(match plan.millicores {
        Some(millicores) => cage.millicores(millicores),
        None => cage,
    });
    let config = format!("[server]\nmemory = \"{}MiB\"\n", plan.cage_bytes >> 20);
    let setup = Setup::new("overload").cage(&cage);
    // In a cage the server sees for itself how much memory there is.
    let setup = if cage.is_real() { setup } else { setup.config(&config) };
    let server = setup.start();
    let caller = server.caller();
    let books = Books::default();

    let mut all = senders(&caller, SENDERS);
    storm(&mut all, &books, PEAK_AT_A_TIME, None, plan.peak);
    let peak = books.totals();
    let peak_per_s = rates(&[(0, 0); 3], &peak, plan.peak);
    let n_items: f64 = peak_per_s.iter().map(|(taken, _)| taken).sum();
    let watch = Watch::default();
    let offered = n_items / f64::from(u32::try_from(ITEMS).expect("few")) * TIMES_THE_PEAK;
    watch.while_others(&server, &caller, || {
        storm(&mut all, &books, STORM_AT_A_TIME, Some(offered), plan.storm);
    });
    let after = books.totals();
    let recovered = recover(&caller, &books);

    let storm_per_s = rates(&peak, &after, plan.storm);
    let report = Report { peak_per_s, storm_per_s, recovered, watch: &watch };
    eprintln!("overload: {}; {}", report.text(), memory_text(&server, &cage));
    let wrong = books.wrong.lock();
    assert!(wrong.is_empty(), "{} answers were wrong, the first: {}", wrong.len(), wrong[0]);
    let n_refused: u64 = after.iter().map(|(_, refused)| refused).sum();
    assert!(n_refused > 0, "ten times the load and nothing was refused");
    check_memory(&server, &cage);
    check_books(&caller, &books);
    assert!(watch.n_calls_refused.load(Ordering::Relaxed) > 0 || !plan.is_long, "no gRPC refusal");
    if plan.is_long {
        report.judge();
    }
}

/// Returns items taken and refused in a second, by signal.
fn rates(before: &[(u64, u64); 3], after: &[(u64, u64); 3], length: Duration) -> [(f64, f64); 3] {
    let per_s = |from: u64, to: u64| {
        f64::from(u32::try_from((to - from) / 1_000).expect("below 4 G requests")) * 1_000.0
            / length.as_secs_f64()
    };
    [0, 1, 2].map(|idx: usize| {
        let ((taken, refused), (more, more_refused)) = (before[idx], after[idx]);
        (per_s(taken, more), per_s(refused, more_refused))
    })
}

/// Returns how long it took until a sender of each signal was taken twenty times in a row.
fn recover(caller: &Caller, books: &Books) -> Duration {
    let clock = SystemClock::new();
    for (idx, signal) in (0..).zip(SIGNALS) {
        let mut sender = Sender::new(caller, signal, 900_000 + idx);
        let mut n_in_a_row = 0;
        until("the server to take everything again", PATIENCE, || {
            n_in_a_row = if sender.send(books) { n_in_a_row + 1 } else { 0 };
            if n_in_a_row >= 20 { Ok(()) } else { Err(format!("{:?} is refused", sender.signal())) }
        });
    }
    Duration::from_nanos(clock.monotonic_ns())
}

/// What is looked at during the storm.
#[derive(Debug, Default)]
struct Watch {
    ready_ms: Mutex<Vec<f64>>,
    rss_max: AtomicU64,
    n_calls_refused: AtomicU64,
}

impl Watch {
    fn while_others(&self, server: &Server, caller: &Caller, others: impl FnOnce() + Send) {
        let is_over = AtomicBool::new(false);
        let goes_on = || !is_over.load(Ordering::Relaxed);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while goes_on() {
                    self.rss_max.fetch_max(server.memory().0, Ordering::Relaxed);
                    self.ask_ready(caller);
                    if std::env::var("OVERLOAD_TRACE").is_ok() {
                        trace(server, caller);
                    }
                    pause(Duration::from_millis(100));
                }
            });
            scope.spawn(|| {
                while goes_on() {
                    self.call(caller);
                    pause(Duration::from_millis(100));
                }
            });
            others();
            is_over.store(true, Ordering::Relaxed);
        });
    }

    fn ask_ready(&self, caller: &Caller) {
        let clock = SystemClock::new();
        let answer = caller.get("/-/ready");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let ms = Duration::from_nanos(clock.monotonic_ns()).as_secs_f64() * 1e3;
        self.ready_ms.lock().push(ms);
    }

    /// Calls over gRPC with records that break a limit each, so that the books of the other senders
    /// stay simple; a call that is refused for load must say when to come back.
    fn call(&self, caller: &Caller) {
        let future = commonwatch::base::clock::SystemClock::new().now_ns() + 86_400_000_000_000;
        let record = otlp::record(future, "too early");
        let logs = otlp::logs(otlp::resource(&[("service.name", "late")]), vec![record; 5]);
        let method = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
        let message = prost::Message::encode_to_vec(&logs);
        let answer = otlp::call(&caller.otlp_grpc, method, &message, None).unwrap();
        match answer.code {
            Some(0) => {}
            Some(8) => {
                assert!(answer.details.is_some(), "no RetryInfo: {answer:?}");
                self.n_calls_refused.fetch_add(1, Ordering::Relaxed);
            }
            _ => panic!("{answer:?}"),
        }
    }

    fn ready_p99_ms(&self) -> f64 {
        let mut times = self.ready_ms.lock().clone();
        times.sort_by(f64::total_cmp);
        times.get(times.len() * 99 / 100).copied().unwrap_or(0.0)
    }
}

/// Prints what the process holds beside what it says it holds; `OVERLOAD_TRACE=1` asks for it.
fn trace(server: &Server, caller: &Caller) {
    let wanted = ["storage_head_bytes", "ingest_in_flight_bytes", "storage_queue_requests"];
    let metrics = caller.own_metrics();
    let value = |name: &str| {
        let full = format!("commonwatch_{name}");
        metrics.iter().find(|metric| metric.name == full).map_or(0.0, |metric| metric.value)
    };
    let shown: Vec<String> = wanted.iter().map(|name| format!("{name} {}", value(name))).collect();
    eprintln!("RSS {} MiB, {}", server.memory().0 >> 20, shown.join(", "));
}

/// What was measured.
struct Report<'a> {
    peak_per_s: [(f64, f64); 3],
    storm_per_s: [(f64, f64); 3],
    recovered: Duration,
    watch: &'a Watch,
}

impl Report<'_> {
    /// Returns how much of the peak was taken in the storm; signals count alike.
    fn goodput(&self) -> f64 {
        let parts = self.peak_per_s.iter().zip(&self.storm_per_s);
        parts.map(|((peak, _), (storm, _))| storm / peak.max(1.0)).sum::<f64>() / 3.0
    }

    fn offered(&self) -> f64 {
        let parts = self.peak_per_s.iter().zip(&self.storm_per_s);
        parts.map(|((peak, _), (taken, refused))| (taken + refused) / peak.max(1.0)).sum::<f64>()
            / 3.0
    }

    fn text(&self) -> String {
        let [metrics, logs, spans] = self.peak_per_s.map(|(taken, _)| taken.round());
        format!(
            "peak {metrics} samples/s, {logs} records/s, {spans} spans/s; in the storm {:.1} times \
             that was offered and {:.0} % taken; /-/ready p99 {:.0} ms; as before after {:.1} s",
            self.offered(),
            self.goodput() * 100.0,
            self.watch.ready_p99_ms(),
            self.recovered.as_secs_f64(),
        )
    }

    #[track_caller]
    fn judge(&self) {
        assert!(self.offered() >= 0.95 * TIMES_THE_PEAK, "too little was offered to tell");
        assert!(self.goodput() >= 0.8, "goodput");
        assert!(self.watch.ready_p99_ms() < 1_000.0, "/-/ready");
        assert!(self.recovered < Duration::from_secs(10), "back to normal");
    }
}

fn memory_text(server: &Server, cage: &Cage) -> String {
    let (now, peak) = server.memory();
    format!(
        "RSS {} MiB at most, {} MiB then, in a cage of {} MiB ({}), {} processes killed",
        peak >> 20,
        now >> 20,
        cage.limit_bytes >> 20,
        cage.kind(),
        cage.n_killed(),
    )
}

#[track_caller]
fn check_memory(server: &Server, cage: &Cage) {
    let (_, peak) = server.memory();
    assert!(peak < cage.limit_bytes, "{} MiB at its highest", peak >> 20);
    assert_eq!(cage.n_killed(), 0, "the kernel has ended a process in the cage");
}

/// What senders were told is what the server has.
#[track_caller]
fn check_books(caller: &Caller, books: &Books) {
    assert_eq!(unbalanced(caller), None);
    for (signal, table) in [(Signal::Logs, "logs"), (Signal::Spans, "spans")] {
        let taken = books.of(signal).taken.load(Ordering::Relaxed);
        let rows = caller.sql(&format!("SELECT count(*) AS n FROM {table}"));
        assert_eq!(rows[0]["n"].as_u64(), Some(taken), "{signal:?}: taken and stored");
    }
    let stored: f64 = caller
        .own_metrics()
        .iter()
        .filter(|metric| metric.name == "commonwatch_ingest_stored_items_total")
        .filter(|metric| metric.labels.get("signal").is_some_and(|signal| signal == "metrics"))
        .map(|metric| metric.value)
        .sum();
    let taken = books.of(Signal::Metrics).taken.load(Ordering::Relaxed);
    assert_eq!(format!("{stored}"), format!("{taken}"), "samples taken and stored");
}
