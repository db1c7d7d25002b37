//! Named tasks, so that a stop that hangs can say on whom.
//!
//! A `Tasks` is handed to whoever wires; each task gets a name and a shutdown token. Stopping
//! cancels the token and waits for every task until a deadline, naming those that did not end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

type NamedTask = (&'static str, JoinHandle<()>);

/// A set of long-lived tasks that stop together.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    shutdown: CancellationToken,
    running: Arc<Mutex<Vec<NamedTask>>>,
}

impl Tasks {
    /// Returns an empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the token that is cancelled when the set is told to stop.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Starts a long-lived task under a name.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        #[expect(clippy::disallowed_methods, reason = "the one place that spawns, with a name")]
        let handle = tokio::spawn(task);
        self.running.lock().push((name, handle));
    }

    /// Cancels the token and waits for every task; those that outlive `deadline` are named in the
    /// log and aborted. Returns true when all ended by themselves without a panic.
    pub async fn stop(&self, deadline: Duration) -> bool {
        self.shutdown.cancel();
        let running = std::mem::take(&mut *self.running.lock());
        let mut all_ended = true;
        for (name, mut handle) in running {
            match tokio::time::timeout(deadline, &mut handle).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    warn!(task = name, %error, "task ended badly");
                    all_ended = false;
                }
                Err(_) => {
                    warn!(task = name, ?deadline, "task did not stop in time and was aborted");
                    handle.abort();
                    all_ended = false;
                }
            }
        }
        all_ended
    }
}

/// Starts a task whose end the caller waits for.
pub fn spawn_joined<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    #[expect(clippy::disallowed_methods, reason = "the caller holds the handle and waits for it")]
    tokio::spawn(task)
}

/// Starts a short-lived task that nobody waits for, such as one connection.
pub fn spawn_detached(task: impl Future<Output = ()> + Send + 'static) {
    #[expect(clippy::disallowed_methods, reason = "short-lived work, bounded by its connection")]
    drop(tokio::spawn(task));
}
