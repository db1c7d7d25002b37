//! What goes wrong in the simulated commons pages, and nothing else does.
//!
//! Half an hour and more of virtual time: rules, notifier and commons are on the same clock, which
//! this story moves; everything goes through the real ports.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use commonwatch::demo::{Config, Expected, Planned, Scenario, Schedule, expected_alerts};
use serde_json::Value;

use crate::support::Caller;
use crate::support::ask::{array, labels};
use crate::support::server::Addresses;
use crate::support::simulated::{START_MS, STEP, Simulation};
use crate::support::sink::Sink;
use crate::support::wait::{PATIENCE, until};

const MINUTE_MS: i64 = 60_000;
/// Everything goes wrong at once, after a while in which nothing does.
const QUIET_MIN: u64 = 4;
/// By then all is over, on a machine of any speed.
const LIMIT_MIN: i64 = 70;

fn schedule() -> Schedule {
    let planned = |usual: Planned| Planned {
        after: Duration::from_secs(QUIET_MIN * 60),
        lasts: match usual.scenario {
            Scenario::StagingNoise => Duration::from_secs(600 * 60),
            _ => usual.lasts,
        },
        ..usual
    };
    let plan = Schedule::default().plan.into_iter().map(planned).collect();
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
        let missing = || -> Vec<String> {
            let told = told(&sink);
            let is_told = |one: &&Expected| told.keys().any(|alert| alert.is(one));
            expected.iter().filter(|one| !is_told(one)).map(|one| format!("{one:?}")).collect()
        };
        assert!(
            passed_min < LIMIT_MIN,
            "not over in time; never told: {:?}; {:#?}",
            missing(),
            told(&sink)
        );
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

/// Staging goes on failing.
fn goes_on(alert: &Alert) -> bool {
    alert.labels.get("env").is_some_and(|env| env == "staging")
}

/// Returns true when everything has fired, and all of it is over but what goes on.
fn is_over(told: &Told, expected: &[Expected]) -> bool {
    expected.iter().all(|expected| {
        let found = told.iter().find(|(alert, _)| alert.is(expected));
        found.is_some_and(|(alert, states)| {
            goes_on(alert) || states.last().is_some_and(|state| state == "resolved")
        })
    })
}

fn check(told: &Told, expected: &[Expected]) {
    let unexpected: Vec<_> =
        told.keys().filter(|alert| !expected.iter().any(|e| alert.is(e))).collect();
    assert!(unexpected.is_empty(), "nobody announced: {unexpected:#?}");
    for (alert, states) in told {
        let wanted: &[&str] = if goes_on(alert) { &["firing"] } else { &["firing", "resolved"] };
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

/// `commonwatch demo` itself, ended when dropped.
struct Running {
    child: Child,
    welcome: String,
}

impl Running {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_commonwatch"))
            .args(["demo", "--seed", "7", "--http", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0"])
            .args(["--otlp-http", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut welcome = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !welcome.contains("Ctrl-C") {
            assert_ne!(lines.read_line(&mut welcome).unwrap(), 0, "it ended early: {welcome}");
        }
        Self { child, welcome }
    }

    fn caller(&self) -> Caller {
        let mut words = self.welcome.split_whitespace();
        let http = words.find_map(|word| word.strip_prefix("http://")).unwrap().to_owned();
        Caller::new(&Addresses { http, otlp_grpc: String::new(), otlp_http: String::new() })
    }

    /// Returns what is to be pasted after `flag`, as the shell would read it.
    fn pasted(&self, flag: &str) -> Vec<String> {
        let lines = self.welcome.lines().filter(|line| line.trim_start().starts_with("curl"));
        let quoted = lines.filter_map(|line| line.split_once(&format!(" {flag} '")));
        quoted.map(|(_, rest)| rest.trim_end_matches('\'').replace("'\\''", "'")).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Not killed: it removes its throw-away folder when it is asked to stop.
        let pid = self.child.id().to_string();
        drop(Command::new("kill").args(["-TERM", &pid]).status());
        drop(self.child.wait());
    }
}

#[test]
fn the_queries_that_the_demo_prints_have_answers() {
    let running = Running::start();
    let caller = running.caller();
    let (sql, promql) = (running.pasted("-d"), running.pasted("--data-urlencode"));
    assert_eq!((sql.len(), promql.len()), (2, 1), "{}", running.welcome);
    until("the server to be ready", PATIENCE, || match caller.get("/-/ready").status {
        200 => Ok(()),
        status => Err(status.to_string()),
    });

    let promql = promql[0].strip_prefix("query=").unwrap();
    caller.prometheus("/api/v1/query", &[("query", promql)]);
    for query in sql {
        until("an answer", PATIENCE, || match caller.sql(&query) {
            rows if rows.is_empty() => Err(format!("no rows: {query}")),
            _ => Ok(()),
        });
    }
}
