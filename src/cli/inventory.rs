//! `commonwatch inventory`: what is expected to report, and where it stands.

use std::io::Write;

use clap::Args;
use serde_json::Value;

use super::ask::{Output, form, parse, pass_through};
use super::client::{Client, ServerArgs};
use super::table::Table;
use super::{CliError, block_on};

#[derive(Debug, Args)]
pub(super) struct InventoryArgs {
    /// Only this commons
    #[arg(long)]
    commons: Option<String>,
    /// Only this state: reporting, quiet, dark, never_seen, in_maintenance
    #[arg(long)]
    state: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
    /// How the answer is written
    #[arg(long, short, value_enum, default_value = "table")]
    output: Output,
}

const COLUMNS: &[&str] = &[
    "commons",
    "service",
    "signal",
    "state",
    "lastSeen",
    "darkSince",
    "rhythmSeconds",
    "declared",
];

pub(super) fn run(args: &InventoryArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let given = [("commons", &args.commons), ("state", &args.state)];
    let parameters: Vec<(&str, String)> =
        given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
    let target = format!("/api/v1/admin/inventory?{}", form(&parameters));
    let client = Client::new(&args.server)?;
    let body = block_on(client.send("GET", &target, &[], String::new()))?.into_body()?;
    if args.output == Output::Json {
        return pass_through(&body, out);
    }
    let answer = parse(&body)?;
    let items = answer["data"]["items"].as_array().cloned().unwrap_or_default();
    let row = |item: &Value| COLUMNS.iter().map(|name| item[*name].clone()).collect();
    let table = Table {
        columns: COLUMNS.iter().map(|name| (*name).to_owned()).collect(),
        rows: items.iter().map(row).collect(),
    };
    match args.output {
        Output::Csv => table.write_csv(out)?,
        Output::Table | Output::Json => table.write_aligned(out)?,
    }
    Ok(())
}
