//! The notifier on a clock, a store and a sender that tests own.
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;

use super::address::AddressPolicy;
use super::target::Target;
use super::testing::{Memory, Script};
use super::*;
use crate::base::clock::ManualClock;
use crate::model::{AlertEvent, Labels};

const SEC: i64 = 1_000;
const MIN: i64 = 60 * SEC;
const HOUR: i64 = 60 * MIN;

fn busy() -> Outcome {
    Outcome::Failed { reason: "answered 503".to_owned(), status: Some(503), retry_after: None }
}

struct Bench {
    clock: Arc<ManualClock>,
    store: Arc<Memory>,
    script: Arc<Script>,
    metrics: Metrics,
    config: Config,
    notifier: Notifier,
}

impl Bench {
    fn new() -> Self {
        let config = Config {
            webhook_url: Some(SecretUrl::parse("https://hooks.example/key").unwrap()),
            external_url: "https://watch.example".to_owned(),
            ..Config::default()
        };
        Self::over(Arc::default(), Arc::default(), ManualClock::at_ms(0), config)
    }

    fn over(
        store: Arc<Memory>,
        script: Arc<Script>,
        clock: Arc<ManualClock>,
        config: Config,
    ) -> Self {
        let metrics = Metrics::default();
        let parts = Parts {
            store: Arc::<Memory>::clone(&store),
            sender: Arc::<Script>::clone(&script),
            clock: Arc::<ManualClock>::clone(&clock),
            metrics: metrics.clone(),
        };
        let policy = Arc::new(Policy::from(&config));
        let notifier = block_on(Notifier::open(&config, policy, parts)).unwrap();
        Self { clock, store, script, metrics, config, notifier }
    }

    /// The process dies where it stands, and another one starts.
    fn restarted(self) -> Self {
        Self::over(self.store, self.script, self.clock, self.config)
    }

    fn fire(&mut self, events: &[AlertEvent]) {
        block_on(self.notifier.accept(events.to_vec()));
    }

    /// Moves the clock there in steps of a second, ticking; what fires is told again each minute.
    fn run_to(&mut self, end_ms: i64, firing: &[AlertEvent]) {
        let mut now_ms = crate::base::Clock::now_ms(self.clock.as_ref());
        while now_ms < end_ms {
            now_ms += SEC;
            self.clock.set_ms(now_ms);
            if now_ms % MIN == 0 && !firing.is_empty() {
                let told: Vec<_> = firing.iter().map(|event| told_at(event, now_ms)).collect();
                self.fire(&told);
            }
            block_on(self.notifier.tick());
        }
    }

    /// Returns what was heard since the last call: `status a,b` of each notification.
    fn heard(&self) -> Vec<String> {
        let heard: Vec<Delivery> = self.script.heard.lock().drain(..).collect();
        heard.iter().map(|delivery| summary(&delivery.body)).collect()
    }
}

fn summary(body: &str) -> String {
    let payload: serde_json::Value = serde_json::from_str(body).unwrap();
    let alerts = payload["alerts"].as_array().unwrap().iter();
    let names: Vec<String> = alerts
        .map(|alert| {
            let mark = if alert["status"] == "resolved" { "!" } else { "" };
            format!("{mark}{}", alert["labels"]["name"].as_str().unwrap())
        })
        .collect();
    format!("{} {}", payload["status"].as_str().unwrap(), names.join(","))
}

fn alert(name: &str) -> AlertEvent {
    AlertEvent {
        labels: Labels::from_pairs([("alertname", "A"), ("commons", "c"), ("name", name)]),
        annotations: BTreeMap::new(),
        starts_at_ms: 0,
        ends_at_ms: 4 * MIN,
        resolved: false,
        generator_url: String::new(),
    }
}

fn told_at(event: &AlertEvent, now_ms: i64) -> AlertEvent {
    AlertEvent { ends_at_ms: now_ms + 4 * MIN, ..event.clone() }
}

fn over(event: &AlertEvent, at_ms: i64) -> AlertEvent {
    AlertEvent { ends_at_ms: at_ms, resolved: true, ..event.clone() }
}

#[test]
fn alerts_of_a_group_are_told_together_after_the_wait() {
    let mut bench = Bench::new();
    bench.fire(&[alert("x")]);
    bench.run_to(20 * SEC, &[]);
    bench.fire(&[alert("y")]);

    bench.run_to(29 * SEC, &[]);
    assert_eq!(bench.heard(), [""; 0]);
    bench.run_to(30 * SEC, &[]);
    assert_eq!(bench.heard(), ["firing x,y"]);
}

#[test]
fn another_commons_is_another_group() {
    let mut other = alert("y");
    other.labels = Labels::from_pairs([("alertname", "A"), ("commons", "d"), ("name", "y")]);
    let mut bench = Bench::new();
    bench.fire(&[alert("x"), other]);

    bench.run_to(30 * SEC, &[]);

    assert_eq!(bench.heard(), ["firing x", "firing y"]);
}

#[test]
fn changes_are_told_at_the_groups_interval_and_repetitions_at_theirs() {
    let mut bench = Bench::new();
    let (x, y) = (alert("x"), alert("y"));
    bench.fire(std::slice::from_ref(&x));
    bench.run_to(MIN, std::slice::from_ref(&x));
    assert_eq!(bench.heard(), ["firing x"]);

    bench.fire(&[told_at(&y, MIN)]);
    bench.run_to(5 * MIN, &[x.clone(), y.clone()]);
    assert_eq!(bench.heard(), [""; 0], "not before the interval");
    bench.run_to(6 * MIN, &[x.clone(), y.clone()]);
    assert_eq!(bench.heard(), ["firing x,y"]);

    bench.fire(&[over(&y, 6 * MIN)]);
    bench.run_to(11 * MIN, std::slice::from_ref(&x));
    assert_eq!(bench.heard(), ["firing x,!y"]);

    bench.run_to(4 * HOUR, std::slice::from_ref(&x));
    assert_eq!(bench.heard(), [""; 0], "nothing new for four hours");
    bench.run_to(4 * HOUR + 20 * MIN, std::slice::from_ref(&x));
    assert_eq!(bench.heard(), ["firing x"]);

    bench.fire(&[over(&x, 4 * HOUR + 20 * MIN)]);
    bench.run_to(4 * HOUR + 30 * MIN, &[]);
    assert_eq!(bench.heard(), ["resolved !x"]);
    assert_eq!(bench.store.values.lock().len(), 0, "nothing is left behind");
}

#[test]
fn an_alert_that_ends_within_the_wait_is_not_told() {
    let mut bench = Bench::new();
    bench.fire(&[alert("x")]);
    bench.run_to(SEC, &[]);
    bench.fire(&[over(&alert("x"), SEC)]);

    bench.run_to(10 * MIN, &[]);

    assert_eq!(bench.heard(), [""; 0]);
}

#[test]
fn what_nobody_speaks_of_any_more_is_over() {
    let mut bench = Bench::new();
    bench.fire(&[alert("x")]);

    bench.run_to(6 * MIN, &[]);

    assert_eq!(bench.heard(), ["firing x", "resolved !x"]);
}

#[test]
fn an_end_told_for_fifteen_minutes_is_passed_on_once() {
    let mut bench = Bench::new();
    bench.fire(&[alert("x")]);
    bench.run_to(MIN, &[]);

    for minute in 1..16 {
        bench.fire(&[over(&alert("x"), MIN)]);
        bench.run_to(minute * MIN, &[]);
    }
    bench.run_to(HOUR, &[]);

    assert_eq!(bench.heard(), ["firing x", "resolved !x"]);
}

#[test]
fn a_busy_receiver_is_asked_again_under_the_same_key() {
    let mut bench = Bench::new();
    bench.script.outcomes.lock().extend([busy(), busy(), busy()]);
    bench.fire(&[alert("x")]);

    bench.run_to(MIN, &[]);

    let heard: Vec<Delivery> = bench.script.heard.lock().clone();
    assert_eq!(heard.len(), 4);
    assert!(heard.iter().all(|one| *one == heard[0]), "all attempts are alike");
    assert_eq!((bench.metrics.n_ended("retried"), bench.metrics.n_ended("delivered")), (3, 1));
}

#[test]
fn a_definite_no_is_not_asked_again() {
    let mut bench = Bench::new();
    bench.script.outcomes.lock().push_back(Outcome::Refused { status: 404 });
    bench.fire(&[alert("x")]);

    bench.run_to(4 * MIN, &[]);

    assert_eq!(bench.heard(), ["firing x"]);
    assert_eq!((bench.metrics.n_ended("refused"), bench.metrics.queued.get()), (1, 0));
}

#[test]
fn an_end_does_not_overtake_its_beginning() {
    let mut bench = Bench::new();
    bench.script.outcomes.lock().extend(std::iter::repeat_with(busy).take(12));
    bench.fire(&[alert("x")]);
    bench.run_to(MIN, &[]);
    bench.fire(&[over(&alert("x"), MIN)]);

    bench.run_to(3 * HOUR, &[]);

    let heard = bench.heard();
    assert_eq!(heard.len(), 14);
    assert_eq!(heard.iter().position(|one| one == "resolved !x"), Some(13));
}

/// Kills the process at every second of an alert's life with a receiver that is often busy; the
/// receiver must hear of beginning and end, whatever it hears twice must have the same key.
#[test]
fn nothing_is_lost_when_the_process_dies_at_any_second() {
    for dies_at in (SEC..15 * MIN).step_by(7_000) {
        let mut bench = Bench::new();
        let flaky =
            (0..6).map(|n| if n % 3 == 2 { Outcome::Delivered { status: 200 } } else { busy() });
        bench.script.outcomes.lock().extend(flaky);
        let x = alert("x");
        for second in 1..(20 * MIN / SEC) {
            let now_ms = second * SEC;
            if now_ms == dies_at {
                bench = bench.restarted();
            }
            let told = if now_ms < 6 * MIN { told_at(&x, now_ms) } else { over(&x, 6 * MIN) };
            if second % 30 == 1 {
                bench.fire(&[told]);
            }
            bench.run_to(now_ms, &[]);
        }

        let heard: Vec<Delivery> = bench.script.heard.lock().clone();

        let mut texts: Vec<String> = heard.iter().map(|one| summary(&one.body)).collect();
        texts.dedup();
        assert_eq!(texts, ["firing x", "resolved !x"], "died at {dies_at}");
        let mut keys: Vec<&str> = heard.iter().map(|one| one.idempotency_key.as_str()).collect();
        keys.dedup();
        assert_eq!(keys.len(), 2, "died at {dies_at}");
    }
}

#[test]
fn a_decision_that_is_made_again_has_the_same_key() {
    let mut bench = Bench::new();
    bench.script.outcomes.lock().extend(std::iter::repeat_with(busy).take(3));
    bench.fire(&[alert("x")]);
    let is_memory = |(key, _): &(String, _)| !key.starts_with("outbox/");
    let before = block_on(bench.store.list()).unwrap();
    bench.run_to(31 * SEC, &[]);
    // As if only the outbox had been written.
    bench.store.values.lock().retain(|key, _| key.starts_with("outbox/"));
    bench.store.values.lock().extend(before.into_iter().filter(is_memory));

    let mut bench = bench.restarted();
    bench.run_to(2 * MIN, &[]);

    let heard = bench.script.heard.lock();
    assert!(heard.len() > 1);
    assert!(heard.iter().all(|one| one.idempotency_key == heard[0].idempotency_key));
}

#[test]
fn after_a_restart_what_fired_is_not_taken_for_over() {
    let mut bench = Bench::new();
    bench.fire(&[alert("x")]);
    bench.run_to(MIN, &[]);
    assert_eq!(bench.heard(), ["firing x"]);

    bench.clock.set_ms(HOUR);
    let mut bench = bench.restarted();
    bench.run_to(HOUR + 4 * MIN, &[]);
    assert_eq!(bench.heard(), [""; 0], "the rules have not spoken yet");

    bench.run_to(HOUR + 11 * MIN, &[]);
    assert_eq!(bench.heard(), ["resolved !x"], "and now they have had their chance");
}

#[test]
fn a_full_disk_does_not_keep_an_alert_from_being_told() {
    let mut bench = Bench::new();
    *bench.store.is_full.lock() = true;
    bench.fire(&[alert("x")]);

    bench.run_to(30 * SEC, &[]);

    assert_eq!(bench.heard(), ["firing x"]);
    assert!(bench.metrics.store_failures.get() > 0);
}

#[test]
fn without_a_receiver_nothing_piles_up() {
    let config = Config::default();
    let mut bench = Bench::over(Arc::default(), Arc::default(), ManualClock::at_ms(0), config);
    bench.fire(&[alert("x")]);

    bench.run_to(20 * MIN, &[]);

    assert_eq!(bench.store.values.lock().len(), 0);
}

/// Payloads recorded from Alertmanager 0.25: two alerts; one of them over; and one with odd labels.
const RECORDED: &str = include_str!("../../tests/cases/rules/webhook.jsonl");

fn recorded_alert(backend: &str, summary: &str, starts_at_ms: i64) -> AlertEvent {
    AlertEvent {
        labels: Labels::from_pairs([
            ("alertname", "HighLatency"),
            ("commons", "heart.commons.example"),
            ("backend", backend),
            ("severity", "ticket"),
        ]),
        annotations: [("summary", summary), ("env", "prod")]
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .into(),
        starts_at_ms,
        ends_at_ms: i64::MAX,
        resolved: false,
        generator_url: "https://watch.example/graph?g0.expr=x&g0.tab=1".to_owned(),
    }
}

#[test]
fn bodies_are_those_of_alertmanager() {
    let ten_ms = 1_795_168_800_000; // 2026-11-20T10:00:00Z
    let fence = recorded_alert("fence", "p95 is 16s", ten_ms + 500);
    let guppy = recorded_alert("guppy", "p95 is 12s", ten_ms + MIN);
    let odd = AlertEvent {
        labels: Labels::from_pairs([("alertname", "Q\"uo\\te"), ("x", "é\n")]),
        annotations: BTreeMap::new(),
        generator_url: String::new(),
        ..guppy.clone()
    };
    let mut bench = Bench::new();
    bench.clock.set_ms(ten_ms + 2 * MIN);

    bench.fire(&[fence.clone(), guppy.clone()]);
    bench.run_to(ten_ms + 5 * MIN, &[]);
    bench.fire(&[over(&guppy, ten_ms + 5 * MIN)]);
    bench.run_to(ten_ms + 9 * MIN, &[]);
    bench.fire(&[odd]);
    bench.run_to(ten_ms + 10 * MIN, &[]);

    let heard: Vec<String> = bench.script.heard.lock().iter().map(|one| one.body.clone()).collect();
    // Go escapes & in JSON; it means the same.
    let recorded: Vec<String> = RECORDED.lines().map(|line| line.replace("\\u0026", "&")).collect();
    assert_eq!(heard, recorded);
}

#[test]
fn slack_is_told_in_words_and_cannot_be_made_to_shout() {
    let mut bench = Bench::new();
    bench.config.webhook_format = Format::Slack;
    let mut bench = Bench::over(bench.store, bench.script, bench.clock, bench.config);
    let mut event = alert("x");
    event.annotations.insert("summary".to_owned(), "down <!channel> & out".to_owned());
    bench.fire(&[event]);

    bench.run_to(30 * SEC, &[]);

    let body = bench.script.heard.lock()[0].body.clone();
    assert_eq!(body, r#"{"text":"*[FIRING:1] A · c*\n• alert: down &lt;!channel&gt; &amp; out"}"#);
}

/// Answers one request with `answer` and returns what was asked.
fn serve(answer: &'static str) -> (u16, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"{\"a\":1}") {
            let mut bytes = [0; 1024];
            let n = stream.read(&mut bytes).unwrap();
            asked.extend_from_slice(&bytes[..n]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(asked).unwrap()
    });
    (port, server)
}

fn sender(allow_private: bool) -> WebhookSender {
    let clock = ManualClock::at_ms(12_000);
    let policy = AddressPolicy { allow_private, targets: Arc::default() };
    WebhookSender::new(policy, Some(Signer::new("key")), clock)
}

fn delivery(url: &str) -> Delivery {
    Delivery {
        target: Target::webhook(SecretUrl::parse(url).unwrap()),
        timeout: None,
        idempotency_key: "0123".to_owned(),
        path: String::new(),
        body: "{\"a\":1}".to_owned(),
    }
}

#[tokio::test]
async fn a_webhook_is_posted_with_its_key_and_credentials() {
    let (port, server) = serve("HTTP/1.1 204 No Content\r\n\r\n");
    let sender = sender(true);

    let outcome = sender.send(&delivery(&format!("http://me:pw@localhost:{port}/key?x=1"))).await;

    assert_eq!(outcome, Outcome::Delivered { status: 204 });
    let asked = server.join().unwrap().to_lowercase();
    assert!(asked.contains("x-commonwatch-signature: t=12,v1="), "{asked}");
    assert!(asked.starts_with("post /key?x=1 http/1.1\r\n"), "{asked}");
    for header in [
        "content-type: application/json",
        "idempotency-key: 0123",
        "authorization: basic bwu6chc=",
        &format!("host: localhost:{port}"),
    ] {
        assert!(asked.contains(&format!("{header}\r\n")), "{header}: {asked}");
    }
}

#[tokio::test]
async fn a_redirect_is_a_refusal() {
    let (port, _server) =
        serve("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
    let sender = sender(true);

    let outcome = sender.send(&delivery(&format!("http://127.0.0.1:{port}/"))).await;

    assert_eq!(outcome, Outcome::Refused { status: 302 });
}

#[tokio::test]
async fn private_addresses_are_not_connected_to_unless_allowed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let sender = sender(false);
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let outcome = sender.send(&delivery(&format!("http://{host}:{port}/secret-key"))).await;

        let Outcome::Failed { reason, .. } = outcome else { panic!("{host}: {outcome:?}") };
        assert!(reason.contains("alerting.allow_private_targets"), "{reason}");
        assert!(!reason.contains("secret-key"), "{reason}");
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody connected");
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_tried_again() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let sender = sender(true);

    let outcome = sender.send(&delivery(&format!("http://127.0.0.1:{port}/secret-key"))).await;

    let Outcome::Failed { reason, .. } = outcome else { panic!("{outcome:?}") };
    assert!(!reason.contains("secret-key"), "{reason}");
}

#[tokio::test]
async fn a_stop_stores_what_was_handed_over() {
    let bench = Bench::new();
    let (handle, inbox) = Handle::channel();
    let shutdown = tokio_util::sync::CancellationToken::new();
    let fired = handle.fire(vec![alert("x")]);
    let running = bench.notifier.run(inbox, shutdown.clone());
    let stopping = async {
        fired.await.unwrap();
        shutdown.cancel();
    };

    tokio::join!(running, stopping);

    let stored: Vec<String> = bench.store.values.lock().keys().cloned().collect();
    assert_eq!(stored.iter().filter(|key| key.starts_with("alert/")).count(), 1, "{stored:?}");
    assert!(matches!(handle.fire(vec![alert("y")]).await, Err(NotifyError::Stopped)));
}
