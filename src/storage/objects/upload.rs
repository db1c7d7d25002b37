//! One file on its way to the bucket, each block held against its checksum as it is read.
//!
//! A small one goes in one request. A larger one goes in parts, under an id that the ledger knows
//! before the first part is sent: an upload that was cut short is ended by its id, so that no part
//! stays behind that nobody would ever find.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};

use super::Objects;
use super::remote::{Bucket, RemoteError};
use crate::storage::FileEntry;
use crate::storage::disk::DiskRead;
use crate::storage::files::checked::Checked;

/// The length of a part, and of the largest file that goes in one request.
pub(super) const PART_BYTES: u64 = if cfg!(test) { 3 << 10 } else { 8 << 20 };

/// Why a file is not in the bucket.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    #[error("the local copy is damaged: {0}")]
    Damaged(String),
    #[error("cannot read the local copy")]
    Read(#[source] io::Error),
    #[error("cannot write the list of uploaded files")]
    Ledger(#[source] io::Error),
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error("the server is stopping")]
    Stopping,
}

impl From<object_store::Error> for UploadError {
    fn from(error: object_store::Error) -> Self {
        UploadError::Remote(error.into())
    }
}

/// A file to be uploaded.
pub(super) struct Upload {
    pub(super) objects: Arc<Objects>,
    pub(super) bucket: Arc<dyn Bucket>,
    pub(super) key: Path,
    pub(super) entry: Arc<FileEntry>,
    /// Asked before each part.
    pub(super) is_stopping: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Upload {
    /// Uploads the file; when this returns, the ledger says that it is there.
    pub(super) async fn run(self) -> Result<(), UploadError> {
        let (local, entry) = (Arc::clone(&self.objects.local), Arc::clone(&self.entry));
        let open = move || Ok(Arc::new(Checked::open(&*local, &entry).forgetful()));
        let file = blocking(open).await.map_err(UploadError::Read)?;
        if let Some(damage) = file.damage() {
            return Err(UploadError::Damaged(damage.to_owned()));
        }
        if self.entry.size_bytes <= PART_BYTES {
            self.at_once(&file).await?;
        } else {
            self.in_parts(&file).await?;
        }
        let (path, size_bytes) = (self.entry.path.clone(), self.entry.size_bytes);
        self.note(move |objects| objects.store(&path, size_bytes, true)).await
    }

    async fn at_once(&self, file: &Arc<Checked>) -> Result<(), UploadError> {
        let bytes = read(file, 0, self.entry.size_bytes).await?;
        self.begin(None).await?;
        self.bucket.put(&self.key, PutPayload::from(bytes)).await?;
        Ok(())
    }

    async fn in_parts(&self, file: &Arc<Checked>) -> Result<(), UploadError> {
        let id = self.bucket.create_multipart(&self.key).await?;
        if let Err(error) = self.begin(Some(id.clone())).await {
            // Nobody would know of it any more; it has no part yet.
            drop(self.bucket.abort_multipart(&self.key, &id).await);
            return Err(error);
        }
        let mut parts = Vec::new();
        let mut at = 0;
        while at < self.entry.size_bytes {
            if (self.is_stopping)() {
                return Err(UploadError::Stopping);
            }
            let n_bytes = PART_BYTES.min(self.entry.size_bytes - at);
            let bytes = read(file, at, n_bytes).await?;
            let payload = PutPayload::from(bytes);
            parts.push(self.bucket.put_part(&self.key, &id, parts.len(), payload).await?);
            at += n_bytes;
        }
        self.bucket.complete_multipart(&self.key, &id, parts).await?;
        Ok(())
    }

    async fn begin(&self, upload: Option<String>) -> Result<(), UploadError> {
        let path = self.entry.path.clone();
        self.note(move |objects| objects.begin(&path, upload)).await
    }

    async fn note(
        &self,
        note: impl FnOnce(&Objects) -> io::Result<()> + Send + 'static,
    ) -> Result<(), UploadError> {
        let objects = Arc::clone(&self.objects);
        blocking(move || note(&objects)).await.map_err(UploadError::Ledger)
    }
}

async fn read(file: &Arc<Checked>, at: u64, n_bytes: u64) -> Result<Bytes, UploadError> {
    let reader = Arc::clone(file);
    let read = move || reader.read_at(at, usize::try_from(n_bytes).map_err(io::Error::other)?);
    blocking(read).await.map_err(|error| match file.damage() {
        Some(damage) => UploadError::Damaged(damage.to_owned()),
        None => UploadError::Read(error),
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
