//! Spans as protobuf's JSON writes them, which is how Tempo answers: ids are base64 here, and enums
//! are names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::super::json::push_list;
use crate::model::json::{push_f64, push_string};

/// Writes an object, a field at a time, leaving out what is zero.
pub(super) struct Object<'o> {
    out: &'o mut String,
    is_empty: bool,
}

impl<'o> Object<'o> {
    /// Begins an object.
    pub(super) fn begin(out: &'o mut String) -> Self {
        out.push('{');
        Self { out, is_empty: true }
    }

    /// Begins a field; its value is to be written next.
    pub(super) fn field(&mut self, name: &str) -> &mut String {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(',');
        }
        push_string(self.out, name);
        self.out.push(':');
        self.out
    }

    /// Writes a text.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            push_string(self.field(name), text);
        }
    }

    /// Writes a number of at most 32 bits.
    pub(super) fn number(&mut self, name: &str, number: u32) {
        if number != 0 {
            self.field(name).push_str(itoa::Buffer::new().format(number));
        }
    }

    /// Writes a number of 64 bits, which is a string.
    pub(super) fn long(&mut self, name: &str, number: u64) {
        if number != 0 {
            push_string(self.field(name), itoa::Buffer::new().format(number));
        }
    }

    /// Writes a list.
    pub(super) fn list<T>(&mut self, name: &str, list: &[T], push: impl FnMut(&mut String, &T)) {
        if !list.is_empty() {
            push_list(self.field(name), list, push);
        }
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        if !bytes.is_empty() {
            push_string(self.field(name), &STANDARD.encode(bytes));
        }
    }

    /// Ends the object.
    pub(super) fn end(self) {
        self.out.push('}');
    }
}

/// Appends a trace's resources as a list.
pub(super) fn push_resource_spans(out: &mut String, list: &[ResourceSpans]) {
    push_list(out, list, |out, spans| {
        let mut object = Object::begin(out);
        if let Some(resource) = &spans.resource {
            let mut resource_object = Object::begin(object.field("resource"));
            resource_object.list("attributes", &resource.attributes, push_attribute);
            resource_object.number("droppedAttributesCount", resource.dropped_attributes_count);
            resource_object.end();
        }
        object.list("scopeSpans", &spans.scope_spans, push_scope_spans);
        object.text("schemaUrl", &spans.schema_url);
        object.end();
    });
}

fn push_scope_spans(out: &mut String, spans: &ScopeSpans) {
    let mut object = Object::begin(out);
    if let Some(scope) = &spans.scope {
        let mut scope_object = Object::begin(object.field("scope"));
        scope_object.text("name", &scope.name);
        scope_object.text("version", &scope.version);
        scope_object.list("attributes", &scope.attributes, push_attribute);
        scope_object.number("droppedAttributesCount", scope.dropped_attributes_count);
        scope_object.end();
    }
    object.list("spans", &spans.spans, push_span);
    object.text("schemaUrl", &spans.schema_url);
    object.end();
}

fn push_span(out: &mut String, span: &Span) {
    let mut object = Object::begin(out);
    object.bytes("traceId", &span.trace_id);
    object.bytes("spanId", &span.span_id);
    object.text("traceState", &span.trace_state);
    object.bytes("parentSpanId", &span.parent_span_id);
    object.number("flags", span.flags);
    object.text("name", &span.name);
    object.text("kind", kind_name(span.kind));
    object.long("startTimeUnixNano", span.start_time_unix_nano);
    object.long("endTimeUnixNano", span.end_time_unix_nano);
    object.list("attributes", &span.attributes, push_attribute);
    object.number("droppedAttributesCount", span.dropped_attributes_count);
    object.list("events", &span.events, push_event);
    object.number("droppedEventsCount", span.dropped_events_count);
    object.list("links", &span.links, push_link);
    object.number("droppedLinksCount", span.dropped_links_count);
    if let Some(status) = &span.status {
        let mut status_object = Object::begin(object.field("status"));
        status_object.text("message", &status.message);
        status_object.text("code", status_name(status.code));
        status_object.end();
    }
    object.end();
}

fn push_event(out: &mut String, event: &Event) {
    let mut object = Object::begin(out);
    object.long("timeUnixNano", event.time_unix_nano);
    object.text("name", &event.name);
    object.list("attributes", &event.attributes, push_attribute);
    object.number("droppedAttributesCount", event.dropped_attributes_count);
    object.end();
}

fn push_link(out: &mut String, link: &Link) {
    let mut object = Object::begin(out);
    object.bytes("traceId", &link.trace_id);
    object.bytes("spanId", &link.span_id);
    object.text("traceState", &link.trace_state);
    object.list("attributes", &link.attributes, push_attribute);
    object.number("droppedAttributesCount", link.dropped_attributes_count);
    object.number("flags", link.flags);
    object.end();
}

/// Appends a `KeyValue`.
pub(super) fn push_attribute(out: &mut String, pair: &KeyValue) {
    let mut object = Object::begin(out);
    object.text("key", &pair.key);
    if let Some(value) = &pair.value {
        push_any(object.field("value"), value);
    }
    object.end();
}

fn push_any(out: &mut String, value: &AnyValue) {
    let mut object = Object::begin(out);
    match &value.value {
        None | Some(Value::StringValueStrindex(_)) => {}
        Some(Value::StringValue(text)) => push_string(object.field("stringValue"), text),
        Some(Value::BoolValue(value)) => {
            object.field("boolValue").push_str(if *value { "true" } else { "false" });
        }
        Some(Value::IntValue(number)) => {
            push_string(object.field("intValue"), itoa::Buffer::new().format(*number));
        }
        Some(Value::DoubleValue(number)) => push_f64(object.field("doubleValue"), *number),
        Some(Value::BytesValue(bytes)) => {
            push_string(object.field("bytesValue"), &STANDARD.encode(bytes));
        }
        Some(Value::ArrayValue(array)) => {
            let mut inner = Object::begin(object.field("arrayValue"));
            inner.list("values", &array.values, push_any);
            inner.end();
        }
        Some(Value::KvlistValue(list)) => {
            let mut inner = Object::begin(object.field("kvlistValue"));
            inner.list("values", &list.values, push_attribute);
            inner.end();
        }
    }
    object.end();
}

fn kind_name(kind: i32) -> &'static str {
    match kind {
        1 => "SPAN_KIND_INTERNAL",
        2 => "SPAN_KIND_SERVER",
        3 => "SPAN_KIND_CLIENT",
        4 => "SPAN_KIND_PRODUCER",
        5 => "SPAN_KIND_CONSUMER",
        _ => "",
    }
}

fn status_name(code: i32) -> &'static str {
    match code {
        1 => "STATUS_CODE_OK",
        2 => "STATUS_CODE_ERROR",
        _ => "",
    }
}
