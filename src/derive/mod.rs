//! Metrics made from what passes by: Gen3 is a log-first platform, and most of its services have
//! no metrics of their own.
//!
//! Its one idea: everything is a counter of one commons, kept in memory and bounded, and given out
//! on a timer by [`Derive::collect`]; storing the samples is the caller's. Names begin with `csoc_`
//! so that nobody takes them for upstream's:
//!
//! ```text
//! csoc_http_requests_total{backend,method,route,status}          access log of the revproxy
//! csoc_http_request_duration_seconds{backend,route}              histogram: _bucket, _sum, _count
//! csoc_http_response_bytes_total{backend}
//! csoc_login_total{idp,stage,outcome}                            stage start|callback, outcome ok|fail
//! csoc_data_access_total{kind,outcome}                           outcome ok|denied|missing|error
//! csoc_job_runs_total{job,outcome}                               outcome ok|failed|false_success
//! csoc_job_last_success_timestamp_seconds{job}
//! csoc_log_lines_total{level}                                    every line of every service
//! csoc_parse_errors_total{format}
//! csoc_last_seen_timestamp_seconds{signal}
//! ```
//! Spans have families of their own, under Tempo's names (`spans`).
//! Each also carries `commons`, `service`, `env` and `cluster` as the record did.
//!
//! Series that lost a telling label in `tagging` are added up here too ([`Derive::fold`]).
//!
//! When you add a family, add it to the list above and to `docs`; dashboards and alerts are checked
//! against it.

mod access_line;
mod book;
mod config;
mod fold;
mod jobs;
mod level;
mod metrics;
mod requests;
mod spans;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::RecordBatch;
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};

pub use config::Config;
pub use metrics::Metrics;

use crate::base::clock::SharedClock;
use crate::model::{Commons, Labels, MetricKind, SeriesMeta, Signal, Tags};
use crate::tagging::Tagger;
use book::{Book, Family};
use fold::Folds;
use jobs::Jobs;
use spans::Spans;

static LOG_LINES: Family =
    Family { name: "csoc_log_lines_total", kind: MetricKind::Counter, unit: "" };
static PARSE_ERRORS: Family =
    Family { name: "csoc_parse_errors_total", kind: MetricKind::Counter, unit: "" };
static LAST_SEEN: Family =
    Family { name: "csoc_last_seen_timestamp_seconds", kind: MetricKind::Gauge, unit: "s" };

/// One sample to be stored, at the time of its collection.
#[derive(Debug, Clone, PartialEq)]
pub struct DerivedSample {
    /// The commons it belongs to.
    pub commons: Commons,
    /// All labels, name and tags included.
    pub labels: Labels,
    /// What the number is.
    pub meta: SeriesMeta,
    /// The number.
    pub value: f64,
    /// True the first time that a counter's series is given: store a 0 of the collection before
    /// this one too, so that `increase()` sees what led to the first value.
    pub born: bool,
}

/// Derives metrics. Clones are handles to the same counters.
#[derive(Debug, Clone)]
pub struct Derive {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    tagger: Arc<Tagger>,
    clock: SharedClock,
    metrics: Metrics,
    by_commons: RwLock<HashMap<Commons, Arc<Mutex<State>>>>,
}

/// What is kept of one commons.
#[derive(Debug)]
struct State {
    commons: Commons,
    book: Book,
    jobs: Jobs,
    folds: Option<Folds>,
    spans: Option<Spans>,
}

impl Derive {
    /// Returns empty counters.
    pub fn new(config: Config, tagger: Arc<Tagger>, clock: SharedClock, metrics: Metrics) -> Self {
        let by_commons = RwLock::default();
        Self { shared: Arc::new(Shared { config, tagger, clock, metrics, by_commons }) }
    }

    /// Takes one log line. `app` is the stream's label of that name, if it is known.
    pub fn observe_log(&self, tags: &Tags, app: Option<&str>, timestamp_ns: i64, body: &str) {
        let Some(state) = self.state_of(&tags.commons) else { return };
        let tagger = &*self.shared.tagger;
        let access_line = comes_from_revproxy(tags, app).then(|| access_line::find(body)).flatten();
        let mut state = state.lock();
        let State { book, jobs, .. } = &mut *state;
        let level = match access_line {
            Some(line) => observe_access_line(book, tagger, tags, line),
            None => level::of_line(body),
        };
        book.count(&LOG_LINES, tags, &[("level", level)], 1.0);
        let job = tags.service.as_deref().and_then(|service| service.strip_prefix("job:"));
        if let Some(job) = job {
            let at_s = seconds(timestamp_ns.min(self.shared.clock.now_ns()));
            jobs.observe(book, tags, tagger.job_markers(), job, at_s, body);
        }
    }

    /// Takes note that a signal of a commons arrived. Once per batch, with its latest time; times
    /// to come are taken for now.
    pub fn observe_signal(&self, commons: &Commons, signal: Signal, timestamp_ns: i64) {
        let Some(state) = self.state_of(commons) else { return };
        let at_s = seconds(timestamp_ns.min(self.shared.clock.now_ns()));
        // A signal is the commons', not a service's.
        let tags = Tags { commons: commons.clone(), ..Tags::unassigned() };
        state.lock().book.raise(&LAST_SEEN, &tags, &[("signal", signal.as_str())], at_s);
    }

    /// Takes spans that were stored, in the schema of `model::span`. A call between services of two
    /// commons is not put together: each commons counts its own.
    pub fn observe_spans(&self, commons: &Commons, batch: &RecordBatch) {
        let Some(state) = self.state_of(commons) else { return };
        let now_ns = self.shared.clock.monotonic_ns();
        let mut state = state.lock();
        let new = || Spans::new(commons.clone(), &self.shared.config);
        state.spans.get_or_insert_with(new).observe_batch(commons, batch, now_ns);
    }

    /// Adds up a sample of a series that `Tagger::tag_series` folded. `labels` are what is left of
    /// its labels, `wire_id` tells the sender's series apart.
    pub fn fold(
        &self,
        commons: &Commons,
        labels: &Labels,
        meta: &SeriesMeta,
        wire_id: u128,
        value: f64,
    ) {
        let Some(state) = self.state_of(commons) else { return };
        let (config, now_ns) = (&self.shared.config, self.shared.clock.now_ns());
        let mut state = state.lock();
        let folds = state.folds.get_or_insert_with(|| {
            let warm_up_ns = config.fold_warm_up.as_ms().saturating_mul(1_000_000);
            Folds::new(now_ns, warm_up_ns, config.folded_per_commons_max)
        });
        if !folds.add(labels, meta, wire_id, value, now_ns) {
            self.shared.metrics.overflowed("senders", 1);
        }
    }

    /// Returns every derived series' current value.
    pub fn collect(&self) -> Vec<DerivedSample> {
        let states: Vec<_> = self.shared.by_commons.read().values().map(Arc::clone).collect();
        let mut samples = Vec::new();
        for state in states {
            let mut state = state.lock();
            let State { commons, book, folds, spans, .. } = &mut *state;
            book.collect(&mut samples);
            self.shared.metrics.overflowed("series", book.take_overflows());
            if let Some(folds) = folds {
                folds.collect(commons, &mut samples);
            }
            if let Some(spans) = spans {
                spans.collect(self.shared.clock.monotonic_ns(), &mut samples);
                let (n_series, n_edges) = spans.take_overflows();
                self.shared.metrics.overflowed("span_series", n_series);
                self.shared.metrics.overflowed("edges", n_edges);
            }
        }
        self.shared.metrics.collected(samples.len());
        samples
    }

    /// Returns the state of a commons, or `None` when nothing is derived for it.
    fn state_of(&self, commons: &Commons) -> Option<Arc<Mutex<State>>> {
        let config = &self.shared.config;
        if !config.enabled {
            return None;
        }
        if let Some(state) = self.shared.by_commons.read().get(commons) {
            return Some(Arc::clone(state));
        }
        let mut by_commons = self.shared.by_commons.write();
        if by_commons.len() >= config.commons_max && !by_commons.contains_key(commons) {
            self.shared.metrics.overflowed("commons", 1);
            return None;
        }
        let state = by_commons.entry(commons.clone()).or_insert_with(|| {
            let (series_max, routes_max) =
                (config.series_per_commons_max, config.routes_per_commons_max);
            Arc::new(Mutex::new(State {
                commons: commons.clone(),
                book: Book::new(commons.clone(), series_max, routes_max),
                jobs: Jobs::default(),
                folds: None,
                spans: None,
            }))
        });
        Some(Arc::clone(state))
    }
}

/// The portal's nginx writes the same format for requests that the revproxy has logged already.
fn comes_from_revproxy(tags: &Tags, app: Option<&str>) -> bool {
    tags.service.as_deref().or(app).is_none_or(|service| service == "revproxy")
}

/// Returns the line's level.
fn observe_access_line(book: &mut Book, tagger: &Tagger, tags: &Tags, line: &str) -> &'static str {
    let line = access_line::parse(line);
    let is_request = requests::observe(book, tagger, tags, &line);
    if !is_request || !line.is_complete {
        book.count(&PARSE_ERRORS, tags, &[("format", "revproxy")], 1.0);
    }
    if line.status.is_some_and(|status| status >= 500) { "error" } else { "info" }
}

#[expect(clippy::cast_precision_loss, reason = "ms since 1970 fit a double exactly")]
fn seconds(timestamp_ns: i64) -> f64 {
    timestamp_ns.div_euclid(1_000_000) as f64 / 1_000.0
}
