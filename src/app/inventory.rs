//! Watching what has gone dark: the store is asked what was seen, the notifier is told what is missing.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::timers::every;
use super::world::link;
use crate::api::{Ask, AskOptions};
use crate::base::AgeClock;
use crate::base::clock::SharedClock;
use crate::inventory::{Config, Inventory, Item, Metrics, Seen};
use crate::model::{AlertEvent, Grant, Labels, Signal};
use crate::notify;
use crate::query::promql::Value;
use crate::storage::StateStore;

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Where the inventory is kept.
const STATE: (&str, &str) = ("inventory", "items");

/// What was last heard of each signal of each commons.
const COMMONS: &str =
    "max by (commons, signal) (csoc_last_seen_timestamp_seconds{commons!~\"|_.*\"})";
/// Which services wrote a line lately.
const LOGS: &str = "max by (commons, service) (timestamp(increase(csoc_log_lines_total{commons!~\"|_.*\"}[3m]) > 0))";
/// Which services were scraped, or said themselves what they are.
const METRICS: &str =
    "max by (commons, service) (timestamp({__name__=~\"up|target_info\", commons!~\"|_.*\"}))";

/// What the watch is made of.
pub(super) struct Watch {
    pub(super) inventory: Arc<Mutex<Inventory>>,
    pub(super) ask: Arc<dyn Ask>,
    pub(super) grant: Grant,
    pub(super) notifier: notify::Handle,
    pub(super) state: Arc<StateStore>,
    pub(super) external_url: String,
    pub(super) metrics: Metrics,
}

/// Returns the inventory as an earlier process left it.
pub(super) fn open(config: &Config, state: &StateStore, now_ms: i64) -> Arc<Mutex<Inventory>> {
    let mut inventory = Inventory::new(config.clone(), now_ms);
    let restored = match state.get(STATE.0, STATE.1) {
        Ok(Some(bytes)) => inventory.restore(&bytes),
        Ok(None) => Ok(()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = restored {
        error!(error, "what was known to report was not read: it is learned anew");
    }
    Arc::new(Mutex::new(inventory))
}

/// Looks every minute until told to stop.
pub(super) async fn watch(watch: Watch, clock: SharedClock, shutdown: CancellationToken) {
    let watch = Arc::new(watch);
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut ages = AgeClock::default();
    let heard_ms = watch.inventory.lock().heard_ms();
    every(Arc::clone(&clock), LOOK_EVERY, shutdown, |now_ms| {
        let (watch, told) = (Arc::clone(&watch), Arc::clone(&told));
        let last_ns = || heard_ms.map(|ms| ms.saturating_mul(1_000_000));
        let aging_ns = ages.look(clock.now_ns(), clock.monotonic_ns(), last_ns);
        async move {
            let before = std::mem::take(&mut *told.lock());
            let times_ms = (now_ms, aging_ns.div_euclid(1_000_000));
            let now_told = watch.look(before, times_ms).await;
            *told.lock() = now_told;
        }
    })
    .await;
}

impl Watch {
    /// Looks once; returns the alerts that are told now, given those told before. What was learned is
    /// forgotten by a time of its own.
    async fn look(
        &self,
        before: Vec<AlertEvent>,
        (now_ms, aging_ms): (i64, i64),
    ) -> Vec<AlertEvent> {
        let mut seen = Vec::new();
        for (query, signal) in
            [(COMMONS, None), (LOGS, Some(Signal::Logs)), (METRICS, Some(Signal::Metrics))]
        {
            match self.seen(query, signal, now_ms).await {
                Ok(found) => seen.extend(found),
                Err(reason) => {
                    // Not knowing is not silence: no item moves.
                    warn!(reason, "what reports was not looked at");
                    return before;
                }
            }
        }
        {
            let mut inventory = self.inventory.lock();
            inventory.look(seen, now_ms);
            inventory.forget(aging_ms);
        }
        self.mark_maintenance().await;
        self.metrics.note(&mut self.inventory.lock());
        let (alerts, ended) = {
            let inventory = self.inventory.lock();
            (inventory.alerts(now_ms, &self.external_url), inventory.ended(&before, now_ms))
        };
        let mut events: Vec<AlertEvent> = alerts.iter().cloned().chain(ended).collect();
        events.iter_mut().for_each(|event| link(event, self.external_url.trim_end_matches('/')));
        if !events.is_empty()
            && let Err(error) = self.notifier.fire(events).await
        {
            warn!(%error, "what went dark was not handed to the notifier");
        }
        self.save().await;
        alerts
    }

    async fn seen(
        &self,
        query: &str,
        signal: Option<Signal>,
        now_ms: i64,
    ) -> Result<Vec<Seen>, String> {
        let asked = self.ask.instant(&self.grant, query, now_ms, AskOptions::default());
        let answer = asked.await.map_err(|error| error.to_string())?;
        let Value::Vector(samples) = answer.value else { return Ok(Vec::new()) };
        let found = samples.iter().filter_map(|sample| {
            let item = item(&sample.labels, signal)?;
            #[expect(clippy::cast_possible_truncation, reason = "seconds since 1970 as ms fit")]
            let at_ms = (sample.value * 1e3) as i64;
            Some(Seen { item, at_ms })
        });
        Ok(found.collect())
    }

    /// A silence that holds for the alert of a silent item says that it is in maintenance.
    async fn mark_maintenance(&self) {
        let items: Vec<Item> = self.inventory.lock().silent().cloned().collect();
        let labels = items.iter().map(Item::labels).collect();
        let Ok(silenced) = self.notifier.silenced(labels).await else { return };
        let of = |item: &Item| items.iter().position(|one| one == item);
        self.inventory.lock().set_maintenance(|item| of(item).is_some_and(|idx| silenced[idx]));
    }

    async fn save(&self) {
        let (bytes, state) = (self.inventory.lock().save(), Arc::clone(&self.state));
        let saved = tokio::task::spawn_blocking(move || state.put(STATE.0, STATE.1, &bytes)).await;
        if let Ok(Err(error)) = saved {
            error!(%error, "what is known to report was not saved");
        }
    }
}

/// Returns the item that labels speak of; a signal that the query does not name is in its label.
fn item(labels: &Labels, signal: Option<Signal>) -> Option<Item> {
    let named = || Signal::ALL.into_iter().find(|one| labels.get("signal") == Some(one.as_str()));
    let service = labels.get("service").map(str::to_owned);
    // Of a signal that is asked for by service, what names none says nothing.
    if signal.is_some() && service.is_none() {
        return None;
    }
    let commons = labels.get("commons")?.to_owned();
    Some(Item { commons, service, signal: signal.or_else(named)? })
}
