//! Samples of series, and the Arrow schema of the `metrics` table.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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
    /// An exponential histogram: its shape is in the `exp_*` columns, `value` is its count.
    ExpHistogram = 6,
}

impl MetricKind {
    /// All kinds, each at the index of its number on disk.
    pub const ALL: [MetricKind; 7] = [
        MetricKind::Unknown,
        MetricKind::Gauge,
        MetricKind::Counter,
        MetricKind::UpDownCounter,
        MetricKind::Histogram,
        MetricKind::Summary,
        MetricKind::ExpHistogram,
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

/// One point of an exponential histogram, lossless (OTLP `ExponentialHistogramDataPoint`).
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

/// The columns of files with exponential histograms: those of [`schema`], then the `exp_*` ones.
static EXP_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let counts = || DataType::List(Arc::new(Field::new("item", DataType::UInt64, true)));
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
    ] {
        fields.push(Arc::new(Field::new(name, data_type, true)));
    }
    Arc::new(Schema::new(fields))
});

/// Returns the schema of plain metrics files (everything but exponential histograms).
pub fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
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
        assert_eq!(MetricKind::from_u8(7), None);
    }
}
