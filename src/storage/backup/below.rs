//! A folder of a disk, as a disk.

use std::io;
use std::sync::Arc;

use crate::storage::disk::{Disk, DiskFile, DiskRead};

/// What lies below one folder of a disk.
#[derive(Debug)]
pub struct Below<'a> {
    disk: &'a dyn Disk,
    folder: String,
}

impl<'a> Below<'a> {
    /// Returns the folder of a disk as a disk.
    pub fn new(disk: &'a dyn Disk, folder: String) -> Self {
        Self { disk, folder }
    }

    fn path(&self, path: &str) -> String {
        if path.is_empty() { self.folder.clone() } else { format!("{}/{path}", self.folder) }
    }
}

impl Disk for Below<'_> {
    fn create_dir_all(&self, dir: &str) -> io::Result<()> {
        self.disk.create_dir_all(&self.path(dir))
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create(&self.path(path))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskRead>> {
        self.disk.open(&self.path(path))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(&self.path(dir))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(&self.path(from), &self.path(to))
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.link(&self.path(from), &self.path(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(&self.path(path))
    }

    fn sync_file(&self, path: &str) -> io::Result<()> {
        self.disk.sync_file(&self.path(path))
    }

    fn write_again(&self, path: &str, len: u64) -> io::Result<()> {
        self.disk.write_again(&self.path(path), len)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.sync_dir(&self.path(dir))
    }
}
