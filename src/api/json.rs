//! Answers as Prometheus' JSON, written straight into one buffer: a matrix of a million points
//! passes through no tree of values.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;

use super::error::answer;
use super::number::{push_sample_value, push_seconds};
use crate::model::json::push_string;
use crate::model::{Histogram, Labels, SeriesData};
use crate::query::promql::{Sample, Value};

/// Returns `{"status":"success","data":…}` with what `write` appends as data.
pub(super) fn success(
    warnings: &[String],
    infos: &[String],
    n_bytes_likely: usize,
    write: impl FnOnce(&mut String),
) -> Response {
    let mut out = String::with_capacity(n_bytes_likely + 64);
    out.push_str("{\"status\":\"success\",\"data\":");
    write(&mut out);
    for (name, list) in [("warnings", warnings), ("infos", infos)] {
        if !list.is_empty() {
            out.push_str(&format!(",\"{name}\":"));
            push_strings(&mut out, list);
        }
    }
    out.push('}');
    answer(StatusCode::OK, "application/json", Body::from(out))
}

/// Returns a success whose data is a serde value.
pub(super) fn success_value(data: &serde_json::Value) -> Response {
    success(&[], &[], 256, |out| out.push_str(&data.to_string()))
}

/// Returns a serde value as it is, for dialects without an envelope.
pub(super) fn answer_value(value: &serde_json::Value) -> Response {
    answer(StatusCode::OK, "application/json", Body::from(value.to_string()))
}

/// Returns our build as clients of a server of that version read it; our own version stands in
/// `revision`.
pub(super) fn build_info(compatible_version: &str) -> serde_json::Value {
    serde_json::json!({
        "version": compatible_version,
        "revision": concat!("commonwatch-", env!("CARGO_PKG_VERSION")),
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    })
}

/// Appends `[…]` of strings.
pub(super) fn push_strings(out: &mut String, list: &[String]) {
    push_list(out, list, |out, text| push_string(out, text));
}

/// Appends `[…]` of whatever `push` appends for each element.
pub(super) fn push_list<T>(out: &mut String, list: &[T], mut push: impl FnMut(&mut String, &T)) {
    out.push('[');
    for (idx, element) in list.iter().enumerate() {
        if idx > 0 {
            out.push(',');
        }
        push(out, element);
    }
    out.push(']');
}

/// Appends a label set as an object.
pub(super) fn push_labels(out: &mut String, labels: &Labels) {
    out.push('{');
    for (idx, (name, value)) in labels.iter().enumerate() {
        if idx > 0 {
            out.push(',');
        }
        push_string(out, name);
        out.push(':');
        push_string(out, value);
    }
    out.push('}');
}

/// Appends `"resultType":…,"result":…`, the inside of `data`.
pub fn push_answer(out: &mut String, value: &Value) {
    let result_type = match value {
        Value::Scalar { .. } => "scalar",
        Value::String { .. } => "string",
        Value::Vector(_) => "vector",
        Value::Matrix(_) => "matrix",
    };
    out.push_str("\"resultType\":\"");
    out.push_str(result_type);
    out.push_str("\",\"result\":");
    match value {
        Value::Scalar { timestamp_ms, value } => push_point(out, *timestamp_ms, *value),
        Value::String { timestamp_ms, value } => {
            out.push('[');
            push_seconds(out, *timestamp_ms);
            out.push(',');
            push_string(out, value);
            out.push(']');
        }
        Value::Vector(samples) => push_list(out, samples, push_sample),
        Value::Matrix(series) => push_list(out, series, push_series),
    }
}

fn push_sample(out: &mut String, sample: &Sample) {
    out.push_str("{\"metric\":");
    push_labels(out, &sample.labels);
    if let Some(histogram) = &sample.histogram {
        out.push_str(",\"histogram\":");
        push_histogram_point(out, sample.timestamp_ms, histogram);
    } else {
        out.push_str(",\"value\":");
        push_point(out, sample.timestamp_ms, sample.value);
    }
    out.push('}');
}

fn push_series(out: &mut String, series: &SeriesData) {
    out.push_str("{\"metric\":");
    push_labels(out, &series.labels);
    if !series.values.is_empty() || series.histograms.is_empty() {
        out.push_str(",\"values\":[");
        for (idx, (&timestamp_ms, &value)) in
            series.timestamps_ms.iter().zip(&series.values).enumerate()
        {
            if idx > 0 {
                out.push(',');
            }
            push_point(out, timestamp_ms, value);
        }
        out.push(']');
    }
    if !series.histograms.is_empty() {
        out.push_str(",\"histograms\":");
        push_list(out, &series.histograms, |out, (timestamp_ms, histogram)| {
            push_histogram_point(out, *timestamp_ms, histogram);
        });
    }
    out.push('}');
}

/// Appends `[time, {"count":…,"sum":…,"buckets":[[rule,lower,upper,count],…]}]`; empty buckets are
/// left out, and the list with them when all are. The rule tells which bounds are in the bucket.
fn push_histogram_point(out: &mut String, timestamp_ms: i64, histogram: &Histogram) {
    let quoted = |out: &mut String, value: f64| {
        out.push('"');
        push_sample_value(out, value);
        out.push('"');
    };
    out.push('[');
    push_seconds(out, timestamp_ms);
    out.push_str(",{\"count\":");
    quoted(out, histogram.count);
    out.push_str(",\"sum\":");
    quoted(out, histogram.sum);
    let mut separator = ",\"buckets\":[";
    for bucket in histogram.buckets().iter().filter(|bucket| bucket.count != 0.0) {
        let rule = match (bucket.lower_inclusive, bucket.upper_inclusive) {
            (false, true) => "0",
            (true, false) => "1",
            (false, false) => "2",
            (true, true) => "3",
        };
        out.push_str(separator);
        out.push('[');
        out.push_str(rule);
        for value in [bucket.lower, bucket.upper, bucket.count] {
            out.push(',');
            quoted(out, value);
        }
        out.push(']');
        separator = ",";
    }
    out.push_str(if separator == "," { "]}]" } else { "}]" });
}

fn push_point(out: &mut String, timestamp_ms: i64, value: f64) {
    out.push('[');
    push_seconds(out, timestamp_ms);
    out.push_str(",\"");
    push_sample_value(out, value);
    out.push_str("\"]");
}
