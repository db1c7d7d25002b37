//! A trace by its id: whole, in either version and encoding, from memory and from files.

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, TracesData};
use prost::Message as _;

use super::random::{Dice, flat};
use crate::support::wait::now_ns;
use crate::support::{Caller, Request, Setup, otlp};

/// Tempo's `TraceByIDResponse`, as its users have it.
#[derive(Clone, PartialEq, prost::Message)]
struct TraceById {
    #[prost(message, optional, tag = "1")]
    trace: Option<TracesData>,
    #[prost(int32, tag = "3")]
    status: i32,
    #[prost(string, tag = "4")]
    message: String,
}

const PROTOBUF: &str = "application/protobuf";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn post(caller: &Caller, dice: &mut Dice) -> Vec<ResourceSpans> {
    let request = dice.request();
    let answer = caller.send(otlp::post("/v1/traces", &request));
    assert_eq!((answer.status, answer.body.len()), (200, 0), "{}", answer.text());
    request.resource_spans
}

#[track_caller]
fn get_protobuf(caller: &Caller, target: &str) -> Vec<u8> {
    let answer = caller.send(Request::get(target).header("Accept", PROTOBUF));
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some(PROTOBUF));
    answer.body
}

#[track_caller]
fn check_whole(caller: &Caller, id: &str, sent: &[ResourceSpans], seed: u64) {
    let v2 = get_protobuf(caller, &format!("/tempo/api/v2/traces/{id}"));
    let v2 = TraceById::decode(v2.as_slice()).unwrap();
    assert_eq!((v2.status, v2.message.as_str()), (0, ""));
    assert!(flat(&v2.trace.unwrap().resource_spans) == flat(sent), "v2 of seed {seed}");

    let v1 = get_protobuf(caller, &format!("/tempo/api/traces/{id}"));
    let v1 = TracesData::decode(v1.as_slice()).unwrap();
    assert!(flat(&v1.resource_spans) == flat(sent), "v1 of seed {seed}");
}

#[test]
fn what_comes_in_goes_out_the_same() {
    let setup = Setup::new("trace-round-trip");
    let server = setup.start();
    let caller = server.caller();
    let mut sent = Vec::new();
    for seed in 0..40 {
        let mut dice = Dice::new(seed, now_ns());
        let mut spans = post(&caller, &mut dice);
        spans.extend(post(&caller, &mut dice));
        sent.push((hex(&dice.trace_id), spans));
    }

    for (seed, (id, spans)) in (0..).zip(&sent) {
        check_whole(&caller, id, spans, seed);
    }
    server.stop();

    let server = setup.start();
    for (seed, (id, spans)) in (0..).zip(&sent) {
        check_whole(&server.caller(), id, spans, seed);
    }
}

#[test]
fn a_trace_is_found_however_its_id_is_written() {
    let server = Setup::new("trace-ids").start();
    let caller = server.caller();
    let mut span = otlp::span(0x00ab_cdef, now_ns(), "GET /");
    span.trace_id = 0x00ab_cdef_0123_4567_u128.to_be_bytes().to_vec();
    let request = otlp::spans(otlp::resource(&[("service.name", "fence")]), vec![span]);
    // Sent twice, as after an answer that was lost.
    for _ in 0..2 {
        assert_eq!(caller.send(otlp::post("/v1/traces", &request)).status, 200);
    }

    for id in ["abcdef01234567", "00abcdef01234567", "000000000000000000ABCDEF01234567"] {
        let found = caller.get(&format!("/tempo/api/traces/{id}")).json();
        let spans = found["batches"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
        assert_eq!(spans.len(), 1, "{id}: {found}");
        assert_eq!(spans[0]["traceId"], "AAAAAAAAAAAAq83vASNFZw==", "{id}");
        assert_eq!(spans[0]["kind"], "SPAN_KIND_SERVER");
    }
    let found = caller.get("/tempo/api/v2/traces/abcdef01234567").json();
    let resource = &found["trace"]["resourceSpans"][0]["resource"]["attributes"][0];
    assert_eq!(resource["value"]["stringValue"], "fence", "{found}");
    assert!(found.get("status").is_none(), "complete is not said: {found}");
}

#[test]
fn what_is_no_trace_is_refused_or_not_found() {
    let server = Setup::new("trace-none").start();
    let caller = server.caller();

    for version in ["api/traces", "api/v2/traces"] {
        assert_eq!(caller.get(&format!("/tempo/{version}/abc123")).status, 404);
        for id in ["xyz", "0123456789abcdef0123456789abcdef0", "a%20b", "%2e%2e"] {
            let answer = caller.get(&format!("/tempo/{version}/{id}"));
            assert_eq!(answer.status, 400, "{id}: {}", answer.text());
        }
        let backwards = caller.get(&format!("/tempo/{version}/abc123?start=20&end=10"));
        assert_eq!(backwards.status, 400);
        let said = "http parameter start must be before end. received start=20 end=10\n";
        assert_eq!(backwards.text(), said);
    }
}

#[test]
fn a_trace_past_the_limit_is_answered_in_part_and_says_so() {
    let config = "[query]\ntrace_spans_max = 1000\n";
    let server = Setup::new("trace-large").config(config).start();
    let caller = server.caller();
    let (id, resource) = ("1".repeat(32), || otlp::resource(&[("service.name", "fence")]));
    for request in 0..3_u64 {
        let spans = (0..500).map(|number| {
            let mut span = otlp::span(request * 500 + number, now_ns(), "GET /");
            span.trace_id = vec![0x11; 16];
            span
        });
        let request = otlp::spans(resource(), spans.collect());
        assert_eq!(caller.send(otlp::post("/v1/traces", &request)).status, 200);
    }

    let target = format!("/tempo/api/v2/traces/{id}");
    let found = TraceById::decode(get_protobuf(&caller, &target).as_slice()).unwrap();

    assert_eq!((found.status, flat(&found.trace.unwrap().resource_spans).len()), (1, 1000));
    assert!(found.message.contains("query.trace_spans_max"), "{}", found.message);
    let json = caller.get(&target);
    assert_eq!(json.json()["status"], "PARTIAL");
    assert!(json.header("x-commonwatch-partial").unwrap().contains("query.trace_spans_max"));
    let metrics = caller.get("/metrics").text();
    assert!(
        metrics.contains("commonwatch_query_limited_total{limit=\"query.trace_spans_max\"} 2"),
        "{metrics}"
    );
}
