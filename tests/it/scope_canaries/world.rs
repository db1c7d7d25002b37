//! Six commons with their secrets, twenty scopes, and a server that holds them.

use std::collections::BTreeSet;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::support::wait::{PATIENCE, now_ms, until};
use crate::support::{Caller, Server, Setup, otlp, remote_write};

const N_COMMONS: usize = 6;
const N_SCOPES: usize = 20;
/// Samples a series, logs and spans of a commons, in each half.
const N_ROWS: i64 = 8;
const STEP_MS: i64 = 15_000;

/// One sender.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) name: String,
    /// Letters only, so that it can be part of a metric's and a label's name.
    pub(super) secret: String,
}

/// Someone who may read some of the commons.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) commons: BTreeSet<String>,
    pub(super) caller: Caller,
}

/// The server and everyone who speaks to it.
#[derive(Debug)]
pub(super) struct World {
    pub(super) commons: Vec<Sender>,
    pub(super) scopes: Vec<Scope>,
    pub(super) everything: Caller,
    /// First sample; the last is `N_ROWS * 2` steps later.
    pub(super) start_ms: i64,
    _server: Server,
}

impl World {
    pub(super) fn start(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let commons: Vec<Sender> = (0..N_COMMONS)
            .map(|idx| Sender {
                name: format!("{}.example", word(&mut rng, idx)),
                secret: format!("canary{}", word(&mut rng, idx)),
            })
            .collect();
        let subsets: Vec<BTreeSet<String>> =
            (0..N_SCOPES).map(|_| any_subset(&commons, &mut rng)).collect();
        let setup = Setup::new("canaries");
        let rules = setup.home().join("rules.yml");
        std::fs::write(&rules, RULES).unwrap();
        let setup = setup.config(&config(&commons, &subsets, &rules.display().to_string()));
        let start_ms = now_ms() - 1_800_000;

        let server = setup.start();
        send(&server, &commons, start_ms);
        // Stopping writes everything into files.
        server.stop();
        let server = setup.start();
        send(&server, &commons, start_ms + N_ROWS * STEP_MS);

        let scope = |(idx, commons)| Scope {
            commons,
            caller: server.caller_with(&token(&format!("scope{idx}"))),
        };
        let scopes = subsets.into_iter().enumerate().map(scope).collect();
        let everything = server.caller_with(&token("everything"));
        wait_for_alerts(&everything);
        Self { commons, scopes, everything, start_ms, _server: server }
    }

    pub(super) fn any_scope(&self, rng: &mut SmallRng) -> &Scope {
        &self.scopes[rng.random_range(0..self.scopes.len())]
    }

    /// Returns the path of a trace, which has a span of every commons.
    pub(super) fn any_trace(&self, rng: &mut SmallRng) -> String {
        let number = rng.random_range(0..N_ROWS.unsigned_abs());
        let id: String = otlp::span(number, 0, "").trace_id.iter().map(hex).collect();
        format!("v2/traces/{id}")
    }

    /// Returns a moment at which series have samples, or just about.
    pub(super) fn any_time_ms(&self, rng: &mut SmallRng) -> i64 {
        self.start_ms + rng.random_range(-2..N_ROWS * 2 + 4) * STEP_MS
    }
}

/// One alert of each commons, with its secret in a label and an annotation.
const RULES: &str = r#"
groups:
- name: canaries
  interval: 1s
  rules:
  - alert: Canary
    expr: max by (commons, secret) (last_over_time(scoped_total[2h])) >= 0
    annotations:
      summary: "{{ $labels.commons }} says {{ $labels.secret }}"
  - record: canary:recorded
    expr: sum by (commons, secret) (last_over_time(scoped_total[2h]))
"#;

fn hex(byte: &u8) -> String {
    format!("{byte:02x}")
}

fn word(rng: &mut SmallRng, idx: usize) -> String {
    let letters = (0..8).map(|_| char::from(b'a' + rng.random_range(0..26_u8)));
    format!("{}{}", letters.collect::<String>(), ["a", "b", "c", "d", "e", "f"][idx])
}

fn any_subset(commons: &[Sender], rng: &mut SmallRng) -> BTreeSet<String> {
    loop {
        let some = commons.iter().filter(|_| rng.random_bool(0.4));
        let some: BTreeSet<String> = some.map(|one| one.name.clone()).collect();
        if !some.is_empty() && some.len() < commons.len() {
            return some;
        }
    }
}

fn token(name: &str) -> String {
    format!("{name}-token-0123456789")
}

fn config(commons: &[Sender], subsets: &[BTreeSet<String>], rules: &str) -> String {
    let mut text = format!(
        "[rules]\nfiles = [{rules:?}]\n[derive]\nenabled = false\n[query]\n\
         concurrency_per_principal_max = 8\nconcurrency_max = 16\n\n"
    );
    for (idx, sender) in commons.iter().enumerate() {
        text.push_str(&format!(
            "[[auth.tokens]]\nname = \"sender{idx}\"\ntoken = \"{}\"\ncommons = \"{}\"\n\n",
            token(&format!("sender{idx}")),
            sender.name
        ));
    }
    for (idx, subset) in subsets.iter().enumerate() {
        // An administrator of some commons is asked for plans too, which name files.
        let role = if idx % 3 == 0 { "admin" } else { "developer" };
        text.push_str(&format!(
            "[[auth.tokens]]\nname = \"scope{idx}\"\ntoken = \"{}\"\nrole = \"{role}\"\nread = {:?}\n\n",
            token(&format!("scope{idx}")),
            subset.iter().collect::<Vec<_>>()
        ));
    }
    text.push_str(&format!(
        "[[auth.tokens]]\nname = \"everything\"\ntoken = \"{}\"\nrole = \"admin\"\nread = [\"*\"]\n",
        token("everything")
    ));
    text
}

/// Lets every commons send one half of what it has.
fn send(server: &Server, commons: &[Sender], start_ms: i64) {
    for (idx, sender) in commons.iter().enumerate() {
        let caller = server.caller_with(&token(&format!("sender{idx}")));
        let secret = sender.secret.as_str();
        let times: Vec<i64> = (0..N_ROWS).map(|row| start_ms + row * STEP_MS).collect();
        let samples: Vec<(i64, f64)> =
            times.iter().zip(0..).map(|(&ms, n)| (ms, f64::from(n * 10) + idx as f64)).collect();
        let own_metric = format!("{secret}_total");
        let own_label = format!("label_{secret}");
        let series = [
            [("__name__", "scoped_total"), ("job", "a"), ("secret", secret)],
            [("__name__", "scoped_total"), ("job", "b"), ("secret", secret)],
            [("__name__", "other_total"), ("job", "a"), (own_label.as_str(), "x")],
            [("__name__", own_metric.as_str()), ("job", "a"), ("shared", "same")],
        ];
        let series = series.iter().map(|labels| {
            let mut labels = labels.to_vec();
            labels.sort_unstable();
            remote_write::series(&labels, &samples)
        });
        let resource = || otlp::resource(&[("service.name", "s"), ("secret.resource", secret)]);
        let records = times.iter().zip(0..).map(|(ms, n)| {
            let mut record = otlp::record(ms * 1_000_000, &format!("line {n} {secret}"));
            record.attributes = vec![otlp::attribute(&format!("attr.{secret}"), secret)];
            record.severity_number = 1 + n % 20;
            record
        });
        let spans = times.iter().zip(0..).map(|(ms, n)| {
            let mut span = otlp::span(n, ms * 1_000_000, &format!("work {secret}"));
            span.attributes = vec![otlp::attribute("secret", secret)];
            span
        });
        for request in [
            remote_write::write(series.collect()),
            otlp::post("/v1/logs", &otlp::logs(resource(), records.collect())),
            otlp::post("/v1/traces", &otlp::spans(resource(), spans.collect())),
        ] {
            let answer = caller.send(request);
            assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
        }
    }
}

fn wait_for_alerts(everything: &Caller) {
    until("an alert of every commons", PATIENCE, || {
        let data = everything.prometheus("/api/v1/alerts", &[]);
        match data["alerts"].as_array().map_or(0, Vec::len) {
            N_COMMONS.. => Ok(()),
            n => Err(format!("{n} are there")),
        }
    });
}
