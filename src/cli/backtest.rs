//! `commonwatch rules backtest`: what rules and routes would have told people, over stored history.
//!
//! The whole chain runs on a clock that is moved through the past: rules with their `for`, then routes,
//! groups and inhibition. Each expression is asked of a running server as a range, so the past is what
//! the server has stored. Results of recording rules are taken from there too where the server has the
//! rules as they are tried, and made anew where it has not (`anew`). Silences hold as far as the server knows them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::anew::Anew;
use super::client::{Client, ServerArgs};
use super::history::History;
use super::rules::{formatted, read_policy};
use super::table::Table;
use super::{CliError, block_on, known_silences};
use crate::base::units::parse_duration_ms;
use crate::base::{Clock as _, ManualClock, SystemClock};
use crate::notify::{self, Policy, Replay, Replayed};
use crate::rules::{self, Config, Context, Defaults, GroupDef, Metrics, RuleSet, World};

/// The coarsest step of the clock.
pub(super) const STEP_MS_MAX: i64 = 60_000;

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
    let after = told(&args.files, new, &args.server, span, out)?;
    let before = match args.against.is_empty() && args.against_alerting.is_none() {
        true => Vec::new(),
        false if args.against.is_empty() => {
            told(&args.files, old, &args.server, span, &mut std::io::sink())?
        }
        false => told(&args.against, old, &args.server, span, out)?,
    };
    write_difference(&before, &after, &args.last, out)
}

pub(super) fn policy(path: Option<&Path>) -> Result<Arc<Policy>, CliError> {
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
    out: &mut dyn Write,
) -> Result<Vec<Replayed>, CliError> {
    let files = rules::read_files(patterns).map_err(|error| CliError::of(error.kind(), &error))?;
    let groups = rules::parse(&files, Defaults::from(&Config::default()), &formatted)
        .map_err(|error| CliError::failed(error.to_string()))?;
    let client = Client::new(server)?;
    let anew = Anew::of(&groups, &client, span.1)?;
    if let Some(anew) = &anew {
        let names: Vec<&str> = anew.names().collect();
        writeln!(
            out,
            "the server does not have these results as {} would make them: they are made anew: {}",
            patterns.join(", "),
            names.join(", ")
        )?;
    }
    let silences = known_silences::of(&client)?;
    let config = notify::Config { storm_groups_max: 0, ..notify::Config::default() };
    // A storm is bounded for people; a comparison counts what there is.
    let chain = Replay::new(policy, &config).with_silences(&silences);
    let world = Arc::new(History::new(&groups, client, span.1, anew));
    block_on(replay(groups, chain, world, span))
}

/// Moves the clock through the span; every rule is evaluated at its own times.
async fn replay(
    groups: Vec<GroupDef>,
    mut chain: Replay,
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
    let mut told = Vec::new();
    let mut now_ms = start_ms;
    while now_ms <= end_ms {
        clock.set_ms(now_ms);
        set.tick().await;
        if let Some(error) = world.take_failed() {
            return Err(CliError::failed(error));
        }
        let events = world.take_fired();
        told.extend(chain.step(events, now_ms));
        now_ms += step_ms;
    }
    Ok(told)
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

pub(super) fn write_difference(
    before: &[Replayed],
    after: &[Replayed],
    last: &str,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let (old, new) = (counts(before), counts(after));
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let number =
        |counts: &Counts, key: &(String, String)| json!(counts.get(key).copied().unwrap_or(0));
    let row = |key: &(String, String)| {
        vec![json!(key.0), json!(key.1), number(&old, key), number(&new, key)]
    };
    let columns = ["receiver", "alert", "before", "after"].map(str::to_owned).to_vec();
    Table { columns, rows: keys.into_iter().map(row).collect() }.write_aligned(out)?;
    for receiver in receivers(before, after) {
        let of = |told| notifications(told, Some(&receiver));
        let (was, is) = (of(before), of(after));
        if was != is {
            writeln!(out, "{receiver}: {}", in_words(was, is, last))?;
        }
    }
    let of = |told| notifications(told, None);
    writeln!(out, "{}", in_words(of(before), of(after), last))?;
    Ok(())
}

/// Returns who was told that something fires, sorted.
fn receivers(before: &[Replayed], after: &[Replayed]) -> BTreeSet<String> {
    let firing = before.iter().chain(after).filter(|one| !one.firing.is_empty());
    firing.map(|one| one.receiver.clone()).collect()
}

/// Counts the notifications that something fires, of one receiver or of all.
fn notifications(told: &[Replayed], of: Option<&String>) -> usize {
    let is_meant = |one: &&Replayed| {
        !one.firing.is_empty() && of.is_none_or(|receiver| *receiver == one.receiver)
    };
    told.iter().filter(is_meant).count()
}

fn in_words(was: usize, is: usize, last: &str) -> String {
    match was {
        1 => format!("1 notification of the last {last} becomes {is}"),
        _ => format!("{was} notifications of the last {last} become {is}"),
    }
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
        let said = "a: 2 notifications of the last 1d become 0\nb: 0 notifications of the last 1d \
            become 1\n2 notifications of the last 1d become 1\n";
        assert!(out.ends_with(said), "{out}");
    }
}
