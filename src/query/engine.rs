//! What all sessions share: limits, turns, the processes for SQL, the room's own metrics.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::admission::{Admission, Turn};
use super::error::QueryError;
use super::helpers::SpareThreads;
use super::limits::Config;
use super::metrics::Metrics;
use super::promql;
use super::quick::Quick;
use super::sql::Limits;
use super::worker::{Pool, WorkerCommand};
use crate::base::clock::SharedClock;
use crate::base::n_cores;
use crate::model::Grant;

/// What an engine is made from.
#[derive(Debug)]
pub struct EngineParts {
    /// `[query]`
    pub config: Config,
    /// How PromQL evaluates.
    pub promql: promql::Config,
    /// Where the store's files lie.
    pub data_dir: PathBuf,
    /// The clock of deadlines.
    pub clock: SharedClock,
    /// The room's metrics.
    pub metrics: Metrics,
    /// How a process for SQL is started; [`WorkerCommand::own`] outside of tests.
    pub worker: WorkerCommand,
}

/// What all sessions of a server share.
#[derive(Debug)]
pub struct Engine {
    pub(super) config: Config,
    pub(super) promql: promql::Engine,
    promql_limits: promql::Limits,
    memory: Arc<promql::SharedMemory>,
    spare: Arc<SpareThreads>,
    pub(super) quick: Quick,
    pub(super) data_dir: PathBuf,
    pub(super) pool: Arc<Pool>,
    clock: SharedClock,
    metrics: Metrics,
    admission: Admission,
}

impl Engine {
    /// Returns an engine; nothing is started.
    pub fn new(parts: EngineParts) -> Arc<Self> {
        let EngineParts { config, promql, data_dir, clock, metrics, worker } = parts;
        let memory_bytes = config.worker_memory.0;
        Arc::new(Self {
            pool: Pool::new(worker, config.workers, memory_bytes, metrics.clone()),
            admission: Admission::new(&config, metrics.clone()),
            promql: promql::Engine::new(&promql),
            // A worker's folder is the root, so that it keeps no other folder busy.
            data_dir: std::path::absolute(&data_dir).unwrap_or(data_dir),
            promql_limits: config.promql_limits(),
            memory: Arc::new(promql::SharedMemory::new(
                config.memory_all.bytes(),
                metrics.memory_bytes.clone(),
            )),
            spare: Arc::new(SpareThreads::of_this_machine()),
            quick: Quick::default(),
            config,
            clock,
            metrics,
        })
    }

    /// Starts the processes for SQL, so that the first question need not wait for one.
    pub async fn warm(&self) {
        self.pool.fill().await;
    }

    /// Waits for a turn and starts the clock of a question in one of the dialects.
    pub(super) async fn enter(
        &self,
        grant: &Grant,
        dialect: &'static str,
        deadline: Duration,
    ) -> (Timed, Result<Turn, QueryError>) {
        let timed = Timed {
            metrics: self.metrics.clone(),
            clock: Arc::clone(&self.clock),
            started_ns: self.clock.monotonic_ns(),
            dialect,
            outcome: "canceled",
        };
        (timed, self.admission.enter(&grant.name, deadline).await)
    }

    /// Returns the time, ns since 1970 UTC.
    pub fn now_ns(&self) -> i64 {
        self.clock.now_ms().saturating_mul(1_000_000)
    }

    /// Returns ns since a fixed point, by the clock of deadlines.
    pub(super) fn monotonic_ns(&self) -> u64 {
        self.clock.monotonic_ns()
    }

    pub(super) fn budget(&self, deadline: Duration) -> promql::Budget {
        self.budget_of_one_thread(deadline).with_threads(&self.spare)
    }

    pub(super) fn budget_of_one_thread(&self, deadline: Duration) -> promql::Budget {
        self.promql_limits.budget_of(Arc::clone(&self.clock), deadline, &self.memory)
    }

    /// Returns which parts of PromQL there are, as Prometheus lists them.
    pub fn promql_features(&self) -> serde_json::Value {
        promql::features(self.promql_limits.parse.has_experimental)
    }

    /// Counts a question that a limit refused, ended or cut off, by the limit's key.
    pub fn limited(&self, key: &'static str) {
        self.metrics.limited(key);
    }

    /// Counts an answer that there is not because of a limit, where the question never had a turn.
    pub(super) fn note_limit<T>(&self, answer: &Result<T, QueryError>) {
        self.metrics.note_limit(answer);
    }

    /// Counts a question that was begun by the thread that read it.
    pub(super) fn on_the_spot(&self, is_answered: bool) {
        self.metrics.on_the_spot(is_answered);
    }

    pub(super) fn sql_limits(&self, deadline: Duration) -> Limits {
        let n_partitions = n_cores().clamp(1, SQL_PARTITIONS_MAX);
        Limits {
            memory_bytes: self.config.memory.0,
            rows_max: self.config.rows_max,
            result_bytes_max: self.config.result_bytes_max.bytes(),
            n_partitions,
            cpu_secs_max: (deadline.as_secs() + 1) * n_partitions as u64 + CPU_GRACE_SECS,
        }
    }
}

/// A worker's plans run on few threads, whatever the machine has.
const SQL_PARTITIONS_MAX: usize = 4;
/// The kernel's limit on CPU time comes well after our own deadline.
const CPU_GRACE_SECS: u64 = 10;

/// A question under way; when it ends, however it does, it is counted.
#[derive(Debug)]
pub(super) struct Timed {
    metrics: Metrics,
    clock: SharedClock,
    started_ns: u64,
    dialect: &'static str,
    outcome: &'static str,
}

impl Timed {
    /// Returns what is left of the time a question has, its wait for a turn taken off.
    pub(super) fn left(&self, deadline: Duration) -> Duration {
        let spent_ns = self.clock.monotonic_ns().saturating_sub(self.started_ns);
        deadline.saturating_sub(Duration::from_nanos(spent_ns))
    }

    /// Notes how the question ended.
    pub(super) fn end<T>(mut self, answer: Result<T, QueryError>) -> Result<T, QueryError> {
        self.metrics.note_limit(&answer);
        self.outcome = match &answer {
            Ok(_) => "ok",
            Err(error) => error.outcome(),
        };
        answer
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        let took_ns = self.clock.monotonic_ns().saturating_sub(self.started_ns);
        let seconds = Duration::from_nanos(took_ns).as_secs_f64();
        self.metrics.answered(self.dialect, self.outcome, seconds);
    }
}
