//! What goes wrong in the simulated commons pages, and nothing else does.
//!
//! Half an hour and more of virtual time: rules, notifier and commons are on the same clock, which
//! this story moves; everything goes through the real ports.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use commonwatch::demo::{Config, Expected, Planned, Scenario, Schedule, expected_alerts};
use serde_json::Value;

use crate::support::ask::{array, labels};
use crate::support::simulated::{START_MS, STEP, Simulation};
use crate::support::sink::Sink;

const MINUTE_MS: i64 = 60_000;
/// Everything goes wrong at once, after a while in which nothing does.
const QUIET_MIN: u64 = 4;
/// By then all is over, on a machine of any speed.
const LIMIT_MIN: i64 = 50;

fn schedule() -> Schedule {
    let lasts = |scenario| match scenario {
        Scenario::StagingNoise => 600,
        named => {
            let plan = Schedule::default().plan;
            let usual = plan.into_iter().find(|planned| planned.scenario == named).unwrap();
            usual.lasts.as_secs() / 60
        }
    };
    let planned = |scenario| Planned {
        scenario,
        after: Duration::from_secs(QUIET_MIN * 60),
        lasts: Duration::from_secs(lasts(scenario) * 60),
    };
    let plan = Scenario::ALL.into_iter().map(planned).collect();
    Schedule { plan, repeat: Duration::from_secs(24 * 3600) }
}

#[test]
fn each_scenario_pages_as_announced_and_nothing_else_does() {
    let sink = Sink::start();
    let alerting =
        format!("webhook_url = \"{}\"\ngroup_wait = \"15s\"\ngroup_interval = \"30s\"", sink.url());
    let config =
        Config { rate: 0.25, metrics_every_ms: 60_000, schedule: schedule(), ..Config::default() };
    let expected = expected_alerts(&config.schedule);
    let mut simulation = Simulation::start(&alerting, config);

    for _ in 0..(QUIET_MIN * 60 / STEP.as_secs()) {
        simulation.step();
    }
    assert_eq!(sink.received(), Vec::<Value>::new(), "nothing went wrong yet");
    while !is_over(&told(&sink), &expected) {
        let passed_min = (simulation.now_ms() - START_MS) / MINUTE_MS;
        assert!(passed_min < LIMIT_MIN, "not over in time: {:#?}", told(&sink));
        simulation.step();
    }

    check(&told(&sink), &expected);
    let totals = simulation.demo.totals();
    assert_eq!((totals.refused, totals.dropped), (0, 0), "{totals:?}");
    assert!(simulation.demo.is_drained(), "what imaging kept back has arrived");
    check_counts(&simulation);
}

/// Every alert that was told of, with its states in the order of the telling.
type Told = BTreeMap<Alert, Vec<String>>;

/// An alert: name, commons, severity and all its labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Alert {
    name: String,
    commons: String,
    severity: String,
    labels: BTreeMap<String, String>,
}

impl Alert {
    fn is(&self, expected: &Expected) -> bool {
        let detail = expected.detail.split_once('=');
        let has_detail =
            |(name, value): (&str, &str)| self.labels.get(name).is_some_and(|label| label == value);
        (self.name.as_str(), self.commons.as_str()) == (expected.alert, expected.commons)
            && self.severity == expected.severity
            && detail.is_none_or(has_detail)
    }
}

fn told(sink: &Sink) -> Told {
    let mut told = Told::new();
    for alert in sink.received().iter().flat_map(|body| array(&body["alerts"])) {
        let labels = labels(&alert["labels"]);
        let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
        let key = Alert {
            name: label("alertname"),
            commons: label("commons"),
            severity: label("severity"),
            labels: labels.clone(),
        };
        let states = told.entry(key).or_default();
        let state = alert["status"].as_str().unwrap_or("").to_owned();
        // A group tells of all its alerts whenever one of them changes.
        if states.last() != Some(&state) {
            states.push(state);
        }
    }
    told
}

/// Returns true when every page has fired and is over, and every ticket has fired.
fn is_over(told: &Told, expected: &[Expected]) -> bool {
    expected.iter().all(|expected| {
        let last = told.iter().find(|(alert, _)| alert.is(expected)).and_then(|(_, s)| s.last());
        match expected.severity {
            "page" => last.is_some_and(|state| state == "resolved"),
            _ => last.is_some(),
        }
    })
}

fn check(told: &Told, expected: &[Expected]) {
    let unexpected: Vec<_> =
        told.keys().filter(|alert| !expected.iter().any(|e| alert.is(e))).collect();
    assert!(unexpected.is_empty(), "nobody announced: {unexpected:#?}");
    for (alert, states) in told {
        let wanted: &[&str] = match alert.severity.as_str() {
            "page" => &["firing", "resolved"],
            // Staging goes on failing.
            _ => &["firing"],
        };
        assert_eq!(states, wanted, "{alert:?}");
    }
}

/// What was acknowledged is there, whenever and in whatever order it came.
fn check_counts(simulation: &Simulation) {
    let metrics = simulation.caller.own_metrics();
    let stored = |signal: &str| -> f64 {
        let name = "commonwatch_ingest_stored_items_total";
        let of_signal = metrics.iter().filter(|metric| {
            metric.name == name && metric.labels.get("signal").is_some_and(|label| label == signal)
        });
        of_signal.map(|metric| metric.value).sum()
    };
    let totals = simulation.demo.totals();
    assert!(totals.lines > 10_000, "{totals:?}");
    assert_eq!(format!("{}", stored("logs")), totals.lines.to_string(), "lines");
    assert_eq!(format!("{}", stored("spans")), totals.spans.to_string(), "spans");

    let now_ms = simulation.now_ms();
    let commons: BTreeSet<String> = simulation
        .caller
        .promql("count by (commons) (csoc_http_requests_total)", now_ms)
        .into_iter()
        .filter_map(|sample| sample.labels.get("commons").cloned())
        .collect();
    let wanted = [
        "canine.commons.example",
        "genome.data.example",
        "heart.commons.example",
        "hub.mesh.example",
        "imaging.commons.example",
    ];
    assert_eq!(commons, wanted.map(str::to_owned).into(), "no cross-tagging");
}
