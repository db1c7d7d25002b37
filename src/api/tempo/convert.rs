//! Answers of the query room as Tempo's messages.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};

use super::proto::{
    Exemplar, InstantSeries, MetadataMetrics, QueryInstantResponse, QueryRangeResponse, Sample,
    SearchMetrics, SearchResponse, SearchTagValuesResponse, SearchTagValuesV2Response,
    SearchTagsResponse, SearchTagsV2Response, SearchTagsV2Scope, ServiceStats, Span, SpanSet,
    TagValue, TimeSeries, TraceSearchMetadata,
};
use crate::query::traceql::{
    Counted, CountedSeries, Found, FoundSet, FoundSpan, FoundTrace, Inspected, Names, Value, Values,
};

const MS_NS: i64 = 1_000_000;

pub(super) fn search(found: &Found) -> SearchResponse {
    SearchResponse {
        traces: found.traces.iter().map(trace).collect(),
        metrics: Some(metrics(&found.inspected)),
    }
}

fn metrics(inspected: &Inspected) -> SearchMetrics {
    SearchMetrics {
        inspected_traces: u32::try_from(inspected.n_traces).unwrap_or(u32::MAX),
        inspected_bytes: inspected.n_bytes,
        // One search is one job.
        completed_jobs: 1,
        total_jobs: 1,
        inspected_spans: inspected.n_spans,
    }
}

fn trace(found: &FoundTrace) -> TraceSearchMetadata {
    let span_sets: Vec<SpanSet> = found.sets.iter().map(span_set).collect();
    let stats = |(span_count, error_count): (u32, u32)| ServiceStats { span_count, error_count };
    TraceSearchMetadata {
        trace_id: found.trace_id.trim_start_matches('0').to_owned(),
        root_service_name: found.root_service.clone(),
        root_trace_name: found.root_name.clone(),
        start_time_unix_nano: unsigned(found.start_ns),
        duration_ms: u32::try_from(found.duration_ns / MS_NS).unwrap_or(u32::MAX),
        span_set: span_sets.first().cloned(),
        span_sets,
        service_stats: found.services.iter().map(|(name, n)| (name.clone(), stats(*n))).collect(),
    }
}

fn span_set(set: &FoundSet) -> SpanSet {
    SpanSet {
        spans: set.spans.iter().map(span).collect(),
        matched: u32::try_from(set.n_matched).unwrap_or(u32::MAX),
        attributes: pairs(&set.attributes),
    }
}

fn span(span: &FoundSpan) -> Span {
    Span {
        span_id: span.span_id.clone(),
        name: span.name.clone(),
        start_time_unix_nano: unsigned(span.start_ns),
        duration_nanos: unsigned(span.duration_ns),
        attributes: pairs(&span.attributes),
    }
}

fn unsigned(ns: i64) -> u64 {
    ns.max(0).unsigned_abs()
}

fn pairs(list: &[(String, Value<'static>)]) -> Vec<KeyValue> {
    let pair = |(key, value): &(String, Value<'static>)| KeyValue {
        key: key.clone(),
        value: Some(any(value)),
        ..KeyValue::default()
    };
    list.iter().map(pair).collect()
}

fn any(value: &Value<'_>) -> AnyValue {
    let value = match value {
        Value::Bool(value) => Any::BoolValue(*value),
        Value::Int(value) => Any::IntValue(*value),
        Value::Float(value) => Any::DoubleValue(*value),
        Value::Array(list) => {
            Any::ArrayValue(ArrayValue { values: list.iter().map(any).collect() })
        }
        other => Any::StringValue(other.plain()),
    };
    AnyValue { value: Some(value) }
}

fn metadata(inspected: &Inspected) -> Option<MetadataMetrics> {
    Some(MetadataMetrics { inspected_bytes: inspected.n_bytes })
}

/// The names of all scopes together; intrinsics only when they are what was asked for.
pub(super) fn tags(names: &Names) -> SearchTagsResponse {
    let is_alone = names.scopes.len() == 1;
    let listed = names.scopes.iter().filter(|(scope, _)| is_alone || **scope != "intrinsic");
    let mut tag_names: Vec<String> = listed.flat_map(|(_, names)| names.iter().cloned()).collect();
    tag_names.sort_unstable();
    tag_names.dedup();
    SearchTagsResponse { tag_names, metrics: metadata(&names.inspected) }
}

pub(super) fn tags_v2(names: &Names) -> SearchTagsV2Response {
    let scope = |(name, tags): (&&'static str, &std::collections::BTreeSet<String>)| {
        SearchTagsV2Scope { name: (*name).to_owned(), tags: tags.iter().cloned().collect() }
    };
    SearchTagsV2Response {
        scopes: names.scopes.iter().map(scope).collect(),
        metrics: metadata(&names.inspected),
    }
}

pub(super) fn values(values: &Values) -> SearchTagValuesResponse {
    let mut tag_values: Vec<String> =
        values.values.iter().map(|(_, value)| value.clone()).collect();
    tag_values.sort_unstable();
    tag_values.dedup();
    SearchTagValuesResponse { tag_values, metrics: metadata(&values.inspected) }
}

pub(super) fn values_v2(values: &Values) -> SearchTagValuesV2Response {
    let value = |(kind, value): &(&'static str, String)| TagValue {
        kind: (*kind).to_owned(),
        value: value.clone(),
    };
    SearchTagValuesV2Response {
        tag_values: values.values.iter().map(value).collect(),
        metrics: metadata(&values.inspected),
    }
}

pub(super) fn range(counted: &Counted) -> QueryRangeResponse {
    let (status, message) = partial(&counted.warnings);
    QueryRangeResponse {
        series: counted.series.iter().map(series).collect(),
        metrics: Some(metrics(&counted.inspected)),
        status,
        message,
    }
}

fn partial(warnings: &[String]) -> (i32, String) {
    (i32::from(!warnings.is_empty()), warnings.join("; "))
}

fn series(counted: &CountedSeries) -> TimeSeries {
    let sample = |&(timestamp_ms, value): &(i64, f64)| Sample { value, timestamp_ms };
    let exemplars = counted.exemplars.iter().map(|exemplar| Exemplar {
        labels: pairs(&exemplar.labels),
        value: exemplar.value,
        timestamp_ms: exemplar.timestamp_ms,
    });
    TimeSeries {
        labels: pairs(&counted.labels),
        samples: counted.samples.iter().map(sample).collect(),
        exemplars: exemplars.collect(),
    }
}

pub(super) fn instant(counted: &Counted) -> QueryInstantResponse {
    let (status, message) = partial(&counted.warnings);
    let series = counted.series.iter().filter_map(|series| {
        let (_, value) = *series.samples.last()?;
        Some(InstantSeries { labels: pairs(&series.labels), value })
    });
    QueryInstantResponse {
        series: series.collect(),
        metrics: Some(metrics(&counted.inspected)),
        status,
        message,
    }
}
