//! Questions answered by the query room: each gets a session of its own, taken with its grant.

use std::sync::Arc;

use async_trait::async_trait;
use tracing::error;

use super::ask::{Ask, AskError, AskOptions, Listed, Selection, chain};
use super::deletions::Deleting;
use crate::base::Kind;
use crate::model::exemplar::SeriesExemplars;
use crate::model::{Description, Grant, Labels, Matcher, SeriesData};
use crate::query::cardinality::Cardinality;
use crate::query::promql::Answer;
use crate::query::traceql::{
    Attribute, Counted, Counting, Found, Menu, Names, Part, Search, Trace, Values,
};
use crate::query::{
    self, CardinalityQuery, Deletions, Doomed, Engine, Options, Param, QueryError, Quoted,
    SampleQuery, Session, SqlAnswer,
};
use crate::storage::{Receipt, Storage, Taken};

/// Answers from a store.
#[derive(Debug, Clone)]
pub struct Sessions {
    storage: Storage,
    engine: Arc<Engine>,
}

impl Sessions {
    /// Returns an [`Ask`] over a store.
    pub fn new(storage: Storage, engine: Arc<Engine>) -> Self {
        Self { storage, engine }
    }

    /// Returns the time, ns since 1970 UTC.
    pub(super) fn now_ns(&self) -> i64 {
        self.engine.now_ns()
    }

    /// Takes a snapshot of all there is into `snapshots/<name>`.
    pub async fn take_snapshot(&self, grant: &Grant, name: &str) -> Result<Taken, AskError> {
        let own = Deletions::new(grant, &self.storage, &self.engine).map_err(refused)?;
        own.take_snapshot(name).await.map_err(refused)
    }

    pub(super) fn session(&self, grant: &Grant) -> Session {
        Session::new(grant.clone(), &self.storage, &self.engine)
    }
}

fn selection_of(wanted: &Selection) -> query::Selection {
    query::Selection {
        selectors: wanted.selectors.clone(),
        start_ms: wanted.start_ms,
        end_ms: wanted.end_ms,
        // The handler cuts, because it also says so: by one more it knows.
        limit: wanted.limit.map(|limit| limit.saturating_add(1)),
    }
}

/// A fault of ours is told to the log alone: its text may name folders, files and whose they are.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(super) fn refused(error: QueryError) -> AskError {
    match error.kind() {
        Kind::Internal => {
            let cause = chain(&error);
            error!(cause, "a question met a fault of the server's own");
            AskError::new(Kind::Internal, "the server met a fault of its own; its log says which")
        }
        kind => AskError::of(kind, &error),
    }
}

pub(super) fn options_of(options: AskOptions) -> Options {
    let AskOptions { timeout, lookback_ms, counts_samples } = options;
    Options { timeout, lookback_ms, counts_samples }
}

#[async_trait]
impl Deleting for Sessions {
    async fn delete(
        &self,
        grant: &Grant,
        doomed: Doomed,
        range_ns: (i64, i64),
    ) -> Result<Receipt, AskError> {
        let deletions = Deletions::new(grant, &self.storage, &self.engine).map_err(refused)?;
        deletions.delete(doomed, range_ns).await.map_err(refused)
    }

    fn quoted(&self, grant: &Grant, doomed: &Doomed) -> Result<Quoted, AskError> {
        let deletions = Deletions::new(grant, &self.storage, &self.engine).map_err(refused)?;
        deletions.quoted(doomed).map_err(refused)
    }

    fn receipts(&self, grant: &Grant) -> Result<Vec<Receipt>, AskError> {
        let deletions = Deletions::new(grant, &self.storage, &self.engine).map_err(refused)?;
        Ok(deletions.receipts())
    }

    async fn cancel(&self, grant: &Grant, id: u64) -> Result<Receipt, AskError> {
        let deletions = Deletions::new(grant, &self.storage, &self.engine).map_err(refused)?;
        deletions.cancel(id).await.map_err(refused)
    }

    async fn erase(&self, grant: &Grant) -> Result<(), AskError> {
        let deletions = Deletions::new(grant, &self.storage, &self.engine).map_err(refused)?;
        deletions.erase().await.map_err(refused)
    }
}

#[async_trait]
impl Ask for Sessions {
    fn limited(&self, key: &'static str) {
        self.engine.limited(key);
    }

    async fn instant(
        &self,
        grant: &Grant,
        query: &str,
        time_ms: i64,
        options: AskOptions,
    ) -> Result<Answer, AskError> {
        let session = self.session(grant);
        session.promql_instant(query, time_ms, options_of(options)).await.map_err(refused)
    }

    async fn range(
        &self,
        grant: &Grant,
        query: &str,
        times: (i64, i64, i64),
        options: AskOptions,
    ) -> Result<Answer, AskError> {
        let session = self.session(grant);
        session.promql_range(query, times, options_of(options)).await.map_err(refused)
    }

    async fn series(&self, grant: &Grant, wanted: &Selection) -> Result<Listed<Labels>, AskError> {
        let session = self.session(grant);
        let list = session.series(selection_of(wanted)).await.map_err(refused)?;
        Ok(Listed { list, warnings: session.warnings() })
    }

    async fn label_names(
        &self,
        grant: &Grant,
        wanted: &Selection,
    ) -> Result<Listed<String>, AskError> {
        let session = self.session(grant);
        let list = session.label_names(selection_of(wanted)).await.map_err(refused)?;
        Ok(Listed { list, warnings: session.warnings() })
    }

    async fn label_values(
        &self,
        grant: &Grant,
        name: &str,
        wanted: &Selection,
    ) -> Result<Listed<String>, AskError> {
        let session = self.session(grant);
        let list = session.label_values(name, selection_of(wanted)).await.map_err(refused)?;
        Ok(Listed { list, warnings: session.warnings() })
    }

    async fn cardinality(
        &self,
        grant: &Grant,
        wanted: CardinalityQuery,
    ) -> Result<(Cardinality, Vec<String>), AskError> {
        let session = self.session(grant);
        let counted = session.cardinality(wanted).await.map_err(refused)?;
        Ok((counted, session.warnings()))
    }

    async fn metadata(&self, grant: &Grant) -> Result<Vec<(String, Description)>, AskError> {
        self.session(grant).metadata().await.map_err(refused)
    }

    async fn exemplars(
        &self,
        grant: &Grant,
        query: &str,
        times: (i64, i64),
    ) -> Result<Listed<SeriesExemplars>, AskError> {
        let session = self.session(grant);
        let list = session.exemplars(query, times).await.map_err(refused)?;
        Ok(Listed { list, warnings: session.warnings() })
    }

    async fn format(&self, grant: &Grant, query: &str) -> Result<String, AskError> {
        self.session(grant).format(query).await.map_err(refused)
    }

    async fn parse(&self, grant: &Grant, query: &str) -> Result<serde_json::Value, AskError> {
        self.session(grant).parse(query).await.map_err(refused)
    }

    fn promql_features(&self, _grant: &Grant) -> serde_json::Value {
        self.engine.promql_features()
    }

    async fn samples(
        &self,
        grant: &Grant,
        queries: Vec<SampleQuery>,
        sample_bytes: usize,
    ) -> Result<Listed<Vec<SeriesData>>, AskError> {
        let session = self.session(grant);
        let list = session.samples(queries, sample_bytes).await.map_err(refused)?;
        Ok(Listed { list, warnings: session.warnings() })
    }

    async fn matchers(
        &self,
        grant: &Grant,
        selectors: Vec<String>,
    ) -> Result<Vec<Vec<Matcher>>, AskError> {
        self.session(grant).matchers(selectors).await.map_err(refused)
    }

    async fn sql(
        &self,
        grant: &Grant,
        query: &str,
        parameters: Vec<Param>,
        options: AskOptions,
    ) -> Result<SqlAnswer, AskError> {
        self.session(grant).sql(query, parameters, options_of(options)).await.map_err(refused)
    }

    async fn trace(
        &self,
        grant: &Grant,
        trace_id: &str,
        range_ns: (i64, i64),
        part: Option<Part>,
    ) -> Result<(Trace, Vec<String>), AskError> {
        let session = self.session(grant);
        let trace = session.trace(trace_id, range_ns, part).await.map_err(refused)?;
        Ok((trace, session.warnings()))
    }

    async fn search_traces(&self, grant: &Grant, wanted: Search) -> Result<Found, AskError> {
        self.session(grant).search_traces(wanted).await.map_err(refused)
    }

    async fn count_spans(&self, grant: &Grant, wanted: Counting) -> Result<Counted, AskError> {
        self.session(grant).count_spans(wanted).await.map_err(refused)
    }

    async fn trace_tags(
        &self,
        grant: &Grant,
        menu: Menu,
        scope: Option<&'static str>,
    ) -> Result<Names, AskError> {
        self.session(grant).trace_tags(menu, scope).await.map_err(refused)
    }

    async fn trace_tag_values(
        &self,
        grant: &Grant,
        menu: Menu,
        attribute: Attribute,
    ) -> Result<Values, AskError> {
        self.session(grant).trace_tag_values(menu, attribute).await.map_err(refused)
    }
}
