//! `commonwatch sql` and `commonwatch promql`: a question to a running server, or to a data
//! directory, and its answer as a table, JSON or CSV.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::client::{Client, ServerArgs};
use super::table::Table;
use super::{CliError, block_on, offline};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// Aligned columns
    Table,
    /// As the server sends it
    Json,
    /// With a header
    Csv,
}

#[derive(Debug, Args)]
pub(super) struct TargetArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Ask this data directory, without a server
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How the answer is written
    #[arg(long, short, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct SqlArgs {
    /// The statement
    query: String,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Args)]
pub(super) struct PromqlArgs {
    /// The expression
    query: String,
    /// When: seconds since 1970, or RFC 3339 [default: now]
    #[arg(long, conflicts_with_all = ["start", "end", "step"])]
    time: Option<String>,
    /// First time of a range
    #[arg(long, requires_all = ["end", "step"])]
    start: Option<String>,
    /// Last time of a range
    #[arg(long, requires = "start")]
    end: Option<String>,
    /// From one time of a range to the next, such as 15s
    #[arg(long, requires = "start")]
    step: Option<String>,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Args)]
pub(super) struct LogqlArgs {
    /// The query
    query: String,
    /// How far back: lines of this time, or numbers over it
    #[arg(long, default_value = "1h", value_name = "DURATION")]
    since: String,
    /// First time: ns or seconds since 1970, or RFC 3339 [default: --since before the end]
    #[arg(long)]
    start: Option<String>,
    /// Last time [default: now]
    #[arg(long)]
    end: Option<String>,
    /// From one number to the next, such as 1m
    #[arg(long)]
    step: Option<String>,
    /// The most lines
    #[arg(long, default_value = "100")]
    limit: u32,
    /// Oldest lines first
    #[arg(long)]
    forward: bool,
    /// One number a series, at the end of the time
    #[arg(long, conflicts_with_all = ["start", "step"])]
    instant: bool,
    #[command(flatten)]
    target: TargetArgs,
}

impl TargetArgs {
    /// Sends a question to the running server, or to one started on the data directory.
    fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<Vec<u8>, CliError> {
        match &self.data_dir {
            None => {
                let client = Client::new(&self.server)?;
                block_on(client.send("POST", path, headers, body))?.into_body()
            }
            Some(data_dir) => {
                let ask = async |client: Client| client.send("POST", path, headers, body).await;
                block_on(offline::with_server(data_dir, ask))?.into_body()
            }
        }
    }
}

pub(super) fn sql(args: &SqlArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let accept = match args.target.output {
        Output::Csv => "text/csv",
        Output::Table | Output::Json => "application/json",
    };
    let headers = [("content-type", "text/plain"), ("accept", accept)];
    let body = args.target.post("/api/v1/sql", &headers, args.query.clone())?;
    if args.target.output != Output::Table {
        return pass_through(&body, out);
    }
    let answer = parse(&body)?;
    rows_table(&answer).write_aligned(out)?;
    if let Some(limit) = answer["truncated"].as_str() {
        writeln!(out, "there are more rows: {limit} was reached")?;
    }
    for warning in answer["warnings"].as_array().into_iter().flatten() {
        writeln!(out, "{}", warning.as_str().unwrap_or(""))?;
    }
    Ok(())
}

pub(super) fn promql(args: &PromqlArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let mut parameters = vec![("query", args.query.clone())];
    let given =
        [("time", &args.time), ("start", &args.start), ("end", &args.end), ("step", &args.step)];
    parameters.extend(given.into_iter().filter_map(|(name, v)| Some((name, v.clone()?))));
    let path = if args.start.is_some() { "/api/v1/query_range" } else { "/api/v1/query" };
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let body = args.target.post(path, &headers, form(&parameters))?;
    if args.target.output == Output::Json {
        return pass_through(&body, out);
    }
    let answer = parse(&body)?;
    let table = samples_table(&answer["data"]);
    match args.target.output {
        Output::Csv => table.write_csv(out)?,
        Output::Table | Output::Json => table.write_aligned(out)?,
    }
    for note in ["warnings", "infos"].iter().flat_map(|name| answer[*name].as_array()).flatten() {
        // A note is for the person, not for the program behind the pipe.
        if args.target.output == Output::Table {
            writeln!(out, "{}", note.as_str().unwrap_or(""))?;
        }
    }
    Ok(())
}

pub(super) fn logql(args: &LogqlArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let direction = if args.forward { "forward" } else { "backward" };
    let mut parameters = vec![
        ("query", args.query.clone()),
        ("limit", args.limit.to_string()),
        ("direction", direction.to_owned()),
        ("since", args.since.clone()),
    ];
    let end = if args.instant { "time" } else { "end" };
    let given = [("start", &args.start), (end, &args.end), ("step", &args.step)];
    parameters.extend(given.into_iter().filter_map(|(name, v)| Some((name, v.clone()?))));
    let path = if args.instant { "/loki/api/v1/query" } else { "/loki/api/v1/query_range" };
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let body = args.target.post(path, &headers, form(&parameters))?;
    if args.target.output == Output::Json {
        return pass_through(&body, out);
    }
    let answer = parse(&body)?;
    let data = &answer["data"];
    let table = match data["resultType"].as_str() {
        Some("streams") => lines_table(data, args.forward),
        _ => samples_table(data),
    };
    match args.target.output {
        Output::Csv => table.write_csv(out)?,
        Output::Table | Output::Json => table.write_aligned(out)?,
    }
    Ok(())
}

/// Returns the lines of all streams in their common order.
fn lines_table(data: &Value, is_forward: bool) -> Table {
    let mut lines: Vec<(String, String, String)> = Vec::new();
    for stream in data["result"].as_array().into_iter().flatten() {
        let labels = stream["stream"].as_object().into_iter().flatten();
        let labels: Vec<String> = labels
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or("")))
            .collect();
        for value in stream["values"].as_array().into_iter().flatten() {
            let text = |idx: usize| value[idx].as_str().unwrap_or("").to_owned();
            lines.push((text(0), labels.join(" "), text(1)));
        }
    }
    // Nanoseconds of our age have one number of digits, so texts sort as numbers do.
    lines.sort_by(|a, b| if is_forward { a.0.cmp(&b.0) } else { b.0.cmp(&a.0) });
    let rows = lines.into_iter().map(|(ns, labels, line)| {
        let ns: i64 = ns.parse().unwrap_or(0);
        let time = chrono::DateTime::from_timestamp_nanos(ns);
        let time = time.to_rfc3339_opts(chrono::SecondsFormat::Nanos, true);
        vec![json!(time), json!(labels), json!(line)]
    });
    let columns = ["time", "labels", "line"].map(str::to_owned).to_vec();
    Table { columns, rows: rows.collect() }
}

pub(super) fn pass_through(body: &[u8], out: &mut dyn Write) -> Result<(), CliError> {
    out.write_all(body)?;
    if !body.ends_with(b"\n") {
        writeln!(out)?;
    }
    Ok(())
}

pub(super) fn parse(body: &[u8]) -> Result<Value, CliError> {
    serde_json::from_slice(body)
        .map_err(|error| CliError::failed(format!("the answer is not JSON: {error}")))
}

/// Writes parameters as a form.
pub(super) fn form(parameters: &[(&str, String)]) -> String {
    let mut out = String::new();
    for (name, value) in parameters {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    out.push(char::from(byte));
                }
                _ => out.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    out
}

/// Returns the rows of `/api/v1/sql` in the order of their columns.
pub(super) fn rows_table(answer: &Value) -> Table {
    let list = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
    let names = list("columns");
    let columns: Vec<String> =
        names.iter().map(|column| column["name"].as_str().unwrap_or("").to_owned()).collect();
    let cells_of = |row: &Value| (0..columns.len()).map(|idx| row[idx].clone()).collect();
    let rows = list("rows").iter().map(cells_of).collect();
    Table { columns, rows }
}

/// Returns one row a sample: its labels, its time and its value.
pub(super) fn samples_table(data: &Value) -> Table {
    let result = &data["result"];
    let labelled = match data["resultType"].as_str() {
        Some("vector" | "matrix") => result.as_array().cloned().unwrap_or_default(),
        _ => vec![json!({ "metric": {}, "value": result })],
    };
    let names: BTreeSet<String> = labelled
        .iter()
        .flat_map(|series| series["metric"].as_object())
        .flat_map(|labels| labels.keys().cloned())
        .collect();
    let mut rows = Vec::new();
    for series in &labelled {
        let single = std::slice::from_ref(&series["value"]);
        for point in series["values"].as_array().map_or(single, Vec::as_slice) {
            let labels = names.iter().map(|name| series["metric"][name.as_str()].clone());
            rows.push(labels.chain([point[0].clone(), value_cell(&point[1])]).collect());
        }
    }
    let columns = names.into_iter().chain(["time".to_owned(), "value".to_owned()]).collect();
    Table { columns, rows }
}

/// A value comes as text; as a number it is aligned like one.
fn value_cell(value: &Value) -> Value {
    let number =
        value.as_str().and_then(|text| serde_json::from_str::<serde_json::Number>(text).ok());
    number.map_or_else(|| value.clone(), Value::Number)
}
