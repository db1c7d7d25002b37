//! Files in object storage, and the local disk as a cache of them.
//!
//! ```text
//! flush, merge   publish a file on the local disk, as ever: the manifest stays there and is the truth
//! shipper        uploads live files in the background, oldest first (`shipper`, `upload`); what may
//!                be in the bucket, and what is, stands in `objects/ledger` before anyone relies on it
//! cache          past `cache_max` the local copies of uploaded files go, least recently used first
//! read           a file without a local copy is read by pieces of 4 MiB, kept under `objects/cache`
//! removal        an object goes when its file is off the manifest and no snapshot holds it
//! ```
//! The layout in the bucket is the local one, so whoever reads `parquet/` on disk reads it there.
//! Each byte that comes back is held against the checksums it was written with, as local ones are
//! (`files::checked`). When the store does not answer, files that are only there are left out of an
//! answer, which says so; ingest goes on and files wait on the disk.
//!
//! Nothing is removed that is not known to be ours: a marker at the top of the prefix names the one
//! store that writes there (`claim`), and only names that a store of ours gives are ever touched.

mod away;
mod cache;
mod claim;
pub mod config;
mod connect;
mod ledger;
mod look;
mod metrics;
mod remote;
mod shipper;
mod tiered;
mod upload;

#[cfg(test)]
pub(crate) mod testing;

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::{error, warn};

use super::FileEntry;
use super::disk::{Disk, DiskRead};
use crate::base::clock::SharedClock;

use away::{Away, PIECES};
use cache::{Cache, Kept};
use config::Place;
use ledger::Ledger;
use remote::Remote;

pub use config::Config;
pub use connect::{ConnectError, connect};
#[cfg(any(test, fuzzing))]
pub(super) use ledger::round_trip;
pub use ledger::{LEDGER, Stored, stored};
pub use metrics::Metrics;
pub use remote::{Bucket, RemoteError};
pub use shipper::Shipper;
pub(super) use shipper::Waker;
pub use tiered::{Far, Tiered};

/// Says that bytes are in object storage and cannot be had now; inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub String);

impl Unreachable {
    /// Returns it as what a reader of a file gets.
    pub fn into_io(self) -> io::Error {
        io::Error::new(io::ErrorKind::HostUnreachable, self)
    }

    /// Returns why, when an error says just this.
    pub fn why(error: &io::Error) -> Option<&str> {
        error.get_ref()?.downcast_ref::<Self>().map(|this| this.0.as_str())
    }
}

/// Locks that keep two readers from fetching the same piece.
const LOCKS: usize = 64;

/// What is in object storage, and what the disk holds of it.
#[derive(Debug)]
pub struct Objects {
    local: Arc<dyn Disk>,
    /// `None` while the setting is off: what was uploaded earlier is out of reach.
    remote: Option<Remote>,
    ledger: Mutex<Ledger>,
    cache: Cache,
    config: Config,
    fetching: Vec<Mutex<()>>,
    /// Files whose bytes here were damaged, so that they were let go to be fetched again; once each.
    fetched_again: Mutex<HashSet<String>>,
    metrics: Metrics,
}

/// What is needed to open it.
pub(super) struct Parts<'a> {
    pub(super) local: Arc<dyn Disk>,
    pub(super) clock: SharedClock,
    pub(super) config: &'a Config,
    pub(super) bucket: Option<Arc<dyn Bucket>>,
    pub(super) metrics: Metrics,
    pub(super) files: &'a [Arc<FileEntry>],
}

impl Objects {
    /// Reads what an earlier process left; `None` when the setting is off and always was.
    pub(super) fn open(parts: Parts<'_>) -> io::Result<Option<Arc<Self>>> {
        let Parts { local, clock, config, bucket, metrics, files } = parts;
        let (ledger, n_damaged) = match Ledger::open(Arc::clone(&local))? {
            Some(read) => read,
            None if bucket.is_none() => return Ok(None),
            None => (Ledger::empty(Arc::clone(&local)), 0),
        };
        if n_damaged > 0 {
            error!(
                n_damaged,
                path = LEDGER,
                "the list of uploaded files is damaged; what it lacks is looked up in the bucket"
            );
        }
        let place = Place::parse(&config.url)
            .unwrap_or_else(|| Place { bucket: String::new(), prefix: String::new() });
        let remote = bucket.map(|bucket| Remote::new(bucket, &place, clock)).transpose()?;
        let objects = Self {
            local,
            remote,
            ledger: Mutex::new(ledger),
            cache: Cache::default(),
            config: config.clone(),
            fetching: (0..LOCKS).map(|_| Mutex::default()).collect(),
            fetched_again: Mutex::default(),
            metrics,
        };
        objects.take_stock(files)?;
        Ok(Some(Arc::new(objects)))
    }

    /// Finds what the local disk holds of what is in object storage.
    fn take_stock(&self, files: &[Arc<FileEntry>]) -> io::Result<()> {
        let live: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
        self.take_stock_of_pieces(&live)?;
        let mut stored: Vec<&Arc<FileEntry>> = {
            let ledger = self.ledger.lock();
            files.iter().filter(|file| ledger.size_of(&file.path).is_some()).collect()
        };
        // Of what nobody has read yet, the newest is the likeliest to be asked for.
        stored.sort_by_key(|file| file.max_ns);
        let (mut n_away, mut n_bytes_away) = (0_usize, 0_u64);
        for file in stored {
            if self.local.open(&file.path).is_ok() {
                self.cache.put(Kept::File(file.path.clone()), file.size_bytes, true);
            } else {
                n_away += 1;
                n_bytes_away += file.size_bytes;
            }
        }
        if self.remote.is_none() && n_away > 0 {
            error!(
                n_files = n_away,
                n_bytes = n_bytes_away,
                "live files are in object storage only, and storage.objects.url is not set: answers lack them, and say so"
            );
        }
        if self.remote.is_some() {
            // The limit may be smaller than it was.
            self.make_room();
        }
        self.note_cache();
        Ok(())
    }

    /// Opens a file that is in object storage alone.
    fn open_away(self: Arc<Self>, path: &str) -> Option<Arc<dyn DiskRead>> {
        let size_bytes = self.ledger.lock().size_of(path)?;
        Some(Arc::new(Away::new(self, path.to_owned(), size_bytes)))
    }

    /// Returns true when a file's bytes are nowhere but in object storage.
    pub(super) fn is_away(&self, path: &str) -> bool {
        let is_stored = self.ledger.lock().size_of(path).is_some();
        is_stored && !self.cache.contains(&Kept::File(path.to_owned()))
    }

    /// Returns true when an object of this path may be in the bucket.
    pub(super) fn may_hold(&self, path: &str) -> bool {
        self.ledger.lock().get(path).is_some()
    }

    /// Lets go of what the disk holds of a file, because it is damaged, so that it is read from object
    /// storage; returns false when that is no way out.
    pub(super) fn fetch_again(&self, path: &str) -> bool {
        if self.remote.is_none() {
            return false;
        }
        let had_file = {
            let ledger = self.ledger.lock();
            if ledger.size_of(path).is_none() || !self.fetched_again.lock().insert(path.to_owned())
            {
                return false;
            }
            let had_file = self.cache.remove(&Kept::File(path.to_owned()));
            if had_file {
                self.remove_local(path);
            }
            had_file
        };
        let had_pieces = self.drop_pieces(path);
        had_file || had_pieces
    }

    /// Notes that an object may be in the bucket from now on. The local copy is its only one.
    fn begin(&self, path: &str, upload: Option<String>) -> io::Result<()> {
        let mut ledger = self.ledger.lock();
        self.cache.remove(&Kept::File(path.to_owned()));
        ledger.begin(path, upload)
    }

    /// Notes that an object is whole; the local copy may go.
    fn store(&self, path: &str, size_bytes: u64, is_local: bool) -> io::Result<()> {
        let mut ledger = self.ledger.lock();
        ledger.store(path, size_bytes)?;
        if is_local {
            self.cache.put(Kept::File(path.to_owned()), size_bytes, true);
        }
        Ok(())
    }

    /// Notes that an object was removed.
    fn gone(&self, path: &str) -> io::Result<()> {
        self.drop_pieces(path);
        let mut ledger = self.ledger.lock();
        self.cache.remove(&Kept::File(path.to_owned()));
        ledger.remove(path)
    }

    /// Removes what was not used for the longest time, until the rest fits into the cache.
    fn make_room(&self) {
        for kept in self.cache.take_oldest(self.config.cache_max.0) {
            match kept {
                Kept::File(path) => {
                    // Under the lock, so that it is not its only copy by the time it goes.
                    let ledger = self.ledger.lock();
                    if ledger.size_of(&path).is_some() {
                        self.remove_local(&path);
                    }
                }
                Kept::Piece(path, n) => self.remove_local(&away::piece_path(&path, n)),
            }
            self.metrics.evictions.inc();
        }
        self.note_cache();
    }

    fn note_cache(&self) {
        let n_bytes = i64::try_from(self.cache.n_bytes()).unwrap_or(i64::MAX);
        self.metrics.cache_bytes.set(n_bytes);
    }

    fn remove_local(&self, path: &str) {
        match self.local.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!(path, %error, "cannot remove what is in object storage too");
            }
            _ => {}
        }
    }

    /// Removes the pieces of a file; returns true when there were any.
    fn drop_pieces(&self, path: &str) -> bool {
        let pieces = self.cache.remove_pieces(path);
        pieces.iter().for_each(|&n| self.remove_local(&away::piece_path(path, n)));
        self.note_cache();
        !pieces.is_empty()
    }

    fn take_stock_of_pieces(&self, live: &BTreeSet<&str>) -> io::Result<()> {
        for name in self.local.list(PIECES)? {
            let place = format!("{PIECES}/{name}");
            let piece = away::piece_of(&name).filter(|(path, _)| live.contains(path.as_str()));
            match (piece, self.local.open(&place)) {
                (Some((path, n)), Ok(file)) => {
                    // What a power cut left of it is found when it is first used.
                    self.cache.put(Kept::Piece(path, n), file.size_bytes(), false);
                }
                _ => self.remove_local(&place),
            }
        }
        Ok(())
    }
}

impl Far for Objects {
    fn open(self: Arc<Self>, path: &str) -> Option<Arc<dyn DiskRead>> {
        self.open_away(path)
    }

    fn opened(&self, path: &str) {
        if path.ends_with(".parquet") && self.cache.touch(&Kept::File(path.to_owned())).is_some() {
            self.metrics.count_read(metrics::From::File);
        }
    }

    fn removed(&self, path: &str) {
        self.cache.remove(&Kept::File(path.to_owned()));
    }
}
