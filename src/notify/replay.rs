//! The dispatcher without a store and without receivers: who would have been told what.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::dispatch::{Dispatcher, Held, Limits, Silence};
use super::{Config, Policy};
use crate::model::AlertEvent;

/// A notification that would have been sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// When, ms since 1970 UTC.
    pub at_ms: i64,
    /// To whom.
    pub receiver: String,
    /// The names of the alerts that it says fire; none: it says that all is over.
    pub firing: BTreeSet<String>,
}

/// Decides what would have been told, on a clock that the caller moves.
#[derive(Debug)]
pub struct Replay {
    dispatcher: Dispatcher,
}

impl Replay {
    /// Returns a replay of a policy under the limits of a configuration.
    pub fn new(policy: Arc<Policy>, config: &Config) -> Self {
        Self { dispatcher: Dispatcher::new(policy, Limits::from(config)) }
    }

    /// Lets silences hold, each in its time; one that cannot be read holds nothing back.
    pub fn with_silences(mut self, silences: &[Silence]) -> Self {
        silences.iter().for_each(|silence| self.dispatcher.know_silence(silence.clone()));
        self
    }

    /// Takes what the rules tell at a time, and returns what is told to people then.
    pub fn step(&mut self, events: Vec<AlertEvent>, now_ms: i64) -> Vec<Replayed> {
        let held = events.into_iter().map(|event| Held::told(event, now_ms)).collect();
        self.dispatcher.accept(held, now_ms);
        let news = self.dispatcher.look(now_ms, &|_, _| false);
        // Nobody stores what a replay does.
        drop((self.dispatcher.take_changes(), self.dispatcher.take_notes()));
        let mut told = Vec::new();
        for one in news {
            let firing = one.alerts.iter().filter(|alert| !alert.resolved);
            let names = firing.map(|alert| alert.labels.get("alertname").unwrap_or("-").to_owned());
            told.push(Replayed { at_ms: now_ms, receiver: one.receiver, firing: names.collect() });
        }
        told
    }
}
