//! Senders of all three signals, and the book of what they were told.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use commonwatch::base::clock::{Clock, SystemClock};
use parking_lot::Mutex;
use prost::Message as _;

use crate::support::http::{Connection, Response};
use crate::support::wait::{now_ms, now_ns, pause};
use crate::support::{Caller, Request, otlp, remote_write};

/// What a sender sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Metrics,
    Logs,
    Spans,
}

pub(super) const SIGNALS: [Signal; 3] = [Signal::Metrics, Signal::Logs, Signal::Spans];
/// Items of a request: as many samples as Prometheus sends at once; the Collector batches 8,192 records.
pub(super) const ITEMS: u64 = 2_000;
const SERIES: u64 = 50;

/// What the senders of one signal were told.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) taken: AtomicU64,
    pub(super) refused: AtomicU64,
}

/// What all senders were told, and what was wrong with it.
#[derive(Debug, Default)]
pub(super) struct Books {
    by_signal: [Book; 3],
    pub(super) wrong: Mutex<Vec<String>>,
}

impl Books {
    pub(super) fn of(&self, signal: Signal) -> &Book {
        &self.by_signal[SIGNALS.iter().position(|known| *known == signal).expect("all are there")]
    }

    /// Returns items taken and items refused so far.
    pub(super) fn totals(&self) -> [(u64, u64); 3] {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [0, 1, 2].map(|idx: usize| {
            let book = &self.by_signal[idx];
            (read(&book.taken), read(&book.refused))
        })
    }

    fn note(&self, signal: Signal, answer: &Response) {
        let book = self.of(signal);
        match answer.status {
            200..=299 => book.taken.fetch_add(ITEMS, Ordering::Relaxed),
            _ => book.refused.fetch_add(ITEMS, Ordering::Relaxed),
        };
        let retry_after = answer.header("retry-after").and_then(|text| text.parse::<u32>().ok());
        let is_right = (200..300).contains(&answer.status)
            || (answer.status == 429 && retry_after.is_some_and(|secs| secs >= 1));
        if !is_right {
            let what = format!("{signal:?}: {} {}", answer.status, answer.text());
            self.wrong.lock().push(what.chars().take(300).collect());
        }
    }
}

/// One who sends over a connection that is kept.
pub(super) struct Sender {
    signal: Signal,
    address: String,
    connection: Option<Connection>,
    request: Request,
    /// What was taken is not sent again: the same twice would be one.
    is_spent: bool,
    number: u64,
}

impl Sender {
    pub(super) fn new(caller: &Caller, signal: Signal, number: u64) -> Self {
        let address = match signal {
            Signal::Metrics => &caller.http,
            Signal::Logs | Signal::Spans => &caller.otlp_http,
        };
        let address = address.clone();
        Self {
            signal,
            address,
            connection: None,
            request: request(signal, number),
            is_spent: false,
            number,
        }
    }

    pub(super) fn signal(&self) -> Signal {
        self.signal
    }

    /// Sends one request; what came back is in the books.
    pub(super) fn send(&mut self, books: &Books) -> bool {
        if self.is_spent {
            self.number += 1_000;
            self.request = match self.signal {
                Signal::Metrics => samples(self.number),
                Signal::Logs | Signal::Spans => in_other_bytes(&self.request),
            };
            self.is_spent = false;
        }
        let connection = match self.connection.take() {
            Some(connection) => Ok(connection),
            None => Connection::open(&self.address),
        };
        let answer = connection.and_then(|mut connection| {
            let answer = connection.send(&self.request)?;
            let is_kept = answer.header("connection") != Some("close");
            self.connection = is_kept.then_some(connection);
            Ok(answer)
        });
        match answer {
            Ok(answer) => {
                books.note(self.signal, &answer);
                let is_taken = (200..300).contains(&answer.status);
                self.is_spent = is_taken;
                is_taken
            }
            Err(error) => {
                books.wrong.lock().push(format!("{:?}: no answer: {error}", self.signal));
                false
            }
        }
    }
}

fn request(signal: Signal, number: u64) -> Request {
    let at = now_ns();
    let service = format!("service-{}", number % 8);
    let resource =
        || otlp::resource(&[("service.name", &service), ("k8s.namespace.name", "overload")]);
    match signal {
        Signal::Metrics => samples(number),
        Signal::Logs => {
            let records = (0..ITEMS).map(|n| {
                let text = format!("GET /user/data/download/{number}-{n} HTTP/1.1 200 in {n} ms");
                let mut record = otlp::record(at, &text);
                record.attributes = attributes(number, n);
                record
            });
            otlp::post("/v1/logs", &otlp::logs(resource(), records.collect())).gzipped()
        }
        Signal::Spans => {
            let spans = (0..ITEMS).map(|n| {
                let mut span = otlp::span(number << 32 | n, at, "GET /index/{id}");
                span.attributes = attributes(number, n);
                span
            });
            otlp::post("/v1/traces", &otlp::spans(resource(), spans.collect())).gzipped()
        }
    }
}

/// Returns a request with the same records in other bytes, which is another one to the server: the head
/// of a gzip member has a time (RFC 1952, bytes 4 to 7) that nobody reads.
fn in_other_bytes(request: &Request) -> Request {
    let mut other = request.clone();
    let time = u32::from_le_bytes(other.body[4..8].try_into().expect("four bytes"));
    other.body[4..8].copy_from_slice(&time.wrapping_add(1).to_le_bytes());
    other
}

fn attributes(number: u64, n: u64) -> Vec<opentelemetry_proto::tonic::common::v1::KeyValue> {
    vec![
        otlp::attribute("http.route", "/user/data/download/{id}"),
        otlp::attribute("http.status_code", "200"),
        otlp::attribute("request.id", &format!("{number:08x}-{n:08x}-4000-8000-00000000")),
        otlp::attribute("k8s.pod.name", &format!("fence-deployment-7c9d8f6b5-{:05}", n % 50)),
    ]
}

/// Forty new samples each for fifty series, never the same twice.
fn samples(number: u64) -> Request {
    let per_series = i64::try_from(ITEMS / SERIES).expect("few");
    // Each number has milliseconds of its own within the last days.
    let ago = i64::try_from(number % 4_000_000).expect("small") * per_series;
    let first_ms = now_ms() - 1_000 - ago;
    let series = (0..SERIES).map(|n| {
        let labels = [
            ("__name__", "overload_requests_total".to_owned()),
            ("job", format!("job-{}", number % 1_000)),
            ("pod", format!("fence-deployment-7c9d8f6b5-{n:05}")),
        ];
        let at = |k: i64| first_ms + k;
        let samples: Vec<(i64, f64)> = (0..per_series).map(|k| (at(k), value(number, k))).collect();
        remote_write::series(&labels, &samples)
    });
    remote_write::write_bytes(
        &remote_write::WriteRequest { timeseries: series.collect(), metadata: Vec::new() }
            .encode_to_vec(),
    )
}

fn value(number: u64, k: i64) -> f64 {
    let k = u64::try_from(k).expect("counted up from 0");
    f64::from(u32::try_from((number * 31 + k * 17) % 1_000_003).expect("small"))
}

/// Returns senders of all signals by turns.
pub(super) fn senders(caller: &Caller, n_senders: u64) -> Vec<Sender> {
    let signal = |number: u64| SIGNALS[usize::try_from(number).expect("few") % SIGNALS.len()];
    (0..n_senders).map(|number| Sender::new(caller, signal(number), number)).collect()
}

/// Sends for a while, so many at a time, all together `requests_per_s` or as fast as it goes. Who
/// waits for an answer is stood in for by the others.
pub(super) fn storm(
    senders: &mut [Sender],
    books: &Books,
    n_at_a_time: usize,
    requests_per_s: Option<f64>,
    until: Duration,
) {
    let clock = SystemClock::new();
    let since_start = || Duration::from_nanos(clock.monotonic_ns());
    let every = requests_per_s.map(|all| Duration::from_secs_f64(1.0 / all)).unwrap_or_default();
    let next_due = Mutex::new(Duration::ZERO);
    let wait_for_turn = || {
        let due = {
            let mut next_due = next_due.lock();
            let due = (*next_due).max(since_start().saturating_sub(Duration::from_secs(1)));
            *next_due = due + every;
            due
        };
        pause(due.min(until).saturating_sub(since_start()));
    };
    std::thread::scope(|scope| {
        for mine in senders.chunks_mut(senders.len().div_ceil(n_at_a_time)) {
            scope.spawn(|| {
                for idx in (0..mine.len()).cycle() {
                    wait_for_turn();
                    if since_start() >= until {
                        return;
                    }
                    mine[idx].send(books);
                }
            });
        }
    });
}
