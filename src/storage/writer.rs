//! The two threads of storage: one writes the log and the head, one turns sealed generations into
//! files. Both are plain loops around synchronous code; whoever wires gives each a thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::catalog::CatalogError;
use super::engine::Engine;
use super::flush::{self, FlushError};
use super::keeper::Asker;
use super::objects::Waker;
use super::shared::Shared;
use super::wal::segment::WalError;
use super::{AppendError, Part};

/// Requests that share one sync.
const GROUP_REQUESTS_MAX: usize = 512;
/// How often age is looked at when nothing arrives.
const IDLE_TICK: Duration = Duration::from_millis(500);
/// How long to wait before a failed flush is tried again.
const FLUSH_RETRY: Duration = Duration::from_secs(2);

/// What the writer is asked.
#[derive(Debug)]
pub(super) enum Request {
    /// Store the parts of one request.
    Append { parts: Vec<Part>, done: oneshot::Sender<Result<(), AppendError>> },
    /// Seal the open generation.
    Seal { done: oneshot::Sender<()> },
}

/// How a storage thread ended.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// What is in the log is unknown: the process must stop, and the next start replays.
    #[error("the write-ahead log failed")]
    Wal(#[from] WalError),
    /// What is in the catalog is unknown: the process must stop.
    #[error("the catalog failed")]
    Catalog(#[source] FlushError),
    /// The catalog could not be replaced while files were merged or retired.
    #[error("the catalog failed")]
    Keeper(#[source] CatalogError),
}

/// The thread that writes.
#[derive(Debug)]
pub struct Writer {
    pub(super) engine: Engine,
    pub(super) shared: Arc<Shared>,
    pub(super) inbox: mpsc::Receiver<Request>,
    pub(super) sealed: mpsc::Sender<()>,
}

impl Writer {
    /// Runs until every handle of the store is gone; blocks its thread. An error means that the
    /// process must stop at once.
    pub fn run(mut self, runtime: &tokio::runtime::Handle) -> Result<(), Fatal> {
        let mut group = Vec::with_capacity(GROUP_REQUESTS_MAX);
        loop {
            let first = runtime
                .block_on(async { tokio::time::timeout(IDLE_TICK, self.inbox.recv()).await });
            match first {
                Ok(Some(request)) => group.push(request),
                Ok(None) => return Ok(()),
                Err(_idle) => {}
            }
            while group.len() < GROUP_REQUESTS_MAX
                && let Ok(request) = self.inbox.try_recv()
            {
                group.push(request);
            }
            self.take(&mut group)?;
            if self.engine.wants_seal() {
                self.seal()?;
            }
            // One step between two groups; all of them while nobody waits.
            while self.engine.retire() && self.inbox.is_empty() {}
        }
    }

    fn take(&mut self, group: &mut Vec<Request>) -> Result<(), Fatal> {
        let (mut parts, mut waiting) = (Vec::new(), Vec::with_capacity(group.len()));
        let mut seals = Vec::new();
        for request in group.drain(..) {
            match request {
                Request::Append { parts: more, done } if !self.engine.may_commit(&more) => {
                    let _: Result<(), _> = done.send(Err(AppendError::SeriesRetired));
                }
                Request::Append { parts: more, done } => {
                    parts.extend(more);
                    waiting.push(done);
                }
                Request::Seal { done } => seals.push(done),
            }
        }
        if !waiting.is_empty() {
            self.commit(parts, waiting)?;
        }
        if !seals.is_empty() {
            self.seal()?;
            for done in seals {
                let _: Result<(), ()> = done.send(());
            }
        }
        Ok(())
    }

    fn commit(
        &mut self,
        parts: Vec<Part>,
        waiting: Vec<oneshot::Sender<Result<(), AppendError>>>,
    ) -> Result<(), Fatal> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a group has at most a few hundred requests"
        )]
        self.shared.metrics.wal_group_requests.observe(waiting.len() as f64);
        let result = match self.engine.commit(parts) {
            Ok(()) => Ok(()),
            Err(WalError::Full) => Err(AppendError::DiskFull),
            Err(fatal) => return Err(fatal.into()),
        };
        self.note_full(result.is_err());
        for done in waiting {
            // A sender that went away has lost its answer, not its rows.
            drop(done.send(result.clone()));
        }
        Ok(())
    }

    fn note_full(&self, is_full: bool) {
        let before = self.shared.metrics.disk_full.set(i64::from(is_full)) != 0;
        match (before, is_full) {
            (false, true) => {
                error!("the disk is full: writes are refused until space is freed, queries go on");
            }
            (true, false) => info!("the disk has space again: writes are accepted"),
            _ => {}
        }
    }

    fn seal(&mut self) -> Result<(), Fatal> {
        match self.engine.seal() {
            Ok(()) => {
                // A full channel means that the flusher has been told already.
                let _: Result<(), _> = self.sealed.try_send(());
                Ok(())
            }
            Err(WalError::Full) => {
                self.note_full(true);
                Ok(())
            }
            Err(fatal) => Err(fatal.into()),
        }
    }
}

/// The thread that turns sealed generations into files.
#[derive(Debug)]
pub struct Flusher {
    pub(super) shared: Arc<Shared>,
    pub(super) sealed: mpsc::Receiver<()>,
    /// Tells the keeper that there are new files, and by its end that there will be none.
    pub(super) keeper: Asker,
    /// Tells the shipper the same.
    pub(super) shipper: Waker,
}

impl Flusher {
    /// Runs until the writer is gone; blocks its thread. An error means that the process must stop
    /// at once.
    pub fn run(mut self, runtime: &tokio::runtime::Handle) -> Result<(), Fatal> {
        loop {
            let is_open = runtime.block_on(self.sealed.recv()).is_some();
            self.flush_all(runtime)?;
            if !is_open {
                return Ok(());
            }
        }
    }

    fn flush_all(&mut self, runtime: &tokio::runtime::Handle) -> Result<(), Fatal> {
        loop {
            match flush::flush_oldest(&self.shared) {
                Ok(true) => {
                    self.keeper.tell_written();
                    self.shipper.wake();
                }
                Ok(false) => return Ok(()),
                Err(error) if error.is_fatal() => return Err(Fatal::Catalog(error)),
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    warn!(%error, cause, "flush failed; the rows stay in the log and in memory, and it is tried again");
                    self.shared
                        .metrics
                        .flushes
                        .get_or_create(&[("outcome", "failed".to_owned())])
                        .inc();
                    if self.shared.is_stopping.load(Ordering::SeqCst) {
                        return Ok(());
                    }
                    // Made inside: a timer wants the runtime around it.
                    runtime.block_on(async { tokio::time::sleep(FLUSH_RETRY).await });
                }
            }
        }
    }
}
