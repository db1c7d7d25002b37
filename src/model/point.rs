//! Metric data points of OTLP as they were sent, and the Arrow schema of the `points` table.
//!
//! What PromQL sees of a point are samples under translated names: totals where differences came, a
//! histogram as many series. Here is the point itself, one row each, for SQL and for whoever wants to
//! hand it on. `metric` and `labels` are those of its series, so that both are found and deleted alike.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BooleanBuilder, Float64Builder, Int32Builder, Int64Builder,
    ListBuilder, PrimitiveBuilder, RecordBatch, StringBuilder, TimestampNanosecondBuilder,
    UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef, UInt64Type};

use super::dictionary::DictionaryColumn;
use super::json;
use super::labels::{Labels, METRIC_NAME};
use super::log::{fitted, non_empty, timestamp_ns, timestamps};
use super::metric::dictionary_utf8;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let list = |item| DataType::List(Arc::new(Field::new("item", item, true)));
    let text = |name| Field::new(name, dictionary_utf8(), true);
    Arc::new(Schema::new(vec![
        Field::new("timestamp", timestamp_ns(), false),
        Field::new("metric", dictionary_utf8(), false),
        text("service"),
        text("env"),
        text("cluster"),
        Field::new("labels", dictionary_utf8(), false),
        Field::new("name", dictionary_utf8(), false),
        Field::new("kind", dictionary_utf8(), false),
        text("unit"),
        text("description"),
        text("temporality"),
        Field::new("is_monotonic", DataType::Boolean, true),
        Field::new("start_time", timestamp_ns(), true),
        Field::new("value", DataType::Float64, true),
        Field::new("value_int", DataType::Int64, true),
        Field::new("count", DataType::UInt64, true),
        Field::new("sum", DataType::Float64, true),
        Field::new("min", DataType::Float64, true),
        Field::new("max", DataType::Float64, true),
        Field::new("bucket_counts", list(DataType::UInt64), true),
        Field::new("explicit_bounds", list(DataType::Float64), true),
        Field::new("scale", DataType::Int32, true),
        Field::new("zero_count", DataType::UInt64, true),
        Field::new("zero_threshold", DataType::Float64, true),
        Field::new("positive_offset", DataType::Int32, true),
        Field::new("positive_counts", list(DataType::UInt64), true),
        Field::new("negative_offset", DataType::Int32, true),
        Field::new("negative_counts", list(DataType::UInt64), true),
        Field::new("quantiles", list(DataType::Float64), true),
        Field::new("quantile_values", list(DataType::Float64), true),
        Field::new("flags", DataType::Int32, false),
        Field::new("attributes", dictionary_utf8(), false),
        Field::new("resource", dictionary_utf8(), false),
        text("scope_name"),
        text("scope_version"),
        text("scope_attributes"),
        Field::new("exemplars", DataType::Utf8, true),
        text("otlp_rest"),
        Field::new("tag_rule", dictionary_utf8(), true),
    ]))
});

/// Returns the schema of point batches and files; files are sorted by (metric, timestamp).
pub fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// What a point's numbers are; the text of the `kind` column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointKind {
    /// OTLP `Gauge`.
    Gauge,
    /// OTLP `Sum`.
    Sum,
    /// OTLP `Histogram`.
    Histogram,
    /// OTLP `ExponentialHistogram`.
    ExpHistogram,
    /// OTLP `Summary`.
    Summary,
}

impl PointKind {
    /// All kinds.
    pub const ALL: [PointKind; 5] = [
        PointKind::Gauge,
        PointKind::Sum,
        PointKind::Histogram,
        PointKind::ExpHistogram,
        PointKind::Summary,
    ];

    /// Returns the text of the column.
    pub fn as_str(self) -> &'static str {
        match self {
            PointKind::Gauge => "gauge",
            PointKind::Sum => "sum",
            PointKind::Histogram => "histogram",
            PointKind::ExpHistogram => "exponential_histogram",
            PointKind::Summary => "summary",
        }
    }
}

/// What the points of one metric of one scope and resource share.
#[derive(Debug, Clone, Copy, Default)]
pub struct PointOrigin<'a> {
    /// The metric's name.
    pub name: &'a str,
    /// Its unit, or empty.
    pub unit: &'a str,
    /// What it says, or empty.
    pub description: &'a str,
    /// `delta`, `cumulative`, or empty.
    pub temporality: &'a str,
    /// Of sums, whether they only grow.
    pub is_monotonic: Option<bool>,
    /// The resource's attributes, a JSON object.
    pub resource: &'a str,
    /// The instrumentation scope's name, or empty.
    pub scope_name: &'a str,
    /// Its version, or empty.
    pub scope_version: &'a str,
    /// Its attributes, a JSON object, or empty.
    pub scope_attributes: &'a str,
}

/// The numbers of one point; what its kind does not have is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PointNumbers {
    /// A number as a double.
    pub value: Option<f64>,
    /// A number as a whole one.
    pub value_int: Option<i64>,
    /// How many observations.
    pub count: Option<u64>,
    /// Their sum.
    pub sum: Option<f64>,
    /// The least.
    pub min: Option<f64>,
    /// The greatest.
    pub max: Option<f64>,
    /// Observations in each bucket.
    pub bucket_counts: Option<Vec<u64>>,
    /// Where buckets end.
    pub explicit_bounds: Option<Vec<f64>>,
    /// How fine the buckets are.
    pub scale: Option<i32>,
    /// Observations near zero.
    pub zero_count: Option<u64>,
    /// What is near.
    pub zero_threshold: Option<f64>,
    /// The buckets above zero: the first one's index, and counts.
    pub positive: Option<(i32, Vec<u64>)>,
    /// The buckets below zero.
    pub negative: Option<(i32, Vec<u64>)>,
    /// Which quantiles, and their values.
    pub quantiles: Option<(Vec<f64>, Vec<f64>)>,
}

/// One point.
#[derive(Debug, Clone, Copy)]
pub struct PointRow<'a> {
    /// When, ns since 1970 UTC.
    pub timestamp_ns: i64,
    /// Since when it counts, ns since 1970 UTC; 0 when the sender does not say.
    pub start_ns: i64,
    /// What its numbers are.
    pub kind: PointKind,
    /// The numbers.
    pub numbers: &'a PointNumbers,
    /// OTLP's `DataPointFlags`.
    pub flags: u32,
    /// A JSON object.
    pub attributes: &'a str,
    /// A JSON array, or empty.
    pub exemplars: &'a str,
    /// The text of a [`PointRest`](super::point_rest::PointRest), or empty.
    pub rest: &'a str,
}

/// Collects points of one commons into an Arrow batch.
#[derive(Default)]
pub struct PointsBuilder {
    timestamp: Option<TimestampNanosecondBuilder>,
    start: Option<TimestampNanosecondBuilder>,
    /// From `metric` to `labels`, and `tag_rule`.
    series: SeriesColumns,
    name: DictionaryColumn,
    kind: DictionaryColumn,
    unit: DictionaryColumn,
    description: DictionaryColumn,
    temporality: DictionaryColumn,
    is_monotonic: BooleanBuilder,
    numbers: NumberColumns,
    flags: Int32Builder,
    attributes: DictionaryColumn,
    resource: DictionaryColumn,
    scope_name: DictionaryColumn,
    scope_version: DictionaryColumn,
    scope_attributes: DictionaryColumn,
    exemplars: StringBuilder,
    rest: DictionaryColumn,
    n_rows: usize,
}

// Arrow's builders do not print themselves well.
impl std::fmt::Debug for PointsBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PointsBuilder").field("n_rows", &self.n_rows).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct SeriesColumns {
    metric: DictionaryColumn,
    service: DictionaryColumn,
    env: DictionaryColumn,
    cluster: DictionaryColumn,
    labels: DictionaryColumn,
    rule: DictionaryColumn,
}

impl SeriesColumns {
    fn push(&mut self, metric: &str, series: &Labels, rule: &str) {
        let tag = |name| series.get(name);
        self.metric.push(Some(metric));
        self.service.push(tag("service"));
        self.env.push(tag("env"));
        self.cluster.push(tag("cluster"));
        // What tells a histogram's series apart is in the numbers.
        let with_column = [METRIC_NAME, "commons", "service", "env", "cluster", "le", "quantile"];
        let others = series.iter().filter(|(name, _)| !with_column.contains(name));
        self.labels.push(Some(&json::object(others)));
        self.rule.push(non_empty(rule));
    }
}

#[derive(Default)]
struct NumberColumns {
    value: Float64Builder,
    value_int: Int64Builder,
    count: UInt64Builder,
    sum: Float64Builder,
    min: Float64Builder,
    max: Float64Builder,
    bucket_counts: Lists<UInt64Type>,
    explicit_bounds: Lists<Float64Type>,
    scale: Int32Builder,
    zero_count: UInt64Builder,
    zero_threshold: Float64Builder,
    positive_offset: Int32Builder,
    positive_counts: Lists<UInt64Type>,
    negative_offset: Int32Builder,
    negative_counts: Lists<UInt64Type>,
    quantiles: Lists<Float64Type>,
    quantile_values: Lists<Float64Type>,
}

type Lists<T> = ListBuilder<PrimitiveBuilder<T>>;

fn push_list<T: ArrowPrimitiveType>(lists: &mut Lists<T>, list: Option<&[T::Native]>) {
    lists.values().append_slice(list.unwrap_or_default());
    lists.append(list.is_some());
}

impl NumberColumns {
    fn push(&mut self, numbers: &PointNumbers) {
        self.value.append_option(numbers.value);
        self.value_int.append_option(numbers.value_int);
        self.count.append_option(numbers.count);
        self.sum.append_option(numbers.sum);
        self.min.append_option(numbers.min);
        self.max.append_option(numbers.max);
        push_list(&mut self.bucket_counts, numbers.bucket_counts.as_deref());
        push_list(&mut self.explicit_bounds, numbers.explicit_bounds.as_deref());
        self.scale.append_option(numbers.scale);
        self.zero_count.append_option(numbers.zero_count);
        self.zero_threshold.append_option(numbers.zero_threshold);
        for (side, offsets, counts) in [
            (&numbers.positive, &mut self.positive_offset, &mut self.positive_counts),
            (&numbers.negative, &mut self.negative_offset, &mut self.negative_counts),
        ] {
            offsets.append_option(side.as_ref().map(|(offset, _)| *offset));
            push_list(counts, side.as_ref().map(|(_, counts)| &**counts));
        }
        let quantiles = numbers.quantiles.as_ref();
        push_list(&mut self.quantiles, quantiles.map(|(quantiles, _)| &**quantiles));
        push_list(&mut self.quantile_values, quantiles.map(|(_, values)| &**values));
    }

    fn finish(&mut self) -> [ArrayRef; 17] {
        [
            fitted(self.value.finish()),
            fitted(self.value_int.finish()),
            fitted(self.count.finish()),
            fitted(self.sum.finish()),
            fitted(self.min.finish()),
            fitted(self.max.finish()),
            fitted(self.bucket_counts.finish()),
            fitted(self.explicit_bounds.finish()),
            fitted(self.scale.finish()),
            fitted(self.zero_count.finish()),
            fitted(self.zero_threshold.finish()),
            fitted(self.positive_offset.finish()),
            fitted(self.positive_counts.finish()),
            fitted(self.negative_offset.finish()),
            fitted(self.negative_counts.finish()),
            fitted(self.quantiles.finish()),
            fitted(self.quantile_values.finish()),
        ]
    }
}

impl PointsBuilder {
    /// Appends a point of a series, whose metric is shown by this name; the commons is the batch's, so
    /// it is not a column.
    pub fn push(
        &mut self,
        (metric, series, rule): (&str, &Labels, &str),
        origin: &PointOrigin<'_>,
        row: &PointRow<'_>,
    ) {
        self.timestamp.get_or_insert_with(|| timestamps(0)).append_value(row.timestamp_ns);
        let start_ns = (row.start_ns != 0).then_some(row.start_ns);
        self.start.get_or_insert_with(|| timestamps(0)).append_option(start_ns);
        self.series.push(metric, series, rule);
        self.name.push(Some(origin.name));
        self.kind.push(Some(row.kind.as_str()));
        self.unit.push(non_empty(origin.unit));
        self.description.push(non_empty(origin.description));
        self.temporality.push(non_empty(origin.temporality));
        self.is_monotonic.append_option(origin.is_monotonic);
        self.numbers.push(row.numbers);
        self.flags.append_value(row.flags.cast_signed());
        self.attributes.push(Some(row.attributes));
        self.resource.push(Some(origin.resource));
        self.scope_name.push(non_empty(origin.scope_name));
        self.scope_version.push(non_empty(origin.scope_version));
        self.scope_attributes.push(non_empty(origin.scope_attributes));
        self.exemplars.append_option(non_empty(row.exemplars));
        self.rest.push(non_empty(row.rest));
        self.n_rows += 1;
    }

    /// Returns true when nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.n_rows == 0
    }

    /// Returns the batch, in arrival order, and empties the builder.
    pub fn finish(&mut self) -> RecordBatch {
        self.n_rows = 0;
        let mut times = self.timestamp.take().unwrap_or_else(|| timestamps(0));
        let mut starts = self.start.take().unwrap_or_else(|| timestamps(0));
        let series = &mut self.series;
        let mut columns: Vec<ArrayRef> = vec![
            fitted(times.finish()),
            series.metric.finish(),
            series.service.finish(),
            series.env.finish(),
            series.cluster.finish(),
            series.labels.finish(),
            self.name.finish(),
            self.kind.finish(),
            self.unit.finish(),
            self.description.finish(),
            self.temporality.finish(),
            fitted(self.is_monotonic.finish()),
            fitted(starts.finish()),
        ];
        columns.extend(self.numbers.finish());
        columns.extend([
            fitted(self.flags.finish()),
            self.attributes.finish(),
            self.resource.finish(),
            self.scope_name.finish(),
            self.scope_version.finish(),
            self.scope_attributes.finish(),
            fitted(self.exemplars.finish()),
            self.rest.finish(),
            self.series.rule.finish(),
        ]);
        RecordBatch::try_new(schema(), columns).expect("every column got one value a row")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_become_a_batch_of_the_schema() {
        let series = Labels::from_pairs([("__name__", "h_count"), ("job", "a"), ("le", "1")]);
        let numbers = PointNumbers {
            count: Some(3),
            bucket_counts: Some(vec![1, 2]),
            explicit_bounds: Some(vec![0.5]),
            ..PointNumbers::default()
        };
        let origin = PointOrigin { name: "h", resource: "{}", ..PointOrigin::default() };
        let row = PointRow {
            timestamp_ns: 7,
            start_ns: 0,
            kind: PointKind::Histogram,
            numbers: &numbers,
            flags: 0,
            attributes: "{}",
            exemplars: "",
            rest: "",
        };
        let mut builder = PointsBuilder::default();

        builder.push(("h", &series, "rule"), &origin, &row);
        builder.push(("h", &series, "rule"), &origin, &row);

        let batch = builder.finish();
        assert_eq!((batch.num_rows(), batch.schema()), (2, schema()));
        let text = arrow::util::pretty::pretty_format_batches(&[batch]).unwrap().to_string();
        assert!(text.contains(r#"{"job":"a"}"#) && text.contains("[1, 2]"), "{text}");
        assert!(builder.is_empty() && builder.finish().num_rows() == 0);
    }
}
