//! Dashboards and rules name only what there is.
//!
//! The simulated commons run for some minutes, with a fault among them; then every expression of
//! every dashboard and rule is asked of the server, and each metric that one names must be there.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use commonwatch::demo::{Config, Planned, Scenario, Schedule};
use commonwatch::query::promql::{self, ParseLimits};
use serde_json::Value;

use crate::support::ask::array;
use crate::support::remote_write;
use crate::support::simulated::Simulation;
use crate::support::sink::Sink;

const DASHBOARDS: [&str; 3] = ["fleet", "commons-overview", "pipeline"];
/// Kinds of panels that show nothing of their own.
const NO_QUERY: [&str; 2] = ["row", "text"];

/// An expression and where it stands.
struct Question {
    place: String,
    expr: String,
}

fn project(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn dashboard(name: &str) -> Value {
    let text = std::fs::read_to_string(project(&format!("dashboards/{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn panels(dashboard: &Value) -> Vec<&Value> {
    let all = array(&dashboard["panels"]);
    let inner = all.iter().flat_map(|panel| array(&panel["panels"]));
    all.iter().chain(inner).collect()
}

/// Replaces Grafana's variables by what they may stand for.
fn filled(expr: &str) -> String {
    expr.replace("$__rate_interval", "5m")
        .replace("\"$commons\"", "\"genome.data.example\"")
        .replace("=\"genome", "=~\"genome")
        .replace("=~~", "=~")
        .replace("$service", ".*")
        .replace("$env", ".*")
}

fn questions_of_dashboard(name: &str) -> Vec<Question> {
    let dashboard = dashboard(name);
    let mut questions = Vec::new();
    for panel in panels(&dashboard) {
        for target in array(&panel["targets"]) {
            let expr = target["expr"].as_str().unwrap_or("");
            let place = format!("{name}: {}", panel["title"]);
            questions.push(Question { place, expr: filled(expr) });
        }
    }
    for variable in array(&dashboard["templating"]["list"]) {
        let query = variable["query"]["query"].as_str().unwrap_or("");
        if let Some(inner) = query.strip_prefix("label_values(") {
            let selector = inner.rsplit_once(',').map_or("", |(selector, _)| selector);
            let place = format!("{name}: ${}", variable["name"]);
            questions.push(Question { place, expr: filled(selector) });
        }
    }
    questions
}

fn questions_of_rules() -> Vec<Question> {
    let pattern = project("alerts/*.yml").display().to_string();
    let files = commonwatch::rules::read_files(&[pattern]).unwrap();
    let mut questions = Vec::new();
    for file in files {
        let rules: Value = serde_saphyr::from_str(&file.text).unwrap();
        let rules =
            array(&rules["groups"]).iter().flat_map(|group| array(&group["rules"]).to_vec());
        questions.extend(rules.map(|rule| Question {
            place: format!("{}: {}{}", file.path, rule["alert"], rule["record"]),
            expr: rule["expr"].as_str().unwrap_or("").to_owned(),
        }));
    }
    questions
}

fn all_questions() -> Vec<Question> {
    let of_dashboards = DASHBOARDS.into_iter().flat_map(questions_of_dashboard);
    of_dashboards.chain(questions_of_rules()).collect()
}

/// Returns the metrics that an expression names; one without a name is a mistake of its own.
fn metrics_of(question: &Question) -> BTreeSet<String> {
    let limits = ParseLimits::default();
    let expr = promql::parse(&question.expr, &limits)
        .unwrap_or_else(|error| panic!("{}: {error}: {}", question.place, question.expr));
    let mut names = BTreeSet::new();
    for matchers in promql::selectors(&expr) {
        let name = matchers.iter().find(|matcher| &*matcher.name == "__name__");
        let name = name.unwrap_or_else(|| panic!("{}: a selector without name", question.place));
        names.insert(name.value.to_string());
    }
    names
}

/// A few minutes with a fault, so that alerts are pending; and a sample from the far future, so that
/// something is refused.
fn simulated(sink: &Sink) -> Simulation {
    let at_once =
        |scenario| Planned { scenario, after: Duration::ZERO, lasts: Duration::from_secs(3_600) };
    let plan = vec![at_once(Scenario::FenceDatabase), at_once(Scenario::StagingNoise)];
    let schedule = Schedule { plan, ..Schedule::default() };
    let config = Config { rate: 0.5, metrics_every_ms: 30_000, schedule, ..Config::default() };
    let alerting = format!("webhook_url = \"{}\"\ngroup_wait = \"15s\"", sink.url());
    let mut simulation = Simulation::start(&alerting, config);
    let future_ms = simulation.now_ms() + 30 * 86_400_000;
    let series = remote_write::series(&[("__name__", "late"), ("job", "x")], &[(future_ms, 1.0)]);
    simulation.caller.send(remote_write::write(vec![series]));
    for _ in 0..16 {
        simulation.step();
    }
    simulation
}

#[test]
fn every_metric_that_a_dashboard_or_a_rule_names_is_in_the_demos_data() {
    let sink = Sink::start();
    let simulation = simulated(&sink);
    let now_ms = simulation.now_ms();
    let names = simulation.caller.prometheus("/api/v1/label/__name__/values", &[]);
    let known: BTreeSet<&str> = array(&names).iter().filter_map(Value::as_str).collect();
    let questions = all_questions();
    assert!(questions.len() > 80, "{} questions", questions.len());

    let mut missing = BTreeSet::new();
    for question in &questions {
        for name in metrics_of(question) {
            if !known.contains(name.as_str()) {
                missing.insert(format!("{name} ({})", question.place));
            }
        }
        simulation.caller.promql(&format!("({}) or vector(0)", question.expr), now_ms);
    }

    assert!(missing.is_empty(), "nobody sends: {missing:#?}");
    check_that_tiles_show_something(&simulation);
}

/// A panel may be empty when all is well; a tile and a table of the fleet may not.
fn check_that_tiles_show_something(simulation: &Simulation) {
    for name in DASHBOARDS {
        let dashboard = dashboard(name);
        let tiles = panels(&dashboard).into_iter().filter(|panel| panel["type"] == "stat");
        for tile in tiles {
            let expr = filled(tile["targets"][0]["expr"].as_str().unwrap());
            let answer = simulation.caller.promql(&expr, simulation.now_ms());
            assert_eq!(answer.len(), 1, "{name}: {}: {answer:?}", tile["title"]);
            assert_ne!(answer[0].value, "NaN", "{name}: {}", tile["title"]);
        }
    }
}

#[test]
fn dashboards_can_be_imported_and_explain_themselves() {
    let mut uids = BTreeSet::new();
    for name in DASHBOARDS {
        let dashboard = dashboard(name);
        assert!(dashboard["schemaVersion"].as_u64() >= Some(39), "{name}");
        assert!(dashboard["id"].is_null(), "{name}: an id belongs to one Grafana");
        assert!(uids.insert(dashboard["uid"].to_string()), "{name}: uid");
        assert_eq!(dashboard["templating"]["list"][0]["type"], "datasource", "{name}");
        let mut ids = BTreeSet::new();
        for panel in panels(&dashboard) {
            let place = format!("{name}: {}", panel["title"]);
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{place}: id");
            check_panel(&place, panel);
        }
    }
}

fn check_panel(place: &str, panel: &Value) {
    let kind = panel["type"].as_str().unwrap();
    assert!(!panel["title"].as_str().unwrap().is_empty(), "{place}");
    if NO_QUERY.contains(&kind) {
        return;
    }
    assert!(
        panel["description"].as_str().is_some_and(|text| text.len() > 5),
        "{place}: description"
    );
    assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{place}: unit");
    assert_eq!(panel["datasource"]["uid"], "${datasource}", "{place}");
    let (x, w) = (&panel["gridPos"]["x"], &panel["gridPos"]["w"]);
    assert!(x.as_u64().unwrap() + w.as_u64().unwrap() <= 24, "{place}: wider than the page");
    let mut names = BTreeSet::new();
    for target in array(&panel["targets"]) {
        assert!(names.insert(target["refId"].to_string()), "{place}: refId");
        assert_eq!(target["datasource"]["uid"], "${datasource}", "{place}");
    }
    assert!(!names.is_empty(), "{place}: asks nothing");
}
