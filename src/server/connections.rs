//! How many connections there may be: in all, and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{ClosedLabels, Config, Metrics, files};

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Counts the open connections. Cloning costs a few counters.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    counts: Arc<Mutex<Counts>>,
    total_max: usize,
    per_address_max: usize,
    pub(super) metrics: Metrics,
}

/// A connection's place; dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    connections: Connections,
    address: IpAddr,
}

impl Connections {
    pub(super) fn new(config: &Config, metrics: Metrics) -> Self {
        Self {
            counts: Arc::default(),
            total_max: files::connections_that_fit(config.connections_max),
            per_address_max: config.connections_per_address_max,
            metrics,
        }
    }

    /// Returns a place for one more connection, or `None` when a limit is reached.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let mut counts = self.counts.lock();
        let n_of_address = counts.by_address.get(&address).copied().unwrap_or(0);
        // A reverse proxy on this machine brings everyone from one loopback address.
        let is_full = n_of_address >= self.per_address_max && !address.is_loopback();
        let reason = match (counts.total >= self.total_max, is_full) {
            (true, _) => Some("connections_max"),
            (_, true) => Some("connections_per_address_max"),
            _ => None,
        };
        if let Some(reason) = reason {
            self.metrics.refused.get_or_create(&ClosedLabels { reason }).inc();
            return None;
        }
        counts.total += 1;
        *counts.by_address.entry(address).or_insert(0) += 1;
        self.metrics.open.inc();
        Some(Place { connections: self.clone(), address })
    }

    /// Counts a connection that we closed.
    pub(super) fn count_closed(&self, reason: &'static str) {
        self.metrics.closed.get_or_create(&ClosedLabels { reason }).inc();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.connections.counts.lock();
        counts.total -= 1;
        if let Some(n) = counts.by_address.get_mut(&self.address) {
            *n -= 1;
            if *n == 0 {
                counts.by_address.remove(&self.address);
            }
        }
        self.connections.metrics.open.dec();
    }
}
