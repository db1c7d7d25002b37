//! A look at one group: what is held back, who is told what they do not know, and what is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::payload;
use super::super::policy::{Integration, desk_name};
use super::groups::{Group, HeldBack};
use super::log::{Standing, Told};
use super::{Dispatcher, Happened, Note, Notification, Place};
use crate::model::{AlertEvent, Labels};

/// Whom a group might tell.
struct About<'a> {
    route: &'a str,
    desk: String,
    integration: &'a Integration,
    repeat_ms: i64,
    may_repeat: bool,
}

impl Dispatcher {
    /// Looks at one group, and returns what is to be told of it.
    pub(super) fn look_at(
        &mut self,
        route_idx: usize,
        group: &mut Group,
        now_ms: i64,
        is_waiting: &dyn Fn(&str, &str) -> bool,
    ) -> Vec<Notification> {
        let policy = Arc::clone(&self.policy);
        let route = &policy.routes[route_idx];
        group.pace.was_looked_at = true;
        group.pace.next_look_ms = now_ms.saturating_add(route.timing.interval_ms);
        let muted_by = policy.muted_by(route, now_ms);
        let held_back: BTreeMap<u64, HeldBack> = group
            .alerts
            .iter()
            .filter_map(|&fp| Some((fp, self.held_back(fp, &muted_by, now_ms)?)))
            .collect();
        self.note_changes(group, &held_back);
        group.held_back = held_back;
        let heard = group.alerts.iter().filter(|fp| !group.held_back.contains_key(fp)).copied();
        let heard: Vec<u64> = heard.collect();
        let mut news = Vec::new();
        if !heard.is_empty() {
            let integrations = policy.receivers.get(&route.receiver);
            for integration in integrations.iter().flat_map(|receiver| &receiver.integrations) {
                let repeat_ms = route.timing.repeat_ms;
                let desk = desk_name(&route.receiver, integration);
                let may_repeat = !is_waiting(&desk, &group.key);
                let about =
                    About { route: &route.receiver, desk, integration, repeat_ms, may_repeat };
                news.extend(self.tell(group, &heard, about, now_ms));
            }
        }
        self.let_go(route_idx, group, now_ms);
        news
    }

    fn held_back(&self, fingerprint: u64, muted_by: &[String], now_ms: i64) -> Option<HeldBack> {
        let held = self.alerts.get(fingerprint)?;
        if let Some(source) = self.inhibited_by(&held.event.labels, now_ms) {
            return Some(HeldBack::InhibitedBy(source));
        }
        if !muted_by.is_empty() {
            return Some(HeldBack::MutedBy(muted_by.to_vec()));
        }
        if let Some(name) = self.policy.closed_hours(&held.event.labels, now_ms) {
            return Some(HeldBack::MutedBy(vec![name]));
        }
        let silences = self.silences.holding(&held.event.labels, now_ms);
        (!silences.is_empty()).then_some(HeldBack::SilencedBy(silences))
    }

    pub(super) fn inhibited_by(&self, labels: &Labels, now_ms: i64) -> Option<u64> {
        self.inhibitor.source_of(labels, |source| {
            let held = self.alerts.get(source)?;
            (!held.is_over(now_ms)).then_some(&held.event.labels)
        })
    }

    fn note_changes(&mut self, group: &Group, held_back: &BTreeMap<u64, HeldBack>) {
        for &fingerprint in &group.alerts {
            let (was, is) = (group.held_back.get(&fingerprint), held_back.get(&fingerprint));
            if was != is {
                let what = Happened::HeldBack(is.cloned());
                self.notes.push(Note { fingerprint, group_key: group.key.clone(), what });
            }
        }
    }

    /// Returns what one way of telling is to say, if it does not know it.
    fn tell(
        &mut self,
        group: &Group,
        heard: &[u64],
        about: About<'_>,
        now_ms: i64,
    ) -> Option<Notification> {
        let of_kind = |over: bool| -> BTreeSet<u64> {
            let is_kind =
                |fp: &u64| self.alerts.get(*fp).is_some_and(|a| a.is_over(now_ms) == over);
            heard.iter().copied().filter(is_kind).collect()
        };
        let standing = Standing { firing: of_kind(false), resolved: of_kind(true) };
        let key = (group.key.clone(), about.desk.clone());
        let send_resolved = about.integration.send_resolved;
        let told = self.log.told.get(&key);
        let is_news = match told {
            Some(told) if !told.was_refused => {
                let is_time = now_ms.saturating_sub(told.at_ms) >= about.repeat_ms;
                told.is_news(&standing, send_resolved, is_time && about.may_repeat)
            }
            _ => !standing.firing.is_empty(),
        };
        if !is_news {
            return None;
        }
        let n = told.map_or(0, |told| told.n + 1);
        let is_said = send_resolved || !standing.firing.is_empty();
        let alerts = self.alerts_of(heard, send_resolved, now_ms);
        let told = Told {
            group_key: group.key.clone(),
            desk: about.desk.clone(),
            firing: standing.firing,
            resolved: standing.resolved,
            at_ms: now_ms,
            n,
            was_refused: false,
        };
        self.log.told.insert(key.clone(), told);
        self.changed.insert(Place::Told(key));
        is_said.then(|| Notification {
            receiver: about.route.to_owned(),
            desk: about.desk,
            group_key: group.key.clone(),
            covers: Vec::new(),
            group_labels: group.labels.clone(),
            since_ms: group.pace.since_ms,
            alerts,
            n,
        })
    }

    fn alerts_of(&self, heard: &[u64], with_resolved: bool, now_ms: i64) -> Vec<AlertEvent> {
        let held = heard.iter().filter_map(|fingerprint| self.alerts.get(*fingerprint));
        let said = held.filter(|held| with_resolved || !held.is_over(now_ms));
        let mut alerts: Vec<AlertEvent> = said
            .map(|held| AlertEvent { resolved: held.is_over(now_ms), ..held.event.clone() })
            .collect();
        alerts.sort_by(|a, b| payload::alert_order(&a.labels, &b.labels));
        alerts
    }

    /// Lets go of the alerts that are over. One that ended unheard is unknown to its receivers again.
    fn let_go(&mut self, route_idx: usize, group: &mut Group, now_ms: i64) {
        let is_over = |fp: &u64| self.alerts.get(*fp).is_none_or(|held| held.is_over(now_ms));
        let over: Vec<u64> = group.alerts.iter().copied().filter(is_over).collect();
        for fingerprint in over {
            group.alerts.remove(&fingerprint);
            let alert = self.alerts.get(fingerprint).map(|held| held.event.clone());
            let what = Happened::Ended { alert };
            self.notes.push(Note { fingerprint, group_key: group.key.clone(), what });
            if group.held_back.remove(&fingerprint).is_some() {
                self.unhear(route_idx, &group.key, fingerprint);
            }
            self.release(fingerprint);
        }
    }

    fn unhear(&mut self, route_idx: usize, group_key: &str, fingerprint: u64) {
        for key in self.log_keys(route_idx, group_key) {
            let told = self.log.told.get_mut(&key);
            if told.is_some_and(|told| told.firing.remove(&fingerprint)) {
                self.changed.insert(Place::Told(key));
            }
        }
    }

    fn release(&mut self, fingerprint: u64) {
        let Some(held) = self.alerts.get_mut(fingerprint) else { return };
        held.n_groups = held.n_groups.saturating_sub(1);
        if held.n_groups == 0
            && let Some(held) = self.alerts.remove(fingerprint)
        {
            self.inhibitor.remove(fingerprint, &held.event.labels);
            self.changed.insert(Place::Alert(fingerprint));
        }
    }
}
