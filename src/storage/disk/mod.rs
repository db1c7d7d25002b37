//! The seam under all files: the real disk, and one that forgets and fails on command.
//!
//! Paths are relative to the data directory, `/`-separated, and never leave it. Whoever writes says
//! when bytes must survive (`sync`) and when names must (`sync_dir`); nothing else is promised, and
//! the simulated disk keeps exactly that promise and not one byte more.

#[cfg(test)]
pub(crate) mod counting;
#[cfg(debug_assertions)]
pub mod faults;
mod no_disk;
mod real;
pub mod sim;

use std::io;
use std::sync::Arc;

use bytes::Bytes;

pub use no_disk::NoDisk;
pub use real::RealDisk;

/// Whatever holds the data directory.
pub trait Disk: Send + Sync + std::fmt::Debug {
    /// Creates a folder and its parents; their names survive once each parent is synced.
    fn create_dir_all(&self, dir: &str) -> io::Result<()>;

    /// Creates a file, or empties the one that is there, for appending.
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file for reading at any offset.
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskRead>>;

    /// Returns the names in a folder, unsorted; an absent folder has none.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Renames a file, replacing what has the new name; survives once the folder is synced.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Gives a file a second name, or makes a copy of it where the file system knows none; survives
    /// once the folder is synced. The file must be one that never changes.
    fn link(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; gone for good once the folder is synced.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Makes a file's bytes survive a power cut, whoever wrote them.
    fn sync_file(&self, path: &str) -> io::Result<()>;

    /// Writes the first `len` bytes of a file over themselves, for a sync to bring to disk. What a
    /// failed sync left in memory alone can be read like anything else, and later syncs say that all
    /// is well with it.
    fn write_again(&self, path: &str, len: u64) -> io::Result<()>;

    /// Makes the names in a folder survive a power cut.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;

    /// Returns a file's whole content.
    fn read(&self, path: &str) -> io::Result<Bytes> {
        let file = self.open(path)?;
        let len = usize::try_from(file.size_bytes()).map_err(io::Error::other)?;
        file.read_at(0, len)
    }
}

/// A file open for appending.
pub trait DiskFile: io::Write + Send {
    /// Makes all bytes written so far survive a power cut. An error leaves their fate unknown.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file to `len` bytes and goes on appending there.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Makes the file at least `len` bytes long where the file system can do so without writing;
    /// what is appended afterwards goes where it would have gone. Until then readers find zeros
    /// there. This only saves time: whoever asks must be content with less, and with an error.
    fn reserve(&mut self, len: u64) -> io::Result<()>;
}

/// A file open for reading.
pub trait DiskRead: Send + Sync + std::fmt::Debug {
    /// Returns the file's length.
    fn size_bytes(&self) -> u64;

    /// Returns `len` bytes from `offset`; fewer is an error.
    fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes>;
}

/// Returns the disk with the faults that a test has armed; a release build knows of none.
pub fn with_faults(disk: Arc<dyn Disk>) -> Arc<dyn Disk> {
    #[cfg(debug_assertions)]
    let disk = faults::arm(disk);
    disk
}

/// Returns true when a write failed for want of space: nothing is broken, and space may come back.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Writes a file so that after a crash either the old content or the new one is there, whole:
/// temporary name, sync, rename, sync of the folder.
pub fn replace_file(disk: &dyn Disk, path: &str, content: &[u8]) -> io::Result<()> {
    let temporary = format!("{path}.tmp");
    let mut file = disk.create(&temporary)?;
    io::Write::write_all(&mut file, content)?;
    file.sync()?;
    drop(file);
    disk.rename(&temporary, path)?;
    disk.sync_dir(parent(path))
}

/// Creates a folder so that its name, and those of its parents, survive a power cut.
pub fn create_dir_synced(disk: &dyn Disk, dir: &str) -> io::Result<()> {
    disk.create_dir_all(dir)?;
    let mut ancestor = dir;
    while !ancestor.is_empty() {
        ancestor = parent(ancestor);
        disk.sync_dir(ancestor)?;
    }
    Ok(())
}

/// Returns the folder of a path; the data directory itself is the empty string.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}
