//! How large a TraceQL question may be, and how much of a trace is answered.

/// The limits of questions about traces; the keys and defaults stand in `query::Config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest text (`query.traceql_text_max`).
    pub text_bytes_max: usize,
    /// The deepest nesting of a text (`query.traceql_depth_max`).
    pub depth_max: usize,
    /// The longest regular expression (`query.regex_text_max`).
    pub regex_bytes_max: usize,
    /// The largest compiled regular expression (`query.regex_program_max`).
    pub regex_program_bytes_max: usize,
    /// The most spans of one trace (`query.trace_spans_max`).
    pub trace_spans_max: usize,
    /// The most bytes of one trace (`query.trace_bytes_max`).
    pub trace_bytes_max: usize,
    /// The most traces of one search (`query.traces_max`).
    pub traces_max: usize,
    /// The most series of one metrics question (`query.series_max`).
    pub series_max: usize,
    /// The most points of one of them (`query.points_max`).
    pub points_max: usize,
}

/// The deepest nesting that a stack of 2 MiB is known to bear; it can only be lowered.
pub const DEPTH_MAX: usize = 64;

impl Default for Limits {
    fn default() -> Self {
        Self {
            text_bytes_max: 16 << 10,
            depth_max: DEPTH_MAX,
            regex_bytes_max: 4 << 10,
            regex_program_bytes_max: crate::model::REGEX_PROGRAM_BYTES_MAX,
            trace_spans_max: 200_000,
            trace_bytes_max: 64 << 20,
            traces_max: 10_000,
            series_max: 100_000,
            points_max: 11_000,
        }
    }
}
