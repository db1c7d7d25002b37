//! One rule for all commons with what single ones have different, languages, and objectives.
use super::tests::{Bench, Fake, groups};
use std::sync::Arc;

use super::*;

const FANNED: &str = r#"
groups:
- name: g
  rules:
  - alert: High
    expr: x
    threshold: "> 5"
    for: 1m
    labels: {severity: page, owner: csoc}
overrides:
- {rule: High, commons: canine, threshold: 10, severity: ticket, owner: canine-team}
- {rule: High, commons: hub, for: 3m}
- {rule: High, commons: moon, enabled: false}
- {rule: High, commons: sun, threshold: 100, until: 1970-01-01, why: only the first day}
"#;

fn at(bench: &Bench, minute: i64, values: &[(&str, f64)]) {
    bench.world.put_of_commons("x", values);
    bench.at(minute);
}

/// Returns the commons of the alerts in a state, with one label each.
fn in_state(bench: &Bench, state: AlertState, label: &str) -> Vec<String> {
    let alerts = bench.rules().into_iter().flat_map(|rule| rule.alerts.unwrap_or_default());
    let own = alerts.filter(|alert| alert.state == state);
    let text = |alert: AlertView| {
        let get = |name| alert.labels.get(name).unwrap_or("-").to_owned();
        format!("{}:{}", get("commons"), get(label))
    };
    let mut texts: Vec<String> = own.map(text).collect();
    texts.sort();
    texts
}

#[test]
fn a_commons_has_its_own_threshold_owner_and_hold_and_one_question_serves_all() {
    let bench = Bench::new(FANNED);
    let values = [("heart", 6.0), ("canine", 6.0), ("hub", 6.0), ("moon", 6.0), ("sun", 6.0)];
    at(&bench, 1, &values);
    at(&bench, 2, &values);

    assert_eq!(bench.world.n_asked(), 2, "one for each evaluation");
    assert_eq!(in_state(&bench, AlertState::Firing, "severity"), ["heart:page"]);
    assert_eq!(in_state(&bench, AlertState::Pending, "severity"), ["hub:page"]);

    at(&bench, 3, &[("canine", 11.0), ("hub", 6.0)]);
    at(&bench, 4, &[("canine", 11.0), ("hub", 6.0)]);
    assert_eq!(in_state(&bench, AlertState::Firing, "owner"), ["canine:canine-team", "hub:csoc"]);
    assert_eq!(in_state(&bench, AlertState::Firing, "severity"), ["canine:ticket", "hub:page"]);
}

#[test]
fn an_override_ends_by_itself() {
    let bench = Bench::new(FANNED);
    let day = 24 * 60;
    at(&bench, day - 1, &[("sun", 6.0)]);
    assert_eq!(in_state(&bench, AlertState::Pending, "owner"), [""; 0]);

    at(&bench, day, &[("sun", 6.0)]);

    assert_eq!(in_state(&bench, AlertState::Pending, "owner"), ["sun:csoc"]);
}

#[test]
fn a_result_is_judged_afterwards_as_it_was_then() {
    let rule = Bench::new(FANNED).rules().remove(0);
    let passes = |commons: &str, value: f64, at_ms: i64| {
        rule.passes(&Labels::from_pairs([("commons", commons)]), value, at_ms)
    };
    let day_ms = 86_400_000;

    assert!(passes("heart", 6.0, 0) && !passes("heart", 5.0, 0));
    assert!(!passes("canine", 6.0, 0) && passes("canine", 11.0, 0));
    assert!(!passes("moon", 6.0, 0), "it is off there");
    assert!(!passes("sun", 6.0, day_ms - 1) && passes("sun", 6.0, day_ms), "until it ended");
    assert!(rule.sets_label("owner") && !rule.sets_label("commons"));
}

#[test]
fn who_overrides_what_is_listed_with_its_place() {
    let bench = Bench::new(FANNED);
    let all: Vec<OverrideView> = bench.rules().remove(0).overrides;

    let canine = &all[0];
    assert_eq!((canine.commons.as_str(), canine.place.as_str()), ("canine", "r.yml:11"));
    assert_eq!(canine.usual["threshold"], "> 5");
    assert_eq!((&*canine.own["threshold"], &*canine.own["owner"]), ("> 10", "canine-team"));
    let names: Vec<&str> = all.iter().map(|one| one.commons.as_str()).collect();
    assert_eq!(names, ["canine", "hub", "moon", "sun"]);
    assert_eq!(all[3].why, "only the first day");
    assert_eq!(bench.rules()[0].query, "(x) > 5", "people see the comparison");
}

#[test]
fn a_rule_asks_in_its_language_and_its_templates_do_too() {
    let bench = Bench::over(
        Arc::<Fake>::default(),
        "groups: [{name: g, type: logql, rules: [{alert: A, expr: x, annotations: {n: '{{ query `y` | len }}'}}, \
         {record: r, expr: z, type: sql, range: 10m}]}]",
    );
    bench.world.put_of_commons("x", &[("heart", 1.0)]);
    bench.at(1);

    let asked = bench.world.languages();
    assert_eq!(asked, ["logql x", "logql y", "sql z over 10m"]);
    let shown = serde_json::to_value(bench.rules()).unwrap();
    assert_eq!((&shown[0]["language"], &shown[1]["range"]), (&"logql".into(), &600.0.into()));
}

const OBJECTIVE: &str = r#"
objectives:
- name: availability
  objective: 99.5
  errors: sum by (commons) (rate(bad[$range]))
  total: sum by (commons) (rate(all[$range]))
  labels: {owner: csoc}
  commons: {heart.example: 99.9}
"#;

#[test]
fn an_objective_becomes_rules_that_watch_its_budget() {
    let groups = groups(OBJECTIVE);

    let rules = &groups[0].rules;
    let named = |name: &str| rules.iter().filter(|rule| rule.name() == name).collect::<Vec<_>>();
    let expr = |name: &str| named(name)[0].asked().text.clone();
    assert_eq!(groups[0].name, "objective availability");
    assert_eq!(expr("slo:total:rate5m"), "sum by (commons) (rate(all[5m]))");
    let aims: Vec<String> =
        named("slo:objective:ratio").iter().map(|rule| rule.asked().text.clone()).collect();
    assert!(
        aims[0].contains(r#"commons!~"heart\\.example""#) && aims[0].ends_with("+ 0.995"),
        "{aims:?}"
    );
    assert!(
        aims[1].contains(r#"commons="heart.example""#) && aims[1].contains("0.999"),
        "{aims:?}"
    );
    assert!(expr("slo:errors:ratio_period").contains("[30d]"));
    let alerts = named("ErrorBudgetBurn");
    let factors: Vec<&str> = alerts
        .iter()
        .map(|rule| rule.asked().text.split(" > ").nth(1).unwrap().split(' ').next().unwrap())
        .collect();
    assert_eq!(factors, ["14.4", "6", "3", "1"], "as the workbook has them for 30 days");
    let RuleDef::Alert(page) = alerts[0] else { panic!("{alerts:?}") };
    let labels: Vec<(&str, &str)> =
        page.labels.iter().map(|(name, text)| (name.as_str(), text.text())).collect();
    let want =
        [("objective", "availability"), ("owner", "csoc"), ("severity", "page"), ("window", "1h")];
    assert_eq!(labels, want);
}
