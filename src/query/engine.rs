//! What all sessions share: limits, turns, the processes for SQL, the room's own metrics.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::admission::{Admission, Turn};
use super::error::QueryError;
use super::limits::Config;
use super::metrics::{Metrics, Running};
use super::promql;
use super::sql::Limits;
use super::worker::{Pool, WorkerCommand};
use crate::base::clock::SharedClock;
use crate::base::units::HumanDuration;
use crate::model::{Grant, Matcher};

/// What an engine is made from.
#[derive(Debug)]
pub struct EngineParts {
    /// `[query]`
    pub config: Config,
    /// How PromQL evaluates.
    pub promql: promql::Config,
    /// What one PromQL question may cost.
    pub promql_limits: promql::Limits,
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
    pub(super) promql_limits: promql::Limits,
    pub(super) data_dir: PathBuf,
    pub(super) pool: Arc<Pool>,
    clock: SharedClock,
    metrics: Metrics,
    admission: Admission,
}

impl Engine {
    /// Returns an engine; nothing is started.
    pub fn new(parts: EngineParts) -> Arc<Self> {
        let EngineParts { config, promql, promql_limits, data_dir, clock, metrics, worker } = parts;
        let memory_bytes = config.worker_memory.0;
        Arc::new(Self {
            pool: Pool::new(worker, config.workers, memory_bytes, metrics.clone()),
            admission: Admission::new(&config),
            promql: promql::Engine::new(&promql),
            // A worker's folder is the root, so that it keeps no other folder busy.
            data_dir: std::path::absolute(&data_dir).unwrap_or(data_dir),
            config,
            promql_limits,
            clock,
            metrics,
        })
    }

    /// Starts the processes for SQL, so that the first question need not wait for one.
    pub async fn warm(&self) {
        self.pool.fill().await;
    }

    /// Reads a PromQL series selector, such as `up{job="a"}`.
    pub fn selector(&self, text: &str) -> Result<Vec<Matcher>, QueryError> {
        let expr = promql::parse(text, &self.promql_limits.parse_limits())?;
        let refused = || QueryError::Refused(format!("`{text}` is not one series selector"));
        promql::as_selector(&expr).ok_or_else(refused)
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
            _running: self.metrics.running(),
        };
        (timed, self.admission.enter(&grant.name, deadline).await)
    }

    pub(super) fn budget(&self, deadline: Duration) -> promql::Budget {
        let limits =
            promql::Limits { query_timeout: HumanDuration(deadline), ..self.promql_limits.clone() };
        limits.budget(Arc::clone(&self.clock))
    }

    pub(super) fn sql_limits(&self, deadline: Duration) -> Limits {
        let n_cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let n_partitions = n_cores.clamp(1, SQL_PARTITIONS_MAX);
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
    _running: Running,
}

impl Timed {
    /// Notes how the question ended.
    pub(super) fn end<T>(mut self, answer: Result<T, QueryError>) -> Result<T, QueryError> {
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
