//! Rows as messages: points of one resource, scope and metric are told so once.

use arrow::array::{Array, ArrowPrimitiveType, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampNanosecondType, UInt64Type};
use hashbrown::HashMap;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint, exemplar, number_data_point,
};

use crate::api::tempo::any_value::{Values, id_bytes, resource_of, scope_of, text_of};
use crate::model::json_read::{Json, elements, get};
use crate::model::point::PointKind;
use crate::model::point_rest::PointRest;
use crate::model::span_rest::ColumnRest;

/// Returns the points of batches of the `points` table, texts without a dictionary, grouped in the
/// order in which they are met.
pub(super) fn resource_metrics(batches: &[RecordBatch]) -> Vec<ResourceMetrics> {
    let mut groups = Groups::default();
    for batch in batches {
        for row in 0..batch.num_rows() {
            groups.push(Row { batch, row });
        }
    }
    groups.list
}

/// All that is known of a metric beside its points.
#[derive(PartialEq, Eq, Hash)]
struct MetricKey {
    scope: (usize, usize),
    texts: [String; 5],
    rest: ColumnRest,
    is_monotonic: Option<bool>,
    temporality: i32,
}

#[derive(Default)]
struct Groups {
    list: Vec<ResourceMetrics>,
    resources: HashMap<(String, ColumnRest), usize>,
    scopes: HashMap<(usize, [String; 3], ColumnRest), usize>,
    metrics: HashMap<MetricKey, usize>,
}

impl Groups {
    fn push(&mut self, row: Row<'_>) {
        let rest = PointRest::from_text(row.text("otlp_rest"));
        let resource = self.resource(row, &rest);
        let scope = self.scope(resource, row, &rest);
        let metric = self.metric((resource, scope), row, &rest);
        let data = &mut self.list[resource].scope_metrics[scope].metrics[metric].data;
        match data {
            Some(Data::Gauge(Gauge { data_points })) | Some(Data::Sum(Sum { data_points, .. })) => {
                data_points.push(row.number_point(&rest));
            }
            Some(Data::Histogram(histogram)) => {
                histogram.data_points.push(row.histogram_point(&rest));
            }
            Some(Data::ExponentialHistogram(histogram)) => {
                histogram.data_points.push(row.exp_point(&rest));
            }
            Some(Data::Summary(summary)) => summary.data_points.push(row.summary_point(&rest)),
            None => unreachable!("a metric is made with its kind of points"),
        }
    }

    fn resource(&mut self, row: Row<'_>, rest: &PointRest) -> usize {
        let text = row.text("resource");
        let list = &mut self.list;
        *self.resources.entry((text.to_owned(), rest.resource.clone())).or_insert_with(|| {
            list.push(ResourceMetrics {
                resource: Some(resource_of(text, &rest.resource)),
                schema_url: rest.resource.schema_url.clone(),
                ..ResourceMetrics::default()
            });
            list.len() - 1
        })
    }

    fn scope(&mut self, resource: usize, row: Row<'_>, rest: &PointRest) -> usize {
        let texts = ["scope_name", "scope_version", "scope_attributes"].map(|name| row.text(name));
        let list = &mut self.list[resource].scope_metrics;
        let key = (resource, texts.map(str::to_owned), rest.scope.clone());
        *self.scopes.entry(key).or_insert_with(|| {
            list.push(ScopeMetrics {
                scope: Some(scope_of(texts, &rest.scope)),
                schema_url: rest.scope.schema_url.clone(),
                ..ScopeMetrics::default()
            });
            list.len() - 1
        })
    }

    fn metric(&mut self, scope: (usize, usize), row: Row<'_>, rest: &PointRest) -> usize {
        let texts =
            ["name", "unit", "description", "kind", "temporality"].map(|name| row.text(name));
        let [name, unit, description, kind, temporality] = texts.map(str::to_owned);
        let temporality = match (rest.temporality, temporality.as_str()) {
            (Some(number), _) => number,
            (None, "delta") => 1,
            (None, "cumulative") => 2,
            (None, _) => 0,
        };
        let metadata = rest.metadata.clone();
        let key = MetricKey {
            scope,
            texts: [name, unit, description, kind, metadata],
            rest: rest.metadata_rest.clone(),
            is_monotonic: row.boolean("is_monotonic"),
            temporality,
        };
        let list = &mut self.list[scope.0].scope_metrics[scope.1].metrics;
        if let Some(&known) = self.metrics.get(&key) {
            return known;
        }
        list.push(metric_of(&key));
        self.metrics.insert(key, list.len() - 1);
        list.len() - 1
    }
}

fn metric_of(key: &MetricKey) -> Metric {
    let [name, unit, description, kind, metadata] = &key.texts;
    let aggregation_temporality = key.temporality;
    let kind = PointKind::ALL.into_iter().find(|known| known.as_str() == kind);
    let data = match kind.unwrap_or(PointKind::Gauge) {
        PointKind::Gauge => Data::Gauge(Gauge::default()),
        PointKind::Sum => Data::Sum(Sum {
            aggregation_temporality,
            is_monotonic: key.is_monotonic.unwrap_or(false),
            ..Sum::default()
        }),
        PointKind::Histogram => {
            Data::Histogram(Histogram { aggregation_temporality, ..Histogram::default() })
        }
        PointKind::ExpHistogram => Data::ExponentialHistogram(ExponentialHistogram {
            aggregation_temporality,
            ..ExponentialHistogram::default()
        }),
        PointKind::Summary => Data::Summary(Summary::default()),
    };
    Metric {
        name: name.clone(),
        unit: unit.clone(),
        description: description.clone(),
        metadata: Values::new(&key.rest).attributes(metadata),
        data: Some(data),
    }
}

/// One row of a batch.
#[derive(Clone, Copy)]
struct Row<'a> {
    batch: &'a RecordBatch,
    row: usize,
}

impl<'a> Row<'a> {
    fn column(&self, name: &str) -> &'a dyn Array {
        self.batch.column_by_name(name).expect("all columns were put there").as_ref()
    }

    /// Returns a text, empty for null.
    fn text(&self, name: &str) -> &'a str {
        let texts = self.column(name).as_string::<i32>();
        if texts.is_valid(self.row) { texts.value(self.row) } else { "" }
    }

    fn boolean(&self, name: &str) -> Option<bool> {
        let flags = self.column(name).as_boolean();
        flags.is_valid(self.row).then(|| flags.value(self.row))
    }

    fn number<T: ArrowPrimitiveType>(&self, name: &str) -> Option<T::Native> {
        let numbers = self.column(name).as_primitive::<T>();
        numbers.is_valid(self.row).then(|| numbers.value(self.row))
    }

    fn list<T: ArrowPrimitiveType>(&self, name: &str) -> Vec<T::Native> {
        let lists = self.column(name).as_list::<i32>();
        if lists.is_null(self.row) {
            return Vec::new();
        }
        lists.value(self.row).as_primitive::<T>().values().to_vec()
    }

    fn time(&self, rest: &PointRest) -> u64 {
        let ns = self.number::<TimestampNanosecondType>("timestamp").unwrap_or(0);
        if rest.no_time { 0 } else { ns.max(0).cast_unsigned() }
    }

    fn start(&self, rest: &PointRest) -> u64 {
        let ns = self.number::<TimestampNanosecondType>("start_time").unwrap_or(0);
        rest.late_start_ns.unwrap_or(ns.max(0).cast_unsigned())
    }

    fn flags(&self) -> u32 {
        self.number::<Int32Type>("flags").unwrap_or(0).cast_unsigned()
    }

    fn count(&self) -> u64 {
        self.number::<UInt64Type>("count").unwrap_or(0)
    }

    fn double(&self, name: &str) -> Option<f64> {
        self.number::<Float64Type>(name)
    }

    fn attributes(
        &self,
        rest: &PointRest,
    ) -> Vec<opentelemetry_proto::tonic::common::v1::KeyValue> {
        Values::new(&rest.attributes).attributes(self.text("attributes"))
    }

    fn number_point(&self, rest: &PointRest) -> NumberDataPoint {
        use number_data_point::Value;
        let whole = self.number::<Int64Type>("value_int").map(Value::AsInt);
        NumberDataPoint {
            attributes: self.attributes(rest),
            start_time_unix_nano: self.start(rest),
            time_unix_nano: self.time(rest),
            exemplars: self.exemplars(rest),
            flags: self.flags(),
            value: whole.or_else(|| self.double("value").map(Value::AsDouble)),
        }
    }

    fn histogram_point(&self, rest: &PointRest) -> HistogramDataPoint {
        HistogramDataPoint {
            attributes: self.attributes(rest),
            start_time_unix_nano: self.start(rest),
            time_unix_nano: self.time(rest),
            count: self.count(),
            sum: self.double("sum"),
            bucket_counts: self.list::<UInt64Type>("bucket_counts"),
            explicit_bounds: self.list::<Float64Type>("explicit_bounds"),
            exemplars: self.exemplars(rest),
            flags: self.flags(),
            min: self.double("min"),
            max: self.double("max"),
        }
    }

    fn exp_point(&self, rest: &PointRest) -> ExponentialHistogramDataPoint {
        let buckets = |offset: &str, counts: &str| {
            let offset = self.number::<Int32Type>(offset)?;
            Some(Buckets { offset, bucket_counts: self.list::<UInt64Type>(counts) })
        };
        ExponentialHistogramDataPoint {
            attributes: self.attributes(rest),
            start_time_unix_nano: self.start(rest),
            time_unix_nano: self.time(rest),
            count: self.count(),
            sum: self.double("sum"),
            scale: self.number::<Int32Type>("scale").unwrap_or(0),
            zero_count: self.number::<UInt64Type>("zero_count").unwrap_or(0),
            positive: buckets("positive_offset", "positive_counts"),
            negative: buckets("negative_offset", "negative_counts"),
            flags: self.flags(),
            exemplars: self.exemplars(rest),
            min: self.double("min"),
            max: self.double("max"),
            zero_threshold: self.double("zero_threshold").unwrap_or(0.0),
        }
    }

    fn summary_point(&self, rest: &PointRest) -> SummaryDataPoint {
        let quantiles = self.list::<Float64Type>("quantiles").into_iter();
        let values = self.list::<Float64Type>("quantile_values");
        let pairs =
            quantiles.zip(values).map(|(quantile, value)| ValueAtQuantile { quantile, value });
        SummaryDataPoint {
            attributes: self.attributes(rest),
            start_time_unix_nano: self.start(rest),
            time_unix_nano: self.time(rest),
            count: self.count(),
            sum: self.double("sum").unwrap_or(0.0),
            quantile_values: pairs.collect(),
            flags: self.flags(),
        }
    }

    fn exemplars(&self, rest: &PointRest) -> Vec<Exemplar> {
        let mut values = Values::new(&rest.exemplars);
        let exemplars = elements(self.text("exemplars")).map(|one| Exemplar {
            filtered_attributes: values.attributes(get(one, "attributes").unwrap_or("")),
            time_unix_nano: text_of(one, "time_unix_nano").parse().unwrap_or(0),
            span_id: id_bytes(&text_of(one, "span_id")),
            trace_id: id_bytes(&text_of(one, "trace_id")),
            value: exemplar_value(one),
        });
        exemplars.collect()
    }
}

fn exemplar_value(one: &str) -> Option<exemplar::Value> {
    use exemplar::Value;
    if let Some(whole) = get(one, "value_int") {
        return unquoted(whole).parse().ok().map(Value::AsInt);
    }
    let bits = get(one, "bits").and_then(|bits| unquoted(bits).parse().ok()).map(f64::from_bits);
    let value = || {
        Some(match Json::of(get(one, "value")?) {
            Json::Number(number) => number.parse().ok()?,
            Json::Text(text) if text == "Infinity" => f64::INFINITY,
            Json::Text(text) if text == "-Infinity" => f64::NEG_INFINITY,
            _ => f64::NAN,
        })
    };
    bits.or_else(value).map(Value::AsDouble)
}

fn unquoted(text: &str) -> &str {
    text.trim_matches('"')
}
