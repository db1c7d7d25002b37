//! Snapshots as the API asks for them: what the store has in files, and the control state.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::DateTime;
use rand::Rng;

use crate::api::{AskError, BackUp, Sessions};
use crate::base::Kind;
use crate::base::clock::SharedClock;
use crate::model::Grant;
use crate::storage::{StateError, StateStore, Taken, backup};

/// Takes snapshots of a data directory.
#[derive(Debug)]
pub(super) struct Snapshots {
    pub(super) questions: Arc<Sessions>,
    pub(super) state: Arc<StateStore>,
    pub(super) data_dir: PathBuf,
    pub(super) clock: SharedClock,
}

#[async_trait]
impl BackUp for Snapshots {
    async fn snapshot(&self, grant: &Grant) -> Result<Taken, AskError> {
        let name = self.name();
        let taken = self.questions.take_snapshot(grant, &name).await?;
        let folder = self.data_dir.join(backup::DIR).join(&name);
        let (state, asked) = (Arc::clone(&self.state), Arc::new(()));
        let asking = Arc::downgrade(&asked);
        let is_wanted = move || asking.strong_count() > 0;
        let copy = move || copy_state(&state, &folder, &is_wanted);
        let copied = tokio::task::spawn_blocking(copy).await;
        drop(asked);
        let failed = |error: String| AskError::new(Kind::Internal, error);
        copied
            .map_err(|error| failed(error.to_string()))?
            .map_err(|error| AskError::of(Kind::Internal, &error))?;
        Ok(taken)
    }
}

impl Snapshots {
    /// Returns a name that sorts by time and is nobody else's.
    fn name(&self) -> String {
        let now = DateTime::from_timestamp_millis(self.clock.now_ms()).unwrap_or_default();
        let tail: u32 = rand::rng().random();
        format!("{}-{tail:08x}", now.format("%Y%m%dT%H%M%SZ"))
    }
}

/// Puts the control state beside a snapshot's files, or takes the snapshot away when that fails or nobody
/// waits any more: its name would not be known, and its links would keep the bytes of what is removed.
fn copy_state(
    state: &StateStore,
    folder: &Path,
    is_wanted: &dyn Fn() -> bool,
) -> Result<(), StateError> {
    let copied = state.copy_to(&folder.join(backup::STATE));
    if copied.is_err() || !is_wanted() {
        drop(std::fs::remove_dir_all(folder));
    }
    copied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_without_the_control_state_or_anybody_to_know_of_it_does_not_stay() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateStore::in_memory().unwrap();
        for (name, is_in_the_way, is_wanted) in
            [("good", false, true), ("bad", true, true), ("late", false, false)]
        {
            let snapshot = folder.path().join(name);
            std::fs::create_dir_all(snapshot.join("parquet")).unwrap();
            if is_in_the_way {
                std::fs::write(snapshot.join("state"), "no folder").unwrap();
            }

            let copied = copy_state(&state, &snapshot, &|| is_wanted);

            let stays = is_wanted && !is_in_the_way;
            assert_eq!((copied.is_err(), snapshot.exists()), (is_in_the_way, stays), "{name}");
        }
    }
}
