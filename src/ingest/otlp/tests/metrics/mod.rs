mod exemplars;
mod names;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint, exemplar, number_data_point,
};
use prost::Message as _;

use super::*;
use crate::ingest::otlp::config::{Config, Strategy};
use crate::ingest::otlp::metrics::decode_metrics;
use crate::ingest::outcome::Reason;
use crate::model::metric::STALE_NAN_BITS;
use crate::model::{ExpHistogram, MetricKind, Temporality};
use crate::storage::Difference;

pub(super) fn request(metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics }
}

fn metric(name: &str, unit: &str, data: Data) -> Metric {
    let (name, unit) = (name.to_owned(), unit.to_owned());
    Metric { name, unit, data: Some(data), ..Metric::default() }
}

pub(super) fn number(value: f64, attributes: &[(&str, &str)]) -> NumberDataPoint {
    NumberDataPoint {
        time_unix_nano: NOW_NS,
        attributes: attributes.iter().map(|(key, value)| pair(key, text(value))).collect(),
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

pub(super) fn gauge(name: &str, points: Vec<NumberDataPoint>) -> Metric {
    metric(name, "", Data::Gauge(Gauge { data_points: points }))
}

fn sum(is_monotonic: bool, aggregation_temporality: i32) -> Metric {
    let data_points = vec![number(3.0, &[])];
    let sum = Sum { data_points, aggregation_temporality, is_monotonic };
    metric("requests", "1", Data::Sum(sum))
}

fn histogram_point() -> HistogramDataPoint {
    HistogramDataPoint {
        time_unix_nano: NOW_NS,
        count: 6,
        sum: Some(2.5),
        bucket_counts: vec![1, 2, 3],
        explicit_bounds: vec![0.5, 10.0],
        attributes: vec![pair("route", text("/x"))],
        min: Some(0.1),
        max: Some(11.0),
        ..HistogramDataPoint::default()
    }
}

fn histogram(point: HistogramDataPoint) -> Metric {
    let histogram = Histogram { data_points: vec![point], aggregation_temporality: 2 };
    metric("latency", "s", Data::Histogram(histogram))
}

fn summary() -> Metric {
    let at = |quantile, value| ValueAtQuantile { quantile, value };
    let point = SummaryDataPoint {
        time_unix_nano: NOW_NS,
        count: 4,
        sum: 8.0,
        quantile_values: vec![at(0.5, 1.0), at(0.99, 7.0)],
        ..SummaryDataPoint::default()
    };
    metric("rpc", "", Data::Summary(Summary { data_points: vec![point] }))
}

fn exp_histogram() -> Metric {
    let buckets = |offset, counts: &[u64]| Some(Buckets { offset, bucket_counts: counts.to_vec() });
    let point = ExponentialHistogramDataPoint {
        time_unix_nano: NOW_NS,
        count: 9,
        sum: Some(-1.5),
        scale: -3,
        zero_count: 2,
        positive: buckets(-4, &[1, 300]),
        negative: buckets(5, &[7]),
        min: Some(-8.0),
        max: Some(4.0),
        zero_threshold: 1e-9,
        attributes: vec![pair("a", text("b"))],
        ..ExponentialHistogramDataPoint::default()
    };
    let histogram = ExponentialHistogram { data_points: vec![point], aggregation_temporality: 1 };
    metric("exp", "By", Data::ExponentialHistogram(histogram))
}

/// Decodes, stores and returns the samples as (series, value).
async fn stored(rig: &Rig, request: &ExportMetricsServiceRequest) -> Vec<(String, f64)> {
    let decoded = decode(rig, decode_metrics, &request.encode_to_vec()).unwrap();
    assert_eq!(decoded.rejected.message(1, "points"), None);
    rig.ingest.store.append(decoded.parts).await.unwrap();
    let samples = rig.store.samples().into_iter();
    samples.map(|(series, _, bits)| (series, f64::from_bits(bits))).collect()
}

#[track_caller]
fn check(got: &[(String, f64)], want: &[(&str, f64)]) {
    let got: Vec<_> = got.iter().map(|(series, value)| (series.as_str(), *value)).collect();
    assert_eq!(got, want);
}

#[track_caller]
fn check_refused(metric: Metric, reason: Reason) {
    let body = request(vec![gauge("good", vec![number(1.0, &[])]), metric]).encode_to_vec();
    let decoded = decode(&Rig::new(), decode_metrics, &body).unwrap();
    assert_eq!((decoded.n_received, decoded.rejected.counts()), (2, &[(reason, 1)][..]));
}

#[tokio::test]
async fn gauges_are_series_of_their_attributes() {
    let rig = Rig::new();
    let point = NumberDataPoint {
        value: Some(number_data_point::Value::AsInt(-2)),
        attributes: vec![
            pair("http.method", text("GET")),
            pair("http_method", text("POST")),
            pair("ok", any(Value::BoolValue(true))),
            pair("n", any(Value::DoubleValue(2.0))),
            pair("empty", text("")),
        ],
        ..number(0.0, &[])
    };

    let got = stored(&rig, &request(vec![gauge("a.b", vec![point])])).await;

    let series = r#"a_b{http_method="GET;POST", n="2", ok="true"}"#;
    check(&got, &[(series, -2.0)]);
    assert_eq!(rig.store.samples()[0].1, NOW_MS);
    assert_eq!(rig.store.meta(series).unwrap().kind, MetricKind::Gauge);
}

#[tokio::test]
async fn sums_say_what_they_are() {
    for (is_monotonic, temporality, name, kind, want) in [
        (true, 2, "requests_total", MetricKind::Counter, Temporality::Cumulative),
        (false, 2, "requests", MetricKind::UpDownCounter, Temporality::Cumulative),
        (false, 9, "requests", MetricKind::UpDownCounter, Temporality::Unspecified),
    ] {
        let rig = Rig::new();

        let got = stored(&rig, &request(vec![sum(is_monotonic, temporality)])).await;

        check(&got, &[(name, 3.0)]);
        let meta = rig.store.meta(name).unwrap();
        assert_eq!((meta.kind, meta.temporality, &*meta.unit), (kind, want, "1"));
    }
}

#[tokio::test]
async fn a_unit_is_cut_to_what_is_kept() {
    let rig = Rig::new();
    let unit = format!("{{{}}}", "x".repeat(100_000));
    let gauge = Data::Gauge(Gauge { data_points: vec![number(1.0, &[])] });

    let got = stored(&rig, &request(vec![metric("busy", &unit, gauge)])).await;

    check(&got, &[("busy", 1.0)]);
    assert_eq!(rig.store.meta("busy").unwrap().unit.len(), 64);
}

#[tokio::test]
async fn histograms_are_cumulative_buckets() {
    let got = stored(&Rig::new(), &request(vec![histogram(histogram_point())])).await;

    check(
        &got,
        &[
            (r#"latency_seconds_sum{route="/x"}"#, 2.5),
            (r#"latency_seconds_count{route="/x"}"#, 6.0),
            (r#"latency_seconds_bucket{le="0.5", route="/x"}"#, 1.0),
            (r#"latency_seconds_bucket{le="10", route="/x"}"#, 3.0),
            (r#"latency_seconds_bucket{le="+Inf", route="/x"}"#, 6.0),
        ],
    );
}

#[tokio::test]
async fn a_histogram_without_buckets_has_one() {
    let point = HistogramDataPoint {
        bucket_counts: vec![],
        explicit_bounds: vec![],
        sum: None,
        ..histogram_point()
    };

    let got = stored(&Rig::new(), &request(vec![histogram(point)])).await;

    check(
        &got,
        &[
            (r#"latency_seconds_count{route="/x"}"#, 6.0),
            (r#"latency_seconds_bucket{le="+Inf", route="/x"}"#, 6.0),
        ],
    );
}

#[tokio::test]
async fn summaries_are_quantiles() {
    let got = stored(&Rig::new(), &request(vec![summary()])).await;

    check(
        &got,
        &[
            ("rpc_sum", 8.0),
            ("rpc_count", 4.0),
            (r#"rpc{quantile="0.5"}"#, 1.0),
            (r#"rpc{quantile="0.99"}"#, 7.0),
        ],
    );
}

#[tokio::test]
async fn exponential_histograms_lose_nothing() {
    let rig = Rig::new();

    let got = stored(&rig, &request(vec![exp_histogram()])).await;

    assert_eq!(got, []);
    let others = rig.store.others();
    let [Part::Descriptions { .. }, Part::Deltas { deltas, .. }] = &others[..] else {
        panic!("two parts: {others:?}")
    };
    let want = ExpHistogram {
        native: None,
        count: 9,
        sum: Some(-1.5),
        scale: -3,
        zero_count: 2,
        zero_threshold: 1e-9,
        positive_offset: -4,
        positive_counts: vec![1, 300],
        negative_offset: 5,
        negative_counts: vec![7],
        min: Some(-8.0),
        max: Some(4.0),
        start_ns: 0,
    };
    assert_eq!(deltas[0].difference, Difference::Histogram(Box::new(want)));
    assert_eq!(deltas[0].time_ns, NOW_MS * 1_000_000);
    let meta = rig.store.meta(r#"exp_bytes{a="b"}"#).unwrap();
    assert_eq!((meta.kind, meta.temporality), (MetricKind::ExpHistogram, Temporality::Cumulative));
}

#[tokio::test]
async fn differences_are_handed_on_to_be_added_up() {
    let rig = Rig::new();
    let delta = |mut metric: Metric| {
        match metric.data.as_mut().unwrap() {
            Data::Histogram(histogram) => histogram.aggregation_temporality = 1,
            Data::Sum(sum) => sum.data_points[0].start_time_unix_nano = NOW_NS - 60,
            _ => unreachable!("only these"),
        }
        metric
    };
    let other_bounds = HistogramDataPoint { explicit_bounds: vec![0.5, 11.0], ..histogram_point() };
    let metrics = vec![
        delta(sum(true, 1)),
        delta(histogram(histogram_point())),
        delta(histogram(other_bounds)),
    ];

    assert_eq!(stored(&rig, &request(metrics)).await, []);

    let others = rig.store.others();
    let parts: Vec<_> = others
        .iter()
        .filter_map(|part| if let Part::Deltas { deltas, .. } = part { Some(deltas) } else { None })
        .collect();
    let [deltas] = parts[..] else { panic!("one part: {others:?}") };
    let now_ns = NOW_MS * 1_000_000;
    assert_eq!((deltas[0].start_ns, deltas[0].time_ns, deltas[0].shape), (now_ns - 60, now_ns, 0));
    assert_eq!(deltas[0].difference, Difference::Number(3.0));
    let points = deltas.chunk_by(|a, b| a.point_no == b.point_no).map(<[_]>::len);
    assert_eq!(points.collect::<Vec<_>>(), [1, 5, 5], "the parts of a data point are together");
    let shapes: Vec<u64> = deltas.iter().map(|delta| delta.shape).collect();
    assert!(shapes[1..6].iter().all(|shape| *shape == shapes[1]) && shapes[1] != shapes[6]);
    let meta = rig.store.meta("requests_total").unwrap();
    assert_eq!((meta.kind, meta.temporality), (MetricKind::Counter, Temporality::Cumulative));
}

#[tokio::test]
async fn differences_past_a_limit_of_series_are_added_up_as_what_they_are() {
    let rig = Rig::new();
    rig.store.limit_series(1);
    for after_ns in [0, 1_000_000] {
        let mut delta = sum(true, 1);
        let Some(Data::Sum(data)) = delta.data.as_mut() else { unreachable!("it is a sum") };
        let point = |n: i32| NumberDataPoint {
            time_unix_nano: NOW_NS + after_ns,
            ..number(4.0, &[("n", &n.to_string())])
        };
        data.data_points = (0..3).map(point).collect();
        let body = request(vec![delta]).encode_to_vec();
        // The answer may have been lost: what comes again counts once.
        (0..2).for_each(|_| drop(decode(&rig, decode_metrics, &body).unwrap()));
    }

    let derived = rig.ingest.derive.collect();
    let total = derived.iter().find(|sample| sample.labels.get("__overflow__").is_some());
    assert_eq!(total.map(|sample| sample.value), Some(16.0), "{derived:?}");
}

#[tokio::test]
async fn summaries_past_a_limit_of_series_are_added_up_by_their_increases() {
    let rig = Rig::new();
    rig.store.limit_series(0);
    for (sum, count) in [(8.0, 4), (20.0, 10)] {
        let mut both = summary();
        let Some(Data::Summary(data)) = both.data.as_mut() else { unreachable!("it is one") };
        let of_pod = |name: &str| SummaryDataPoint {
            sum,
            count,
            attributes: vec![pair("pod", text(name))],
            ..data.data_points[0].clone()
        };
        data.data_points = vec![of_pod("a"), of_pod("b")];
        decode(&rig, decode_metrics, &request(vec![both]).encode_to_vec()).unwrap();
    }

    let mut derived = rig.ingest.derive.collect();
    derived.retain(|sample| sample.labels.get("__overflow__").is_some());
    let value = |metric: &str| {
        let found = derived.iter().find(|sample| sample.labels.metric() == metric);
        found.map(|sample| sample.value)
    };
    // First values are old news: it may be the server that is new.
    let found = [value("rpc_sum"), value("rpc_count"), value("rpc")];
    assert_eq!(found, [Some(24.0), Some(12.0), Some(7.0)], "{derived:?}");
}

#[tokio::test]
async fn points_keep_since_when_they_count() {
    let rig = Rig::new();
    let mut since = sum(true, 2);
    let Some(Data::Sum(points)) = since.data.as_mut() else { unreachable!("it is a sum") };
    points.data_points[0].start_time_unix_nano = NOW_NS - 123_456_789;
    let with_start = HistogramDataPoint { start_time_unix_nano: NOW_NS - 7, ..histogram_point() };

    let metrics = vec![gauge("g", vec![number(1.0, &[])]), since, histogram(with_start)];
    stored(&rig, &request(metrics)).await;

    let now_ns = NOW_MS * 1_000_000;
    let mut want = vec![0, now_ns - 123_456_789];
    want.extend([now_ns - 7; 5]);
    assert_eq!(rig.store.starts_ns(), want);
}

#[tokio::test]
async fn a_point_without_a_recorded_value_ends_its_series() {
    let rig = Rig::new();
    let gone = NumberDataPoint { value: None, flags: 1, ..number(0.0, &[]) };
    let histogram_gone =
        HistogramDataPoint { time_unix_nano: NOW_NS, flags: 1, ..HistogramDataPoint::default() };

    stored(&rig, &request(vec![gauge("up", vec![gone]), histogram(histogram_gone)])).await;

    let samples = rig.store.samples();
    let ended: Vec<_> = samples
        .iter()
        .filter(|(_, _, bits)| *bits == STALE_NAN_BITS)
        .map(|(series, ..)| series.as_str())
        .collect();
    let bucket = r#"latency_seconds_bucket{le="+Inf"}"#;
    assert_eq!(ended, ["up", "latency_seconds_sum", "latency_seconds_count", bucket]);
}

#[tokio::test]
async fn a_resource_gives_job_instance_and_target_info() {
    let rig = Rig::new();
    let mut request = request(vec![gauge("up", vec![number(1.0, &[("job", "payload")])])]);
    request.resource_metrics[0].resource = resource(&[
        ("service.namespace", "ai"),
        ("service.name", "inference"),
        ("service.instance.id", "i-1"),
        ("k8s.pod.name", "p"),
        ("commons", "heart"),
    ]);

    let got = stored(&rig, &request).await;

    check(
        &got,
        &[
            (
                r#"up{commons="heart", instance="i-1", job="ai/inference", service="inference"}"#,
                1.0,
            ),
            (
                r#"target_info{commons="heart", instance="i-1", job="ai/inference", k8s_pod_name="p", service="inference"}"#,
                1.0,
            ),
        ],
    );
}

#[tokio::test]
async fn target_info_is_there_as_long_as_its_resource_has_points() {
    let rig = Rig::new();
    let ago = |s: u64| NumberDataPoint {
        time_unix_nano: NOW_NS - s * 1_000_000_000,
        ..number(1.0, &[("s", &s.to_string())])
    };
    let mut request = request(vec![gauge("up", vec![ago(0), ago(0), ago(1_200), ago(3_600)])]);
    request.resource_metrics[0].resource =
        resource(&[("service.name", "fence"), ("host.name", "h")]);

    stored(&rig, &request).await;

    let samples = rig.store.samples().into_iter();
    let info = samples.filter(|(series, ..)| series.starts_with("target_info{"));
    let ago_s: Vec<i64> = info.map(|(_, ms, _)| (NOW_MS - ms) / 1_000).collect();
    assert_eq!(ago_s, [3_600, 1_200, 0]);
}

#[tokio::test]
async fn a_known_series_is_not_built_again() {
    let rig = Rig::new();
    let request = request(vec![histogram(histogram_point()), summary()]);

    stored(&rig, &request).await;
    let n_registered = rig.store.n_registered();
    stored(&rig, &request).await;

    assert_eq!((n_registered, rig.store.n_registered()), (9, 9));
    assert_eq!(rig.store.samples().len(), 18);
}

#[tokio::test]
async fn attributes_with_fields_between_them_name_the_same_series() {
    // attribute, time, attribute, value: no encoder writes it so, and it is valid.
    let whole = number(1.0, &[("a", "1"), ("b", "2")]).encode_to_vec();
    let attributes_only =
        NumberDataPoint { value: None, time_unix_nano: 0, ..number(1.0, &[("a", "1")]) };
    let mut mixed = attributes_only.encode_to_vec();
    mixed.extend(number(2.0, &[("b", "2")]).encode_to_vec());
    let wrap = |point: &[u8]| {
        let mut bytes = point.to_vec();
        let name = {
            let mut name = Vec::new();
            prost::encoding::string::encode(1, &"m".to_owned(), &mut name);
            name
        };
        for (number, front) in [(1, &[][..]), (5, &name[..]), (2, &[]), (2, &[]), (1, &[])] {
            let mut outer = front.to_vec();
            prost::encoding::bytes::encode(number, &bytes, &mut outer);
            bytes = outer;
        }
        bytes
    };
    let rig = Rig::new();

    for body in [wrap(&whole), wrap(&mixed)] {
        let decoded = decode(&rig, decode_metrics, &body).unwrap();
        rig.ingest.store.append(decoded.parts).await.unwrap();
    }

    let samples = rig.store.samples();
    assert_eq!(samples.len(), 2);
    assert!(samples.iter().all(|(series, ..)| series == r#"m{a="1", b="2"}"#), "{samples:?}");
}

#[test]
fn points_that_cannot_be_stored_are_refused_alone() {
    let at = |time_unix_nano| NumberDataPoint { time_unix_nano, ..number(1.0, &[]) };
    check_refused(gauge("x", vec![at(u64::MAX)]), Reason::Future);
    check_refused(gauge("x", vec![at(1)]), Reason::TooOld);
    check_refused(gauge("x", vec![NumberDataPoint { value: None, ..at(NOW_NS) }]), Reason::Invalid);
    check_refused(gauge("", vec![at(NOW_NS)]), Reason::NoMetricName);
    check_refused(gauge("x", vec![number(1.0, &[("éé", "1")])]), Reason::InvalidLabels);
    let long = "x".repeat(2049);
    check_refused(gauge("x", vec![number(1.0, &[("a", &long)])]), Reason::LabelLimit);
    let bad = HistogramDataPoint { bucket_counts: vec![1], ..histogram_point() };
    check_refused(histogram(bad), Reason::Invalid);
}

#[test]
fn a_point_whose_buckets_are_refused_is_one_point() {
    let rig = Rig::new();
    rig.store.limit_series(2);
    let body = request(vec![histogram(histogram_point())]).encode_to_vec();

    let decoded = decode(&rig, decode_metrics, &body).unwrap();

    assert_eq!(
        (decoded.n_received, decoded.rejected.counts()),
        (1, &[(Reason::SeriesLimit, 1)][..])
    );
}

#[test]
fn a_metric_without_data_is_ignored() {
    let nothing = Metric { data: None, ..gauge("x", vec![]) };
    let body = request(vec![nothing, gauge("y", vec![])]).encode_to_vec();
    let decoded = decode(&Rig::new(), decode_metrics, &body).unwrap();
    assert_eq!((decoded.n_received, decoded.parts.len()), (0, 0));
}

#[test]
fn damage_is_never_a_panic() {
    let metrics = vec![sum(true, 2), histogram(histogram_point()), summary(), exp_histogram()];
    check_damage(decode_metrics, &request(metrics).encode_to_vec());
}

#[test]
fn a_point_with_more_buckets_than_anything_real_is_refused() {
    let at = |quantile| ValueAtQuantile { quantile, value: 1.0 };
    let point = SummaryDataPoint {
        time_unix_nano: NOW_NS,
        quantile_values: (0..10_001).map(|n| at(f64::from(n))).collect(),
        ..SummaryDataPoint::default()
    };
    check_refused(
        metric("s", "", Data::Summary(Summary { data_points: vec![point] })),
        Reason::Invalid,
    );
    let point = HistogramDataPoint {
        bucket_counts: vec![1; 10_001],
        explicit_bounds: (0..10_000).map(f64::from).collect(),
        ..histogram_point()
    };
    check_refused(histogram(point), Reason::Invalid);
    let buckets = Buckets { offset: 0, bucket_counts: vec![0; 10_001] };
    let point = ExponentialHistogramDataPoint {
        time_unix_nano: NOW_NS,
        positive: Some(buckets),
        ..ExponentialHistogramDataPoint::default()
    };
    let data = ExponentialHistogram { data_points: vec![point], aggregation_temporality: 2 };
    check_refused(metric("e", "", Data::ExponentialHistogram(data)), Reason::Invalid);
}

#[test]
fn attributes_of_a_point_are_counted_before_they_are_kept() {
    let many: Vec<(&str, &str)> = vec![("a", "b"); 129];

    check_refused(gauge("g", vec![number(1.0, &many)]), Reason::LabelLimit);
}

#[test]
fn resources_without_points_count_as_well() {
    let rig = Rig::with(|limits| limits.records_per_request = 10);
    let resource_metrics = vec![ResourceMetrics::default(); 11];
    let request = ExportMetricsServiceRequest { resource_metrics };

    let error = decode(&rig, decode_metrics, &request.encode_to_vec()).unwrap_err();

    assert!(error.to_string().contains("limits.records_per_request"), "{error}");
}

#[tokio::test]
async fn what_a_metric_says_of_itself_is_kept_by_family() {
    let rig = Rig::new();
    let described = Metric { description: "how long".to_owned(), ..histogram(histogram_point()) };

    stored(&rig, &request(vec![described.clone()])).await;
    stored(&rig, &request(vec![described])).await;

    let others = rig.store.others();
    let [Part::Descriptions { described, .. }] = &others[..] else { panic!("once: {others:?}") };
    let [(metric, description)] = &described[..] else { panic!("one: {described:?}") };
    assert_eq!(
        (&**metric, &*description.help, &*description.unit),
        ("latency_seconds", "how long", "s")
    );
    assert_eq!(description.kind, MetricKind::Histogram);
}
