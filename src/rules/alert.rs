//! One alerting rule's alerts: inactive, pending, firing, and for a while what is over.
//!
//! A pure state machine: [`Alerts::step`] takes what the expression yields now and moves every alert;
//! nothing moves between two steps. An alert is its label set; one that comes back after its end is a
//! new alert with a new `active_at`, though it takes the old one's place.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::alert::labels_as_map;
use crate::model::{AlertEvent, Labels};

use super::Row;

/// How long a resolved alert is told again, so that nobody misses its end: as in Prometheus.
pub(super) const RESOLVED_KEPT_MS: i64 = 15 * 60_000;

/// Where an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// It is over, or never was.
    Inactive,
    /// Its condition holds, but not yet for long enough.
    Pending,
    /// It fires.
    Firing,
}

impl AlertState {
    /// Returns the word used in labels and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            AlertState::Inactive => "inactive",
            AlertState::Pending => "pending",
            AlertState::Firing => "firing",
        }
    }
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Alert {
    #[serde(with = "labels_as_map")]
    pub(crate) labels: Labels,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) state: AlertState,
    #[serde(with = "float_bits")]
    pub(crate) value: f64,
    pub(crate) active_at_ms: i64,
    pub(crate) fired_at_ms: Option<i64>,
    pub(crate) resolved_at_ms: Option<i64>,
    pub(crate) last_sent_ms: Option<i64>,
    pub(crate) keep_firing_since_ms: Option<i64>,
    /// How long its condition must hold; said anew at each evaluation that finds it.
    #[serde(skip)]
    pub(crate) hold_ms: i64,
}

impl Alert {
    /// Moves along with a clock that has made a leap: what is counted from a time goes on where it was.
    /// When it began to fire stays: by that people know it.
    pub(crate) fn leap(&mut self, by_ms: i64) {
        if self.state == AlertState::Pending {
            self.active_at_ms = self.active_at_ms.saturating_add(by_ms);
        }
        let counted =
            [&mut self.last_sent_ms, &mut self.keep_firing_since_ms, &mut self.resolved_at_ms];
        for at_ms in counted.into_iter().flatten() {
            *at_ms = at_ms.saturating_add(by_ms);
        }
    }
}

/// JSON has no NaN; the bits are exact for every value.
mod float_bits {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.to_bits())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        u64::deserialize(from).map(f64::from_bits)
    }
}

/// The times a rule gives its alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Timing {
    /// `keep_firing_for`.
    pub(crate) keep_firing_ms: i64,
    /// `limit`: with more alerts than this the rule has none; 0 is no limit.
    pub(crate) alerts_max: usize,
    /// The most alerts that are remembered: further ones are left out; 0 is no limit.
    pub(crate) remembered_max: usize,
    /// Nothing is over for not being found: the clock has just leapt, and may ask about a time of which
    /// nothing is stored.
    pub(crate) holds_on: bool,
}

/// What the expression yields for one alert, templates expanded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub(crate) labels: Labels,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) value: f64,
    /// How long it must hold: `for`, or what its commons has instead.
    pub(crate) hold_ms: i64,
}

/// All alerts of one rule.
#[derive(Debug, Clone, Default)]
pub(crate) struct Alerts {
    by_labels: BTreeMap<Labels, Alert>,
    /// How often an alert came, went or changed its state.
    n_changes: u64,
}

impl Alerts {
    pub(crate) fn from_saved(saved: Vec<Alert>) -> Self {
        let by_labels = saved.into_iter().map(|alert| (alert.labels.clone(), alert)).collect();
        Self { by_labels, n_changes: 0 }
    }

    /// Returns how often an alert came, went or changed its state.
    pub(crate) fn n_changes(&self) -> u64 {
        self.n_changes
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Alert> {
        self.by_labels.values()
    }

    /// Walks the pending and firing ones.
    pub(crate) fn active(&self) -> impl Iterator<Item = &Alert> {
        self.iter().filter(|alert| alert.state != AlertState::Inactive)
    }

    /// Returns the state of the rule: the worst of its alerts'.
    pub(crate) fn state(&self) -> AlertState {
        self.iter().map(|alert| alert.state).max().unwrap_or(AlertState::Inactive)
    }

    /// Moves every alert to `now_ms`, given what the expression yields now.
    ///
    /// Two results with one label set change nothing, so that an ambiguous rule tells nobody half
    /// of the truth; more than the limit end all alerts of the rule. Both are as in Prometheus. Past what
    /// is remembered alerts that are new are left out, and the answer says so: the day with too many is
    /// no day to be silent.
    pub(crate) fn step(
        &mut self,
        timing: Timing,
        mut found: Vec<Found>,
        now_ms: i64,
    ) -> Result<Option<String>, String> {
        let mut seen = BTreeSet::new();
        for one in &found {
            if !seen.insert(one.labels.clone()) {
                return Err(format!(
                    "vector contains metrics with the same labelset after applying alert labels: {}",
                    one.labels
                ));
            }
        }
        let n_left_out = self.leave_out(&mut found, timing);
        for one in found {
            self.appear(one, now_ms);
        }
        let mut n_changes = 0;
        self.by_labels.retain(|labels, alert| {
            let was = alert.state;
            let is_seen = seen.contains(labels);
            let is_held = timing.holds_on && was != AlertState::Inactive;
            let keep = is_seen || is_held || !disappear(alert, timing, now_ms);
            if is_seen && alert.state == AlertState::Pending {
                mature(alert, now_ms);
            }
            n_changes += u64::from(!keep || alert.state != was);
            keep
        });
        self.n_changes += n_changes;
        let n_active = self.active().count();
        if timing.alerts_max > 0 && n_active > timing.alerts_max {
            self.by_labels.clear();
            self.n_changes += 1;
            return Err(format!("exceeded limit of {} with {n_active} alerts", timing.alerts_max));
        }
        Ok((n_left_out > 0).then(|| {
            let max = timing.remembered_max;
            format!("{n_left_out} alerts are left out: {max} are remembered of one rule (rules.alerts_per_rule_max)")
        }))
    }

    /// Leaves out new alerts that are too many, those with the last labels; returns how many.
    fn leave_out(&self, found: &mut Vec<Found>, timing: Timing) -> usize {
        let n_before = found.len();
        if timing.remembered_max == 0
            || self.by_labels.len().saturating_add(n_before) <= timing.remembered_max
        {
            return 0;
        }
        let is_known = |one: &Found| {
            let known = self.by_labels.get(&one.labels);
            known.is_some_and(|alert| alert.state != AlertState::Inactive)
        };
        // What fires goes on before anything new begins, and of the new the same ones each time.
        found.sort_by(|a, b| (!is_known(a), &a.labels).cmp(&(!is_known(b), &b.labels)));
        let n_known = found.iter().take_while(|one| is_known(one)).count();
        found.truncate(timing.remembered_max.max(n_known));
        n_before - found.len()
    }

    fn appear(&mut self, found: Found, now_ms: i64) {
        match self.by_labels.get_mut(&found.labels) {
            Some(alert) if alert.state != AlertState::Inactive => {
                alert.value = found.value;
                alert.annotations = found.annotations;
                alert.keep_firing_since_ms = None;
                alert.hold_ms = found.hold_ms;
            }
            _ => {
                let alert = Alert {
                    labels: found.labels.clone(),
                    annotations: found.annotations,
                    state: AlertState::Pending,
                    value: found.value,
                    active_at_ms: now_ms,
                    fired_at_ms: None,
                    resolved_at_ms: None,
                    last_sent_ms: None,
                    keep_firing_since_ms: None,
                    hold_ms: found.hold_ms,
                };
                self.by_labels.insert(found.labels, alert);
                self.n_changes += 1;
            }
        }
    }

    /// Moves along with a clock that has made a leap.
    pub(crate) fn leap(&mut self, by_ms: i64) {
        self.by_labels.values_mut().for_each(|alert| alert.leap(by_ms));
    }

    /// Returns the samples of `ALERTS` and `ALERTS_FOR_STATE`.
    pub(crate) fn rows(&self, now_ms: i64) -> Vec<Row> {
        let mut rows = Vec::new();
        for alert in self.active() {
            let mut builder = alert.labels.to_builder();
            builder.set("__name__", "ALERTS").set("alertstate", alert.state.as_str());
            rows.push((builder.build(), now_ms, 1.0.into()));
            builder.set("__name__", "ALERTS_FOR_STATE").remove("alertstate");
            #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit a double")]
            let since_s = alert.active_at_ms.div_euclid(1000) as f64;
            rows.push((builder.build(), now_ms, since_s.into()));
        }
        rows
    }

    /// Returns what is to be told now, and notes that it was: what fires, every `resend_ms`; what is
    /// over, at once and then again for a while. `valid_ms` is how long a firing one counts as such
    /// when nothing more is heard.
    pub(crate) fn tell(
        &mut self,
        now_ms: i64,
        resend_ms: i64,
        valid_ms: i64,
        generator_url: &str,
        external_labels: &Labels,
    ) -> Vec<AlertEvent> {
        let due = self.by_labels.values_mut().filter(|alert| is_due(alert, now_ms, resend_ms));
        due.map(|alert| {
            alert.last_sent_ms = Some(now_ms);
            AlertEvent {
                labels: with_external(&alert.labels, external_labels),
                annotations: alert.annotations.clone(),
                starts_at_ms: alert.fired_at_ms.unwrap_or(alert.active_at_ms),
                ends_at_ms: alert.resolved_at_ms.unwrap_or(now_ms.saturating_add(valid_ms)),
                resolved: alert.resolved_at_ms.is_some(),
                generator_url: generator_url.to_owned(),
            }
        })
        .collect()
    }
}

/// Adds the external labels that the alert does not have itself.
fn with_external(labels: &Labels, external: &Labels) -> Labels {
    if external.is_empty() {
        return labels.clone();
    }
    Labels::from_pairs(external.iter().chain(labels.iter()))
}

/// Deals with an alert whose condition no longer holds; returns true when it is to be forgotten.
fn disappear(alert: &mut Alert, timing: Timing, now_ms: i64) -> bool {
    match alert.state {
        AlertState::Pending => return true,
        AlertState::Inactive => {
            let is_old = |at_ms: i64| now_ms.saturating_sub(at_ms) > RESOLVED_KEPT_MS;
            return alert.resolved_at_ms.is_none_or(is_old);
        }
        AlertState::Firing => {}
    }
    if timing.keep_firing_ms > 0 {
        let since_ms = *alert.keep_firing_since_ms.get_or_insert(now_ms);
        if now_ms.saturating_sub(since_ms) < timing.keep_firing_ms {
            return false;
        }
    }
    alert.state = AlertState::Inactive;
    alert.resolved_at_ms = Some(now_ms);
    alert.last_sent_ms = None; // Its end was told to nobody yet.
    false
}

fn mature(alert: &mut Alert, now_ms: i64) {
    if now_ms.saturating_sub(alert.active_at_ms) >= alert.hold_ms {
        alert.state = AlertState::Firing;
        alert.fired_at_ms = Some(now_ms);
    }
}

fn is_due(alert: &Alert, now_ms: i64, resend_ms: i64) -> bool {
    if alert.state == AlertState::Pending {
        return false;
    }
    alert.last_sent_ms.is_none_or(|sent_ms| now_ms.saturating_sub(sent_ms) >= resend_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: i64 = 60_000;

    fn found(names: &[&str]) -> Vec<Found> {
        held(names, 0)
    }

    fn held(names: &[&str], hold_ms: i64) -> Vec<Found> {
        let one = |name: &&str| Found {
            labels: Labels::from_pairs([("alertname", "A"), ("name", *name)]),
            annotations: BTreeMap::new(),
            value: 1.0,
            hold_ms,
        };
        names.iter().map(one).collect()
    }

    /// Steps once a minute; the text has a letter a minute: `x` while the condition holds. Returns
    /// the state after each minute: inactive (or unknown), pending, firing.
    #[track_caller]
    fn check(timing: Timing, hold_ms: i64, condition: &str, want: &str) {
        let mut alerts = Alerts::default();
        let mut got = String::new();
        for (minute, holds) in (0_i64..).zip(condition.chars()) {
            let names: &[&str] = if holds == 'x' { &["one"] } else { &[] };
            alerts.step(timing, held(names, hold_ms), minute * MIN).unwrap();
            got.push(match alerts.state() {
                AlertState::Inactive => '.',
                AlertState::Pending => 'p',
                AlertState::Firing => 'F',
            });
        }
        assert_eq!(got, want, "{condition}");
    }

    const AT_ONCE: Timing =
        Timing { keep_firing_ms: 0, alerts_max: 0, remembered_max: 0, holds_on: false };
    const KEEP_2M: Timing = Timing { keep_firing_ms: 2 * MIN, ..AT_ONCE };

    #[test]
    fn an_alert_fires_when_its_condition_held_for_long_enough() {
        check(AT_ONCE, 0, ".x.x", ".F.F");
        check(AT_ONCE, 2 * MIN, "xxxx..", "ppFF..");
        check(AT_ONCE, 2 * MIN, "xx.xxx", "pp.ppF");
        check(KEEP_2M, 0, "x...x...", "FFF.FFF.");
        check(KEEP_2M, 0, "x.x.x...", "FFFFFFF.");
    }

    fn told(alerts: &mut Alerts, now_ms: i64) -> Vec<bool> {
        let events = alerts.tell(now_ms, MIN, 4 * MIN, "", &Labels::empty());
        events.iter().map(|event| event.resolved).collect()
    }

    #[test]
    fn firing_is_told_again_and_the_end_at_once_and_for_fifteen_minutes() {
        let mut alerts = Alerts::default();
        alerts.step(AT_ONCE, found(&["one"]), 0).unwrap();

        assert_eq!(told(&mut alerts, 0), [false]);
        assert_eq!(told(&mut alerts, MIN / 2), [false; 0], "not before the resend delay");
        assert_eq!(told(&mut alerts, MIN), [false]);

        alerts.step(AT_ONCE, found(&[]), MIN + 1).unwrap();
        assert_eq!(told(&mut alerts, MIN + 1), [true], "the end is told at once");

        let mut n_told = 0;
        for minute in 2..40 {
            alerts.step(AT_ONCE, found(&[]), minute * MIN + 1).unwrap();
            n_told += told(&mut alerts, minute * MIN + 1).len();
        }
        assert_eq!(n_told, 15);
        assert_eq!(alerts.iter().count(), 0, "then it is forgotten");
    }

    #[test]
    fn what_comes_back_is_a_new_alert() {
        let mut alerts = Alerts::default();
        alerts.step(AT_ONCE, found(&["one"]), 0).unwrap();
        alerts.step(AT_ONCE, found(&[]), MIN).unwrap();
        alerts.step(AT_ONCE, held(&["one"], 2 * MIN), 2 * MIN).unwrap();

        let alert = alerts.iter().next().unwrap();

        assert_eq!((alert.state, alert.active_at_ms), (AlertState::Pending, 2 * MIN));
        assert_eq!((alert.resolved_at_ms, alert.last_sent_ms), (None, None));
    }

    #[test]
    fn after_a_leap_nothing_is_over_and_nothing_unseen_begins_to_fire() {
        let mut alerts = Alerts::default();
        let holding = Timing { holds_on: true, ..AT_ONCE };
        alerts.step(AT_ONCE, found(&["one"]), 0).unwrap();
        let both = [found(&["one"]), held(&["two"], 2 * MIN)].concat();
        alerts.step(AT_ONCE, both, MIN).unwrap();

        alerts.step(holding, found(&[]), 9 * MIN).unwrap();

        let states: Vec<AlertState> = alerts.iter().map(|alert| alert.state).collect();
        assert_eq!(states, [AlertState::Firing, AlertState::Pending]);
        alerts.step(AT_ONCE, found(&[]), 10 * MIN).unwrap();
        assert_eq!(alerts.active().count(), 0);
    }

    #[test]
    fn what_is_counted_from_a_time_goes_on_behind_a_leap_in_both_directions() {
        for leap_ms in [60 * MIN, -60 * MIN] {
            let mut alerts = Alerts::default();
            let at = |minute: i64| leap_ms + minute * MIN;
            let both = || [found(&["fires"]), held(&["waits"], 3 * MIN)].concat();
            alerts.step(AT_ONCE, both(), 0).unwrap();
            assert_eq!(told(&mut alerts, 0), [false]);

            alerts.leap(leap_ms);

            alerts.step(AT_ONCE, both(), at(1)).unwrap();
            assert_eq!(told(&mut alerts, at(1)), [false], "it is told again when it is time");
            assert_eq!(alerts.iter().filter(|one| one.state == AlertState::Pending).count(), 1);
            alerts.step(AT_ONCE, both(), at(3)).unwrap();
            assert!(alerts.iter().all(|one| one.state == AlertState::Firing), "{leap_ms}");
            let began: Vec<_> = alerts.iter().map(|one| one.fired_at_ms).collect();
            assert_eq!(began, [Some(0), Some(at(3))], "nobody fires anew");
        }
    }

    #[test]
    fn two_results_with_one_label_set_change_nothing() {
        let mut alerts = Alerts::default();
        alerts.step(AT_ONCE, found(&["one"]), 0).unwrap();

        let error = alerts.step(AT_ONCE, found(&["two", "two"]), MIN).unwrap_err();

        assert!(error.contains("same labelset"), "{error}");
        assert_eq!(alerts.active().count(), 1);
        assert_eq!(alerts.state(), AlertState::Firing);
    }

    #[test]
    fn too_many_alerts_end_the_rule() {
        let mut alerts = Alerts::default();
        let limited = Timing { alerts_max: 1, ..AT_ONCE };

        let error = alerts.step(limited, found(&["one", "two"]), 0).unwrap_err();

        assert_eq!(error, "exceeded limit of 1 with 2 alerts");
        assert_eq!(alerts.iter().count(), 0);
    }

    #[test]
    fn past_what_is_remembered_what_fires_goes_on_and_what_is_new_is_left_out() {
        let mut alerts = Alerts::default();
        let bounded = Timing { remembered_max: 2, ..AT_ONCE };
        alerts.step(bounded, found(&["m"]), 0).unwrap();

        let said = alerts.step(bounded, found(&["a", "b", "c", "m"]), MIN).unwrap();

        assert!(
            said.is_some_and(|said| said.starts_with("2 alerts are left out: 2 are remembered"))
        );
        let names: Vec<_> = alerts.active().filter_map(|one| one.labels.get("name")).collect();
        assert_eq!(names, ["a", "m"]);
        assert_eq!(alerts.step(bounded, found(&["a", "m"]), 2 * MIN), Ok(None));
        let since: Vec<i64> = alerts.active().map(|one| one.active_at_ms).collect();
        assert_eq!(since, [MIN, 0], "nobody began anew");
    }

    #[test]
    fn what_comes_goes_or_changes_its_state_is_a_change_and_nothing_else() {
        let mut alerts = Alerts::default();
        let mut n_changes = Vec::new();
        for (minute, names) in (0_i64..).zip([&["one"][..], &["one"], &["one"], &[], &[]]) {
            alerts.step(AT_ONCE, held(names, MIN), minute * MIN).unwrap();
            n_changes.push(alerts.n_changes());
        }
        assert_eq!(n_changes, [1, 2, 2, 3, 3], "pending, firing, and over");
    }

    #[test]
    fn the_two_metrics_tell_state_and_since_when() {
        let mut alerts = Alerts::default();
        alerts.step(AT_ONCE, held(&["one"], 2 * MIN), 5_000).unwrap();

        let rows = alerts.rows(9_000);

        let texts: Vec<String> = rows.iter().map(|(l, t, v)| format!("{l} {v}@{t}")).collect();
        assert_eq!(
            texts,
            [
                r#"ALERTS{alertname="A", alertstate="pending", name="one"} 1@9000"#,
                r#"ALERTS_FOR_STATE{alertname="A", name="one"} 5@9000"#,
            ]
        );
    }

    #[test]
    fn external_labels_do_not_overwrite_the_alerts_own() {
        let external = Labels::from_pairs([("name", "other"), ("site", "x")]);
        let mut alerts = Alerts::default();
        alerts.step(AT_ONCE, found(&["one"]), 0).unwrap();

        let events = alerts.tell(0, MIN, MIN, "", &external);

        assert_eq!(events[0].labels.to_string(), r#"{alertname="A", name="one", site="x"}"#);
    }
}
