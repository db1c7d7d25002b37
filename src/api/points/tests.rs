use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;

use super::*;
use crate::model::Labels;
use crate::model::point::{PointKind, PointNumbers, PointOrigin, PointRow, PointsBuilder};
use crate::model::point_rest::PointRest;

fn rows() -> RecordBatch {
    let series = Labels::from_pairs([("__name__", "requests_total"), ("job", "a")]);
    let origin = PointOrigin {
        name: "requests",
        unit: "1",
        temporality: "delta",
        is_monotonic: Some(true),
        resource: r#"{"service.name":"a"}"#,
        ..PointOrigin::default()
    };
    let mut builder = PointsBuilder::default();
    for value in 0..3 {
        let numbers = PointNumbers { value_int: Some(value), ..PointNumbers::default() };
        let rest = PointRest { no_time: value == 2, ..PointRest::default() }.to_text();
        let row = PointRow {
            timestamp_ns: 7,
            start_ns: 5,
            kind: PointKind::Sum,
            numbers: &numbers,
            flags: 0,
            attributes: r#"{"n":1}"#,
            exemplars: r#"[{"time_unix_nano":"3","value":"NaN","bits":"9221120237041090562","trace_id":"0a","span_id":"","attributes":{}}]"#,
            rest: &rest,
        };
        builder.push(("requests_total", &series, ""), &origin, &row);
    }
    builder.finish()
}

#[test]
fn points_of_one_metric_are_told_together() {
    let bytes = export(&[rows(), rows()]).unwrap();

    let request = ExportMetricsServiceRequest::decode(&bytes[..]).unwrap();
    let [resource] = &request.resource_metrics[..] else { panic!("one resource") };
    let [scope] = &resource.scope_metrics[..] else { panic!("one scope") };
    let [metric] = &scope.metrics[..] else { panic!("one metric") };
    let Some(Data::Sum(sum)) = &metric.data else { panic!("a sum") };
    assert_eq!((sum.aggregation_temporality, sum.is_monotonic), (1, true));
    let values: Vec<_> = sum.data_points.iter().map(|point| point.value).collect();
    assert_eq!(values[..3], [0, 1, 2].map(|n| Some(Value::AsInt(n))));
    let times: Vec<_> = sum.data_points[..3].iter().map(|point| point.time_unix_nano).collect();
    assert_eq!(times, [7, 7, 0]);
    let exemplar = &sum.data_points[0].exemplars[0];
    assert_eq!(exemplar.trace_id, [0x0a]);
    let Some(opentelemetry_proto::tonic::metrics::v1::exemplar::Value::AsDouble(nan)) =
        exemplar.value
    else {
        panic!("a double")
    };
    assert_eq!(nan.to_bits(), 0x7ff8_0000_0000_0002);
}

#[test]
fn a_column_that_is_not_there_is_named() {
    let rows = rows();
    let names = rows.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    for (at, name) in names.iter().enumerate() {
        let others: Vec<usize> = (0..rows.num_columns()).filter(|idx| *idx != at).collect();

        let error = export(&[rows.project(&others).unwrap()]).unwrap_err().to_string();

        assert!(error.contains(&format!("`{name}`")) && error.contains("SELECT *"), "{error}");
    }
}
