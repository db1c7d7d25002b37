//! Samples of series, and the Arrow schema of the `metrics` table.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::histogram::Native;

/// The sample value that ends a series at its timestamp (Prometheus' staleness marker).
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Returns true for Prometheus' staleness marker and no other NaN.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// Returns Prometheus' staleness marker.
pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// What a series' numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum MetricKind {
    /// The sender did not say (remote write 1.0 without metadata).
    #[default]
    Unknown = 0,
    /// A value that goes up and down.
    Gauge = 1,
    /// A sum that only grows.
    Counter = 2,
    /// A sum that may shrink.
    UpDownCounter = 3,
    /// A part of a classic histogram: `_bucket`, `_sum` or `_count`.
    Histogram = 4,
    /// A part of a summary: a quantile, `_sum` or `_count`.
    Summary = 5,
    /// An exponential or native histogram: its shape is in the `exp_*` columns, `value` is its count.
    ExpHistogram = 6,
    /// A histogram whose counts go up and down (OpenMetrics).
    GaugeHistogram = 7,
    /// Facts in labels, the value is 1 (OpenMetrics).
    Info = 8,
    /// A state a series, 1 for those that are on (OpenMetrics).
    StateSet = 9,
}

impl MetricKind {
    /// All kinds, each at the index of its number on disk.
    pub const ALL: [MetricKind; 10] = [
        MetricKind::Unknown,
        MetricKind::Gauge,
        MetricKind::Counter,
        MetricKind::UpDownCounter,
        MetricKind::Histogram,
        MetricKind::Summary,
        MetricKind::ExpHistogram,
        MetricKind::GaugeHistogram,
        MetricKind::Info,
        MetricKind::StateSet,
    ];

    /// Returns the text of the `kind` column.
    pub fn as_str(self) -> &'static str {
        match self {
            MetricKind::Unknown => "unknown",
            MetricKind::Gauge => "gauge",
            MetricKind::Counter => "counter",
            MetricKind::UpDownCounter => "updowncounter",
            MetricKind::Histogram => "histogram",
            MetricKind::Summary => "summary",
            MetricKind::ExpHistogram => "exponential_histogram",
            MetricKind::GaugeHistogram => "gaugehistogram",
            MetricKind::Info => "info",
            MetricKind::StateSet => "stateset",
        }
    }

    /// Returns what Prometheus calls it.
    pub fn prometheus_type(self) -> &'static str {
        match self {
            MetricKind::UpDownCounter => "gauge",
            MetricKind::ExpHistogram => "histogram",
            other => other.as_str(),
        }
    }

    /// Reads the number of a type in remote write, 1.0 and 2.0 alike.
    pub fn from_prometheus(number: u64) -> Self {
        match number {
            1 => MetricKind::Counter,
            2 => MetricKind::Gauge,
            3 => MetricKind::Histogram,
            4 => MetricKind::GaugeHistogram,
            5 => MetricKind::Summary,
            6 => MetricKind::Info,
            7 => MetricKind::StateSet,
            _ => MetricKind::Unknown,
        }
    }

    /// Reads the number of the kind on disk.
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// Whether the numbers of a sum or histogram are totals or differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Temporality {
    /// Gauges, and senders that do not say.
    #[default]
    Unspecified = 0,
    /// Differences since the last report.
    Delta = 1,
    /// Totals since a start.
    Cumulative = 2,
}

impl Temporality {
    /// All temporalities, each at the index of its number on disk.
    pub const ALL: [Temporality; 3] =
        [Temporality::Unspecified, Temporality::Delta, Temporality::Cumulative];

    /// Returns the text of the `temporality` column, or `None` for null.
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Temporality::Unspecified => None,
            Temporality::Delta => Some("delta"),
            Temporality::Cumulative => Some("cumulative"),
        }
    }

    /// Reads the number on disk.
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// What is known of a series beside its labels. The first sender's word stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SeriesMeta {
    /// What the numbers are.
    pub kind: MetricKind,
    /// Totals or differences.
    pub temporality: Temporality,
    /// The unit as sent (UCUM in OTLP), or empty.
    pub unit: Arc<str>,
    /// The name of the rule that chose the commons, as in [`super::Tags`]; empty for what the server
    /// makes itself.
    pub tag_rule: Arc<str>,
}

impl Default for SeriesMeta {
    fn default() -> Self {
        Self {
            kind: MetricKind::Unknown,
            temporality: Temporality::Unspecified,
            unit: Arc::from(""),
            tag_rule: Arc::from(""),
        }
    }
}

/// One point of an exponential histogram, lossless (OTLP `ExponentialHistogramDataPoint`, or a
/// Prometheus native histogram).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExpHistogram {
    /// The number of values.
    pub count: u64,
    /// The sum of the values, when the sender knows it.
    pub sum: Option<f64>,
    /// Bucket boundaries are powers of 2^(2^-scale).
    pub scale: i32,
    /// The number of values at or below `zero_threshold`.
    pub zero_count: u64,
    /// The half-width of the zero bucket.
    pub zero_threshold: f64,
    /// The index of the first positive bucket.
    pub positive_offset: i32,
    /// Counts of the positive buckets.
    pub positive_counts: Vec<u64>,
    /// The index of the first negative bucket.
    pub negative_offset: i32,
    /// Counts of the negative buckets.
    pub negative_counts: Vec<u64>,
    /// The smallest value, when the sender knows it.
    pub min: Option<f64>,
    /// The largest value, when the sender knows it.
    pub max: Option<f64>,
    /// Since when it counts, ns since 1970 UTC; 0 when the sender does not say.
    pub start_ns: i64,
    /// What only Prometheus' native histograms have; `scale` is then their schema.
    pub native: Option<Box<Native>>,
}

impl ExpHistogram {
    /// Returns the number of values as the `value` column shows it.
    #[expect(clippy::cast_precision_loss, reason = "the exact count has a column of its own")]
    pub fn value(&self) -> f64 {
        match self.native.as_ref().and_then(|native| native.float.as_ref()) {
            Some(float) => float.count,
            None => self.count as f64,
        }
    }

    /// Returns about how much memory it takes beside itself.
    pub fn n_heap_bytes(&self) -> usize {
        let integers = self.positive_counts.len() + self.negative_counts.len();
        8 * integers + self.native.as_ref().map_or(0, |native| native.n_bytes())
    }
}

/// Returns the type of text columns that repeat: dictionary-encoded UTF-8.
pub fn dictionary_utf8() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// The columns every metrics file has, sorted by (metric, labels, timestamp).
static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new(
            "timestamp",
            DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            false,
        ),
        Field::new("metric", dictionary_utf8(), false),
        Field::new("value", DataType::Float64, false),
        Field::new("service", dictionary_utf8(), true),
        Field::new("env", dictionary_utf8(), true),
        Field::new("cluster", dictionary_utf8(), true),
        Field::new("labels", dictionary_utf8(), false),
        Field::new("kind", dictionary_utf8(), false),
        Field::new("unit", dictionary_utf8(), true),
        Field::new("temporality", dictionary_utf8(), true),
        Field::new("series_id", DataType::UInt64, false),
        Field::new("tag_rule", dictionary_utf8(), true),
    ]))
});

/// The column that says since when a sample counts. Files have it when one of their samples does.
pub const START_TIME: &str = "start_time";

fn start_time() -> Field {
    let ns = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    Field::new(START_TIME, ns, true)
}

/// The columns of plain files with samples that say since when they count.
static STARTED_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mut fields: Vec<_> = SCHEMA.fields().iter().cloned().collect();
    fields.push(Arc::new(start_time()));
    Arc::new(Schema::new(fields))
});

/// The columns of files with exponential histograms: those of [`schema`], then the `exp_*` ones,
/// then the start time.
static EXP_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let list = |item| DataType::List(Arc::new(Field::new("item", item, true)));
    let counts = || list(DataType::UInt64);
    let mut fields: Vec<_> = SCHEMA.fields().iter().cloned().collect();
    for (name, data_type) in [
        ("exp_count", DataType::UInt64),
        ("exp_sum", DataType::Float64),
        ("exp_scale", DataType::Int32),
        ("exp_zero_count", DataType::UInt64),
        ("exp_zero_threshold", DataType::Float64),
        ("exp_positive_offset", DataType::Int32),
        ("exp_positive_counts", counts()),
        ("exp_negative_offset", DataType::Int32),
        ("exp_negative_counts", counts()),
        ("exp_min", DataType::Float64),
        ("exp_max", DataType::Float64),
        ("exp_reset_hint", dictionary_utf8()),
        ("exp_custom_bounds", list(DataType::Float64)),
        ("exp_positive_indexes", list(DataType::Int32)),
        ("exp_negative_indexes", list(DataType::Int32)),
        ("exp_float_count", DataType::Float64),
        ("exp_float_zero_count", DataType::Float64),
        ("exp_float_positive_counts", list(DataType::Float64)),
        ("exp_float_negative_counts", list(DataType::Float64)),
    ] {
        fields.push(Arc::new(Field::new(name, data_type, true)));
    }
    fields.push(Arc::new(start_time()));
    Arc::new(Schema::new(fields))
});

/// What is known of a metric, whichever series it has: for people and for `/api/v1/metadata`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Description {
    /// What the numbers are.
    pub kind: MetricKind,
    /// The unit, or empty.
    pub unit: Arc<str>,
    /// What it says, in the words of whoever made it; or empty.
    pub help: Arc<str>,
}

/// Returns the schema of plain metrics files (everything but exponential histograms).
pub fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// Returns the schema of plain metrics files with a sample that says since when it counts.
pub fn started_schema() -> SchemaRef {
    Arc::clone(&STARTED_SCHEMA)
}

/// Returns the schema of the whole `metrics` table, exponential histograms included.
pub fn exp_schema() -> SchemaRef {
    Arc::clone(&EXP_SCHEMA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_marker_is_stale() {
        assert!(is_stale(stale_marker()) && !is_stale(f64::NAN) && !is_stale(0.0));
    }

    #[test]
    fn numbers_on_disk_are_read_back() {
        for kind in MetricKind::ALL {
            assert_eq!(MetricKind::from_u8(kind as u8), Some(kind));
        }
        assert_eq!(MetricKind::from_u8(10), None);
    }
}
