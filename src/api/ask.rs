//! What the handlers ask of the engines, as traits, so that a test can answer instead of them.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use crate::base::Kind;
use crate::model::exemplar::SeriesExemplars;
use crate::model::{Description, Grant, Labels, Matcher, SeriesData};
use crate::query::cardinality::Cardinality;
use crate::query::promql::Answer;
use crate::query::traceql::{
    Attribute, Counted, Counting, Found, Menu, Names, Part, Search, Trace, Values,
};
use crate::query::{CardinalityQuery, Param, SampleQuery, SqlAnswer};
use crate::rules::{AlertsView, RulesFilter, RulesView};

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AskError {
    /// What it asks of the caller.
    pub kind: Kind,
    /// What was wrong and what would be right, the causes included.
    pub message: String,
}

impl AskError {
    /// Returns an error of the given kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Returns the error with its causes in one line.
    pub fn of(kind: Kind, error: &dyn std::error::Error) -> Self {
        Self { kind, message: chain(error) }
    }
}

/// Returns an error's message and those of its causes, joined by colons.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        source = cause.source();
    }
    message
}

/// What a question may say beside its text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AskOptions {
    /// The deadline the caller wants; the configured maximum still holds.
    pub timeout: Option<Duration>,
    /// How far an instant selector looks back, ms.
    pub lookback_ms: Option<i64>,
    /// Whether the samples are counted that PromQL looks at.
    pub counts_samples: bool,
}

/// Which series are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// PromQL selectors as written; a series is meant when any of them matches, and all are when
    /// there is none.
    pub selectors: Vec<String>,
    /// First ms, inclusive.
    pub start_ms: i64,
    /// Last ms, inclusive.
    pub end_ms: i64,
    /// How many results are wanted; one more may come, to tell that there are more.
    pub limit: Option<usize>,
}

/// A list that may lack something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// What was found.
    pub list: Vec<T>,
    /// Why that is not all there is; empty when it is.
    pub warnings: Vec<String>,
}

impl<T> From<Vec<T>> for Listed<T> {
    fn from(list: Vec<T>) -> Self {
        Self { list, warnings: Vec::new() }
    }
}

/// Answers questions; each is limited to what its `Grant` may read.
#[async_trait]
pub trait Ask: Send + Sync + Debug {
    /// Counts a question that was refused here, and not where it is answered, by the key of the limit.
    fn limited(&self, key: &'static str);

    /// Evaluates PromQL at one time.
    async fn instant(
        &self,
        grant: &Grant,
        query: &str,
        time_ms: i64,
        options: AskOptions,
    ) -> Result<Answer, AskError>;

    /// Evaluates PromQL at every step from `start_ms` to `end_ms`, both included.
    async fn range(
        &self,
        grant: &Grant,
        query: &str,
        (start_ms, end_ms, step_ms): (i64, i64, i64),
        options: AskOptions,
    ) -> Result<Answer, AskError>;

    /// Returns the label sets of the selected series, sorted.
    async fn series(&self, grant: &Grant, wanted: &Selection) -> Result<Listed<Labels>, AskError>;

    /// Returns the names of the selected series' labels, sorted.
    async fn label_names(
        &self,
        grant: &Grant,
        wanted: &Selection,
    ) -> Result<Listed<String>, AskError>;

    /// Returns the values of one label of the selected series, sorted.
    async fn label_values(
        &self,
        grant: &Grant,
        name: &str,
        wanted: &Selection,
    ) -> Result<Listed<String>, AskError>;

    /// Counts the selected series, now and before, by label and value.
    async fn cardinality(
        &self,
        grant: &Grant,
        wanted: CardinalityQuery,
    ) -> Result<(Cardinality, Vec<String>), AskError>;

    /// Returns what is known of each metric, sorted by name.
    async fn metadata(&self, grant: &Grant) -> Result<Vec<(String, Description)>, AskError>;

    /// Returns the exemplars from `start_ms` to `end_ms` of the series that a query selects.
    async fn exemplars(
        &self,
        grant: &Grant,
        query: &str,
        (start_ms, end_ms): (i64, i64),
    ) -> Result<Listed<SeriesExemplars>, AskError>;

    /// Lays PromQL out as people do.
    async fn format(&self, grant: &Grant, query: &str) -> Result<String, AskError>;

    /// Returns PromQL's syntax tree as Prometheus' JSON.
    async fn parse(&self, grant: &Grant, query: &str) -> Result<serde_json::Value, AskError>;

    /// Returns which parts of PromQL there are, as Prometheus lists them.
    fn promql_features(&self, grant: &Grant) -> serde_json::Value;

    /// Returns the samples of each query as they are stored, stale markers too; `sample_bytes` is what
    /// one takes in the answer, which has a limit.
    async fn samples(
        &self,
        grant: &Grant,
        queries: Vec<SampleQuery>,
        sample_bytes: usize,
    ) -> Result<Listed<Vec<SeriesData>>, AskError>;

    /// Returns the matchers of each selector.
    async fn matchers(
        &self,
        grant: &Grant,
        selectors: Vec<String>,
    ) -> Result<Vec<Vec<Matcher>>, AskError>;

    /// Runs one SQL statement with positional parameters.
    async fn sql(
        &self,
        grant: &Grant,
        query: &str,
        parameters: Vec<Param>,
        options: AskOptions,
    ) -> Result<SqlAnswer, AskError>;

    /// Returns a trace, and why that is not all there is. Files whose spans all began outside of the
    /// range, ns since 1970 UTC, are left out. Of a trace that is found, `part` may leave every span
    /// out.
    async fn trace(
        &self,
        grant: &Grant,
        trace_id: &str,
        range_ns: (i64, i64),
        part: Option<Part>,
    ) -> Result<(Trace, Vec<String>), AskError>;

    /// Returns the traces that a TraceQL query finds, the newest first.
    async fn search_traces(&self, grant: &Grant, wanted: Search) -> Result<Found, AskError>;

    /// Returns the series that a TraceQL metrics query counts.
    async fn count_spans(&self, grant: &Grant, wanted: Counting) -> Result<Counted, AskError>;

    /// Returns the names of spans' attributes, of one scope or of all.
    async fn trace_tags(
        &self,
        grant: &Grant,
        menu: Menu,
        scope: Option<&'static str>,
    ) -> Result<Names, AskError>;

    /// Returns the values of an attribute of spans.
    async fn trace_tag_values(
        &self,
        grant: &Grant,
        menu: Menu,
        attribute: Attribute,
    ) -> Result<Values, AskError>;
}

/// Shows rules and alerts.
#[async_trait]
pub trait RuleViews: Send + Sync + Debug {
    /// Returns the rules that a caller may see and that the filter wants.
    async fn rules(&self, grant: &Grant, filter: &RulesFilter) -> RulesView;

    /// Returns the active alerts that a caller may see.
    async fn alerts(&self, grant: &Grant) -> AlertsView;
}
