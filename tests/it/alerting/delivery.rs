//! Receivers that are down, slow or in a storm, and a server that is killed meanwhile.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{alert, ask};
use crate::support::Setup;
use crate::support::ask::array;
use crate::support::http::Request;
use crate::support::sink::Sink;
use crate::support::wait::{PATIENCE, until};

/// How often the server is killed while a notification cannot be delivered.
const N_KILLS: usize = 4;

#[test]
fn notifications_survive_kill_9_and_a_dead_receiver_delays_nobody() {
    let (dead, alive) = (Sink::start(), Sink::start());
    dead.set_down(true);
    let setup = Setup::new("am-delivery").config("[alerting]\nfile = \"alertmanager.yml\"\n");
    let config = format!(
        "route:\n  receiver: alive\n  group_wait: 0s\n  group_interval: 1s\n  group_by: ['...']\n  \
         routes:\n  - {{receiver: dead, continue: true}}\n  - {{receiver: alive}}\nreceivers:\n\
         - {{name: dead, webhook_configs: [{{url: '{}'}}]}}\n\
         - {{name: alive, webhook_configs: [{{url: '{}'}}]}}\n",
        dead.url(),
        alive.url()
    );
    std::fs::write(setup.home().join("alertmanager.yml"), config).unwrap();

    for n in 0..N_KILLS {
        let server = setup.start();
        let told = json!([alert(&format!("A n={n}"), "2026-01-01T10:00:00Z", None)]);
        ask(&server.addresses().http, Request::post("/am/api/v2/alerts", told.to_string()));
        // Killed right after the alert was acknowledged, or once the other receiver was told.
        if n % 2 == 1 {
            until("the receiver that is alive to be told", PATIENCE, || names(&alive, n));
        }
        server.kill_9();
    }
    dead.set_down(false);
    let server = setup.start();

    for sink in [&dead, &alive] {
        until("every alert to be told", PATIENCE, || (0..N_KILLS).try_for_each(|n| names(sink, n)));
    }
    let address = server.addresses().http.clone();
    until("every delivery to be written down", PATIENCE, || {
        let path = "/api/v1/admin/alerts/history?limit=1000";
        let history = ask(&address, Request::get(path));
        let attempts: Vec<&Value> = array(&history["data"]["records"])
            .iter()
            .filter(|record| record["event"] == "attempt" && record["desk"] == "dead/webhook[0]")
            .collect();
        let with = |outcome: &str| -> BTreeSet<&str> {
            let of = attempts.iter().filter(|attempt| attempt["outcome"] == outcome);
            of.map(|attempt| attempt["notification"].as_str().unwrap()).collect()
        };
        let (delivered, retried) = (with("delivered").len(), with("retried").len());
        match delivered >= N_KILLS && retried >= 1 {
            true => Ok(()),
            false => Err(format!("{delivered} delivered, {retried} retried")),
        }
    });
}

fn names(sink: &Sink, n: usize) -> Result<(), String> {
    let bodies = sink.received();
    let alerts = bodies.iter().flat_map(|body| array(&body["alerts"]));
    let told: Vec<&Value> = alerts.map(|alert| &alert["labels"]["n"]).collect();
    match told.iter().any(|told| **told == json!(n.to_string())) {
        true => Ok(()),
        false => Err(format!("told of {told:?}")),
    }
}

/// So many alerts in so many groups fire at once.
const N_STORM: usize = 10_000;

#[test]
fn a_storm_of_alerts_is_few_messages() {
    let sink = Sink::start();
    let setup = Setup::new("am-storm")
        .config(&format!("[alerting]\nwebhook_url = \"{}\"\ngroup_wait = \"1s\"\n", sink.url()));
    let server = setup.start();
    let address = &server.addresses().http;

    for batch in 0..N_STORM / 1_000 {
        let alerts: Vec<Value> = (0..1_000)
            .map(|n| batch * 1_000 + n)
            .map(|n| {
                alert(
                    &format!("A{} commons=c{} n={n}", n % 50, n % 100),
                    "2026-01-01T10:00:00Z",
                    None,
                )
            })
            .collect();
        ask(address, Request::post("/am/api/v2/alerts", json!(alerts).to_string()));
    }
    let caller = server.caller();
    until("every group to be told", PATIENCE, || {
        let told: u64 = sink
            .received()
            .iter()
            .map(|body| {
                let n_listed = u64::try_from(array(&body["alerts"]).len()).unwrap();
                n_listed + body["truncatedAlerts"].as_u64().unwrap()
            })
            .sum();
        if told >= 1_000 { Ok(()) } else { Err(format!("{told} alerts")) }
    });

    assert_eq!(caller.own_metric("commonwatch_notify_alerts", &[]), 10_000.0);
    let n_messages = sink.received().len();
    assert!(n_messages < 20, "{n_messages} messages");
}
