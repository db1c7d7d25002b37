//! `commonwatch demo`: `serve` on a throw-away data directory, with simulated commons.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;
use toml::Value;

use super::serve::{ServeArgs, stop_on_signal};
use super::{CliError, block_on, doctor, logging};
use crate::app::{App, AppError};
use crate::base::clock::{SharedClock, SystemClock};
use crate::base::tasks::spawn_detached;
use crate::config::{Config, Flag, Sources};
use crate::demo::{self, Demo, Schedule};
use crate::server::{Addresses, ListenAddr};
use crate::tagging::demo_commons;

/// The rules, for a binary that runs outside of the project's folder.
const RULES: [(&str, &str); 4] = [
    ("access.yml", include_str!("../../alerts/access.yml")),
    ("availability.yml", include_str!("../../alerts/availability.yml")),
    ("recording.yml", include_str!("../../alerts/recording.yml")),
    ("requests.yml", include_str!("../../alerts/requests.yml")),
];

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    #[command(flatten)]
    pub(super) serve: ServeArgs,
    /// The same number gives the same simulated world
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Times the usual rate of requests, which is about 50 a second in all
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    rate: f64,
}

pub(super) fn run(args: &DemoArgs, out: &mut dyn Write) -> Result<(), CliError> {
    if !(args.rate > 0.0 && args.rate <= 1_000.0) {
        let message = format!("--rate: {} is not above 0 and at most 1000", args.rate);
        return Err(CliError::usage(message));
    }
    let folder = Folder::new()?;
    let config = Config::load(sources(&args.serve, &folder.path)?)?;
    if config.tls.is_some() {
        let message = "the demo ships without TLS: leave server.tls_cert_file out, or use `serve`";
        return Err(CliError::usage(message));
    }
    logging::start(&config.sections.log)?;
    block_on(async {
        let failed = |error: AppError| CliError::of(error.kind(), &error);
        let clock: SharedClock = Arc::new(SystemClock::new());
        let app = Box::pin(App::build(config, Arc::clone(&clock))).await.map_err(failed)?;
        let bound = app.addresses();
        let world = demo::Config { seed: args.seed, rate: args.rate, ..demo::Config::default() };
        out.write_all(welcome(&bound, &world.schedule, clock.now_ms()).as_bytes())?;
        out.flush()?;
        let shutdown = CancellationToken::new();
        spawn_detached(stop_on_signal(shutdown.clone()));
        let demo = Demo::new(world, reachable(&bound)?, clock);
        spawn_detached(Box::pin(demo.run(shutdown.clone())));
        Box::pin(app.run(shutdown)).await.map_err(failed)
    })
}

/// A folder of this run, removed when it ends.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new() -> Result<Self, CliError> {
        let name = format!("commonwatch-demo-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let failed = |error| CliError::failed(format!("cannot make {}: {error}", path.display()));
        std::fs::create_dir_all(&path).map_err(failed)?;
        Ok(Self { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.path).ok();
    }
}

/// Returns where the configuration comes from: as for `serve`, and what the demo adds.
fn sources(args: &ServeArgs, folder: &Path) -> Result<Sources, CliError> {
    let mut sources = args.sources();
    if args.data_dir.is_none() {
        let path = folder.join("data").display().to_string();
        let flag = Flag { name: "demo", key: "server.data_dir", value: Value::String(path) };
        sources.flags.push(flag);
    }
    let commons = Value::try_from(demo_commons())
        .map_err(|error| CliError::failed(format!("the demo's commons: {error}")))?;
    sources.flags.push(Flag { name: "demo", key: "tagging.commons", value: commons });
    if args.rules.is_empty() && !Path::new("alerts").is_dir() {
        let pattern = Value::String(write_rules(folder)?);
        let value = Value::Array(vec![pattern]);
        sources.flags.push(Flag { name: "demo", key: "rules.files", value });
    }
    Ok(sources)
}

/// Writes the built-in rules and returns the pattern that finds them.
fn write_rules(folder: &Path) -> Result<String, CliError> {
    let folder = folder.join("alerts");
    let failed = |error| CliError::failed(format!("cannot write the demo's rules: {error}"));
    std::fs::create_dir_all(&folder).map_err(failed)?;
    for (name, text) in RULES {
        std::fs::write(folder.join(name), text).map_err(failed)?;
    }
    Ok(folder.join("*.yml").display().to_string())
}

fn reachable(bound: &Addresses) -> Result<demo::Addresses, CliError> {
    let address = |key: &str, listener: &ListenAddr| match listener {
        ListenAddr::At(address) => Ok(address.to_string()),
        ListenAddr::Off => Err(CliError::usage(format!("{key} is off: the demo ships to it"))),
    };
    Ok(demo::Addresses {
        http: address("server.http", &bound.http)?,
        otlp_grpc: address("server.otlp_grpc", &bound.otlp_grpc)?,
    })
}

/// Says what runs, where to look and what will go wrong.
fn welcome(bound: &Addresses, schedule: &Schedule, start_ms: i64) -> String {
    let url = format!("http://{}", bound.http);
    let mut text = format!(
        "commonwatch demo: five simulated commons ship to this server\n\n\
         \x20 Prometheus data source  {url}\n\
         \x20 own metrics             {url}/metrics\n\
         \x20 OTLP                    {} (gRPC and HTTP), {}\n\
         \x20 dashboards              dashboards/*.json, to be imported into Grafana\n\n\
         Grafana's data source, as a file:\n\n{}\n",
        bound.otlp_grpc,
        bound.otlp_http,
        doctor::provisioning(&url)
    );
    text.push_str(&queries(&url));
    text.push_str("What will go wrong (UTC), again every hour:\n\n");
    for planned in &schedule.plan {
        let at = |after: std::time::Duration| {
            let ms = start_ms + i64::try_from(after.as_millis()).unwrap_or(0);
            chrono::DateTime::from_timestamp_millis(ms).unwrap_or_default().format("%H:%M")
        };
        let (from, to) = (at(planned.after), at(planned.after + planned.lasts));
        let (letter, title) = (planned.scenario.letter(), planned.scenario.title());
        text.push_str(&format!("  {letter}  {from} to {to}  {title}\n"));
        let mut alerts: Vec<_> = planned.scenario.expected().iter().map(|e| e.alert).collect();
        alerts.dedup();
        text.push_str(&format!("                      alerts: {}\n", alerts.join(", ")));
    }
    text.push_str("\nCtrl-C ends it.\n");
    text
}

/// Three questions to start with.
fn queries(url: &str) -> String {
    const ERRORS: &str = "sum by (commons) (rate(csoc_http_requests_total{status=~\"5..\"}[5m])) \
                          / sum by (commons) (rate(csoc_http_requests_total[5m]))";
    const LINES: &str = "SELECT commons, service, count(*) AS lines FROM logs \
                         WHERE timestamp > now() - INTERVAL '5 minutes' \
                         GROUP BY commons, service ORDER BY lines DESC LIMIT 10";
    // The revproxy's request id is the trace's: what was slow, and where the time went.
    const SLOW: &str = "SELECT l.commons, json_get(l.body, 'http_request') AS request, s.service, \
                        s.duration_ns / 1000000 AS ms FROM logs l \
                        JOIN spans s ON s.trace_id = json_get(l.body, 'request_id') \
                        WHERE l.service = 'revproxy' \
                        AND l.timestamp > now() - INTERVAL '5 minutes' \
                        AND s.start_time > now() - INTERVAL '5 minutes' \
                        ORDER BY ms DESC LIMIT 10";
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let sql = |query: &str| {
        format!(
            "  curl -s {url}/api/v1/sql -H 'content-type: text/plain' -H 'accept: text/csv' -d {}\n",
            quoted(query)
        )
    };
    let promql = quoted(&format!("query={ERRORS}"));
    format!(
        "Three queries to try, after a minute:\n\n\
         # PromQL: the share of requests that fail, by commons\n  curl -s {url}/api/v1/query --data-urlencode {promql}\n\
         # SQL: who writes most\n{}\
         # SQL: the slowest requests that were traced, the access log joined with the spans\n{}\n",
        sql(LINES),
        sql(SLOW)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_file_is_built_in() {
        let on_disk = std::fs::read_dir("alerts").unwrap().flatten().map(|entry| entry.path());
        let mut names: Vec<String> = on_disk
            .filter(|path| path.extension().is_some_and(|extension| extension == "yml"))
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        names.sort();

        assert_eq!(names, RULES.map(|(name, _)| name));
    }

    #[test]
    fn the_demo_adds_its_commons_and_keeps_a_given_folder() {
        let folder = Folder::new().unwrap();
        let given = ServeArgs { data_dir: Some("kept".to_owned()), ..ServeArgs::default() };

        let config = Config::load(sources(&given, &folder.path).unwrap()).unwrap();

        assert_eq!(config.sections.server.data_dir, Path::new("kept"));
        assert_eq!(config.sections.tagging.commons, demo_commons());
    }
}
