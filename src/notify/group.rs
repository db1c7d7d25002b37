//! Which alerts are told together, and when: Alertmanager's grouping, as pure functions of time.
//!
//! A group is told `group_wait` after its first alert; then every `group_interval` it is looked at, and
//! told again if an alert is new, one is over, or `repeat_interval` has passed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::alert::labels_as_map;
use crate::model::{AlertEvent, Labels};

use super::{Config, payload};

/// After a restart, what fired counts as firing for at least this long, so that the rules have time to
/// say so again before anyone is told that all is well.
const GRACE_MS: i64 = 5 * 60_000;

/// The times and labels of grouping.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    group_by: Vec<String>,
    wait_ms: i64,
    interval_ms: i64,
    repeat_ms: i64,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self {
            group_by: config.group_by.clone(),
            wait_ms: config.group_wait.as_ms(),
            interval_ms: config.group_interval.as_ms().max(1),
            repeat_ms: config.repeat_interval.as_ms(),
        }
    }
}

/// Alerts that are told together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Group {
    pub(super) key: String,
    #[serde(with = "labels_as_map")]
    labels: Labels,
    /// When its first alert came; tells this group from an earlier one of the same key.
    since_ms: i64,
    /// By fingerprint.
    alerts: BTreeMap<u64, AlertEvent>,
    next_look_ms: i64,
    was_looked_at: bool,
    told: Option<Told>,
}

/// What the last notification said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Told {
    firing: BTreeSet<u64>,
    resolved: BTreeSet<u64>,
    at_ms: i64,
    /// How many notifications there were; part of the idempotency key of a repetition.
    n: u64,
}

/// What is to be told.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Notification {
    pub(super) group_key: String,
    pub(super) group_labels: Labels,
    pub(super) since_ms: i64,
    /// Firing ones first, then by labels.
    pub(super) alerts: Vec<AlertEvent>,
    pub(super) n: u64,
}

/// All groups.
#[derive(Debug)]
pub(super) struct Groups {
    settings: Settings,
    by_key: BTreeMap<String, Group>,
}

impl Groups {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, by_key: BTreeMap::new() }
    }

    /// Takes back a group that an earlier process stored.
    pub(super) fn restore(&mut self, mut group: Group, now_ms: i64) {
        for alert in group.alerts.values_mut().filter(|alert| !alert.resolved) {
            alert.ends_at_ms = alert.ends_at_ms.max(now_ms.saturating_add(GRACE_MS));
        }
        self.by_key.insert(group.key.clone(), group);
    }

    pub(super) fn get(&self, key: &str) -> Option<&Group> {
        self.by_key.get(key)
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Takes what the rules tell; returns the keys of groups that gained an alert or an end, which
    /// are worth storing.
    pub(super) fn accept(&mut self, events: Vec<AlertEvent>, now_ms: i64) -> BTreeSet<String> {
        let mut changed = BTreeSet::new();
        for event in events {
            let labels =
                event.labels.retain(|name| self.settings.group_by.iter().any(|by| by == name));
            let key = format!("{{}}:{}", payload::braces(&labels));
            if event.resolved && !self.by_key.contains_key(&key) {
                continue; // Nobody was told that it fires.
            }
            let group = self.by_key.entry(key.clone()).or_insert_with(|| Group {
                key: key.clone(),
                labels,
                since_ms: now_ms,
                alerts: BTreeMap::new(),
                next_look_ms: now_ms + self.settings.wait_ms,
                was_looked_at: false,
                told: None,
            });
            if !group.was_looked_at && event.starts_at_ms + self.settings.wait_ms < now_ms {
                group.next_look_ms = group.next_look_ms.min(now_ms);
            }
            if group.take(event) {
                changed.insert(key);
            }
        }
        changed
    }

    /// Looks at the groups that are due. Returns what is to be told, and the keys of those groups,
    /// which are to be stored anew, or removed where [`Groups::get`] knows them no more. `is_waiting`
    /// says whether an earlier notification of a group is still undelivered: then none is repeated.
    pub(super) fn look(
        &mut self,
        now_ms: i64,
        is_waiting: impl Fn(&str) -> bool,
    ) -> (Vec<Notification>, Vec<String>) {
        let mut notifications = Vec::new();
        let mut looked_at = Vec::new();
        for group in self.by_key.values_mut().filter(|group| group.next_look_ms <= now_ms) {
            let may_repeat = !is_waiting(&group.key);
            notifications.extend(group.look(&self.settings, now_ms, may_repeat));
            looked_at.push(group.key.clone());
        }
        self.by_key.retain(|_, group| !group.alerts.is_empty());
        (notifications, looked_at)
    }
}

impl Group {
    /// Takes an alert; returns true when it is new here or over.
    fn take(&mut self, event: AlertEvent) -> bool {
        let fingerprint = payload::fingerprint(&event.labels);
        match self.alerts.get_mut(&fingerprint) {
            Some(known) => {
                let is_change =
                    known.resolved != event.resolved || known.starts_at_ms != event.starts_at_ms;
                *known = event;
                is_change
            }
            None if event.resolved => false, // Its end was told, or never its beginning.
            None => self.alerts.insert(fingerprint, event).is_none(),
        }
    }

    fn look(&mut self, settings: &Settings, now_ms: i64, may_repeat: bool) -> Option<Notification> {
        self.was_looked_at = true;
        self.next_look_ms = now_ms + settings.interval_ms;
        for alert in self.alerts.values_mut() {
            // Who is no longer told of is over.
            alert.resolved = alert.resolved || alert.ends_at_ms <= now_ms;
        }
        let of_kind = |resolved: bool| -> BTreeSet<u64> {
            let alerts = self.alerts.iter().filter(|(_, alert)| alert.resolved == resolved);
            alerts.map(|(fingerprint, _)| *fingerprint).collect()
        };
        let (firing, resolved) = (of_kind(false), of_kind(true));
        let is_news = match &self.told {
            None => !firing.is_empty(),
            Some(told) => {
                let is_repetition = may_repeat && now_ms - told.at_ms >= settings.repeat_ms;
                if firing.is_empty() {
                    !told.firing.is_empty()
                } else {
                    !firing.is_subset(&told.firing)
                        || !resolved.is_subset(&told.resolved)
                        || is_repetition
                }
            }
        };
        let notification = is_news.then(|| self.notification());
        if let Some(notification) = &notification {
            self.told = Some(Told { firing, resolved, at_ms: now_ms, n: notification.n });
        }
        self.alerts.retain(|_, alert| !alert.resolved);
        notification
    }

    fn notification(&self) -> Notification {
        let mut alerts: Vec<AlertEvent> = self.alerts.values().cloned().collect();
        alerts.sort_by(|a, b| (a.resolved, &a.labels).cmp(&(b.resolved, &b.labels)));
        Notification {
            group_key: self.key.clone(),
            group_labels: self.labels.clone(),
            since_ms: self.since_ms,
            alerts,
            n: self.told.as_ref().map_or(0, |told| told.n + 1),
        }
    }
}
