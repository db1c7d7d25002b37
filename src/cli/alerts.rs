//! `commonwatch alerts list|history|explain|replay`: what fires, what was told to whom, and why or why not.

use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ask::{Output, form, parse, pass_through};
use super::client::{Client, ServerArgs};
use super::table::Table;
use super::{CliError, block_on, replay};

#[derive(Debug, Subcommand)]
pub(super) enum AlertsCommand {
    /// What fires now, and what holds it back
    List(ListArgs),
    /// What happened to alerts and notifications, from the ledger
    History(HistoryArgs),
    /// Why an alert was told, or why a rule is silent
    Explain(ExplainArgs),
    /// Past alerts through other routes: who would have been told how often
    Replay(replay::ReplayArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Matchers that the alert's labels must meet, such as severity="page"
    filter: Vec<String>,
    #[command(flatten)]
    server: ServerArgs,
    /// How the answer is written
    #[arg(long, short, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// Matchers that the alert's labels must meet
    filter: Vec<String>,
    /// First time: seconds since 1970, or RFC 3339 [default: a day before the last]
    #[arg(long)]
    start: Option<String>,
    /// Last time [default: now]
    #[arg(long)]
    end: Option<String>,
    /// The most records
    #[arg(long, default_value = "1000")]
    limit: usize,
    #[command(flatten)]
    server: ServerArgs,
    /// How the answer is written
    #[arg(long, short, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Its name, matchers, or the fingerprint that history shows
    #[arg(required_unless_present = "rule")]
    alert: Vec<String>,
    /// Explain this rule instead: why is it silent?
    #[arg(long, conflicts_with = "alert")]
    rule: Option<String>,
    /// When it began, as the link in a notification says: opens what was kept of it
    #[arg(long, conflicts_with = "rule")]
    started: Option<String>,
    /// First time: seconds since 1970, or RFC 3339 [default: a day before the last]
    #[arg(long)]
    start: Option<String>,
    /// Last time [default: now]
    #[arg(long)]
    end: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
    /// How the answer is written
    #[arg(long, short, value_enum, default_value = "table")]
    output: Output,
}

pub(super) fn run(command: &AlertsCommand, out: &mut dyn Write) -> Result<(), CliError> {
    match command {
        AlertsCommand::List(args) => list(args, out),
        AlertsCommand::History(args) => history(args, out),
        AlertsCommand::Explain(args) => explain(args, out),
        AlertsCommand::Replay(args) => replay::run(args, out),
    }
}

fn get(
    server: &ServerArgs,
    path: &str,
    parameters: &[(&str, String)],
) -> Result<Vec<u8>, CliError> {
    let client = Client::new(server)?;
    let target = format!("{path}?{}", form(parameters));
    block_on(client.send("GET", &target, &[], String::new()))?.into_body()
}

/// Returns the parameters of matchers; a bare word is the name of an alert, as `amtool` has it.
fn filters(filter: &[String]) -> Vec<(&'static str, String)> {
    let is_name = |text: &str| {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.: ".contains(&byte);
        !text.is_empty() && text.bytes().all(is_letter)
    };
    let matcher = |text: &String| match is_name(text) {
        true => format!("alertname=\"{text}\""),
        false => text.clone(),
    };
    filter.iter().map(|text| ("filter", matcher(text))).collect()
}

fn given(parameters: &mut Vec<(&'static str, String)>, name: &'static str, value: &Option<String>) {
    parameters.extend(value.clone().map(|value| (name, value)));
}

fn list(args: &ListArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let body = get(&args.server, "/am/api/v2/alerts", &filters(&args.filter))?;
    if args.output == Output::Json {
        return pass_through(&body, out);
    }
    let alerts = parse(&body)?;
    let row = |alert: &Value| {
        let status = &alert["status"];
        let by = ["silencedBy", "inhibitedBy", "mutedBy"].iter().flat_map(|key| {
            let list = status[*key].as_array().into_iter().flatten();
            list.map(move |one| format!("{key} {}", one.as_str().unwrap_or_default()))
        });
        vec![
            alert["startsAt"].clone(),
            status["state"].clone(),
            json!(labels(&alert["labels"])),
            json!(names(&alert["receivers"])),
            json!(by.collect::<Vec<_>>().join(", ")),
        ]
    };
    let rows = alerts.as_array().into_iter().flatten().map(row).collect();
    write(&["since", "state", "alert", "receivers", "held back by"], rows, args.output, out)
}

fn history(args: &HistoryArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let mut parameters = filters(&args.filter);
    given(&mut parameters, "start", &args.start);
    given(&mut parameters, "end", &args.end);
    parameters.push(("limit", args.limit.to_string()));
    let body = get(&args.server, "/api/v1/admin/alerts/history", &parameters)?;
    if args.output == Output::Json {
        return pass_through(&body, out);
    }
    let answer = parse(&body)?;
    write_records(&answer["data"]["records"], args.output, out)?;
    if answer["data"]["truncated"] == true && args.output == Output::Table {
        writeln!(out, "there are older records: --limit, --start and --end say which are shown")?;
    }
    Ok(())
}

fn explain(args: &ExplainArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let is_fingerprint =
        |text: &String| text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let mut parameters = match (&args.rule, args.alert.as_slice()) {
        (Some(rule), _) => vec![("rule", rule.clone())],
        (None, [one]) if is_fingerprint(one) => vec![("fingerprint", one.clone())],
        (None, all) => filters(all),
    };
    given(&mut parameters, "started", &args.started);
    given(&mut parameters, "start", &args.start);
    given(&mut parameters, "end", &args.end);
    let body = get(&args.server, "/api/v1/admin/alerts/explain", &parameters)?;
    if args.output == Output::Json {
        return pass_through(&body, out);
    }
    let answer = parse(&body)?;
    let data = &answer["data"];
    if args.rule.is_some() {
        return write_rule(data, out);
    }
    writeln!(out, "{} ({})", labels(&data["labels"]), text(&data["fingerprint"]))?;
    for route in data["routes"].as_array().into_iter().flatten() {
        let muted = route["mutedBy"].as_array().is_some_and(|by| !by.is_empty());
        let muted = if muted { ", muted now" } else { "" };
        let group = labels(&route["group"]);
        let (name, receiver) = (text(&route["route"]), text(&route["receiver"]));
        if route["ways"].as_array().is_some_and(Vec::is_empty) {
            writeln!(out, "  route {name} tells nobody: {receiver} has no way of being told")?;
        } else {
            writeln!(out, "  route {name} tells {receiver} by group {group}{muted}")?;
        }
    }
    if !data["rule"].is_null() {
        write_rule(&data["rule"], out)?;
    }
    // What was kept of it has what lay nearby; of one that just began it is asked for now.
    let near = if data["kept"].is_null() { data } else { &data["kept"] };
    write_near(near, out)?;
    writeln!(out)?;
    write_records(&data["records"], Output::Table, out)
}

fn write_near(near: &Value, out: &mut dyn Write) -> Result<(), CliError> {
    if let Some(at) = near["keptAt"].as_str() {
        writeln!(out, "  kept at {at}")?;
    }
    if let Some(n_withdrawn) = near["withdrawn"].as_u64() {
        writeln!(out, "  {n_withdrawn} quotations were deleted")?;
    }
    for line in near["lines"]["lines"].as_array().into_iter().flatten() {
        writeln!(out, "  line {} {}", text(&line[0]), text(&line[1]))?;
    }
    for trace in near["traces"].as_array().into_iter().flatten() {
        writeln!(out, "  trace {} of {} failed", text(&trace[0]), text(&trace[1]))?;
    }
    for one in near["exemplars"].as_array().into_iter().flatten() {
        let (value, at) = (text(&one["value"]), text(&one["time"]));
        writeln!(out, "  trace {} is an example: {value} at {at}", text(&one["trace"]))?;
    }
    for other in near["similar"].as_array().into_iter().flatten() {
        let labels = labels(&other["labels"]);
        writeln!(out, "  before: {labels} began at {}", text(&other["startsAt"]))?;
    }
    Ok(())
}

fn write_rule(rule: &Value, out: &mut dyn Write) -> Result<(), CliError> {
    let place = format!("{}, group {}", text(&rule["file"]), text(&rule["group"]));
    writeln!(out, "rule {} ({place}): {}", text(&rule["name"]), text(&rule["query"]))?;
    for sentence in rule["why"].as_array().into_iter().flatten() {
        writeln!(out, "  {}", text(sentence))?;
    }
    if let Some(unasked) = rule["unasked"].as_str() {
        writeln!(out, "  {unasked}")?;
    }
    for (title, key) in [("it found", "evaluations"), ("it watches", "comparedValues")] {
        if let Some(error) = rule[key]["error"].as_str() {
            writeln!(out, "  {title} nothing: {error}")?;
        }
        for series in rule[key].as_array().into_iter().flatten() {
            let values = series["values"].as_array().map_or(&[][..], Vec::as_slice);
            let last = values.iter().rev().take(5).rev();
            let shown: Vec<String> =
                last.map(|point| format!("{} at {}", text(&point[1]), text(&point[0]))).collect();
            writeln!(out, "  {title} {}: {}", labels(&series["labels"]), shown.join(", "))?;
        }
    }
    Ok(())
}

fn write_records(records: &Value, output: Output, out: &mut dyn Write) -> Result<(), CliError> {
    let row = |record: &Value| {
        vec![
            record["time"].clone(),
            record["event"].clone(),
            json!(detail(record)),
            record["group"].clone(),
        ]
    };
    let rows = records.as_array().into_iter().flatten().map(row).collect();
    write(&["time", "event", "what", "group"], rows, output, out)
}

/// Says what is telling about a record, by its event.
fn detail(record: &Value) -> String {
    let count = |key: &str| record[key].as_array().map_or(0, Vec::len);
    match record["event"].as_str().unwrap_or_default() {
        "joined" => format!("{} to {}", labels(&record["labels"]), text(&record["receiver"])),
        "held_back" => format!("{}: {}", labels(&record["labels"]), record["why"]),
        "queued" => format!(
            "{} for {}: {} firing, {} resolved",
            text(&record["notification"]),
            text(&record["desk"]),
            count("firing"),
            count("resolved")
        ),
        "attempt" => {
            let answer = match &record["status"] {
                Value::Null => text(&record["reason"]).to_owned(),
                status => format!("status {status}"),
            };
            format!(
                "{} to {}: {}, attempt {}, {answer}",
                text(&record["notification"]),
                text(&record["desk"]),
                text(&record["outcome"]),
                record["n"]
            )
        }
        "given_up" => format!("{}: {}", text(&record["notification"]), text(&record["why"])),
        _ => labels(&record["labels"]),
    }
}

fn write(
    columns: &[&str],
    rows: Vec<Vec<Value>>,
    output: Output,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let table = Table { columns: columns.iter().map(|name| (*name).to_owned()).collect(), rows };
    match output {
        Output::Csv => table.write_csv(out)?,
        Output::Table | Output::Json => table.write_aligned(out)?,
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn names(list: &Value) -> String {
    let names = list.as_array().into_iter().flatten().map(|one| text(&one["name"]));
    names.collect::<Vec<_>>().join(", ")
}

/// Writes labels with the alert's name first: `Down{commons="heart"}`.
fn labels(labels: &Value) -> String {
    let Some(pairs) = labels.as_object() else { return String::new() };
    let rest = pairs.iter().filter(|(name, _)| *name != "alertname");
    let rest: Vec<String> = rest.map(|(name, value)| format!("{name}={value}")).collect();
    format!("{}{{{}}}", text(&labels["alertname"]), rest.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(record: Value, want: &str) {
        assert_eq!(detail(&record), want);
    }

    #[test]
    fn a_bare_word_is_the_name_of_an_alert() {
        let given = ["HighLatency", "commons=heart.example", "service=~\"f.*\"", "a name"];
        let filters = filters(&given.map(str::to_owned));

        let want = ["alertname=\"HighLatency\"", given[1], given[2], "alertname=\"a name\""]
            .map(str::to_owned);
        assert_eq!(filters.into_iter().map(|(_, text)| text).collect::<Vec<_>>(), want);
    }

    #[test]
    fn a_record_is_told_in_words() {
        let labels = json!({ "alertname": "Down", "commons": "heart" });
        check(
            json!({ "event": "joined", "labels": labels, "receiver": "oncall" }),
            r#"Down{commons="heart"} to oncall"#,
        );
        check(
            json!({ "event": "attempt", "notification": "k", "desk": "d", "outcome": "retried",
                    "n": 2, "status": 503 }),
            "k to d: retried, attempt 2, status 503",
        );
        check(
            json!({ "event": "attempt", "notification": "k", "desk": "d", "outcome": "retried",
                    "n": 1, "reason": "no answer" }),
            "k to d: retried, attempt 1, no answer",
        );
        check(json!({ "event": "ended", "labels": labels }), r#"Down{commons="heart"}"#);
    }
}
