//! `commonwatch demo`: `serve` on a throw-away data directory, with simulated commons.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;
use toml::Value;

use super::serve::{ServeArgs, stop_on_signal};
use super::{CliError, block_on, doctor, logging};
use crate::app::{App, AppError};
use crate::base::clock::{HurryingClock, SharedClock, SystemClock};
use crate::base::tasks::spawn_detached;
use crate::base::units::{format_duration_ms, parse_duration_ms};
use crate::config::{Config, Flag, Sources};
use crate::demo::{self, Demo, Scenario, Schedule};
use crate::server::{Addresses, ListenAddr};
use crate::tagging::demo_commons;

/// The rules, for a binary that runs outside of the project's folder.
const RULES: [(&str, &str); 10] = [
    ("access.yml", include_str!("../../alerts/access.yml")),
    ("availability.yml", include_str!("../../alerts/availability.yml")),
    ("explorer.yml", include_str!("../../alerts/explorer.yml")),
    ("jobs.yml", include_str!("../../alerts/jobs.yml")),
    ("kubernetes.yml", include_str!("../../alerts/kubernetes.yml")),
    ("recording.yml", include_str!("../../alerts/recording.yml")),
    ("requests.yml", include_str!("../../alerts/requests.yml")),
    ("telemetry.yml", include_str!("../../alerts/telemetry.yml")),
    ("weekly.yml", include_str!("../../alerts/weekly.yml")),
    ("workspaces.yml", include_str!("../../alerts/workspaces.yml")),
];
/// How much faster than the world the clock runs until it has caught up with it.
const HURRY: u32 = 60;
/// How often the simulated world moves while the clock hurries: a few of its seconds at a time.
const HURRIED_TICK: Duration = Duration::from_millis(100);

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
    /// What goes wrong, by its letter, A to O (docs/demo.md), or `none`; repeatable [default: A, B, J, N]
    #[arg(long, value_name = "LETTER", value_delimiter = ',')]
    scenario: Vec<String>,
    /// Begin so long ago and hurry to the present [default: 0s; with --scenario, until near its end]
    #[arg(long, value_name = "DURATION")]
    past: Option<String>,
}

pub(super) fn run(args: &DemoArgs, out: &mut dyn Write) -> Result<(), CliError> {
    if !(args.rate > 0.0 && args.rate <= 1_000.0) {
        let message = format!("--rate: {} is not above 0 and at most 1000", args.rate);
        return Err(CliError::usage(message));
    }
    let schedule = schedule(&args.scenario)?;
    let past = past(args, &schedule)?;
    let folder = Folder::new()?;
    let config = Config::load(sources(&args.serve, &folder.path)?)?;
    if config.tls.is_some() {
        let message = "the demo ships without TLS: leave server.tls_cert_file out, or use `serve`";
        return Err(CliError::usage(message));
    }
    logging::start(&config.sections.log)?;
    block_on(async {
        let failed = |error: AppError| CliError::of(error.kind(), &error);
        let machine: SharedClock = Arc::new(SystemClock::new());
        let clock: SharedClock = Arc::new(HurryingClock::new(machine, past, HURRY));
        let app = Box::pin(App::build(config, Arc::clone(&clock))).await.map_err(failed)?;
        let bound = app.addresses();
        let mut world =
            demo::Config { seed: args.seed, rate: args.rate, schedule, ..demo::Config::default() };
        if !past.is_zero() {
            world.tick_every = HURRIED_TICK;
        }
        let start = Start { at_ms: clock.now_ms(), past };
        out.write_all(welcome(&bound, &world.schedule, start).as_bytes())?;
        out.flush()?;
        let shutdown = CancellationToken::new();
        spawn_detached(stop_on_signal(shutdown.clone()));
        let demo = Demo::new(world, reachable(&bound)?, clock);
        spawn_detached(Box::pin(demo.run(shutdown.clone())));
        Box::pin(app.run(shutdown)).await.map_err(failed)
    })
}

/// Returns what is to go wrong.
fn schedule(letters: &[String]) -> Result<Schedule, CliError> {
    match letters {
        [] => return Ok(Schedule::default()),
        [none] if none == "none" => return Ok(Schedule::quiet()),
        _ => {}
    }
    let scenario = |text: &String| {
        let mut letters = text.chars();
        let found = letters.next().and_then(Scenario::of_letter);
        found.filter(|_| letters.next().is_none()).ok_or_else(|| {
            CliError::usage(format!(
                "--scenario: `{text}` is no letter from A to O, and not `none`"
            ))
        })
    };
    let scenarios: Vec<Scenario> = letters.iter().map(scenario).collect::<Result<_, _>>()?;
    Ok(Schedule::of(&scenarios))
}

/// Returns how long ago the demo begins. A scenario that was asked for has told its alerts by the time
/// the present is reached, and is still under way.
fn past(args: &DemoArgs, schedule: &Schedule) -> Result<Duration, CliError> {
    const PAST_MAX: Duration = Duration::from_secs(24 * 3_600);
    const BEFORE_ITS_END: Duration = Duration::from_secs(60);
    let Some(text) = &args.past else {
        let end = schedule.plan.iter().map(|planned| planned.after + planned.lasts).max();
        let is_asked_for = !args.scenario.is_empty();
        let until = end.filter(|_| is_asked_for).unwrap_or_default();
        return Ok(until.saturating_sub(BEFORE_ITS_END));
    };
    let past = parse_duration_ms(text).ok().and_then(|ms| u64::try_from(ms).ok());
    let past = past.map(Duration::from_millis).filter(|past| *past <= PAST_MAX);
    past.ok_or_else(|| {
        CliError::usage(format!("--past: `{text}` is no duration of at most 1d, such as 90m"))
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

/// When the demo begins.
#[derive(Debug, Clone, Copy)]
struct Start {
    at_ms: i64,
    /// How long before the present that is.
    past: Duration,
}

/// Says what runs, where to look and what will go wrong.
fn welcome(bound: &Addresses, schedule: &Schedule, start: Start) -> String {
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
    text.push_str(&timeline(schedule, start));
    text.push_str("\nCtrl-C ends it.\n");
    text
}

fn timeline(schedule: &Schedule, start: Start) -> String {
    let mut text = String::new();
    if !start.past.is_zero() {
        let (past, takes) = (shown(start.past), start.past / HURRY);
        text.push_str(&format!(
            "The clock begins {past} ago and reaches the present in about {} s.\n",
            takes.as_secs()
        ));
    }
    if schedule.plan.is_empty() {
        return text + "Nothing will go wrong.\n";
    }
    let repeat = shown(schedule.repeat);
    text.push_str(&format!("What will go wrong (UTC), again after {repeat}:\n\n"));
    for planned in &schedule.plan {
        let at = |after: Duration| {
            let ms = start.at_ms + i64::try_from(after.as_millis()).unwrap_or(0);
            chrono::DateTime::from_timestamp_millis(ms).unwrap_or_default().format("%H:%M")
        };
        let (from, to) = (at(planned.after), at(planned.after + planned.lasts));
        let (letter, title) = (planned.scenario.letter(), planned.scenario.title());
        text.push_str(&format!("  {letter}  {from} to {to}  {title}\n"));
        let mut alerts: Vec<_> = planned.scenario.expected().iter().map(|e| e.alert).collect();
        alerts.dedup();
        let alerts = if alerts.is_empty() { "none".to_owned() } else { alerts.join(", ") };
        text.push_str(&format!("                      alerts: {alerts}\n"));
    }
    text
}

fn shown(duration: Duration) -> String {
    format_duration_ms(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
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

    fn args(scenario: &[&str], past: Option<&str>) -> DemoArgs {
        DemoArgs {
            serve: ServeArgs::default(),
            seed: 1,
            rate: 1.0,
            scenario: scenario.iter().map(|letter| (*letter).to_owned()).collect(),
            past: past.map(str::to_owned),
        }
    }

    /// Returns the letters of the plan and how long ago it begins, s; or what is wrong.
    fn planned(scenario: &[&str], past_text: Option<&str>) -> Result<(String, u64), String> {
        let args = args(scenario, past_text);
        let plan = |args: &DemoArgs| {
            let schedule = schedule(&args.scenario)?;
            Ok((schedule.clone(), past(args, &schedule)?))
        };
        let (schedule, past) = plan(&args).map_err(|error: CliError| error.to_string())?;
        let letters = schedule.plan.iter().map(|planned| planned.scenario.letter()).collect();
        Ok((letters, past.as_secs()))
    }

    #[test]
    fn a_scenario_that_was_asked_for_is_under_way_when_the_present_is_reached() {
        assert_eq!(planned(&[], None), Ok(("ABJN".to_owned(), 0)));
        assert_eq!(planned(&["none"], None), Ok((String::new(), 0)));
        assert_eq!(planned(&["A"], None), Ok(("A".to_owned(), (5 + 12 - 1) * 60)));
        assert_eq!(planned(&["a", "H"], None), Ok(("AH".to_owned(), (5 + 70 - 1) * 60)));
        assert_eq!(planned(&["A"], Some("0s")), Ok(("A".to_owned(), 0)));
        assert_eq!(planned(&[], Some("90m")), Ok(("ABJN".to_owned(), 90 * 60)));
    }

    #[test]
    fn a_letter_or_a_time_that_is_none_is_said_so() {
        let said = |scenario: &[&str], past| planned(scenario, past).unwrap_err();

        assert!(said(&["P"], None).contains("`P` is no letter from A to O"));
        assert!(said(&["AB"], None).contains("`AB` is no letter"));
        assert!(said(&[], Some("2d")).contains("at most 1d"));
        assert!(said(&[], Some("soon")).contains("`soon` is no duration"));
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
