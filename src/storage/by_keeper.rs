//! What only the keeper does, for those who ask: deletions, and snapshots for a backup.
//!
//! Both are about files, so what is in memory goes there first.

use std::sync::Arc;
use std::time::Duration;

use super::{BackupError, DeleteError, DeleteRequest, Receipt, Storage, Taken, backup, deletion};
use crate::model::ReadScope;

/// How long a deletion or a snapshot waits until what is in memory is in files.
const KEEPER_FLUSH: Duration = Duration::from_secs(120);

impl Storage {
    /// Takes rows out of all answers, of the commons in the scope; what is in memory goes to files
    /// first, so that what was acknowledged before is found.
    pub async fn delete(
        &self,
        scope: &ReadScope,
        request: DeleteRequest,
    ) -> Result<Receipt, DeleteError> {
        if !self.flush(KEEPER_FLUSH).await {
            return Err(DeleteError::Unflushed);
        }
        let scope = scope.clone();
        self.keeper.ask(move |shared| deletion::delete(shared, &scope, request)).await?
    }

    /// Returns the receipts of deletions that a caller of this scope may know of, oldest first.
    pub fn deletions(&self, scope: &ReadScope) -> Vec<Receipt> {
        let manifest = self.shared.manifest.lock();
        let known = manifest.deletions.iter().filter(|r| deletion::may_know(scope, r));
        known.cloned().collect()
    }

    /// Takes a deletion back.
    pub async fn cancel_deletion(
        &self,
        scope: &ReadScope,
        id: u64,
        by: &str,
    ) -> Result<Receipt, DeleteError> {
        let (scope, by) = (scope.clone(), by.to_owned());
        self.keeper.ask(move |shared| deletion::cancel(shared, &scope, id, &by)).await?
    }

    /// Lets the bytes of all deletions in the scope go at once; returns when the files were written
    /// anew without them.
    pub async fn erase_deleted(&self, scope: &ReadScope) -> Result<(), DeleteError> {
        let scope = scope.clone();
        self.keeper.ask(move |shared| deletion::ripen(shared, &scope)).await??;
        // The keeper writes a file at least before it does what it is asked next. One that it cannot
        // write stays, and the receipt says so.
        let mut n_left = usize::MAX;
        loop {
            let n_now = self.keeper.ask(|shared| Ok(deletion::n_to_write_anew(shared))).await?;
            if n_now == 0 || n_now >= n_left {
                return Ok(());
            }
            n_left = n_now;
        }
    }

    /// Links all live files into `snapshots/<name>`; what is in memory goes to files first. When this is
    /// dropped before its end, nothing stays there. See [`backup::is_name`] for the name.
    pub async fn take_snapshot(&self, name: &str) -> Result<Taken, BackupError> {
        if !self.flush(KEEPER_FLUSH).await {
            return Err(BackupError::Unflushed);
        }
        let name = name.to_owned();
        let asked = Arc::new(());
        let asking = Arc::downgrade(&asked);
        let is_wanted = move || asking.strong_count() > 0;
        let taken =
            self.keeper.ask(move |shared| Ok(backup::take(shared, &name, &is_wanted))).await;
        drop(asked);
        taken?
    }
}
