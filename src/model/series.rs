//! A series with its samples, as readers get it.

use super::labels::Labels;

/// One series with its samples.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesData {
    /// The series' labels, `__name__` included where it is kept.
    pub labels: Labels,
    /// ms since 1970 UTC, strictly ascending.
    pub timestamps_ms: Vec<i64>,
    /// One value a timestamp; NaN payloads as they were sent.
    pub values: Vec<f64>,
}
