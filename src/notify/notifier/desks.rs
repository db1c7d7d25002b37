//! What passes over a desk: it is put into the outbox, attempted, and settled or given up.

use tracing::{debug, error, warn};
use xxhash_rust::xxh3::xxh3_128;

use super::super::dispatch::Notification;
use super::super::ledger::{self, Record, What};
use super::super::outbox::{Entry, Fate, NewEntry};
use super::super::said::Words;
use super::super::send::{Delivery, Outcome};
use super::super::{payload, sign};
use super::{Attempt, Notifier, entry_key, secs};

impl Notifier {
    pub(super) fn queue(&mut self, news: &Notification, now_ms: i64) {
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

    pub(super) fn shed(&mut self, aging_ms: i64) {
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

    pub(super) fn give_up(&mut self, entry: &Entry, why: &str) {
        let what = What::GivenUp {
            notification: entry.id.clone(),
            desk: entry.desk.clone(),
            why: why.to_owned(),
        };
        let at_ms = self.parts.clock.now_ms();
        self.record(&Record { at_ms, group: entry.group_key.clone(), what });
    }

    pub(super) fn take_due(&mut self) -> Vec<Attempt> {
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

    pub(super) async fn settle(&mut self, attempt: &Attempt, outcome: &Outcome) {
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
