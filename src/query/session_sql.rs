//! SQL: a question, the files it may read, and what the process that answers it may ask for meanwhile.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use bytes::Bytes;

use super::answer::SqlAnswer;
use super::engine::Engine;
use super::error::QueryError;
use super::promql::{self, Budget, PromqlError};
use super::session::{Options, Session};
use super::session_read::{Begun, StopOnDrop};
use super::sql::{
    Failure, FailureKind, FileRequest, HeadRange, Param, PromqlRequest, Question, promql_failure,
    promql_rows,
};
use super::worker::HeadSource;
use crate::model::{Role, Signal};
use crate::storage::{FileEntry, HeadBatch, HeadFilter, ReadError, Snapshot};

impl Session {
    /// Runs one SQL query with values for `$1`, `$2`, …
    pub async fn sql(
        &self,
        sql: &str,
        params: Vec<Param>,
        options: Options,
    ) -> Result<SqlAnswer, QueryError> {
        self.need(Role::Developer, "logs, spans and SQL")?;
        let Begun { timed, turn: _turn, deadline } = self.begin("sql", options.timeout).await?;
        if let Err(error) = self.engine.config.check_sql_text(sql) {
            return timed.end(Err(error));
        }
        let mut question = Question {
            sql: sql.to_owned(),
            params,
            files: Vec::new(),
            data_dir: self.engine.data_dir.clone(),
            may_explain: self.grant.role >= Role::Admin,
            limits: self.engine.sql_limits(deadline),
        };
        let left = timed.left(deadline);
        let answer = tokio::time::timeout(left, self.ask_sql(&mut question, left)).await;
        let answer = timed.end(answer.unwrap_or(Err(QueryError::Timeout { limit: deadline })))?;
        if let Some(limit) = answer.truncated {
            self.engine.limited(limit.key());
        }
        Ok(answer)
    }

    /// Asks until no file turns out to be damaged; each that does is left out from then on.
    async fn ask_sql(
        &self,
        question: &mut Question,
        deadline: Duration,
    ) -> Result<SqlAnswer, QueryError> {
        // The snapshot lives until the answer is there, and with it the files it names.
        let budget = Arc::new(self.engine.budget(deadline));
        let _stop = StopOnDrop(Arc::clone(&budget));
        let head: Arc<dyn HeadSource> = Arc::new(OfWorker {
            snapshot: self.snapshot.clone().until(Arc::<Budget>::clone(&budget)),
            engine: Arc::clone(&self.engine),
            budget,
        });
        loop {
            question.files = self.files()?;
            match self.engine.pool.ask(question, &head, deadline).await {
                Err(QueryError::Read(
                    error @ (ReadError::Damaged { .. } | ReadError::Away { .. }),
                )) if names_one_of(&error, &question.files) => self.snapshot.leave_out(error)?,
                answer => {
                    self.note_missing(&question.sql);
                    return answer.map(|mut answer| {
                        answer.warnings = self.snapshot.warnings();
                        answer
                    });
                }
            }
        }
    }

    /// Notes the damaged files of the tables that the text names, which its answer then lacks.
    fn note_missing(&self, sql: &str) {
        let sql = sql.to_lowercase();
        let named = Signal::ALL.into_iter().filter(|signal| sql.contains(signal.as_str()));
        named.for_each(|signal| self.snapshot.note_missing(signal));
    }
}

/// A worker is not believed what it says of files that it was not given.
fn names_one_of(error: &ReadError, files: &[FileEntry]) -> bool {
    let (ReadError::Damaged { path, .. } | ReadError::Away { path, .. }) = error else {
        return false;
    };
    files.iter().any(|file| file.path == *path)
}

/// What a worker may ask the server for while it answers one question: nothing but the caller's
/// snapshot.
#[derive(Debug)]
struct OfWorker {
    snapshot: Snapshot,
    engine: Arc<Engine>,
    budget: Arc<Budget>,
}

impl OfWorker {
    /// The worker is told in words, and so is the server by the worker. That the time is up the server
    /// finds out by itself.
    fn note_limit(&self, error: &PromqlError) {
        if let Some(key) = error.limit().filter(|_| !matches!(error, PromqlError::Timeout)) {
            self.engine.limited(key);
        }
    }
}

impl HeadSource for OfWorker {
    fn rows(
        &self,
        signal: Signal,
        filter: HeadFilter,
    ) -> Box<dyn Iterator<Item = HeadBatch> + Send> {
        self.snapshot.head(signal, filter)
    }

    fn promql(&self, request: &PromqlRequest) -> Result<Vec<RecordBatch>, Failure> {
        let &PromqlRequest { ref query, start_ms, end_ms, step_ms } = request;
        let engine = &self.engine.promql;
        let answer = promql::parse(query, &self.budget.limits.parse).and_then(|expr| {
            engine.range(&self.snapshot, &expr, start_ms, end_ms, step_ms, &self.budget)
        });
        promql_rows(answer.map_err(|error| {
            self.note_limit(&error);
            promql_failure(&error)
        })?)
    }

    fn file_bytes(&self, request: &FileRequest) -> Result<Bytes, Failure> {
        let &FileRequest { ref path, offset, n_bytes } = request;
        let read = self.snapshot.file_bytes(path, offset, n_bytes);
        read.map_err(|error| {
            let message = error.to_string();
            let path = path.clone();
            let kind = match error {
                ReadError::Damaged { .. } => FailureKind::Damaged { path },
                ReadError::Away { .. } => FailureKind::Away { path },
                _ => FailureKind::Internal,
            };
            Failure { kind, message }
        })
    }

    fn metric_ranges(&self) -> Vec<HeadRange> {
        let ranges =
            self.snapshot.head_time_ranges_ms().into_iter().map(|(commons, first_ms, last_ms)| {
                let (min_ns, max_ns) =
                    (first_ms.saturating_mul(1_000_000), last_ms.saturating_mul(1_000_000));
                HeadRange { commons, min_ns, max_ns }
            });
        ranges.collect()
    }
}
