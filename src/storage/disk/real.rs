//! The real disk: plain files below one folder.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Disk, DiskFile, DiskRead};

/// The name of the file whose lock keeps a second server out.
const LOCK_FILE: &str = "lock";

/// How long the lock of another process is waited for. A process that was killed while it started a
/// worker leaves its lock to the child for the moment until that has become another program.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// How often the lock is looked at.
const LOCK_LOOK_EVERY: Duration = Duration::from_millis(20);

/// Files below one folder, which nobody else may write to while this value lives.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
    _lock: Option<File>,
    /// What lies here is somebody else's: links are not followed.
    is_foreign: bool,
}

impl RealDisk {
    /// Opens the folder for writing, creating it if need be; fails when another process has it.
    pub fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let lock = File::create(root.join(LOCK_FILE))?;
        take(&lock)?;
        Ok(Self { root: root.to_owned(), _lock: Some(lock), is_foreign: false })
    }

    /// Opens the folder for reading beside a process that may be writing.
    pub fn open_read_only(root: &Path) -> Self {
        Self { root: root.to_owned(), _lock: None, is_foreign: false }
    }

    /// Opens a folder that came from somebody else for reading: what is a link, or no plain file, is
    /// an error there.
    pub fn open_foreign(root: &Path) -> Self {
        Self { root: root.to_owned(), _lock: None, is_foreign: true }
    }

    /// Opens a plain file to which no link leads below the root.
    fn open_plain(&self, path: &str) -> io::Result<File> {
        let refuse = |what: &str| {
            Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{what}: it is not read")))
        };
        let mut place = self.root.clone();
        for part in path.split('/') {
            place.push(part);
            if fs::symlink_metadata(&place)?.file_type().is_symlink() {
                return refuse("a link is on the way to it");
            }
        }
        let looked_at = fs::symlink_metadata(&place)?;
        if !looked_at.is_file() {
            return refuse("it is no plain file");
        }
        let file = File::open(&place)?;
        let opened = file.metadata()?;
        // Somebody may have put something else there in between.
        if (opened.dev(), opened.ino()) != (looked_at.dev(), looked_at.ino()) {
            return refuse("it changed while it was opened");
        }
        Ok(file)
    }

    /// Returns the folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, path: &str) -> io::Result<PathBuf> {
        let leaves = path.split('/').any(|part| part == "..") || path.starts_with('/');
        if leaves {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a path that leaves the data directory",
            ));
        }
        Ok(self.root.join(path))
    }
}

fn take(lock: &File) -> io::Result<()> {
    let mut waited = Duration::ZERO;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(fs::TryLockError::Error(error)) => return Err(error),
            Err(fs::TryLockError::WouldBlock) if waited >= LOCK_WAIT => {
                let message = "another commonwatch is using this data directory";
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
            }
            Err(fs::TryLockError::WouldBlock) => {
                std::thread::park_timeout(LOCK_LOOK_EVERY);
                waited += LOCK_LOOK_EVERY;
            }
        }
    }
}

impl Disk for RealDisk {
    fn create_dir_all(&self, dir: &str) -> io::Result<()> {
        fs::create_dir_all(self.path(dir)?)
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(File::create(self.path(path)?)?)))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskRead>> {
        let place = self.path(path)?;
        let file = if self.is_foreign { self.open_plain(path)? } else { File::open(place)? };
        let size_bytes = file.metadata()?.len();
        Ok(Arc::new(RealRead { file, size_bytes }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(dir)?) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from)?, self.path(to)?)
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path(from)?, self.path(to)?);
        match fs::hard_link(&from, &to) {
            Err(error) if has_no_links(&error) => {
                fs::copy(&from, &to)?;
                File::open(&to)?.sync_data()
            }
            linked => linked,
        }
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path)?)
    }

    fn sync_file(&self, path: &str) -> io::Result<()> {
        File::open(self.path(path)?)?.sync_data()
    }

    fn write_again(&self, path: &str, len: u64) -> io::Result<()> {
        let file = fs::OpenOptions::new().read(true).write(true).open(self.path(path)?)?;
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, 0)?;
        file.write_all_at(&bytes, 0)
    }

    // After a crash ext4 may keep a file's bytes but lose its name.
    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        File::open(self.path(dir)?)?.sync_all()
    }
}

/// Returns true when an error says that there cannot be a second name, here or at all.
fn has_no_links(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::CrossesDevices
            | io::ErrorKind::Unsupported
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::TooManyLinks
    )
}

struct RealFile(File);

impl Write for RealFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for RealFile {
    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)?;
        io::Seek::seek(&mut self.0, io::SeekFrom::Start(len)).map(drop)
    }

    fn reserve(&mut self, len: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, len)?)
    }
}

#[derive(Debug)]
struct RealRead {
    file: File,
    size_bytes: u64,
}

impl DiskRead for RealRead {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        // Damaged metadata may ask for any length: memory is taken only for what is there.
        let end = offset.checked_add(u64::try_from(len).unwrap_or(u64::MAX));
        if end.is_none_or(|end| end > self.size_bytes) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(Bytes::from(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_goes_to_the_start_of_reserved_room() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(dir.path()).unwrap();
        let mut file = disk.create("a").unwrap();
        file.write_all(b"ab").unwrap();

        file.reserve(6).unwrap();
        file.write_all(b"cd").unwrap();
        assert_eq!(disk.read("a").unwrap(), &b"abcd\0\0"[..]);
        file.reserve(3).unwrap();
        assert_eq!(disk.read("a").unwrap().len(), 6, "never shorter");

        file.truncate(3).unwrap();
        file.write_all(b"e").unwrap();
        assert_eq!(disk.read("a").unwrap(), &b"abce"[..]);
    }

    #[test]
    fn a_read_past_the_end_takes_no_memory() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(dir.path()).unwrap();
        disk.create("a").unwrap().write_all(b"bytes").unwrap();
        let file = disk.open("a").unwrap();

        assert_eq!(file.read_at(1, 4).unwrap(), "ytes");
        for (offset, len) in [(0, usize::MAX), (0, 1 << 62), (5, 1), (u64::MAX, 1)] {
            let error = file.read_at(offset, len).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{offset} {len}");
        }
    }
}
