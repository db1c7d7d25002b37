//! What PromQL reads and what it answers: plain values.

use std::sync::Arc;

use crate::model::{Histogram, Labels, SeriesData};

/// One value of one series at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The series' labels.
    pub labels: Labels,
    /// ms since 1970 UTC.
    pub timestamp_ms: i64,
    /// The value; 0 where there is a histogram.
    pub value: f64,
    /// The native histogram that stands in the value's place.
    pub histogram: Option<Arc<Histogram>>,
}

/// The four result types of the Prometheus HTTP API.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number without labels.
    Scalar {
        /// ms since 1970 UTC.
        timestamp_ms: i64,
        /// The value.
        value: f64,
    },
    /// A string literal.
    String {
        /// ms since 1970 UTC.
        timestamp_ms: i64,
        /// The text.
        value: String,
    },
    /// One value a series, all at the evaluation time.
    Vector(Vec<Sample>),
    /// Many values a series.
    Matrix(Vec<SeriesData>),
}

impl Value {
    /// Returns about how many bytes the value takes as Prometheus' JSON.
    pub fn likely_bytes(&self) -> usize {
        match self {
            Value::Scalar { .. } => 128,
            Value::String { value, .. } => 128 + value.len(),
            Value::Vector(samples) => {
                let histogram = |s: &Sample| s.histogram.as_ref().map_or(0, |h| likely_bytes(h));
                samples.iter().map(|s| 64 + s.labels.packed().len() + histogram(s)).sum()
            }
            Value::Matrix(series) => {
                let histograms = |s: &SeriesData| -> usize {
                    s.histograms.iter().map(|(_, histogram)| likely_bytes(histogram)).sum()
                };
                let points = |s: &SeriesData| 24 * s.values.len() + histograms(s);
                series.iter().map(|s| 64 + s.labels.packed().len() + points(s)).sum()
            }
        }
    }
}

fn likely_bytes(histogram: &Histogram) -> usize {
    96 + 64 * (histogram.positive.indexes.len() + histogram.negative.indexes.len() + 1)
}

/// A value with what the user should know about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The result.
    pub value: Value,
    /// Things that are probably wrong with the query or the data.
    pub warnings: Vec<String>,
    /// Things worth knowing.
    pub infos: Vec<String>,
    /// How many samples were read.
    pub n_samples: usize,
    /// How many were looked at; none unless the engine was asked to count.
    pub counts: Option<SampleCounts>,
    /// What its time went to.
    pub timings: Timings,
}

/// What the time of a query went to, ns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Its wait for a turn.
    pub queued_ns: u64,
    /// Reading its text and planning.
    pub prepared_ns: u64,
    /// Reading series and computing.
    pub evaluated_ns: u64,
    /// Putting the result in order; 0 where it stays in the order it came.
    pub sorted_ns: u64,
}

/// How many samples a query looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleCounts {
    /// At each step, with its ms since 1970 UTC; a sample counts again at each step that sees it.
    pub per_step: Vec<(i64, u64)>,
    /// The most that were held at a time: all memory of samples and step values, in samples.
    pub n_peak: usize,
}

/// Prints a number without an exponent, as `count_values` does and as literals are written.
pub(super) fn format_number(value: f64) -> String {
    if value.is_finite() { value.to_string() } else { format_value(value) }
}

/// Prints a value as Prometheus' API does: `1`, `0.25`, `1e+21`, `NaN`, `+Inf`.
pub fn format_value(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let size = value.abs();
    let mut buffer = ryu::Buffer::new();
    // Of two shortest texts that are equally near, Rust takes the larger, Go and `ryu` the even one.
    let text = buffer.format_finite(value);
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        let is_plain = !text.contains('e');
        let text = if is_plain {
            text.strip_suffix(".0").unwrap_or(text).to_owned()
        } else {
            value.to_string()
        };
        return text;
    }
    // Rust writes `1e21` and `1e-7`, Go `1e+21` and `1e-07`.
    let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// Prints a number as Go's `%g` does, or with `Some(2)` as `%.2g`: `0.25`, `1e+06`, `NaN`, `+Inf`.
pub(super) fn format_g(value: f64, n_digits: Option<u8>) -> String {
    if !value.is_finite() {
        return format_value(value);
    }
    let rounded = n_digits.map(|n| format!("{value:.*e}", usize::from(n.saturating_sub(1))));
    let rounded = rounded.and_then(|text| text.parse().ok()).unwrap_or(value);
    let text = format!("{rounded:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((text.as_str(), "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..i32::from(n_digits.unwrap_or(6))).contains(&exponent) {
        return rounded.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_warnings_print_as_in_go() {
        let cases = [
            (1.0, "1"),
            (-0.25, "-0.25"),
            (123_456.0, "123456"),
            (1e6, "1e+06"),
            (1.5e20, "1.5e+20"),
            (1e-4, "0.0001"),
            (2.5e-5, "2.5e-05"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
        ];
        for (value, want) in cases {
            assert_eq!(format_g(value, None), want);
        }
        for (value, want) in
            [(5.0, "5"), (5.55, "5.5"), (15.7, "16"), (99.9, "1e+02"), (0.01, "0.01")]
        {
            assert_eq!(format_g(value, Some(2)), want);
        }
    }

    #[test]
    fn values_print_as_in_the_prometheus_api() {
        let cases = [
            (1.0, "1"),
            (-0.25, "-0.25"),
            (1e21, "1e+21"),
            (1.5e20, "150000000000000000000"),
            (2.5e-7, "2.5e-07"),
            (1e300, "1e+300"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (-0.0, "-0"),
            (131_072.000_244_140_62, "131072.00024414062"),
        ];
        for (value, want) in cases {
            assert_eq!(format_value(value), want);
        }
    }
}
