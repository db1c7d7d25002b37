//! Grouping and outboxes on a clock, over a store.
//!
//! Order of writing: a notification is stored before the group that remembers it was told. A crash in
//! between makes the next process decide the same thing again and write the same entry under the same
//! key, so nothing is lost and the receiver can tell a doublet by its `Idempotency-Key`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use xxhash_rust::xxh3::xxh3_128;

use crate::base::clock::SharedClock;
use crate::model::AlertEvent;

use super::group::{Groups, Notification, Settings};
use super::outbox::{Entry, Fate, Outbox};
use super::send::{Delivery, Outcome, Sender};
use super::{Config, Metrics, NotifyError, Receiver, Store, payload};

/// How often the clock is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How many tellings may wait for the notifier.
const INBOX_MAX: usize = 64;
/// How long a stop waits for attempts under way.
const STOP_WITHIN: Duration = Duration::from_secs(3);

const OUTBOX: &str = "outbox/";
const GROUP: &str = "group/";

/// What the notifier is made of.
#[derive(Clone)]
pub struct Parts {
    /// Where it remembers.
    pub store: Arc<dyn Store>,
    /// How it sends.
    pub sender: Arc<dyn Sender>,
    /// Where the time comes from.
    pub clock: SharedClock,
    /// What it counts.
    pub metrics: Metrics,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

/// One receiver with what waits for it.
#[derive(Debug)]
struct Desk {
    receiver: Receiver,
    outbox: Outbox,
}

/// Tells people of alerts.
#[derive(Debug)]
pub struct Notifier {
    parts: Parts,
    external_url: String,
    groups: Groups,
    /// By the receiver's name.
    desks: BTreeMap<String, Desk>,
}

/// An attempt to be made.
#[derive(Debug)]
struct Attempt {
    entry: Entry,
    delivery: Delivery,
}

/// An attempt that was made.
#[derive(Debug)]
struct Attempted {
    entry: Entry,
    outcome: Outcome,
}

type Telling = (Vec<AlertEvent>, oneshot::Sender<()>);

/// Hands alerts to the notifier's task.
#[derive(Debug, Clone)]
pub struct Handle {
    inbox: mpsc::Sender<Telling>,
}

impl Handle {
    /// Returns a handle and what [`Notifier::run`] takes.
    pub fn channel() -> (Self, Inbox) {
        let (sender, receiver) = mpsc::channel(INBOX_MAX);
        (Self { inbox: sender }, Inbox(receiver))
    }

    /// Hands alerts over; returns when they are stored.
    pub async fn fire(&self, events: Vec<AlertEvent>) -> Result<(), NotifyError> {
        let (reply, stored) = oneshot::channel();
        self.inbox.send((events, reply)).await.map_err(|_| NotifyError::Stopped)?;
        stored.await.map_err(|_| NotifyError::Stopped)
    }
}

/// The notifier's end of [`Handle::channel`].
#[derive(Debug)]
pub struct Inbox(mpsc::Receiver<Telling>);

impl Notifier {
    /// Returns a notifier that goes on where the one before it stopped.
    pub async fn open(config: &Config, parts: Parts) -> Result<Self, NotifyError> {
        let desk = |receiver: Receiver| {
            (receiver.name.clone(), Desk { receiver, outbox: Outbox::default() })
        };
        let mut notifier = Self {
            external_url: config.external_url.clone(),
            groups: Groups::new(Settings::from(config)),
            desks: config.receivers().into_iter().map(desk).collect(),
            parts,
        };
        notifier.load().await?;
        notifier.count();
        Ok(notifier)
    }

    async fn load(&mut self) -> Result<(), NotifyError> {
        let now_ms = self.parts.clock.now_ms();
        for (key, bytes) in self.parts.store.list(GROUP).await.map_err(NotifyError::Store)? {
            match serde_json::from_slice(&bytes) {
                Ok(group) => self.groups.restore(group, now_ms),
                Err(error) => warn!(key, %error, "a stored group cannot be read and is left out"),
            }
        }
        for (key, bytes) in self.parts.store.list(OUTBOX).await.map_err(NotifyError::Store)? {
            let entry: Entry = match serde_json::from_slice(&bytes) {
                Ok(entry) => entry,
                Err(error) => {
                    warn!(key, %error, "a stored notification cannot be read and is left out");
                    continue;
                }
            };
            match self.desks.get_mut(&entry.receiver) {
                Some(desk) => desk.outbox.restore(entry),
                None => {
                    info!(receiver = entry.receiver, "nobody of this name is told any more");
                    self.delete(&key).await;
                }
            }
        }
        Ok(())
    }

    /// Takes what the rules tell; it is stored when this returns.
    pub async fn accept(&mut self, events: Vec<AlertEvent>) {
        let changed = self.groups.accept(events, self.parts.clock.now_ms());
        for key in changed {
            self.store_group(&key).await;
        }
    }

    /// Decides what is due now, and makes every attempt that is; returns when they have ended. For
    /// callers that own the clock; a server calls [`Notifier::run`].
    pub async fn tick(&mut self) {
        self.decide().await;
        for attempt in self.take_due() {
            let outcome = self.parts.sender.send(&attempt.delivery).await;
            self.settle(Attempted { entry: attempt.entry, outcome }).await;
        }
    }

    /// Runs until told to stop. What was handed over by then is stored, and attempts under way are
    /// waited for briefly; the rest is sent by the next process.
    pub async fn run(mut self, mut inbox: Inbox, shutdown: CancellationToken) {
        let mut under_way = FuturesUnordered::new();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mut attempted = None;
            let mut telling = None;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                done = under_way.next(), if !under_way.is_empty() => attempted = done,
                told = inbox.0.recv(), if !inbox.0.is_closed() => telling = told,
                _ = look.tick() => {}
            }
            if let Some(attempted) = attempted {
                self.settle(attempted).await;
            }
            if let Some(telling) = telling {
                self.take(telling).await;
            }
            self.decide().await;
            for attempt in self.take_due() {
                let sender = Arc::clone(&self.parts.sender);
                let clock = Arc::clone(&self.parts.clock);
                let duration = self.parts.metrics.send_duration.clone();
                under_way.push(async move {
                    let start_ns = clock.monotonic_ns();
                    let outcome = sender.send(&attempt.delivery).await;
                    duration.observe(secs(clock.monotonic_ns().saturating_sub(start_ns)));
                    Attempted { entry: attempt.entry, outcome }
                });
            }
        }
        self.drain(inbox, under_way).await;
    }

    async fn drain<F: Future<Output = Attempted>>(
        &mut self,
        mut inbox: Inbox,
        mut under_way: FuturesUnordered<F>,
    ) {
        inbox.0.close();
        while let Some(telling) = inbox.0.recv().await {
            self.take(telling).await;
        }
        let finish = async {
            while let Some(attempted) = under_way.next().await {
                self.settle(attempted).await;
            }
        };
        if tokio::time::timeout(STOP_WITHIN, finish).await.is_err() {
            info!("attempts under way were left; they are made again after a restart");
        }
    }

    async fn take(&mut self, (events, reply): Telling) {
        self.accept(events).await;
        // Whoever told may have gone; the alert is stored all the same.
        let _ = reply.send(());
    }

    /// Looks at the groups that are due and puts what is to be told into the outboxes.
    async fn decide(&mut self) {
        let now_ms = self.parts.clock.now_ms();
        let desks = &self.desks;
        let is_waiting = |key: &str| desks.values().any(|desk| desk.outbox.holds(key));
        let (news, looked_at) = self.groups.look(now_ms, is_waiting);
        let mut entries = Vec::new();
        for news in &news {
            for desk in self.desks.values_mut() {
                let body = payload::body(&desk.receiver, news, &self.external_url);
                let id = idempotency_key(&desk.receiver.name, news);
                let name = &desk.receiver.name;
                entries.extend(desk.outbox.push(id, name, &news.group_key, body, now_ms));
            }
        }
        for entry in &entries {
            self.put(&entry_key(entry), entry).await;
        }
        for key in &looked_at {
            self.store_group(key).await;
        }
        self.shed(now_ms).await;
        self.count();
    }

    async fn shed(&mut self, now_ms: i64) {
        let desks = self.desks.values_mut();
        let shed: Vec<_> = desks.flat_map(|desk| desk.outbox.shed(now_ms)).collect();
        for (entry, why) in shed {
            error!(
                receiver = entry.receiver,
                group = entry.group_key,
                why,
                "an alert was not told"
            );
            self.parts.metrics.ended(why);
            self.delete(&entry_key(&entry)).await;
        }
    }

    fn take_due(&mut self) -> Vec<Attempt> {
        let now_ms = self.parts.clock.now_ms();
        let mut attempts = Vec::new();
        for desk in self.desks.values_mut() {
            for entry in desk.outbox.take_due(now_ms) {
                let delivery = Delivery {
                    receiver: desk.receiver.clone(),
                    idempotency_key: entry.id.clone(),
                    body: entry.body.clone(),
                };
                attempts.push(Attempt { entry, delivery });
            }
        }
        attempts
    }

    async fn settle(&mut self, Attempted { entry, outcome }: Attempted) {
        let Some(desk) = self.desks.get_mut(&entry.receiver) else {
            return;
        };
        let now_ms = self.parts.clock.now_ms();
        let fate = desk.outbox.settle(entry.seq, &outcome, now_ms);
        let host = desk.receiver.url.host().to_owned();
        let group = &entry.group_key;
        match (&outcome, fate) {
            (Outcome::Failed { reason, .. }, Fate::Stays { pause_ms }) => {
                self.parts.metrics.ended("retried");
                warn!(host, group, reason, pause_ms, "a notification failed and is tried again");
            }
            (Outcome::Refused { status }, _) => {
                error!(host, group, status, "the receiver refused a notification for good");
            }
            _ => {
                debug!(host, group, "a notification was delivered");
                let delay_ms = (now_ms - entry.created_ms).max(0).unsigned_abs();
                self.parts.metrics.delivery_delay.observe(secs(delay_ms.saturating_mul(1_000_000)));
            }
        }
        if let Fate::Leaves(outcome) = fate {
            self.parts.metrics.ended(outcome);
            self.delete(&entry_key(&entry)).await;
        }
        self.count();
    }

    async fn store_group(&mut self, key: &str) {
        let place = group_key(key);
        match self.groups.get(key).cloned() {
            Some(group) => self.put(&place, &group).await,
            None => self.delete(&place).await,
        }
    }

    async fn put(&self, key: &str, value: &impl serde::Serialize) {
        let bytes = serde_json::to_vec(value).expect("texts, integers and maps are always JSON");
        if let Err(error) = self.parts.store.put(key, bytes).await {
            self.parts.metrics.store_failures.inc();
            error!(key, error, "cannot store; a crash now would lose this notification");
        }
    }

    async fn delete(&self, key: &str) {
        if let Err(error) = self.parts.store.delete(key).await {
            self.parts.metrics.store_failures.inc();
            warn!(key, error, "cannot remove; it may be sent once more after a restart");
        }
    }

    fn count(&self) {
        let n_queued: usize = self.desks.values().map(|desk| desk.outbox.len()).sum();
        self.parts.metrics.queued.set(i64::try_from(n_queued).unwrap_or(i64::MAX));
        self.parts.metrics.groups.set(i64::try_from(self.groups.len()).unwrap_or(i64::MAX));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a duration in ns fits a double")]
fn secs(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn entry_key(entry: &Entry) -> String {
    format!("{OUTBOX}{}/{}", entry.receiver, entry.id)
}

fn group_key(key: &str) -> String {
    format!("{GROUP}{:032x}", xxh3_128(key.as_bytes()))
}

/// Returns what names this transition for this receiver: who, which group, which alerts in which
/// state since when, and the how manieth telling it is.
fn idempotency_key(receiver: &str, news: &Notification) -> String {
    let mut text = format!("{receiver}\0{}\0{} {}", news.group_key, news.since_ms, news.n);
    for alert in &news.alerts {
        let fingerprint = payload::fingerprint(&alert.labels);
        text.push_str(&format!("\0{fingerprint:x} {} {}", alert.starts_at_ms, alert.resolved));
    }
    format!("{:032x}", xxh3_128(text.as_bytes()))
}
