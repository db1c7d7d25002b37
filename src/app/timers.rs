//! What happens by the clock: derived and own metrics into the store, saved alerts.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::own_metrics;
use super::samples::{self, Own, OwnExemplar, OwnSample};
use crate::base::clock::SharedClock;
use crate::derive::{Derive, DerivedSample};
use crate::model::labels::METRIC_NAME;
use crate::model::{Commons, LabelsBuilder, MetricKind, SeriesMeta};
use crate::rules::{Memo, RuleSet};
use crate::storage::{StateStore, Storage};

/// How often derived and own metrics are stored.
pub(super) const COLLECT_EVERY: Duration = Duration::from_secs(15);
/// Services of one commons whose series are counted.
const SERVICES_SHOWN: usize = 100;
/// How often the clock is looked at; it may run faster than the world.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often the alerts' state is saved when no alert changes.
const SAVE_EVERY: Duration = Duration::from_secs(30);
/// Where earlier versions kept the alerts' state; where it is kept, a value for each group; and when it
/// was last written, so that a restart knows how long nobody watched.
const STATE: (&str, &str) = ("rules", "alerts");
const GROUPS: &str = "rules-groups";
const SAVED_AT: &str = "saved-at-ms";

/// Runs `act` each time that `every` has passed on the clock, at whole multiples of it.
pub(super) async fn every<F: Future<Output = ()>>(
    clock: SharedClock,
    every: Duration,
    shutdown: CancellationToken,
    mut act: impl FnMut(i64) -> F,
) {
    let every_ms = i64::try_from(every.as_millis()).unwrap_or(i64::MAX);
    let slot = |now_ms: i64| now_ms.div_euclid(every_ms);
    let mut last = slot(clock.now_ms());
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let now = slot(clock.now_ms());
        // A clock that was set back by more than one of them starts the count anew.
        if now > last || now < last - 1 {
            last = now;
            act(now * every_ms).await;
        }
    }
}

/// Stores derived and own metrics.
pub(super) async fn collect(
    clock: SharedClock,
    storage: Storage,
    derive: Derive,
    registry: Arc<Registry>,
    shutdown: CancellationToken,
) {
    every(clock, COLLECT_EVERY, shutdown, |now_ms| {
        storage.note_series();
        let mut samples = own_metrics::samples(&registry, now_ms);
        let derived = derive.collect();
        samples.extend(derived_samples(&derived, now_ms));
        samples.extend(series_samples(&storage, now_ms));
        let exemplars = derived_exemplars(&derived, now_ms);
        let storage = storage.clone();
        async move {
            let own = Own { samples, exemplars, ..Own::default() };
            if let Err(error) = samples::store(&storage, &own).await {
                warn!(%error, "own metrics were not stored");
            }
        }
    })
    .await;
}

/// Of each commons, which service has how many series: where cardinality grows. What is named after
/// nobody's service is one series more, so their number is that of services, which senders make up;
/// the largest of each commons are shown.
fn series_samples(storage: &Storage, now_ms: i64) -> Vec<OwnSample> {
    let mut counts = storage.series_by("service");
    counts.sort_unstable_by(|a, b| (&a.0, b.2, &a.1).cmp(&(&b.0, a.2, &b.1)));
    let of_one_commons = counts.chunk_by(|a, b| a.0 == b.0);
    let shown = of_one_commons.flat_map(|services| services.iter().take(SERVICES_SHOWN));
    let sample = |(commons, service, n): &(Commons, String, usize)| {
        let mut labels = LabelsBuilder::new();
        labels.set(METRIC_NAME, "csoc_series").set("service", service);
        if !commons.is_unassigned() {
            labels.set("commons", commons.as_str());
        }
        #[expect(clippy::cast_precision_loss, reason = "there are far fewer series than 2^53")]
        let value = *n as f64;
        let meta = SeriesMeta { kind: MetricKind::Gauge, ..SeriesMeta::default() };
        OwnSample { labels: labels.build(), meta, timestamp_ms: now_ms, value }
    };
    shown.map(sample).collect()
}

// A counter that appears with 5 has grown by 5: without a 0 before it, `increase()` would not know.
fn derived_samples(derived: &[DerivedSample], now_ms: i64) -> Vec<OwnSample> {
    let step_ms = i64::try_from(COLLECT_EVERY.as_millis()).unwrap_or(i64::MAX);
    let mut samples = Vec::new();
    for sample in derived {
        let at = |timestamp_ms, value| OwnSample {
            labels: sample.labels.clone(),
            meta: sample.meta.clone(),
            timestamp_ms,
            value,
        };
        if sample.born {
            samples.push(at(now_ms - step_ms, 0.0));
        }
        samples.push(at(now_ms, sample.value));
    }
    samples
}

// At the time of the sample that counts them, so that a dot stands where its curve rises.
fn derived_exemplars(derived: &[DerivedSample], now_ms: i64) -> Vec<OwnExemplar> {
    let all =
        derived.iter().flat_map(|sample| sample.examples.iter().map(move |one| (sample, one)));
    let told = all.map(|(sample, example)| OwnExemplar {
        series: sample.labels.clone(),
        exemplar: example.at(now_ms.saturating_mul(1_000_000)),
    });
    told.collect()
}

/// Saves the alerts' state every now and then, so that a restart knows how long nobody watched, and after
/// a reload; an alert that changes is saved when it does (`remember`).
pub(super) async fn save_alerts(
    rules: Arc<RuleSet>,
    state: Arc<StateStore>,
    mut memo: Memo,
    shutdown: CancellationToken,
) {
    let mut changes = rules.changes();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            changed = changes.changed() => if changed.is_err() { break },
            () = tokio::time::sleep(SAVE_EVERY) => if !rules.has_alerts() { continue },
        }
        save(&rules, &state, &mut memo).await;
    }
    save(&rules, &state, &mut memo).await;
}

async fn save(rules: &Arc<RuleSet>, state: &Arc<StateStore>, memo: &mut Memo) {
    let groups = rules.save_changed(memo, true).into_iter();
    let groups = groups.map(|(key, value)| (GROUPS, key, value));
    // The one value of earlier versions is what the groups' own say now.
    let old = (STATE.0, STATE.1.to_owned(), None);
    if !apply(state, groups.chain([old]).collect(), rules.now_ms()).await {
        // What was not written is new at the next try.
        *memo = Memo::of_stored(memo.keys().cloned().collect::<Vec<_>>().iter());
    }
}

/// Stores what is to be remembered of a group of rules.
pub(super) async fn remember(
    state: &Arc<StateStore>,
    group: (String, Option<Vec<u8>>),
    now_ms: i64,
) {
    apply(state, vec![(GROUPS, group.0, group.1)], now_ms).await;
}

/// Stores changes with the time until which they hold; returns whether they are safe.
async fn apply(
    state: &Arc<StateStore>,
    mut changes: Vec<(&'static str, String, Option<Vec<u8>>)>,
    now_ms: i64,
) -> bool {
    changes.push((STATE.0, SAVED_AT.to_owned(), Some(now_ms.to_string().into_bytes())));
    let state = Arc::clone(state);
    match tokio::task::spawn_blocking(move || state.apply(&changes)).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            error!(%error, "the alerts' state was not saved: a restart would forget what fires");
            false
        }
        Err(_) => false,
    }
}

/// How often it is tried to save what a full disk made us keep in memory.
const RETURN_EVERY: Duration = Duration::from_secs(1);

/// Waits until the state is in its file; there is nothing to do when it has been all the time.
pub(super) async fn return_state(state: Arc<StateStore>, shutdown: CancellationToken) {
    loop {
        let looked_at = Arc::clone(&state);
        let look = tokio::task::spawn_blocking(move || looked_at.is_waiting());
        if !look.await.unwrap_or(false) {
            return;
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(RETURN_EVERY) => {}
        }
    }
}

/// Gives the rules what was saved of their alerts; returns what is stored of them.
pub(super) async fn restore_alerts(rules: &RuleSet, state: &StateStore, now_ms: i64) -> Memo {
    let begins = "the alerts' state was not restored: `for` begins anew";
    let groups = state.list(GROUPS).unwrap_or_else(|error| {
        error!(%error, "{begins}");
        Vec::new()
    });
    let old = state.get(STATE.0, STATE.1).unwrap_or_default().into_iter();
    let saved_at = state.get(STATE.0, SAVED_AT).unwrap_or_default();
    let saved_at = saved_at.and_then(|bytes| String::from_utf8_lossy(&bytes).parse::<i64>().ok());
    for bytes in old.chain(groups.iter().map(|(_, bytes)| bytes.clone())) {
        if let Err(error) = rules.restore(&bytes, now_ms, saved_at).await {
            error!(%error, "{begins}");
        }
    }
    Memo::of_stored(groups.iter().map(|(key, _)| key))
}
