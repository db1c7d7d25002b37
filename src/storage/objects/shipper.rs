//! The thread that keeps the bucket as the manifest says: uploads what is live, removes what is not,
//! makes room on the local disk.
//!
//! It works in rounds, and a round changes nothing that the next one could not find out from the
//! ledger and the manifest, so the process may end anywhere. After a failure rounds pause, longer each
//! time; nothing else waits for them.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use object_store::ObjectStoreExt;
use tracing::{error, info, warn};

use super::Objects;
use super::claim::{Claim, ClaimError, Refusal};
use super::ledger::Known;
use super::look::look;
use super::metrics::Request;
use super::remote::{Remote, RemoteError, pause_after};
use super::upload::{Upload, UploadError};
use crate::storage::FileEntry;
use crate::storage::shared::Shared;

/// How often there is a round when nobody says that there is something to do.
const TICK: Duration = Duration::from_secs(2);
/// How often the bucket is listed.
const LOOK_EVERY_NS: u64 = 86_400_000_000_000;
/// Files of one round, for each that is uploaded at a time.
const ROUND_FILES: usize = 4;

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShipError {
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error(transparent)]
    Refused(Refusal),
    #[error("cannot write what is known of object storage")]
    Local(#[source] io::Error),
}

impl From<ClaimError> for ShipError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Refused(refusal) => ShipError::Refused(refusal),
            ClaimError::Remote(error) => ShipError::Remote(error),
            ClaimError::Local(error) => ShipError::Local(error),
        }
    }
}

/// Tells the shipper that there is something to do.
#[derive(Debug, Clone, Default)]
pub(in crate::storage) struct Waker(Option<SyncSender<()>>);

impl Waker {
    /// Returns a waker, and where the shipper hears it.
    pub(in crate::storage) fn new() -> (Self, Receiver<()>) {
        let (sender, receiver) = sync_channel(1);
        (Self(Some(sender)), receiver)
    }

    /// Wakes it.
    pub(in crate::storage) fn wake(&self) {
        // A full channel says the same.
        let _ = self.0.as_ref().map(|sender| sender.try_send(()));
    }
}

/// Keeps the bucket as the manifest says.
pub struct Shipper {
    shared: Arc<Shared>,
    objects: Arc<Objects>,
    told: Receiver<()>,
    claim: Option<Claim>,
    is_taken: bool,
    looked_at_ns: Option<u64>,
    /// Files that cannot be read here, until the next start.
    left_alone: HashSet<String>,
    n_failures: u32,
    not_before_ns: u64,
    last_words: String,
}

impl std::fmt::Debug for Shipper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shipper").field("n_failures", &self.n_failures).finish_non_exhaustive()
    }
}

impl Shipper {
    pub(in crate::storage) fn new(
        shared: Arc<Shared>,
        objects: Arc<Objects>,
        told: Receiver<()>,
    ) -> Self {
        Self {
            shared,
            objects,
            told,
            claim: None,
            is_taken: false,
            looked_at_ns: None,
            left_alone: HashSet::new(),
            n_failures: 0,
            not_before_ns: 0,
            last_words: String::new(),
        }
    }

    /// Runs until nobody is left who could wake it; blocks its thread.
    pub fn run(mut self) {
        loop {
            let has_more = self.round();
            let tick = if has_more { Duration::ZERO } else { TICK };
            match self.told.recv_timeout(tick) {
                Err(RecvTimeoutError::Disconnected) => return,
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            }
            if self.is_stopping() {
                return;
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.shared.is_stopping.load(Ordering::SeqCst)
    }

    /// Does one round, unless an earlier one failed a moment ago; returns true when there is more to
    /// do at once.
    pub(in crate::storage) fn round(&mut self) -> bool {
        let now_ns = self.shared.clock.monotonic_ns();
        if self.is_taken || now_ns < self.not_before_ns {
            return false;
        }
        let done = self.try_round(now_ns);
        self.note_waiting();
        self.objects.metrics.up.set(i64::from(done.is_ok()));
        match done {
            Ok(has_more) => {
                if self.n_failures > 0 {
                    info!("object storage answers again");
                }
                (self.n_failures, self.last_words) = (0, String::new());
                has_more
            }
            Err(failure) => {
                self.pause(now_ns, &failure);
                false
            }
        }
    }

    fn pause(&mut self, now_ns: u64, failure: &ShipError) {
        let cause = std::error::Error::source(failure).map(ToString::to_string);
        let words = failure.to_string();
        // Once for each cause: it may last for hours.
        if words != self.last_words {
            let what = "files wait on the local disk, and the rest goes on";
            match failure {
                ShipError::Refused(_) => error!(%failure, what),
                _ => warn!(%failure, cause, what),
            }
        }
        self.last_words = words;
        self.is_taken = matches!(failure, ShipError::Refused(Refusal::Taken));
        let pause_ns = u64::try_from(pause_after(self.n_failures).as_nanos()).unwrap_or(u64::MAX);
        self.n_failures = self.n_failures.saturating_add(1);
        self.not_before_ns = now_ns.saturating_add(pause_ns);
    }

    fn try_round(&mut self, now_ns: u64) -> Result<bool, ShipError> {
        let objects = Arc::clone(&self.objects);
        let Some(remote) = &objects.remote else { return Ok(false) };
        if self.claim.is_none() {
            self.claim = Some(Claim::make(&objects, remote)?);
        }
        if self.looked_at_ns.is_none_or(|at_ns| now_ns.saturating_sub(at_ns) >= LOOK_EVERY_NS) {
            look(&self.shared, &objects, remote)?;
            self.looked_at_ns = Some(now_ns);
        }
        self.end_cut_short(remote)?;
        self.remove_gone(remote)?;
        let has_more = self.upload_some(remote)?;
        objects.make_room();
        Ok(has_more)
    }

    /// Ends uploads that an earlier process, or a failure, cut short.
    fn end_cut_short(&self, remote: &Remote) -> Result<(), ShipError> {
        let begun: Vec<(String, String)> = {
            let ledger = self.objects.ledger.lock();
            let begun = ledger.iter().filter_map(|(path, known)| match known {
                Known::Begun(Some(upload)) => Some((path.clone(), upload.clone())),
                _ => None,
            });
            begun.collect()
        };
        for (path, upload) in begun {
            let (bucket, key) = (Arc::clone(&remote.bucket), remote.key(&path));
            let ended = remote.wait(async move { bucket.abort_multipart(&key, &upload).await })?;
            match ended.map_err(RemoteError::from) {
                // It was ended already, one way or the other.
                Ok(()) | Err(RemoteError::Missing(_)) => {}
                Err(error) => return Err(error.into()),
            }
            self.objects.begin(&path, None).map_err(ShipError::Local)?;
        }
        Ok(())
    }

    /// Removes the objects of files that are off the manifest and that nobody reads any more.
    fn remove_gone(&self, remote: &Remote) -> Result<(), ShipError> {
        let gone = self.gone();
        if gone.is_empty() || !self.shared.may_remove() {
            return Ok(());
        }
        // Here, and not before uploads: those take nothing away from anyone.
        self.claim.as_ref().expect("it was made").hold(remote)?;
        for path in gone {
            let (bucket, key) = (Arc::clone(&remote.bucket), remote.key(&path));
            let removed = remote.wait(async move { bucket.delete(&key).await })?;
            let removed = match removed.map_err(RemoteError::from) {
                Err(RemoteError::Missing(_)) => Ok(()),
                removed => removed,
            };
            self.objects.metrics.count(Request::Remove, removed.is_ok());
            removed?;
            self.objects.gone(&path).map_err(ShipError::Local)?;
        }
        Ok(())
    }

    fn gone(&self) -> Vec<String> {
        let manifest = self.shared.manifest.lock();
        let doomed = self.shared.doomed.lock();
        let live = manifest.files.iter().map(|file| file.path.as_str());
        let wanted: HashSet<&str> =
            live.chain(doomed.iter().map(|(path, _)| path.as_str())).collect();
        let ledger = self.objects.ledger.lock();
        let paths = ledger.iter().map(|(path, _)| path);
        paths.filter(|path| !wanted.contains(path.as_str())).cloned().collect()
    }

    /// Returns the live files that are not in the bucket, oldest first.
    fn waiting(&self) -> Vec<Arc<FileEntry>> {
        let manifest = self.shared.manifest.lock();
        let damaged = self.shared.damaged.read();
        let ledger = self.objects.ledger.lock();
        let is_waiting = |file: &&Arc<FileEntry>| {
            ledger.size_of(&file.path) != Some(file.size_bytes)
                && !damaged.contains_key(&file.path)
                && !self.left_alone.contains(&file.path)
        };
        manifest.files.iter().filter(is_waiting).cloned().collect()
    }

    fn note_waiting(&self) {
        let waiting = self.waiting();
        let n_bytes: u64 = waiting.iter().map(|file| file.size_bytes).sum();
        let metrics = &self.objects.metrics;
        metrics.waiting_files.set(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
        metrics.waiting_bytes.set(i64::try_from(n_bytes).unwrap_or(i64::MAX));
    }

    /// Uploads the oldest files; returns true when others wait.
    fn upload_some(&mut self, remote: &Remote) -> Result<bool, ShipError> {
        let mut waiting = self.waiting();
        let n_at_a_time = self.objects.config.uploads_max;
        let has_more = waiting.len() > n_at_a_time * ROUND_FILES;
        waiting.truncate(n_at_a_time * ROUND_FILES);
        let uploads: Vec<Upload> =
            waiting.iter().map(|entry| self.upload(remote, Arc::clone(entry))).collect();
        let done = remote.wait(async move {
            let one = |upload: Upload| async move {
                let path = upload.entry.path.clone();
                (path, upload.run().await)
            };
            stream::iter(uploads).map(one).buffer_unordered(n_at_a_time).collect::<Vec<_>>().await
        })?;
        let sizes: HashMap<&str, u64> =
            waiting.iter().map(|file| (file.path.as_str(), file.size_bytes)).collect();
        let mut failed = Ok(());
        for (path, result) in done {
            let n_bytes = sizes.get(path.as_str()).copied().unwrap_or_default();
            if let Err(error) = self.judge(&path, n_bytes, result) {
                failed = Err(error);
            }
        }
        failed.map(|()| has_more)
    }

    fn upload(&self, remote: &Remote, entry: Arc<FileEntry>) -> Upload {
        let shared = Arc::clone(&self.shared);
        Upload {
            objects: Arc::clone(&self.objects),
            bucket: Arc::clone(&remote.bucket),
            key: remote.key(&entry.path),
            entry,
            is_stopping: Arc::new(move || shared.is_stopping.load(Ordering::SeqCst)),
        }
    }

    fn judge(
        &mut self,
        path: &str,
        n_bytes: u64,
        result: Result<(), UploadError>,
    ) -> Result<(), ShipError> {
        if !matches!(result, Err(UploadError::Stopping)) {
            self.objects.metrics.count(Request::Upload, result.is_ok());
        }
        match result {
            Ok(()) => {
                self.objects.metrics.uploaded_bytes.inc_by(n_bytes);
                Ok(())
            }
            Err(UploadError::Stopping) => Ok(()),
            Err(UploadError::Remote(error)) => Err(error.into()),
            Err(UploadError::Ledger(error)) => Err(ShipError::Local(error)),
            Err(UploadError::Damaged(_)) if !self.is_live(path) => Ok(()),
            Err(UploadError::Damaged(reason)) => {
                self.shared.note_damaged(path, &reason);
                Ok(())
            }
            Err(error @ UploadError::Read(_)) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                warn!(path, %error, cause, "it is not uploaded before the next start");
                self.left_alone.insert(path.to_owned());
                Ok(())
            }
        }
    }

    /// A file that a merge took away while it was on its way is not damaged.
    fn is_live(&self, path: &str) -> bool {
        self.shared.manifest.lock().files.iter().any(|file| file.path == path)
    }
}
