//! Spans in, samples out, through the room's door.

use std::collections::BTreeMap;

use super::super::{Config, Derive, Metrics};
use super::*;
use crate::base::ManualClock;
use crate::model::{Labels, SpanRow, SpansBuilder};
use crate::tagging::Tagger;

struct Rig {
    derive: Derive,
    clock: Arc<ManualClock>,
}

/// `service id parent kind status took-ms attributes`; the service may be `namespace/service`.
type Given<'a> = (&'a str, &'a str, &'a str, i32, i32, i64, &'a str);

impl Rig {
    fn new(config: Config) -> Self {
        let tagger = Tagger::load(&crate::tagging::Config::default()).unwrap();
        let clock = ManualClock::at_ms(1_787_000_000_000);
        let derive =
            Derive::new(config, Arc::new(tagger), Arc::clone(&clock) as _, Metrics::default());
        Self { derive, clock }
    }

    fn send(&self, spans: &[Given<'_>]) {
        let mut builder = SpansBuilder::new();
        for (service, id, parent, kind, status, took_ms, attributes) in spans {
            builder.push(
                &Tags { env: Some(Arc::from("prod")), ..Tags::unassigned() },
                &SpanRow {
                    end_ns: took_ms * 1_000_000,
                    trace_id: TRACE,
                    span_id: id,
                    parent_span_id: parent,
                    name: "GET /",
                    kind: *kind,
                    status_code: *status,
                    attributes,
                    resource: &resource_of(service),
                    events: "[]",
                    links: "[]",
                    ..SpanRow::default()
                },
            );
        }
        self.derive.observe_spans(&commons(), &builder.finish());
    }

    fn values(&self) -> BTreeMap<String, f64> {
        let show =
            |labels: &Labels| labels.retain(|name| name != "commons" && name != "env").to_string();
        let samples = self.derive.collect();
        samples.iter().map(|sample| (show(&sample.labels), sample.value)).collect()
    }

    #[track_caller]
    fn check(&self, series: &str, want: Option<f64>) {
        let values = self.values();
        assert_eq!(values.get(series).copied(), want, "{series} in {:#?}", values.keys());
    }
}

fn resource_of(service: &str) -> String {
    match service.split_once('/') {
        Some((namespace, service)) => {
            format!(r#"{{"service.name":"{service}","service.namespace":"{namespace}"}}"#)
        }
        None => format!(r#"{{"service.name":"{service}"}}"#),
    }
}

fn commons() -> Commons {
    Commons::new("heart").unwrap()
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: i32 = 3;
const SERVER: i32 = 2;

#[test]
fn every_span_is_counted_timed_and_weighed() {
    let rig = Rig::new(Config::default());

    rig.send(&[
        ("fence", "b", "a", SERVER, 2, 100, "{}"),
        ("fence", "c", "a", SERVER, 2, 300, "{}"),
    ]);

    let labels = r#"service="fence", span_kind="SPAN_KIND_SERVER", span_name="GET /", status_code="STATUS_CODE_ERROR""#;
    rig.check(&format!("traces_spanmetrics_calls_total{{{labels}}}"), Some(2.0));
    rig.check(&format!("traces_spanmetrics_latency_count{{{labels}}}"), Some(2.0));
    rig.check(&format!("traces_spanmetrics_latency_sum{{{labels}}}"), Some(0.4));
    rig.check(&format!("traces_spanmetrics_size_total{{{labels}}}"), Some(22.0));
    rig.check(&format!("traces_spanmetrics_latency_bucket{{le=\"0.128\", {labels}}}"), Some(1.0));
    rig.check(&format!("traces_spanmetrics_latency_bucket{{le=\"0.512\", {labels}}}"), Some(2.0));
}

const EDGE: &str = r#"{client="portal", server="fence"}"#;

#[test]
fn two_halves_are_a_call_in_whichever_order_they_come() {
    let client = ("portal", "b", "a", CLIENT, 0, 200, "{}");
    let server = ("fence", "c", "b", SERVER, 2, 100, "{}");
    for halves in [[client, server], [server, client]] {
        let rig = Rig::new(Config::default());

        rig.send(&halves[..1]);
        rig.check(&format!("traces_service_graph_request_total{EDGE}"), None);
        rig.send(&halves[1..]);
        // Sent again: the pair that is met already is not met anew.
        rig.send(&halves[..1]);

        rig.check(&format!("traces_service_graph_request_total{EDGE}"), Some(1.0));
        rig.check(&format!("traces_service_graph_request_failed_total{EDGE}"), Some(1.0));
        rig.check(&format!("traces_service_graph_request_client_seconds_sum{EDGE}"), Some(0.2));
        rig.check(&format!("traces_service_graph_request_server_seconds_sum{EDGE}"), Some(0.1));
    }
}

/// Of which spans and how long, by series and bucket, what was told at a collection.
fn told(samples: &[super::super::DerivedSample]) -> Vec<String> {
    let mut told = Vec::new();
    for sample in samples {
        let (metric, le) = (sample.labels.metric(), sample.labels.get("le").unwrap_or(""));
        for exemplar in sample.examples.iter().map(|example| example.at(0)) {
            let span = exemplar.labels.get("span_id").unwrap();
            assert_eq!(exemplar.labels.get("trace_id").unwrap(), TRACE, "{metric}");
            told.push(format!("{metric} {le}: {span} {}", exemplar.value));
        }
    }
    told.sort();
    told
}

#[test]
fn the_longest_and_the_latest_span_are_told_once() {
    let rig = Rig::new(Config::default());
    let ids: Vec<String> = (1..=5).map(|number| format!("{number:016x}")).collect();
    let spans = [(&ids[0], 300), (&ids[1], 9_000), (&ids[2], 40), (&ids[3], 300)];

    rig.send(&spans.map(|(id, took_ms)| ("fence", &**id, "", SERVER, 0, took_ms, "{}")));
    rig.send(&[("fence", &ids[4], "", SERVER, 0, 300, "{}")]);

    let want = [
        "traces_service_graph_request_server_seconds_bucket 0.4: 0000000000000005 0.3",
        "traces_service_graph_request_server_seconds_bucket 12.8: 0000000000000002 9",
        "traces_spanmetrics_latency_bucket +Inf: 0000000000000002 9",
        "traces_spanmetrics_latency_bucket 0.512: 0000000000000005 0.3",
    ];
    assert_eq!(told(&rig.derive.collect()), want);
    assert_eq!(told(&rig.derive.collect()), [""; 0], "each is told once");
}

#[test]
fn a_call_tells_the_spans_of_both_its_sides() {
    let rig = Rig::new(Config::default());
    let (client, server) = ("00000000000000aa", "00000000000000bb");

    rig.send(&[("portal", client, "", CLIENT, 0, 200, "{}")]);
    rig.derive.collect();
    rig.send(&[("fence", server, client, SERVER, 0, 100, "{}")]);

    let of_calls = told(&rig.derive.collect());
    let of_calls: Vec<_> = of_calls.iter().filter(|one| one.contains("service_graph")).collect();
    let want = [
        "traces_service_graph_request_client_seconds_bucket 0.2: 00000000000000aa 0.2",
        "traces_service_graph_request_server_seconds_bucket 0.1: 00000000000000bb 0.1",
    ];
    assert_eq!(of_calls, want.iter().collect::<Vec<_>>());
}

#[test]
fn who_calls_from_outside_is_the_user() {
    let rig = Rig::new(Config::default());

    rig.send(&[
        ("portal", "b", "", SERVER, 0, 100, "{}"),
        ("portal", "c", "", SERVER, 2, 300, "{}"),
        ("portal", "d", "", CLIENT, 0, 10, "{}"),
        ("a/fence", "e", "", SERVER, 0, 1, "{}"),
        ("indexd", "f", "of a caller that sends nothing", SERVER, 0, 1, "{}"),
    ]);

    let edge = r#"{client="user", connection_type="virtual_node", server="portal"}"#;
    rig.check(&format!("traces_service_graph_request_total{edge}"), Some(2.0));
    rig.check(&format!("traces_service_graph_request_failed_total{edge}"), Some(1.0));
    rig.check(&format!("traces_service_graph_request_server_seconds_sum{edge}"), Some(0.4));
    rig.check(&format!("traces_service_graph_request_client_seconds_sum{edge}"), None);
    let edge = r#"{client="user", connection_type="virtual_node", server="fence", server_service_namespace="a"}"#;
    rig.check(&format!("traces_service_graph_request_total{edge}"), Some(1.0));
    let edge = r#"{client="user", connection_type="virtual_node", server="indexd"}"#;
    rig.check(&format!("traces_service_graph_request_total{edge}"), None);
}

#[test]
fn services_of_one_name_in_two_namespaces_are_two() {
    for (client, server, labels) in [
        (
            "a/portal",
            "b/fence",
            r#"client_service_namespace="a", server="fence", server_service_namespace="b""#,
        ),
        ("a/portal", "fence", r#"client_service_namespace="a", server="fence""#),
        ("portal", "b/fence", r#"server="fence", server_service_namespace="b""#),
        ("portal", "fence", r#"server="fence""#),
    ] {
        let rig = Rig::new(Config::default());

        rig.send(&[(client, "b", "a", CLIENT, 0, 1, "{}"), (server, "c", "b", SERVER, 0, 1, "{}")]);

        for metric in ["request_total", "request_failed_total", "request_server_seconds_count"] {
            let series = format!("traces_service_graph_{metric}{{client=\"portal\", {labels}}}");
            let n_failed = metric.contains("failed");
            rig.check(&series, Some(if n_failed { 0.0 } else { 1.0 }));
        }
    }
}

#[test]
fn a_database_of_a_caller_in_a_namespace_has_none() {
    let rig = Rig::new(Config::default());

    rig.send(&[("a/fence", "b", "a", CLIENT, 0, 10, r#"{"db.name":"users"}"#)]);

    let edge = r#"{client="fence", client_service_namespace="a", connection_type="database", server="users"}"#;
    rig.check(&format!("traces_service_graph_request_total{edge}"), Some(1.0));
}

#[test]
fn a_database_is_called_though_it_sends_no_spans() {
    let rig = Rig::new(Config::default());

    rig.send(&[(
        "fence",
        "b",
        "a",
        CLIENT,
        0,
        10,
        r#"{"db.system":"postgresql","db.name":"users"}"#,
    )]);

    let edge = r#"{client="fence", connection_type="database", server="users"}"#;
    rig.check(&format!("traces_service_graph_request_total{edge}"), Some(1.0));
}

#[test]
fn a_database_is_called_by_what_it_is_reached_by() {
    for (attributes, server) in [
        (r#"{"db.name":"fence"}"#, "fence"),
        (r#"{"db.system":"postgresql"}"#, "postgresql"),
        (r#"{"db.name":"fence","network.peer.address":"10.0.0.7"}"#, "10.0.0.7"),
        (
            r#"{"db.name":"fence","network.peer.port":5432,"network.peer.address":"10.0.0.7"}"#,
            "10.0.0.7:5432",
        ),
        (r#"{"db.name":"fence","server.address":"pg","network.peer.address":"10.0.0.7"}"#, "pg"),
        (r#"{"db.name":"fence","server.address":"pg","peer.service":"aurora"}"#, "aurora"),
    ] {
        let rig = Rig::new(Config::default());

        rig.send(&[("fence", "b", "a", CLIENT, 0, 10, attributes)]);

        let edge = format!(r#"{{client="fence", connection_type="database", server="{server}"}}"#);
        rig.check(&format!("traces_service_graph_request_total{edge}"), Some(1.0));
    }
}

#[test]
fn a_peer_that_stays_silent_is_called_when_it_was_named() {
    let rig = Rig::new(Config::default());
    rig.send(&[("fence", "b", "a", CLIENT, 0, 10, r#"{"peer.service":"smtp"}"#)]);
    rig.send(&[("fence", "c", "a", CLIENT, 0, 10, "{}"), ("fence", "d", "e", SERVER, 0, 10, "{}")]);

    let edge = r#"{client="fence", connection_type="virtual_node", server="smtp"}"#;
    rig.check(&format!("traces_service_graph_request_total{edge}"), None);
    rig.clock.advance(Config::default().edge_wait.0);

    rig.check(&format!("traces_service_graph_request_total{edge}"), Some(1.0));
    let n_edges =
        rig.values().keys().filter(|k| k.starts_with("traces_service_graph_request_total")).count();
    assert_eq!(n_edges, 1);
}

#[test]
fn only_so_many_halves_wait() {
    let config = Config { edges_pending_max: 10, ..Config::default() };
    let mut spans = Spans::new(commons(), &config);
    let mut builder = SpansBuilder::new();
    for number in 0..100 {
        let id = format!("{number:016x}");
        let row = SpanRow {
            trace_id: TRACE,
            span_id: &id,
            kind: CLIENT,
            attributes: "{}",
            resource: "{}",
            events: "[]",
            links: "[]",
            ..SpanRow::default()
        };
        builder.push(&Tags::unassigned(), &row);
    }
    let batch = builder.finish();

    spans.observe_batch(&commons(), &batch, 0);
    assert_eq!((spans.graph.n_waiting(), spans.take_overflows()), (10, (0, 90)));

    spans.graph.expire(&mut spans.book, u64::MAX);
    assert_eq!(spans.graph.n_waiting(), 0);
}

#[test]
fn names_that_never_end_fill_their_own_book_and_no_other() {
    let config = Config { span_series_per_commons_max: 100, ..Config::default() };
    let rig = Rig::new(config);
    let services: Vec<String> = (0..500).map(|number| format!("s{number}")).collect();
    for service in &services {
        rig.send(&[(service, "b", "a", SERVER, 0, 1, "{}")]);
    }

    let values = rig.values();

    let calls =
        values.iter().filter(|(name, _)| name.starts_with("traces_spanmetrics_calls_total"));
    let (n_series, n_calls) = calls.fold((0, 0.0), |(n, sum), (_, value)| (n + 1, sum + value));
    assert_eq!(n_calls, 500.0, "the total stays right");
    assert!(n_series < 20, "{n_series}");
}
