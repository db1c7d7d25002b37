//! Traces that no sane sender makes: taken or refused by a limit that is named, and nothing else is
//! harmed.

use prost::Message as _;

use crate::bad_input::unbalanced;
use crate::support::wait::now_ns;
use crate::support::{Caller, Setup, otlp};

const N_SPANS: u64 = 100_000;

/// One trace, each span below the one before it.
fn send_deep_trace(caller: &Caller, base_ns: i64) {
    for from in (0..N_SPANS).step_by(10_000) {
        let spans = (from..from + 10_000).map(|number| {
            let mut span = otlp::span(number, base_ns + i64::try_from(number).unwrap(), "deep");
            span.trace_id = vec![0x22; 16];
            span.span_id = (number + 1).to_be_bytes().to_vec();
            span.parent_span_id =
                if number == 0 { Vec::new() } else { number.to_be_bytes().to_vec() };
            span
        });
        let request = otlp::spans(otlp::resource(&[("service.name", "deep")]), spans.collect());
        assert_eq!(caller.send(otlp::post("/v1/traces", &request)).status, 200);
    }
}

#[test]
fn a_trace_of_a_hundred_thousand_spans_is_found_and_searched() {
    let server = Setup::new("trace-deep").start();
    let caller = server.caller();
    let base_ns = now_ns() - 60_000_000_000;
    send_deep_trace(&caller, base_ns);
    let other = otlp::spans(
        otlp::resource(&[("service.name", "other")]),
        vec![otlp::span(7, base_ns, "other")],
    );
    assert_eq!(caller.send(otlp::post("/v1/traces", &other)).status, 200);

    let target = format!("/tempo/api/v2/traces/{}", "2".repeat(32));
    let request = crate::support::Request::get(target).header("Accept", "application/protobuf");
    let answer = caller.send(request);
    assert_eq!(answer.status, 200);
    let whole = TraceById::decode(answer.body.as_slice()).unwrap();
    let spans = whole.trace.unwrap().resource_spans;
    let n_spans: usize =
        spans.iter().flat_map(|r| &r.scope_spans).map(|scope| scope.spans.len()).sum();
    assert_eq!((n_spans, whole.status), (usize::try_from(N_SPANS).unwrap(), 0));

    // Each of these would take for ever, or the stack, if it went up anew from every span.
    for (query, matched) in [
        ("%7B%20nestedSetParent%20%3C%200%20%7D%20%3E%3E%20%7B%20%7D", N_SPANS - 1),
        ("%7B%20%7D%20%3C%3C%20%7B%20%7D", N_SPANS - 1),
        ("%7B%20%7D%20!~%20%7B%20name%20%3D%20%22deep%22%20%7D", N_SPANS),
    ] {
        let answer = caller.get(&format!("/tempo/api/search?q={query}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let found = answer.json();
        let deep = found["traces"]
            .as_array()
            .unwrap()
            .iter()
            .find(|trace| trace["rootServiceName"] == "deep");
        assert_eq!(deep.unwrap()["spanSets"][0]["matched"], matched, "{query}");
    }
    let found = caller.get("/tempo/api/search?q=%7B%20name%20%3D%20%22other%22%20%7D").json();
    assert_eq!(found["traces"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!(unbalanced(&caller), None);
}

#[derive(Clone, PartialEq, prost::Message)]
struct TraceById {
    #[prost(message, optional, tag = "1")]
    trace: Option<opentelemetry_proto::tonic::trace::v1::TracesData>,
    #[prost(int32, tag = "3")]
    status: i32,
}

#[test]
fn spans_with_too_much_or_without_ids_are_refused_alone() {
    let server = Setup::new("trace-hostile").start();
    let caller = server.caller();
    let good = otlp::span(1, now_ns(), "good");
    let mut heavy = otlp::span(2, now_ns(), "heavy");
    heavy.attributes = (0..200).map(|n| otlp::attribute(&format!("k{n}"), "v")).collect();
    let mut nameless = otlp::span(3, now_ns(), "nameless");
    nameless.trace_id = vec![0; 16];
    let mut short = otlp::span(4, now_ns(), "short");
    short.span_id = vec![1; 7];
    let request = otlp::spans(
        otlp::resource(&[("service.name", "fence")]),
        vec![good, heavy, nameless, short],
    );

    let answer = caller.send(otlp::post("/v1/traces", &request));

    assert_eq!(answer.status, 200);
    let said = answer.text();
    assert!(said.contains("limits.attributes_per_record") || said.contains("trace id"), "{said}");
    let found = caller.get("/tempo/api/search?q=%7B%7D").json();
    let names: Vec<&str> = found["traces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|trace| trace["rootTraceName"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["good"], "{found}");
    assert_eq!(unbalanced(&caller), None);
}

#[test]
fn calls_between_services_become_metrics() {
    let server = Setup::new("trace-metrics").start();
    let caller = server.caller();
    let mut call = otlp::span(1, now_ns(), "GET /user");
    call.kind = 3;
    let mut serve = otlp::span(2, now_ns(), "GET /user");
    serve.trace_id.clone_from(&call.trace_id);
    serve.parent_span_id.clone_from(&call.span_id);
    for (service, span) in [("portal", call), ("fence", serve)] {
        let request = otlp::spans(otlp::resource(&[("service.name", service)]), vec![span]);
        assert_eq!(caller.send(otlp::post("/v1/traces", &request)).status, 200);
    }

    for query in [
        "traces_service_graph_request_total%7Bclient%3D%22portal%22%2Cserver%3D%22fence%22%7D",
        "traces_spanmetrics_calls_total%7Bservice%3D%22fence%22%2Cspan_kind%3D%22SPAN_KIND_SERVER%22%7D",
    ] {
        let wanted = serde_json::json!("1");
        crate::support::wait::until("the derived series", crate::support::wait::PATIENCE, || {
            let found = caller.get(&format!("/api/v1/query?query={query}")).json();
            match found["data"]["result"][0]["value"][1] == wanted {
                true => Ok(()),
                false => Err(found.to_string()),
            }
        });
    }
}
