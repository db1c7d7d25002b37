//! The dispatcher and the outboxes on a clock, over a store.
//!
//! What is decided, the notification in the outbox, the memory that it was told and its line in the
//! ledger are one transaction, before anything is sent. A notification leaves the outbox only when its
//! receiver took it or refused it for good, so nothing is lost; what is sent twice has the same
//! `Idempotency-Key`. A store that fails stops nobody from being told: what could not be written is
//! kept and written with the next change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use xxhash_rust::xxh3::xxh3_128;

use super::dispatch::{Change, Dispatcher, Limits, Notification};
use super::handle::{Command, Inbox, Reply};
use super::ledger::{self, Ledger, Record, What};
use super::outbox::{Entry, Fate, NewEntry, Outbox};
use super::policy::{Integration, Policy};
use super::said::Words;
use super::send::{Delivery, Outcome, Sender};
use super::{Config, Metrics, NotifyError, Store, payload, sign};
use crate::base::clock::SharedClock;
use crate::base::{AgeClock, LeapWatch};
use crate::model::AlertEvent;

/// How often the clock is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a stop waits for attempts under way.
const STOP_WITHIN: Duration = Duration::from_secs(3);
/// How many commands are answered with one write.
const COMMANDS_MAX: usize = 64;
/// How often the ledger is cut to its limits.
const TRIM_EVERY_MS: i64 = 10 * 60_000;

const OUTBOX: &str = "outbox/";

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

/// One way of telling one receiver, with what waits for it.
#[derive(Debug)]
struct Desk {
    integration: Integration,
    outbox: Outbox,
}

/// Tells people of alerts.
#[derive(Debug)]
pub struct Notifier {
    parts: Parts,
    config: Config,
    dispatcher: Dispatcher,
    /// By their names.
    desks: BTreeMap<String, Desk>,
    ledger: ledger::Writer,
    /// What is to be written with the next transaction, or could not be written with the last.
    unsaved: BTreeMap<String, Option<Vec<u8>>>,
    unsaved_records: Vec<(String, Vec<u8>)>,
    next_trim_ms: i64,
    /// By which something is too old.
    ages: AgeClock,
    leaps: LeapWatch,
}

/// An attempt that is to be made, or was.
#[derive(Debug)]
struct Attempt {
    entry: Entry,
    delivery: Delivery,
}

impl Notifier {
    /// Returns a notifier that goes on where the one before it stopped.
    pub async fn open(
        config: &Config,
        policy: Arc<Policy>,
        parts: Parts,
    ) -> Result<Self, NotifyError> {
        let now_ms = parts.clock.now_ms();
        let stored = parts.store.list().await.map_err(NotifyError::Store)?;
        let dispatcher =
            Dispatcher::restored(Arc::clone(&policy), Limits::from(config), &stored, now_ms);
        let last = parts.store.last_ledger_key().await.map_err(NotifyError::Store)?;
        let mut notifier = Self {
            config: config.clone(),
            dispatcher,
            desks: BTreeMap::new(),
            ledger: ledger::Writer::after(last.as_deref()),
            unsaved: BTreeMap::new(),
            unsaved_records: Vec::new(),
            next_trim_ms: now_ms,
            ages: AgeClock::default(),
            leaps: LeapWatch::default(),
            parts,
        };
        notifier.follow_clock();
        notifier.aging_ms();
        notifier.set_desks(&policy);
        for (key, bytes) in stored.iter().filter(|(key, _)| key.starts_with(OUTBOX)) {
            match serde_json::from_slice(bytes) {
                Ok(entry) => notifier.take_back(entry),
                Err(error) => warn!(key, %error, "a stored notification cannot be read"),
            }
        }
        notifier.save().await;
        notifier.count();
        Ok(notifier)
    }

    /// Returns what reads the ledger.
    pub fn ledger(&self) -> Ledger {
        Ledger { store: Arc::clone(&self.parts.store) }
    }

    fn take_back(&mut self, entry: Entry) {
        match self.desks.get_mut(&entry.desk) {
            Some(desk) => desk.outbox.restore(entry, self.parts.clock.now_ms()),
            None => {
                info!(receiver = entry.desk, "nobody of this name is told any more");
                self.parts.metrics.ended("receiver_gone");
                self.unsaved.insert(entry_key(&entry), None);
                self.give_up(&entry, "receiver_gone");
            }
        }
    }

    /// Gives every way of telling its desk; what waits at one that stays goes on waiting.
    fn set_desks(&mut self, policy: &Policy) {
        let mut old = std::mem::take(&mut self.desks);
        for (name, _, integration) in policy.desks() {
            let outbox = old.remove(&name).map(|desk| desk.outbox).unwrap_or_default();
            self.desks.insert(name, Desk { integration: integration.clone(), outbox });
        }
        let gone = old.into_values().flat_map(|desk| desk.outbox.into_entries());
        gone.collect::<Vec<_>>().into_iter().for_each(|entry| self.take_back(entry));
    }

    /// Takes what the rules tell; it is stored when this returns.
    pub async fn accept(&mut self, events: Vec<AlertEvent>) {
        self.follow_clock();
        let now_ms = self.parts.clock.now_ms();
        let held = events.into_iter().map(|event| super::dispatch::Held::told(event, now_ms));
        self.dispatcher.accept(held.collect(), now_ms);
        self.save().await;
    }

    /// Puts another policy in force.
    pub async fn replace_policy(&mut self, policy: Arc<Policy>) {
        self.set_desks(&policy);
        self.dispatcher.replace_policy(policy, self.parts.clock.now_ms());
        self.save().await;
        info!(n_routes = self.dispatcher.policy().routes.len(), "routes are in force");
    }

    /// Decides what is due now, and makes every attempt that is; returns when they have ended. For
    /// callers that own the clock; a server calls [`Notifier::run`].
    pub async fn tick(&mut self) {
        self.decide().await;
        for attempt in self.take_due() {
            let outcome = self.parts.sender.send(&attempt.delivery).await;
            self.settle(&attempt, &outcome).await;
        }
    }

    /// Runs until told to stop. What was handed over by then is stored, and attempts under way are
    /// waited for briefly; the rest is sent by the next process.
    pub async fn run(mut self, mut inbox: Inbox, shutdown: CancellationToken) {
        let mut under_way = FuturesUnordered::new();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut commands = Vec::with_capacity(COMMANDS_MAX);
        loop {
            let mut attempted = None;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                done = under_way.next(), if !under_way.is_empty() => attempted = done,
                _ = inbox.0.recv_many(&mut commands, COMMANDS_MAX), if !inbox.0.is_closed() => {}
                _ = look.tick() => {}
            }
            if let Some((attempt, outcome)) = attempted {
                self.settle(&attempt, &outcome).await;
            }
            self.obey(&mut commands).await;
            self.decide().await;
            for attempt in self.take_due() {
                let sender = Arc::clone(&self.parts.sender);
                let clock = Arc::clone(&self.parts.clock);
                let duration = self.parts.metrics.send_duration.clone();
                under_way.push(async move {
                    let start_ns = clock.monotonic_ns();
                    let outcome = sender.send(&attempt.delivery).await;
                    duration.observe(secs(clock.monotonic_ns().saturating_sub(start_ns)));
                    (attempt, outcome)
                });
            }
        }
        self.drain(inbox, under_way).await;
    }

    async fn drain<F: Future<Output = (Attempt, Outcome)>>(
        &mut self,
        mut inbox: Inbox,
        mut under_way: FuturesUnordered<F>,
    ) {
        inbox.0.close();
        let mut commands = Vec::new();
        while let Some(command) = inbox.0.recv().await {
            commands.push(command);
        }
        self.obey(&mut commands).await;
        let finish = async {
            while let Some((attempt, outcome)) = under_way.next().await {
                self.settle(&attempt, &outcome).await;
            }
        };
        if tokio::time::timeout(STOP_WITHIN, finish).await.is_err() {
            info!("attempts under way were left; they are made again after a restart");
        }
    }

    /// Does what was asked, stores what it changed in one write, then answers.
    async fn obey(&mut self, commands: &mut Vec<Command>) {
        if commands.is_empty() {
            return;
        }
        self.follow_clock();
        let now_ms = self.parts.clock.now_ms();
        let mut replies: Vec<Reply> = Vec::with_capacity(commands.len());
        for command in commands.drain(..) {
            match command {
                Command::Act(act) => replies.push(act(&mut self.dispatcher, now_ms)),
                Command::Replace(policy, done) => {
                    self.replace_policy(policy).await;
                    // Whoever asked may have gone; the policy is in force all the same.
                    replies.push(Box::new(move || {
                        let _ = done.send(());
                    }));
                }
            }
        }
        self.save().await;
        replies.into_iter().for_each(|reply| reply());
    }

    /// Looks at the groups that are due and puts what is to be told into the outboxes.
    async fn decide(&mut self) {
        self.follow_clock();
        let (now_ms, aging_ms) = (self.parts.clock.now_ms(), self.aging_ms());
        let desks = &self.desks;
        let is_waiting =
            |desk: &str, group: &str| desks.get(desk).is_some_and(|desk| desk.outbox.holds(group));
        for news in self.dispatcher.look(now_ms, &is_waiting) {
            self.queue(&news, now_ms);
        }
        self.dispatcher.forget_silences(aging_ms);
        self.shed(aging_ms);
        if now_ms >= self.next_trim_ms {
            self.next_trim_ms = now_ms.saturating_add(TRIM_EVERY_MS);
            self.trim(aging_ms).await;
        }
        self.save().await;
        self.count();
    }

    /// Moves along with a clock that has made a leap, so that nothing ends, is told again or waits for a
    /// year because of it.
    fn follow_clock(&mut self) {
        let leap_ms = self.leaps.look(&*self.parts.clock);
        if leap_ms == 0 {
            return;
        }
        let leap_s = leap_ms / 1_000;
        warn!(leap_s, "the clock has made a leap: what waits for a time moves along with it");
        self.dispatcher.leap(leap_ms, self.parts.clock.now_ms());
        self.desks.values_mut().for_each(|desk| desk.outbox.leap(leap_ms));
        self.next_trim_ms = self.next_trim_ms.saturating_add(leap_ms);
    }

    /// Returns the time by which something is too old: what has been removed does not come back when a
    /// clock that was set wrong is set right.
    fn aging_ms(&mut self) -> i64 {
        let (now_ns, monotonic_ns) = (self.parts.clock.now_ns(), self.parts.clock.monotonic_ns());
        let last_ns = || self.ledger.last_ms().map(|last_ms| last_ms.saturating_mul(1_000_000));
        self.ages.look(now_ns, monotonic_ns, last_ns).div_euclid(1_000_000)
    }

    fn queue(&mut self, news: &Notification, now_ms: i64) {
        let Some(desk) = self.desks.get_mut(&news.desk) else { return };
        let id = idempotency_key(news);
        let words = Words::new(news, &self.config.external_url, now_ms);
        let message = match desk.integration.target.message(&words, &id) {
            Ok(message) => message,
            Err(reason) => {
                // Whoever is to be told cannot be: the next look tries anew, should the texts differ.
                error!(receiver = news.desk, reason, "a notification cannot be written");
                self.parts.metrics.ended("refused");
                self.dispatcher.refused(&news.group_key, &news.desk);
                let (desk, why) = (news.desk.clone(), format!("cannot be written: {reason}"));
                let what = What::GivenUp { notification: id, desk, why };
                self.record(&Record { at_ms: now_ms, group: news.group_key.clone(), what });
                return;
            }
        };
        let record = ledger::of_notification(news, &id, &message.body, now_ms);
        let new = NewEntry {
            id,
            desk: news.desk.clone(),
            group_key: news.group_key.clone(),
            covers: news.covers.clone(),
            message,
        };
        if let Some(entry) = desk.outbox.push(new, now_ms) {
            self.put_entry(&entry);
            self.record(&record);
        }
    }

    fn shed(&mut self, aging_ms: i64) {
        let desks = self.desks.values_mut();
        let shed: Vec<_> = desks.flat_map(|desk| desk.outbox.shed(aging_ms)).collect();
        for (entry, why) in shed {
            let group = &entry.group_key;
            error!(receiver = entry.desk, group, why, "an alert was not told");
            self.parts.metrics.ended(why);
            self.unsaved.insert(entry_key(&entry), None);
            self.give_up(&entry, why);
        }
    }

    fn give_up(&mut self, entry: &Entry, why: &str) {
        let what = What::GivenUp {
            notification: entry.id.clone(),
            desk: entry.desk.clone(),
            why: why.to_owned(),
        };
        let at_ms = self.parts.clock.now_ms();
        self.record(&Record { at_ms, group: entry.group_key.clone(), what });
    }

    fn take_due(&mut self) -> Vec<Attempt> {
        let now_ms = self.parts.clock.now_ms();
        let mut attempts = Vec::new();
        for desk in self.desks.values_mut() {
            for entry in desk.outbox.take_due(now_ms) {
                let delivery = Delivery {
                    target: desk.integration.target.clone(),
                    timeout: desk.integration.timeout,
                    idempotency_key: entry.id.clone(),
                    path: entry.path.clone(),
                    body: entry.body.clone(),
                };
                attempts.push(Attempt { entry, delivery });
            }
        }
        attempts
    }

    async fn settle(&mut self, attempt: &Attempt, outcome: &Outcome) {
        let entry = &attempt.entry;
        let now_ms = self.parts.clock.now_ms();
        let Some(desk) = self.desks.get_mut(&entry.desk) else {
            return;
        };
        let fate = desk.outbox.settle(entry.seq, outcome, now_ms);
        let waiting = desk.outbox.get(entry.seq).cloned();
        self.tell_of(attempt, outcome, fate, now_ms);
        match fate {
            Fate::Leaves(outcome) => {
                self.parts.metrics.ended(outcome);
                self.unsaved.insert(entry_key(entry), None);
            }
            // With its number of attempts and its pause, so that a restart does not press a
            // receiver that is down.
            Fate::Stays { .. } => waiting.iter().for_each(|entry| self.put_entry(entry)),
        }
        if matches!(outcome, Outcome::Refused { .. }) {
            for group in std::iter::once(&entry.group_key).chain(&entry.covers) {
                self.dispatcher.refused(group, &entry.desk);
            }
        }
        self.save().await;
        self.count();
    }

    fn tell_of(&mut self, attempt: &Attempt, outcome: &Outcome, fate: Fate, now_ms: i64) {
        let entry = &attempt.entry;
        let (host, group) = (attempt.delivery.target.url.host(), &entry.group_key);
        let (word, status, reason) = match outcome {
            Outcome::Delivered { status } => ("delivered", Some(*status), None),
            Outcome::Refused { status } => ("refused", Some(*status), None),
            Outcome::Failed { reason, status, .. } => ("retried", *status, Some(reason.clone())),
        };
        let pause_ms = match fate {
            Fate::Stays { pause_ms } => Some(pause_ms),
            Fate::Leaves(_) => None,
        };
        match outcome {
            Outcome::Failed { reason, .. } => {
                self.parts.metrics.ended("retried");
                warn!(host, group, reason, pause_ms, "a notification failed and is tried again");
            }
            Outcome::Refused { status } => {
                error!(host, group, status, "the receiver refused a notification for good");
            }
            Outcome::Delivered { .. } => {
                debug!(host, group, "a notification was delivered");
                let delay_ms = now_ms.saturating_sub(entry.created_ms).max(0).unsigned_abs();
                self.parts.metrics.delivery_delay.observe(secs(delay_ms.saturating_mul(1_000_000)));
            }
        }
        let what = What::Attempt {
            notification: entry.id.clone(),
            desk: entry.desk.clone(),
            n: entry.n_attempts.saturating_add(1),
            outcome: word.to_owned(),
            status,
            reason,
            retry_in_ms: pause_ms,
            body_sha256: sign::sha256_hex(&entry.body),
        };
        self.record(&Record { at_ms: now_ms, group: entry.group_key.clone(), what });
    }

    fn put_entry(&mut self, entry: &Entry) {
        let bytes = serde_json::to_vec(entry).expect("texts, integers and maps are always JSON");
        self.unsaved.insert(entry_key(entry), Some(bytes));
    }

    fn record(&mut self, record: &Record) {
        self.unsaved_records.push(self.ledger.entry(record));
    }

    /// Writes everything that has changed, in one transaction.
    async fn save(&mut self) {
        let now_ms = self.parts.clock.now_ms();
        for note in self.dispatcher.take_notes() {
            self.record(&ledger::of_note(note, now_ms));
        }
        self.unsaved.extend(self.dispatcher.take_changes());
        if self.unsaved.is_empty() && self.unsaved_records.is_empty() {
            return;
        }
        let changes: Vec<Change> =
            self.unsaved.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        match self.parts.store.apply(changes, self.unsaved_records.clone()).await {
            Ok(()) => {
                self.unsaved.clear();
                self.unsaved_records.clear();
            }
            Err(error) => {
                self.parts.metrics.store_failures.inc();
                error!(error, "cannot store; a crash now would lose notifications");
                // The ledger may lose lines while the disk is full; the queue may not.
                let n_over =
                    self.unsaved_records.len().saturating_sub(self.config.ledger_unsaved_max());
                self.unsaved_records.drain(..n_over);
            }
        }
    }

    async fn trim(&self, aging_ms: i64) {
        let before = ledger::key_of(aging_ms.saturating_sub(self.config.history.as_ms()));
        if let Err(error) = self.parts.store.trim_ledger(before, self.config.history_max).await {
            self.parts.metrics.store_failures.inc();
            warn!(error, "cannot cut the ledger");
        }
    }

    fn count(&mut self) {
        let tally = self.dispatcher.take_tally();
        self.parts.metrics.alerts_refused.inc_by(tally.alerts_refused);
        self.parts.metrics.alerts_lumped.inc_by(tally.alerts_lumped);
        self.parts.metrics.groups_stormed.inc_by(tally.groups_stormed);
        let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let n_queued: usize = self.desks.values().map(|desk| desk.outbox.len()).sum();
        self.parts.metrics.queued.set(gauge(n_queued));
        self.parts.metrics.groups.set(gauge(self.dispatcher.n_groups()));
        self.parts.metrics.alerts.set(gauge(self.dispatcher.n_alerts()));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a duration in ns fits a double")]
fn secs(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn entry_key(entry: &Entry) -> String {
    format!("{OUTBOX}{}/{}", entry.desk, entry.id)
}

/// Returns what names this transition for this receiver: who, which group, which alerts in which
/// state since when, and the how manieth telling it is.
fn idempotency_key(news: &Notification) -> String {
    let mut text = format!("{}\0{}\0{} {}", news.desk, news.group_key, news.since_ms, news.n);
    for alert in &news.alerts {
        let fingerprint = payload::fingerprint(&alert.labels);
        text.push_str(&format!("\0{fingerprint:x} {} {}", alert.starts_at_ms, alert.resolved));
    }
    format!("{:032x}", xxh3_128(text.as_bytes()))
}
