//! What telemetry is: values only, no I/O, no async.
//!
//! Labels and matchers, the tags that say where a row belongs, the three signals with one Arrow
//! schema each, and the `Grant` that says which commons a caller may write or read.

pub mod alert;
pub mod bucket;
pub mod decimal;
pub mod dictionary;
pub mod exemplar;
pub mod grant;
pub mod histogram;
pub mod ipc;
pub mod json;
pub mod json_read;
pub mod labels;
pub mod level;
pub mod log;
pub mod matcher;
pub mod metric;
pub mod names;
pub mod native;
pub mod notation;
pub mod point;
pub mod point_rest;
pub mod regexp;
pub mod series;
pub mod span;
pub mod span_rest;
pub mod tags;
pub mod upgrade;

pub use alert::AlertEvent;
pub use grant::{Grant, ReadScope, Role, WriteScope};
pub use histogram::{Buckets, Histogram, HistogramPoints, Native, ResetHint};
pub use labels::{Labels, LabelsBuilder};
pub use log::{LineFields, LogRow, LogsBuilder};
pub use matcher::{
    MatchOp, Matcher, REGEX_PROGRAM_BYTES_CEILING, REGEX_PROGRAM_BYTES_MAX, check_label_regex,
    compile_label_regex,
};
pub use metric::{Description, ExpHistogram, MetricKind, SeriesMeta, Temporality};
pub use native::NativeHistogram;
pub use series::{SeriesData, StoredPoints};
pub use span::{SpanRow, SpansBuilder};
pub use tags::{Commons, Tags};

/// The kinds of telemetry.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// Samples of series.
    Metrics,
    /// Log records.
    Logs,
    /// Spans of traces.
    Spans,
    /// Single observations of series.
    Exemplars,
    /// Data points of metrics as OTLP has them.
    Points,
}

impl Signal {
    /// All signals, in the order they are written.
    pub const ALL: [Signal; 5] =
        [Signal::Metrics, Signal::Logs, Signal::Spans, Signal::Exemplars, Signal::Points];

    /// Returns the name used in paths, tables and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Signal::Metrics => "metrics",
            Signal::Logs => "logs",
            Signal::Spans => "spans",
            Signal::Exemplars => "exemplars",
            Signal::Points => "points",
        }
    }
}

impl std::fmt::Display for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
