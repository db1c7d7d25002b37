//! How many questions run at a time, in all and for one credential.
//!
//! A question waits for its turn within its own deadline; one that never gets it is told which
//! limit it met. The credential's turn comes first, so that one impatient dashboard queues behind
//! itself and not in front of everybody.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::QueryError;
use super::limits::Config;
use super::metrics::{Counted, Metrics};

/// Names are remembered while a question of theirs is under way; the table is swept when it has
/// grown past this.
const PRINCIPALS_SWEEP: usize = 1024;

/// The turnstile of the query room.
#[derive(Debug)]
pub(super) struct Admission {
    all: Arc<Semaphore>,
    all_max: usize,
    each_max: usize,
    principals: Mutex<HashMap<Arc<str>, Weak<Semaphore>>>,
    metrics: Metrics,
}

/// The right to run one question, until dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
    _running: Counted,
}

impl Admission {
    /// Returns a turnstile with the section's limits.
    pub(super) fn new(config: &Config, metrics: Metrics) -> Self {
        let all_max = config.concurrency();
        Self {
            all: Arc::new(Semaphore::new(all_max)),
            all_max,
            each_max: config.concurrency_per_principal_max,
            principals: Mutex::default(),
            metrics,
        }
    }

    /// Waits for a turn, at most `patience`.
    pub(super) async fn enter(
        &self,
        principal: &Arc<str>,
        patience: Duration,
    ) -> Result<Turn, QueryError> {
        let _waiting = self.metrics.waiting();
        let own =
            wait(self.semaphore_of(principal), patience).await.ok_or(QueryError::Overloaded {
                whose: " for this credential",
                max: self.each_max,
                key: "query.concurrency_per_principal_max",
            })?;
        let all = wait(Arc::clone(&self.all), patience).await.ok_or(QueryError::Overloaded {
            whose: "",
            max: self.all_max,
            key: "query.concurrency_max",
        })?;
        Ok(Turn { _own: own, _all: all, _running: self.metrics.running() })
    }

    fn semaphore_of(&self, principal: &Arc<str>) -> Arc<Semaphore> {
        let mut principals = self.principals.lock();
        if let Some(known) = principals.get(principal).and_then(Weak::upgrade) {
            return known;
        }
        if principals.len() >= PRINCIPALS_SWEEP {
            principals.retain(|_, semaphore| semaphore.strong_count() > 0);
        }
        let semaphore = Arc::new(Semaphore::new(self.each_max));
        principals.insert(Arc::clone(principal), Arc::downgrade(&semaphore));
        semaphore
    }
}

async fn wait(semaphore: Arc<Semaphore>, patience: Duration) -> Option<OwnedSemaphorePermit> {
    tokio::time::timeout(patience, semaphore.acquire_owned()).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    fn admission(all: usize, each: usize) -> Admission {
        let config = Config {
            concurrency_max: all,
            concurrency_per_principal_max: each,
            ..Config::default()
        };
        Admission::new(&config, Metrics::register(&mut Registry::default()))
    }

    #[tokio::test]
    async fn one_credential_cannot_take_every_turn() {
        let admission = admission(3, 2);
        let (greedy, other): (Arc<str>, Arc<str>) = (Arc::from("greedy"), Arc::from("other"));
        let patience = Duration::ZERO;

        let _turns = (
            admission.enter(&greedy, patience).await.unwrap(),
            admission.enter(&greedy, patience).await.unwrap(),
        );

        let refusal = admission.enter(&greedy, patience).await.unwrap_err().to_string();
        assert!(refusal.contains("query.concurrency_per_principal_max"), "{refusal}");
        assert!(admission.enter(&other, patience).await.is_ok());
    }

    #[tokio::test]
    async fn a_turn_is_given_back_when_dropped() {
        let admission = admission(1, 1);
        let name: Arc<str> = Arc::from("a");

        drop(admission.enter(&name, Duration::ZERO).await.unwrap());

        assert!(admission.enter(&name, Duration::ZERO).await.is_ok());
    }

    #[tokio::test]
    async fn a_full_house_is_named() {
        let admission = admission(1, 4);
        let (one, two): (Arc<str>, Arc<str>) = (Arc::from("one"), Arc::from("two"));

        let _turn = admission.enter(&one, Duration::ZERO).await.unwrap();

        let refusal = admission.enter(&two, Duration::ZERO).await.unwrap_err();
        assert!(refusal.to_string().contains("query.concurrency_max"), "{refusal}");
    }
}
