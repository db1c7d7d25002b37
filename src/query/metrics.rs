//! What the query room counts about itself.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::error::QueryError;

type DialectOutcome = [(&'static str, &'static str); 2];
type Reason = [(&'static str, &'static str); 1];
type Limit = [(&'static str, &'static str); 1];
type Outcome = [(&'static str, &'static str); 1];

fn query_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.5, 13))
}

/// The query room's own metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    seconds: Family<DialectOutcome, Histogram, fn() -> Histogram>,
    worker_restarts: Family<Reason, Counter>,
    limited: Family<Limit, Counter>,
    on_the_spot: Family<Outcome, Counter>,
    running: Gauge,
    waiting: Gauge,
    workers_busy: Gauge,
    /// What PromQL questions hold together.
    pub(super) memory_bytes: Gauge,
}

impl Metrics {
    /// Returns the metrics, registered under `commonwatch_query_…`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            seconds: Family::new_with_constructor(query_seconds),
            worker_restarts: Family::default(),
            limited: Family::default(),
            on_the_spot: Family::default(),
            running: Gauge::default(),
            waiting: Gauge::default(),
            workers_busy: Gauge::default(),
            memory_bytes: Gauge::default(),
        };
        registry.register_with_unit(
            "commonwatch_query",
            "How long questions took, by dialect and outcome",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register(
            "commonwatch_query_worker_restarts",
            "SQL processes that were ended or died, by reason",
            metrics.worker_restarts.clone(),
        );
        registry.register(
            "commonwatch_query_limited",
            "Questions that a limit refused, ended or cut off, by the limit's key",
            metrics.limited.clone(),
        );
        registry.register(
            "commonwatch_query_on_the_spot",
            "Questions begun by the thread that read them: answered there, or handed on",
            metrics.on_the_spot.clone(),
        );
        for (name, help, gauge) in [
            ("running", "Questions being answered now", &metrics.running),
            ("waiting", "Questions that wait for their turn", &metrics.waiting),
            ("workers_busy", "SQL processes that answer a question now", &metrics.workers_busy),
            ("memory_bytes", "Memory that PromQL questions hold now", &metrics.memory_bytes),
        ] {
            registry.register(format!("commonwatch_query_{name}"), help, gauge.clone());
        }
        metrics
    }

    /// Counts one answered, refused or failed question.
    pub(super) fn answered(&self, dialect: &'static str, outcome: &'static str, seconds: f64) {
        self.seconds.get_or_create(&[("dialect", dialect), ("outcome", outcome)]).observe(seconds);
    }

    /// Counts one SQL process that had to be replaced.
    pub(super) fn worker_restarted(&self, reason: &'static str) {
        self.worker_restarts.get_or_create(&[("reason", reason)]).inc();
    }

    /// Counts a question that was begun by the thread that read it.
    pub(super) fn on_the_spot(&self, is_answered: bool) {
        let outcome = if is_answered { "answered" } else { "handed_on" };
        self.on_the_spot.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Counts a question that a limit refused, ended or cut off.
    pub(super) fn limited(&self, key: &'static str) {
        self.limited.get_or_create(&[("limit", key)]).inc();
    }

    /// Counts an answer that there is not, because of a limit.
    pub(super) fn note_limit<T>(&self, answer: &Result<T, QueryError>) {
        if let Some(key) = answer.as_ref().err().and_then(QueryError::limit) {
            self.limited(key);
        }
    }

    /// Counts a question as running until the returned value is dropped.
    pub(super) fn running(&self) -> Counted {
        Counted::one_of(&self.running)
    }

    /// Counts a question as waiting until the returned value is dropped.
    pub(super) fn waiting(&self) -> Counted {
        Counted::one_of(&self.waiting)
    }

    /// Counts a process for SQL as busy until the returned value is dropped.
    pub(super) fn worker_busy(&self) -> Counted {
        Counted::one_of(&self.workers_busy)
    }
}

/// One of those that a gauge counts.
#[derive(Debug)]
pub(super) struct Counted(Gauge);

impl Counted {
    fn one_of(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
