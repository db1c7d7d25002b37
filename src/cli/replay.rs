//! `commonwatch alerts replay`: the alerts of a time past, through other routes than they took.
//!
//! The ledger knows when each alert began and ended and whom it was told to. The same alerts go once more
//! through routes, grouping and inhibition of a configuration file, on a clock that is moved, and what
//! would have been told is set against what was. Silences hold as far as the server knows them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::DateTime;
use clap::Args;
use serde_json::Value;

use super::ask::{form, parse};
use super::backtest::{policy, write_difference};
use super::client::{Client, ServerArgs};
use super::{CliError, block_on, known_silences};
use crate::base::units::parse_duration_ms;
use crate::base::{Clock as _, SystemClock};
use crate::model::{AlertEvent, Labels};
use crate::notify::{self, Policy, Replay, Replayed, Silence};

/// How far the clock is moved at once: groups are told within that of their time.
const STEP_MS: i64 = 5_000;
/// The most records of the ledger that one answer holds.
const RECORDS_MAX: usize = 10_000;

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// Matchers that the alert's labels must meet
    filter: Vec<String>,
    /// The routes to try: an Alertmanager configuration file
    #[arg(long, value_name = "FILE")]
    alerting: PathBuf,
    /// How far back
    #[arg(long, value_name = "DURATION", default_value = "7d")]
    last: String,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) fn run(args: &ReplayArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let last_ms =
        parse_duration_ms(&args.last).map_err(|error| CliError::usage(error.to_string()))?;
    let end_ms = SystemClock::new().now_ms();
    let span = (end_ms.saturating_sub(last_ms), end_ms);
    let policy = policy(Some(&args.alerting))?;
    let records = records(args, span)?;
    if records.len() >= RECORDS_MAX {
        writeln!(
            out,
            "only the last {RECORDS_MAX} records are replayed: --last or a filter narrows"
        )?;
    }
    let silences = known_silences::of(&Client::new(&args.server)?)?;
    let after = replay(policy, &silences, &changes(&records), span);
    write_difference(&told(&records), &after, &args.last, out)
}

fn records(args: &ReplayArgs, (start_ms, end_ms): (i64, i64)) -> Result<Vec<Value>, CliError> {
    let seconds = |ms: i64| format!("{}.{:03}", ms.div_euclid(1_000), ms.rem_euclid(1_000));
    let mut parameters: Vec<(&str, String)> =
        args.filter.iter().map(|text| ("filter", text.clone())).collect();
    parameters.extend([
        ("start", seconds(start_ms)),
        ("end", seconds(end_ms)),
        ("limit", RECORDS_MAX.to_string()),
    ]);
    let target = format!("/api/v1/admin/alerts/history?{}", form(&parameters));
    let client = Client::new(&args.server)?;
    let body = block_on(client.send("GET", &target, &[], String::new()))?.into_body()?;
    Ok(parse(&body)?["data"]["records"].as_array().cloned().unwrap_or_default())
}

/// Returns what was told to whom that fires, as the ledger has it.
fn told(records: &[Value]) -> Vec<Replayed> {
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    for record in records {
        let name = record["labels"]["alertname"].as_str();
        names.extend(record["fingerprint"].as_str().zip(name));
    }
    let queued = records.iter().filter(|record| record["event"] == "queued");
    let one = |record: &Value| {
        let firing = record["firing"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let desk = record["desk"].as_str().unwrap_or_default();
        Replayed {
            at_ms: time_ms(&record["time"]).unwrap_or(0),
            // `oncall/webhook[0]` is one of the receiver's ways of being told.
            receiver: desk.rsplit_once('/').map_or(desk, |(name, _)| name).to_owned(),
            firing: firing.map(|one| (*names.get(one).unwrap_or(&"-")).to_owned()).collect(),
        }
    };
    queued.map(one).collect()
}

fn time_ms(text: &Value) -> Option<i64> {
    Some(DateTime::parse_from_rfc3339(text.as_str()?).ok()?.timestamp_millis())
}

/// Returns when each alert began and ended, in the order of time; one that is in several groups once.
fn changes(records: &[Value]) -> Vec<(i64, AlertEvent)> {
    let mut seen = BTreeSet::new();
    let mut changes = Vec::new();
    for record in records {
        let event = record["event"].as_str().unwrap_or_default();
        let is_over = event == "ended";
        if !is_over && event != "joined" {
            continue;
        }
        let texts = |key: &str| {
            let pairs = record[key].as_object().into_iter().flatten();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            pairs.map(|(name, value)| (name.clone(), text(value))).collect::<BTreeMap<_, _>>()
        };
        let at_ms = time_ms(&record["time"]).unwrap_or(0);
        let starts_at_ms = record["starts_at_ms"].as_i64().unwrap_or(at_ms);
        if !seen.insert((record["fingerprint"].to_string(), starts_at_ms, is_over)) {
            continue;
        }
        let ends_at_ms = record["ends_at_ms"].as_i64().filter(|_| is_over);
        let event = AlertEvent {
            labels: Labels::from_pairs(&texts("labels")),
            annotations: texts("annotations"),
            starts_at_ms,
            // Until its end is told it fires, whether or not somebody tells it again.
            ends_at_ms: ends_at_ms.unwrap_or(i64::MAX),
            resolved: is_over,
            generator_url: String::new(),
        };
        changes.push((ends_at_ms.unwrap_or(at_ms), event));
    }
    changes.sort_by_key(|(at_ms, _)| *at_ms);
    changes
}

fn replay(
    policy: Arc<Policy>,
    silences: &[Silence],
    changes: &[(i64, AlertEvent)],
    (start_ms, end_ms): (i64, i64),
) -> Vec<Replayed> {
    let config = notify::Config { storm_groups_max: 0, ..notify::Config::default() };
    let mut chain = Replay::new(policy, &config).with_silences(silences);
    let mut told = Vec::new();
    let mut left = changes.iter().peekable();
    let mut now_ms = start_ms;
    while now_ms <= end_ms {
        let mut events = Vec::new();
        while let Some((_, event)) = left.next_if(|(at_ms, _)| *at_ms <= now_ms) {
            events.push(event.clone());
        }
        told.extend(chain.step(events, now_ms));
        now_ms += STEP_MS;
    }
    told
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::notify::SilenceDef;

    #[test]
    fn past_alerts_take_other_routes() {
        let labels = json!({ "alertname": "Down", "commons": "heart" });
        let at = |minute: i64| format!("2026-11-21T10:{minute:02}:00.000Z");
        let start_ms = time_ms(&json!(at(0))).unwrap();
        let joined = json!({ "event": "joined", "time": at(1), "fingerprint": "f", "labels": labels,
            "starts_at_ms": start_ms + 60_000, "annotations": {}, "receiver": "all" });
        let ended = json!({ "event": "ended", "time": at(30), "fingerprint": "f", "labels": labels,
            "starts_at_ms": start_ms + 60_000, "ends_at_ms": start_ms + 29 * 60_000 });
        let queued = json!({ "event": "queued", "time": at(1), "desk": "all/webhook[0]",
            "firing": ["f"], "resolved": [] });
        let records = [joined.clone(), joined, queued, ended];
        let text = "route: {receiver: a, group_wait: 30s, repeat_interval: 10m, group_interval: 5m}\n\
                    receivers: [{name: a, webhook_configs: [{url: 'http://h/'}]}]\n";
        let policy = Arc::new(Policy::parse(Path::new("am.yml"), text).unwrap());

        let span = (start_ms, start_ms + 3_600_000);
        let after = replay(Arc::clone(&policy), &[], &changes(&records), span);

        let before = told(&records);
        assert_eq!((before.len(), before[0].receiver.as_str()), (1, "all"));
        assert!(before[0].firing.contains("Down"));
        let n_firing = after.iter().filter(|one| !one.firing.is_empty()).count();
        assert_eq!((n_firing, after.len()), (3, 4), "at once, twice again, and its end: {after:?}");
        assert!(after.iter().all(|one| one.receiver == "a"));

        // Somebody had silenced it from its beginning until ten minutes before its end.
        let def = SilenceDef {
            matchers: serde_json::from_value(
                json!([{ "name": "commons", "value": "heart", "isRegex": false }]),
            )
            .unwrap(),
            starts_at_ms: start_ms,
            ends_at_ms: start_ms + 19 * 60_000,
            created_by: "ann".to_owned(),
            comment: "work".to_owned(),
        };
        let silence = Silence { id: "s".to_owned(), updated_ms: start_ms, def };
        let quiet = replay(policy, &[silence], &changes(&records), span);
        let told: Vec<i64> = quiet.iter().map(|one| (one.at_ms - start_ms) / 60_000).collect();
        assert_eq!(told, [21, 31], "when the silence is over, and its end: {quiet:?}");
    }
}
