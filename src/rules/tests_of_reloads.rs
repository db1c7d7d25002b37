//! What alerts and groups keep through reloads and restarts.
use std::collections::BTreeSet;

use futures::executor::block_on;

use super::tests::*;
use super::*;

#[test]
fn a_reload_keeps_what_did_not_change_and_ends_what_is_gone() {
    let old = "
groups:
- {name: same, rules: [{alert: S, expr: x}]}
- {name: changed, rules: [{alert: C, expr: x, for: 5m}, {alert: Gone, expr: x}, {record: old, expr: x}]}
- {name: gone, rules: [{record: older, expr: x}]}
";
    let new = "
groups:
- {name: same, rules: [{alert: S, expr: x}]}
- {name: changed, rules: [{alert: C, expr: x, for: 1m}]}
";
    let bench = Bench::new(old);
    bench.world.put("x", &[("a", 1.0)]);
    bench.at(1);
    bench.world.recorded();
    assert_eq!(bench.world.fired(), ["a firing", "a firing"]);

    block_on(bench.set.reload(groups(new)));

    assert_eq!(bench.world.fired(), ["a over"], "Gone is over");
    let ended: BTreeSet<String> = bench.world.recorded().into_iter().collect();
    let want = [
        r#"ALERTS_FOR_STATE{alertname="Gone", app="a"} stale@1m"#,
        r#"ALERTS{alertname="Gone", alertstate="firing", app="a"} stale@1m"#,
        r#"old{app="a"} stale@1m"#,
        r#"older{app="a"} stale@1m"#,
    ];
    assert_eq!(ended, want.map(str::to_owned).into());
    let states: Vec<_> = bench.rules().iter().map(|rule| rule.state).collect();
    assert_eq!(states, [Some(AlertState::Firing), Some(AlertState::Pending)]);
    bench.at(2);
    let states: Vec<_> = bench.rules().iter().map(|rule| rule.state).collect();
    assert_eq!(states, [Some(AlertState::Firing); 2], "C goes on from where it was");
}

#[test]
fn alerts_survive_a_restart_and_the_break_does_not_count() {
    let text = "groups: [{name: g, rules: [{alert: P, expr: p, for: 5m}, {alert: F, expr: f}]}]";
    let bench = Bench::new(text);
    bench.world.put("p", &[("p", f64::NAN)]);
    bench.world.put("f", &[("f", 1.0)]);
    bench.at(1);
    bench.at(3);
    let saved = bench.set.save();
    bench.world.fired();

    let bench = Bench::over(bench.world, text);
    block_on(bench.set.restore(&saved, 33 * MIN, None)).unwrap();
    let states: Vec<_> = bench.rules().iter().map(|rule| rule.state).collect();
    assert_eq!(states, [Some(AlertState::Pending), Some(AlertState::Firing)]);

    bench.world.put("f", &[]);
    bench.at(34);
    assert_eq!(bench.world.fired(), ["f over"], "its end is told though it fired before");
    bench.at(35);
    assert_eq!(bench.world.fired(), ["f over"]);
    bench.at(36);
    assert_eq!(bench.world.fired(), ["p firing", "f over"], "two minutes before, three after");
}

#[test]
fn only_groups_whose_alerts_changed_are_saved_again() {
    let bench = Bench::new(
        "groups: [{name: a, rules: [{alert: A, expr: x, for: 5m}]}, {name: b, rules: [{alert: B, expr: y}]}]",
    );
    let mut memo = Memo::default();
    bench.world.put("x", &[("a", 1.0)]);
    bench.world.put("y", &[("b", 1.0)]);
    bench.at(0);
    let first = bench.set.save_changed(&mut memo, false);
    assert_eq!(first.len(), 2);

    bench.at(1);
    assert!(bench.set.save_changed(&mut memo, false).is_empty(), "no state changed");
    assert_eq!(bench.set.save_changed(&mut memo, true).len(), 2, "their times did");
    bench.at(5);
    let fires = bench.set.save_changed(&mut memo, false);
    assert_eq!(fires.len(), 1, "A fires now");
    block_on(bench.set.reload(Vec::new()));
    let gone = bench.set.save_changed(&mut memo, false);
    assert!(gone.len() == 2 && gone.iter().all(|(_, value)| value.is_none()), "{gone:?}");

    let other = Bench::new("groups: [{name: a, rules: [{alert: A, expr: x, for: 5m}]}]");
    let stored = fires[0].1.clone().unwrap();
    block_on(other.set.restore(&stored, 6 * MIN, None)).unwrap();
    assert!(other.set.has_alerts());
    let mut memo = Memo::of_stored([&fires[0].0].into_iter());
    assert_eq!(other.set.save_changed(&mut memo, false).len(), 1, "another process's is over");
}

#[test]
fn after_a_short_break_a_pending_alert_keeps_its_start() {
    let text = "groups: [{name: g, rules: [{alert: P, expr: p, for: 5m}]}]";
    let bench = Bench::new(text);
    bench.world.put("p", &[("p", 1.0)]);
    bench.at(1);
    let saved = bench.set.save();

    let bench = Bench::over(bench.world, text);
    block_on(bench.set.restore(&saved, 5 * MIN, None)).unwrap();
    bench.at(5);

    let alerts = bench.rules()[0].alerts.clone().unwrap();
    assert_eq!(alerts[0].active_at, "1970-01-01T00:01:00.000Z");
}

#[test]
fn after_a_long_break_pending_alerts_start_anew() {
    let text = "groups: [{name: g, rules: [{alert: P, expr: p, for: 5m}]}]";
    let bench = Bench::new(text);
    bench.world.put("p", &[("p", 1.0)]);
    bench.at(1);
    let saved = bench.set.save();

    let bench = Bench::over(bench.world, text);
    block_on(bench.set.restore(&saved, 62 * MIN, None)).unwrap();

    assert_eq!(bench.rules()[0].state, Some(AlertState::Inactive));
}

#[test]
fn whatever_times_were_kept_the_rules_go_on() {
    let text = "groups: [{name: g, rules: [{alert: P, expr: p, for: 5m}, {alert: F, expr: f, keep_firing_for: 5m}]}]";
    for extreme in [i64::MIN, i64::MAX] {
        let bench = Bench::new(text);
        bench.world.put("p", &[("p", 1.0)]);
        bench.world.put("f", &[("f", 1.0)]);
        bench.at(1);
        let saved = String::from_utf8(bench.set.save()).unwrap();
        let saved = saved.replace(":60000", &format!(":{extreme}"));
        assert!(saved.matches(&extreme.to_string()).count() > 3, "{saved}");

        block_on(bench.set.restore(saved.as_bytes(), 2 * MIN, Some(MIN))).unwrap();
        bench.at(2);
        bench.world.put("f", &[]);
        for minute in [3, 4, 30, 60] {
            bench.at(minute);
        }

        let states: Vec<_> = bench.rules().iter().map(|rule| rule.state).collect();
        assert_eq!(states[1], Some(AlertState::Inactive), "{extreme}");
    }
}

#[test]
fn a_state_that_cannot_be_read_is_refused() {
    let bench = Bench::new(TWO);
    for bytes in ["", "{}", r#"{"version":9,"saved_at_ms":0,"groups":[]}"#] {
        assert!(block_on(bench.set.restore(bytes.as_bytes(), 0, None)).is_err(), "{bytes}");
    }
}

#[test]
fn an_alert_that_changed_its_state_is_remembered_and_what_did_not_change_is_not() {
    let bench = Bench::new("groups: [{name: g, rules: [{alert: A, expr: x}]}]");
    bench.at(1);
    assert_eq!(bench.world.remembered(), 0);

    bench.world.put("x", &[("a", 1.0)]);
    bench.at(2);
    assert_eq!(bench.world.remembered(), 1);
    bench.at(3);
    assert_eq!(bench.world.remembered(), 1);
}
