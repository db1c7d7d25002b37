//! What is in the bucket, held against what should be: at the start, and once a day.
//!
//! What the ledger lacks because it was damaged comes back by this; what a crash left in the bucket,
//! whatever it was, is entered into the ledger and goes the way of all that is not live; and a file
//! whose object is gone is uploaded again while there is a local copy, or else reported.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::stream::TryStreamExt;
use object_store::ObjectStore;
use tracing::{error, info, warn};

use super::ledger::Known;
use super::remote::Remote;
use super::shipper::ShipError;
use super::{Objects, RemoteError};
use crate::storage::files::path;
use crate::storage::shared::Shared;

/// Foreign objects that are named in the log.
const NAMED_MAX: usize = 5;

/// Lists the bucket and mends what the ledger says of it.
pub(super) fn look(shared: &Shared, objects: &Objects, remote: &Remote) -> Result<(), ShipError> {
    let found = list(remote)?;
    let live: BTreeMap<String, u64> = {
        let manifest = shared.manifest.lock();
        manifest.files.iter().map(|file| (file.path.clone(), file.size_bytes)).collect()
    };
    let n_lost = mend_live(shared, objects, &live, &found)?;
    objects.metrics.lost_files.set(i64::try_from(n_lost).unwrap_or(i64::MAX));
    let doomed: BTreeSet<String> =
        shared.doomed.lock().iter().map(|(path, _)| path.clone()).collect();
    let strays = |path: &&String| {
        !live.contains_key(*path) && !doomed.contains(*path) && !objects.may_hold(path)
    };
    let (ours, theirs): (Vec<&String>, Vec<&String>) =
        found.keys().filter(strays).partition(|path| path::is_ours(path));
    for path in &ours {
        info!(path, "an object that no manifest lists is removed");
        objects.begin(path, None).map_err(ShipError::Local)?;
    }
    if !theirs.is_empty() {
        let named: Vec<&String> = theirs.iter().take(NAMED_MAX).copied().collect();
        warn!(n = theirs.len(), ?named, "objects that are not ours are below parquet/: they stay");
    }
    Ok(())
}

fn list(remote: &Remote) -> Result<BTreeMap<String, u64>, ShipError> {
    let (bucket, prefix) = (Arc::clone(&remote.bucket), remote.key(path::DIR));
    let listed = remote.wait(async move {
        let listed = bucket.list(Some(&prefix)).map_ok(|meta| (meta.location, meta.size));
        listed.try_collect::<Vec<_>>().await.map_err(RemoteError::from)
    });
    let listed = listed.and_then(|listed| listed)?;
    let path = |(key, size)| Some((remote.path_of(&key)?.to_owned(), size));
    Ok(listed.into_iter().filter_map(path).collect())
}

/// Returns how many live files are nowhere any more.
fn mend_live(
    shared: &Shared,
    objects: &Objects,
    live: &BTreeMap<String, u64>,
    found: &BTreeMap<String, u64>,
) -> Result<usize, ShipError> {
    let mut n_lost = 0;
    for (path, size) in live {
        let is_there = found.get(path) == Some(size);
        let known = objects.ledger.lock().get(path).cloned();
        let is_local = objects.local.open(path).is_ok();
        match known {
            Some(Known::Stored(_)) if is_there => {}
            Some(Known::Stored(_)) if is_local => {
                warn!(path, "its object is gone, or another: it is uploaded again");
                objects.begin(path, None).map_err(ShipError::Local)?;
            }
            Some(Known::Stored(_)) => {
                error!(path, "a live file is gone from object storage, and there is no local copy");
                n_lost += 1;
            }
            _ if is_there && !is_local => {
                info!(path, "a file that the list lacked was found in object storage");
                objects.store(path, *size, false).map_err(ShipError::Local)?;
                shared.note_found(path);
            }
            _ => {}
        }
    }
    Ok(n_lost)
}
