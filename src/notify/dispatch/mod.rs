//! Which alerts are told to whom, together with what, and when: Alertmanager's dispatcher as a pure
//! state machine.
//!
//! Alerts go in with [`Dispatcher::accept`], the clock with [`Dispatcher::look`], and notifications
//! come out; what changed on the way is in [`Dispatcher::take_changes`], for the caller to store. The
//! same alerts at the same times yield the same notifications, whatever the machine does meanwhile.
//!
//! An alert is in each group that its routes give it. A group is looked at `group_wait` after its
//! first alert, then every `group_interval`; what is silenced, inhibited or muted is left out, and a
//! receiver is told when it does not know what is left (`log`). One deviation from Alertmanager, on
//! the safe side: an alert that ended unheard (silenced, inhibited, muted) is news when it fires again.

mod alerts;
mod groups;
mod inhibit;
mod log;
mod look;
mod restore;
mod silences;
mod storm;
mod view;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_converge;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{AlertEvent, Labels};

use super::payload::fingerprint;
use super::policy::{Policy, desk_name};

use alerts::AlertBook;
pub(super) use alerts::Held;
pub use groups::HeldBack;
use groups::{Group, GroupId, Pace};
use inhibit::Inhibitor;
use log::{LogKey, NotificationLog};
pub(super) use restore::{Change, Place};
use silences::Silences;
pub use silences::{Silence, SilenceDef, SilenceMatcher, SilenceState};
use storm::Storm;
pub(super) use storm::StormLimits;
pub use view::{AlertStatus, AlertView, AlertsFilter, GroupView, receiver_fits};

/// The most of everything that is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) alerts_max: usize,
    pub(super) groups_max: usize,
    pub(super) silences_max: usize,
    /// How long a silence is kept after its end.
    pub(super) silence_kept_ms: i64,
    pub(super) storm: StormLimits,
}

/// What is to be told to one receiver in one way.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Notification {
    pub(super) receiver: String,
    pub(super) desk: String,
    pub(super) group_key: String,
    /// The groups that a message of a storm tells of.
    pub(super) covers: Vec<String>,
    pub(super) group_labels: Labels,
    pub(super) since_ms: i64,
    /// In Alertmanager's order: by job, instance, then labels.
    pub(super) alerts: Vec<AlertEvent>,
    /// The how manieth of its group it is.
    pub(super) n: u64,
}

/// Something that happened to an alert, for the ledger.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Note {
    pub(super) fingerprint: u64,
    pub(super) group_key: String,
    pub(super) what: Happened,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Happened {
    /// It came to a group.
    Joined { receiver: String, alert: AlertEvent },
    /// It is held back from now on, or no longer.
    HeldBack(Option<HeldBack>),
    /// It is over, and its group let go of it.
    Ended { alert: Option<AlertEvent> },
}

/// Everything that decides.
#[derive(Debug)]
pub(super) struct Dispatcher {
    policy: Arc<Policy>,
    limits: Limits,
    alerts: AlertBook,
    silences: Silences,
    inhibitor: Inhibitor,
    groups: BTreeMap<GroupId, Group>,
    log: NotificationLog,
    storm: Storm,
    changed: BTreeSet<Place>,
    notes: Vec<Note>,
    tally: Tally,
}

/// What the limits did since it was last asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    /// Alerts past `alerts_max`.
    pub(super) alerts_refused: u64,
    /// Alerts that share a group because there are `groups_max`.
    pub(super) alerts_lumped: u64,
    /// Groups that were told in a message of a storm.
    pub(super) groups_stormed: u64,
}

impl Dispatcher {
    pub(super) fn new(policy: Arc<Policy>, limits: Limits) -> Self {
        Self {
            inhibitor: Inhibitor::new(&policy),
            policy,
            limits,
            alerts: AlertBook::default(),
            silences: Silences::default(),
            groups: BTreeMap::new(),
            log: NotificationLog::default(),
            storm: Storm::new(limits.storm),
            changed: BTreeSet::new(),
            notes: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Returns what the limits did since the last call.
    pub(super) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    pub(super) fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    pub(super) fn n_groups(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn n_alerts(&self) -> usize {
        self.alerts.len()
    }

    /// Takes alerts as they stand; returns how many were more than may be remembered.
    pub(super) fn accept(&mut self, told: Vec<Held>, now_ms: i64) -> usize {
        let mut n_refused = 0;
        for held in told {
            let (fingerprint, is_over) = (fingerprint(&held.event.labels), held.is_over(now_ms));
            let is_known = self.alerts.get(fingerprint).is_some();
            if !is_known && is_over {
                continue; // Nobody was told that it fires.
            }
            if !is_known && self.alerts.len() >= self.limits.alerts_max {
                n_refused += 1;
                self.tally.alerts_refused += 1;
                continue;
            }
            let labels = held.event.labels.clone();
            if self.alerts.take(fingerprint, held, now_ms) {
                self.changed.insert(Place::Alert(fingerprint));
            }
            if !is_known {
                self.inhibitor.add(fingerprint, &labels);
            }
            if !is_over {
                self.join(fingerprint, &labels, now_ms);
            }
        }
        n_refused
    }

    /// Puts an alert into the group of each of its routes.
    fn join(&mut self, fingerprint: u64, labels: &Labels, now_ms: i64) {
        let policy = Arc::clone(&self.policy);
        for idx in policy.routes_of(labels) {
            let own = policy.routes[idx].group_by.of(labels);
            let id = self.group_id(idx, own.clone());
            let timing = policy.routes[idx].timing;
            let changed = &mut self.changed;
            let group = self.groups.entry(id.clone()).or_insert_with(|| {
                changed.insert(Place::Group(id.clone()));
                let next_look_ms = now_ms.saturating_add(timing.wait_ms);
                let pace = Pace { since_ms: now_ms, next_look_ms, was_looked_at: false };
                Group::new(&policy.route_key(idx), id.1.clone(), pace)
            });
            if !group.alerts.insert(fingerprint) {
                continue;
            }
            self.tally.alerts_lumped += u64::from(id.1 != own);
            let Some(held) = self.alerts.get_mut(fingerprint) else { continue };
            held.n_groups += 1;
            let waited = held.event.starts_at_ms.saturating_add(timing.wait_ms) < now_ms;
            if !group.pace.was_looked_at && waited {
                group.pace.next_look_ms = group.pace.next_look_ms.min(now_ms);
            }
            let receiver = policy.routes[idx].receiver.clone();
            let what = Happened::Joined { receiver, alert: held.event.clone() };
            self.notes.push(Note { fingerprint, group_key: group.key.clone(), what });
        }
    }

    /// Past the most groups, what is left of a route shares one: told roughly is better than not told.
    fn group_id(&self, route_idx: usize, labels: Labels) -> GroupId {
        let id = (route_idx, labels);
        if self.groups.len() < self.limits.groups_max || self.groups.contains_key(&id) {
            return id;
        }
        (route_idx, Labels::empty())
    }

    /// Looks at the groups that are due and returns what is to be told. `is_waiting` says whether an
    /// earlier notification of a group waits at a desk: then none is repeated there.
    pub(super) fn look(
        &mut self,
        now_ms: i64,
        is_waiting: &dyn Fn(&str, &str) -> bool,
    ) -> Vec<Notification> {
        let is_due = |group: &Group| group.pace.next_look_ms <= now_ms;
        let due = self.groups.iter().filter(|(_, group)| is_due(group));
        let due: Vec<GroupId> = due.map(|(id, _)| id.clone()).collect();
        let mut news = Vec::new();
        for id in due {
            let receiver = &self.policy.routes[id.0].receiver;
            let peace_until_ms = self.storm.peace_until_ms(receiver, now_ms);
            let Some(mut group) = self.groups.remove(&id) else { continue };
            if let Some(until_ms) = peace_until_ms {
                group.pace.next_look_ms = until_ms;
                self.groups.insert(id, group);
                continue;
            }
            news.extend(self.look_at(id.0, &mut group, now_ms, is_waiting));
            self.changed.insert(Place::Group(id.clone()));
            if group.alerts.is_empty() {
                self.forget_told(&id, &group.key);
            } else {
                self.groups.insert(id, group);
            }
        }
        let told = self.storm.bound(news, now_ms);
        let stormed: usize = told.iter().map(|one| one.covers.len()).sum();
        self.tally.groups_stormed += u64::try_from(stormed).unwrap_or(u64::MAX);
        told
    }

    /// Forgets silences that have been over for long, by a clock that no leap deceives.
    pub(super) fn forget_silences(&mut self, aging_ms: i64) {
        for id in self.silences.forget(aging_ms.saturating_sub(self.limits.silence_kept_ms)) {
            self.changed.insert(Place::Silence(id));
        }
    }

    /// Moves along with a clock that has leapt to `now_ms`: what fires goes on for as long as it had left,
    /// and what was to be looked at or told again is so after the rest of its while. Silences name times of
    /// the clock, and those that held go on for a while beside it.
    pub(super) fn leap(&mut self, by_ms: i64, now_ms: i64) {
        self.alerts.leap(by_ms, now_ms.saturating_sub(by_ms));
        for group in self.groups.values_mut() {
            group.pace.next_look_ms = group.pace.next_look_ms.saturating_add(by_ms);
        }
        for told in self.log.told.values_mut() {
            told.at_ms = told.at_ms.saturating_add(by_ms);
        }
        self.storm.leap(by_ms);
        self.silences.leap(by_ms, now_ms);
    }

    /// Returns under which keys it is remembered what was told of a group of a route. Another route with
    /// the same matchers has groups of the same name, and tells somebody else.
    fn log_keys(&self, route_idx: usize, group_key: &str) -> Vec<LogKey> {
        let receiver = &self.policy.routes[route_idx].receiver;
        let of_receiver = self.policy.receivers.get(receiver);
        let desks = of_receiver.iter().flat_map(|of| &of.integrations);
        desks.map(|one| (group_key.to_owned(), desk_name(receiver, one))).collect()
    }

    /// Forgets what was told of a group that is no more, unless another one tells the same people of the
    /// same alerts under its name and has yet to say that they are over.
    fn forget_told(&mut self, (route_idx, labels): &GroupId, group_key: &str) {
        let twins = self.policy.twins(*route_idx);
        if twins.into_iter().any(|twin| self.groups.contains_key(&(twin, labels.clone()))) {
            return;
        }
        for key in self.log_keys(*route_idx, group_key) {
            if self.log.told.remove(&key).is_some() {
                self.changed.insert(Place::Told(key));
            }
        }
    }

    /// Notes that a receiver refused a notification for good: it knows of nothing.
    pub(super) fn refused(&mut self, group_key: &str, desk: &str) {
        let key = (group_key.to_owned(), desk.to_owned());
        if let Some(told) = self.log.told.get_mut(&key) {
            told.was_refused = true;
            self.changed.insert(Place::Told(key));
        }
    }

    /// Returns what happened since the last call.
    pub(super) fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }
}
