//! What the query room counts about itself.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

type DialectOutcome = [(&'static str, &'static str); 2];
type Reason = [(&'static str, &'static str); 1];

fn query_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.5, 13))
}

/// The query room's own metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    seconds: Family<DialectOutcome, Histogram, fn() -> Histogram>,
    worker_restarts: Family<Reason, Counter>,
    running: Gauge,
}

impl Metrics {
    /// Returns the metrics, registered under `commonwatch_query_…`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            seconds: Family::new_with_constructor(query_seconds),
            worker_restarts: Family::default(),
            running: Gauge::default(),
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
            "commonwatch_query_running",
            "Questions being answered now",
            metrics.running.clone(),
        );
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

    /// Counts a question as running until the returned value is dropped.
    pub(super) fn running(&self) -> Running {
        self.running.inc();
        Running(self.running.clone())
    }
}

/// A question under way.
#[derive(Debug)]
pub(super) struct Running(Gauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}
