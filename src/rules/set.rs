//! All groups: evaluated on a clock, reloaded, shown, saved.
//!
//! One task drives all groups; each group is evaluated by at most one at a time, and a slow group
//! delays none but itself. Readers see a picture taken after the last evaluation and wait for nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::base::LeapDoubt;
use crate::base::clock::SharedClock;
use crate::model::Labels;

use super::def::GroupDef;
use super::group::{Group, Leftover};
use super::member::{Member, Shown};
use super::state;
use super::view::{AlertsView, GroupView, RulesFilter, RulesView};
use super::{Config, Metrics, RulesError, STALE_BITS, World};

/// What those are told of a failed evaluation who may not see every commons.
const ERROR_UNSEEN: &str = "the evaluation failed; why may name series of other commons, so it is shown \
    only to those who read all of them";
/// How often the clock is looked at. Short, since the clock may run faster than the world.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a stop waits for evaluations under way.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// What all groups share.
#[derive(Clone)]
pub struct Context {
    /// The world around the rules.
    pub world: Arc<dyn World>,
    /// Where the time comes from.
    pub clock: SharedClock,
    /// How often an alert that still fires is told again.
    pub resend_ms: i64,
    /// The most alerts of a rule whose group has no `limit`.
    pub alerts_per_rule_max: usize,
    /// `$externalLabels`.
    pub external_labels: Labels,
    /// `$externalURL`, without a slash at its end.
    pub external_url: Arc<str>,
    /// What is counted.
    pub metrics: Metrics,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("external_url", &self.external_url).finish_non_exhaustive()
    }
}

impl Context {
    /// Returns a context with the settings of the configuration.
    pub fn new(
        config: &Config,
        external_url: &str,
        world: Arc<dyn World>,
        clock: SharedClock,
        metrics: Metrics,
    ) -> Self {
        Self {
            world,
            clock,
            resend_ms: config.resend_delay.as_ms(),
            alerts_per_rule_max: config.alerts_per_rule_max,
            external_labels: Labels::from_pairs(&config.external_labels),
            external_url: external_url.trim_end_matches('/').into(),
            metrics,
        }
    }
}

/// What was last saved of each group, by the name of its value.
#[derive(Debug, Default)]
pub struct Memo(BTreeMap<String, Option<Arc<Shown>>>);

impl Memo {
    /// Walks the names of the values.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// Returns a memo of values that an earlier process saved.
    pub fn of_stored<'k>(keys: impl Iterator<Item = &'k String>) -> Self {
        Self(keys.map(|key| (key.clone(), None)).collect())
    }
}

/// All groups in force.
#[derive(Debug)]
pub struct RuleSet {
    context: Context,
    members: RwLock<Vec<Arc<Member>>>,
    n_changes: watch::Sender<u64>,
    leaps: Mutex<LeapDoubt>,
}

impl RuleSet {
    /// Returns a set of these groups. Nothing is evaluated before [`RuleSet::run`].
    pub fn new(context: Context, groups: Vec<GroupDef>) -> Self {
        let now_ms = context.clock.now_ms();
        let member = |def| Member::new(Group::new(Arc::new(def)), now_ms);
        let members: Vec<_> = groups.into_iter().map(member).collect();
        let set = Self {
            context,
            members: RwLock::new(members),
            n_changes: watch::Sender::new(0),
            leaps: Mutex::default(),
        };
        set.follow_clock();
        set.count();
        set
    }

    /// Returns the time on the rules' clock, ms since 1970 UTC.
    pub fn now_ms(&self) -> i64 {
        self.context.clock.now_ms()
    }

    /// Returns a receiver that learns of each reload, after which [`RuleSet::save_changed`] has something
    /// new; what evaluations change the world was told to remember.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.n_changes.subscribe()
    }

    /// Evaluates groups as they fall due, until told to stop; evaluations under way are finished.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut under_way = FuturesUnordered::new();
        let mut busy: BTreeSet<(String, String)> = BTreeSet::new();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let done = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                done = under_way.next(), if !under_way.is_empty() => done,
                _ = look.tick() => None,
            };
            if let Some(key) = done {
                busy.remove(&key);
            }
            self.follow_clock();
            for member in self.members() {
                let key = (member.def.file.clone(), member.def.name.clone());
                if busy.contains(&key) {
                    continue;
                }
                if let Some(slot_ms) = member.take_due(&self.context) {
                    busy.insert(key.clone());
                    under_way.push(async move {
                        self.evaluate(&member, slot_ms).await;
                        key
                    });
                }
            }
        }
        let finish = async { while under_way.next().await.is_some() {} };
        if tokio::time::timeout(STOP_WITHIN, finish).await.is_err() {
            warn!(deadline = ?STOP_WITHIN, "rule evaluations did not end in time");
        }
    }

    /// Evaluates every group that is due now, one after the other; for callers that own the clock.
    pub async fn tick(&self) {
        self.follow_clock();
        for member in self.members() {
            if let Some(slot_ms) = member.take_due(&self.context) {
                self.evaluate(&member, slot_ms).await;
            }
        }
    }

    /// Evaluates every group for the time `now_ms`, due or not: for tests and replays of rules.
    pub async fn evaluate_all(&self, now_ms: i64) {
        for member in self.members() {
            self.evaluate(&member, now_ms).await;
        }
    }

    async fn evaluate(&self, member: &Member, slot_ms: i64) {
        let holds_on = self.leaps.lock().is_young();
        member.evaluate(&self.context, slot_ms, holds_on).await;
        self.count();
    }

    /// Moves along with a clock that has made a leap.
    fn follow_clock(&self) {
        let leap_ms = self.leaps.lock().look(&*self.context.clock);
        if leap_ms != 0 {
            let leap_s = leap_ms / 1_000;
            warn!(leap_s, "the clock has made a leap: for a while no alert is over by it");
            self.members().iter().for_each(|member| member.leap(leap_ms));
        }
    }

    fn members(&self) -> Vec<Arc<Member>> {
        self.members.read().clone()
    }

    fn shown(&self) -> Vec<Arc<Shown>> {
        self.members.read().iter().map(|member| Arc::clone(&member.shown.read())).collect()
    }

    fn count(&self) {
        let shown = self.shown();
        let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let metrics = &self.context.metrics;
        metrics.groups.set(gauge(shown.len()));
        let n_pending = shown.iter().map(|shown| shown.n_pending).sum();
        let n_firing = shown.iter().map(|shown| shown.n_firing).sum();
        metrics.alerts.get_or_create(&[("state", "pending")]).set(gauge(n_pending));
        metrics.alerts.get_or_create(&[("state", "firing")]).set(gauge(n_firing));
    }

    /// Notes that a reload was refused; the groups in force stay.
    pub fn refused(&self) {
        self.context.metrics.reloads.get_or_create(&[("outcome", "refused")]).inc();
    }

    /// Puts other groups in force. A group that did not change goes on undisturbed; in one that did,
    /// rules of the same name and labels keep their alerts. What is gone for good is ended: stale
    /// markers for its series, an end for its alerts.
    pub async fn reload(&self, groups: Vec<GroupDef>) {
        self.follow_clock();
        let now_ms = self.context.clock.now_ms();
        let mut old = self.members();
        let mut new = Vec::with_capacity(groups.len());
        let mut left = Leftover::default();
        for def in groups {
            let same = |member: &Arc<Member>| {
                (&member.def.file, &member.def.name) == (&def.file, &def.name)
            };
            let Some(idx) = old.iter().position(same) else {
                new.push(Member::new(Group::new(Arc::new(def)), now_ms));
                continue;
            };
            let member = old.remove(idx);
            if *member.def == def {
                new.push(member);
                continue;
            }
            let mut group = Group::new(Arc::new(def));
            let mut replaced = member.lock().await;
            group.take_over(&mut replaced);
            left.add(replaced.retire(&self.context, now_ms));
            new.push(Member::new(group, now_ms));
        }
        for member in &old {
            left.add(member.lock().await.retire(&self.context, now_ms));
        }
        info!(n_groups = new.len(), "rules are in force");
        *self.members.write() = new;
        self.context.metrics.reloads.get_or_create(&[("outcome", "ok")]).inc();
        self.count();
        self.n_changes.send_modify(|n| *n += 1);
        self.clear(left, now_ms).await;
    }

    async fn clear(&self, left: Leftover, now_ms: i64) {
        if !left.ended.is_empty() {
            self.context.world.fire(left.ended).await;
        }
        let stale = |labels| (labels, now_ms, f64::from_bits(STALE_BITS).into());
        let rows: Vec<_> = left.series.into_iter().map(stale).collect();
        if !rows.is_empty()
            && let Err(error) = self.context.world.record(rows).await
        {
            warn!(error, "cannot mark the series of rules that are gone as stale");
        }
    }

    /// Returns what `/api/v1/rules` shows. Alerts that `visible` refuses by their labels are left out;
    /// the rules themselves are common property. Why one failed may name series of any commons: that is
    /// for those to whom `visible` shows what has no labels at all.
    pub fn rules_view(&self, filter: &RulesFilter, visible: &dyn Fn(&Labels) -> bool) -> RulesView {
        let shown = self.shown();
        let mut groups: Vec<GroupView> =
            shown.iter().filter_map(|shown| filter.apply(&shown.view)).collect();
        let sees_all = visible(&Labels::empty());
        for rule in groups.iter_mut().flat_map(|group| &mut group.rules) {
            if !sees_all {
                rule.last_error = rule.last_error.take().map(|_| ERROR_UNSEEN.to_owned());
            }
            if let Some(alerts) = &mut rule.alerts {
                alerts.retain(|alert| visible(&alert.labels));
                let worst = alerts.iter().map(|alert| alert.state).max();
                if !filter.exclude_alerts {
                    rule.state = Some(worst.unwrap_or(super::AlertState::Inactive));
                }
            }
        }
        RulesView { groups }
    }

    /// Returns what `/api/v1/alerts` shows, without the alerts that `visible` refuses.
    pub fn alerts_view(&self, visible: &dyn Fn(&Labels) -> bool) -> AlertsView {
        let shown = self.shown();
        let rules = shown.iter().flat_map(|shown| &shown.view.rules);
        let alerts = rules.flat_map(|rule| rule.alerts.iter().flatten());
        AlertsView { alerts: alerts.filter(|alert| visible(&alert.labels)).cloned().collect() }
    }

    /// Returns whether an alert is pending or fires.
    pub fn has_alerts(&self) -> bool {
        self.shown().iter().any(|shown| shown.n_pending + shown.n_firing > 0)
    }

    /// Returns the state of all alerts, for [`RuleSet::restore`] after a restart.
    pub fn save(&self) -> Vec<u8> {
        let groups = self.shown().iter().map(|shown| shown.saved.clone()).collect();
        state::encode(groups, self.context.clock.now_ms())
    }

    /// Returns what has changed since `memo`, a value for each group or none where there is nothing to
    /// remember, and notes it there. What is not `everything` are groups an alert of which changed its
    /// state; the others' values differ in times only.
    pub fn save_changed(
        &self,
        memo: &mut Memo,
        everything: bool,
    ) -> Vec<(String, Option<Vec<u8>>)> {
        let now_ms = self.context.clock.now_ms();
        let shown = self.shown().into_iter().map(|shown| (state::key_of(&shown.saved), shown));
        let now: BTreeMap<String, Arc<Shown>> = shown.collect();
        let mut changes = Vec::new();
        for (key, shown) in &now {
            let is_new = match memo.0.get(key) {
                None => !shown.saved.is_empty(),
                Some(None) => true, // Another process's: what it says is over.
                Some(Some(old)) if Arc::ptr_eq(old, shown) => false,
                Some(Some(old)) if everything => !(old.saved.is_empty() && shown.saved.is_empty()),
                Some(Some(old)) => old.saved.states() != shown.saved.states(),
            };
            if is_new {
                let value = (!shown.saved.is_empty())
                    .then(|| state::encode(vec![shown.saved.clone()], now_ms));
                changes.push((key.clone(), value));
                memo.0.insert(key.clone(), Some(Arc::clone(shown)));
            }
        }
        let gone: Vec<String> =
            memo.0.keys().filter(|key| !now.contains_key(*key)).cloned().collect();
        for key in gone {
            memo.0.remove(&key);
            changes.push((key, None));
        }
        changes
    }

    /// Gives the alerts back what an earlier process saved; call it before [`RuleSet::run`].
    /// `saved_at_ms` says until when it watched, where that is later than when the state was written.
    pub async fn restore(
        &self,
        bytes: &[u8],
        now_ms: i64,
        saved_at_ms: Option<i64>,
    ) -> Result<(), RulesError> {
        let saved = state::decode(bytes)?;
        let watched_ms = saved.saved_at_ms.max(saved_at_ms.unwrap_or(i64::MIN));
        let break_ms = now_ms.saturating_sub(watched_ms);
        for saved in saved.groups {
            let members = self.members();
            let same = |member: &&Arc<Member>| {
                (&member.def.file, &member.def.name) == (&saved.file, &saved.name)
            };
            if let Some(member) = members.iter().find(same) {
                let mut group = member.lock().await;
                state::restore(&mut group, saved, break_ms);
                *member.shown.write() = Shown::of(&group);
            }
        }
        self.count();
        Ok(())
    }
}

impl Leftover {
    fn add(&mut self, mut other: Leftover) {
        self.series.append(&mut other.series);
        self.ended.append(&mut other.ended);
    }
}
