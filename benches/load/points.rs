//! OTLP metric points: 1,000 a request, 60 of 100 sums, 35 gauges, 5 histograms.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
    Sum,
};
use prost::Message;

use super::mix::pick;
use super::patch::{Content, Template, sentinel};
use super::records::{self, PER_REQUEST, attribute, resource};
use super::{Load, OTLP_HEADERS, Port};

const N_TEMPLATES: u64 = 30;
const CUMULATIVE: i32 = 2;

/// Returns a load of `n_requests`; every series gets a point in each round.
pub(crate) fn load(n_requests: u64) -> Load {
    let templates = (0..N_TEMPLATES).map(template);
    Load {
        path: "/v1/metrics",
        headers: OTLP_HEADERS,
        port: Port::OtlpHttp,
        batches: records::batches(templates, 0),
        n_rounds: n_requests / N_TEMPLATES,
        round_ms: 15_000,
        n_warm_up_rounds: 1,
    }
}

fn template(number: u64) -> Template {
    let metrics = (0..PER_REQUEST).map(metric).collect();
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let resource = Some(resource(number));
    let metrics = ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() };
    let body = ExportMetricsServiceRequest { resource_metrics: vec![metrics] }.encode_to_vec();
    let contents = [Content::Time, Content::Integer, Content::Double];
    Template::new(body, PER_REQUEST, &contents)
}

fn metric(idx: u64) -> Metric {
    let (kind, name) = match idx % 20 {
        0 => (histogram(idx), "http.server.request.duration"),
        1..=7 => (gauge(idx), "process.memory.usage"),
        _ => (sum(idx), "http.server.requests"),
    };
    Metric { name: name.to_owned(), unit: "1".to_owned(), data: Some(kind), ..Metric::default() }
}

fn attributes(idx: u64) -> Vec<KeyValue> {
    vec![
        attribute("http.route", &format!("/route/{:04}", idx / 4)),
        attribute("http.request.method", pick(&["GET", "POST", "PUT", "HEAD"], idx)),
    ]
}

fn number(idx: u64, value: Value) -> Vec<NumberDataPoint> {
    vec![NumberDataPoint {
        attributes: attributes(idx),
        time_unix_nano: sentinel(idx, Content::Time),
        value: Some(value),
        ..NumberDataPoint::default()
    }]
}

fn gauge(idx: u64) -> Data {
    let value = Value::AsDouble(f64::from_bits(sentinel(idx, Content::Double)));
    Data::Gauge(Gauge { data_points: number(idx, value) })
}

fn sum(idx: u64) -> Data {
    let value = Value::AsInt(sentinel(idx, Content::Integer).cast_signed());
    let data_points = number(idx, value);
    Data::Sum(Sum { data_points, aggregation_temporality: CUMULATIVE, is_monotonic: true })
}

fn histogram(idx: u64) -> Data {
    let point = HistogramDataPoint {
        attributes: attributes(idx),
        time_unix_nano: sentinel(idx, Content::Time),
        count: 100,
        sum: Some(12.5),
        bucket_counts: vec![10, 20, 30, 20, 10, 5, 3, 2],
        explicit_bounds: vec![0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0],
        ..HistogramDataPoint::default()
    };
    Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality: CUMULATIVE })
}
