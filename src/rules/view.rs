//! What `/api/v1/rules` and `/api/v1/alerts` show, in exactly Prometheus' JSON.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde::Serialize;

use crate::base::units::format_duration_ms;
use crate::model::Labels;

use super::alert::{Alert, AlertState};
use super::def::{AlertDef, GroupDef, RuleDef};
use super::dialect::{Asked, Dialect};
use super::group::{Group, Health, Rule};
use super::overrides::{Override, Threshold};
use super::text::Template;
use crate::template::format_float_exponent;

/// `data` of `/api/v1/rules`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RulesView {
    /// The groups, sorted by file and in the order of the file.
    pub groups: Vec<GroupView>,
}

/// `data` of `/api/v1/alerts`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlertsView {
    /// Pending and firing alerts.
    pub alerts: Vec<AlertView>,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupView {
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: String,
    /// Its rules, in order.
    pub rules: Vec<RuleView>,
    /// Seconds between evaluations.
    pub interval: f64,
    /// How far behind their time evaluations look, in ms.
    #[serde(skip)]
    pub query_offset_ms: i64,
    /// The most alerts or series a rule may yield; 0 is no limit.
    pub limit: usize,
    /// Seconds the last evaluation took.
    pub evaluation_time: f64,
    /// When the last evaluation was.
    pub last_evaluation: String,
}

/// A rule; recording rules leave out what only alerting ones have.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleView {
    /// The worst state among the alerts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<AlertState>,
    /// The alert's or the new metric's name.
    pub name: String,
    /// The expression, formatted.
    pub query: String,
    /// What is asked; unlike `query` without the threshold.
    #[serde(skip)]
    pub asked: Asked,
    /// What a result must pass, where that is not in the expression.
    #[serde(skip)]
    pub threshold: Option<Threshold>,
    /// The language; PromQL is not said, as Prometheus knows no other.
    #[serde(skip_serializing_if = "is_promql")]
    pub language: Dialect,
    /// How far back it looks, in seconds, where the language does not say so itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<f64>,
    /// What single commons have different, by commons.
    #[serde(skip)]
    pub overrides: Vec<OverrideView>,
    /// `for`, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<f64>,
    /// `keep_firing_for`, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_firing_for: Option<f64>,
    /// Labels, unexpanded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations, unexpanded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Pending and firing alerts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alerts: Option<Vec<AlertView>>,
    /// `ok`, `err` or `unknown`.
    pub health: &'static str,
    /// Why the last evaluation failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Seconds the last evaluation took.
    pub evaluation_time: f64,
    /// When the last evaluation was.
    pub last_evaluation: String,
    /// Which kind of rule.
    #[serde(rename = "type")]
    pub kind: RuleKind,
}

/// What one commons has different in a rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OverrideView {
    /// The rule.
    pub rule: String,
    /// The commons.
    pub commons: String,
    /// What the rule says of each thing that is different.
    pub usual: BTreeMap<String, String>,
    /// What holds for the commons instead.
    pub own: BTreeMap<String, String>,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Until when it holds, ms since 1970 UTC.
    #[serde(skip)]
    pub until_ms: Option<i64>,
    /// The number that is compared with.
    #[serde(skip)]
    pub threshold: Option<f64>,
    /// The rule does not hold for this commons.
    #[serde(skip)]
    pub is_off: bool,
    /// Why, in somebody's words.
    pub why: String,
    /// Where it stands: file and line.
    pub place: String,
}

/// The kinds of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleKind {
    /// It tells people.
    Alerting,
    /// It stores a result.
    Recording,
}

/// A pending or firing alert.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertView {
    /// Its labels.
    pub labels: Labels,
    /// Its annotations, expanded.
    pub annotations: BTreeMap<String, String>,
    /// Pending or firing.
    pub state: AlertState,
    /// Since when its condition holds.
    pub active_at: String,
    /// Since when it fires only because of `keep_firing_for`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_firing_since: Option<String>,
    /// The value, as `1e+00`.
    pub value: String,
}

/// Which rules to show; empty lists want everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RulesFilter {
    /// `type=alert` or `type=record`.
    pub kind: Option<RuleKind>,
    /// `rule_name[]`.
    pub rule_names: Vec<String>,
    /// `rule_group[]`.
    pub groups: Vec<String>,
    /// `file[]`.
    pub files: Vec<String>,
    /// `exclude_alerts=true`.
    pub exclude_alerts: bool,
}

impl RulesFilter {
    /// Keeps what is wanted; a group without a wanted rule is left out, as in Prometheus.
    pub(super) fn apply(&self, group: &GroupView) -> Option<GroupView> {
        if !wanted(&self.groups, &group.name) || !wanted(&self.files, &group.file) {
            return None;
        }
        let mut group = group.clone();
        group.rules.retain(|rule| {
            self.kind.is_none_or(|kind| kind == rule.kind) && wanted(&self.rule_names, &rule.name)
        });
        if self.exclude_alerts {
            group
                .rules
                .iter_mut()
                .for_each(|rule| rule.alerts = rule.alerts.take().map(|_| vec![]));
        }
        let is_narrowed = self.kind.is_some() || !self.rule_names.is_empty();
        (!is_narrowed || !group.rules.is_empty()).then_some(group)
    }
}

fn wanted(names: &[String], name: &str) -> bool {
    names.is_empty() || names.iter().any(|wanted| wanted == name)
}

impl GroupView {
    pub(super) fn of(group: &Group) -> Self {
        let GroupDef { name, file, limit, interval_ms, query_offset_ms, .. } = group.def.as_ref();
        Self {
            name: name.clone(),
            file: file.clone(),
            rules: group.rules.iter().map(RuleView::of).collect(),
            interval: secs(*interval_ms),
            query_offset_ms: *query_offset_ms,
            limit: *limit,
            evaluation_time: secs_of_ns(group.duration_ns),
            last_evaluation: time_or_zero(group.last_ms),
        }
    }
}

impl RuleView {
    fn of(rule: &Rule) -> Self {
        let Health { last_ms, duration_ns, error } = &rule.health;
        let mut view = Self {
            state: None,
            name: rule.def.name().to_owned(),
            query: rule.def.query().to_owned(),
            asked: rule.def.asked().clone(),
            threshold: None,
            language: rule.def.asked().dialect,
            range: None,
            overrides: Vec::new(),
            duration: None,
            keep_firing_for: None,
            labels: None,
            annotations: None,
            alerts: None,
            health: match (last_ms, error) {
                (None, _) => "unknown",
                (_, None) => "ok",
                (_, Some(_)) => "err",
            },
            last_error: error.clone(),
            evaluation_time: secs_of_ns(*duration_ns),
            last_evaluation: time_or_zero(*last_ms),
            kind: RuleKind::Recording,
        };
        if view.language.has_range() {
            view.range = Some(secs(rule.def.asked().range_ms));
        }
        match &rule.def {
            RuleDef::Record(def) => {
                let labels: BTreeMap<_, _> = def.labels.iter().cloned().collect();
                view.labels = (!labels.is_empty()).then_some(labels);
            }
            RuleDef::Alert(def) => {
                view.overrides =
                    def.overrides.iter().map(|one| OverrideView::of(def, one)).collect();
                view.kind = RuleKind::Alerting;
                view.threshold = def.threshold;
                view.state = Some(rule.alerts.state());
                view.duration = Some(secs(def.hold_ms));
                view.keep_firing_for = Some(secs(def.keep_firing_ms));
                view.labels = Some(texts(&def.labels));
                view.annotations = Some(texts(&def.annotations));
                view.alerts = Some(rule.alerts.active().map(AlertView::of).collect());
            }
        }
        view
    }
}

impl RuleView {
    /// Returns whether a result is an alert at a time: it passes the threshold, that of its commons where
    /// there is one, and its commons has the rule on.
    pub fn passes(&self, labels: &Labels, value: f64, at_ms: i64) -> bool {
        let holds = |one: &&OverrideView| {
            labels.get("commons") == Some(one.commons.as_str())
                && one.until_ms.is_none_or(|until_ms| at_ms < until_ms)
        };
        let own = self.overrides.iter().find(holds);
        let limit = own.and_then(|own| own.threshold);
        own.is_none_or(|own| !own.is_off)
            && self.threshold.is_none_or(|threshold| threshold.holds(value, limit))
    }

    /// Returns whether the rule, or what its commons has different, gives its alerts a label.
    pub fn sets_label(&self, name: &str) -> bool {
        self.labels.as_ref().is_some_and(|labels| labels.contains_key(name))
            || self.overrides.iter().any(|one| one.own.contains_key(name))
    }
}

impl OverrideView {
    fn of(def: &AlertDef, one: &Override) -> Self {
        let (mut usual, mut own) = (BTreeMap::new(), BTreeMap::new());
        let mut differs = |name: &str, is: String, was: Option<String>| {
            own.insert(name.to_owned(), is);
            usual.extend(was.map(|was| (name.to_owned(), was)));
        };
        if let (Some(value), Some(threshold)) = (one.threshold, def.threshold) {
            let is = Threshold { value, ..threshold };
            differs("threshold", is.to_string(), Some(threshold.to_string()));
        }
        if let Some(hold_ms) = one.hold_ms {
            differs("for", format_duration_ms(hold_ms), Some(format_duration_ms(def.hold_ms)));
        }
        for (name, text) in &one.labels {
            let was = def.labels.iter().find(|(label, _)| label == name);
            differs(name, text.clone(), was.map(|(_, template)| template.text().to_owned()));
        }
        if one.is_off {
            differs("enabled", "false".to_owned(), Some("true".to_owned()));
        }
        Self {
            rule: def.name.clone(),
            commons: one.commons.clone(),
            usual,
            own,
            until: one.until_ms.map(rfc3339),
            until_ms: one.until_ms,
            threshold: one.threshold,
            is_off: one.is_off,
            why: one.why.clone(),
            place: format!("{}:{}", one.file, one.line),
        }
    }
}

fn is_promql(dialect: &Dialect) -> bool {
    *dialect == Dialect::Promql
}

impl AlertView {
    fn of(alert: &Alert) -> Self {
        Self {
            labels: alert.labels.clone(),
            annotations: alert.annotations.clone(),
            state: alert.state,
            active_at: rfc3339(alert.active_at_ms),
            keep_firing_since: alert.keep_firing_since_ms.map(rfc3339),
            value: format_float_exponent(alert.value),
        }
    }
}

fn texts(templates: &[(String, Template)]) -> BTreeMap<String, String> {
    templates.iter().map(|(name, template)| (name.clone(), template.text().to_owned())).collect()
}

#[expect(clippy::cast_precision_loss, reason = "durations in ms fit a double")]
fn secs(ms: i64) -> f64 {
    ms as f64 / 1e3
}

#[expect(clippy::cast_precision_loss, reason = "durations in ns fit a double")]
fn secs_of_ns(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// Go's zero time stands for "never".
fn time_or_zero(ms: Option<i64>) -> String {
    ms.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), rfc3339)
}

fn rfc3339(ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(ms).unwrap_or_default();
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
