//! A disk that counts what is read of it, for tests that say how much a question may cost.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::{Disk, DiskFile, DiskRead, RealDisk};

/// How many bytes have been read so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct NBytesRead(Arc<AtomicU64>);

impl NBytesRead {
    /// Returns the count.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The real disk, and a count.
#[derive(Debug)]
pub(crate) struct CountingDisk {
    real: RealDisk,
    n_bytes_read: NBytesRead,
}

impl CountingDisk {
    /// Returns the disk and its count.
    pub(crate) fn new(real: RealDisk) -> (Arc<Self>, NBytesRead) {
        let n_bytes_read = NBytesRead::default();
        (Arc::new(Self { real, n_bytes_read: n_bytes_read.clone() }), n_bytes_read)
    }
}

#[derive(Debug)]
struct CountingFile {
    real: Arc<dyn DiskRead>,
    n_bytes_read: NBytesRead,
}

impl DiskRead for CountingFile {
    fn size_bytes(&self) -> u64 {
        self.real.size_bytes()
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        self.n_bytes_read.0.fetch_add(len as u64, Ordering::Relaxed);
        self.real.read_at(offset, len)
    }
}

impl Disk for CountingDisk {
    fn create_dir_all(&self, dir: &str) -> io::Result<()> {
        self.real.create_dir_all(dir)
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        self.real.create(path)
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskRead>> {
        let n_bytes_read = self.n_bytes_read.clone();
        Ok(Arc::new(CountingFile { real: self.real.open(path)?, n_bytes_read }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.real.list(dir)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.real.rename(from, to)
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.real.link(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.real.remove(path)
    }

    fn sync_file(&self, path: &str) -> io::Result<()> {
        self.real.sync_file(path)
    }

    fn write_again(&self, path: &str, len: u64) -> io::Result<()> {
        self.real.write_again(path, len)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.real.sync_dir(dir)
    }
}
