//! Many rules over many commons, and an alert storm. Small in `make test`, where it says that it works;
//! `ALERTING_SCALE=measured` takes up to 5,000 rules over 100 commons and 50,000 alerts, and says how many
//! rules a second one core evaluates, and how that grows.

use std::time::Duration;

use serde_json::json;

use super::ask;
use crate::support::http::Request;
use crate::support::process::cpu_ticks;
use crate::support::sink::Sink;
use crate::support::wait::{PATIENCE, now_ms, pause, until};
use crate::support::{Caller, Server, Setup, remote_write};

fn is_measured() -> bool {
    std::env::var("ALERTING_SCALE").is_ok_and(|scale| scale == "measured")
}

/// So many rules over so many commons.
#[derive(Debug, Clone, Copy)]
struct Stage {
    n_commons: usize,
    n_rules: usize,
}

/// Returns what is looked at, one after the other, and how often rules are evaluated.
fn stages() -> (Vec<Stage>, u64) {
    let stage = |n_commons, n_rules| Stage { n_commons, n_rules };
    match is_measured() {
        // First more commons, then fewer rules.
        true => {
            (vec![stage(25, 5_000), stage(100, 5_000), stage(100, 2_500), stage(100, 1_250)], 30)
        }
        false => (vec![stage(3, 100), stage(5, 50)], 2),
    }
}

/// How many rules stand in one group.
const GROUP: usize = 50;
/// How many metrics the rules share.
const METRICS: usize = 50;
/// What the rules look at, as often as commons send it.
const WINDOW_MS: i64 = 300_000;
const SENT_EVERY_MS: i64 = 30_000;

fn rules(n_rules: usize, interval_s: u64) -> String {
    let mut text = "groups:\n".to_owned();
    for group in 0..n_rules / GROUP {
        text.push_str(&format!("- name: g{group}\n  interval: {interval_s}s\n  rules:\n"));
        for rule in 0..GROUP {
            let n = group * GROUP + rule;
            text.push_str(&format!(
                "  - {{alert: A{n}, expr: 'sum by (commons) (rate(m{}[5m]))', threshold: '> {}', for: 1h, \
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

/// Sends a whole window up to now.
fn send(callers: &[Caller]) {
    let end_ms = now_ms();
    let times = (0..=WINDOW_MS / SENT_EVERY_MS).rev().map(|n| end_ms - n * SENT_EVERY_MS);
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit a double")]
    let samples: Vec<(i64, f64)> = times.map(|at_ms| (at_ms, (at_ms / 1_000) as f64)).collect();
    for caller in callers {
        let all = (0..METRICS).map(|n| {
            let name = format!("m{n}");
            remote_write::series(&[("__name__", name.as_str()), ("pod", "a")], &samples)
        });
        let answer = caller.send(remote_write::write(all.collect()));
        assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
    }
}

fn scale_config(n_commons: usize) -> String {
    let mut config =
        "[rules]\nfiles = [\"r.yml\"]\n[[auth.tokens]]\nname = \"admin\"\nrole = \"admin\"\n\
        read = [\"*\"]\ntoken = \"token-of-the-admin-0123\"\n"
            .to_owned();
    for n in 0..n_commons {
        let token = token(n);
        config.push_str(&format!(
            "[[auth.tokens]]\nname = \"c{n}\"\ntoken = \"{token}\"\ncommons = \"c{n}.example\"\n"
        ));
    }
    config
}

/// What the server has done so far.
#[derive(Debug, Clone, Copy)]
struct Done {
    n_evaluated: f64,
    n_failed: f64,
    n_missed: f64,
    cpu_s: f64,
    at_ms: i64,
}

fn done(server: &Server, admin: &Caller) -> Done {
    let of =
        |outcome| admin.own_metric("commonwatch_rules_evaluations_total", &[("outcome", outcome)]);
    #[expect(clippy::cast_precision_loss, reason = "ticks fit a double")]
    let cpu_s = cpu_ticks(server.pid()) as f64 / 100.0;
    Done {
        n_evaluated: of("ok"),
        n_failed: of("failed"),
        n_missed: admin.own_metric("commonwatch_rules_missed_iterations_total", &[]),
        cpu_s,
        at_ms: now_ms(),
    }
}

/// Waits until every rule was evaluated so often since a moment.
fn wait_for(
    server: &Server,
    admin: &Caller,
    since: Done,
    n_rules: usize,
    times: f64,
    interval_s: u64,
) -> Done {
    let n_wanted = times * f64::from(u32::try_from(n_rules).unwrap());
    let patience = PATIENCE + Duration::from_secs(6 * interval_s);
    until("every rule to be evaluated", patience, || {
        // Looking is work for the server too.
        pause(Duration::from_millis(if is_measured() { 1_000 } else { 250 }));
        let now = done(server, admin);
        let n = now.n_evaluated - since.n_evaluated;
        if n >= n_wanted { Ok(now) } else { Err(format!("{n} of {n_wanted}: {now:?}")) }
    })
}

#[test]
fn thousands_of_rules_over_all_commons_stay_within_their_interval() {
    let (stages, interval_s) = stages();
    let n_commons = stages.iter().map(|stage| stage.n_commons).max().unwrap();
    let setup = Setup::new("rules-scale").config(&scale_config(n_commons));
    let file = setup.home().join("r.yml");
    std::fs::write(&file, "groups: []\n").unwrap();
    let server = setup.start();
    let admin = server.caller_with("token-of-the-admin-0123");
    let callers: Vec<Caller> = (0..n_commons).map(|n| server.caller_with(&token(n))).collect();

    let mut costs = Vec::new();
    for stage in stages {
        let Stage { n_commons, n_rules } = stage;
        send(&callers[..n_commons]);
        std::fs::write(&file, rules(n_rules, interval_s)).unwrap();
        let reloaded = admin.send(Request::post("/-/reload", ""));
        assert_eq!(reloaded.status, 200, "{}", reloaded.text());
        // The first evaluation of each rule makes its series; what comes then is its everyday.
        let begun = wait_for(&server, &admin, done(&server, &admin), n_rules, 1.0, interval_s);
        let ended = wait_for(&server, &admin, begun, n_rules, 1.0, interval_s);

        assert_eq!(ended.n_failed, 0.0, "{}", server.log());
        let pending = admin.own_metric("commonwatch_rules_alerts", &[("state", "pending")]);
        let n_expected = n_rules.div_ceil(100) * n_commons;
        assert_eq!(pending, f64::from(u32::try_from(n_expected).unwrap()), "over its threshold");
        let (n, cpu_s) = (ended.n_evaluated - begun.n_evaluated, ended.cpu_s - begun.cpu_s);
        #[expect(clippy::cast_precision_loss, reason = "a few minutes in ms fit a double")]
        let took_s = (ended.at_ms - begun.at_ms) as f64 / 1e3;
        println!(
            "rules: {n_rules} over {n_commons} commons every {interval_s}s: {:.0} a second of one core, \
             {:.2} ms each, {:.0} % of one core, {pending} alerts, {} missed, {} MB resident",
            n / cpu_s.max(0.01),
            1e3 * cpu_s / n,
            100.0 * cpu_s / took_s,
            ended.n_missed,
            server.rss_bytes() >> 20
        );
        costs.push((stage, 1e3 * cpu_s / n));
        if is_measured() {
            assert_eq!(ended.n_missed, 0.0, "evaluation stays within its interval");
        }
    }
    println!("rules: {}", growth(&costs));
}

/// Says how what one evaluation of a rule costs grows, from the least to the most of commons with as many
/// rules, and of rules with as many commons.
fn growth(costs: &[(Stage, f64)]) -> String {
    let between = |(from, cost): &(Stage, f64), (to, other): &(Stage, f64)| {
        let Stage { n_commons, n_rules } = *from;
        format!(
            "{n_rules} rules over {n_commons} commons -> {} over {}: {:.2} times the cost of each",
            to.n_rules,
            to.n_commons,
            other / cost
        )
    };
    let pairs = costs.iter().flat_map(|from| costs.iter().map(move |to| (from, to)));
    let grown = pairs.filter(|((from, _), (to, _))| {
        (from.n_rules == to.n_rules && from.n_commons < to.n_commons)
            || (from.n_commons == to.n_commons && from.n_rules < to.n_rules)
    });
    let said: Vec<String> = grown.map(|(from, to)| between(from, to)).collect();
    if said.is_empty() { "no two stages differ in one thing".to_owned() } else { said.join("; ") }
}

#[test]
fn growth_compares_stages_that_differ_in_one_thing() {
    let stage = |n_commons, n_rules| Stage { n_commons, n_rules };
    let costs = [(stage(25, 50), 1.0), (stage(100, 50), 3.0), (stage(100, 10), 2.0)];

    let said = growth(&costs);

    assert_eq!(
        said,
        "50 rules over 25 commons -> 50 over 100: 3.00 times the cost of each; \
         10 rules over 100 commons -> 50 over 100: 1.50 times the cost of each"
    );
}

/// What an alert may take of memory at the height of a storm, and the server beside that.
const ALERT_BYTES_MAX: u64 = 8 << 10;
const STORM_BYTES_MAX: u64 = 64 << 20;

#[test]
fn a_storm_of_alerts_is_few_messages_and_bounded_memory() {
    let n_alerts = if is_measured() { 50_000 } else { 1_000 };
    let sink = Sink::start();
    let setup = Setup::new("storm").config(&format!(
        "[alerting]\nwebhook_url = \"{}\"\ngroup_wait = \"1s\"\ngroup_interval = \"5s\"\n",
        sink.url()
    ));
    let server = setup.start();
    let (before, _) = server.memory();

    let all: Vec<serde_json::Value> = (0..n_alerts)
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

    until("the storm to be told", PATIENCE * 2, || match told(&sink) {
        n if n >= n_alerts => Ok(()),
        n => Err(format!("{n} of {}", n_alerts)),
    });

    let n_messages = sink.received().len();
    assert!(n_messages < 20, "on-call got {n_messages} messages");
    let (after, peak) = server.memory();
    println!(
        "storm: {n_alerts} alerts, {n_messages} messages, {} MB before, {} at most, {} after",
        before >> 20,
        peak >> 20,
        after >> 20
    );
    let n_alerts = u64::try_from(n_alerts).unwrap();
    assert!(
        peak <= before + STORM_BYTES_MAX + n_alerts * ALERT_BYTES_MAX,
        "a storm takes so much memory and no more"
    );
}

/// What an alert may take that a rule found: it is remembered, shown and saved besides.
const FOUND_BYTES_MAX: u64 = 24 << 10;

#[test]
fn a_storm_that_rules_find_is_few_messages_and_bounded_memory() {
    let (n_alerts, n_rules) = if is_measured() { (50_000, 10) } else { (1_000, 5) };
    let sink = Sink::start();
    let setup = Setup::new("storm-rules").config(&format!(
        "[tagging]\nenabled = false\n[rules]\nfiles = [\"r.yml\"]\n[alerting]\nwebhook_url = \"{}\"\n\
         group_wait = \"1s\"\ngroup_interval = \"5s\"\n",
        sink.url()
    ));
    let mut rules = "groups:\n- name: g\n  interval: 5s\n  rules:\n".to_owned();
    for n in 0..n_rules {
        rules.push_str(&format!(
            "  - {{alert: A{n}, expr: 'storm{{rule=\"{n}\"}} > 0', labels: {{severity: page}}, \
             annotations: {{summary: '{{{{ $labels.pod }}}} of {{{{ $labels.commons }}}}'}}}}\n"
        ));
    }
    std::fs::write(setup.home().join("r.yml"), rules).unwrap();
    let server = setup.start();
    let caller = server.caller();
    let (before, _) = server.memory();

    let at_ms = now_ms();
    let series = |n: usize| {
        let (rule, commons, pod) =
            ((n % n_rules).to_string(), format!("c{}", n % 97), n.to_string());
        let labels = [("__name__", "storm"), ("commons", &commons), ("pod", &pod), ("rule", &rule)];
        remote_write::series(&labels, &[(at_ms, 1.0)])
    };
    for from in (0..n_alerts).step_by(1_000) {
        let some = (from..n_alerts.min(from + 1_000)).map(series).collect();
        let answer = caller.send(remote_write::write(some));
        assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
    }

    until("the storm to be told", PATIENCE * 2, || match told(&sink) {
        n if n >= n_alerts => Ok(()),
        n => Err(format!("{n} of {n_alerts}")),
    });
    let n_messages = sink.received().len();
    assert!(n_messages < 20, "on-call got {n_messages} messages");
    let firing = || caller.own_metric("commonwatch_rules_alerts", &[("state", "firing")]);
    let n_firing = f64::from(u32::try_from(n_alerts).unwrap());
    until("the rules to be shown", PATIENCE, || {
        let n = firing();
        if n >= n_firing { Ok(()) } else { Err(format!("{n} of {n_firing} fire")) }
    });
    let (after, peak) = server.memory();
    println!(
        "storm of rules: {n_alerts} alerts of {n_rules} rules, {n_messages} messages, {} MB before, {} at \
         most, {} after",
        before >> 20,
        peak >> 20,
        after >> 20
    );
    let n_alerts = u64::try_from(n_alerts).unwrap();
    assert!(
        peak <= before + STORM_BYTES_MAX + n_alerts * FOUND_BYTES_MAX,
        "a storm takes so much memory and no more: {peak}"
    );
}

/// Counts the alerts that were told, those among them that a body only counts.
fn told(sink: &Sink) -> usize {
    let count = |body: &serde_json::Value| {
        let listed = body["alerts"].as_array().map_or(0, Vec::len);
        let rest = body["truncatedAlerts"].as_u64().unwrap_or(0);
        listed + usize::try_from(rest).unwrap()
    };
    sink.received().iter().map(count).sum()
}
