//! What is stored of the dispatcher, and how it comes back: after a restart, or under a new policy.
//!
//! Stored are alerts, silences, the pace of groups and what they hold back, and what receivers were told:
//! an alert that ends unheard right after a restart must be as unknown as without it. Which alert is in
//! which group is not: the routes say so, and may have changed meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::warn;
use xxhash_rust::xxh3::xxh3_128;

use super::alerts::Held;
use super::groups::{Group, GroupId, HeldBack, Pace, StoredGroup};
use super::inhibit::Inhibitor;
use super::log::{LogKey, Told};
use super::silences::{Silence, SilenceDef};
use super::storm::PAUSE_MS;
use super::{Dispatcher, Limits};
use crate::model::Labels;
use crate::notify::NotifyError;
use crate::notify::payload::fingerprint;
use crate::notify::policy::Policy;

/// Something that is stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::notify) enum Place {
    Alert(u64),
    Silence(String),
    Group(GroupId),
    Told(LogKey),
}

/// A key with its new value, or none when it is gone.
pub(in crate::notify) type Change = (String, Option<Vec<u8>>);

const ALERT: &str = "alert/";
const SILENCE: &str = "silence/";
const GROUP: &str = "group/";
const TOLD: &str = "told/";

impl Place {
    fn key(&self) -> String {
        let hash = |parts: &[&str]| format!("{:032x}", xxh3_128(parts.join("\0").as_bytes()));
        match self {
            Place::Alert(fingerprint) => format!("{ALERT}{fingerprint:016x}"),
            Place::Silence(id) => format!("{SILENCE}{id}"),
            Place::Group((idx, labels)) => {
                format!("{GROUP}{}", hash(&[&idx.to_string(), &labels.to_string()]))
            }
            Place::Told((group, desk)) => format!("{TOLD}{}", hash(&[group, desk])),
        }
    }
}

impl Dispatcher {
    /// Returns what is to be stored or removed since the last call.
    pub(in crate::notify) fn take_changes(&mut self) -> Vec<Change> {
        let changed = std::mem::take(&mut self.changed);
        changed.iter().map(|place| (place.key(), self.value(place))).collect()
    }

    fn value(&self, place: &Place) -> Option<Vec<u8>> {
        match place {
            Place::Alert(fingerprint) => self.alerts.get(*fingerprint).map(bytes),
            Place::Silence(id) => self.silences.get(id).map(bytes),
            Place::Told(key) => self.log.told.get(key).map(bytes),
            Place::Group(id) => self.groups.get(id).map(|group| {
                bytes(&StoredGroup {
                    route: self.policy.route_key(id.0),
                    receiver: self.policy.routes[id.0].receiver.clone(),
                    labels: group.labels.clone(),
                    pace: group.pace.clone(),
                    held_back: group.held_back.clone(),
                })
            }),
        }
    }

    /// Returns a dispatcher that goes on where an earlier process stopped. Values that cannot be read
    /// are left out, and said.
    pub(in crate::notify) fn restored(
        policy: Arc<Policy>,
        limits: Limits,
        stored: &[(String, Vec<u8>)],
        now_ms: i64,
    ) -> Self {
        let mut dispatcher = Self::new(policy, limits);
        let mut paces = BTreeMap::new();
        for (key, bytes) in stored {
            if let Err(error) = dispatcher.take_back(key, bytes, &mut paces, now_ms) {
                warn!(key, error, "a stored value cannot be read and is left out");
            }
        }
        dispatcher.regroup(&paces, now_ms);
        dispatcher.set_back(now_ms);
        dispatcher.notes.clear(); // They were noted when they came.
        dispatcher
    }

    /// Takes times that an earlier process stored while its clock was ahead for as near as they may be.
    fn set_back(&mut self, now_ms: i64) {
        for ((route_idx, _), group) in &mut self.groups {
            let timing = self.policy.routes[*route_idx].timing;
            let while_ms = timing.interval_ms.max(timing.wait_ms).max(PAUSE_MS);
            let next_ms = &mut group.pace.next_look_ms;
            *next_ms = (*next_ms).min(now_ms.saturating_add(while_ms));
        }
        for told in self.log.told.values_mut() {
            told.at_ms = told.at_ms.min(now_ms);
        }
    }

    fn take_back(
        &mut self,
        key: &str,
        bytes: &[u8],
        paces: &mut Paces,
        now_ms: i64,
    ) -> Result<(), String> {
        let fault = |error: serde_json::Error| error.to_string();
        if key.starts_with(ALERT) {
            let held: Held = serde_json::from_slice(bytes).map_err(fault)?;
            self.alerts.restore(fingerprint(&held.event.labels), held, now_ms);
        } else if key.starts_with(SILENCE) {
            let silence: Silence = serde_json::from_slice(bytes).map_err(fault)?;
            self.silences.restore(silence)?;
        } else if key.starts_with(GROUP) {
            let group: StoredGroup = serde_json::from_slice(bytes).map_err(fault)?;
            let name = (group.route, group.receiver, group.labels);
            paces.insert(name, (group.pace, group.held_back));
        } else if key.starts_with(TOLD) {
            let told: Told = serde_json::from_slice(bytes).map_err(fault)?;
            self.log.told.insert((told.group_key.clone(), told.desk.clone()), told);
        }
        Ok(())
    }

    /// Puts another policy in force: alerts find their groups anew, groups of a route that is still
    /// there keep their pace, and receivers that are still there what they were told.
    pub(in crate::notify) fn replace_policy(&mut self, policy: Arc<Policy>, now_ms: i64) {
        let old = std::mem::replace(&mut self.policy, policy);
        let mut paces = Paces::new();
        for (id, group) in std::mem::take(&mut self.groups) {
            paces.insert(name_of(&old, id.0, &group.labels), (group.pace, group.held_back));
            self.changed.insert(Place::Group(id));
        }
        self.inhibitor = Inhibitor::new(&self.policy);
        self.regroup(&paces, now_ms);
    }

    fn regroup(&mut self, paces: &Paces, now_ms: i64) {
        let all: Vec<(u64, Labels)> =
            self.alerts.iter().map(|(fp, held)| (fp, held.event.labels.clone())).collect();
        for (fingerprint, _) in &all {
            if let Some(held) = self.alerts.get_mut(*fingerprint) {
                held.n_groups = 0;
            }
        }
        for (fingerprint, labels) in all {
            self.inhibitor.add(fingerprint, &labels);
            self.join(fingerprint, &labels, now_ms);
        }
        let policy = Arc::clone(&self.policy);
        for (id, group) in &mut self.groups {
            if let Some((pace, held_back)) = paces.get(&name_of(&policy, id.0, &group.labels)) {
                group.pace = pace.clone();
                let own = held_back.iter().filter(|(fp, _)| group.alerts.contains(*fp));
                group.held_back = own.map(|(fp, why)| (*fp, why.clone())).collect();
            }
            self.changed.insert(Place::Group(id.clone()));
        }
        self.forget_orphans();
    }

    /// What was told of groups or by ways that are gone is of no use.
    fn forget_orphans(&mut self) {
        let desks: Vec<String> = self.policy.desks().map(|(name, ..)| name).collect();
        let groups: std::collections::BTreeSet<&str> =
            self.groups.values().map(|group: &Group| group.key.as_str()).collect();
        let is_orphan =
            |(group, desk): &LogKey| !groups.contains(group.as_str()) || !desks.contains(desk);
        let orphans: Vec<LogKey> =
            self.log.told.keys().filter(|key| is_orphan(key)).cloned().collect();
        for key in orphans {
            self.log.told.remove(&key);
            self.changed.insert(Place::Told(key));
        }
    }

    /// Begins a silence or changes one; returns its id.
    pub(in crate::notify) fn set_silence(
        &mut self,
        id: Option<&str>,
        def: SilenceDef,
        now_ms: i64,
    ) -> Result<String, NotifyError> {
        let set = self.silences.set(id, def, now_ms, self.limits.silences_max);
        let (id, changed) = set?;
        self.changed.extend(changed.into_iter().map(Place::Silence));
        Ok(id)
    }

    /// Ends a silence.
    pub(in crate::notify) fn expire_silence(
        &mut self,
        id: &str,
        now_ms: i64,
    ) -> Result<(), NotifyError> {
        let expired = self.silences.expire(id, now_ms)?;
        self.changed.extend(expired.map(Place::Silence));
        Ok(())
    }
}

/// What names a group over a restart: its route's name, whom that tells, and its labels.
type GroupName = (String, String, Labels);

fn name_of(policy: &Policy, route_idx: usize, labels: &Labels) -> GroupName {
    let receiver = policy.routes[route_idx].receiver.clone();
    (policy.route_key(route_idx), receiver, labels.clone())
}

/// The pace of groups, and what they hold back.
type Paces = BTreeMap<GroupName, (Pace, BTreeMap<u64, HeldBack>)>;

fn bytes(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts, integers and maps with text keys are always JSON")
}
