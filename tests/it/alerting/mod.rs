//! Alerts on their way to people: the same as with Alertmanager, by Alertmanager's own tools.

mod amtool;
mod dark;
mod differential;
mod delivery;
mod hindsight;
mod karma;
mod kept;
mod kills;
mod languages;
mod mail;
mod receivers;
mod reload;
mod scale;

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::http::{self, Request};
use crate::support::programs::{self, Program, free_port};
use crate::support::wait::{PATIENCE, until};

/// Asks a server with a JSON body and returns the JSON of its answer.
#[track_caller]
fn ask(address: &str, request: Request) -> Value {
    let request = request.header("Content-Type", "application/json");
    let answer = http::send(address, &request).unwrap();
    assert_eq!(answer.status, 200, "{}: {}", request.path, answer.text());
    serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
}

/// An alert as others tell it; `name` has the form `alertname k=v k=v`.
fn alert(name: &str, starts_at: &str, ends_at: Option<&str>) -> Value {
    let mut words = name.split(' ');
    let mut labels = json!({ "alertname": words.next().unwrap() });
    for (key, value) in words.map(|word| word.split_once('=').unwrap()) {
        labels[key] = json!(value);
    }
    let mut alert = json!({ "labels": labels, "startsAt": starts_at,
        "annotations": { "summary": format!("{name} is wrong") }, "generatorURL": "http://g/" });
    if let Some(ends_at) = ends_at {
        alert["endsAt"] = json!(ends_at);
    }
    alert
}

/// Starts Debian's Alertmanager with a configuration file of a folder; returns it with its address.
#[track_caller]
fn alertmanager(folder: &Path, config: &str) -> (Program, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let arguments = [
        format!("--config.file={config}"),
        "--storage.path=am-data".to_owned(),
        format!("--web.listen-address={address}"),
        "--cluster.listen-address=".to_owned(),
        "--web.external-url=http://theirs.example".to_owned(),
        "--web.route-prefix=/".to_owned(),
    ];
    let mut program = Program::start("prometheus-alertmanager", folder, &arguments);
    until("Alertmanager to be ready", PATIENCE, || {
        program.check()?;
        let answer = http::send(&address, &Request::get("/-/ready"));
        answer.map_err(|error| error.to_string()).and_then(|answer| match answer.status {
            200 => Ok(()),
            status => Err(status.to_string()),
        })
    });
    (program, address)
}

/// Runs `amtool` against a server's base URL; returns what it printed.
#[track_caller]
fn amtool(url: &str, arguments: &[&str]) -> String {
    let output = run_amtool(url, arguments);
    let (said, complaint) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "amtool {arguments:?}: {said}{complaint}");
    said
}

fn run_amtool(url: &str, arguments: &[&str]) -> Output {
    let url = format!("--alertmanager.url={url}");
    let all = arguments.iter().map(|word| (*word).to_owned()).chain([url]);
    programs::run("amtool", &all.collect::<Vec<_>>())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
