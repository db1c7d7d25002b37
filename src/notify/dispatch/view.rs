//! What can be seen of the dispatcher: alerts with their status, groups, silences.

use crate::model::{AlertEvent, Labels, Matcher};

use super::Dispatcher;
use super::silences::Silence;
use crate::notify::matchers::all_match;
use crate::notify::payload;

/// Why an alert is told or not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AlertStatus {
    /// Silences that hold for it.
    pub silenced_by: Vec<String>,
    /// Fingerprints of alerts that inhibit it.
    pub inhibited_by: Vec<u64>,
    /// Time intervals that mute its groups.
    pub muted_by: Vec<String>,
}

impl AlertStatus {
    /// Returns true when nothing holds it back.
    pub fn is_active(&self) -> bool {
        self.silenced_by.is_empty() && self.inhibited_by.is_empty() && self.muted_by.is_empty()
    }
}

/// An alert as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertView {
    /// What was told.
    pub event: AlertEvent,
    /// When it was last told.
    pub updated_ms: i64,
    /// What identifies it.
    pub fingerprint: u64,
    /// Whom it goes to.
    pub receivers: Vec<String>,
    /// Why it is told or not.
    pub status: AlertStatus,
}

impl AlertView {
    /// Returns how many bytes of text it has, which are fewer than it takes written down.
    fn n_bytes(&self) -> usize {
        let event = &self.event;
        let labels = event.labels.iter().map(|(name, value)| name.len() + value.len());
        let texts = event.annotations.iter().map(|(name, text)| name.len() + text.len());
        labels.chain(texts).sum::<usize>() + event.generator_url.len()
    }
}

/// A group as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupView {
    /// The labels that its alerts have in common by the route's `group_by`.
    pub labels: Labels,
    /// Whom it is told to.
    pub receiver: String,
    /// Labels that every alert on this route must have.
    pub route_labels: Vec<(String, String)>,
    /// Its key in payloads.
    pub key: String,
    /// Its alerts.
    pub alerts: Vec<AlertView>,
}

/// Which alerts are wanted.
#[derive(Debug, Clone, Default)]
pub struct AlertsFilter {
    /// All of them must hold for the alert's labels.
    pub matchers: Vec<Matcher>,
    /// Those that nothing holds back.
    pub active: bool,
    /// Silenced ones.
    pub silenced: bool,
    /// Inhibited ones.
    pub inhibited: bool,
    /// Those in groups that a time interval mutes.
    pub muted: bool,
    /// The receiver's name must match it.
    pub receiver: Option<regex::Regex>,
    /// All of them must hold for the receiver, whose one label is its `name`.
    pub receiver_matchers: Vec<Matcher>,
    /// Text that is enough: of an alert behind the first that passes it nothing is told.
    pub bytes_max: Option<usize>,
}

impl AlertsFilter {
    /// Returns a filter that wants everything.
    pub fn everything() -> Self {
        Self { active: true, silenced: true, inhibited: true, muted: true, ..Self::default() }
    }

    fn wants_receiver(&self, name: &str) -> bool {
        self.receiver.as_ref().is_none_or(|pattern| pattern.is_match(name))
            && receiver_fits(&self.receiver_matchers, name)
    }

    /// Counts an alert; returns true when there was room for one more.
    fn has_room(&self, n_bytes: &mut usize, alert: &AlertView) -> bool {
        let had_room = self.bytes_max.is_none_or(|max| *n_bytes <= max);
        *n_bytes = n_bytes.saturating_add(alert.n_bytes());
        had_room
    }

    fn wants(&self, alert: &AlertView) -> bool {
        let status = &alert.status;
        (self.active || !status.is_active())
            && (self.silenced || status.silenced_by.is_empty())
            && (self.inhibited || status.inhibited_by.is_empty())
            && all_match(&self.matchers, |name| alert.event.labels.get(name))
    }
}

/// Returns whether a receiver fits all matchers; its one label is its `name`.
pub fn receiver_fits(matchers: &[Matcher], receiver: &str) -> bool {
    all_match(matchers, |name| (name == "name").then_some(receiver))
}

impl Dispatcher {
    /// Returns the alerts that fire, that `sees` allows and that the filter wants, by fingerprint.
    pub(in crate::notify) fn alerts_view(
        &self,
        filter: &AlertsFilter,
        sees: &dyn Fn(&Labels) -> bool,
        now_ms: i64,
    ) -> Vec<AlertView> {
        let firing = self.alerts.iter().filter(|(_, held)| !held.is_over(now_ms));
        let seen = firing.filter(|(_, held)| sees(&held.event.labels));
        let alerts = seen.filter_map(|(fingerprint, _)| self.alert_view(fingerprint, now_ms));
        let wanted = alerts.filter(|alert| {
            filter.wants(alert) && alert.receivers.iter().any(|name| filter.wants_receiver(name))
        });
        let mut n_bytes = 0;
        wanted.take_while(|alert| filter.has_room(&mut n_bytes, alert)).collect()
    }

    fn alert_view(&self, fingerprint: u64, now_ms: i64) -> Option<AlertView> {
        let held = self.alerts.get(fingerprint)?;
        let labels = &held.event.labels;
        let receivers = self.policy.receivers_of(labels).into_iter().map(str::to_owned).collect();
        let status = AlertStatus {
            silenced_by: self.silences.holding(labels, now_ms),
            inhibited_by: self.inhibited_by(labels, now_ms).into_iter().collect(),
            muted_by: self.policy.closed_hours(labels, now_ms).into_iter().collect(),
        };
        let (event, updated_ms) = (held.event.clone(), held.updated_ms);
        Some(AlertView { event, updated_ms, fingerprint, receivers, status })
    }

    /// Returns the groups with the alerts that `sees` allows and that the filter wants; groups without
    /// one are left out.
    pub(in crate::notify) fn groups_view(
        &self,
        filter: &AlertsFilter,
        sees: &dyn Fn(&Labels) -> bool,
        now_ms: i64,
    ) -> Vec<GroupView> {
        let (mut groups, mut n_bytes) = (Vec::new(), 0);
        for ((idx, _), group) in &self.groups {
            let route = &self.policy.routes[*idx];
            let muted_by = self.policy.muted_by(route, now_ms);
            if !filter.wants_receiver(&route.receiver) || (!filter.muted && !muted_by.is_empty()) {
                continue;
            }
            let views = group.alerts.iter().filter_map(|fp| self.alert_view(*fp, now_ms));
            let mut alerts: Vec<AlertView> = views
                .filter(|alert| alert.event.ends_at_ms > now_ms && sees(&alert.event.labels))
                .filter(|alert| filter.wants(alert))
                .take_while(|alert| filter.has_room(&mut n_bytes, alert))
                .collect();
            for alert in &mut alerts {
                alert.status.muted_by.extend(muted_by.iter().cloned());
            }
            alerts.sort_by(|a, b| payload::alert_order(&a.event.labels, &b.event.labels));
            if !alerts.is_empty() {
                groups.push(GroupView {
                    labels: group.labels.clone(),
                    receiver: route.receiver.clone(),
                    route_labels: self.policy.route_labels(*idx),
                    key: group.key.clone(),
                    alerts,
                });
            }
        }
        groups.sort_by(|a, b| (&a.labels, &a.receiver).cmp(&(&b.labels, &b.receiver)));
        groups
    }

    /// Returns whether a silence holds for labels now.
    pub(in crate::notify) fn is_silenced(&self, labels: &Labels, now_ms: i64) -> bool {
        !self.silences.holding(labels, now_ms).is_empty()
    }

    /// Takes a silence as it is, also one that is over.
    pub(in crate::notify) fn know_silence(&mut self, silence: Silence) {
        if let Err(reason) = self.silences.restore(silence) {
            tracing::warn!(reason, "a silence cannot be read");
        }
    }

    /// Returns all silences, by id.
    pub(in crate::notify) fn silences_view(&self) -> Vec<Silence> {
        self.silences.iter().cloned().collect()
    }
}
