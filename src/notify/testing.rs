//! What tests of this room and of others put in the place of a disk and of receivers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::*;
use crate::base::clock::SharedClock;

/// A store in memory; it outlives the notifier as a disk outlives a process.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) values: Mutex<BTreeMap<String, Vec<u8>>>,
    pub(crate) ledger: Mutex<BTreeMap<String, Vec<u8>>>,
    pub(crate) is_full: Mutex<bool>,
}

#[async_trait]
impl Store for Memory {
    async fn apply(
        &self,
        changes: Vec<(String, Option<Vec<u8>>)>,
        ledger: Vec<(String, Vec<u8>)>,
    ) -> Result<(), String> {
        if *self.is_full.lock() {
            return Err("no space left".to_owned());
        }
        let mut values = self.values.lock();
        for (key, value) in changes {
            match value {
                Some(value) => drop(values.insert(key, value)),
                None => drop(values.remove(&key)),
            }
        }
        self.ledger.lock().extend(ledger);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<(String, Vec<u8>)>, String> {
        Ok(self.values.lock().clone().into_iter().collect())
    }

    async fn ledger(
        &self,
        (start, end): (String, String),
        _bounds: (usize, usize),
    ) -> Result<Vec<(String, Vec<u8>)>, String> {
        let ledger = self.ledger.lock();
        Ok(ledger.range(start..end).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    async fn last_ledger_key(&self) -> Result<Option<String>, String> {
        Ok(self.ledger.lock().keys().next_back().cloned())
    }

    async fn trim_ledger(&self, before: String, _n_max: usize) -> Result<(), String> {
        self.ledger.lock().retain(|key, _| *key >= before);
        Ok(())
    }
}

/// A receiver that answers as it was told, 200 when it was told nothing.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) outcomes: Mutex<VecDeque<Outcome>>,
    pub(crate) heard: Mutex<Vec<Delivery>>,
}

#[async_trait]
impl Sender for Script {
    async fn send(&self, delivery: &Delivery) -> Outcome {
        self.heard.lock().push(delivery.clone());
        self.outcomes.lock().pop_front().unwrap_or(Outcome::Delivered { status: 200 })
    }
}

/// Returns the handle of a notifier that has stopped, and an empty ledger.
pub(crate) fn stopped() -> (Handle, Ledger) {
    (Handle::channel().0, Ledger { store: Arc::new(Memory::default()) })
}

/// Returns the handle of a notifier that runs on the test's runtime, and its ledger.
pub(crate) async fn live(policy: Policy, clock: SharedClock) -> (Handle, Ledger) {
    let parts = Parts {
        store: Arc::new(Memory::default()),
        sender: Arc::new(Script::default()),
        clock,
        metrics: Metrics::default(),
    };
    let opened = Notifier::open(&Config::default(), Arc::new(policy), parts).await;
    let notifier = opened.expect("an empty store can be read");
    let ledger = notifier.ledger();
    let (handle, inbox) = Handle::channel();
    let shutdown = tokio_util::sync::CancellationToken::new();
    crate::base::tasks::spawn_detached(notifier.run(inbox, shutdown));
    (handle, ledger)
}
