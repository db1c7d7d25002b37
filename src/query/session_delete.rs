//! Deletions, cut to what the caller may read: whoever does not see a commons deletes nothing of it.

use std::sync::Arc;

use super::engine::Engine;
use super::error::QueryError;
use super::logql::{self, LogsJudge};
use super::promql;
use super::quoted::Quoted;
use super::session::Session;
use crate::model::{Grant, Matcher, Role};
use crate::storage::deletion::{SeriesJudge, SpansJudge};
use crate::storage::{DeleteRequest, Judge, Receipt, Storage, Taken};

/// What is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doomed {
    /// Series that any of these PromQL selectors means, with their exemplars.
    Series(Vec<String>),
    /// Records that this log query answers.
    Lines(String),
    /// Spans that any of these selectors means.
    Spans(Vec<String>),
}

/// One administrator's deletions.
#[derive(Debug, Clone)]
pub struct Deletions<'a> {
    grant: &'a Grant,
    storage: &'a Storage,
    engine: &'a Arc<Engine>,
}

impl<'a> Deletions<'a> {
    /// Returns the deletions of a caller, who must be an administrator.
    pub fn new(
        grant: &'a Grant,
        storage: &'a Storage,
        engine: &'a Arc<Engine>,
    ) -> Result<Self, QueryError> {
        Session::new(grant.clone(), storage, engine)
            .need(Role::Admin, "or delete what is stored")?;
        Ok(Self { grant, storage, engine })
    }

    /// Deletes what there is in a range of time, ns since 1970 UTC, both ends included.
    pub async fn delete(
        &self,
        doomed: Doomed,
        (start_ns, end_ns): (i64, i64),
    ) -> Result<Receipt, QueryError> {
        let deleted = self.delete_judged(doomed, (start_ns, end_ns)).await;
        self.engine.note_limit(&deleted);
        deleted
    }

    async fn delete_judged(
        &self,
        doomed: Doomed,
        (start_ns, end_ns): (i64, i64),
    ) -> Result<Receipt, QueryError> {
        let by = self.grant.name.to_string();
        let (selectors, judge) = self.judge(doomed)?;
        let request = DeleteRequest { by, selectors, start_ns, end_ns, judge };
        Ok(self.storage.delete(&self.grant.read, request).await?)
    }

    fn judge(&self, doomed: Doomed) -> Result<(Vec<String>, Box<dyn Judge>), QueryError> {
        Ok(match doomed {
            Doomed::Series(selectors) => {
                let judge = SeriesJudge::new(self.sets(&selectors)?);
                (selectors, Box::new(judge))
            }
            Doomed::Lines(query) => {
                let log = logql::parse_log(&query, &self.engine.config.log_limits().parse)?;
                let judge = LogsJudge::new(log, self.engine.now_ns())?;
                (vec![query], Box::new(judge))
            }
            Doomed::Spans(selectors) => {
                let judge = SpansJudge::new(self.sets(&selectors)?).map_err(|name| {
                    let known: Vec<&str> = SpansJudge::labels().collect();
                    let known = known.join(", ");
                    QueryError::Refused(format!(
                        "spans cannot be chosen by {name}, only by {known}"
                    ))
                })?;
                (selectors, Box::new(judge))
            }
        })
    }

    /// Reads selectors, each of which must ask for something: nobody deletes everything by a slip.
    fn sets(&self, selectors: &[String]) -> Result<Vec<Vec<Matcher>>, QueryError> {
        if selectors.is_empty() {
            return Err(QueryError::Refused("no match[] parameter provided".to_owned()));
        }
        let budget = self.engine.budget(self.engine.config.deadline(None));
        let sets = promql::parse_selectors(selectors, &budget.limits.parse)?;
        let is_open = |set: &&Vec<Matcher>| set.iter().all(Matcher::matches_empty);
        match sets.iter().position(|set| is_open(&set)) {
            Some(idx) => Err(QueryError::Refused(format!(
                "match[] must contain at least one non-empty matcher, and `{}` has none",
                selectors[idx]
            ))),
            None => Ok(sets),
        }
    }

    /// Returns what a deletion means of what is quoted elsewhere.
    pub fn quoted(&self, doomed: &Doomed) -> Result<Quoted, QueryError> {
        Quoted::new(doomed, &self.engine.config)
    }

    /// Returns the receipts of deletions that the caller may know of, oldest first.
    pub fn receipts(&self) -> Vec<Receipt> {
        self.storage.deletions(&self.grant.read)
    }

    /// Takes a deletion back.
    pub async fn cancel(&self, id: u64) -> Result<Receipt, QueryError> {
        Ok(self.storage.cancel_deletion(&self.grant.read, id, &self.grant.name).await?)
    }

    /// Takes a snapshot of all there is, whoever it is of: a backup is everybody's.
    pub async fn take_snapshot(&self, name: &str) -> Result<Taken, QueryError> {
        if !Session::new(self.grant.clone(), self.storage, self.engine).reads_all() {
            let why = "a snapshot holds every commons: it takes a token that reads all of them";
            return Err(QueryError::Refused(why.to_owned()));
        }
        Ok(self.storage.take_snapshot(name).await?)
    }

    /// Lets the bytes of all deletions go at once.
    pub async fn erase(&self) -> Result<(), QueryError> {
        Ok(self.storage.erase_deleted(&self.grant.read).await?)
    }
}
