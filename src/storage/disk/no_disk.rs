//! A disk that is not there: whoever may not wait for one reads what is in memory, or nothing.

use std::io;
use std::sync::Arc;

use super::{Disk, DiskFile, DiskRead};

/// Nothing can be read or written here; every error says that it would have to be waited for.
#[derive(Debug)]
pub struct NoDisk;

fn not_now<T>() -> io::Result<T> {
    Err(io::ErrorKind::WouldBlock.into())
}

impl Disk for NoDisk {
    fn create_dir_all(&self, _: &str) -> io::Result<()> {
        not_now()
    }

    fn create(&self, _: &str) -> io::Result<Box<dyn DiskFile>> {
        not_now()
    }

    fn open(&self, _: &str) -> io::Result<Arc<dyn DiskRead>> {
        not_now()
    }

    fn list(&self, _: &str) -> io::Result<Vec<String>> {
        not_now()
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        not_now()
    }

    fn link(&self, _: &str, _: &str) -> io::Result<()> {
        not_now()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        not_now()
    }

    fn sync_file(&self, _: &str) -> io::Result<()> {
        not_now()
    }

    fn write_again(&self, _: &str, _: u64) -> io::Result<()> {
        not_now()
    }

    fn sync_dir(&self, _: &str) -> io::Result<()> {
        not_now()
    }
}
