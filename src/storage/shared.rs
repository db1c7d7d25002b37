//! What the writer, the flusher and readers share, and the version they agree on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::FileEntry;
use super::catalog::{CatalogError, Manifest, Standing};
use super::config::Config;
use super::descriptions::{Described, Descriptions};
use super::disk::Disk;
use super::files::path::day_of_ms;
use super::files::read::Footers;
use super::head::raw_keys::RawKeys;
use super::head::{CommonsTable, Generation};
use super::metrics::Metrics;
use super::objects::Objects;
use crate::base::AgeClock;
use crate::base::clock::SharedClock;
use crate::model::{Commons, Signal};

/// The live files of each signal and commons, oldest generation first.
pub type Files = BTreeMap<(Signal, Commons), Vec<Arc<FileEntry>>>;

/// The files and generations of one moment: each row is in exactly one of them.
#[derive(Debug, Clone)]
pub struct Version {
    /// Live files.
    pub files: Arc<Files>,
    /// Generations on their way to files, oldest first.
    pub sealed: Vec<Arc<Generation>>,
    /// The generation that is written to.
    pub open: Arc<Generation>,
}

impl Version {
    /// Walks the generations, oldest first.
    pub fn generations(&self) -> impl Iterator<Item = &Arc<Generation>> {
        self.sealed.iter().chain(std::iter::once(&self.open))
    }

    /// Returns the memory held by all generations.
    pub fn head_bytes(&self) -> u64 {
        self.generations().map(|generation| generation.bytes()).sum()
    }
}

/// What all parts of storage share.
#[derive(Debug)]
pub struct Shared {
    /// The data directory.
    pub disk: Arc<dyn Disk>,
    /// The time.
    pub clock: SharedClock,
    /// The time by which rows are too old.
    pub age_clock: Mutex<AgeClock>,
    /// The settings.
    pub config: Config,
    /// Own counters.
    pub metrics: Metrics,
    /// All commons seen since start.
    pub commons: CommonsTable,
    /// Series by the hash of their raw bytes.
    pub raw_keys: RwLock<RawKeys>,
    /// Set when a generation went to files, so series may leave; see `retire`.
    pub wants_retirement: AtomicBool,
    /// What readers see.
    pub version: RwLock<Version>,
    /// What is on disk; held while it is being replaced.
    pub manifest: Mutex<Manifest>,
    /// How the manifest and its copy stand; locked after the manifest.
    pub standing: Mutex<Standing>,
    /// Files that left the catalog and may still be read: path, and a token that readers have too.
    pub doomed: Mutex<Vec<(String, Arc<()>)>>,
    /// Live files that were found damaged, and how; no answer uses them.
    pub damaged: RwLock<BTreeMap<String, String>>,
    /// Damaged log segments that were set aside; set once, at the start.
    pub lost: OnceLock<Vec<String>>,
    /// What is known of metrics.
    pub descriptions: Descriptions,
    /// Set when what differences were added up to is not what is in its file.
    pub totals_changed: AtomicBool,
    /// Footers of files read lately.
    pub footers: Footers,
    /// Wakes writers that wait for memory.
    pub flushed: Notify,
    /// Set when nothing may be acknowledged any more.
    pub is_stopping: AtomicBool,
    /// Until when merging gives way, ns of the monotonic clock.
    pub give_way_until_ns: AtomicU64,
    /// Files in object storage; `None` where there never were any.
    pub objects: Option<Arc<Objects>>,
}

impl Shared {
    /// Returns what readers see now.
    pub fn current(&self) -> Version {
        self.version.read().clone()
    }

    /// Puts `next` in the place of the manifest, on disk and then in memory.
    pub fn put_manifest(
        &self,
        manifest: &mut Manifest,
        next: Manifest,
    ) -> Result<(), CatalogError> {
        *self.standing.lock() = next.write(&*self.disk)?;
        *manifest = next;
        Ok(())
    }

    /// Returns true when what only older manifests need may be removed: no copy of one is left.
    pub fn may_remove(&self) -> bool {
        let manifest = self.manifest.lock();
        let mut standing = self.standing.lock();
        match manifest.settle(&*self.disk, *standing) {
            Ok(settled) => {
                *standing = settled;
                true
            }
            Err(error) => {
                warn!(%error, "the manifest's copy is behind: nothing is removed that it names");
                false
            }
        }
    }

    /// Returns the time by which rows are too old and deletions are final, ns since 1970 UTC; it does
    /// not follow a clock that leaps.
    pub fn aging_ns(&self) -> i64 {
        let (now_ns, monotonic_ns) = (self.clock.now_ns(), self.clock.monotonic_ns());
        let mut age_clock = self.age_clock.lock();
        let was_doubted = age_clock.is_doubted();
        let aging_ns = age_clock.look(now_ns, monotonic_ns, || self.last_stored_ns());
        let is_doubted = age_clock.is_doubted();
        drop(age_clock);
        self.metrics.clock_doubted.set(i64::from(is_doubted));
        match (was_doubted, is_doubted) {
            (false, true) => warn!(
                ahead_s = now_ns.saturating_sub(aging_ns) / 1_000_000_000,
                "the clock is far ahead of when something was last stored or of the time that has \
                 passed: for a day nothing is removed for its age"
            ),
            (true, false) => info!("the clock is believed again: what is too old is removed"),
            _ => {}
        }
        aging_ns
    }

    /// The same in ms.
    pub fn aging_ms(&self) -> i64 {
        self.aging_ns().div_euclid(1_000_000)
    }

    /// Returns when our own metrics were last written to a file, which they are as long as a process
    /// lives.
    fn last_stored_ns(&self) -> Option<i64> {
        let files = Arc::clone(&self.version.read().files);
        let own = files.get(&(Signal::Metrics, Commons::own()))?;
        own.iter().map(|file| file.max_ns).max()
    }

    /// Takes over what is said of metrics.
    pub fn describe(&self, commons: &Commons, described: Vec<Described>) {
        let today = day_of_ms(self.clock.now_ms());
        self.descriptions.take(commons, described, today, self.config.descriptions_per_commons);
    }

    /// Takes a damaged file out of all answers from now on, and leaves it where it is; one that is in
    /// object storage is read from there from now on.
    pub fn note_damaged(&self, path: &str, reason: &str) {
        if self.objects.as_ref().is_some_and(|objects| objects.fetch_again(path)) {
            warn!(
                path,
                reason, "a local copy is damaged: it goes, and object storage has the file"
            );
            return;
        }
        self.mark_damaged(path, reason);
    }

    /// Takes a file out of all answers from now on.
    pub fn mark_damaged(&self, path: &str, reason: &str) {
        let mut damaged = self.damaged.write();
        if damaged.insert(path.to_owned(), reason.to_owned()).is_none() {
            error!(path, reason, "a file is damaged: answers go on without it, and say so");
        }
        self.metrics.damaged_files.set(i64::try_from(damaged.len()).unwrap_or(i64::MAX));
    }

    /// Takes a file back into answers that was found in object storage.
    pub fn note_found(&self, path: &str) {
        let mut damaged = self.damaged.write();
        damaged.remove(path);
        self.metrics.damaged_files.set(i64::try_from(damaged.len()).unwrap_or(i64::MAX));
    }

    /// Returns true when a file's bytes are nowhere but in object storage.
    pub fn is_away(&self, path: &str) -> bool {
        self.objects.as_ref().is_some_and(|objects| objects.is_away(path))
    }

    /// Notes which damaged log segments were set aside.
    pub fn note_lost(&self, segments: Vec<String>) {
        self.metrics.lost_segments.set(i64::try_from(segments.len()).unwrap_or(i64::MAX));
        assert!(self.lost.set(segments).is_ok(), "a store is opened once");
    }

    /// Refreshes the gauges that describe files.
    pub fn note_files(&self, files: &Files) {
        for signal in Signal::ALL {
            let of_signal =
                || files.iter().filter(|((s, _), _)| *s == signal).flat_map(|(_, files)| files);
            let label = [("signal", signal.to_string())];
            let n_bytes: u64 = of_signal().map(|file| file.size_bytes).sum();
            self.metrics
                .files
                .get_or_create(&label)
                .set(i64::try_from(of_signal().count()).unwrap_or(i64::MAX));
            self.metrics
                .file_bytes
                .get_or_create(&label)
                .set(i64::try_from(n_bytes).unwrap_or(i64::MAX));
        }
    }
}

/// Groups a manifest's files by signal and commons.
pub fn files_of(manifest: &Manifest) -> Files {
    let mut files = Files::new();
    for file in &manifest.files {
        files.entry((file.signal, file.commons.clone())).or_default().push(Arc::clone(file));
    }
    files
}
