//! What the room counts about itself.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

type OutcomeLabels = [(&'static str, &'static str); 1];

/// The room's own metrics. Names of groups are not labels: files are edited by many, and `/api/v1/rules`
/// shows each group's health.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(super) evaluations: Family<OutcomeLabels, Counter>,
    pub(super) missed: Counter,
    pub(super) duration: Histogram,
    pub(super) reloads: Family<OutcomeLabels, Counter>,
    pub(super) groups: Gauge,
    pub(super) alerts: Family<OutcomeLabels, Gauge>,
}

impl Metrics {
    /// Registers the metrics and returns the handles to them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        // A counter that first appears with 1 has not grown, as far as `increase` knows.
        for outcome in ["ok", "failed"] {
            drop(metrics.evaluations.get_or_create(&[("outcome", outcome)]));
        }
        registry.register(
            "commonwatch_rules_evaluations",
            "Rules evaluated, by outcome: ok or failed",
            metrics.evaluations.clone(),
        );
        registry.register(
            "commonwatch_rules_missed_iterations",
            "Evaluations of groups that were skipped because the one before took too long",
            metrics.missed.clone(),
        );
        registry.register(
            "commonwatch_rules_group_duration_seconds",
            "How long one evaluation of a group took",
            metrics.duration.clone(),
        );
        registry.register(
            "commonwatch_rules_reloads",
            "Reloads of the rule files, by outcome: ok or refused",
            metrics.reloads.clone(),
        );
        registry.register("commonwatch_rules_groups", "Groups in force", metrics.groups.clone());
        registry.register(
            "commonwatch_rules_alerts",
            "Alerts by state: pending or firing",
            metrics.alerts.clone(),
        );
        metrics
    }

    pub(super) fn evaluated(&self, is_ok: bool) {
        let outcome = if is_ok { "ok" } else { "failed" };
        self.evaluations.get_or_create(&[("outcome", outcome)]).inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            evaluations: Family::default(),
            missed: Counter::default(),
            duration: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            reloads: Family::default(),
            groups: Gauge::default(),
            alerts: Family::default(),
        }
    }
}
