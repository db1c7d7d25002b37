//! The thread that keeps the files in order: merges small ones, retires old ones, removes what nobody
//! reads any more.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tracing::warn;

use super::catalog::CatalogError;
use super::compact::Merger;
use super::retain;
use super::shared::Shared;
use super::writer::Fatal;

/// How often the keeper looks around when no file is written. The clock it then asks may run faster
/// than the world.
const TICK: Duration = Duration::from_millis(500);
/// How often the retention is applied, ms.
const RETAIN_EVERY_MS: i64 = 600_000;

/// Keeps the files in order.
#[derive(Debug)]
pub struct Keeper {
    shared: Arc<Shared>,
    written: Receiver<()>,
    merger: Merger,
    retained_at_ms: i64,
    is_full: bool,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>, written: Receiver<()>) -> Self {
        Self {
            shared,
            written,
            merger: Merger::default(),
            retained_at_ms: i64::MIN,
            is_full: false,
        }
    }

    /// Runs until the flusher is gone; blocks its thread. An error means that the process must stop
    /// at once.
    pub fn run(mut self) -> Result<(), Fatal> {
        // What the last process left behind is merged at once.
        loop {
            self.tidy().map_err(Fatal::Keeper)?;
            if let Err(RecvTimeoutError::Disconnected) = self.written.recv_timeout(TICK) {
                return Ok(());
            }
        }
    }

    /// Does what there is to do now; returns how many files left the catalog for their age. Only an
    /// error that leaves the catalog unknown is returned.
    pub fn tidy(&mut self) -> Result<usize, CatalogError> {
        let now_ms = self.shared.clock.now_ms();
        let mut n_gone = 0;
        if now_ms.saturating_sub(self.retained_at_ms) >= RETAIN_EVERY_MS {
            n_gone =
                retain::retain(&self.shared).or_else(|error| self.survive(error).map(|()| 0))?;
            self.retained_at_ms = now_ms;
        }
        retain::sweep(&self.shared);
        loop {
            match self.merger.merge_next(&self.shared) {
                Ok(true) => self.is_full = false,
                Ok(false) => break,
                Err(error) => {
                    self.survive(error)?;
                    break;
                }
            }
        }
        retain::sweep(&self.shared);
        Ok(n_gone)
    }

    /// A full disk left the old manifest in place: there will be another time.
    fn survive(&mut self, error: CatalogError) -> Result<(), CatalogError> {
        if !error.is_full() {
            return Err(error);
        }
        if !self.is_full {
            warn!(%error, "the disk is full: files are neither merged nor retired until there is space");
        }
        self.is_full = true;
        Ok(())
    }
}
