//! The server in this process on a clock that stands still, and the simulated commons beside it.
//!
//! One step moves the clock, ships what the commons sent until then through the real ports, and
//! waits until the server has caught up: its derived metrics stored, its rules evaluated.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use commonwatch::app::App;
use commonwatch::base::tasks::spawn_detached;
use commonwatch::base::{Clock, ManualClock};
use commonwatch::config::{Config, Sources};
use commonwatch::demo::{self, Demo};
use commonwatch::tagging::demo_commons;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::Caller;
use super::ask::array;
use super::server::Addresses;
use super::wait::{PATIENCE, until};

/// A Wednesday noon, ms since 1970 UTC.
pub(crate) const START_MS: i64 = 1_786_536_000_000;

/// How far the clock moves at once; less than any rule's interval, so that none is missed.
pub(crate) const STEP: Duration = Duration::from_secs(30);

/// How often the server stores what it derives.
const COLLECT_MS: i64 = 15_000;
/// How often rules are evaluated.
const INTERVAL_MS: i64 = 60_000;

/// A running server and its senders.
pub(crate) struct Simulation {
    pub(crate) caller: Caller,
    pub(crate) demo: Demo,
    clock: Arc<ManualClock>,
    runtime: tokio::runtime::Runtime,
    shutdown: CancellationToken,
    _home: TempDir,
}

impl Simulation {
    /// Starts the server with the project's own rules; `alerting` is the section of that name.
    pub(crate) fn start(alerting: &str, demo: demo::Config) -> Self {
        let home = TempDir::with_prefix("commonwatch-simulated-").unwrap();
        let config = config(home.path(), alerting);
        let clock = ManualClock::at_ms(START_MS);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let shutdown = CancellationToken::new();
        let shared: commonwatch::base::clock::SharedClock = Arc::clone(&clock) as _;
        let app = runtime.block_on(Box::pin(App::build(config, Arc::clone(&shared)))).unwrap();
        let bound = app.addresses();
        let stop = shutdown.clone();
        runtime.block_on(async {
            spawn_detached(async move { Box::pin(app.run(stop)).await.unwrap() });
        });
        let addresses = Addresses {
            http: bound.http.to_string(),
            otlp_grpc: bound.otlp_grpc.to_string(),
            otlp_http: bound.otlp_http.to_string(),
        };
        let caller = Caller::new(&addresses);
        until("the server to be ready", PATIENCE, || match caller.get("/-/ready") {
            ready if ready.status == 200 => Ok(()),
            waiting => Err(waiting.text()),
        });
        let to = demo::Addresses { http: addresses.http, otlp_grpc: addresses.otlp_grpc };
        let demo = Demo::new(demo, to, shared);
        Self { caller, demo, clock, runtime, shutdown, _home: home }
    }

    /// Returns the time on the clock, ms since 1970 UTC.
    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Moves the clock by one step and lets everyone catch up.
    pub(crate) fn step(&mut self) {
        self.clock.advance(STEP);
        self.demo.tick();
        let Self { demo, runtime, .. } = self;
        until("the server to take everything", PATIENCE, || match runtime.block_on(demo.ship()) {
            None => Ok(()),
            Some(pause) => Err(format!("it asks for {pause:?}")),
        });
        self.wait_for_collected();
        self.wait_for_rules();
    }

    /// Own metrics are stored together with derived ones.
    fn wait_for_collected(&self) {
        let slot_s = self.now_ms().div_euclid(COLLECT_MS) * COLLECT_MS / 1_000;
        until("derived metrics to be stored", PATIENCE, || {
            let query = format!("max(timestamp(commonwatch_rules_groups)) >= {slot_s}");
            match self.caller.promql(&query, self.now_ms()).is_empty() {
                false => Ok(()),
                true => Err("they are older".to_owned()),
            }
        });
    }

    /// Each group has an interval of its own, and is due once it has passed.
    fn wait_for_rules(&self) {
        until("rules to be evaluated", PATIENCE, || {
            let data = self.caller.prometheus("/api/v1/rules", &[]);
            for group in array(&data["groups"]) {
                let interval = Duration::from_secs_f64(group["interval"].as_f64().unwrap_or(0.0));
                let interval_ms = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
                let due_ms = self.now_ms() - interval_ms.max(INTERVAL_MS);
                let last = group["lastEvaluation"].as_str().unwrap_or("");
                let last = chrono::DateTime::parse_from_rfc3339(last).map_err(|e| e.to_string())?;
                if due_ms > START_MS && last.timestamp_millis() <= due_ms {
                    return Err(format!("{}: last at {last}", group["name"]));
                }
            }
            Ok(())
        });
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn config(home: &Path, alerting: &str) -> Config {
    let tagging = commonwatch::tagging::Config { commons: demo_commons(), ..Default::default() };
    let commons = toml::to_string(&tagging).unwrap();
    let text = format!(
        "[server]\ndata_dir = {:?}\nhttp = \"127.0.0.1:0\"\notlp_grpc = \"127.0.0.1:0\"\notlp_http = \"127.0.0.1:0\"\n\n\
         [rules]\nfiles = [{:?}]\n\n[alerting]\n{alerting}\n\n{}",
        home.join("data"),
        concat!(env!("CARGO_MANIFEST_DIR"), "/alerts/*.yml"),
        commons.replace("[[commons]]", "[[tagging.commons]]").replacen(
            "enabled",
            "[tagging]\nenabled",
            1
        ),
    );
    let path = home.join("commonwatch.toml");
    std::fs::write(&path, text).unwrap();
    let sources = Sources { path: Some(path), ..Sources::default() };
    Config::load(sources).unwrap_or_else(|error| panic!("{error}"))
}
