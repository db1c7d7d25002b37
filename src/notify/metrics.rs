//! What the room counts about itself.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

type OutcomeLabels = [(&'static str, &'static str); 1];

/// How a notification can end, and what happens to it before.
const OUTCOMES: [&str; 6] =
    ["delivered", "refused", "retried", "expired", "dropped", "receiver_gone"];

/// The room's own metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    notifications: Family<OutcomeLabels, Counter>,
    pub(super) queued: Gauge,
    pub(super) groups: Gauge,
    pub(super) alerts: Gauge,
    pub(super) alerts_refused: Counter,
    pub(super) alerts_lumped: Counter,
    pub(super) groups_stormed: Counter,
    pub(super) send_duration: Histogram,
    pub(super) delivery_delay: Histogram,
    pub(super) store_failures: Counter,
}

impl Metrics {
    /// Registers the metrics and returns the handles to them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        // A counter that first appears with 1 has not grown, as far as `increase` knows.
        for outcome in OUTCOMES {
            drop(metrics.notifications.get_or_create(&[("outcome", outcome)]));
        }
        registry.register(
            "commonwatch_notify_notifications",
            "Notifications, by outcome: delivered, refused, retried, expired, dropped or receiver_gone",
            metrics.notifications.clone(),
        );
        registry.register(
            "commonwatch_notify_queued",
            "Notifications in the outbox",
            metrics.queued.clone(),
        );
        registry.register(
            "commonwatch_notify_groups",
            "Groups of alerts that are told together",
            metrics.groups.clone(),
        );
        registry.register(
            "commonwatch_notify_alerts",
            "Alerts that are known: those that fire, and ends that are yet to be told",
            metrics.alerts.clone(),
        );
        registry.register(
            "commonwatch_notify_alerts_refused",
            "Alerts that were not taken because alerting.alerts_max are known",
            metrics.alerts_refused.clone(),
        );
        registry.register(
            "commonwatch_notify_alerts_lumped",
            "Alerts that share a group because there are alerting.groups_max",
            metrics.alerts_lumped.clone(),
        );
        registry.register(
            "commonwatch_notify_groups_stormed",
            "Groups told in a common message because of alerting.storm_groups_max",
            metrics.groups_stormed.clone(),
        );
        registry.register(
            "commonwatch_notify_send_duration_seconds",
            "How long one attempt to deliver took",
            metrics.send_duration.clone(),
        );
        registry.register(
            "commonwatch_notify_delivery_delay_seconds",
            "Time from the decision to tell until the receiver took it",
            metrics.delivery_delay.clone(),
        );
        registry.register(
            "commonwatch_notify_store_failures",
            "Writes of the outbox that failed; the notification is sent from memory",
            metrics.store_failures.clone(),
        );
        metrics
    }

    pub(super) fn ended(&self, outcome: &'static str) {
        debug_assert!(OUTCOMES.contains(&outcome), "{outcome} is in no list of outcomes");
        self.notifications.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Returns how many notifications ended so; for tests.
    #[cfg(test)]
    pub(super) fn n_ended(&self, outcome: &'static str) -> u64 {
        self.notifications.get_or_create(&[("outcome", outcome)]).get()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            notifications: Family::default(),
            queued: Gauge::default(),
            groups: Gauge::default(),
            alerts: Gauge::default(),
            alerts_refused: Counter::default(),
            alerts_lumped: Counter::default(),
            groups_stormed: Counter::default(),
            send_duration: Histogram::new(exponential_buckets(0.005, 2.0, 12)),
            delivery_delay: Histogram::new(exponential_buckets(0.01, 4.0, 12)),
            store_failures: Counter::default(),
        }
    }
}
