//! The ordered stop: each step has a name in the log and a deadline, and killing the process at any
//! of them is safe, because what was acknowledged is in the log.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::rooms::Rooms;
use crate::base::tasks::Tasks;
use crate::storage::Storage;

/// How long tasks may take to end.
const TASKS_DEADLINE: Duration = Duration::from_secs(3);

/// What has to be stopped.
pub(super) struct Running {
    pub(super) server_shutdown: CancellationToken,
    pub(super) serving: JoinHandle<bool>,
    pub(super) tasks: Tasks,
    pub(super) storage: Storage,
    pub(super) rooms: Rooms,
    /// How long the last flush may take.
    pub(super) stop_flush: Duration,
}

/// Stops everything, senders first.
pub(super) async fn drain(running: Running) {
    let Running { server_shutdown, serving, tasks, storage, rooms, stop_flush } = running;
    info!("stopping: no more requests");
    server_shutdown.cancel();
    if let Err(error) = serving.await {
        warn!(%error, "the listeners ended badly");
    }
    info!("stopping: rules, notifications and timers");
    tasks.stop(TASKS_DEADLINE).await;
    drop(rooms);
    info!("stopping: flushing to Parquet");
    storage.stopping();
    if !storage.flush(stop_flush).await {
        warn!(
            "not everything was flushed in time; the log holds it, and the next start replays it"
        );
    }
    info!("stopped");
}
