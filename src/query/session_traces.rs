//! The questions about traces that a session answers.

use super::error::QueryError;
use super::promql::Budget;
use super::session::{Options, Session};
use super::traceql::{self, Limits, Trace};
use crate::model::Role;
use crate::storage::{Snapshot, TraceRequest};

impl Session {
    /// Returns a trace; one that nobody sent, or that the caller may not see, has no spans. Files
    /// whose spans all began outside of the range, ns since 1970 UTC, are left out.
    pub async fn trace(
        &self,
        trace_id: &str,
        (min_ns, max_ns): (i64, i64),
    ) -> Result<Trace, QueryError> {
        let trace_id = trace_id.to_owned();
        let trace = self
            .read_traces(Options::default(), move |snapshot, limits, budget| {
                let request = TraceRequest { trace_id: &trace_id, min_ns, max_ns };
                traceql::find(snapshot, request, limits, budget)
            })
            .await?;
        if let Some((_, key)) = trace.partial {
            self.engine.limited(key);
        }
        Ok(trace)
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
