//! A commons goes dark, and comes back with what it could not send: through the real ports, on a clock
//! that the test moves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use commonwatch::app::App;
use commonwatch::base::clock::SharedClock;
use commonwatch::base::tasks::spawn_detached;
use commonwatch::base::{Clock as _, ManualClock};
use commonwatch::config::{Config, Sources};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::Caller;
use crate::support::ask::array;
use crate::support::http::Request;
use crate::support::loki::push_json;
use crate::support::otlp;
use crate::support::remote_write::{series, write};
use crate::support::simulated::START_MS;
use crate::support::sink::Sink;
use crate::support::wait::{PATIENCE, until};

/// Half of the time from one look at the store to the next.
const HALF: Duration = Duration::from_secs(30);

/// A rule that would page for every minute of the outage, were it asked about the past.
const RULES: &str = "groups:\n- name: g\n  interval: 30s\n  rules:\n  - {alert: Down, expr: probe == 0, \
    labels: {severity: page}}\n";

struct World {
    sink: Sink,
    clock: Arc<ManualClock>,
    admin: Caller,
    heart: Caller,
    canine: Caller,
    shutdown: CancellationToken,
    _runtime: tokio::runtime::Runtime,
    _home: TempDir,
}

impl World {
    /// Starts a server with more lines of configuration than every story needs.
    fn start(more: &str) -> Self {
        let home = TempDir::with_prefix("commonwatch-dark-").unwrap();
        let sink = Sink::start();
        std::fs::write(home.path().join("r.yml"), RULES).unwrap();
        let token = |name: &str, rest: &str| {
            format!("[[auth.tokens]]\nname = \"{name}\"\ntoken = \"token-of-{name}-in\"\n{rest}\n")
        };
        let text = format!(
            "[server]\ndata_dir = {:?}\nhttp = \"127.0.0.1:0\"\notlp_grpc = \"off\"\notlp_http = \"off\"\n\
             [rules]\nfiles = [{:?}]\n[alerting]\nwebhook_url = \"{}\"\ngroup_wait = \"0s\"\n\
             group_interval = \"30s\"\n[inventory]\ndark_min = \"5m\"\nservice_severity = \"page\"\n{more}{}{}{}",
            home.path().join("data"),
            home.path().join("r.yml"),
            sink.url(),
            token("heart", "commons = \"heart.example\""),
            token("canine", "commons = \"canine.example\""),
            token("admin", "role = \"admin\"\nread = [\"*\"]"),
        );
        let path = home.path().join("commonwatch.toml");
        std::fs::write(&path, text).unwrap();
        let sources = Sources { path: Some(path), ..Sources::default() };
        let config = Config::load(sources).unwrap_or_else(|error| panic!("{error}"));
        let clock = ManualClock::at_ms(START_MS);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let shutdown = CancellationToken::new();
        let shared: SharedClock = Arc::clone(&clock) as _;
        let app = runtime.block_on(Box::pin(App::build(config, shared))).unwrap();
        let http = app.addresses().http.to_string();
        let stop = shutdown.clone();
        runtime.block_on(async {
            spawn_detached(async move { Box::pin(app.run(stop)).await.unwrap() });
        });
        let caller = |name: &str| Caller::at(&http).with_token(&format!("token-of-{name}-in"));
        let [admin, heart, canine] = ["admin", "heart", "canine"].map(caller);
        until("the server to be ready", PATIENCE, || match admin.get("/-/ready") {
            ready if ready.status == 200 => Ok(()),
            waiting => Err(waiting.text()),
        });
        Self { sink, clock, admin, heart, canine, shutdown, _runtime: runtime, _home: home }
    }

    /// Sends what a commons has to say of a time: a metric, a scrape, a line and a span of a service.
    fn send(&self, caller: &Caller, at_ms: i64, probe: f64) {
        let metrics = write(vec![
            series(&[("__name__", "probe"), ("app", "fence")], &[(at_ms, probe)]),
            series(&[("__name__", "up"), ("app", "fence")], &[(at_ms, 1.0)]),
        ]);
        let lines = push_json(&json!({ "app": "fence" }), &[(at_ms * 1_000_000, "GET /user 200")]);
        let resource = otlp::resource(&[("service.name", "fence")]);
        let span = otlp::span(at_ms.unsigned_abs(), at_ms * 1_000_000, "GET /user");
        let spans = otlp::post("/v1/traces", &otlp::spans(resource, vec![span]));
        for request in [metrics, lines, spans] {
            let answer = caller.send(request);
            assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
        }
    }

    /// Lets a minute pass; who reports does so at its beginning, and the server has looked at what came
    /// when this returns.
    fn minute(&self, reporting: &[&Caller]) {
        for caller in reporting {
            self.send(caller, self.clock.now_ms(), 1.0);
        }
        // What is derived is stored half-way, so that the look on the minute finds it.
        for _ in 0..2 {
            self.clock.advance(HALF);
            self.wait_for_own_metrics();
        }
        let now_ms = self.clock.now_ms();
        until("the server to look", PATIENCE, || {
            let looked =
                self.admin.get("/api/v1/admin/inventory").json()["data"]["lookedAt"].take();
            let at = looked.as_str().and_then(|at| chrono::DateTime::parse_from_rfc3339(at).ok());
            match at.is_some_and(|at| at.timestamp_millis() >= now_ms) {
                true => Ok(()),
                false => Err(looked.to_string()),
            }
        });
    }

    fn wait_for_own_metrics(&self) {
        let now_ms = self.clock.now_ms();
        until("own metrics to be stored", PATIENCE, || {
            let query = format!("max(timestamp(commonwatch_rules_groups)) >= {}", now_ms / 1_000);
            match self.admin.promql(&query, now_ms).is_empty() {
                false => Ok(()),
                true => Err("not yet".to_owned()),
            }
        });
    }

    /// Returns the alerts that were told in a state, by name, commons and signal.
    fn told(&self, status: &str) -> Vec<Value> {
        let bodies = self.sink.received();
        let alerts = bodies.iter().flat_map(|body| array(&body["alerts"]).to_vec());
        alerts.filter(|alert| alert["status"] == status).collect()
    }

    /// Lets minutes pass until something is true.
    fn pass_until(&self, reporting: &[&Caller], minutes_max: usize, done: impl Fn() -> bool) {
        for _ in 0..minutes_max {
            if done() {
                return;
            }
            self.minute(reporting);
        }
        until("the last of it", PATIENCE, || if done() { Ok(()) } else { Err(self.state()) });
    }

    /// Returns where a commons as a whole stands, by signal.
    fn standing(&self, commons: &str) -> BTreeMap<String, String> {
        let path = format!("/api/v1/admin/inventory?commons={commons}");
        let answer = self.admin.get(&path).json();
        let items = array(&answer["data"]["items"]).iter().filter(|item| item["service"].is_null());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        items.map(|item| (text(&item["signal"]), text(&item["state"]))).collect()
    }

    fn state(&self) -> String {
        format!("{:?}\n{}", self.sink.received(), self.admin.get("/api/v1/admin/inventory").text())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn is_of(alert: &Value, name: &str, signal: &str) -> bool {
    let labels = &alert["labels"];
    labels["alertname"] == name
        && labels["commons"] == "heart.example"
        && labels["signal"] == signal
}

#[test]
fn a_commons_that_goes_dark_is_told_by_signal_and_late_data_ends_it_without_paging_for_the_past() {
    let world = World::start("");
    for _ in 0..8 {
        world.minute(&[&world.heart, &world.canine]);
    }
    assert_eq!(world.told("firing"), Vec::<Value>::new(), "all report");
    let last_ms = world.clock.now_ms() - 60_000;

    let has = |status: &str, signal: &str| {
        world.told(status).iter().any(|alert| is_of(alert, "CommonsWentDark", signal))
    };
    // A service counts as writing for as long as its lines are in the last three minutes.
    let service_of_logs = || {
        let alerts = world.admin.get("/am/api/v2/alerts").json();
        array(&alerts).iter().find(|alert| is_of(alert, "ServiceWentDark", "logs")).cloned()
    };
    world.pass_until(&[&world.canine], 40, || {
        has("firing", "logs") && has("firing", "metrics") && service_of_logs().is_some()
    });

    let told = world.told("firing");
    let logs = told.iter().find(|alert| is_of(alert, "CommonsWentDark", "logs")).unwrap();
    let said = logs["annotations"]["description"].as_str().unwrap();
    let seen = chrono::DateTime::from_timestamp_millis(last_ms).unwrap();
    assert!(said.contains(&seen.format("%Y-%m-%dT%H:%M").to_string()), "when: {said}");
    assert!(said.contains("with it fence"), "what vanished with it: {said}");
    assert!(told.iter().all(|alert| alert["labels"]["commons"] == "heart.example"), "{told:?}");
    // Its service is dark too, and inhibited.
    let service = service_of_logs().unwrap();
    assert_eq!(service["status"]["state"], "suppressed", "{service}");
    assert!(
        !told.iter().any(|alert| alert["labels"]["alertname"] == "ServiceWentDark"),
        "{told:?}"
    );

    // The partition ends: everything of the outage comes at once. The probe was down all the while, but
    // for the last minutes, further back than an instant query reaches.
    let n_told = world.told("firing").len();
    let now_ms = world.clock.now_ms();
    let mut at_ms = last_ms + 30_000;
    while at_ms <= now_ms {
        let is_past = now_ms - at_ms > 6 * 60_000;
        world.send(&world.heart, at_ms, if is_past { 0.0 } else { 1.0 });
        at_ms += 30_000;
    }
    world.pass_until(&[&world.heart, &world.canine], 20, || {
        has("resolved", "logs") && has("resolved", "metrics")
    });
    for _ in 0..6 {
        world.minute(&[&world.heart, &world.canine]);
    }

    let told = world.told("firing");
    assert!(!told.iter().any(|alert| alert["labels"]["alertname"] == "Down"), "the past: {told:?}");
    let again: Vec<_> = told[n_told..].iter().filter(|alert| !is_dark(alert)).collect();
    assert!(again.is_empty(), "{again:?}");
    let inventory = world.admin.get("/api/v1/admin/inventory?commons=heart.example").json();
    let states: Vec<&Value> =
        array(&inventory["data"]["items"]).iter().map(|item| &item["state"]).collect();
    assert!(states.iter().all(|state| **state == "reporting"), "{inventory}");
}

fn is_dark(alert: &Value) -> bool {
    alert["labels"]["alertname"] == "CommonsWentDark"
}

/// A commons that is expected, and that nobody ever hears of.
const EXPECTED: &str =
    "[[inventory.expected]]\ncommons = \"hub.example\"\nsignal = \"logs\"\nrhythm = \"1m\"\n";

#[test]
fn each_state_is_seen_and_only_a_darkness_that_nobody_announced_pages() {
    let world = World::start(EXPECTED);
    for _ in 0..6 {
        world.minute(&[&world.heart, &world.canine]);
    }
    let of = |commons: &str| world.standing(commons);
    let all = |states: &BTreeMap<String, String>, wanted: &str| {
        states.len() == 3 && states.values().all(|state| state == wanted)
    };
    assert!(all(&of("heart.example"), "reporting"), "{}", world.state());
    assert_eq!(of("hub.example"), [("logs".to_owned(), "never_seen".to_owned())].into());

    // Somebody says that canine is being worked on; then nobody speaks any more.
    let silence = json!({
        "matchers": [{ "name": "alertname", "value": ".+WentDark", "isRegex": true },
                     { "name": "commons", "value": "canine.example", "isRegex": false }],
        "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z",
        "createdBy": "ann", "comment": "moves to another cluster" });
    let silenced = world.admin.send(
        Request::post("/am/api/v2/silences", silence.to_string())
            .header("Content-Type", "application/json"),
    );
    assert_eq!(silenced.status, 200, "{}", silenced.text());
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for _ in 0..25 {
        world.minute(&[]);
        for (commons, states) in
            ["heart.example", "canine.example"].map(|commons| (commons, of(commons)))
        {
            for (signal, state) in states {
                let passed = seen.entry(format!("{signal} of {commons}")).or_default();
                if passed.last() != Some(&state) {
                    passed.push(state);
                }
            }
        }
        if all(&of("heart.example"), "dark") && all(&of("canine.example"), "in_maintenance") {
            break;
        }
    }
    for (what, passed) in &seen {
        let wanted: &[&str] = match what.ends_with("heart.example") {
            true => &["reporting", "quiet", "dark"],
            false => &["reporting", "in_maintenance"],
        };
        assert_eq!(passed, wanted, "{what}: {}", world.state());
    }
    assert_eq!(seen.len(), 6, "three signals of two commons: {seen:?}");

    let dark = || -> Vec<String> {
        let told = world.told("firing");
        let of_commons = told.iter().filter(|alert| is_dark(alert));
        of_commons.map(|alert| alert["labels"]["signal"].as_str().unwrap().to_owned()).collect()
    };
    world.pass_until(&[], 5, || dark().len() >= 3);
    let told = world.told("firing");
    assert!(told.iter().all(|alert| alert["labels"]["commons"] == "heart.example"), "{told:?}");
    let alerts = world.admin.get("/am/api/v2/alerts?filter=commons%3Dcanine.example").json();
    assert!(array(&alerts).len() >= 3, "they are known: {alerts}");
    for alert in array(&alerts) {
        assert!(!array(&alert["status"]["silencedBy"]).is_empty(), "and held back: {alert}");
    }

    // What reports again is not in maintenance any more, whatever was said.
    world.pass_until(&[&world.canine], 5, || all(&of("canine.example"), "reporting"));
    assert_eq!(of("hub.example")["logs"], "never_seen");
}
