//! What PromQL reads and what it answers: plain values.

use crate::model::{Labels, SeriesData};

/// One value of one series at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The series' labels.
    pub labels: Labels,
    /// ms since 1970 UTC.
    pub timestamp_ms: i64,
    /// The value.
    pub value: f64,
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
}
