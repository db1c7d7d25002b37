//! On the way in: parts are handed to the writer once there is memory for them, and what is in memory
//! goes to files when somebody waits for that.

use std::time::Duration;

use tokio::sync::oneshot;

use super::writer::Request;
use super::{AppendError, Part, Storage};

/// When a sender that was refused for memory should come back.
const RETRY_AFTER_S: u32 = 5;

impl Storage {
    /// Stores the parts of one request: when this returns `Ok` they are synced and visible.
    ///
    /// Past the firm mark this waits a little for memory; past the hard one it refuses at once.
    pub async fn append(&self, parts: Vec<Part>) -> Result<(), AppendError> {
        if parts.is_empty() {
            return Ok(());
        }
        self.wait_for_memory().await?;
        let (done, answer) = oneshot::channel();
        self.shared.metrics.queue_requests.inc();
        let sent = self.requests.send(Request::Append { parts, done }).await;
        let answer = if sent.is_ok() { answer.await } else { Ok(Err(AppendError::Stopping)) };
        self.shared.metrics.queue_requests.dec();
        // A writer that is gone has not acknowledged, so neither do we.
        answer.unwrap_or(Err(AppendError::Stopping))
    }

    async fn wait_for_memory(&self) -> Result<(), AppendError> {
        let config = &self.shared.config;
        let flushed = self.shared.flushed.notified();
        let used_bytes = self.shared.version.read().head_bytes();
        if used_bytes < config.head_firm.0 {
            return Ok(());
        }
        let refuse = |used_bytes, mark: &str| {
            self.shared.metrics.pressure.get_or_create(&[("mark", mark.to_owned())]).inc();
            AppendError::Overloaded {
                used_bytes,
                max_bytes: config.head_hard.0,
                retry_after_s: RETRY_AFTER_S,
            }
        };
        if used_bytes >= config.head_hard.0 {
            return Err(refuse(used_bytes, "hard"));
        }
        self.shared.metrics.pressure.get_or_create(&[("mark", "firm".to_owned())]).inc();
        // Whether or not a flush has ended by then, memory below the hard mark is there to be used.
        drop(tokio::time::timeout(config.firm_wait.0, flushed).await);
        let used_bytes = self.shared.version.read().head_bytes();
        if used_bytes >= config.head_hard.0 { Err(refuse(used_bytes, "hard")) } else { Ok(()) }
    }

    /// Seals what is in memory and waits until it is in files, or until `deadline`.
    pub async fn flush(&self, deadline: Duration) -> bool {
        let (done, sealed) = oneshot::channel();
        let flush = async {
            if self.requests.send(Request::Seal { done }).await.is_err() || sealed.await.is_err() {
                return false;
            }
            // Under load there is always a generation on its way; what matters are those of before.
            let next = self.shared.version.read().open.number;
            loop {
                let flushed = self.shared.flushed.notified();
                if self.shared.version.read().sealed.iter().all(|one| one.number >= next) {
                    return true;
                }
                flushed.await;
            }
        };
        tokio::time::timeout(deadline, flush).await.unwrap_or(false)
    }
}
