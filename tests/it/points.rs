//! Metric data points through their own doors: what comes in as OTLP goes out as it came, and PromQL
//! sees totals where differences came.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint, exemplar, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use rand::Rng as _;

use crate::support::wait::now_ns;
use crate::support::{Caller, Request, Setup, otlp};
use crate::traces::random::Dice;

const KEPT: &str = "[otlp]\nkeep_points = true\n";

fn request(dice: &mut Dice, n: &mut u64) -> ExportMetricsServiceRequest {
    let resources = dice.rng.random_range(1..3);
    let resource_metrics = (0..resources).map(|_| resource_metrics(dice, n)).collect();
    ExportMetricsServiceRequest { resource_metrics }
}

fn resource_metrics(dice: &mut Dice, n: &mut u64) -> ResourceMetrics {
    let resource = Resource {
        attributes: dice.attributes(0),
        dropped_attributes_count: dice.count(),
        ..Resource::default()
    };
    let scopes = dice.rng.random_range(1..3);
    ResourceMetrics {
        resource: Some(resource),
        scope_metrics: (0..scopes).map(|_| scope_metrics(dice, n)).collect(),
        schema_url: dice.url(),
    }
}

fn scope_metrics(dice: &mut Dice, n: &mut u64) -> ScopeMetrics {
    let scope = InstrumentationScope {
        name: dice.text(),
        version: dice.text(),
        attributes: dice.attributes(0),
        dropped_attributes_count: dice.count(),
    };
    let metrics = dice.rng.random_range(1..4);
    ScopeMetrics {
        scope: Some(scope),
        metrics: (0..metrics).map(|_| metric(dice, n)).collect(),
        schema_url: dice.url(),
    }
}

fn metric(dice: &mut Dice, n: &mut u64) -> Metric {
    *n += 1;
    let aggregation_temporality = [0, 1, 2, 2, 9][dice.rng.random_range(0..5)];
    // Two differences of one series, at made-up times, would be refused as out of order.
    let n_points = if aggregation_temporality == 1 { 1 } else { dice.rng.random_range(1..4) };
    let data = match dice.rng.random_range(0..5) {
        0 => Data::Gauge(Gauge { data_points: (0..n_points).map(|_| number(dice)).collect() }),
        1 => Data::Sum(Sum {
            data_points: (0..n_points).map(|_| number(dice)).collect(),
            aggregation_temporality,
            is_monotonic: dice.rng.random(),
        }),
        2 => Data::Histogram(Histogram {
            data_points: (0..n_points).map(|_| histogram(dice)).collect(),
            aggregation_temporality,
        }),
        3 => Data::ExponentialHistogram(ExponentialHistogram {
            data_points: (0..n_points).map(|_| exp_histogram(dice)).collect(),
            aggregation_temporality,
        }),
        _ => Data::Summary(Summary { data_points: (0..n_points).map(|_| summary(dice)).collect() }),
    };
    Metric {
        name: format!("metric.{n}.{}", dice.text()),
        description: dice.text(),
        unit: ["", "s", "By/s", "{requests}", "1"][dice.rng.random_range(0..5)].to_owned(),
        metadata: dice.attributes(0),
        data: Some(data),
    }
}

fn time(dice: &mut Dice) -> u64 {
    match dice.rng.random_range(0..8) {
        0 => 0,
        _ => dice.now_ns - dice.rng.random_range(0..1_000_000_000),
    }
}

fn start(dice: &mut Dice) -> u64 {
    match dice.rng.random_range(0..6) {
        0 => 0,
        1 => dice.rng.random(),
        _ => dice.now_ns - dice.rng.random_range(0..1_000_000_000_000),
    }
}

fn double(dice: &mut Dice) -> f64 {
    match dice.rng.random_range(0..4) {
        0 => f64::from_bits(dice.rng.random()),
        1 => [f64::INFINITY, -0.0, f64::NAN, 5e-324][dice.rng.random_range(0..4)],
        _ => dice.rng.random(),
    }
}

fn maybe(dice: &mut Dice) -> Option<f64> {
    if dice.rng.random() { Some(double(dice)) } else { None }
}

fn counts(dice: &mut Dice, n: usize) -> Vec<u64> {
    (0..n).map(|_| if dice.rng.random() { dice.rng.random() } else { 3 }).collect()
}

fn exemplars(dice: &mut Dice) -> Vec<Exemplar> {
    let one = |dice: &mut Dice| Exemplar {
        filtered_attributes: dice.attributes(0),
        time_unix_nano: dice.rng.random(),
        span_id: if dice.rng.random() { vec![7; 8] } else { Vec::new() },
        trace_id: if dice.rng.random() { vec![9; 16] } else { Vec::new() },
        value: match dice.rng.random_range(0..3) {
            0 => None,
            1 => Some(exemplar::Value::AsInt(dice.rng.random())),
            _ => Some(exemplar::Value::AsDouble(double(dice))),
        },
    };
    let n = [0, 0, 1, 3][dice.rng.random_range(0..4)];
    (0..n).map(|_| one(dice)).collect()
}

fn number(dice: &mut Dice) -> NumberDataPoint {
    use number_data_point::Value;
    let is_gone = dice.rng.random_range(0..8) == 0;
    NumberDataPoint {
        attributes: dice.attributes(0),
        start_time_unix_nano: start(dice),
        time_unix_nano: time(dice),
        exemplars: exemplars(dice),
        flags: u32::from(is_gone),
        value: match dice.rng.random_range(0..2) {
            _ if is_gone => None,
            0 => Some(Value::AsInt(dice.rng.random())),
            _ => Some(Value::AsDouble(double(dice))),
        },
    }
}

fn histogram(dice: &mut Dice) -> HistogramDataPoint {
    let n_bounds = dice.rng.random_range(0..5);
    let n_counts = if n_bounds == 0 && dice.rng.random() { 0 } else { n_bounds + 1 };
    HistogramDataPoint {
        attributes: dice.attributes(0),
        start_time_unix_nano: start(dice),
        time_unix_nano: time(dice),
        count: dice.rng.random(),
        sum: maybe(dice),
        bucket_counts: counts(dice, n_counts),
        explicit_bounds: (0_u32..).take(n_bounds).map(|n| f64::from(n) + 0.5).collect(),
        exemplars: exemplars(dice),
        flags: 0,
        min: maybe(dice),
        max: maybe(dice),
    }
}

fn exp_histogram(dice: &mut Dice) -> ExponentialHistogramDataPoint {
    let side = |dice: &mut Dice| {
        let n = dice.rng.random_range(0..5);
        let offset = dice.rng.random();
        dice.rng.random::<bool>().then(|| Buckets { offset, bucket_counts: counts(dice, n) })
    };
    ExponentialHistogramDataPoint {
        attributes: dice.attributes(0),
        start_time_unix_nano: start(dice),
        time_unix_nano: time(dice),
        count: dice.rng.random(),
        sum: maybe(dice),
        scale: dice.rng.random_range(-11..21),
        zero_count: dice.rng.random(),
        positive: side(dice),
        negative: side(dice),
        flags: 0,
        exemplars: exemplars(dice),
        min: maybe(dice),
        max: maybe(dice),
        zero_threshold: if dice.rng.random() { 0.0 } else { dice.rng.random() },
    }
}

fn summary(dice: &mut Dice) -> SummaryDataPoint {
    let n = dice.rng.random_range(0..4);
    let at = |n: i32, dice: &mut Dice| ValueAtQuantile {
        quantile: f64::from(n) / 4.0,
        value: double(dice),
    };
    SummaryDataPoint {
        attributes: dice.attributes(0),
        start_time_unix_nano: start(dice),
        time_unix_nano: time(dice),
        count: dice.rng.random(),
        sum: double(dice),
        quantile_values: (0..n).map(|n| at(n, dice)).collect(),
        flags: 0,
    }
}

/// Returns each point with all that stands around it, as bytes, sorted.
fn flat(list: &[ResourceMetrics]) -> Vec<Vec<u8>> {
    let mut points = Vec::new();
    for resource in list {
        for scope in &resource.scope_metrics {
            for metric in &scope.metrics {
                for data in apart(metric.data.as_ref().unwrap()) {
                    let metrics = vec![Metric { data: Some(data), ..metric.clone() }];
                    let scope_metrics = vec![ScopeMetrics { metrics, ..scope.clone() }];
                    let alone = ResourceMetrics { scope_metrics, ..resource.clone() };
                    points.push(alone.encode_to_vec());
                }
            }
        }
    }
    points.sort();
    points
}

/// Returns the data of a metric, a point each.
fn apart(data: &Data) -> Vec<Data> {
    macro_rules! each {
        ($variant:ident, $list:expr) => {
            $list
                .data_points
                .iter()
                .map(|point| {
                    let mut alone = $list.clone();
                    alone.data_points = vec![point.clone()];
                    Data::$variant(alone)
                })
                .collect()
        };
    }
    match data {
        Data::Gauge(list) => each!(Gauge, list),
        Data::Sum(list) => each!(Sum, list),
        Data::Histogram(list) => each!(Histogram, list),
        Data::ExponentialHistogram(list) => each!(ExponentialHistogram, list),
        Data::Summary(list) => each!(Summary, list),
    }
}

#[track_caller]
fn exported(caller: &Caller, query: &str) -> Vec<ResourceMetrics> {
    let request = Request::post("/api/v1/sql", query)
        .header("Content-Type", "text/plain")
        .header("Accept", "application/x-protobuf");
    let answer = caller.send(request);
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    assert_eq!(answer.header("x-commonwatch-truncated"), None, "{query}: rows are missing");
    ExportMetricsServiceRequest::decode(&answer.body[..]).unwrap().resource_metrics
}

#[track_caller]
fn check_whole(caller: &Caller, sent: &[ResourceMetrics], seeds: &str) {
    let (got, want) = (flat(&exported(caller, "SELECT * FROM points")), flat(sent));
    let lost: Vec<_> = want.iter().filter(|point| !got.contains(point)).collect();
    let first = lost.first().map(|point| ResourceMetrics::decode(&point[..]).unwrap());
    assert!(lost.is_empty(), "{seeds}: {} of {} differ: {first:#?}", lost.len(), want.len());
    assert_eq!(got.len(), want.len(), "{seeds}");
}

#[test]
fn what_comes_in_goes_out_bit_for_bit() {
    let first: u64 = std::env::var("POINTS_SEED").map_or(0, |seed| seed.parse().unwrap());
    let seeds = format!("POINTS_SEED={first}");
    println!("{seeds} repeats these requests");
    let setup = Setup::new("points-round-trip").config(KEPT);
    let server = setup.start();
    let caller = server.caller();
    let (mut sent, mut n) = (Vec::new(), 0);
    for seed in first..first + 60 {
        let mut dice = Dice::new(seed, now_ns());
        let request = request(&mut dice, &mut n);
        let answer = caller.send(otlp::post("/v1/metrics", &request));
        assert_eq!((answer.status, answer.body.len()), (200, 0), "seed {seed}: {}", answer.text());
        sent.extend(request.resource_metrics);
    }

    check_whole(&caller, &sent, &seeds);
    server.stop();

    // From Parquet files now.
    let server = setup.start();
    check_whole(&server.caller(), &sent, &seeds);
}

fn delta(n: i64, start_ns: i64, end_ns: i64) -> ExportMetricsServiceRequest {
    let point = NumberDataPoint {
        start_time_unix_nano: start_ns.unsigned_abs(),
        time_unix_nano: end_ns.unsigned_abs(),
        value: Some(number_data_point::Value::AsInt(n)),
        ..NumberDataPoint::default()
    };
    let sum = Sum { data_points: vec![point], aggregation_temporality: 1, is_monotonic: true };
    let metric =
        Metric { name: "jobs".to_owned(), data: Some(Data::Sum(sum)), ..Metric::default() };
    let scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
    let resource = Some(otlp::resource(&[("service.name", "sower")]));
    let resource = ResourceMetrics { resource, scope_metrics: vec![scope], ..Default::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![resource] }
}

#[test]
fn differences_are_totals_in_promql_and_differences_in_sql_across_restarts() {
    const S: i64 = 1_000_000_000;
    let setup = Setup::new("deltas").config(KEPT);
    let from = now_ns() - 100 * S;
    let send = |caller: &Caller, n: i64| {
        let at = from + n * 10 * S;
        caller.send(otlp::post("/v1/metrics", &delta(n + 1, at, at + 10 * S)))
    };
    let mut server = setup.start();
    for n in 0..6 {
        let answer = send(&server.caller(), n);
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{}", answer.text());
        if n == 2 {
            // In files now, and the log is cut.
            server.stop();
            server = setup.start();
        } else if n == 4 {
            server.kill_9();
            server = setup.start();
        }
    }
    // Once more, as after an answer that was lost.
    let again = send(&server.caller(), 5);

    let said =
        opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse::decode(
            &again.body[..],
        );
    let partial = said.unwrap().partial_success.unwrap();
    assert_eq!((again.status, partial.rejected_data_points), (200, 1), "{}", partial.error_message);
    assert!(partial.error_message.contains("delta_out_of_order"), "{}", partial.error_message);
    let caller = server.caller();
    let rows = caller.sql(
        "SELECT value, temporality, CAST(start_time AS BIGINT) AS start FROM metrics WHERE metric = 'jobs_total' ORDER BY timestamp",
    );
    let values: Vec<f64> = rows.iter().map(|row| row["value"].as_f64().unwrap()).collect();
    assert_eq!(values, [1.0, 3.0, 6.0, 10.0, 15.0, 21.0]);
    assert!(
        rows.iter().all(|row| row["temporality"] == "cumulative" && row["start"] == from),
        "{rows:?}"
    );
    let points =
        caller.sql("SELECT DISTINCT value_int, temporality FROM points ORDER BY value_int");
    let values: Vec<i64> = points.iter().map(|row| row["value_int"].as_i64().unwrap()).collect();
    assert_eq!(values, [1, 2, 3, 4, 5, 6]);
    assert!(points.iter().all(|row| row["temporality"] == "delta"), "{points:?}");
    let metrics = caller.get("/metrics").text();
    for line in [
        "commonwatch_storage_left_out_deltas_total{reason=\"out_of_order\"} 1",
        "refused_items_total{signal=\"metrics\",protocol=\"otlp_http\",reason=\"delta_out_of_order\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}
