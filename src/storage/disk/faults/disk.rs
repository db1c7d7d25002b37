//! The disk of the process with a point on both sides of every operation.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;

use super::super::{Disk, DiskFile, DiskRead};
use super::{Moment, Plan, class_of};

/// A disk around another one.
#[derive(Debug)]
pub(super) struct FaultDisk {
    inner: Arc<dyn Disk>,
    plan: Arc<Plan>,
}

impl FaultDisk {
    pub(super) fn new(inner: Arc<dyn Disk>, plan: Arc<Plan>) -> Self {
        Self { inner, plan }
    }

    fn around<T>(
        &self,
        operation: &str,
        path: &str,
        act: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        self.plan.around(operation, class_of(path), act)
    }
}

impl Disk for FaultDisk {
    fn create_dir_all(&self, dir: &str) -> io::Result<()> {
        self.around("create_dir", dir, || self.inner.create_dir_all(dir))
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let inner = self.around("create", path, || self.inner.create(path))?;
        Ok(Box::new(FaultFile { inner, class: class_of(path), plan: Arc::clone(&self.plan) }))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskRead>> {
        let inner = self.around("open", path, || self.inner.open(path))?;
        Ok(Arc::new(FaultRead { inner, class: class_of(path), plan: Arc::clone(&self.plan) }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.around("list", dir, || self.inner.list(dir))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.around("rename", to, || self.inner.rename(from, to))
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.around("link", to, || self.inner.link(from, to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.around("remove", path, || self.inner.remove(path))
    }

    fn sync_file(&self, path: &str) -> io::Result<()> {
        self.around("sync_file", path, || self.inner.sync_file(path))
    }

    fn write_again(&self, path: &str, len: u64) -> io::Result<()> {
        self.around("write_again", path, || self.inner.write_again(path, len))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.around("sync_dir", dir, || self.inner.sync_dir(dir))
    }
}

struct FaultFile {
    inner: Box<dyn DiskFile>,
    class: &'static str,
    plan: Arc<Plan>,
}

impl Write for FaultFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_short = self.plan.meet("write", self.class, Moment::Before)?;
        let half = bytes.len() / 2;
        if is_short {
            return self.inner.write(&bytes[..half.max(1)]);
        }
        // In two pieces, so that a process that ends between them leaves a torn write.
        self.inner.write_all(&bytes[..half])?;
        self.plan.meet("write", self.class, Moment::During)?;
        self.inner.write_all(&bytes[half..])?;
        self.plan.meet("write", self.class, Moment::After)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl DiskFile for FaultFile {
    fn sync(&mut self) -> io::Result<()> {
        let inner = &mut self.inner;
        self.plan.around("sync", self.class, || inner.sync())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let inner = &mut self.inner;
        self.plan.around("truncate", self.class, || inner.truncate(len))
    }

    fn reserve(&mut self, len: u64) -> io::Result<()> {
        let inner = &mut self.inner;
        self.plan.around("reserve", self.class, || inner.reserve(len))
    }
}

#[derive(Debug)]
struct FaultRead {
    inner: Arc<dyn DiskRead>,
    class: &'static str,
    plan: Arc<Plan>,
}

impl DiskRead for FaultRead {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        self.plan.around("read", self.class, || self.inner.read_at(offset, len))
    }
}
