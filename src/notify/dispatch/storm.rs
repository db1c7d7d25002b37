//! What keeps a storm of alerts from becoming a storm of messages.
//!
//! A receiver hears so many groups within a while, each in a message of its own. What comes on top is
//! put together: one message that tells of all groups that are due, and then, while the storm lasts,
//! one a minute. Nothing is left out; it is only told less neatly.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::Labels;
use crate::notify::payload::{alert_order, fingerprint};

use super::Notification;

/// How long a receiver in a storm is left in peace between two messages.
pub(super) const PAUSE_MS: i64 = 60_000;

/// How much is told one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::notify) struct StormLimits {
    /// The most groups that one receiver hears within the window one by one; 0: any number.
    pub(in crate::notify) groups_max: usize,
    pub(in crate::notify) window_ms: i64,
}

/// What receivers heard lately.
#[derive(Debug)]
pub(super) struct Storm {
    limits: StormLimits,
    by_receiver: BTreeMap<String, Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    at_ms: VecDeque<i64>,
    peace_until_ms: i64,
}

impl Storm {
    pub(super) fn new(limits: StormLimits) -> Self {
        Self { limits, by_receiver: BTreeMap::new() }
    }

    /// Returns until when a receiver is left in peace, if it is.
    pub(super) fn peace_until_ms(&self, receiver: &str, now_ms: i64) -> Option<i64> {
        let heard = self.by_receiver.get(receiver)?;
        (heard.peace_until_ms > now_ms).then_some(heard.peace_until_ms)
    }

    /// Moves along with a clock that has made a leap.
    pub(super) fn leap(&mut self, by_ms: i64) {
        for heard in self.by_receiver.values_mut() {
            heard.peace_until_ms = heard.peace_until_ms.saturating_add(by_ms);
            heard.at_ms.iter_mut().for_each(|at_ms| *at_ms = at_ms.saturating_add(by_ms));
        }
    }

    /// Puts together what is too much.
    pub(super) fn bound(&mut self, news: Vec<Notification>, now_ms: i64) -> Vec<Notification> {
        if self.limits.groups_max == 0 || news.is_empty() {
            return news;
        }
        let mut by_receiver: BTreeMap<String, Vec<Notification>> = BTreeMap::new();
        for one in news {
            by_receiver.entry(one.receiver.clone()).or_default().push(one);
        }
        let bounded = by_receiver.into_iter().flat_map(|(receiver, news)| {
            let heard = self.by_receiver.entry(receiver).or_default();
            heard.bound(news, self.limits, now_ms)
        });
        bounded.collect()
    }
}

impl Heard {
    fn bound(
        &mut self,
        news: Vec<Notification>,
        limits: StormLimits,
        now_ms: i64,
    ) -> Vec<Notification> {
        while self.at_ms.front().is_some_and(|at_ms| at_ms + limits.window_ms <= now_ms) {
            self.at_ms.pop_front();
        }
        let n_left = limits.groups_max.saturating_sub(self.at_ms.len());
        let mut groups: Vec<String> = news.iter().map(|one| one.group_key.clone()).collect();
        groups.dedup();
        // One group too many is told as itself: put together it would only lose its name.
        let n_alone = if groups.len() <= n_left + 1 { groups.len() } else { n_left };
        let alone: BTreeSet<String> = groups.iter().take(n_alone).cloned().collect();
        let n_messages = n_alone + usize::from(n_alone < groups.len());
        self.at_ms.extend(std::iter::repeat_n(now_ms, n_messages));
        let (mut told, rest): (Vec<_>, Vec<_>) =
            news.into_iter().partition(|one| alone.contains(&one.group_key));
        if groups.len() > n_left {
            self.peace_until_ms = now_ms.saturating_add(PAUSE_MS);
        }
        let mut by_desk: BTreeMap<String, Vec<Notification>> = BTreeMap::new();
        for one in rest {
            by_desk.entry(one.desk.clone()).or_default().push(one);
        }
        told.extend(by_desk.into_values().filter_map(|many| together(many, now_ms)));
        told
    }
}

fn together(many: Vec<Notification>, now_ms: i64) -> Option<Notification> {
    let first = many.first()?;
    let (receiver, desk) = (first.receiver.clone(), first.desk.clone());
    let covers = many.iter().map(|one| one.group_key.clone()).collect();
    let alerts = many.into_iter().flat_map(|one| one.alerts);
    let by_fingerprint: BTreeMap<u64, _> =
        alerts.map(|alert| (fingerprint(&alert.labels), alert)).collect();
    let mut alerts: Vec<_> = by_fingerprint.into_values().collect();
    alerts.sort_by(|a, b| alert_order(&a.labels, &b.labels));
    Some(Notification {
        group_key: format!("storm:{receiver}"),
        receiver,
        desk,
        covers,
        group_labels: Labels::empty(),
        since_ms: now_ms,
        alerts,
        n: 0,
    })
}
