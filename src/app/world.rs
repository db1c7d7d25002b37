//! What the rules are handed of the world: they ask as a reader of everything, record through the
//! store, and fire at the notifier.

use std::sync::Arc;

use async_trait::async_trait;
use tracing::warn;

use super::samples::{self, OwnSample};
use super::timers;
use crate::api::{Ask, AskLogs, answer_question};
use crate::base::clock::SharedClock;
use crate::model::{AlertEvent, Grant, Labels, SeriesMeta};
use crate::notify;
use crate::rules::{Question, Row, World};
use crate::storage::{StateStore, Storage};

/// The world of the rules.
pub(super) struct RuleWorld {
    pub(super) ask: Arc<dyn Ask>,
    pub(super) logs: Arc<dyn AskLogs>,
    pub(super) storage: Storage,
    pub(super) notifier: notify::Handle,
    pub(super) grant: Grant,
    pub(super) external_url: Arc<str>,
    pub(super) state: Arc<StateStore>,
    pub(super) clock: SharedClock,
}

#[async_trait]
impl World for RuleWorld {
    async fn ask(
        &self,
        question: Question<'_>,
        time_ms: i64,
    ) -> Result<Vec<(Labels, f64)>, String> {
        answer_question((&*self.ask, &*self.logs), &self.grant, question, time_ms).await
    }

    async fn record(&self, rows: Vec<Row>) -> Result<(), String> {
        store(&self.storage, rows).await
    }

    async fn remember(&self, group: String, value: Option<Vec<u8>>) {
        timers::remember(&self.state, (group, value), self.clock.now_ms()).await;
    }

    async fn fire(&self, mut events: Vec<AlertEvent>) {
        events.iter_mut().for_each(|event| link(event, &self.external_url));
        if let Err(error) = self.notifier.fire(events).await {
            // Firing alerts are told again at every resend, so the next one is heard.
            warn!(%error, "alerts were not handed to the notifier");
        }
    }
}

/// The annotation that leads to what explains an alert.
const EXPLAIN_URL: &str = "explain_url";

/// Gives an alert the link to its explanation, unless its rule gives it one.
pub(super) fn link(event: &mut AlertEvent, external_url: &str) {
    let fingerprint = notify::fingerprint_of(&event.labels);
    let started = event.starts_at_ms;
    event.annotations.entry(EXPLAIN_URL.to_owned()).or_insert_with(|| {
        format!(
            "{external_url}/api/v1/admin/alerts/explain?fingerprint={fingerprint}&started={}.{:03}",
            started.div_euclid(1_000),
            started.rem_euclid(1_000)
        )
    });
}

/// Stores what rules found.
pub(super) async fn store(storage: &Storage, rows: Vec<Row>) -> Result<(), String> {
    let own = |(labels, timestamp_ms, value)| OwnSample {
        labels,
        meta: SeriesMeta::default(),
        timestamp_ms,
        value,
    };
    samples::store(storage, rows.into_iter().map(own).collect()).await
}
