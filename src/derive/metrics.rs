//! What deriving counts of itself.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhatLabel {
    what: &'static str,
}

/// Counters of what did not fit, and the number of derived samples. Clones share their numbers.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    overflows: Family<WhatLabel, Counter>,
    samples: Gauge,
}

impl Metrics {
    /// Returns counters that `registry` shows.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        // All of them from the start: what has not happened is 0.
        for what in ["series", "span_series", "commons", "senders", "edges"] {
            drop(metrics.overflows.get_or_create(&WhatLabel { what }));
        }
        registry.register(
            "commonwatch_derive_overflows",
            "Observations beyond a limit: counted under `other` (series, span_series) or not at all \
             (commons, senders, edges)",
            metrics.overflows.clone(),
        );
        registry.register(
            "commonwatch_derive_samples",
            "Samples given by the last collection of derived series",
            metrics.samples.clone(),
        );
        metrics
    }

    pub(super) fn overflowed(&self, what: &'static str, by: u64) {
        if by > 0 {
            self.overflows.get_or_create(&WhatLabel { what }).inc_by(by);
        }
    }

    pub(super) fn collected(&self, n_samples: usize) {
        self.samples.set(i64::try_from(n_samples).unwrap_or(i64::MAX));
    }
}
