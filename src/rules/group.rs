//! One evaluation of one group at one time.
//!
//! Rules run in order and each one's samples are stored before the next is asked. An alert is told
//! before its samples are stored: a store under pressure must not keep people from hearing of it. Between
//! what a rule finds (`judge`) and what follows from it (`follow`) whoever runs the group can keep and
//! show where its alerts stand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{AlertEvent, Labels};

use super::alert::{Alert, AlertState, Alerts, Found, Timing};
use super::def::{AlertDef, GroupDef, RecordDef, RuleDef};
use super::dialect::Dialect;
use super::overrides::{Override, Threshold};
use super::set::Context;
use super::text::Data;
use super::{Point, Row, STALE_BITS, record};
use crate::template;

/// How the last evaluation of a rule went.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Health {
    /// `None` before the first evaluation.
    pub(crate) last_ms: Option<i64>,
    pub(crate) duration_ns: u64,
    pub(crate) error: Option<String>,
}

/// A rule with what it remembers.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) def: RuleDef,
    pub(crate) alerts: Alerts,
    pub(crate) health: Health,
    /// The series it stored last time; those that are missing next time get a stale marker.
    series: BTreeSet<Labels>,
}

/// A group with what it remembers.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) def: Arc<GroupDef>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) last_ms: Option<i64>,
    pub(crate) duration_ns: u64,
    /// Its state has moved into another group; it must not be evaluated again.
    is_retired: bool,
    /// The clock has just leapt: what is not found is not over.
    holds_on: bool,
}

impl Rule {
    fn new(def: &RuleDef) -> Self {
        Self {
            def: def.clone(),
            alerts: Alerts::default(),
            health: Health::default(),
            series: BTreeSet::new(),
        }
    }

    /// Returns true when `other` is the same rule, perhaps with another expression or other times, so
    /// that its alerts live on.
    fn continues(&self, other: &RuleDef) -> bool {
        match (&self.def, other) {
            (RuleDef::Alert(a), RuleDef::Alert(b)) => (&a.name, &a.labels) == (&b.name, &b.labels),
            (RuleDef::Record(a), RuleDef::Record(b)) => {
                (&a.name, &a.labels) == (&b.name, &b.labels)
            }
            _ => false,
        }
    }
}

/// What a reload leaves behind of rules that are gone.
#[derive(Debug, Default)]
pub(crate) struct Leftover {
    pub(crate) series: BTreeSet<Labels>,
    pub(crate) ended: Vec<AlertEvent>,
}

impl Group {
    pub(crate) fn new(def: Arc<GroupDef>) -> Self {
        let rules = def.rules.iter().map(Rule::new).collect();
        Self { def, rules, last_ms: None, duration_ns: 0, is_retired: false, holds_on: false }
    }

    /// Moves along with a clock that has made a leap.
    pub(crate) fn leap(&mut self, by_ms: i64) {
        self.rules.iter_mut().for_each(|rule| rule.alerts.leap(by_ms));
    }

    /// Says whether what is not found is over: not while the clock may be wrong.
    pub(crate) fn hold_on(&mut self, holds_on: bool) {
        self.holds_on = holds_on;
    }

    /// Takes over from an older version of the group what its rules remember.
    pub(crate) fn take_over(&mut self, old: &mut Group) {
        old.is_retired = true;
        for rule in &mut self.rules {
            if let Some(idx) = old.rules.iter().position(|old| old.continues(&rule.def)) {
                let old = old.rules.remove(idx);
                (rule.alerts, rule.series, rule.health) = (old.alerts, old.series, old.health);
            }
        }
    }

    /// Ends a group for good; what its rules left behind is the caller's to clear.
    pub(crate) fn retire(&mut self, context: &Context, now_ms: i64) -> Leftover {
        self.is_retired = true;
        let mut leftover = Leftover::default();
        for rule in &mut self.rules {
            leftover.series.append(&mut rule.series);
            // With nothing found any more and no grace, all that fires ends now.
            let at_once = Timing::default();
            if rule.alerts.step(at_once, Vec::new(), now_ms).is_ok() {
                leftover.ended.extend(tell(rule, context, &self.def, now_ms));
            }
        }
        leftover.ended.retain(|event| event.resolved);
        leftover
    }

    /// Puts back what an earlier process saved of a rule's alerts.
    pub(crate) fn restore(&mut self, rule_idx: usize, alerts: Vec<Alert>) {
        if let Some(rule) = self.rules.get_mut(rule_idx) {
            rule.alerts = Alerts::from_saved(alerts);
            // So that alerts which ended meanwhile get their stale markers.
            rule.series = rule.alerts.rows(0).into_iter().map(|(labels, ..)| labels).collect();
        }
    }

    /// Asks what a rule asks at the time `now_ms` and moves its alerts; nobody is told yet.
    pub(crate) async fn judge(&mut self, idx: usize, context: &Context, now_ms: i64) -> Judged {
        let at_ms = now_ms - self.def.query_offset_ms;
        let timing = self.timing(context);
        let rule = &mut self.rules[idx];
        let n_before = rule.alerts.n_changes();
        let rows = match rule.def.clone() {
            RuleDef::Record(def) => evaluate_record(&def, &self.def, context, at_ms).await,
            RuleDef::Alert(def) => {
                let timing = Timing { keep_firing_ms: def.keep_firing_ms, ..timing };
                evaluate_alert(rule, &def, context, timing, (now_ms, at_ms)).await
            }
        };
        let has_changed = rule.alerts.n_changes() != n_before;
        match rows {
            Ok((rows, error)) => Judged { rows: Some(rows), error, has_changed },
            Err(error) => Judged { rows: None, error: Some(error), has_changed },
        }
    }

    /// Returns what holds for the alerts of all its rules.
    fn timing(&self, context: &Context) -> Timing {
        Timing {
            keep_firing_ms: 0,
            alerts_max: self.def.limit,
            remembered_max: if self.def.limit > 0 { 0 } else { context.alerts_per_rule_max },
            holds_on: self.holds_on,
        }
    }

    /// Tells people what is due of a rule, whatever became of its question, and then stores its samples.
    pub(crate) async fn follow(
        &mut self,
        idx: usize,
        judged: Judged,
        context: &Context,
        now_ms: i64,
    ) -> Option<String> {
        let rule = &mut self.rules[idx];
        // What fires goes on being told: a question that fails does not say that all is well.
        let events = tell(rule, context, &self.def, now_ms);
        if !events.is_empty() {
            context.world.fire(events).await;
        }
        let Judged { rows, error, .. } = judged;
        let Some(rows) = rows else { return error };
        let at_ms = now_ms - self.def.query_offset_ms;
        let stored = store(rule, rows, context, (at_ms, self.holds_on)).await;
        error.or(stored.err())
    }

    /// Notes how the evaluation of a rule went.
    pub(crate) fn note(&mut self, idx: usize, health: Health, context: &Context) {
        let rule = &mut self.rules[idx];
        rule.health = health;
        context.metrics.evaluated(rule.health.error.is_none());
        if let Some(error) = &rule.health.error {
            tracing::warn!(group = %self.def.name, rule = rule.def.name(), error, "rule failed");
        }
    }

    /// Returns whether its state has moved into another group.
    pub(crate) fn is_retired(&self) -> bool {
        self.is_retired
    }

    /// Returns how many alerts are pending and how many fire.
    pub(crate) fn count_alerts(&self) -> (usize, usize) {
        let states = || self.rules.iter().flat_map(|rule| rule.alerts.iter());
        let count = |state| states().filter(|alert| alert.state == state).count();
        (count(AlertState::Pending), count(AlertState::Firing))
    }
}

/// What a rule found, before anybody is told.
#[derive(Debug)]
pub(crate) struct Judged {
    /// Its samples; none where its question failed.
    rows: Option<Vec<Row>>,
    /// What is wrong.
    error: Option<String>,
    /// Whether an alert came, went or changed its state.
    pub(crate) has_changed: bool,
}

/// Stores what a rule found, and stale markers for what it finds no more: nothing is that while it holds on.
async fn store(
    rule: &mut Rule,
    rows: Vec<Row>,
    context: &Context,
    (at_ms, holds_on): (i64, bool),
) -> Result<(), String> {
    let mut series: BTreeSet<Labels> = rows.iter().map(|(labels, ..)| labels.clone()).collect();
    if holds_on {
        series.extend(rule.series.iter().cloned());
    }
    let ended = rule.series.difference(&series).cloned();
    let ended = ended.map(|labels| (labels, at_ms, f64::from_bits(STALE_BITS).into()));
    let rows: Vec<Row> = rows.into_iter().chain(ended.collect::<Vec<_>>()).collect();
    rule.series = series;
    if rows.is_empty() {
        return Ok(());
    }
    context.world.record(rows).await.map_err(|error| format!("cannot store the result: {error}"))
}

async fn evaluate_record(
    def: &RecordDef,
    group: &GroupDef,
    context: &Context,
    at_ms: i64,
) -> Result<record::Recorded, String> {
    let found = context.world.ask(def.asked.question(), at_ms).await?;
    record::rows(def, found, group.limit, at_ms)
}

/// Returns the samples of an alerting rule at the time that is asked about, and what is wrong all the same.
async fn evaluate_alert(
    rule: &mut Rule,
    def: &AlertDef,
    context: &Context,
    timing: Timing,
    (now_ms, at_ms): (i64, i64),
) -> Result<(Vec<Row>, Option<String>), String> {
    let found = context.world.ask(def.asked.question(), at_ms).await?;
    let mut expanded = Vec::with_capacity(found.len());
    for (labels, point) in found {
        let own = def.overrides.of(&labels, now_ms);
        if passes(def, own, &point) {
            expanded.push(expand(def, own, context, labels, point, at_ms).await);
        }
    }
    let left_out = rule.alerts.step(timing, expanded, now_ms)?;
    Ok((rule.alerts.rows(at_ms), left_out))
}

fn tell(rule: &mut Rule, context: &Context, group: &GroupDef, now_ms: i64) -> Vec<AlertEvent> {
    let RuleDef::Alert(def) = &rule.def else {
        return Vec::new();
    };
    let link = format!("{}{}", context.external_url, link_of(def));
    // As in Prometheus: who hears nothing for four rounds may take the alert for over.
    let valid_ms = 4 * context.resend_ms.max(group.interval_ms);
    rule.alerts.tell(now_ms, context.resend_ms, valid_ms, &link, &context.external_labels)
}

/// Returns where a rule is looked at: PromQL's table, as Prometheus links to it; in other languages,
/// what explains the rule.
fn link_of(def: &AlertDef) -> String {
    match def.asked.dialect {
        Dialect::Promql => template::table_link(&def.query),
        _ => format!("/api/v1/admin/alerts/explain?rule={}", template::query_escape(&def.name)),
    }
}

/// Returns whether a result is an alert: it passes the threshold, and its commons has the rule on. A
/// histogram passes none, as it is left out where PromQL compares it with a number.
fn passes(def: &AlertDef, own: Option<&Override>, point: &Point) -> bool {
    let limit = own.and_then(|own| own.threshold);
    let holds = |threshold: Threshold| point.number().is_some_and(|n| threshold.holds(n, limit));
    own.is_none_or(|own| !own.is_off) && def.threshold.is_none_or(holds)
}

/// Makes one result an alert: labels and annotations expanded, the name set, the metric's removed.
/// What its commons has different takes the place of the rule's.
async fn expand(
    def: &AlertDef,
    own: Option<&Override>,
    context: &Context,
    labels: Labels,
    point: Point,
    at_ms: i64,
) -> Found {
    let mut builder = labels.to_builder();
    builder.remove("__name__");
    let value = point.value();
    let data = Data {
        labels,
        value: point,
        external_labels: context.external_labels.clone(),
        external_url: Arc::clone(&context.external_url),
        now_ms: at_ms,
    };
    // A template asks in the language of its rule.
    let asked = def.asked.question();
    let ask = |expr: String| async move { context.world.ask(asked.about(&expr), at_ms).await };
    for (name, template) in &def.labels {
        builder.set(name, &template.expand(&data, ask).await);
    }
    for (name, text) in own.iter().flat_map(|own| &own.labels) {
        builder.set(name, text);
    }
    builder.set("alertname", &def.name);
    let mut annotations = BTreeMap::new();
    for (name, template) in &def.annotations {
        annotations.insert(name.clone(), template.expand(&data, ask).await);
    }
    let hold_ms = own.and_then(|own| own.hold_ms).unwrap_or(def.hold_ms);
    Found { labels: builder.build(), annotations, value, hold_ms }
}
