//! A disk in memory that keeps exactly what was promised.
//!
//! Per file it knows the synced bytes and the writes since; per name, the synced name table and the
//! changes since. [`SimDisk::crash`] makes one legal state after a power cut: each unsynced write is
//! kept, lost, cut at a 512-byte edge or full of holes, a reservation may be forgotten, each unsynced
//! name change happened or did not (in any subset), and a folder whose own name was not synced takes
//! along all that is in it.
//! [`SimDisk::kill`] is what the end of the process alone leaves: everything, synced or not. Faults
//! are armed by operation count. One seed, one run.

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
/// How far past the last write room is reserved at most. So little that writes go to both sides of
/// its end, as they do on a file system that had less to give than was asked for.
const RESERVED_BYTES_MAX: usize = 2048;

/// What goes wrong at an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The write stores nothing and says the disk is full.
    Full,
    /// The write stores half and says the disk is full.
    ShortFull,
    /// The sync fails. As on Linux, the bytes can still be read, but never reach the disk, and the
    /// next sync says that all is well.
    SyncFails,
    /// The power goes at this operation: it and all later ones fail.
    PowerCut,
}

#[derive(Debug, Clone, Default)]
struct Inode {
    /// What readers see.
    content: Vec<u8>,
    /// What the disk holds for certain.
    synced: Vec<u8>,
    /// What was written and cut since the last sync, in order.
    pending: Vec<Pending>,
}

impl Inode {
    fn of(content: Vec<u8>) -> Self {
        Self { synced: content.clone(), content, pending: Vec::new() }
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        put(&mut self.content, at, bytes);
        self.pending.push(Pending::Write { at, bytes: bytes.to_vec() });
    }

    fn reserve(&mut self, len: usize) {
        lengthen(&mut self.content, len);
        self.pending.push(Pending::Reserve(len));
    }

    fn truncate(&mut self, len: usize) {
        self.content.truncate(len);
        self.pending.push(Pending::Truncate(len));
    }

    fn sync(&mut self) {
        for pending in self.pending.drain(..) {
            match pending {
                Pending::Write { at, bytes } => put(&mut self.synced, at, &bytes),
                Pending::Reserve(len) => lengthen(&mut self.synced, len),
                Pending::Truncate(len) => self.synced.truncate(len),
                Pending::Again(bytes) => put(&mut self.synced, 0, &bytes),
            }
        }
    }

    fn fail_sync(&mut self) {
        self.pending.retain(|pending| !matches!(pending, Pending::Again(_)));
        for pending in &mut self.pending {
            if let Pending::Write { bytes, .. } = pending {
                bytes.fill(0);
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Pending {
    Write {
        at: usize,
        bytes: Vec<u8>,
    },
    Reserve(usize),
    Truncate(usize),
    /// What the file began with, over itself.
    Again(Vec<u8>),
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
    /// Folders, and whether their name survives.
    dirs: BTreeMap<String, bool>,
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

    /// Returns how many faults are armed and were not met yet.
    pub fn n_armed(&self) -> usize {
        self.state.lock().faults.len()
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
        let mut dirs = state.dirs.clone();
        for dir in state.dirs.iter().filter(|(_, is_synced)| !**is_synced).map(|(dir, _)| dir) {
            if rng.random_bool(0.5) {
                let below = format!("{dir}/");
                names.retain(|path, _| !path.starts_with(&below));
                dirs.retain(|other, _| other != dir && !other.starts_with(&below));
            }
        }
        dirs.values_mut().for_each(|is_synced| *is_synced = true);
        let synced_names = names.clone();
        let crashed = State { inodes, synced_names, names, dirs, ..State::default() };
        SimDisk { state: Arc::new(Mutex::new(crashed)) }
    }

    /// Returns the disk as the next process finds it when this one is killed: all is there to be
    /// read, and what was not synced may still go in a power cut.
    pub fn kill(&self) -> SimDisk {
        let mut state = self.state.lock().clone();
        state.is_dead = false;
        state.faults.clear();
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// Changes one byte of a file, as bad memory or a bad cable would.
    pub fn flip_byte(&self, path: &str, offset: usize, mask: u8) {
        let mut state = self.state.lock();
        let Some(&inode) = state.names.get(path) else { return };
        let mut bytes = std::mem::take(&mut state.inodes[inode].content);
        if let Some(byte) = bytes.get_mut(offset) {
            *byte ^= mask;
        }
        state.inodes[inode] = Inode::of(bytes);
    }

    /// Returns every path with its size, sorted.
    pub fn files(&self) -> Vec<(String, usize)> {
        let state = self.state.lock();
        state.names.iter().map(|(path, &i)| (path.clone(), state.inodes[i].content.len())).collect()
    }
}

fn crashed_inode(inode: &Inode, rng: &mut SmallRng) -> Inode {
    let mut bytes = inode.synced.clone();
    for pending in &inode.pending {
        match pending {
            Pending::Truncate(len) if rng.random_bool(0.5) => bytes.truncate(*len),
            Pending::Truncate(_) => {}
            Pending::Again(all) => {
                for (old, new) in bytes.chunks_mut(SECTOR_BYTES).zip(all.chunks(SECTOR_BYTES)) {
                    if old.len() >= new.len() && rng.random_bool(0.5) {
                        old[..new.len()].copy_from_slice(new);
                    }
                }
            }
            Pending::Reserve(len) if rng.random_bool(0.5) => lengthen(&mut bytes, *len),
            Pending::Reserve(_) => {}
            Pending::Write { at, bytes: more } => {
                // Only a file that did not grow with a lost write can have kept a later one.
                if !crashed_write(&mut bytes, *at, more, rng) && bytes.len() < at + more.len() {
                    break;
                }
            }
        }
    }
    Inode::of(bytes)
}

/// Does to a file what is left of an unsynced write; returns false when the end of it is lost.
fn crashed_write(file: &mut Vec<u8>, at: usize, bytes: &[u8], rng: &mut SmallRng) -> bool {
    let end = at + bytes.len();
    match rng.random_range(0..5) {
        0 => return false,
        1 => {
            let n_sectors = bytes.len() / SECTOR_BYTES;
            let n_kept = rng.random_range(0..=n_sectors) * SECTOR_BYTES;
            if n_kept > 0 {
                put(file, at, &bytes[..n_kept]);
            }
            return false;
        }
        // The size reached the disk, the bytes did not: a run of zeros, or what stood there.
        2 => lengthen(file, end),
        // Sectors are written in any order: some got there, some did not.
        3 => {
            lengthen(file, end);
            for (idx, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                if rng.random_bool(0.5) {
                    put(file, at + idx * SECTOR_BYTES, sector);
                }
            }
        }
        _ => put(file, at, bytes),
    }
    true
}

/// Writes bytes into a file, with zeros between its end and them.
fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    lengthen(file, at + bytes.len());
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Makes a file at least that long.
fn lengthen(file: &mut Vec<u8>, len: usize) {
    file.resize(file.len().max(len), 0);
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
        let mut state = self.state.lock();
        let mut dir = dir;
        while !dir.is_empty() && !state.dirs.contains_key(dir) {
            state.step()?;
            state.dirs.insert(dir.to_owned(), false);
            dir = parent(dir);
        }
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
        Ok(Box::new(SimFile { state: Arc::clone(&self.state), inode, position: 0 }))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskRead>> {
        let state = self.state.lock();
        let inode = state.inode_of(path)?;
        Ok(Arc::new(SimRead(Bytes::from(state.inodes[inode].content.clone()))))
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

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.step()? == Some(Fault::Full) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = state.inode_of(from)?;
        state.change_names(vec![NameChange::Link { path: to.to_owned(), inode }]);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step()?;
        state.inode_of(path)?;
        state.change_names(vec![NameChange::Unlink { path: path.to_owned() }]);
        Ok(())
    }

    fn sync_file(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.inode_of(path)?;
        sync(&mut state, inode)
    }

    // The room is there already, so no disk is too full for it.
    fn write_again(&self, path: &str, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step()?;
        let inode = state.inode_of(path)?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let content = state.inodes[inode].content[..len].to_vec();
        state.inodes[inode].pending.push(Pending::Again(content));
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.step()? == Some(Fault::SyncFails) {
            return Err(io::Error::other("sync failed"));
        }
        let is_child = |other: &str| !other.is_empty() && parent(other) == dir;
        state.dirs.iter_mut().filter(|(other, _)| is_child(other)).for_each(|(_, synced)| {
            *synced = true;
        });
        let pending = std::mem::take(&mut state.pending_names);
        let (synced, rest): (Vec<_>, Vec<_>) =
            pending.into_iter().partition(|changes| changes.iter().any(|c| c.dir() == dir));
        synced.iter().flatten().for_each(|change| apply(&mut state.synced_names, change));
        state.pending_names = rest;
        Ok(())
    }
}

fn sync(state: &mut State, inode: usize) -> io::Result<()> {
    if state.step()? == Some(Fault::SyncFails) {
        state.inodes[inode].fail_sync();
        return Err(io::Error::other("sync failed"));
    }
    state.inodes[inode].sync();
    Ok(())
}

struct SimFile {
    state: Arc<Mutex<State>>,
    inode: usize,
    /// Where the next bytes go.
    position: usize,
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
        state.inodes[self.inode].write(self.position, &bytes[..n_kept]);
        self.position += n_kept;
        Ok(n_kept)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn sync(&mut self) -> io::Result<()> {
        sync(&mut self.state.lock(), self.inode)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step()?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        state.inodes[self.inode].truncate(len);
        self.position = len;
        Ok(())
    }

    fn reserve(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.step()? == Some(Fault::Full) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let len = len.min(self.position + RESERVED_BYTES_MAX);
        state.inodes[self.inode].reserve(len);
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
    fn a_folder_without_a_synced_name_may_take_its_files_along() {
        let outcomes: BTreeSet<usize> = (0..100)
            .map(|seed| {
                let disk = SimDisk::new();
                disk.create_dir_all("a/b").unwrap();
                disk.create("a/b/c").unwrap().sync().unwrap();
                disk.sync_dir("a/b").unwrap();
                disk.crash(seed).files().len()
            })
            .collect();

        assert_eq!(outcomes, BTreeSet::from([0, 1]));
    }

    #[test]
    fn what_only_a_killed_process_wrote_may_still_go_in_a_power_cut() {
        let disk = SimDisk::new();
        let mut file = disk.create("a").unwrap();
        disk.sync_dir("").unwrap();
        file.write_all(b"bytes").unwrap();

        let next = disk.kill();
        assert_eq!(next.read("a").unwrap(), &b"bytes"[..]);
        assert!((0..50).any(|seed| next.crash(seed).read("a").unwrap().is_empty()));

        next.sync_file("a").unwrap();
        assert!((0..50).all(|seed| next.crash(seed).read("a").unwrap() == b"bytes"[..]));
    }

    #[test]
    fn after_a_failed_sync_the_bytes_are_seen_but_never_reach_the_disk() {
        let disk = SimDisk::new();
        let mut file = disk.create("a").unwrap();
        disk.sync_dir("").unwrap();
        file.write_all(b"bytes").unwrap();
        disk.arm(0, Fault::SyncFails);
        file.sync().unwrap_err();
        file.sync().unwrap();

        assert_eq!(disk.read("a").unwrap(), &b"bytes"[..]);
        assert!((0..50).all(|seed| disk.crash(seed).read("a").unwrap() == [0; 5][..]));

        disk.write_again("a", 5).unwrap();
        assert!((0..50).any(|seed| disk.crash(seed).read("a").unwrap() == [0; 5][..]));
        file.sync().unwrap();
        assert!((0..50).all(|seed| disk.crash(seed).read("a").unwrap() == b"bytes"[..]));
    }

    #[test]
    fn reserved_room_reads_as_zeros_and_may_be_forgotten_in_a_power_cut() {
        let disk = SimDisk::new();
        let mut file = disk.create("a").unwrap();
        file.write_all(b"ab").unwrap();
        file.sync().unwrap();
        disk.sync_dir("").unwrap();
        file.reserve(6).unwrap();
        assert_eq!(disk.read("a").unwrap(), &b"ab\0\0\0\0"[..]);
        file.write_all(b"cd").unwrap();
        assert_eq!(disk.read("a").unwrap(), &b"abcd\0\0"[..]);

        let outcomes: BTreeSet<Vec<u8>> =
            (0..200).map(|seed| disk.crash(seed).read("a").unwrap().to_vec()).collect();
        let wanted: [&[u8]; 5] = [b"ab", b"ab\0\0", b"abcd", b"ab\0\0\0\0", b"abcd\0\0"];
        assert_eq!(outcomes, wanted.iter().map(|bytes| bytes.to_vec()).collect());

        file.sync().unwrap();
        assert!((0..50).all(|seed| disk.crash(seed).read("a").unwrap() == b"abcd\0\0"[..]));
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
