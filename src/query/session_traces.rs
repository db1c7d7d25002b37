//! The questions about traces that a session answers.

use super::error::QueryError;
use super::promql::Budget;
use super::session::{Options, Session};
use super::traceql::{
    self, Attribute, Counted, Counting, Found, Limits, Menu, Names, Part, Picking, Search, Trace,
    Values,
};
use crate::model::Role;
use crate::storage::{Snapshot, TraceRequest};

impl Session {
    /// Returns a trace; one that nobody sent, or that the caller may not see, has no spans. Files
    /// whose spans all began outside of the range, ns since 1970 UTC, are left out. Of a trace that is
    /// found, `part` may leave every span out.
    pub async fn trace(
        &self,
        trace_id: &str,
        (min_ns, max_ns): (i64, i64),
        part: Option<Part>,
    ) -> Result<Trace, QueryError> {
        let trace_id = trace_id.to_owned();
        let trace = self
            .read_traces(Options::default(), move |snapshot, limits, budget| {
                // A filter that is wrong is told before anything is read for it.
                let picking = part.map(|part| Picking::of(&part, limits)).transpose()?;
                let request = TraceRequest { trace_id: &trace_id, min_ns, max_ns };
                let whole = traceql::find(snapshot, request, limits, budget)?;
                Ok(match picking {
                    Some(picking) => picking.part_of(whole),
                    None => whole,
                })
            })
            .await?;
        if let Some((_, key)) = trace.partial {
            self.engine.limited(key);
        }
        Ok(trace)
    }

    /// Returns the traces that a TraceQL query finds, the newest first.
    pub async fn search_traces(&self, wanted: Search) -> Result<Found, QueryError> {
        self.read_traces(Options::default(), move |snapshot, limits, budget| {
            let mut found = traceql::search(snapshot, &wanted, limits, budget)?;
            found.warnings.extend(snapshot.warnings());
            Ok(found)
        })
        .await
    }

    /// Returns the names of attributes, of one scope or of all.
    pub async fn trace_tags(
        &self,
        menu: Menu,
        scope: Option<&'static str>,
    ) -> Result<Names, QueryError> {
        self.read_traces(Options::default(), move |snapshot, limits, budget| {
            traceql::names(snapshot, &menu, scope, limits, budget)
        })
        .await
    }

    /// Returns the values of an attribute.
    pub async fn trace_tag_values(
        &self,
        menu: Menu,
        attribute: Attribute,
    ) -> Result<Values, QueryError> {
        self.read_traces(Options::default(), move |snapshot, limits, budget| {
            traceql::values(snapshot, &menu, &attribute, limits, budget)
        })
        .await
    }

    /// Returns the series that a TraceQL metrics query counts.
    pub async fn count_spans(&self, wanted: Counting) -> Result<Counted, QueryError> {
        self.read_traces(Options::default(), move |snapshot, limits, budget| {
            let mut counted = traceql::count(snapshot, &wanted, limits, budget)?;
            counted.warnings.extend(snapshot.warnings());
            Ok(counted)
        })
        .await
    }

    /// Runs a question about traces, which only a developer may ask.
    async fn read_traces<T: Send + 'static>(
        &self,
        options: Options,
        work: impl FnOnce(&Snapshot, &Limits, &Budget) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, QueryError> {
        self.need(Role::Developer, "logs, spans and SQL")?;
        let limits = self.engine.config.traceql_limits();
        let work = move |snapshot: &Snapshot, budget: &Budget| work(snapshot, &limits, budget);
        self.read("traceql", options.timeout, work).await
    }
}
