//! Tempo's messages as protobuf's JSON.

use super::super::json::push_list;
use super::otlp_json::{Object, push_attribute};
use super::proto::{
    Exemplar, InstantSeries, MetadataMetrics, QueryInstantResponse, QueryRangeResponse, Sample,
    SearchMetrics, SearchResponse, SearchTagValuesResponse, SearchTagValuesV2Response,
    SearchTagsResponse, SearchTagsV2Response, Span, SpanSet, TimeSeries, TraceSearchMetadata,
};
use crate::model::json::{push_f64, push_string};

/// What is written as JSON.
pub(super) trait ToJson {
    /// Writes the fields.
    fn fields(&self, object: &mut Object<'_>);

    /// Appends the message.
    fn push(&self, out: &mut String) {
        let mut object = Object::begin(out);
        self.fields(&mut object);
        object.end();
    }
}

fn push<T: ToJson>(out: &mut String, message: &T) {
    message.push(out);
}

fn some<T: ToJson>(object: &mut Object<'_>, name: &str, message: Option<&T>) {
    if let Some(message) = message {
        message.push(object.field(name));
    }
}

fn texts(object: &mut Object<'_>, name: &str, list: &[String]) {
    // A list that is empty is shown all the same: Grafana goes over it.
    push_list(object.field(name), list, |out, text| push_string(out, text));
}

impl ToJson for SearchResponse {
    fn fields(&self, object: &mut Object<'_>) {
        push_list(object.field("traces"), &self.traces, push);
        some(object, "metrics", self.metrics.as_ref());
    }
}

impl ToJson for TraceSearchMetadata {
    fn fields(&self, object: &mut Object<'_>) {
        object.text("traceID", &self.trace_id);
        object.text("rootServiceName", &self.root_service_name);
        object.text("rootTraceName", &self.root_trace_name);
        object.long("startTimeUnixNano", self.start_time_unix_nano);
        object.number("durationMs", self.duration_ms);
        some(object, "spanSet", self.span_set.as_ref());
        object.list("spanSets", &self.span_sets, push);
        if !self.service_stats.is_empty() {
            let mut stats = Object::begin(object.field("serviceStats"));
            for (service, counts) in &self.service_stats {
                let mut one = Object::begin(stats.field(service));
                one.number("spanCount", counts.span_count);
                one.number("errorCount", counts.error_count);
                one.end();
            }
            stats.end();
        }
    }
}

impl ToJson for SpanSet {
    fn fields(&self, object: &mut Object<'_>) {
        object.list("spans", &self.spans, push);
        object.number("matched", self.matched);
        object.list("attributes", &self.attributes, push_attribute);
    }
}

impl ToJson for Span {
    fn fields(&self, object: &mut Object<'_>) {
        object.text("spanID", &self.span_id);
        object.text("name", &self.name);
        object.long("startTimeUnixNano", self.start_time_unix_nano);
        object.long("durationNanos", self.duration_nanos);
        object.list("attributes", &self.attributes, push_attribute);
    }
}

impl ToJson for SearchMetrics {
    fn fields(&self, object: &mut Object<'_>) {
        object.number("inspectedTraces", self.inspected_traces);
        object.long("inspectedBytes", self.inspected_bytes);
        object.number("completedJobs", self.completed_jobs);
        object.number("totalJobs", self.total_jobs);
        object.long("inspectedSpans", self.inspected_spans);
    }
}

impl ToJson for MetadataMetrics {
    fn fields(&self, object: &mut Object<'_>) {
        object.long("inspectedBytes", self.inspected_bytes);
    }
}

impl ToJson for SearchTagsResponse {
    fn fields(&self, object: &mut Object<'_>) {
        texts(object, "tagNames", &self.tag_names);
        some(object, "metrics", self.metrics.as_ref());
    }
}

impl ToJson for SearchTagsV2Response {
    fn fields(&self, object: &mut Object<'_>) {
        push_list(object.field("scopes"), &self.scopes, |out, scope| {
            let mut object = Object::begin(out);
            object.text("name", &scope.name);
            texts(&mut object, "tags", &scope.tags);
            object.end();
        });
        some(object, "metrics", self.metrics.as_ref());
    }
}

impl ToJson for SearchTagValuesResponse {
    fn fields(&self, object: &mut Object<'_>) {
        texts(object, "tagValues", &self.tag_values);
        some(object, "metrics", self.metrics.as_ref());
    }
}

impl ToJson for SearchTagValuesV2Response {
    fn fields(&self, object: &mut Object<'_>) {
        push_list(object.field("tagValues"), &self.tag_values, |out, value| {
            let mut object = Object::begin(out);
            object.text("type", &value.kind);
            object.text("value", &value.value);
            object.end();
        });
        some(object, "metrics", self.metrics.as_ref());
    }
}

impl ToJson for QueryRangeResponse {
    fn fields(&self, object: &mut Object<'_>) {
        push_list(object.field("series"), &self.series, push);
        some(object, "metrics", self.metrics.as_ref());
        partial(object, self.status, &self.message);
    }
}

fn partial(object: &mut Object<'_>, status: i32, message: &str) {
    if status != 0 {
        object.text("status", "PARTIAL");
        object.text("message", message);
    }
}

impl ToJson for TimeSeries {
    fn fields(&self, object: &mut Object<'_>) {
        push_list(object.field("labels"), &self.labels, push_attribute);
        push_list(object.field("samples"), &self.samples, push);
        object.list("exemplars", &self.exemplars, push);
    }
}

impl ToJson for Sample {
    fn fields(&self, object: &mut Object<'_>) {
        signed(object, "timestampMs", self.timestamp_ms);
        push_f64(object.field("value"), self.value);
    }
}

fn signed(object: &mut Object<'_>, name: &str, number: i64) {
    push_string(object.field(name), itoa::Buffer::new().format(number));
}

impl ToJson for Exemplar {
    fn fields(&self, object: &mut Object<'_>) {
        object.list("labels", &self.labels, push_attribute);
        push_f64(object.field("value"), self.value);
        signed(object, "timestampMs", self.timestamp_ms);
    }
}

impl ToJson for QueryInstantResponse {
    fn fields(&self, object: &mut Object<'_>) {
        push_list(object.field("series"), &self.series, push);
        some(object, "metrics", self.metrics.as_ref());
        partial(object, self.status, &self.message);
    }
}

impl ToJson for InstantSeries {
    fn fields(&self, object: &mut Object<'_>) {
        push_list(object.field("labels"), &self.labels, push_attribute);
        push_f64(object.field("value"), self.value);
    }
}
