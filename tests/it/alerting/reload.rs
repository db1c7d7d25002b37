//! Rule files that change under a running server.

use serde_json::Value;

use crate::support::ask::array;
use crate::support::http::Request;
use crate::support::wait::{PATIENCE, now_ms, until};
use crate::support::{Caller, Setup, remote_write};

const DOWN: &str =
    "groups:\n- name: g\n  interval: 1s\n  rules:\n  - alert: Down\n    expr: probe == 0\n";
const SLOW: &str =
    "groups:\n- name: h\n  interval: 1s\n  rules:\n  - alert: Slow\n    expr: slow > 1\n";

fn send(caller: &Caller) {
    let sample = remote_write::series(&[("__name__", "probe")], &[(now_ms(), 0.0)]);
    let answer = caller.send(remote_write::write(vec![sample]));
    assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
}

/// Returns the names of the rules in force.
fn rules(caller: &Caller) -> Vec<String> {
    let data = caller.prometheus("/api/v1/rules", &[]);
    let rules = array(&data["groups"]).iter().flat_map(|group| array(&group["rules"]));
    rules.map(|rule| rule["name"].as_str().unwrap().to_owned()).collect()
}

/// Returns since when the alert fires.
fn fires_since(caller: &Caller) -> Result<Value, String> {
    let data = caller.prometheus("/api/v1/alerts", &[]);
    let fires =
        |alert: &&Value| alert["labels"]["alertname"] == "Down" && alert["state"] == "firing";
    let since = array(&data["alerts"]).iter().find(fires).map(|alert| alert["activeAt"].clone());
    since.ok_or_else(|| data.to_string())
}

#[test]
fn a_broken_rule_file_is_refused_whole_and_the_old_rules_and_their_alerts_stay() {
    let setup = Setup::new("rules-reload")
        .config("[tagging]\nenabled = false\n[rules]\nfiles = [\"r.yml\", \"s.yml\"]\n");
    let (r, s) = (setup.home().join("r.yml"), setup.home().join("s.yml"));
    std::fs::write(&r, DOWN).unwrap();
    std::fs::write(&s, SLOW).unwrap();
    let server = setup.start();
    let caller = server.caller();
    send(&caller);
    let since = until("the alert to fire", PATIENCE, || fires_since(&caller));

    // One file is broken in two ways, the other one is changed and right.
    std::fs::write(&r, DOWN.replace("probe == 0", "probe ==").replace("Down", "Down\n    fro: 5m"))
        .unwrap();
    std::fs::write(&s, SLOW.replace("Slow", "Slower")).unwrap();
    let refused = caller.send(Request::post("/-/reload", ""));

    assert_eq!(refused.status, 400);
    let said = refused.text().replace('\\', "");
    for part in ["r.yml:5: group \"g\", rule 1 \"Down\"", "`fro`", "cannot read the expression"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(rules(&caller), ["Down", "Slow"], "the old ones are in force");
    send(&caller);
    assert_eq!(fires_since(&caller), Ok(since.clone()));
    assert_eq!(
        caller.own_metric("commonwatch_rules_reloads_total", &[("outcome", "refused")]),
        1.0
    );

    // What is right again is taken, and the alert goes on.
    std::fs::write(&r, DOWN.replace("probe == 0", "probe < 1")).unwrap();
    let taken = caller.send(Request::post("/-/reload", ""));
    assert_eq!(taken.status, 200, "{}", taken.text());
    assert_eq!(rules(&caller), ["Down", "Slower"]);
    let again = until("the alert to fire under the new rule", PATIENCE, || fires_since(&caller));
    assert_eq!(again, since, "it began when it began");
}
