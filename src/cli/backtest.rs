//! `commonwatch rules backtest`: what rules and routes would have told people, over stored history.
//!
//! The whole chain runs on a clock that is moved through the past: rules with their `for`, then routes,
//! groups and inhibition. Each expression is asked of a running server as a range, so the past is what
//! the server has stored; results of recording rules are taken from there too, and silences of the
//! time are not known any more.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use clap::Args;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::ask::form;
use super::client::{Client, ServerArgs};
use super::rules::{formatted, read_policy};
use super::table::Table;
use super::{CliError, block_on};
use crate::base::units::parse_duration_ms;
use crate::base::{Clock as _, ManualClock, SystemClock};
use crate::model::Labels;
use crate::notify::{self, Policy, Replay, Replayed};
use crate::rules::{
    self, AlertEvent, Config, Context, Defaults, GroupDef, Metrics, Row, RuleDef, RuleSet, World,
};

/// The most moments of one range query.
const POINTS_MAX: i64 = 5_000;
/// The coarsest step of the clock.
const STEP_MS_MAX: i64 = 60_000;

#[derive(Debug, Args)]
pub(super) struct BacktestArgs {
    /// The rules to try, files or patterns
    #[arg(required = true)]
    files: Vec<String>,
    /// The rules to compare with; none: with nothing
    #[arg(long, value_name = "FILE")]
    against: Vec<String>,
    /// The routes to try: an Alertmanager configuration file [default: one receiver]
    #[arg(long, value_name = "FILE")]
    alerting: Option<PathBuf>,
    /// The routes to compare with [default: those to try]
    #[arg(long, value_name = "FILE")]
    against_alerting: Option<PathBuf>,
    /// How far back
    #[arg(long, value_name = "DURATION", default_value = "1d")]
    last: String,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) fn run(args: &BacktestArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let last_ms =
        parse_duration_ms(&args.last).map_err(|error| CliError::usage(error.to_string()))?;
    let end_ms = SystemClock::new().now_ms();
    let span = (end_ms.saturating_sub(last_ms), end_ms);
    let new = policy(args.alerting.as_deref())?;
    let old = match &args.against_alerting {
        Some(path) => policy(Some(path))?,
        None => Arc::clone(&new),
    };
    let after = told(&args.files, new, &args.server, span)?;
    let before = match args.against.is_empty() && args.against_alerting.is_none() {
        true => Vec::new(),
        false if args.against.is_empty() => told(&args.files, old, &args.server, span)?,
        false => told(&args.against, old, &args.server, span)?,
    };
    write_difference(&before, &after, &args.last, out)
}

fn policy(path: Option<&Path>) -> Result<Arc<Policy>, CliError> {
    let Some(path) = path else {
        // A receiver to whom nothing is sent still has to be told.
        let text = "route: {receiver: everybody, group_by: [alertname, commons]}\n\
                    receivers: [{name: everybody, webhook_configs: [{url: 'http://nowhere/'}]}]\n";
        let built_in = Policy::parse(Path::new("built-in"), text);
        return Ok(Arc::new(built_in.expect("the built-in routes are right")));
    };
    read_policy(path).map(Arc::new)
}

fn told(
    patterns: &[String],
    policy: Arc<Policy>,
    server: &ServerArgs,
    span: (i64, i64),
) -> Result<Vec<Replayed>, CliError> {
    let files = rules::read_files(patterns).map_err(|error| CliError::of(error.kind(), &error))?;
    let groups = rules::parse(&files, Defaults::from(&Config::default()), &formatted)
        .map_err(|error| CliError::failed(error.to_string()))?;
    let world = Arc::new(History::new(&groups, Client::new(server)?, span.1));
    block_on(replay(groups, policy, world, span))
}

/// Moves the clock through the span; every rule is evaluated at its own times.
async fn replay(
    groups: Vec<GroupDef>,
    policy: Arc<Policy>,
    world: Arc<History>,
    (start_ms, end_ms): (i64, i64),
) -> Result<Vec<Replayed>, CliError> {
    let shortest_ms = groups.iter().map(|group| group.interval_ms).min().unwrap_or(STEP_MS_MAX);
    let step_ms = shortest_ms.clamp(1_000, STEP_MS_MAX);
    let clock = ManualClock::at_ms(start_ms);
    let context = Context::new(
        &Config::default(),
        "http://localhost",
        Arc::clone(&world) as Arc<dyn World>,
        Arc::clone(&clock) as _,
        Metrics::default(),
    );
    let set = RuleSet::new(context, groups);
    // A storm is bounded for people; a comparison counts what there is.
    let config = notify::Config { storm_groups_max: 0, ..notify::Config::default() };
    let mut chain = Replay::new(policy, &config);
    let mut told = Vec::new();
    let mut now_ms = start_ms;
    while now_ms <= end_ms {
        clock.set_ms(now_ms);
        set.tick().await;
        if let Some(error) = world.failed.lock().take() {
            return Err(CliError::failed(error));
        }
        let events = std::mem::take(&mut *world.fired.lock());
        told.extend(chain.step(events, now_ms));
        now_ms += step_ms;
    }
    Ok(told)
}

/// The past as a server has stored it.
struct History {
    client: Client,
    end_ms: i64,
    /// How far apart each expression is evaluated.
    interval_ms: HashMap<String, i64>,
    ranges: tokio::sync::Mutex<HashMap<String, Range>>,
    fired: Mutex<Vec<AlertEvent>>,
    failed: Mutex<Option<String>>,
}

/// The answers of an expression at the moments of a range.
struct Range {
    end_ms: i64,
    by_time: BTreeMap<i64, Vec<(Labels, f64)>>,
}

impl History {
    fn new(groups: &[GroupDef], client: Client, end_ms: i64) -> Self {
        let exprs = groups.iter().flat_map(|group| {
            let expr = |rule: &RuleDef| match rule {
                RuleDef::Alert(alert) => alert.expr.clone(),
                RuleDef::Record(record) => record.expr.clone(),
            };
            group.rules.iter().map(move |rule| (expr(rule), group.interval_ms))
        });
        Self {
            client,
            end_ms,
            interval_ms: exprs.collect(),
            ranges: tokio::sync::Mutex::default(),
            fired: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    async fn range(&self, expr: &str, start_ms: i64, step_ms: i64) -> Result<Range, String> {
        let end_ms = self.end_ms.min(start_ms + step_ms * POINTS_MAX);
        let parameters = [
            ("query", expr.to_owned()),
            ("start", seconds(start_ms)),
            ("end", seconds(end_ms)),
            ("step", seconds(step_ms)),
        ];
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let asked = self.client.send("POST", "/api/v1/query_range", &headers, form(&parameters));
        let body = asked.await.and_then(super::client::Answer::into_body);
        let body = body.map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        let mut by_time: BTreeMap<i64, Vec<(Labels, f64)>> = BTreeMap::new();
        for series in answer["data"]["result"].as_array().into_iter().flatten() {
            let pairs = series["metric"].as_object().into_iter().flatten();
            let labels: Labels =
                pairs.map(|(name, value)| (name, value.as_str().unwrap_or_default())).collect();
            for point in series["values"].as_array().into_iter().flatten() {
                let at_ms = point[0].as_f64().map(ms_of);
                let value = point[1].as_str().and_then(|text| text.parse().ok());
                if let (Some(at_ms), Some(value)) = (at_ms, value) {
                    by_time.entry(at_ms).or_default().push((labels.clone(), value));
                }
            }
        }
        Ok(Range { end_ms, by_time })
    }
}

fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms.div_euclid(1_000), ms.rem_euclid(1_000))
}

#[expect(clippy::cast_possible_truncation, reason = "seconds since 1970 as ms fit")]
fn ms_of(seconds: f64) -> i64 {
    (seconds * 1e3).round() as i64
}

#[async_trait]
impl World for History {
    async fn ask(&self, expr: &str, time_ms: i64) -> Result<Vec<(Labels, f64)>, String> {
        let mut ranges = self.ranges.lock().await;
        if ranges.get(expr).is_none_or(|range| range.end_ms < time_ms) {
            let step_ms = self.interval_ms.get(expr).copied().unwrap_or(STEP_MS_MAX);
            match self.range(expr, time_ms, step_ms).await {
                Ok(range) => drop(ranges.insert(expr.to_owned(), range)),
                Err(error) => {
                    *self.failed.lock() = Some(format!("{expr}: {error}"));
                    return Err(error);
                }
            }
        }
        Ok(ranges
            .get(expr)
            .and_then(|range| range.by_time.get(&time_ms))
            .cloned()
            .unwrap_or_default())
    }

    async fn record(&self, _rows: Vec<Row>) -> Result<(), String> {
        Ok(())
    }

    async fn fire(&self, events: Vec<AlertEvent>) {
        self.fired.lock().extend(events);
    }
}

/// How often each receiver would have been told that each alert fires.
type Counts = BTreeMap<(String, String), usize>;

fn counts(told: &[Replayed]) -> Counts {
    let mut counts = Counts::new();
    for one in told {
        for name in &one.firing {
            *counts.entry((one.receiver.clone(), name.clone())).or_default() += 1;
        }
    }
    counts
}

fn write_difference(
    before: &[Replayed],
    after: &[Replayed],
    last: &str,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let (old, new) = (counts(before), counts(after));
    let keys: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let number =
        |counts: &Counts, key: &(String, String)| json!(counts.get(key).copied().unwrap_or(0));
    let row = |key: &(String, String)| {
        vec![json!(key.0), json!(key.1), number(&old, key), number(&new, key)]
    };
    let columns = ["receiver", "alert", "before", "after"].map(str::to_owned).to_vec();
    Table { columns, rows: keys.into_iter().map(row).collect() }.write_aligned(out)?;
    let n_of = |told: &[Replayed]| told.iter().filter(|one| !one.firing.is_empty()).count();
    writeln!(out, "{} notifications of the last {last} become {}", n_of(before), n_of(after))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_is_counted_by_receiver_and_alert() {
        let one = |receiver: &str, firing: &[&str]| Replayed {
            at_ms: 0,
            receiver: receiver.to_owned(),
            firing: firing.iter().map(|name| (*name).to_owned()).collect(),
        };
        let before = [one("a", &["X"]), one("a", &["X", "Y"]), one("a", &[])];
        let mut out = Vec::new();

        write_difference(&before, &[one("b", &["X"])], "1d", &mut out).unwrap();

        let out = String::from_utf8(out).unwrap();
        let lines: Vec<Vec<&str>> =
            out.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(lines.contains(&vec!["a", "X", "2", "0"]), "{out}");
        assert!(lines.contains(&vec!["b", "X", "0", "1"]), "{out}");
        assert!(out.ends_with("2 notifications of the last 1d become 1\n"), "{out}");
    }
}
