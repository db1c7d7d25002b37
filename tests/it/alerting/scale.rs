//! Many rules over many commons, and an alert storm. Small in `make test`, where it says that it works;
//! `ALERTING_SCALE=measured` takes 5,000 rules over 100 commons and 50,000 alerts, and says how fast.

use std::time::Duration;

use serde_json::json;

use super::ask;
use crate::support::http::Request;
use crate::support::sink::Sink;
use crate::support::wait::{PATIENCE, now_ms, pause, until};
use crate::support::{Caller, Setup, remote_write};

struct Scale {
    n_rules: usize,
    n_commons: usize,
    n_alerts: usize,
    interval_s: u64,
}

fn scale() -> Scale {
    match std::env::var("ALERTING_SCALE").is_ok_and(|scale| scale == "measured") {
        true => Scale { n_rules: 5_000, n_commons: 100, n_alerts: 50_000, interval_s: 60 },
        false => Scale { n_rules: 100, n_commons: 5, n_alerts: 1_000, interval_s: 2 },
    }
}

/// How many rules stand in one group.
const GROUP: usize = 50;
/// How many metrics the rules share.
const METRICS: usize = 50;

fn rules(scale: &Scale) -> String {
    let mut text = "groups:\n".to_owned();
    for group in 0..scale.n_rules / GROUP {
        text.push_str(&format!("- name: g{group}\n  interval: {}s\n  rules:\n", scale.interval_s));
        for rule in 0..GROUP {
            let n = group * GROUP + rule;
            text.push_str(&format!(
                "  - {{alert: A{n}, expr: 'sum by (commons) (rate(m{}[5m]))', threshold: '> {}', for: 5m, \
                 labels: {{severity: page}}, annotations: {{summary: '{{{{ $labels.commons }}}} {{{{ $value }}}}'}}}}\n",
                n % METRICS,
                // One rule in a hundred has an alert for every commons.
                if n.is_multiple_of(100) { "0.001" } else { "1e9" },
            ));
        }
    }
    text
}

fn token(commons: usize) -> String {
    format!("token-of-commons-number-{commons}")
}

fn send(callers: &[Caller], growth: f64) {
    let at_ms = now_ms();
    for caller in callers {
        let all = (0..METRICS).map(|n| {
            let name = format!("m{n}");
            let labels = [("__name__", name.as_str()), ("pod", "a")];
            remote_write::series(&labels, &[(at_ms - 15_000, growth), (at_ms, growth * 2.0)])
        });
        let answer = caller.send(remote_write::write(all.collect()));
        assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
    }
}

#[test]
fn thousands_of_rules_over_all_commons_stay_within_their_interval() {
    let scale = scale();
    let mut config =
        "[rules]\nfiles = [\"r.yml\"]\n[[auth.tokens]]\nname = \"admin\"\nrole = \"admin\"\n\
        read = [\"*\"]\ntoken = \"token-of-the-admin-0123\"\n"
            .to_owned();
    for n in 0..scale.n_commons {
        let token = token(n);
        config.push_str(&format!(
            "[[auth.tokens]]\nname = \"c{n}\"\ntoken = \"{token}\"\ncommons = \"c{n}.example\"\n"
        ));
    }
    let setup = Setup::new("rules-scale").config(&config);
    std::fs::write(setup.home().join("r.yml"), rules(&scale)).unwrap();
    let server = setup.start();
    let admin = server.caller_with("token-of-the-admin-0123");
    let callers: Vec<Caller> =
        (0..scale.n_commons).map(|n| server.caller_with(&token(n))).collect();
    send(&callers, 15.0);

    let evaluated = || {
        let of = |outcome| {
            admin.own_metric("commonwatch_rules_evaluations_total", &[("outcome", outcome)])
        };
        (of("ok"), of("error"))
    };
    let n_wanted = 2.0 * f64::from(u32::try_from(scale.n_rules).unwrap());
    let patience = PATIENCE + Duration::from_secs(4 * scale.interval_s);
    until("every rule to be evaluated twice", patience, || {
        pause(Duration::from_secs(1).min(Duration::from_secs(scale.interval_s) / 4));
        match evaluated() {
            (ok, _) if ok >= n_wanted => Ok(()),
            (ok, failed) => Err(format!("{ok} of {n_wanted}, {failed} failed")),
        }
    });

    let (ok, failed) = evaluated();
    assert_eq!(failed, 0.0, "{}", server.log());
    let missed = admin.own_metric("commonwatch_rules_missed_iterations_total", &[]);
    let spent_s = admin.own_metric("commonwatch_rules_group_duration_seconds_sum", &[]);
    let pending = admin.own_metric("commonwatch_rules_alerts", &[("state", "pending")]);
    assert!(pending > 0.0, "what is over its threshold is pending");
    println!(
        "rules: {} over {} commons, {pending} alerts: {:.2} ms a rule, {:.0} a second of one group at a \
         time, {missed} evaluations missed, {} MB resident",
        scale.n_rules,
        scale.n_commons,
        1e3 * spent_s / ok,
        ok / spent_s,
        server.rss_bytes() >> 20
    );
    if std::env::var("ALERTING_SCALE").is_ok() {
        assert_eq!(missed, 0.0, "evaluation stays within its interval");
    }
}

#[test]
fn a_storm_of_alerts_is_few_messages_and_bounded_memory() {
    let scale = scale();
    let sink = Sink::start();
    let setup = Setup::new("storm").config(&format!(
        "[alerting]\nwebhook_url = \"{}\"\ngroup_wait = \"1s\"\ngroup_interval = \"5s\"\n",
        sink.url()
    ));
    let server = setup.start();
    let before_mb = server.rss_bytes() >> 20;

    let all: Vec<serde_json::Value> = (0..scale.n_alerts)
        .map(|n| {
            let labels = json!({ "alertname": format!("A{}", n % 100), "commons": format!("c{}", n % 97),
                "pod": n.to_string(), "severity": "page" });
            json!({ "labels": labels, "annotations": { "summary": "it is wrong" } })
        })
        .collect();
    for some in all.chunks(2_000) {
        let body = serde_json::to_string(some).unwrap();
        ask(&server.addresses().http, Request::post("/am/api/v2/alerts", body));
    }

    let told = || -> usize {
        let count = |body: &serde_json::Value| {
            let listed = body["alerts"].as_array().map_or(0, Vec::len);
            let rest = body["truncatedAlerts"].as_u64().unwrap_or(0);
            listed + usize::try_from(rest).unwrap()
        };
        sink.received().iter().map(count).sum()
    };
    until("the storm to be told", PATIENCE * 2, || match told() {
        n if n >= scale.n_alerts => Ok(()),
        n => Err(format!("{n} of {}", scale.n_alerts)),
    });

    let n_messages = sink.received().len();
    assert!(n_messages < 20, "on-call got {n_messages} messages");
    println!(
        "storm: {} alerts, {n_messages} messages, {before_mb} MB before, {} MB after",
        scale.n_alerts,
        server.rss_bytes() >> 20
    );
}
