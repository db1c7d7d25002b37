//! What the store keeps for the next process, and what is counted.

use tracing::{error, warn};

use super::super::dispatch::Change;
use super::super::ledger::{self, Record};
use super::super::outbox::Entry;
use super::{Notifier, entry_key};

impl Notifier {
    pub(super) fn put_entry(&mut self, entry: &Entry) {
        let bytes = serde_json::to_vec(entry).expect("texts, integers and maps are always JSON");
        self.unsaved.insert(entry_key(entry), Some(bytes));
    }

    pub(super) fn record(&mut self, record: &Record) {
        self.unsaved_records.push(self.ledger.entry(record));
    }

    /// Writes everything that has changed, in one transaction.
    pub(super) async fn save(&mut self) {
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

    pub(super) async fn trim(&self, aging_ms: i64) {
        let before = ledger::key_of(aging_ms.saturating_sub(self.config.history.as_ms()));
        if let Err(error) = self.parts.store.trim_ledger(before, self.config.history_max).await {
            self.parts.metrics.store_failures.inc();
            warn!(error, "cannot cut the ledger");
        }
    }

    pub(super) fn count(&mut self) {
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
