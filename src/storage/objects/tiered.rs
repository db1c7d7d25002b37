//! A disk some of whose files are elsewhere.

use std::io;
use std::sync::Arc;

use crate::storage::disk::{Disk, DiskFile, DiskRead, parent};

/// Where files are that the disk has no more.
pub trait Far: Send + Sync + std::fmt::Debug {
    /// Opens a file that is there; `None` when it is not.
    fn open(self: Arc<Self>, path: &str) -> Option<Arc<dyn DiskRead>>;

    /// Hears that the local copy of a file was opened.
    fn opened(&self, _path: &str) {}

    /// Hears that a local file was removed.
    fn removed(&self, _path: &str) {}
}

/// Bytes copied at a time.
const COPIED_BYTES: usize = 4 << 20;

/// The local disk, and what opens the files that it has not.
#[derive(Debug)]
pub struct Tiered {
    local: Arc<dyn Disk>,
    far: Arc<dyn Far>,
}

impl Tiered {
    /// Returns a disk that looks for files in the second place when the first has them not.
    pub fn new(local: Arc<dyn Disk>, far: Arc<dyn Far>) -> Self {
        Self { local, far }
    }

    fn open_far(&self, path: &str) -> Option<Arc<dyn DiskRead>> {
        Arc::clone(&self.far).open(path)
    }

    /// Makes a local file of one that is elsewhere, synced under its name.
    fn fetch(&self, file: &dyn DiskRead, to: &str) -> io::Result<()> {
        let temporary = format!("{to}.tmp");
        let mut out = self.local.create(&temporary)?;
        let mut at = 0;
        while at < file.size_bytes() {
            let left = usize::try_from(file.size_bytes() - at).unwrap_or(usize::MAX);
            let piece = file.read_at(at, left.min(COPIED_BYTES))?;
            out.write_all(&piece)?;
            at += piece.len() as u64;
        }
        out.sync()?;
        drop(out);
        self.local.rename(&temporary, to)
    }
}

impl Disk for Tiered {
    fn create_dir_all(&self, dir: &str) -> io::Result<()> {
        self.local.create_dir_all(dir)
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        self.local.create(path)
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskRead>> {
        match self.local.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.open_far(path).ok_or(error)
            }
            Ok(file) => {
                self.far.opened(path);
                Ok(file)
            }
            Err(error) => Err(error),
        }
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.local.list(dir)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.local.rename(from, to)
    }

    // A snapshot has all its files here: it is to outlive what becomes of the objects.
    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        match self.local.link(from, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => match self.open_far(from) {
                Some(file) => self.fetch(&*file, to).inspect_err(|_| {
                    // What is there of it would take the room of what is whole.
                    drop(self.local.remove(&format!("{to}.tmp")));
                    drop(self.local.sync_dir(parent(to)));
                }),
                None => Err(error),
            },
            linked => linked,
        }
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.far.removed(path);
        self.local.remove(path)
    }

    fn sync_file(&self, path: &str) -> io::Result<()> {
        self.local.sync_file(path)
    }

    fn write_again(&self, path: &str, len: u64) -> io::Result<()> {
        self.local.write_again(path, len)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.local.sync_dir(dir)
    }
}
