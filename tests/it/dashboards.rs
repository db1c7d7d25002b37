//! Dashboards and rules name only what there is.
//!
//! The simulated commons run for some minutes, with a fault among them; then every expression of
//! every dashboard and rule is asked of the server, as Grafana asks it: each metric that one names
//! must be there, and no panel may be empty.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use commonwatch::demo::{Config, Planned, Scenario, Schedule};
use commonwatch::query::promql::{self, ParseLimits};
use serde_json::Value;

use crate::support::Caller;
use crate::support::ask::{array, form};
use crate::support::remote_write;
use crate::support::simulated::Simulation;
use crate::support::sink::Sink;

/// Every dashboard, and whether it looks at all commons at once.
const DASHBOARDS: [(&str, bool); 10] = [
    ("fleet", true),
    ("commons-overview", false),
    ("logins", false),
    ("data-access", false),
    ("explorer-etl", false),
    ("submission", false),
    ("workspaces", false),
    ("jobs", false),
    ("kubernetes", false),
    ("pipeline", true),
];
/// The commons that has everything: every service, fence's metrics, traces.
const SHOWN: &str = "heart.commons.example";
/// What a panel looks at: the last ten minutes, a point a minute.
const RANGE_MS: i64 = 600_000;
const STEP_S: &str = "60";

/// Kinds of panels that show nothing of their own.
const NO_QUERY: [&str; 2] = ["row", "text"];

/// What a question is asked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Prometheus,
    Loki,
    Tempo,
}

/// An expression and where it stands.
struct Question {
    place: String,
    dialect: Dialect,
    /// Grafana's type of the panel; empty for variables, annotations and rules.
    kind: String,
    is_instant: bool,
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
fn filled(expr: &str, shows_all: bool) -> String {
    let commons = if shows_all { ".*" } else { SHOWN };
    let filled = expr
        .replace("$__rate_interval", "5m")
        .replace("$commons", commons)
        .replace("$service", ".*")
        .replace("$env", ".*");
    assert!(!filled.contains("$__") && !filled.contains("${"), "a variable is left: {filled}");
    filled
}

fn question_of(place: String, kind: &str, target: &Value, shows_all: bool) -> Question {
    let (dialect, text) = match target["datasource"]["uid"].as_str() {
        Some("${logs}") => (Dialect::Loki, &target["expr"]),
        Some("${traces}") => (Dialect::Tempo, &target["query"]),
        _ => (Dialect::Prometheus, &target["expr"]),
    };
    let is_instant = target["instant"] == true || target["queryType"] == "instant";
    let expr = filled(text.as_str().unwrap_or(""), shows_all);
    Question { place, dialect, kind: kind.to_owned(), is_instant, expr }
}

fn questions_of_dashboard(name: &str, shows_all: bool) -> Vec<Question> {
    let dashboard = dashboard(name);
    let mut questions = Vec::new();
    for panel in panels(&dashboard) {
        for target in array(&panel["targets"]) {
            let place = format!("{name}: {} {}", panel["title"], target["refId"]);
            let kind = panel["type"].as_str().unwrap_or("");
            questions.push(question_of(place, kind, target, shows_all));
        }
    }
    let other = |place, expr: &str| Question {
        place,
        dialect: Dialect::Prometheus,
        kind: String::new(),
        is_instant: true,
        expr: filled(expr, shows_all),
    };
    for variable in array(&dashboard["templating"]["list"]) {
        let query = variable["query"]["query"].as_str().unwrap_or("");
        if let Some(inner) = query.strip_prefix("label_values(") {
            let selector = inner.rsplit_once(',').map_or("", |(selector, _)| selector);
            questions.push(other(format!("{name}: ${}", variable["name"]), selector));
        }
    }
    for annotation in array(&dashboard["annotations"]["list"]) {
        if let Some(expr) = annotation["expr"].as_str() {
            questions.push(other(format!("{name}: {}", annotation["name"]), expr));
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
            dialect: Dialect::Prometheus,
            kind: String::new(),
            is_instant: true,
            expr: rule["expr"].as_str().unwrap_or("").to_owned(),
        }));
    }
    questions
}

fn of_dashboards() -> Vec<Question> {
    let of_one = |(name, shows_all)| questions_of_dashboard(name, shows_all);
    DASHBOARDS.into_iter().flat_map(of_one).collect()
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
        // What counts series asks for all names.
        if &*name.value != ".+" {
            names.insert(name.value.to_string());
        }
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
fn every_panel_shows_something_of_the_demos_data() {
    let sink = Sink::start();
    let simulation = simulated(&sink);

    check_that_metrics_exist(&simulation, &questions_of_rules());
    let questions = of_dashboards();
    assert!(questions.len() > 250, "{} questions", questions.len());
    check_that_metrics_exist(&simulation, &questions);
    let shown = questions.iter().filter(|question| !question.kind.is_empty());
    let wrong: Vec<String> =
        shown.filter_map(|question| Asker::at(&simulation).check(question).err()).collect();
    assert!(wrong.is_empty(), "{} panels show nothing: {wrong:#?}", wrong.len());
}

/// Nobody asks for what nobody sends; and what is not a panel's is at least understood.
fn check_that_metrics_exist(simulation: &Simulation, questions: &[Question]) {
    let names = simulation.caller.prometheus("/api/v1/label/__name__/values", &[]);
    let known: BTreeSet<&str> = array(&names).iter().filter_map(Value::as_str).collect();
    let mut missing = BTreeSet::new();
    for question in questions.iter().filter(|q| q.dialect == Dialect::Prometheus) {
        for name in metrics_of(question) {
            // What a rule records may be rare; its own expression is among the questions.
            if !known.contains(name.as_str()) && !name.contains(':') {
                missing.insert(format!("{name} ({})", question.place));
            }
        }
        if question.kind.is_empty() {
            let expr = format!("({}) or vector(0)", question.expr);
            simulation.caller.promql(&expr, simulation.now_ms());
        }
    }
    assert!(missing.is_empty(), "nobody sends: {missing:#?}");
}

/// Asks as Grafana does, and looks at the answer as its panels do.
struct Asker<'a> {
    caller: &'a Caller,
    now_ms: i64,
}

impl<'a> Asker<'a> {
    fn at(simulation: &'a Simulation) -> Self {
        Self { caller: &simulation.caller, now_ms: simulation.now_ms() }
    }

    fn check(&self, question: &Question) -> Result<(), String> {
        let Question { place, dialect, kind, is_instant, expr } = question;
        let told = |why: String| format!("{place}: {why}: {expr}");
        match dialect {
            Dialect::Tempo => self.traces(expr).map_err(told),
            Dialect::Loki if kind == "logs" || !expr.contains("_over_time") => {
                self.streams(expr).map_err(told)
            }
            Dialect::Loki => self.numbers("/loki/api/v1", expr, *is_instant).map_err(told),
            Dialect::Prometheus => self.numbers("/api/v1", expr, *is_instant).map_err(told),
        }
    }

    fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let answer = self.caller.get(&format!("{path}?{}", form(parameters)));
        match answer.status {
            200 => Ok(answer.json()),
            status => Err(format!("{status} {}", answer.text())),
        }
    }

    /// A vector, or a matrix; some number in it is one.
    fn numbers(&self, root: &str, expr: &str, is_instant: bool) -> Result<(), String> {
        let unit_ns = if root.contains("loki") { 1_000_000 } else { 1 };
        let at = |ms: i64| match unit_ns {
            1 => format!("{}.{:03}", ms / 1_000, ms % 1_000),
            ns => (ms * ns).to_string(),
        };
        let (start, end) = (at(self.now_ms - RANGE_MS), at(self.now_ms));
        let (data, wanted) = if is_instant {
            let asked = [("query", expr), ("time", &*end)];
            (self.get(&format!("{root}/query"), &asked)?, "vector")
        } else {
            let asked = [("query", expr), ("start", &*start), ("end", &*end), ("step", STEP_S)];
            (self.get(&format!("{root}/query_range"), &asked)?, "matrix")
        };
        let data = &data["data"];
        if data["resultType"] != wanted {
            return Err(format!("a {} and no {wanted}", data["resultType"]));
        }
        let series = array(&data["result"]);
        let values = |one: &Value| match wanted {
            "vector" => vec![one["value"][1].clone()],
            _ => array(&one["values"]).iter().map(|point| point[1].clone()).collect(),
        };
        let is_number = |value: &Value| {
            value.as_str().and_then(|text| text.parse().ok()).is_some_and(f64::is_finite)
        };
        match series.iter().flat_map(values).any(|value| is_number(&value)) {
            true => Ok(()),
            false => Err(format!("no number in {} series", series.len())),
        }
    }

    fn streams(&self, expr: &str) -> Result<(), String> {
        let ns = |ms: i64| (ms * 1_000_000).to_string();
        let (start, end) = (ns(self.now_ms - RANGE_MS), ns(self.now_ms));
        let asked = [("query", expr), ("start", &*start), ("end", &*end), ("limit", "100")];
        let data = self.get("/loki/api/v1/query_range", &asked)?;
        match (data["data"]["resultType"].as_str(), array(&data["data"]["result"]).is_empty()) {
            (Some("streams"), false) => Ok(()),
            (kind, _) => Err(format!("no lines: {kind:?}")),
        }
    }

    fn traces(&self, query: &str) -> Result<(), String> {
        let (start, end) =
            (((self.now_ms - RANGE_MS) / 1_000).to_string(), (self.now_ms / 1_000).to_string());
        let asked = [("q", query), ("start", &*start), ("end", &*end), ("limit", "20")];
        let data = self.get("/tempo/api/search", &asked)?;
        match array(&data["traces"]).is_empty() {
            false => Ok(()),
            true => Err("no traces".to_owned()),
        }
    }
}

#[test]
fn dashboards_are_what_their_script_writes() {
    let folder = tempfile::TempDir::with_prefix("commonwatch-dashboards-").unwrap();

    let script = project("scripts/dashboards");
    let status = Command::new("python3").arg(script).arg(folder.path()).status().unwrap();
    assert!(status.success());

    for (name, _) in DASHBOARDS {
        let file = format!("{name}.json");
        let written = std::fs::read_to_string(folder.path().join(&file)).unwrap();
        let kept = std::fs::read_to_string(project("dashboards").join(&file)).unwrap();
        assert!(
            written == kept,
            "{file} was changed by hand: change scripts/dashboards and run it"
        );
    }
    assert_eq!(std::fs::read_dir(project("dashboards")).unwrap().count(), DASHBOARDS.len());
}

#[test]
fn dashboards_can_be_imported_and_explain_themselves() {
    let mut uids = BTreeSet::new();
    for (name, _) in DASHBOARDS {
        let dashboard = dashboard(name);
        assert!(dashboard["schemaVersion"].as_u64() >= Some(39), "{name}");
        assert!(dashboard["id"].is_null(), "{name}: an id belongs to one Grafana");
        assert!(uids.insert(dashboard["uid"].to_string()), "{name}: uid");
        let variables = array(&dashboard["templating"]["list"]);
        let names: Vec<_> = variables.iter().filter_map(|one| one["name"].as_str()).collect();
        assert_eq!(
            names,
            ["datasource", "logs", "traces", "commons", "env", "service"],
            "{name}: variables"
        );
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
    let source = panel["datasource"]["uid"].as_str().unwrap();
    assert!(["${datasource}", "${logs}", "${traces}"].contains(&source), "{place}: {source}");
    let (x, w) = (&panel["gridPos"]["x"], &panel["gridPos"]["w"]);
    assert!(x.as_u64().unwrap() + w.as_u64().unwrap() <= 24, "{place}: wider than the page");
    let mut names = BTreeSet::new();
    for target in array(&panel["targets"]) {
        assert!(names.insert(target["refId"].to_string()), "{place}: refId");
        assert_eq!(target["datasource"], panel["datasource"], "{place}");
    }
    assert!(!names.is_empty(), "{place}: asks nothing");
}
