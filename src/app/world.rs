//! What the rules are handed of the world: they ask as a reader of everything, record through the
//! store, and fire at the notifier.

use std::sync::Arc;

use async_trait::async_trait;
use tracing::warn;

use super::samples::{self, OwnSample};
use crate::api::{Ask, AskOptions};
use crate::model::{AlertEvent, Grant, Labels, SeriesMeta};
use crate::notify;
use crate::query::promql::Value;
use crate::rules::{Row, World};
use crate::storage::Storage;

const HISTOGRAM: &str = "the expression gives native histograms, and rules work on numbers: take \
    histogram_count, histogram_quantile or the like of them";

/// The world of the rules.
pub(super) struct RuleWorld {
    pub(super) ask: Arc<dyn Ask>,
    pub(super) storage: Storage,
    pub(super) notifier: notify::Handle,
    pub(super) grant: Grant,
}

#[async_trait]
impl World for RuleWorld {
    async fn ask(&self, expr: &str, time_ms: i64) -> Result<Vec<(Labels, f64)>, String> {
        let answer = self.ask.instant(&self.grant, expr, time_ms, AskOptions::default()).await;
        match answer.map_err(|error| error.to_string())?.value {
            Value::Scalar { value, .. } => Ok(vec![(Labels::empty(), value)]),
            Value::Vector(samples) => {
                if samples.iter().any(|sample| sample.histogram.is_some()) {
                    return Err(HISTOGRAM.to_owned());
                }
                Ok(samples.into_iter().map(|s| (s.labels, s.value)).collect())
            }
            Value::Matrix(_) | Value::String { .. } => {
                Err("the expression gives neither a vector nor a number".to_owned())
            }
        }
    }

    async fn record(&self, rows: Vec<Row>) -> Result<(), String> {
        let own = |(labels, timestamp_ms, value)| OwnSample {
            labels,
            meta: SeriesMeta::default(),
            timestamp_ms,
            value,
        };
        samples::store(&self.storage, rows.into_iter().map(own).collect()).await
    }

    async fn fire(&self, events: Vec<AlertEvent>) {
        if let Err(error) = self.notifier.fire(events).await {
            // Firing alerts are told again at every resend, so the next one is heard.
            warn!(%error, "alerts were not handed to the notifier");
        }
    }
}
