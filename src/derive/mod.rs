//! Metrics made from what passes by: Gen3 is a log-first platform, and most of its services have
//! no metrics of their own.
//!
//! Its one idea: everything is a counter of one commons, kept in memory and bounded, and given out
//! on a timer by [`Derive::collect`]; storing the samples is the caller's. Names begin with `csoc_`
//! so that nobody takes them for upstream's:
//!
//! ```text
//! lines -> requests   csoc_http_*, csoc_login_total, csoc_data_access_total: the revproxy's access log
//!          marks      csoc_log_events_total, csoc_audit_errors_total, csoc_workspace_*,
//!                     csoc_es_query_duration_seconds, csoc_fence_presigned_kib_total
//!          jobs       csoc_job_*
//!          users      csoc_unique_users
//!          (here)     csoc_log_lines_total, csoc_parse_errors_total
//! signals             csoc_last_seen_timestamp_seconds, csoc_ingest_samples_total
//! series -> fold      csoc_fence_logins_total, csoc_fence_presigned_urls_total, *_response_time_seconds
//! spans               traces_spanmetrics_*, traces_service_graph_*
//! ```
//! All of them with their labels: `docs/derived-metrics.md`. Each also carries `commons`, `service`,
//! `env` and `cluster` as the record did.
//!
//! Series that lost a telling label in `tagging` are added up here too ([`Derive::fold`]).
//!
//! When you add a family, add it to the list above and to `docs`; dashboards and alerts are checked
//! against it.

mod book;
mod examples;
mod config;
mod lines;
mod requests;
mod marks;
mod jobs;
mod users;
mod fold;
mod metrics;
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
pub use examples::Example;
pub use fold::{FoldedSample, Folding};
pub use lines::ReadLine;
pub use metrics::Metrics;

use crate::base::clock::SharedClock;
use crate::model::{Commons, Labels, MetricKind, SeriesMeta, Signal, Tags};
use crate::tagging::Tagger;
use book::{Book, Family};
use fold::Folds;
use jobs::{Jobs, Said};
use lines::{Format, Line};
use spans::Spans;
use users::Users;

static LOG_LINES: Family =
    Family { name: "csoc_log_lines_total", kind: MetricKind::Counter, unit: "" };
static PARSE_ERRORS: Family =
    Family { name: "csoc_parse_errors_total", kind: MetricKind::Counter, unit: "" };
static INGEST_SAMPLES: Family =
    Family { name: "csoc_ingest_samples_total", kind: MetricKind::Counter, unit: "" };
static LAST_SEEN: Family =
    Family { name: "csoc_last_seen_timestamp_seconds", kind: MetricKind::Gauge, unit: "s" };
static UNIQUE_USERS: Family =
    Family { name: "csoc_unique_users", kind: MetricKind::Gauge, unit: "" };

const SECOND_NS: i64 = 1_000_000_000;

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
    /// Spans that this bucket has counted since the last collection; none for what is no bucket.
    pub examples: Vec<Example>,
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
    users: Users,
    folds: Option<Folds>,
    spans: Option<Spans>,
}

impl Derive {
    /// Returns empty counters.
    pub fn new(config: Config, tagger: Arc<Tagger>, clock: SharedClock, metrics: Metrics) -> Self {
        let by_commons = RwLock::default();
        Self { shared: Arc::new(Shared { config, tagger, clock, metrics, by_commons }) }
    }

    /// Reads a line. `app` is the stream's label of that name, if it is known.
    pub fn read_line(&self, tags: &Tags, app: Option<&str>, body: &str) -> ReadLine {
        let line = lines::read(body, comes_from_revproxy(tags, app));
        let mut read = ReadLine::of(&line, body);
        if let (Format::Revproxy, Some(request)) = (line.format, &line.request) {
            read.edge = requests::edge(&self.shared.tagger, request);
        }
        read
    }

    /// Counts a line that is stored. `resource` is what its record knows of the sender, a JSON object;
    /// `line` is what was read of `body`.
    pub fn observe_log(
        &self,
        tags: &Tags,
        timestamp_ns: i64,
        resource: &str,
        body: &str,
        line: &ReadLine,
    ) {
        let Some(state) = self.state_of(&tags.commons) else { return };
        let when = When { at_ns: timestamp_ns, now_ns: self.shared.clock.now_ns() };
        let (line, edge) = (line.line(body), line.edge.as_ref());
        let seen = Seen { resource, body, line, edge };
        state.lock().observe_line(&self.shared.tagger, tags, &seen, when);
    }

    /// Takes note of how many samples of a commons were stored.
    pub fn observe_samples(&self, commons: &Commons, n_samples: usize) {
        let Some(state) = self.state_of(commons) else { return };
        let tags = Tags { commons: commons.clone(), ..Tags::unassigned() };
        #[expect(clippy::cast_precision_loss, reason = "a request has far fewer than 2^53")]
        state.lock().book.count(&INGEST_SAMPLES, &tags, &[], n_samples as f64);
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

    /// Adds up a sample of a series that `Tagger::tag_series` folded, or that a limit refused.
    pub fn fold(&self, commons: &Commons, series: &Folding<'_>, sample: FoldedSample) {
        // Also when nothing is derived: nobody else has these samples.
        let Some(state) = self.any_state_of(commons) else { return };
        let Shared { config, tagger, clock, metrics, .. } = &*self.shared;
        // How long a sender is silent and we are new is time that passes, wherever the clock is set.
        let now_ns = i64::try_from(clock.monotonic_ns()).unwrap_or(i64::MAX);
        let mut state = state.lock();
        let folds = state.folds.get_or_insert_with(|| {
            let warm_up_ns = config.fold_warm_up.as_ms().saturating_mul(1_000_000);
            Folds::new(now_ns, warm_up_ns, config.folded_per_commons_max)
        });
        let rule_of = |metric: &str| tagger.counter_rule(metric).filter(|_| config.enabled);
        if !folds.add(series, rule_of, sample, now_ns) {
            metrics.overflowed("senders", 1);
        }
    }

    /// Returns every derived series' current value.
    pub fn collect(&self) -> Vec<DerivedSample> {
        let states: Vec<_> = self.shared.by_commons.read().values().map(Arc::clone).collect();
        let mut samples = Vec::new();
        for state in states {
            let mut state = state.lock();
            let State { commons, book, users, folds, spans, .. } = &mut *state;
            let commons_alone = Tags { commons: commons.clone(), ..Tags::unassigned() };
            for (window, n) in users.estimates(self.shared.clock.now_ns().div_euclid(SECOND_NS)) {
                book.set(&UNIQUE_USERS, &commons_alone, &[("window", window)], n);
            }
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
        if self.shared.config.enabled { self.any_state_of(commons) } else { None }
    }

    /// Returns the state of a commons, or `None` when there are too many commons.
    fn any_state_of(&self, commons: &Commons) -> Option<Arc<Mutex<State>>> {
        let config = &self.shared.config;
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
                users: Users::default(),
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

/// When a line was written, and when it came.
#[derive(Debug, Clone, Copy)]
struct When {
    at_ns: i64,
    now_ns: i64,
}

/// A line, and what was made of it already.
struct Seen<'a> {
    resource: &'a str,
    body: &'a str,
    line: Line<'a>,
    edge: Option<&'a requests::Edge>,
}

impl State {
    /// Counts a line.
    fn observe_line(&mut self, tagger: &Tagger, tags: &Tags, seen: &Seen<'_>, when: When) {
        let Seen { resource, body, line, edge } = seen;
        let Self { book, jobs, users, .. } = self;
        let service = tags.service.as_deref().unwrap_or("");
        let (rules, job) = (tagger.line_rules(service), service.strip_prefix("job:"));
        if book.count(&LOG_LINES, tags, &[("level", line.level)], 1.0) {
            marks::announce(book, tags, rules);
            job.into_iter().for_each(|job| jobs::announce(book, tags, job));
        }
        let mut is_whole = line.is_whole;
        if let (Format::Revproxy, Some(request)) = (line.format, &line.request) {
            is_whole &= requests::observe(book, tagger, tags, request, *edge);
            let user = request.user.unwrap_or("");
            users.observe(
                user,
                when.at_ns.div_euclid(SECOND_NS),
                when.now_ns.div_euclid(SECOND_NS),
            );
        }
        if !is_whole {
            book.count(&PARSE_ERRORS, tags, &[("format", line.format.as_str())], 1.0);
        }
        marks::observe(book, tags, rules, line);
        if let Some(job) = job {
            let at_s = seconds(when.at_ns.min(when.now_ns));
            jobs.observe(book, tags, tagger.job_markers(), at_s, Said { job, resource, body });
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "ms since 1970 fit a double exactly")]
fn seconds(timestamp_ns: i64) -> f64 {
    timestamp_ns.div_euclid(1_000_000) as f64 / 1_000.0
}
