//! How a question gets a turn, a deadline and a thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::admission::Turn;
use super::engine::Timed;
use super::error::QueryError;
use super::promql::{Budget, PromqlError};
use super::quick::{Asked, ON_THE_SPOT_MAX};
use super::session::Session;
use crate::storage::{ReadError, Snapshot};

/// A question that has its turn.
pub(super) struct Begun {
    pub(super) timed: Timed,
    pub(super) turn: Turn,
    pub(super) deadline: Duration,
}

impl Session {
    /// Runs work that reads series on a thread of its own, within the deadline. When nobody waits
    /// for the answer any more, the work is told to stop, and keeps its turn until it has.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        dialect: &'static str,
        timeout: Option<Duration>,
        work: impl FnOnce(&Snapshot, &Budget) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, QueryError> {
        let begun = self.begin(dialect, timeout).await?;
        self.on_own_thread(begun, work).await
    }

    /// As [`Session::read`]; what was answered quickly the last time is tried on this thread first.
    pub(super) async fn read_again<T: Send + 'static>(
        &self,
        (dialect, asked): (&'static str, Asked),
        timeout: Option<Duration>,
        work: impl Fn(&Snapshot, &Budget) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, QueryError> {
        let begun = self.begin(dialect, timeout).await?;
        if self.engine.quick.is_quick(asked)
            && let Some(answer) = self.on_the_spot(asked, &work)
        {
            return begun.timed.end(Ok(answer));
        }
        let engine = Arc::clone(&self.engine);
        let timed_work = move |snapshot: &Snapshot, budget: &Budget| {
            let begun_ns = engine.monotonic_ns();
            let answer = work(snapshot, budget)?;
            engine.quick.answered(asked, engine.monotonic_ns().saturating_sub(begun_ns));
            Ok(answer)
        };
        self.on_own_thread(begun, timed_work).await
    }

    /// Waits for a turn.
    pub(super) async fn begin(
        &self,
        dialect: &'static str,
        timeout: Option<Duration>,
    ) -> Result<Begun, QueryError> {
        let deadline = self.engine.config.deadline(timeout);
        let (timed, turn) = self.engine.enter(&self.grant, dialect, deadline).await;
        match turn {
            Ok(turn) => Ok(Begun { timed, turn, deadline }),
            Err(error) => timed.end(Err(error)),
        }
    }

    /// Tries to answer from what is in memory. `None` says nothing of the question but that it has to go
    /// the long way, where it is found out what is wrong with it.
    fn on_the_spot<T>(
        &self,
        asked: Asked,
        work: &impl Fn(&Snapshot, &Budget) -> Result<T, QueryError>,
    ) -> Option<T> {
        let begun_ns = self.engine.monotonic_ns();
        let budget = Arc::new(self.engine.budget_of_one_thread(ON_THE_SPOT_MAX));
        let snapshot = self.snapshot.clone().at_hand().until(Arc::<Budget>::clone(&budget));
        let tried = catch_unwind(AssertUnwindSafe(|| work(&snapshot, &budget)));
        let answer = tried.ok().and_then(Result::ok);
        self.engine.on_the_spot(answer.is_some());
        match answer {
            Some(_) => {
                let took_ns = self.engine.monotonic_ns().saturating_sub(begun_ns);
                self.engine.quick.answered(asked, took_ns);
            }
            None => self.engine.quick.missed(asked),
        }
        answer
    }

    async fn on_own_thread<T: Send + 'static>(
        &self,
        begun: Begun,
        work: impl FnOnce(&Snapshot, &Budget) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, QueryError> {
        let Begun { timed, turn, deadline } = begun;
        let left = timed.left(deadline);
        let budget = Arc::new(self.engine.budget(left));
        let stop = StopOnDrop(Arc::clone(&budget));
        let snapshot = self.snapshot.clone().until(Arc::<Budget>::clone(&budget));
        let work = move || with_turn(turn, || work(&snapshot, &budget));
        let done = tokio::time::timeout(left, tokio::task::spawn_blocking(work)).await;
        drop(stop);
        timed.end(match done {
            // Of those who went away nobody is here, so reading that was stopped was too late.
            Ok(Ok(Err(
                QueryError::Promql(PromqlError::Timeout) | QueryError::Read(ReadError::Stopped),
            )))
            | Err(_) => Err(QueryError::Timeout { limit: deadline }),
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => Err(QueryError::Internal(format!("the query met a fault: {panic}"))),
        })
    }
}

fn with_turn<T>(turn: Turn, work: impl FnOnce() -> T) -> T {
    let done = work();
    drop(turn);
    done
}

/// Tells work on another thread to stop when its asker is gone.
pub(super) struct StopOnDrop(pub(super) Arc<Budget>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
