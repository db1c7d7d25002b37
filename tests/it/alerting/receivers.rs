//! Receivers with every kind of bad manners at once, and a server that is killed while it waits for their
//! answers: all are told everything, in order, what they hear twice has one key, and the ledger knows each
//! attempt. An hour of it passes in `src/notify/tests_receivers.rs`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{alert, ask};
use crate::support::Setup;
use crate::support::ask::array;
use crate::support::http::Request;
use crate::support::receiver::{Heard, Manner, Receiver};
use crate::support::wait::{PATIENCE, until};

const MANNERS: [Manner; 8] = [
    Manner::Well,
    Manner::HangsUp,
    Manner::CutsRequest,
    Manner::Fails,
    Manner::Busy,
    Manner::Hangs,
    Manner::CutsAnswer,
    Manner::AnswersLate,
];

const BEGAN: &str = "2026-01-01T10:00:00Z";
const ENDED: &str = "2026-01-01T11:00:00Z";

fn name(receiver: &Receiver) -> String {
    format!("{:?}", receiver.manner)
}

fn config(receivers: &[Receiver]) -> String {
    let mut text = "route:\n  receiver: Well\n  group_wait: 0s\n  group_interval: 1s\n  \
                    group_by: [alertname]\n  routes:\n"
        .to_owned();
    for receiver in receivers {
        text.push_str(&format!("  - {{receiver: {}, continue: true}}\n", name(receiver)));
    }
    text.push_str("receivers:\n");
    for receiver in receivers {
        // Only who never answers is not waited for.
        let timeout = if receiver.manner == Manner::Hangs { ", timeout: 500ms" } else { "" };
        text.push_str(&format!(
            "- {{name: {}, webhook_configs: [{{url: '{}'{timeout}}}]}}\n",
            name(receiver),
            receiver.url()
        ));
    }
    text
}

/// Returns whether a body tells of an alert in a state.
fn says(heard: &Heard, alertname: &str, status: &str) -> bool {
    let is_it =
        |alert: &Value| alert["labels"]["alertname"] == alertname && alert["status"] == status;
    array(&heard.body["alerts"]).iter().any(is_it)
}

fn has_heard(receiver: &Receiver, alertname: &str, status: &str) -> Result<(), String> {
    match receiver.heard().iter().any(|heard| says(heard, alertname, status)) {
        true => Ok(()),
        false => Err(format!("{}: {:?}", name(receiver), receiver.heard())),
    }
}

fn records(address: &str) -> Vec<Value> {
    let path = "/api/v1/admin/alerts/history?limit=10000";
    array(&ask(address, Request::get(path))["data"]["records"]).to_vec()
}

/// Returns the attempts for one receiver by notification, each in their order.
fn attempts(records: &[Value], receiver: &Receiver) -> BTreeMap<String, Vec<Value>> {
    let desk = format!("{}/webhook[0]", name(receiver));
    let mut attempts: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for record in records.iter().filter(|record| record["desk"] == desk.as_str()) {
        let of = attempts.entry(record["notification"].as_str().unwrap().to_owned()).or_default();
        if record["event"] == "attempt" {
            of.push(record.clone());
        }
    }
    attempts
}

#[test]
fn whatever_receivers_do_they_are_told_everything_in_order_and_under_one_key() {
    let receivers = MANNERS.map(Receiver::start);
    let [well, .., late] = &receivers;
    let setup = Setup::new("am-receivers").config("[alerting]\nfile = \"alertmanager.yml\"\n");
    std::fs::write(setup.home().join("alertmanager.yml"), config(&receivers)).unwrap();
    let server = setup.start();
    let address = server.addresses().http.clone();

    let both = json!([alert("A", BEGAN, None), alert("B", BEGAN, None)]);
    ask(&address, Request::post("/am/api/v2/alerts", both.to_string()));
    // Nobody waits for those who hang, nor for those who will answer late.
    until("who is well to be told", PATIENCE, || {
        has_heard(well, "A", "firing").and(has_heard(well, "B", "firing"))
    });
    until("every other to have been tried", PATIENCE, || {
        let records = records(&address);
        receivers.iter().try_for_each(|receiver| match receiver.manner {
            Manner::AnswersLate => has_heard(receiver, "A", "firing"),
            _ => {
                let attempts = attempts(&records, receiver);
                let n_tried = attempts.values().filter(|tried| !tried.is_empty()).count();
                if n_tried >= 2 { Ok(()) } else { Err(format!("{}: {attempts:?}", name(receiver))) }
            }
        })
    });
    let n_late = late.heard().len();
    server.kill_9();
    // It says yes, and nobody is there to hear it.
    late.cure();
    let server = setup.start();
    let address = server.addresses().http.clone();
    let ended = json!([alert("A", BEGAN, Some(ENDED))]);
    ask(&address, Request::post("/am/api/v2/alerts", ended.to_string()));
    until("who is well to hear the end", PATIENCE, || has_heard(well, "A", "resolved"));
    receivers.iter().for_each(Receiver::cure);
    until("all to hear everything", PATIENCE, || {
        receivers.iter().try_for_each(|receiver| {
            has_heard(receiver, "A", "resolved").and(has_heard(receiver, "B", "firing"))
        })
    });

    for receiver in &receivers {
        let who = name(receiver);
        let heard = receiver.heard();
        let first_end = heard.iter().position(|heard| says(heard, "A", "resolved")).unwrap();
        let first = heard.iter().position(|heard| says(heard, "A", "firing"));
        assert!(first.is_some_and(|first| first < first_end), "{who}: its end came first");
        let after = &heard[first_end..];
        assert!(!after.iter().any(|heard| says(heard, "A", "firing")), "{who}: {after:?}");
        for one in &heard {
            let same = heard.iter().filter(|other| other.key == one.key);
            assert!(!one.key.is_empty() && same.clone().all(|same| same.body == one.body), "{who}");
        }
    }
    let again = late.heard().iter().skip(n_late).filter(|heard| says(heard, "A", "firing")).count();
    assert!(again >= 1, "what was under way at the kill is told again");
    let records = until("the last deliveries to be written down", PATIENCE, || {
        let records = records(&address);
        receivers.iter().try_for_each(|receiver| complete(&records, receiver))?;
        Ok(records)
    });
    let busy = &receivers[4];
    let refused = attempts(&records, busy).into_values().flatten();
    let refused: Vec<Value> = refused.filter(|one| one["status"] == 429).collect();
    assert!(!refused.is_empty(), "{records:?}");
    for one in refused {
        assert!(one["retry_in_ms"].as_i64().unwrap() >= 2_000, "as it asked: {one}");
    }
}

/// Says what the ledger lacks of a receiver: attempts numbered from one, tried again but for the last.
fn complete(records: &[Value], receiver: &Receiver) -> Result<(), String> {
    let all = attempts(records, receiver);
    let n_heard = receiver.heard().len();
    for (key, tried) in &all {
        let fits = tried.iter().zip(1_u64..).all(|(one, n)| {
            let is_last = usize::try_from(n).is_ok_and(|n| n == tried.len());
            one["n"] == n && one["outcome"] == if is_last { "delivered" } else { "retried" }
        });
        if tried.is_empty() || !fits {
            return Err(format!("{}: {key}: {tried:?}", name(receiver)));
        }
    }
    let n_tried: usize = all.values().map(Vec::len).sum();
    // What was under way at the kill, one of each group at most, has no line: nobody knows how it ended.
    let is_whole = match receiver.manner {
        Manner::HangsUp | Manner::CutsRequest | Manner::Hangs => true,
        _ => (n_tried..=n_tried + 2).contains(&n_heard),
    };
    match is_whole {
        true => Ok(()),
        false => Err(format!("{}: {n_tried} attempts, {n_heard} heard", name(receiver))),
    }
}
