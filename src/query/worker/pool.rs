//! The workers that wait for questions: started before they are needed, ended when they must be.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tracing::warn;

use super::conversation::{HeadSource, Outcome, converse};
use super::frame::{Frame, skip_prelude};
use super::protocol::{Hello, Kind};
use crate::base::tasks::{spawn_detached, spawn_joined};
use crate::query::answer::SqlAnswer;
use crate::query::error::QueryError;
use crate::query::metrics::{Counted, Metrics};
use crate::query::sql::{Failure, FailureKind, Question};
use crate::storage::ReadError;

/// How long a fresh worker may take to say that it is ready; starting takes milliseconds.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// Whoever waits for the answer gives up at the deadline, and would not hear which limit was met.
const TOLD_BEFORE: Duration = Duration::from_millis(20);
/// The longest frame of a worker that has not been asked anything yet.
const READY_BYTES_MAX: usize = 4096;
/// How long the kernel may take to say how a worker ended.
const END_PATIENCE: Duration = Duration::from_secs(2);
/// How much of a worker's last words is kept.
const LAST_WORDS_BYTES: usize = 4096;

/// How to start a worker.
#[derive(Debug, Clone)]
pub struct WorkerCommand {
    /// The program.
    pub exe: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
}

impl WorkerCommand {
    /// Returns this program's own `query-worker`.
    pub fn own() -> io::Result<Self> {
        Ok(Self {
            exe: std::env::current_exe()?,
            args: vec!["query-worker".into()],
            env: Vec::new(),
        })
    }

    fn spawn(&self) -> io::Result<Child> {
        Command::new(&self.exe)
            .args(&self.args)
            .env_clear()
            // Allocators that reserve address space by the gigabyte would use up a limit on it.
            .envs([("MIMALLOC_ARENA_RESERVE", "65536"), ("MALLOC_ARENA_MAX", "2")])
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // An interrupt at the terminal is the server's to handle.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

/// One process; dropping it ends it.
#[derive(Debug)]
struct Worker {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    last_words: Arc<Mutex<Vec<u8>>>,
    listener: JoinHandle<()>,
}

impl Worker {
    async fn start(command: &WorkerCommand, memory_bytes: u64) -> io::Result<Self> {
        let mut child = command.spawn()?;
        let gone = || io::Error::other("a pipe to the process is missing");
        let to = child.stdin.take().ok_or_else(gone)?;
        let from = BufReader::new(child.stdout.take().ok_or_else(gone)?);
        let last_words = Arc::default();
        let listener = listen(child.stderr.take().ok_or_else(gone)?, Arc::clone(&last_words));
        let mut worker = Self { child, to, from, last_words, listener };
        tokio::time::timeout(START_PATIENCE, worker.greet(memory_bytes))
            .await
            .map_err(|_| io::Error::other("the process does not say that it is ready"))??;
        Ok(worker)
    }

    async fn greet(&mut self, memory_bytes: u64) -> io::Result<()> {
        skip_prelude(&mut self.from).await?;
        Frame::json(Kind::Hello, 0, &Hello { memory_bytes })?.send(&mut self.to).await?;
        match Frame::receive(&mut self.from, READY_BYTES_MAX).await?.kind {
            Kind::Ready => Ok(()),
            _ => Err(io::Error::other("the process is not ready")),
        }
    }

    fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Returns how the process ended by itself; one that did not is ended, and has no status.
    async fn end(&mut self) -> (Option<ExitStatus>, String) {
        let status = tokio::time::timeout(END_PATIENCE, self.child.wait()).await;
        if status.is_err() {
            // Ignored: the process is gone, or the drop ends it.
            let _ = self.child.start_kill();
        }
        // What it said last may still be in its pipe, and says what it died of.
        let _ = tokio::time::timeout(END_PATIENCE, &mut self.listener).await;
        let words = String::from_utf8_lossy(&self.last_words.lock()).into_owned();
        (status.ok().and_then(Result::ok), words)
    }
}

/// Keeps the end of what a worker prints to its standard error.
fn listen(mut stderr: ChildStderr, last_words: Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    spawn_joined(async move {
        let mut piece = vec![0; 1024];
        while let Ok(n_bytes @ 1..) = stderr.read(&mut piece).await {
            let mut kept = last_words.lock();
            kept.extend_from_slice(&piece[..n_bytes]);
            let n_surplus = kept.len().saturating_sub(LAST_WORDS_BYTES);
            kept.drain(..n_surplus);
        }
    })
}

/// The workers of one server.
#[derive(Debug)]
pub(in crate::query) struct Pool {
    command: WorkerCommand,
    memory_bytes: u64,
    n_workers: usize,
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<Worker>>,
    metrics: Metrics,
}

impl Pool {
    /// Returns a pool that starts its workers as they are needed.
    pub(in crate::query) fn new(
        command: WorkerCommand,
        n_workers: usize,
        memory_bytes: u64,
        metrics: Metrics,
    ) -> Arc<Self> {
        Arc::new(Self {
            command,
            memory_bytes,
            n_workers,
            slots: Arc::new(Semaphore::new(n_workers)),
            idle: Mutex::default(),
            metrics,
        })
    }

    /// Starts workers until all wait, so that the first question does not.
    pub(in crate::query) async fn fill(&self) {
        while self.idle.lock().len() < self.slots.available_permits() {
            match Worker::start(&self.command, self.memory_bytes).await {
                Ok(worker) => self.idle.lock().push(worker),
                Err(error) => return warn!(%error, "cannot start a process for SQL"),
            }
        }
    }

    /// Answers a question within the deadline; dropping the future ends the worker.
    pub(in crate::query) async fn ask(
        self: &Arc<Self>,
        question: &Question,
        head: &Arc<dyn HeadSource>,
        deadline: Duration,
    ) -> Result<SqlAnswer, QueryError> {
        // One timer for the wait, the start and the talk: a question has its time once.
        let mut timer = std::pin::pin!(tokio::time::sleep(deadline));
        let turn = Arc::clone(&self.slots).acquire_owned();
        let slot = tokio::time::timeout(deadline.saturating_sub(TOLD_BEFORE), turn).await;
        let slot = slot.ok().and_then(Result::ok).ok_or(QueryError::Overloaded {
            whose: " in SQL",
            max: self.n_workers,
            key: "query.workers",
        })?;
        let mut lease = Lease::new(self, slot);
        let talk = async {
            let worker = lease.worker.insert(self.take().await?);
            Ok::<_, QueryError>(converse(&mut worker.to, &mut worker.from, question, head).await)
        };
        let talked = tokio::select! {
            talked = talk => Some(talked),
            () = &mut timer => None,
        };
        match talked.transpose()? {
            Some(Ok(outcome)) => {
                lease.give_back();
                self.verdict(outcome, question)
            }
            Some(Err(error)) => Err(self.post_mortem(&mut lease, error).await),
            None => {
                lease.reason = "deadline";
                Err(QueryError::Timeout { limit: deadline })
            }
        }
    }

    async fn take(&self) -> Result<Worker, QueryError> {
        while let Some(mut worker) = { self.idle.lock().pop() } {
            if worker.is_alive() {
                return Ok(worker);
            }
        }
        Worker::start(&self.command, self.memory_bytes).await.map_err(QueryError::Spawn)
    }

    fn verdict(&self, outcome: Outcome, question: &Question) -> Result<SqlAnswer, QueryError> {
        outcome.map_err(|Failure { kind, message }| match kind {
            FailureKind::Refused => QueryError::Refused(message),
            FailureKind::Execution => QueryError::Execution(message),
            FailureKind::Internal => QueryError::Internal(message),
            FailureKind::Damaged { path } => {
                QueryError::Read(ReadError::Damaged { path, reason: message })
            }
            FailureKind::Away { path } => {
                QueryError::Read(ReadError::Away { path, reason: message })
            }
            FailureKind::Memory => {
                QueryError::Memory { message, max_bytes: question.limits.memory_bytes }
            }
        })
    }

    /// Says why a worker that stopped talking did so.
    async fn post_mortem(&self, lease: &mut Lease, error: io::Error) -> QueryError {
        let (status, last_words) = match &mut lease.worker {
            Some(worker) => worker.end().await,
            None => (None, String::new()),
        };
        let died = how_it_died(status, &last_words, &error);
        lease.reason = died.reason();
        match died {
            Death::Memory => QueryError::WorkerMemory { max_bytes: self.memory_bytes },
            Death::Other(how) => {
                warn!(how, %last_words, "a process for SQL ended");
                QueryError::WorkerDied { how }
            }
        }
    }
}

/// What a worker died of.
#[derive(Debug, PartialEq)]
enum Death {
    Memory,
    Other(String),
}

impl Death {
    fn reason(&self) -> &'static str {
        match self {
            Death::Memory => "memory",
            Death::Other(_) => "died",
        }
    }
}

/// What programs print when they are refused memory.
const OUT_OF_MEMORY: [&str; 4] =
    ["memory allocation of", "Cannot allocate memory", "os error 11", "os error 12"];

fn how_it_died(status: Option<ExitStatus>, last_words: &str, error: &io::Error) -> Death {
    const SIGKILL: i32 = 9;
    const SIGXCPU: i32 = 24;
    if OUT_OF_MEMORY.iter().any(|words| last_words.contains(words)) {
        return Death::Memory;
    }
    if last_words.contains("has overflowed its stack") {
        return Death::Other("its expressions are nested too deeply".to_owned());
    }
    Death::Other(match status {
        Some(status) => match (status.signal(), status.code()) {
            (Some(SIGKILL), _) => "killed, most likely by the system for want of memory".to_owned(),
            (Some(SIGXCPU), _) => "it had used up its CPU time".to_owned(),
            (Some(signal), _) => format!("signal {signal}"),
            (None, code) => format!("exit code {}", code.unwrap_or(-1)),
        },
        None => error.to_string(),
    })
}

/// A worker at work. Dropped without being given back, it is ended and another is started.
struct Lease {
    pool: Arc<Pool>,
    worker: Option<Worker>,
    reason: &'static str,
    slot: Option<OwnedSemaphorePermit>,
    _busy: Counted,
}

impl Lease {
    fn new(pool: &Arc<Pool>, slot: OwnedSemaphorePermit) -> Self {
        let busy = pool.metrics.worker_busy();
        let pool = Arc::clone(pool);
        Self { pool, worker: None, reason: "canceled", slot: Some(slot), _busy: busy }
    }

    fn give_back(&mut self) {
        if let Some(worker) = self.worker.take() {
            self.pool.idle.lock().push(worker);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(worker) = self.worker.take() else { return };
        drop(worker);
        drop(self.slot.take());
        self.pool.metrics.worker_restarted(self.reason);
        let pool = Arc::clone(&self.pool);
        // Without a runtime the server is stopping and needs no new worker.
        if tokio::runtime::Handle::try_current().is_ok() {
            spawn_detached(async move { pool.fill().await });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw_status: i32, last_words: &str, want: &str) {
        let error = io::Error::other("end of file");
        let status = Some(ExitStatus::from_raw(raw_status));
        match how_it_died(status, last_words, &error) {
            Death::Memory => assert_eq!(want, "memory"),
            Death::Other(how) => assert!(how.contains(want), "{how}"),
        }
    }

    #[test]
    fn a_worker_that_had_to_be_ended_died_of_what_it_said() {
        let error = io::Error::other("a frame that a worker never sends");
        let want = Death::Other("a frame that a worker never sends".to_owned());
        assert_eq!(how_it_died(None, "", &error), want);
    }

    #[test]
    fn the_cause_of_death_is_told_apart() {
        check(6, "memory allocation of 2147483648 bytes failed", "memory");
        check(6, "thread 'main' has overflowed its stack", "too deeply");
        check(9, "", "want of memory");
        check(24, "", "CPU time");
        check(11, "", "signal 11");
        check(101 << 8, "", "exit code 101");
    }
}
