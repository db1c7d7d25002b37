//! A disk in memory that keeps exactly what was promised.
//!
//! Per file it knows the synced bytes and the writes since; per name, the synced name table and the
//! changes since. [`SimDisk::crash`] makes one legal state after a power cut: each unsynced write is
//! kept, lost or cut at a 512-byte edge, each unsynced name change happened or did not (in any
//! subset). Faults are armed by operation count. One seed, one run.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{Disk, DiskFile, DiskRead, parent};

/// The smallest piece of a write that a power cut keeps or loses whole.
const SECTOR_BYTES: usize = 512;

/// What goes wrong at an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The write stores nothing and says the disk is full.
    Full,
    /// The write stores half and says the disk is full.
    ShortFull,
    /// The sync fails; the fate of the bytes is unknown.
    SyncFails,
    /// The power goes at this operation: it and all later ones fail.
    PowerCut,
}

#[derive(Debug, Clone, Default)]
struct Inode {
    synced: Vec<u8>,
    /// Appends and cuts since the last sync, in order.
    pending: Vec<Pending>,
}

#[derive(Debug, Clone)]
enum Pending {
    Append(Vec<u8>),
    Truncate(usize),
}

#[derive(Debug, Clone)]
enum NameChange {
    Link { path: String, inode: usize },
    Unlink { path: String },
}

impl NameChange {
    fn dir(&self) -> &str {
        match self {
            NameChange::Link { path, .. } | NameChange::Unlink { path } => parent(path),
        }
    }
}

#[derive(Debug, Clone, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    pending_names: Vec<Vec<NameChange>>,
    dirs: BTreeSet<String>,
    n_ops: u64,
    faults: BTreeMap<u64, Fault>,
    is_dead: bool,
}

/// The simulated disk; clones share it.
#[derive(Debug, Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    /// Returns an empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Arms a fault at the `n`th operation from now that changes the disk (0 is the next).
    pub fn arm(&self, n: u64, fault: Fault) {
        let mut state = self.state.lock();
        let at = state.n_ops + n;
        state.faults.insert(at, fault);
    }

    /// Disarms all faults, as when an operator frees space.
    pub fn heal(&self) {
        self.state.lock().faults.clear();
    }

    /// Returns how many operations changed the disk so far.
    pub fn n_ops(&self) -> u64 {
        self.state.lock().n_ops
    }

    /// Returns a disk in one of the states that a power cut now may leave behind.
    pub fn crash(&self, seed: u64) -> SimDisk {
        let mut rng = SmallRng::seed_from_u64(seed);
        let state = self.state.lock();
        let inodes = state.inodes.iter().map(|inode| crashed_inode(inode, &mut rng)).collect();
        let mut names = state.synced_names.clone();
        for changes in &state.pending_names {
            // A rename is one step of the journal: both names change or neither.
            if rng.random_bool(0.5) {
                changes.iter().for_each(|change| apply(&mut names, change));
            }
        }
        let crashed = State {
            inodes,
            synced_names: names.clone(),
            names,
            dirs: state.dirs.clone(),
            ..State::default()
        };
        SimDisk { state: Arc::new(Mutex::new(crashed)) }
    }

    /// Changes one byte of a file, as bad memory or a bad cable would.
    pub fn flip_byte(&self, path: &str, offset: usize, mask: u8) {
        let mut state = self.state.lock();
        let Some(&inode) = state.names.get(path) else { return };
        let mut bytes = content(&state.inodes[inode]);
        if let Some(byte) = bytes.get_mut(offset) {
            *byte ^= mask;
        }
        state.inodes[inode] = Inode { synced: bytes, pending: Vec::new() };
    }

    /// Returns every path with its size, sorted.
    pub fn files(&self) -> Vec<(String, usize)> {
        let state = self.state.lock();
        state
            .names
            .iter()
            .map(|(path, &i)| (path.clone(), content(&state.inodes[i]).len()))
            .collect()
    }
}

fn content(inode: &Inode) -> Vec<u8> {
    let mut bytes = inode.synced.clone();
    for pending in &inode.pending {
        match pending {
            Pending::Append(more) => bytes.extend_from_slice(more),
            Pending::Truncate(len) => bytes.truncate(*len),
        }
    }
    bytes
}

fn crashed_inode(inode: &Inode, rng: &mut SmallRng) -> Inode {
    let mut bytes = inode.synced.clone();
    for pending in &inode.pending {
        match pending {
            Pending::Truncate(len) if rng.random_bool(0.5) => bytes.truncate(*len),
            Pending::Truncate(_) => {}
            Pending::Append(more) => match rng.random_range(0..4) {
                0 => break, // This and all later writes are lost.
                1 => {
                    let n_kept = (more.len() / SECTOR_BYTES) * SECTOR_BYTES;
                    let n_kept = if n_kept == 0 {
                        0
                    } else {
                        rng.random_range(0..=n_kept / SECTOR_BYTES) * SECTOR_BYTES
                    };
                    bytes.extend_from_slice(&more[..n_kept]);
                    break;
                }
                // The size reached the disk, the bytes did not: a run of zeros.
                2 => bytes.extend(std::iter::repeat_n(0, more.len())),
                _ => bytes.extend_from_slice(more),
            },
        }
    }
    Inode { synced: bytes, pending: Vec::new() }
}

fn apply(names: &mut BTreeMap<String, usize>, change: &NameChange) {
    match change {
        NameChange::Link { path, inode } => drop(names.insert(path.clone(), *inode)),
        NameChange::Unlink { path } => drop(names.remove(path)),
    }
}

impl State {
    /// Counts an operation and returns the fault armed for it.
    fn step(&mut self) -> io::Result<Option<Fault>> {
        if self.is_dead {
            return Err(io::Error::other("the power is off"));
        }
        let fault = self.faults.remove(&self.n_ops);
        self.n_ops += 1;
        if fault == Some(Fault::PowerCut) {
            self.is_dead = true;
            return Err(io::Error::other("the power went off"));
        }
        Ok(fault)
    }

    fn change_names(&mut self, changes: Vec<NameChange>) {
        changes.iter().for_each(|change| apply(&mut self.names, change));
        self.pending_names.push(changes);
    }

    fn inode_of(&self, path: &str) -> io::Result<usize> {
        self.names
            .get(path)
            .copied()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, path.to_owned()))
    }
}

impl Disk for SimDisk {
    fn create_dir_all(&self, dir: &str) -> io::Result<()> {
        self.state.lock().dirs.insert(dir.to_owned());
        Ok(())
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        if state.step()? == Some(Fault::Full) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.change_names(vec![NameChange::Link { path: path.to_owned(), inode }]);
        Ok(Box::new(SimFile { state: Arc::clone(&self.state), inode }))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskRead>> {
        let state = self.state.lock();
        let inode = state.inode_of(path)?;
        Ok(Arc::new(SimRead(Bytes::from(content(&state.inodes[inode])))))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let state = self.state.lock();
        let below = state.names.keys().filter_map(|path| path.strip_prefix(&prefix));
        let names: BTreeSet<&str> = below.filter_map(|rest| rest.split('/').next()).collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step()?;
        let inode = state.inode_of(from)?;
        state.change_names(vec![
            NameChange::Unlink { path: from.to_owned() },
            NameChange::Link { path: to.to_owned(), inode },
        ]);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step()?;
        state.inode_of(path)?;
        state.change_names(vec![NameChange::Unlink { path: path.to_owned() }]);
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.step()? == Some(Fault::SyncFails) {
            return Err(io::Error::other("sync failed"));
        }
        let pending = std::mem::take(&mut state.pending_names);
        let (synced, rest): (Vec<_>, Vec<_>) =
            pending.into_iter().partition(|changes| changes.iter().any(|c| c.dir() == dir));
        synced.iter().flatten().for_each(|change| apply(&mut state.synced_names, change));
        state.pending_names = rest;
        Ok(())
    }
}

struct SimFile {
    state: Arc<Mutex<State>>,
    inode: usize,
}

impl Write for SimFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state.lock();
        let fault = state.step()?;
        let n_kept = match fault {
            Some(Fault::Full) => return Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::ShortFull) => bytes.len() / 2,
            _ => bytes.len(),
        };
        if fault == Some(Fault::ShortFull) {
            let next = state.n_ops;
            state.faults.insert(next, Fault::Full);
        }
        state.inodes[self.inode].pending.push(Pending::Append(bytes[..n_kept].to_vec()));
        Ok(n_kept)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.step()? == Some(Fault::SyncFails) {
            return Err(io::Error::other("sync failed"));
        }
        let inode = &mut state.inodes[self.inode];
        inode.synced = content(inode);
        inode.pending.clear();
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step()?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        state.inodes[self.inode].pending.push(Pending::Truncate(len));
        Ok(())
    }
}

#[derive(Debug)]
struct SimRead(Bytes);

impl DiskRead for SimRead {
    fn size_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let to = from.checked_add(len).filter(|&to| to <= self.0.len());
        to.map(|to| self.0.slice(from..to)).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synced_bytes_under_synced_names_always_survive() {
        for seed in 0..200 {
            let disk = SimDisk::new();
            let mut file = disk.create("a/b").unwrap();
            file.write_all(b"kept").unwrap();
            file.sync().unwrap();
            disk.sync_dir("a").unwrap();
            file.write_all(&[b'x'; 2000]).unwrap();

            let after = disk.crash(seed).read("a/b").unwrap();

            assert!(after.starts_with(b"kept"), "seed {seed}");
        }
    }

    #[test]
    fn what_was_not_synced_may_be_gone() {
        let outcomes: BTreeSet<Option<usize>> = (0..200)
            .map(|seed| {
                let disk = SimDisk::new();
                disk.create("a").unwrap().write_all(&[1; 1024]).unwrap();
                disk.crash(seed).read("a").ok().map(|bytes| bytes.len())
            })
            .collect();

        assert!(
            outcomes.is_superset(&BTreeSet::from([None, Some(0), Some(512), Some(1024)])),
            "{outcomes:?}"
        );
    }

    #[test]
    fn a_rename_happens_whole_or_not_at_all() {
        for seed in 0..100 {
            let disk = SimDisk::new();
            let mut file = disk.create("new").unwrap();
            file.sync().unwrap();
            disk.sync_dir("").unwrap();
            disk.rename("new", "old").unwrap();

            let after = disk.crash(seed);

            assert_eq!(after.files().len(), 1, "seed {seed}");
        }
    }

    #[test]
    fn a_short_write_says_full_and_leaves_half() {
        let disk = SimDisk::new();
        let mut file = disk.create("a").unwrap();
        disk.arm(0, Fault::ShortFull);

        let error = file.write_all(&[7; 100]).unwrap_err();

        assert!(super::super::is_full(&error));
        assert_eq!(disk.read("a").unwrap().len(), 50);
    }
}
