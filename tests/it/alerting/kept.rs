//! What explains an alert opens after the store and the ledger have forgotten, for those who may see it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::ask::{array, form};
use crate::support::http::Request;
use crate::support::loki::push_json;
use crate::support::server::binary;
use crate::support::sink::Sink;
use crate::support::wait::{PATIENCE, now_ms, now_ns, until};
use crate::support::{Caller, Setup, otlp, remote_write};

const RULES: &str = "groups:\n- name: g\n  interval: 1s\n  rules:\n  - alert: Down\n    \
    expr: probe == 0\n    labels: {service: fence}\n";

/// Rules that find something in two commons: an alert of each, one of all together that is said to be
/// heart's, and one whose question fails and names series of both.
const RULES_OF_TWO: &str = r#"
groups:
- name: g
  interval: 1s
  rules:
  - {alert: Down, expr: probe == 0, labels: {service: fence}}
  - {alert: Total, expr: sum(probe) == 0, labels: {commons: heart.example}}
- name: h
  interval: 1s
  rules:
  - {alert: Broken, expr: probe + on() probe > 0}
overrides:
- {rule: Down, commons: canine.example, owner: canine-owner, why: canine-why}
"#;

fn config(sink: &Sink, more: &str) -> String {
    let token = |name: &str, rest: &str| {
        format!("[[auth.tokens]]\nname = \"{name}\"\ntoken = \"token-of-{name}-in\"\n{rest}\n")
    };
    format!(
        "[rules]\nfiles = [\"r.yml\"]\n[alerting]\nwebhook_url = \"{}\"\ngroup_wait = \"0s\"\n\
         group_interval = \"1s\"\n{more}\n{}{}{}{}{}{}",
        sink.url(),
        token("heart", "commons = \"heart.example\""),
        token("canine", "commons = \"canine.example\""),
        token("admin", "role = \"admin\"\nread = [\"*\"]"),
        token("viewer", "role = \"viewer\"\nread = [\"heart.example\"]"),
        token("developer", "role = \"developer\"\nread = [\"heart.example\"]"),
        token("stranger", "role = \"developer\"\nread = [\"canine.example\"]"),
    )
}

fn probe(caller: &Caller, value: f64) {
    let labels = [("__name__", "probe"), ("app", "fence")];
    let sample = remote_write::series(&labels, &[(now_ms(), value)]);
    let answer = caller.send(remote_write::write(vec![sample]));
    assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
}

fn told(sink: &Sink, status: &str) -> Result<Value, String> {
    let bodies = sink.received();
    let mut alerts = bodies.iter().flat_map(|body| array(&body["alerts"]).to_vec());
    alerts.find(|alert| alert["status"] == status).ok_or_else(|| format!("{bodies:?}"))
}

#[test]
fn an_alert_is_explained_when_everything_that_it_was_taken_from_is_gone() {
    let sink = Sink::start();
    let setup = Setup::new("kept").config(&config(&sink, ""));
    std::fs::write(setup.home().join("r.yml"), RULES).unwrap();
    let server = setup.start();
    let heart = server.caller_with("token-of-heart-in");
    let line = push_json(
        &json!({ "app": "fence" }),
        &[(now_ns() - 1_000_000_000, "ERROR cannot reach the database")],
    );
    assert!((200..300).contains(&heart.send(line).status));
    let firing = until("a page", PATIENCE, || {
        probe(&heart, 0.0);
        told(&sink, "firing")
    });
    until("its end", PATIENCE, || {
        probe(&heart, 1.0);
        told(&sink, "resolved")
    });
    let link = firing["annotations"]["explain_url"].as_str().unwrap().to_owned();
    let path = link[link.find("/api/").unwrap()..].to_owned();
    let admin = server.caller_with("token-of-admin-in");
    until("what explains it to be kept", PATIENCE, || {
        let shown = admin.get(&path).json();
        match shown["data"]["kept"]["endsAt"].is_string() {
            true => Ok(()),
            false => Err(shown.to_string()),
        }
    });
    server.stop();

    // The rule, the telemetry and the ledger are gone.
    std::fs::write(setup.home().join("r.yml"), "groups: []\n").unwrap();
    for folder in ["wal", "parquet"] {
        drop(std::fs::remove_dir_all(setup.data_dir().join(folder)));
    }
    let setup = setup.config(&config(&sink, "history_max = 1"));
    let server = setup.start();
    let admin = server.caller_with("token-of-admin-in");

    let answer = admin.get(&path);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let kept = answer.json()["data"].clone();
    let kept = if kept["kept"].is_null() { kept } else { kept["kept"].clone() };
    assert_eq!(kept["labels"]["alertname"], "Down");
    let values = array(&kept["rule"]["evaluations"][0]["values"]);
    assert!(!values.is_empty(), "the values at each evaluation: {kept}");
    assert!(kept["lines"].to_string().contains("cannot reach the database"), "{kept}");
    assert!(kept["records"].to_string().contains("\"delivered\""), "{kept}");
    assert_eq!(kept["routes"][0]["receiver"], "webhook");
    let page = admin.send(Request::get(path.as_str()).header("Accept", "text/html,*/*"));
    assert!(page.text().starts_with("<!DOCTYPE html>"), "{}", page.text());

    // The same on the command line, by what the link says.
    let part = |name: &str| {
        let after = &path[path.find(name).unwrap() + name.len()..];
        after.split('&').next().unwrap().to_owned()
    };
    let said = std::process::Command::new(binary())
        .args(["alerts", "explain", &part("fingerprint="), "--started", &part("started=")])
        .args(["--server", &format!("http://{}", server.addresses().http)])
        .args(["--token", "token-of-admin-in"])
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
    for part in
        ["Down{", "it watches", "cannot reach the database", "delivered, attempt 1", "kept at"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }

    let viewer = server.caller_with("token-of-viewer-in").get(&path).json();
    let seen = viewer["data"].to_string();
    assert!(seen.contains("Down") && !seen.contains("database"), "lines need more: {viewer}");
    let stranger = server.caller_with("token-of-stranger-in").get(&path);
    assert_eq!(stranger.status, 404, "{}", stranger.text());
}

/// Sends what a commons has to say: a probe, a line that speaks of an error, a span that failed.
fn send(caller: &Caller, name: &str, value: f64) {
    let labels = [("__name__", "probe"), ("app", "fence"), ("pod", &*format!("{name}-pod"))];
    let mut sample = remote_write::series(&labels, &[(now_ms(), value)]);
    sample.exemplars = vec![remote_write::exemplar(&format!("{name}-trace"), now_ms(), value)];
    let at_ns = now_ns() - 1_000_000_000;
    let mut span = otlp::span(u64::from(name == "heart") + 1, at_ns, &format!("{name}-span"));
    span.status = Some(otlp::failed());
    let resource = otlp::resource(&[("service.name", "fence")]);
    for request in [
        remote_write::write(vec![sample]),
        push_json(&json!({ "app": "fence" }), &[(at_ns, &*format!("ERROR {name}-line"))]),
        otlp::post("/v1/traces", &otlp::spans(resource, vec![span])),
    ] {
        let answer = caller.send(request);
        assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
    }
}

/// Returns where the alerts of a commons that were told in a state are explained, each once.
fn links(sink: &Sink, name: &str, commons: &str, status: &str) -> Vec<String> {
    let bodies = sink.received();
    let alerts = bodies.iter().flat_map(|body| array(&body["alerts"]));
    let of = alerts.filter(|alert| {
        let labels = &alert["labels"];
        labels["alertname"] == name && labels["commons"] == commons && alert["status"] == status
    });
    let link = |alert: &Value| {
        let link = alert["annotations"]["explain_url"].as_str().unwrap().to_owned();
        link[link.find("/api/").unwrap()..].to_owned()
    };
    let all: BTreeSet<String> = of.map(link).collect();
    all.into_iter().collect()
}

#[test]
fn what_explains_an_alert_says_nothing_of_other_commons() {
    let sink = Sink::start();
    // Both commons are told of together.
    let config = |more| config(&sink, &format!("group_by = [\"alertname\"]\n{more}"));
    let setup = Setup::new("kept-scope").config(&config(""));
    std::fs::write(setup.home().join("r.yml"), RULES_OF_TWO).unwrap();
    let server = setup.start();
    let (heart, canine) =
        (server.caller_with("token-of-heart-in"), server.caller_with("token-of-canine-in"));
    let admin = server.caller_with("token-of-admin-in");
    // Down and up again, twice: the second alert has one like it before.
    for n in 1..=2 {
        for (value, status) in [(0.0, "firing"), (1.0, "resolved")] {
            until("both to be told", PATIENCE, || {
                send(&heart, "heart", value);
                send(&canine, "canine", value);
                let told = ["heart.example", "canine.example"]
                    .map(|commons| links(&sink, "Down", commons, status).len());
                if told == [n; 2] { Ok(()) } else { Err(format!("{told:?} {:?}", sink.received())) }
            });
        }
    }
    let of_heart = links(&sink, "Down", "heart.example", "resolved");
    let of_canine = links(&sink, "Down", "canine.example", "resolved");
    let total = until("the end of the sum to be told", PATIENCE, || {
        let total = links(&sink, "Total", "heart.example", "resolved");
        if total.is_empty() { Err(format!("{:?}", sink.received())) } else { Ok(total) }
    });
    until("what explains them to be kept", PATIENCE, || {
        let all = of_heart.iter().chain(&of_canine).chain(&total);
        all.clone().try_for_each(|path| {
            let shown = admin.get(path).json();
            let is_kept = shown["data"]["kept"]["endsAt"].is_string();
            if is_kept { Ok(()) } else { Err(shown.to_string()) }
        })
    });
    let developer = server.caller_with("token-of-developer-in");

    // An administrator sees what the others must not.
    let broken = "/api/v1/admin/alerts/explain?rule=Broken";
    assert!(admin.get(broken).text().contains("canine-pod"), "{}", admin.get(broken).text());
    let shown = admin.get(&of_canine[1]).text();
    for part in ["canine-pod", "canine-line", "canine-span", "canine-trace"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let summed = |caller: &Caller| {
        let shown = caller.get(&total[0]).json()["data"].clone();
        let kept = if shown["kept"].is_null() { &shown } else { &shown["kept"] };
        array(&kept["rule"]["evaluations"]).len()
    };
    assert_eq!((summed(&admin), summed(&developer)), (1, 0), "the sum of all is nobody's");

    let filtered = "/api/v1/admin/alerts/explain?filter=alertname%3D%22Down%22".to_owned();
    let rule = "/api/v1/admin/alerts/explain?rule=Down".to_owned();
    let others = ["/api/v1/rules", "/api/v1/alerts", "/api/v1/admin/alerts/history", broken]
        .map(str::to_owned);
    for path in of_heart.iter().chain(&total).chain([&filtered, &rule]).chain(&others) {
        says_nothing_of_canine(&developer, path);
    }
    for path in &of_canine {
        assert_eq!(developer.get(path).status, 404, "{path}");
    }
    let kept = developer.get(&of_heart[1]).json()["data"]["kept"].clone();
    for part in ["heart-pod", "heart-line", "heart-span", "heart-trace"] {
        assert!(kept.to_string().contains(part), "{part}: {kept}");
    }
    assert_eq!(array(&kept["similar"]).len(), 1, "{kept}");

    // And the same when there is nothing left but what was kept.
    server.stop();
    for folder in ["wal", "parquet"] {
        drop(std::fs::remove_dir_all(setup.data_dir().join(folder)));
    }
    let server = setup.config(&config("history_max = 1")).start();
    let developer = server.caller_with("token-of-developer-in");
    for path in of_heart.iter().chain(&total) {
        says_nothing_of_canine(&developer, path);
    }
    assert_eq!(developer.get(&of_canine[0]).status, 404);
    assert!(developer.get(&of_heart[0]).text().contains("heart-line"));

    // What somebody wants to be forgotten is quoted no more, though the store forgot it long ago.
    let admin = server.caller_with("token-of-admin-in");
    let query = "{commons=\"heart.example\"} |= \"heart-line\"";
    let target = format!("/loki/api/v1/delete?{}", form(&[("query", query), ("start", "1")]));
    let deleted = admin.send(Request::post(target, ""));
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    let shown = developer.get(&of_heart[0]).text();
    assert!(!shown.contains("heart-line") && shown.contains("\"withdrawn\""), "{shown}");
    assert!(shown.contains("heart-trace"), "{shown}");
    assert!(admin.get(&of_canine[0]).text().contains("canine-line"));
}

#[track_caller]
fn says_nothing_of_canine(caller: &Caller, path: &str) {
    for accept in ["application/json", "text/html"] {
        let answer = caller.send(Request::get(path).header("Accept", accept));
        let text = answer.text();
        assert_eq!(answer.status, 200, "{path}: {text}");
        assert!(!text.contains("canine"), "{path}: {text}");
    }
}
