//! Questions about logs answered by the query room.

use async_trait::async_trait;

use super::super::ask::{AskError, AskOptions};
use super::super::sessions::{Sessions, options_of, refused};
use super::ask::{AskLogs, Follow, LogStreams, LogqlFound};
use crate::base::Kind;
use crate::model::Grant;
use crate::query::Tail;
use crate::query::logql::{
    Bounds, DetectedField, LogLine, LogPattern, LogRange, Steps, StreamsFound,
};

#[async_trait]
impl AskLogs for Sessions {
    async fn logql(
        &self,
        grant: &Grant,
        query: &str,
        range: LogRange,
        steps: Steps,
        options: AskOptions,
    ) -> Result<LogqlFound, AskError> {
        let session = self.session(grant);
        let answer = session.logql(query, range, steps, self.now_ns(), options_of(options)).await;
        Ok(LogqlFound { answer: answer.map_err(refused)?, warnings: session.warnings() })
    }

    async fn log_streams(
        &self,
        grant: &Grant,
        wanted: LogStreams,
    ) -> Result<StreamsFound, AskError> {
        let LogStreams { selectors, start_ns, end_ns, step_ns } = wanted;
        let session = self.session(grant);
        session.log_streams(selectors, (start_ns, end_ns), step_ns).await.map_err(refused)
    }

    async fn log_fields(
        &self,
        grant: &Grant,
        query: &str,
        range: LogRange,
    ) -> Result<Vec<DetectedField>, AskError> {
        self.session(grant).log_fields(query, range, self.now_ns()).await.map_err(refused)
    }

    async fn log_patterns(
        &self,
        grant: &Grant,
        query: &str,
        range: LogRange,
        step_ns: i64,
    ) -> Result<Vec<LogPattern>, AskError> {
        let session = self.session(grant);
        session.log_patterns(query, range, step_ns, self.now_ns()).await.map_err(refused)
    }

    async fn logql_format(&self, grant: &Grant, query: &str) -> Result<String, AskError> {
        self.session(grant).logql_format(query).await.map_err(refused)
    }

    async fn follow(&self, grant: &Grant, query: &str) -> Result<Box<dyn Follow>, AskError> {
        let tail = self.session(grant).follow(query, self.now_ns()).map_err(refused)?;
        let (sessions, grant) = (self.clone(), grant.clone());
        Ok(Box::new(Following { sessions, grant, tail: Some(tail) }))
    }
}

struct Following {
    sessions: Sessions,
    grant: Grant,
    tail: Option<Tail>,
}

#[async_trait]
impl Follow for Following {
    async fn look(&mut self, bounds: Bounds) -> Result<(Vec<LogLine>, usize), AskError> {
        let gone = || AskError::new(Kind::Internal, "the follower of the log is gone");
        let mut tail = self.tail.take().ok_or_else(gone)?;
        // A session of now, with the same grant: what is followed is cut to it like all else.
        let session = self.sessions.session(&self.grant);
        let looked = tokio::task::spawn_blocking(move || {
            let found = tail.look(&session, bounds);
            (tail, found)
        });
        let (tail, found) = looked.await.map_err(|_| gone())?;
        self.tail = Some(tail);
        Ok(found)
    }
}
