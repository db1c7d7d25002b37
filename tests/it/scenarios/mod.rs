//! Each scenario of the demo trips its alerts, and nothing else does.
//!
//! Hours of virtual time: what the simulated commons send is tagged, derived and judged by the code
//! of the server, one step of the clock at a time. `demo` plays some of it through the real ports.

mod pipeline;

use std::collections::BTreeSet;
use std::time::Duration;

use commonwatch::demo::{Config, Expected, Scenario, Schedule};

use pipeline::{Alert, Pipeline};

const MINUTE: Duration = Duration::from_secs(60);
/// After a scenario its last alerts may come, and no further ones.
const AFTER: Duration = Duration::from_secs(4 * 60);

fn config(schedule: Schedule, rate: f64, step: Duration, only: &[&str]) -> Config {
    Config {
        rate,
        metrics_every_ms: i64::try_from(step.as_millis()).unwrap(),
        traces: false,
        schedule,
        only: only.iter().map(|host| (*host).to_owned()).collect(),
        ..Config::default()
    }
}

fn is(alert: &Alert, expected: &Expected) -> bool {
    let has = |name, value| alert.get(name) == Some(value);
    has("alertname", expected.alert)
        && has("commons", expected.commons)
        && has("severity", expected.severity)
        && expected.detail.split_once('=').is_none_or(|(name, value)| has(name, value))
}

/// A scenario that was played.
struct Played {
    /// Each alert that fired at any time.
    fired: BTreeSet<Alert>,
    commons: BTreeSet<String>,
}

/// Plays one scenario at the commons that it befalls, after its lead, in which nothing may fire.
fn play(scenario: Scenario, rate: f64, step: Duration) -> Played {
    let schedule = Schedule::of(&[scenario]);
    let mut pipeline = Pipeline::new(config(schedule, rate, step, &[scenario.hostname()]));
    let mut fired = BTreeSet::new();
    let mut passed = Duration::ZERO;
    while passed < scenario.lead() + scenario.lasts() + AFTER {
        pipeline.step(step);
        passed += step;
        fired.extend(pipeline.firing());
        if passed <= scenario.lead() {
            assert!(fired.is_empty(), "nothing went wrong yet: {fired:#?}");
        }
    }
    Played { fired, commons: pipeline.commons() }
}

#[track_caller]
fn check(scenario: Scenario, rate: f64, step: Duration) -> Played {
    let played = play(scenario, rate, step);
    let expected = scenario.expected();
    let unexpected: Vec<_> =
        played.fired.iter().filter(|alert| !expected.iter().any(|e| is(alert, e))).collect();
    assert!(unexpected.is_empty(), "nobody announced: {unexpected:#?}");
    for expected in expected {
        let n = played.fired.iter().filter(|alert| is(alert, expected)).count();
        assert!(n > 0, "it did not fire: {expected:?}; these did: {:#?}", played.fired);
    }
    played
}

#[test]
fn a_fence_without_database_connections_pages_for_all_that_needs_it() {
    check(Scenario::FenceDatabase, 0.15, MINUTE);
}

#[test]
fn b_an_identity_provider_that_fails_pages_for_its_logins_alone() {
    check(Scenario::RasOutage, 0.25, MINUTE);
}

#[test]
fn c_a_usersync_that_dies_is_told_at_once_after_two_hours_and_when_people_feel_it() {
    check(Scenario::UsersyncDies, 0.25, 2 * MINUTE);
}

#[test]
fn d_an_etl_whose_job_is_green_is_told_all_the_same() {
    check(Scenario::EtlFalseSuccess, 0.05, 2 * MINUTE);
}

#[test]
fn e_an_elasticsearch_that_is_red_and_slow_is_seen_through_guppy() {
    check(Scenario::SearchIll, 0.5, MINUTE);
}

#[test]
fn f_a_crawl_of_the_index_is_a_ticket_and_so_is_its_slowness() {
    check(Scenario::IndexCrawl, 0.1, MINUTE);
}

#[test]
fn g_launches_that_fail_after_a_200_are_told() {
    check(Scenario::LaunchFailure, 0.5, 2 * MINUTE);
}

#[test]
fn h_a_certificate_of_two_days_pages() {
    check(Scenario::OldCertificate, 0.05, 2 * MINUTE);
}

#[test]
fn i_an_audit_service_that_says_nothing_is_told() {
    check(Scenario::AuditStuck, 0.2, 2 * MINUTE);
}

#[test]
fn j_an_alloy_that_stops_pages_once_and_what_comes_late_pages_for_nothing() {
    check(Scenario::SilentShipper, 0.1, MINUTE);
}

#[test]
fn k_a_label_bomb_is_told_of_though_it_is_folded() {
    check(Scenario::LabelBomb, 0.1, MINUTE);
}

#[test]
fn l_headers_that_are_too_large_are_a_ticket() {
    check(Scenario::TokenGrowth, 0.5, MINUTE);
}

#[test]
fn m_a_chart_that_was_not_rendered_is_placed_all_the_same() {
    let played = check(Scenario::UnrenderedLabel, 0.1, 2 * MINUTE);

    let placed = ["_cluster", "hub.mesh.example"].map(str::to_owned).into();
    assert!(played.commons.is_subset(&placed), "by host and project: {:?}", played.commons);
}

#[test]
fn n_staging_wakes_nobody() {
    let played = check(Scenario::StagingNoise, 0.25, 2 * MINUTE);

    assert!(played.fired.iter().all(|alert| alert.get("severity") != Some("page")));
}

#[test]
fn o_a_commons_that_moves_between_namespaces_is_one_commons() {
    let played = check(Scenario::BlueGreen, 0.1, 2 * MINUTE);

    assert_eq!(played.commons, ["genome.data.example".to_owned()].into());
}

#[test]
fn when_nothing_goes_wrong_nothing_fires() {
    let mut pipeline = Pipeline::new(config(Schedule::quiet(), 0.1, 2 * MINUTE, &[]));

    for _ in 0..35 {
        pipeline.step(2 * MINUTE);
        assert_eq!(pipeline.firing(), BTreeSet::new());
    }
}
