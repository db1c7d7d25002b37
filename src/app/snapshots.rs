//! Snapshots as the API asks for them: what the store has in files, and the control state.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::DateTime;
use rand::Rng;

use crate::api::{AskError, BackUp, Sessions};
use crate::base::Kind;
use crate::base::clock::SharedClock;
use crate::model::Grant;
use crate::storage::{StateStore, Taken, backup};

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
        let (state, path) = (Arc::clone(&self.state), folder.join(backup::STATE));
        let copied = tokio::task::spawn_blocking(move || state.copy_to(&path)).await;
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
