//! Whose the prefix is. An object at its top names the one store that writes there, and the process
//! that does it now: a second store is turned away, and so is the process of a copied data directory.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use rand::Rng as _;
use serde::{Deserialize, Serialize};

use super::ledger::DIR;
use super::remote::{Bucket, Remote, RemoteError};
use super::{LEDGER, Objects};
use crate::storage::disk;

/// The object.
pub(super) const MARKER: &str = "commonwatch-store.json";
/// Where the store's own name is, which nobody else has.
const STORE: &str = "objects/store";

/// What the marker says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    /// The store.
    store: String,
    /// The process that writes.
    process: String,
}

/// Why nothing is written to the prefix, or removed from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "{marker} says that the prefix belongs to the store {theirs}, and this is {ours}: give each store a prefix of its own (storage.objects.url)"
    )]
    Foreign { marker: String, theirs: String, ours: String },
    #[error(
        "there is no {marker}, and {n} files of this store are in object storage: storage.objects.url does not lead there. Set it back, or copy all objects to the new place, the marker too; if they are lost, remove {LEDGER} to upload what is here anew"
    )]
    Elsewhere { marker: String, n: usize },
    #[error(
        "another server writes to the prefix by now, on a copy of this data directory: they would remove each other's files. Stop one of them, and start this one again"
    )]
    Taken,
}

/// Why the prefix was not claimed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClaimError {
    #[error(transparent)]
    Refused(Refusal),
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error("cannot write {STORE}")]
    Local(#[from] io::Error),
}

/// A prefix that is ours.
#[derive(Debug, Clone)]
pub(super) struct Claim(Marker);

fn random_name() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}

fn own_name(objects: &Objects) -> io::Result<String> {
    match objects.local.read(STORE) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = random_name();
            disk::create_dir_synced(&*objects.local, DIR)?;
            disk::replace_file(&*objects.local, STORE, name.as_bytes())?;
            Ok(name)
        }
        Err(error) => Err(error),
    }
}

async fn read(bucket: Arc<dyn Bucket>, key: Path) -> Result<Option<Marker>, RemoteError> {
    let bytes = match bucket.get(&key).await {
        Ok(found) => found.bytes().await?,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // Something that we have not written is somebody's.
    let unknown = || Marker { store: "of another kind".to_owned(), process: String::new() };
    Ok(Some(serde_json::from_slice(&bytes).unwrap_or_else(|_| unknown())))
}

async fn write(bucket: Arc<dyn Bucket>, key: Path, marker: Marker) -> Result<(), RemoteError> {
    let text = serde_json::to_vec(&marker).expect("plain values have a JSON form");
    bucket.put(&key, PutPayload::from(Bytes::from(text))).await?;
    Ok(())
}

impl Claim {
    /// Makes the prefix ours, or says whose it is.
    pub(super) fn make(objects: &Objects, remote: &Remote) -> Result<Self, ClaimError> {
        let ours = Marker { store: own_name(objects)?, process: random_name() };
        let (bucket, key) = (Arc::clone(&remote.bucket), remote.key(MARKER));
        let found = remote.wait(read(Arc::clone(&bucket), key.clone()))??;
        let marker = key.to_string();
        match found {
            Some(found) if found.store != ours.store => {
                let (theirs, ours) = (found.store, ours.store);
                return Err(ClaimError::Refused(Refusal::Foreign { marker, theirs, ours }));
            }
            None => {
                let n = objects.ledger.lock().iter().count();
                if n > 0 {
                    return Err(ClaimError::Refused(Refusal::Elsewhere { marker, n }));
                }
            }
            Some(_) => {}
        }
        remote.wait(write(bucket, key, ours.clone()))??;
        let claim = Self(ours);
        // Of two that did so at once, one finds the other here.
        claim.hold(remote)?;
        Ok(claim)
    }

    /// Makes sure that nobody has taken the prefix over since.
    pub(super) fn hold(&self, remote: &Remote) -> Result<(), ClaimError> {
        let found = remote.wait(read(Arc::clone(&remote.bucket), remote.key(MARKER)))??;
        match found {
            Some(found) if found == self.0 => Ok(()),
            _ => Err(ClaimError::Refused(Refusal::Taken)),
        }
    }
}
