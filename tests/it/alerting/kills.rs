//! `kill -9` in each phase of an alert's life, in each as often as `ALERTING_KILLS` says: no alert is lost,
//! what is told twice says so by its key, and no `for` begins anew.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::support::ask::array;
use crate::support::rounds::Rounds;
use crate::support::sink::Sink;
use crate::support::wait::{PATIENCE, now_ms, pause, until};
use crate::support::{Caller, Setup, remote_write};

const RULES: &str = "groups:\n- name: g\n  interval: 1s\n  rules:\n\
    \x20 - {record: 'probe:copy', expr: probe}\n\
    \x20 - {alert: Down, expr: 'probe:copy == 0', labels: {severity: page}}\n\
    \x20 - {alert: Slow, expr: 'lasting == 0', for: 1h}\n";

/// Where in the life of an alert the server is killed.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Its sample is stored, nothing is evaluated.
    Stored,
    /// Somewhere between its evaluation and its delivery.
    UnderWay,
    /// It fires, and is with the notifier.
    Fires,
    /// The receiver has it, and the server never hears so.
    Unanswered,
    /// The receiver has taken it.
    Delivered,
}

const PHASES: [Phase; 5] =
    [Phase::Stored, Phase::UnderWay, Phase::Fires, Phase::Unanswered, Phase::Delivered];

#[test]
fn no_alert_is_lost_and_no_clock_begins_anew_wherever_the_server_is_killed() {
    let sink = Sink::start();
    let setup = Setup::new("alerting-kills").config(&format!(
        "[tagging]\nenabled = false\n[rules]\nfiles = [\"r.yml\"]\n[alerting]\nwebhook_url = \"{}\"\n\
         group_by = [\"alertname\", \"n\"]\ngroup_wait = \"0s\"\ngroup_interval = \"1s\"\n\
         storm_groups_max = 0\n",
        sink.url()
    ));
    std::fs::write(setup.home().join("r.yml"), RULES).unwrap();
    let mut rounds = Rounds::of_each("alerting kills", "ALERTING_KILLS", 1, PHASES.len());
    let mut since = None;
    let mut n_rounds = 0;

    for n in rounds.by_ref() {
        let phase = PHASES[usize::try_from(n).unwrap() % PHASES.len()];
        let server = setup.start();
        let caller = server.caller();
        send(&caller, &[("__name__", "lasting")]);
        if since.is_none() {
            since = Some(until("the patient alert to be pending", PATIENCE, || pending(&caller)));
        }
        sink.set_mute(matches!(phase, Phase::Unanswered));
        send(&caller, &[("__name__", "probe"), ("n", &n.to_string())]);
        reach(phase, &caller, &sink, n);
        server.kill_9();
        sink.set_mute(false);
        n_rounds = n + 1;
    }
    let server = setup.start();
    let caller = server.caller();
    send(&caller, &[("__name__", "lasting")]);
    let now = until("the patient alert to be there", PATIENCE, || pending(&caller));
    // A sample older than five minutes is out of an instant query's reach: the last ones fire still.
    for n in n_rounds.saturating_sub(3)..n_rounds {
        send(&caller, &[("__name__", "probe"), ("n", &n.to_string())]);
    }
    until("every alert to be told", PATIENCE, || {
        let told = told(&sink);
        let missing: Vec<u64> = (0..n_rounds).filter(|n| !told.contains_key(n)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} of {n_rounds}")) }
    });

    let ms = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis();
    let (first, last) = (ms(&since.unwrap()), ms(&now));
    // A break of more than five minutes, which no kill makes, would not count towards `for`.
    assert_eq!(first, last, "`for` began anew");
    let mut of_key: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (key, body) in sink.keyed() {
        of_key.entry(key).or_default().push(body);
    }
    assert!(!of_key.contains_key(""), "every notification has a key");
    for (key, bodies) in &of_key {
        let other = bodies.iter().find(|body| **body != bodies[0]);
        assert_eq!(other, None, "{key} names one notification: {}", bodies[0]);
    }
    let n_told: usize = of_key.values().map(Vec::len).sum();
    println!(
        "alerting kills: {} kills, {} notifications, {} of them twice: nothing lost",
        rounds.told(),
        of_key.len(),
        n_told - of_key.len()
    );
}

/// Waits until an alert is where the server is to be killed.
fn reach(phase: Phase, caller: &Caller, sink: &Sink, n: u64) {
    match phase {
        Phase::Stored => {}
        // Anywhere within the second that evaluation, decision and delivery take.
        Phase::UnderWay => pause(Duration::from_millis(n.wrapping_mul(377) % 1_500)),
        Phase::Fires => until("the alert to fire", PATIENCE, || {
            let data = caller.prometheus("/api/v1/alerts", &[]);
            let fires = |alert: &Value| alert["labels"]["n"] == n.to_string().as_str();
            if array(&data["alerts"]).iter().any(fires) { Ok(()) } else { Err(data.to_string()) }
        }),
        Phase::Unanswered | Phase::Delivered => until("the receiver to hear", PATIENCE, || {
            if told(sink).contains_key(&n) { Ok(()) } else { Err("nothing came".to_owned()) }
        }),
    }
}

/// Returns how often it was told that each alert fires.
fn told(sink: &Sink) -> BTreeMap<u64, usize> {
    let mut told = BTreeMap::new();
    for alert in sink.received().iter().flat_map(|body| array(&body["alerts"])) {
        let n = alert["labels"]["n"].as_str().and_then(|text| text.parse().ok());
        if let (Some(n), true) = (n, alert["status"] == "firing") {
            *told.entry(n).or_default() += 1;
        }
    }
    told
}

/// Returns since when the patient alert is pending.
fn pending(caller: &Caller) -> Result<String, String> {
    let data = caller.prometheus("/api/v1/alerts", &[]);
    let slow = array(&data["alerts"]).iter().find(|alert| alert["labels"]["alertname"] == "Slow");
    let since = slow.and_then(|alert| alert["activeAt"].as_str());
    since.map(str::to_owned).ok_or_else(|| data.to_string())
}

fn send(caller: &Caller, labels: &[(&str, &str)]) {
    let request = remote_write::write(vec![remote_write::series(labels, &[(now_ms(), 0.0)])]);
    let answer = caller.send(request);
    assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
}
