//! One caller's questions, limited to what the caller may read.
//!
//! This is the one place where read permission is applied. A session takes its snapshot with the
//! grant's scope, and everything below gets the snapshot and never the store, so no dialect can
//! forget to ask. Whoever may only view gets metrics; logs, spans and SQL need a developer.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;

use super::engine::Engine;
use super::error::QueryError;
use super::promql::{self, Answer, Budget, PromqlError};
use super::quick::Asked;
use crate::model::exemplar::SeriesExemplars;
use crate::model::{
    Commons, Description, Grant, Labels, Matcher, ReadScope, Role, SeriesData, Signal,
};
use crate::storage::{
    ExemplarRequest, FileEntry, LogCursor, SeriesRequest, Snapshot, Storage, stored_samples,
};

/// What a question may say beside its text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// The deadline the caller wants; `query.timeout_max` still holds.
    pub timeout: Option<Duration>,
    /// How far an instant selector looks back, ms.
    pub lookback_ms: Option<i64>,
    /// Whether the samples are counted that PromQL looks at.
    pub counts_samples: bool,
}

/// Which samples are meant.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleQuery {
    /// What the series must meet.
    pub matchers: Vec<Matcher>,
    /// First ms, inclusive.
    pub start_ms: i64,
    /// Last ms, inclusive.
    pub end_ms: i64,
}

/// A sample in memory: its time and its value.
const SAMPLE_BYTES: usize = 16;

/// One caller's questions about one moment.
#[derive(Debug, Clone)]
pub struct Session {
    pub(super) grant: Grant,
    pub(super) snapshot: Snapshot,
    pub(super) engine: Arc<Engine>,
}

impl Session {
    /// Returns a session that sees what the grant may read, as it is now.
    pub fn new(grant: Grant, storage: &Storage, engine: &Arc<Engine>) -> Self {
        let snapshot = storage.snapshot(&grant.read);
        Self { grant, snapshot, engine: Arc::clone(engine) }
    }

    /// Returns why the answers of this session are not all there is; empty when they are.
    pub fn warnings(&self) -> Vec<String> {
        self.snapshot.warnings()
    }

    /// Evaluates PromQL at one time.
    pub async fn promql_instant(
        &self,
        query: &str,
        time_ms: i64,
        options: Options,
    ) -> Result<Answer, QueryError> {
        self.promql(query, (0, 0), options, move |engine, snapshot, expr, budget| {
            engine.instant(snapshot, expr, time_ms, budget)
        })
        .await
    }

    /// Evaluates PromQL at `start_ms`, then every `step_ms` up to and including `end_ms`.
    pub async fn promql_range(
        &self,
        query: &str,
        (start_ms, end_ms, step_ms): (i64, i64, i64),
        options: Options,
    ) -> Result<Answer, QueryError> {
        let times = (end_ms.saturating_sub(start_ms), step_ms);
        self.promql(query, times, options, move |engine, snapshot, expr, budget| {
            engine.range(snapshot, expr, start_ms, end_ms, step_ms, budget)
        })
        .await
    }

    async fn promql<F>(
        &self,
        query: &str,
        times: (i64, i64),
        options: Options,
        ask: F,
    ) -> Result<Answer, QueryError>
    where
        F: Fn(&promql::Engine, &Snapshot, &promql::Expr, &Budget) -> Result<Answer, PromqlError>
            + Send
            + 'static,
    {
        let asked = Asked::new(&self.grant.name, query, times);
        let query = query.to_owned();
        let engine = match options.lookback_ms {
            Some(lookback_ms) => self.engine.promql.with_lookback_ms(lookback_ms),
            None => self.engine.promql.clone(),
        };
        let engine = engine.with_counts(options.counts_samples);
        let asked_ns = self.engine.monotonic_ns();
        self.read_again(("promql", asked), options.timeout, move |snapshot, budget| {
            let begun_ns = budget.now_ns();
            let expr = promql::parse(&query, &budget.limits.parse)?;
            let parsed_ns = budget.now_ns();
            let mut answer = ask(&engine, snapshot, &expr, budget)?;
            answer.timings.queued_ns = begun_ns.saturating_sub(asked_ns);
            answer.timings.prepared_ns += parsed_ns.saturating_sub(begun_ns);
            answer.warnings.extend(snapshot.warnings());
            Ok(answer)
        })
        .await
    }

    /// Lays PromQL out as people do.
    pub async fn format(&self, query: &str) -> Result<String, QueryError> {
        let query = query.to_owned();
        self.read("metadata", None, move |_, budget| {
            Ok(promql::format_expr(&promql::parse(&query, &budget.limits.parse)?))
        })
        .await
    }

    /// Returns PromQL's syntax tree as Prometheus' JSON.
    pub async fn parse(&self, query: &str) -> Result<serde_json::Value, QueryError> {
        let query = query.to_owned();
        self.read("metadata", None, move |_, budget| {
            Ok(promql::expr_to_json(&promql::parse(&query, &budget.limits.parse)?))
        })
        .await
    }

    /// Returns the samples of each query as they are stored, stale markers and native histograms too.
    /// The limits hold for all of them together; `sample_bytes` is what a sample takes in the answer.
    pub async fn samples(
        &self,
        queries: Vec<SampleQuery>,
        sample_bytes: usize,
    ) -> Result<Vec<Vec<SeriesData>>, QueryError> {
        self.read("samples", None, move |snapshot, budget| {
            let limits = &budget.limits;
            let mut samples_left = limits.samples_max.min(limits.memory_bytes_max / SAMPLE_BYTES);
            let mut series_left = limits.series_max;
            let mut found = Vec::with_capacity(queries.len());
            let mut n_bytes = 0;
            for query in &queries {
                budget.check()?;
                let series = snapshot.select_stored(&SeriesRequest {
                    matchers: &query.matchers,
                    start_ms: query.start_ms,
                    end_ms: query.end_ms,
                    samples_max: samples_left,
                    series_max: series_left,
                })?;
                let weight = |one: &SeriesData| one.values.len() + stored_samples(&one.stored);
                let n_samples: usize = series.iter().map(weight).sum();
                samples_left = samples_left.saturating_sub(n_samples);
                series_left = series_left.saturating_sub(series.len());
                let labels = series.iter().map(|one| one.labels.packed().len());
                n_bytes += labels.sum::<usize>() + n_samples * sample_bytes;
                limits.check_result(n_bytes)?;
                found.push(series);
            }
            Ok(found)
        })
        .await
    }

    /// Returns the matchers of each selector.
    pub async fn matchers(&self, selectors: Vec<String>) -> Result<Vec<Vec<Matcher>>, QueryError> {
        self.read("metadata", None, move |_, budget| {
            Ok(promql::parse_selectors(&selectors, &budget.limits.parse)?)
        })
        .await
    }

    /// Returns what is known of each metric, sorted by name.
    pub async fn metadata(&self) -> Result<Vec<(String, Description)>, QueryError> {
        self.read("metadata", None, |snapshot, _| Ok(snapshot.metadata())).await
    }

    /// Returns the exemplars in a range of time of the series that a query selects, sorted.
    pub async fn exemplars(
        &self,
        query: &str,
        (start_ms, end_ms): (i64, i64),
    ) -> Result<Vec<SeriesExemplars>, QueryError> {
        let query = query.to_owned();
        self.read("exemplars", None, move |snapshot, budget| {
            let limits = &budget.limits;
            let selectors = promql::selectors(&promql::parse(&query, &limits.parse)?);
            let request = ExemplarRequest {
                selectors: &selectors,
                start_ms,
                end_ms,
                exemplars_max: limits.samples_max,
                bytes_max: limits.result_bytes_max,
            };
            Ok(snapshot.exemplars(&request)?)
        })
        .await
    }

    /// Returns every file the caller may read.
    pub(super) fn files(&self) -> Result<Vec<FileEntry>, QueryError> {
        let files = Signal::ALL.into_iter().flat_map(|signal| self.snapshot.files(signal));
        let files = files.map(|file| {
            // The second lock: the snapshot was already taken with this scope.
            if self.grant.read.covers(&file.commons) {
                Ok(file.as_ref().clone())
            } else {
                Err(QueryError::Internal("a file outside the caller's scope was met".to_owned()))
            }
        });
        files.collect()
    }

    pub(super) fn log_cursor(&self) -> LogCursor {
        self.snapshot.log_cursor()
    }

    pub(super) fn logs_since(&self, cursor: &mut LogCursor) -> Vec<(Commons, RecordBatch)> {
        self.snapshot.logs_since(cursor)
    }

    /// Returns true when no commons is kept from the caller.
    pub(super) fn reads_all(&self) -> bool {
        self.grant.read == ReadScope::All
    }

    /// Fails for whoever may not read logs.
    pub(super) fn need_logs(&self) -> Result<(), QueryError> {
        self.need(Role::Developer, "logs, spans and SQL")
    }

    pub(super) fn log_limits(&self) -> super::logql::LogLimits {
        self.engine.config.log_limits()
    }

    pub(super) fn need(&self, needed: Role, what: &'static str) -> Result<(), QueryError> {
        if self.grant.role >= needed {
            return Ok(());
        }
        Err(QueryError::Forbidden {
            role: role_name(self.grant.role),
            what,
            needed: role_name(needed),
        })
    }
}

/// Returns true when a caller may see something that carries these labels, such as an alert. What
/// names no commons is about all of them, so only those see it who may read all.
pub fn may_see(grant: &Grant, labels: &Labels) -> bool {
    match (&grant.read, labels.get("commons")) {
        (ReadScope::All, _) => true,
        (ReadScope::Nothing, _) | (_, None) => false,
        (ReadScope::Only(set), Some(name)) => set.iter().any(|commons| commons.as_str() == name),
    }
}

/// Returns a grant that reads no more than the commons that labels name, and nothing that the grant does
/// not read; where they name none it is the grant itself.
pub fn within(grant: &Grant, labels: &Labels) -> Grant {
    let Some(name) = labels.get("commons") else { return grant.clone() };
    let read = match Commons::from_stored(name) {
        Ok(commons) if grant.read.covers(&commons) => ReadScope::Only([commons].into()),
        _ => ReadScope::Nothing,
    };
    Grant { read, ..grant.clone() }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Developer => "developer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    }
}
