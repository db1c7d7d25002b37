//! What the room counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::book::{Inventory, ItemState};

type StateLabels = [(&'static str, &'static str); 1];

const STATES: [(ItemState, &str); 5] = [
    (ItemState::Reporting, "reporting"),
    (ItemState::Quiet, "quiet"),
    (ItemState::Dark, "dark"),
    (ItemState::NeverSeen, "never_seen"),
    (ItemState::InMaintenance, "in_maintenance"),
];

/// The room's own metrics.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    items: Family<StateLabels, Gauge>,
    refused: Counter,
}

impl Metrics {
    /// Registers the metrics and returns the handles to them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "commonwatch_inventory_items",
            "Commons and services by signal, by state",
            metrics.items.clone(),
        );
        registry.register(
            "commonwatch_inventory_refused",
            "What was seen and is not remembered because inventory.items_max are",
            metrics.refused.clone(),
        );
        metrics
    }

    /// Takes note of where everything stands.
    pub fn note(&self, inventory: &mut Inventory) {
        let views = inventory.views();
        for (state, name) in STATES {
            let n_items = views.iter().filter(|view| view.state == state).count();
            let gauge = self.items.get_or_create(&[("state", name)]);
            gauge.set(i64::try_from(n_items).unwrap_or(i64::MAX));
        }
        self.refused.inc_by(inventory.take_refused());
    }
}
