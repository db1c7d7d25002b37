//! Debian's `amtool` against `/am`.

use serde_json::Value;

use super::{alertmanager, amtool, run_amtool, text};
use crate::support::Setup;
use crate::support::sink::Sink;
use crate::support::wait::{PATIENCE, until};

const ALERTING: &str = r#"
route:
  receiver: team
  group_by: [alertname]
  routes:
    - matchers: [severity="page"]
      receiver: oncall
      continue: true
    - matchers: [commons=~"heart|canine"]
receivers:
  - name: team
    webhook_configs: [{ url: 'SINK' }]
  - name: oncall
    webhook_configs: [{ url: 'SINK' }]
"#;

#[test]
fn amtool_adds_silences_and_finds_its_way() {
    let sink = Sink::start();
    let setup = Setup::new("amtool").config("[alerting]\nfile = \"alertmanager.yml\"\n");
    std::fs::write(setup.home().join("alertmanager.yml"), ALERTING.replace("SINK", &sink.url()))
        .unwrap();
    let server = setup.start();
    let url = format!("http://{}/am", server.addresses().http);

    amtool(&url, &["alert", "add", "Down", "severity=page", "commons=heart"]);
    amtool(&url, &["alert", "add", "Slow", "commons=hub", "--annotation=summary=slow"]);
    let alerts = json(&amtool(&url, &["alert", "query", "-o", "json", "severity=page"]));
    assert_eq!(alerts.as_array().unwrap().len(), 1);
    assert_eq!(alerts[0]["labels"]["alertname"], "Down");
    let receivers: Vec<&str> = alerts[0]["receivers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|receiver| receiver["name"].as_str().unwrap())
        .collect();
    assert_eq!(receivers, ["oncall", "team"]);

    let add = ["silence", "add", "alertname=Down", "--author=ann", "--comment=we know", "-d", "1h"];
    let id = amtool(&url, &add);
    let id = id.trim();
    let silences = json(&amtool(&url, &["silence", "query", "-o", "json", "alertname=Down"]));
    assert_eq!(silences[0]["id"], id);
    assert_eq!(silences[0]["comment"], "we know");
    let active = amtool(&url, &["alert", "query", "--active", "-o", "simple"]);
    assert!(active.contains("Slow") && !active.contains("Down"), "{active}");
    let silenced = amtool(&url, &["alert", "query", "--silenced", "-o", "simple"]);
    assert!(silenced.contains("Down"), "{silenced}");
    amtool(&url, &["silence", "update", id, "-d", "2h"]);
    amtool(&url, &["silence", "expire", id]);
    assert_eq!(json(&amtool(&url, &["silence", "query", "-o", "json"])), serde_json::json!([]));
    let expired = json(&amtool(&url, &["silence", "query", "--expired", "-o", "json"]));
    assert_eq!(expired[0]["id"], id);
    assert!(!run_amtool(&url, &["silence", "expire", "no-such-silence"]).status.success());

    // What we show of the configuration is one that amtool reads and routes by as we do.
    let routed = amtool(&url, &["config", "routes", "test", "severity=page", "commons=heart"]);
    assert_eq!(routed.trim(), "oncall,team");
    let shown = amtool(&url, &["config", "show"]);
    assert!(shown.contains("<secret>") && !shown.contains("/hook"), "{shown}");
}

#[test]
fn a_configuration_that_is_wrong_is_told_by_config_check_and_refused_by_a_reload() {
    let setup = Setup::new("am-reload").config("[alerting]\nfile = \"alertmanager.yml\"\n");
    let file = setup.home().join("alertmanager.yml");
    let right = "route: { receiver: a }\nreceivers: [{ name: a }, { name: b }]\n";
    std::fs::write(&file, right).unwrap();
    let server = setup.start();
    let url = format!("http://{}/am", server.addresses().http);
    amtool(&url, &["alert", "add", "Down"]);
    let receivers = || {
        let alerts = json(&amtool(&url, &["alert", "query", "-o", "json"]));
        alerts[0]["receivers"][0]["name"].as_str().unwrap().to_owned()
    };
    assert_eq!(receivers(), "a");

    std::fs::write(&file, right.replace("receiver: a", "receiver: A")).unwrap();
    let check = std::process::Command::new(crate::support::server::binary())
        .current_dir(setup.home())
        .args(["config", "check", "--config", "commonwatch.toml"])
        .output()
        .unwrap();
    let caller = server.caller();
    let refused = caller.send(crate::support::http::Request::post("/-/reload", ""));

    assert_eq!(check.status.code(), Some(2));
    let complaint = text(&check.stderr);
    assert!(
        complaint.contains("alertmanager.yml:1: a route: `receiver`: no receiver is called `A`"),
        "{complaint}"
    );
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("no receiver is called `A`"), "{}", refused.text());
    assert_eq!(receivers(), "a", "the old one stays in force");

    std::fs::write(&file, right.replace("receiver: a", "receiver: b")).unwrap();
    assert_eq!(caller.send(crate::support::http::Request::post("/-/reload", "")).status, 200);
    assert_eq!(receivers(), "b");
}

/// What amtool can be asked, in this order: `ID` is the silence that the third line made, `ALL` are those
/// that hold, `FILE` is where the exported ones lie.
const COMMANDS: &[&str] = &[
    "alert add Down severity=page commons=heart --annotation=summary=down --generator-url=http://g/ --start=2026-01-01T00:00:00Z",
    "alert add Slow commons=heart --start=2026-01-01T00:00:00Z",
    "silence add alertname=~Fu.* commons!=x --author=ann --comment=c --start=2026-01-02T00:00:00Z --end=2099-01-01T00:00:00Z",
    "alert add Full commons=hub --start=2026-01-01T00:00:00Z",
    "alert add Past commons=hub --start=2026-01-01T00:00:00Z --end=2026-01-02T00:00:00Z",
    "alert query",
    "alert query -o extended",
    "alert query -o json",
    "alert query --inhibited",
    "alert query --silenced",
    "alert query --unprocessed",
    "alert query -i -s -a",
    "alert query --receiver=onc.*",
    "alert query --receiver=onc",
    "alert query Down",
    "alert query alertname=~Do.* commons!=x severity!~ticket|info",
    "config routes",
    "config routes show",
    "config routes test severity=page commons=heart",
    "config routes test --tree severity=page commons=heart",
    "config routes test --verify.receivers=oncall,team severity=page commons=heart",
    "config routes test --verify.receivers=oncall severity=page commons=heart",
    "cluster show",
    "silence add alertname=y --author=ann",
    "silence add --author=ann --comment=c -d 1h",
    "silence add alertname=~( --author=ann --comment=c -d 1h",
    "silence query",
    "silence query -o extended",
    "silence query -o json",
    "silence query -q",
    "silence query --within=1h",
    "silence query --within=900000h",
    "silence query alertname=Down",
    "silence query --created-by=ann",
    "silence update ID --comment=other --end=2098-01-01T00:00:00Z",
    "silence query -o extended",
    "silence expire ALL",
    "alert query --silenced",
    "silence query",
    "silence query --expired --within=1h -q",
    "silence import FILE",
    "silence query",
    "silence import --force FILE",
    "silence query -o extended",
    "silence expire ALL",
    "alert query",
];

/// One of two that are asked the same.
struct Side {
    url: String,
    file: std::path::PathBuf,
    id: String,
}

impl Side {
    /// Runs a command; returns whether it went well and what it said, without what differs by chance.
    fn run(&mut self, command: &str) -> (bool, String) {
        let mut words: Vec<String> = Vec::new();
        for word in command.split(' ') {
            match word {
                "ID" => words.push(self.id.clone()),
                "FILE" => words.push(self.file.display().to_string()),
                "ALL" => {
                    let all = amtool(&self.url, &["silence", "query", "-q"]);
                    words.extend(all.split_whitespace().map(str::to_owned));
                }
                word => words.push(word.to_owned()),
            }
        }
        words.push("--no-version-check".to_owned());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = run_amtool(&self.url, &words);
        let said = text(&output.stdout);
        if output.status.success() && command.starts_with("silence add") {
            said.trim().clone_into(&mut self.id);
        }
        if command == "silence query -o json" {
            std::fs::write(&self.file, &said).unwrap();
        }
        (output.status.success(), alike(&said))
    }
}

/// Leaves out what two servers cannot have the same: the ids of silences, and times of these days.
fn alike(said: &str) -> String {
    let id = regex::Regex::new("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").unwrap();
    // What ends in an hour may end tomorrow, and what began a moment ago yesterday.
    let day = |days| (chrono::Utc::now() + chrono::TimeDelta::days(days)).format("%Y-%m-%d");
    let days = format!("({}|{}|{})[T ][0-9:.]+", day(-1), day(0), day(1));
    let today = regex::Regex::new(&days).unwrap();
    let said = id.replace_all(said, "ID");
    let said = today.replace_all(&said, "NOW ");
    // Of two silences that end together neither is the first.
    let mut lines: Vec<String> =
        said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    lines.sort_unstable();
    // Alertmanager 0.25 has no `mutedBy` yet.
    lines.join("\n").replace("\"mutedBy\":[],", "")
}

#[test]
fn amtool_is_told_the_same_by_alertmanager_and_by_us() {
    let sink = Sink::start();
    let setup =
        Setup::new("amtool-differential").config("[alerting]\nfile = \"alertmanager.yml\"\n");
    let inhibit = "inhibit_rules: [{source_matchers: [alertname=\"Down\"], \
                   target_matchers: [alertname=\"Slow\"], equal: [commons]}]\n";
    let config = format!("{}{inhibit}", ALERTING.replace("SINK", &sink.url()));
    std::fs::write(setup.home().join("alertmanager.yml"), config).unwrap();
    let server = setup.start();
    let (_alertmanager, address) = alertmanager(setup.home(), "alertmanager.yml");
    let side = |url: String, file: &str| {
        let id = String::new();
        Side { url, file: setup.home().join(file), id }
    };
    let mut ours = side(format!("http://{}/am", server.addresses().http), "ours.json");
    let mut theirs = side(format!("http://{address}"), "theirs.json");
    let (mut n_well, mut n_said) = (0, 0);

    for command in COMMANDS {
        let wanted = theirs.run(command);
        // Alertmanager hears of what inhibits in a task of its own, which may come late.
        let same = until("both to say the same", PATIENCE, || {
            let is_query = command.contains(" query") || command.starts_with("config");
            let wanted = if is_query { theirs.run(command) } else { wanted.clone() };
            let told = ours.run(command);
            match told == wanted {
                true => Ok(Ok(told)),
                false if is_query => Err(format!("{command}: {told:?}, and wanted {wanted:?}")),
                false => Ok(Err((told, wanted.clone()))),
            }
        });
        let told = same.unwrap_or_else(|(told, wanted)| panic!("{command}: {told:?}, {wanted:?}"));
        n_well += usize::from(told.0);
        n_said += usize::from(told.1.contains("Down"));
    }
    assert_eq!(COMMANDS.len() - n_well, 3, "so many commands are wrong");
    assert!(n_said > 5, "{n_said} answers speak of the alert");
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
