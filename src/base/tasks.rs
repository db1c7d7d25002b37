//! Named tasks, so that a stop that hangs can say on whom.
//!
//! A `Tasks` is handed to whoever wires; each task gets a name and a shutdown token. Stopping
//! cancels the token and waits for every task until a deadline, naming those that did not end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Handle, RuntimeFlavor};
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
/// Does work that may take milliseconds on the thread of a task. Meanwhile another thread does what
/// this one would: a thread of the runtime that works through a task reads no socket, and whoever
/// writes to one waits for it, even when other threads have nothing to do. It costs some microseconds.
pub fn work_apart<T>(work: impl FnOnce() -> T) -> T {
    let is_of_many = Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    if is_of_many { tokio::task::block_in_place(work) } else { work() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A_MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn while_work_is_done_apart_the_one_thread_of_the_runtime_serves_others() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (say, heard) = std::sync::mpsc::channel();
        let first =
            runtime.spawn(async move { work_apart(|| heard.recv_timeout(A_MINUTE).is_ok()) });
        let second = runtime.spawn(async move { say.send(()).is_ok() });

        let both = runtime.block_on(async { (first.await.unwrap(), second.await.unwrap()) });

        assert_eq!(both, (true, true));
    }

    #[tokio::test]
    async fn a_runtime_of_one_thread_does_it_itself() {
        assert_eq!(work_apart(|| 7), 7);
    }

    #[test]
    fn so_does_a_thread_without_a_runtime() {
        assert_eq!(work_apart(|| 7), 7);
    }
}
