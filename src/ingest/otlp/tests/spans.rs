use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;

use super::*;
use crate::ingest::otlp::spans::decode_spans;
use crate::ingest::outcome::Reason;

pub(super) fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { scope: scope("tracer"), spans, ..ScopeSpans::default() }];
    let resource = resource(&[("service.name", "gen3_inference")]);
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }
}

pub(super) fn span() -> Span {
    Span {
        trace_id: TRACE_ID.to_vec(),
        span_id: SPAN_ID.to_vec(),
        name: "GET /x".to_owned(),
        start_time_unix_nano: NOW_NS - 20,
        end_time_unix_nano: NOW_NS - 5,
        ..Span::default()
    }
}

fn full_span() -> Span {
    Span {
        trace_state: "a=1".to_owned(),
        parent_span_id: vec![1; 8],
        flags: 0x101,
        kind: 2,
        attributes: vec![pair("http.status_code", any(Value::IntValue(500)))],
        events: vec![
            Event {
                time_unix_nano: 7,
                name: "exception".to_owned(),
                attributes: vec![pair("exception.type", text("E"))],
                dropped_attributes_count: 1,
            },
            Event::default(),
        ],
        links: vec![Link {
            trace_id: TRACE_ID.to_vec(),
            span_id: SPAN_ID.to_vec(),
            trace_state: "b=2".to_owned(),
            attributes: vec![pair("k", any(Value::BoolValue(false)))],
            ..Link::default()
        }],
        status: Some(Status { message: "boom".to_owned(), code: 2 }),
        ..span()
    }
}

#[track_caller]
fn check(span: Span, names: &[&str], want: &[&str]) {
    let decoded = decode(&Rig::new(), decode_spans, &request(vec![span]).encode_to_vec()).unwrap();
    assert_eq!(decoded.rejected.message(1, "spans"), None);
    assert_eq!(columns(&decoded, names), [want]);
}

#[track_caller]
fn check_refused(bad: Span, reason: Reason) {
    let body = request(vec![span(), bad]).encode_to_vec();
    let decoded = decode(&Rig::new(), decode_spans, &body).unwrap();
    assert_eq!((decoded.n_received, decoded.rejected.counts()), (2, &[(reason, 1)][..]));
    assert_eq!(columns(&decoded, &["name"]).len(), 1);
}

#[test]
fn every_field_finds_its_column() {
    check(
        full_span(),
        &[
            "start_time",
            "end_time",
            "duration_ns",
            "trace_id",
            "span_id",
            "parent_span_id",
            "name",
            "kind",
            "status_code",
            "status_message",
            "attributes",
            "resource",
            "scope_name",
            "trace_state",
            "flags",
        ],
        &[
            "1799999999999999980",
            "1799999999999999995",
            "15",
            TRACE_HEX,
            SPAN_HEX,
            "0101010101010101",
            "GET /x",
            "server",
            "error",
            "boom",
            r#"{"http.status_code":500}"#,
            r#"{"service.name":"gen3_inference"}"#,
            "tracer",
            "a=1",
            "257",
        ],
    );
}

#[test]
fn events_and_links_are_json_arrays() {
    let link = format!(
        r#"[{{"trace_id":"{TRACE_HEX}","span_id":"{SPAN_HEX}","trace_state":"b=2","attributes":{{"k":false}}}}]"#
    );
    let events = concat!(
        r#"[{"time_unix_nano":"7","name":"exception","attributes":{"exception.type":"E"},"#,
        r#""dropped_attributes_count":1},"#,
        r#"{"time_unix_nano":"0","name":"","attributes":{}}]"#
    );
    check(full_span(), &["events", "links"], &[events, &link]);
    check(span(), &["events", "links", "attributes"], &["[]", "[]", "{}"]);
}

#[test]
fn a_span_that_belongs_nowhere_is_refused() {
    check_refused(Span { trace_id: vec![0; 16], ..span() }, Reason::Invalid);
    check_refused(Span { trace_id: vec![], ..span() }, Reason::Invalid);
    check_refused(Span { span_id: vec![0; 8], ..span() }, Reason::Invalid);
    check_refused(Span { span_id: vec![1; 16], ..span() }, Reason::Invalid);
}

#[test]
fn an_invalid_parent_is_no_parent() {
    check(Span { parent_span_id: vec![0; 8], ..span() }, &["parent_span_id"], &["-"]);
}

#[test]
fn times_no_clock_shows_are_refused() {
    check_refused(Span { start_time_unix_nano: u64::MAX, ..span() }, Reason::Future);
    check_refused(Span { end_time_unix_nano: u64::MAX, ..span() }, Reason::Future);
    check_refused(Span { start_time_unix_nano: 1, ..span() }, Reason::TooOld);
}

#[test]
fn a_time_that_is_not_set_is_the_other_one() {
    let unset = Span { start_time_unix_nano: 0, ..span() };
    check(unset, &["start_time", "duration_ns"], &["1799999999999999995", "0"]);
    let unset = Span { end_time_unix_nano: 0, ..span() };
    check(unset, &["end_time", "duration_ns"], &["1799999999999999980", "0"]);
}

#[test]
fn an_end_before_the_start_is_kept_as_it_is() {
    let backwards = Span { end_time_unix_nano: NOW_NS - 30, ..span() };
    check(backwards, &["duration_ns"], &["-10"]);
}

#[test]
fn too_many_events_are_refused() {
    check_refused(Span { events: vec![Event::default(); 129], ..span() }, Reason::AttributeLimit);
    check_refused(Span { links: vec![Link::default(); 129], ..span() }, Reason::AttributeLimit);
}

#[test]
fn damage_is_never_a_panic() {
    check_damage(decode_spans, &request(vec![full_span()]).encode_to_vec());
}
