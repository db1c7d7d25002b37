//! Checksums over every byte of a file, because Parquet's own cover its pages at best.
//!
//! ```text
//! blocks   64 KiB each, the last one shorter: row groups and bloom filters
//! tail     the rest: indexes and the footer, which holds `commonwatch.crc32c`,
//!          the CRC-32C of each block (u32, little-endian) in base64
//! ```
//! Where the tail begins and its CRC-32C are the file's [`Seal`], which the manifest keeps. So a
//! flipped bit is found wherever it is: in the tail by the manifest, in a block by the tail. What is
//! read is whole blocks, checked before anyone sees a byte of them. Other readers of Parquet see
//! one more key in the footer.

use std::io::{self, Write};
use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use crc32c::{crc32c, crc32c_append};
use parking_lot::Mutex;
use parquet::file::metadata::{KeyValue, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};

use crate::storage::FileEntry;
use crate::storage::disk::{Disk, DiskFile, DiskRead};
use crate::storage::objects::Unreachable;

/// The length of a block.
pub const BLOCK_BYTES: usize = 64 << 10;
/// Bytes that are read at a time where all of a file is: whole blocks.
const PIECE_BYTES: usize = 16 * BLOCK_BYTES;
/// What is kept of a file that is being read.
const RECENT_BYTES_MAX: usize = 4 * BLOCK_BYTES;
/// The footer's key of the blocks' checksums.
const KEY: &str = "commonwatch.crc32c";

/// What the manifest knows of a file's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Seal {
    /// Where the tail begins.
    pub tail_offset: u64,
    /// The tail's CRC-32C.
    pub tail_crc: u32,
}

/// A file being written, summed up as it grows.
pub struct Summing {
    file: Box<dyn DiskFile>,
    blocks: Vec<u32>,
    crc: u32,
    n_bytes: u64,
    tail_offset: Option<u64>,
}

impl std::fmt::Debug for Summing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Summing").field("n_bytes", &self.n_bytes).finish_non_exhaustive()
    }
}

impl Summing {
    /// Begins with an empty file.
    pub fn new(file: Box<dyn DiskFile>) -> Self {
        Self { file, blocks: Vec::new(), crc: 0, n_bytes: 0, tail_offset: None }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        if self.tail_offset.is_some() {
            self.crc = crc32c_append(self.crc, bytes);
            self.n_bytes += bytes.len() as u64;
            return;
        }
        while !bytes.is_empty() {
            let room = BLOCK_BYTES - self.n_in_block();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.crc = crc32c_append(self.crc, now);
            self.n_bytes += now.len() as u64;
            if self.n_in_block() == 0 {
                self.blocks.push(std::mem::take(&mut self.crc));
            }
            bytes = later;
        }
    }

    fn n_in_block(&self) -> usize {
        usize::try_from(self.n_bytes % BLOCK_BYTES as u64).expect("less than a block")
    }

    /// Ends the last block; returns the blocks' checksums for the footer. All that follows is tail.
    pub fn start_tail(&mut self) -> KeyValue {
        if self.n_in_block() > 0 {
            self.blocks.push(std::mem::take(&mut self.crc));
        }
        self.tail_offset = Some(self.n_bytes);
        let sums: Vec<u8> = self.blocks.iter().flat_map(|crc| crc.to_le_bytes()).collect();
        KeyValue::new(KEY.to_owned(), STANDARD.encode(sums))
    }

    /// Returns the file and what the manifest has to know of it.
    pub fn finish(self) -> (Box<dyn DiskFile>, Seal) {
        let tail_offset = self.tail_offset.expect("the tail was begun before the footer");
        (self.file, Seal { tail_offset, tail_crc: self.crc })
    }
}

impl Write for Summing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n_written = self.file.write(bytes)?;
        self.take(&bytes[..n_written]);
        Ok(n_written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The checksums of a file's blocks.
pub type Blocks = Arc<[u32]>;

/// Two stretches of a file; the second was read last.
#[derive(Debug, Default)]
struct Recent([(u64, Bytes); 2]);

impl Recent {
    /// Returns the bytes from `from` to `to`, if they are here.
    fn get(&self, from: u64, to: u64) -> Option<Bytes> {
        let is_here = |(start, bytes): &&(u64, Bytes)| {
            *start <= from && to <= start.saturating_add(bytes.len() as u64)
        };
        let (start, bytes) = self.0.iter().find(is_here)?;
        let place = |at: u64| usize::try_from(at - start).ok();
        Some(bytes.slice(place(from)?..place(to)?))
    }

    /// Returns the bytes from `from` on that are here, if there are any.
    fn beginning(&self, from: u64) -> Option<Bytes> {
        let is_here = |(start, bytes): &&(u64, Bytes)| {
            *start <= from && from < start.saturating_add(bytes.len() as u64)
        };
        let (start, bytes) = self.0.iter().find(is_here)?;
        Some(bytes.slice(usize::try_from(from - start).ok()?..))
    }

    /// Takes the place of the stretch that it continues, or of the older one.
    fn put(&mut self, from: u64, bytes: Bytes) {
        let second = &self.0[1];
        let is_of_second = second.0 <= from && from <= second.0 + second.1.len() as u64;
        if !is_of_second {
            self.0.swap(0, 1);
        }
        self.0[1] = (from, bytes);
    }
}

/// A file that checks all it reads.
#[derive(Debug)]
pub struct Checked {
    inner: Arc<dyn DiskRead>,
    /// `None` for files of a version that did not sum up.
    seal: Option<Seal>,
    blocks: OnceLock<Blocks>,
    /// Blocks read lately and where they begin: pages are read one after the other, of two columns in
    /// turn.
    recent: Mutex<Recent>,
    recent_bytes_max: usize,
    damage: OnceLock<String>,
    /// Why its bytes cannot be had now, when that was met.
    away: OnceLock<String>,
}

impl Checked {
    /// Opens a live file.
    pub fn open(disk: &dyn Disk, entry: &FileEntry) -> Self {
        let inner = match disk.open(&entry.path) {
            Ok(inner) => inner,
            Err(error) => return Self::broken(&error),
        };
        let (found, wanted) = (inner.size_bytes(), entry.size_bytes);
        let this = Self::new(inner, entry.seal);
        if found != wanted {
            let _ = this.damaged(format!("it has {found} bytes instead of {wanted}"));
        }
        this
    }

    fn new(inner: Arc<dyn DiskRead>, seal: Option<Seal>) -> Self {
        Self {
            inner,
            seal,
            blocks: OnceLock::new(),
            recent: Mutex::default(),
            recent_bytes_max: RECENT_BYTES_MAX,
            damage: OnceLock::new(),
            away: OnceLock::new(),
        }
    }

    fn broken(error: &io::Error) -> Self {
        let this = Self::new(Arc::new(Unopened(error.kind())), None);
        if is_damage(error) {
            let _ = this.damaged(error.to_string());
        }
        this
    }

    /// Keeps nothing of what is read, for whoever has many files open at once.
    pub fn forgetful(self) -> Self {
        Self { recent_bytes_max: 0, ..self }
    }

    /// Reads so many bytes piece by piece; fails at the first that are not what was written.
    pub fn read_through(&self, n_bytes: u64) -> io::Result<()> {
        let mut at = 0;
        while at < n_bytes {
            let left = usize::try_from(n_bytes - at).unwrap_or(usize::MAX);
            at += self.read_at(at, left.min(PIECE_BYTES))?.len() as u64;
        }
        Ok(())
    }

    /// Returns what is wrong with the file, once that was met.
    pub fn damage(&self) -> Option<&str> {
        self.damage.get().map(String::as_str)
    }

    /// Returns why the file's bytes cannot be had now, once that was met.
    pub fn away(&self) -> Option<&str> {
        self.away.get().map(String::as_str)
    }

    fn damaged(&self, what: String) -> io::Error {
        let what = self.damage.get_or_init(|| what);
        io::Error::new(io::ErrorKind::InvalidData, what.clone())
    }

    fn raw(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        self.inner.read_at(offset, len).map_err(|error| {
            if is_damage(&error) {
                return self.damaged(error.to_string());
            }
            if let Some(why) = Unreachable::why(&error) {
                self.away.get_or_init(|| why.to_owned());
            }
            error
        })
    }

    /// Returns the tail, checked against the manifest.
    fn tail(&self, seal: Seal) -> io::Result<Bytes> {
        let n_bytes = self.size_bytes().saturating_sub(seal.tail_offset);
        let tail =
            self.raw(seal.tail_offset, usize::try_from(n_bytes).map_err(io::Error::other)?)?;
        if crc32c(&tail) != seal.tail_crc {
            return Err(self.damaged("wrong checksum of its footer".to_owned()));
        }
        Ok(tail)
    }

    /// Takes checksums that an earlier reading learned.
    pub fn set_blocks(&self, blocks: Blocks) {
        let _: Result<(), Blocks> = self.blocks.set(blocks);
    }

    /// Returns the blocks' checksums, out of metadata read by way of this file.
    pub fn learn(&self, metadata: &ParquetMetaData) -> io::Result<Blocks> {
        let pairs = metadata.file_metadata().key_value_metadata().into_iter().flatten();
        let found = pairs.into_iter().find(|pair| pair.key == KEY);
        let sums = found.and_then(|pair| STANDARD.decode(pair.value.as_deref()?).ok());
        match (sums, self.seal) {
            (Some(sums), Some(_)) => Ok(sums
                .chunks_exact(4)
                .map(|crc| u32::from_le_bytes(crc.try_into().expect("four bytes")))
                .collect()),
            (_, None) => Ok(Arc::from([])),
            (None, Some(_)) => Err(self.damaged("its footer has no checksums".to_owned())),
        }
    }

    fn blocks(&self) -> io::Result<&Blocks> {
        if let Some(blocks) = self.blocks.get() {
            return Ok(blocks);
        }
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&self).map_err(|error| {
            match self.away() {
                Some(why) => Unreachable(why.to_owned()).into_io(),
                None => self.damaged(error.to_string()),
            }
        })?;
        let blocks = self.learn(&metadata)?;
        Ok(self.blocks.get_or_init(|| blocks))
    }

    /// Returns bytes before the tail, out of whole checked blocks.
    fn checked_blocks(&self, offset: u64, len: usize, tail_offset: u64) -> io::Result<Bytes> {
        let end = offset + len as u64;
        let (known, beginning) = {
            let recent = self.recent.lock();
            (recent.get(offset, end), recent.beginning(offset))
        };
        if let Some(bytes) = known {
            return Ok(bytes);
        }
        // Pages are smaller than blocks: where one ends in a block, the next begins there.
        let Some(beginning) = beginning else { return self.read_blocks(offset, len, tail_offset) };
        let n_known = beginning.len();
        let rest = self.read_blocks(offset + n_known as u64, len - n_known, tail_offset)?;
        Ok([&beginning[..], &rest[..]].concat().into())
    }

    /// Reads and checks the blocks that hold some bytes before the tail.
    fn read_blocks(&self, offset: u64, len: usize, tail_offset: u64) -> io::Result<Bytes> {
        let block = BLOCK_BYTES as u64;
        let (first, last) = (offset / block, (offset + len as u64 - 1) / block);
        let (from, to) = (first * block, ((last + 1) * block).min(tail_offset));
        let bytes = self.raw(from, usize::try_from(to - from).map_err(io::Error::other)?)?;
        let mut sums = self.blocks()?.iter().skip(usize::try_from(first).unwrap_or(usize::MAX));
        for (at, piece) in bytes.chunks(BLOCK_BYTES).enumerate() {
            if sums.next() != Some(&crc32c(piece)) {
                let start = from + (at * BLOCK_BYTES) as u64;
                return Err(self.damaged(format!("wrong checksum of the block at byte {start}")));
            }
        }
        if bytes.len() <= self.recent_bytes_max {
            self.recent.lock().put(from, bytes.clone());
        }
        let skip = usize::try_from(offset - from).map_err(io::Error::other)?;
        Ok(bytes.slice(skip..skip + len))
    }
}

/// Returns true when an error says that a file's bytes are lost, not that the moment was bad.
fn is_damage(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    error.raw_os_error() == Some(EIO)
        || matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
}

impl DiskRead for Checked {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        if let Some(damage) = self.damage() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, damage));
        }
        let Some(seal) = self.seal else { return self.raw(offset, len) };
        let end = offset.saturating_add(len as u64);
        if end > self.size_bytes() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if len == 0 {
            return Ok(Bytes::new());
        }
        let in_tail = |from: u64, to: u64| -> io::Result<Bytes> {
            let place = |at: u64| usize::try_from(at - seal.tail_offset).map_err(io::Error::other);
            Ok(self.tail(seal)?.slice(place(from)?..place(to)?))
        };
        if offset >= seal.tail_offset {
            return in_tail(offset, end);
        }
        if end <= seal.tail_offset {
            return self.checked_blocks(offset, len, seal.tail_offset);
        }
        let n_before = usize::try_from(seal.tail_offset - offset).map_err(io::Error::other)?;
        let before = self.checked_blocks(offset, n_before, seal.tail_offset)?;
        Ok([&before[..], &in_tail(seal.tail_offset, end)?[..]].concat().into())
    }
}

/// A file that could not be opened.
#[derive(Debug)]
struct Unopened(io::ErrorKind);

impl DiskRead for Unopened {
    fn size_bytes(&self) -> u64 {
        0
    }

    fn read_at(&self, _: u64, _: usize) -> io::Result<Bytes> {
        Err(self.0.into())
    }
}

impl Length for &Checked {
    fn len(&self) -> u64 {
        self.size_bytes()
    }
}

impl ChunkReader for &Checked {
    type T = io::Cursor<Bytes>;

    // Only for metadata, which is read from the end.
    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let n_bytes =
            usize::try_from(self.size_bytes().saturating_sub(start)).unwrap_or(usize::MAX);
        Ok(io::Cursor::new(self.read_at(start, n_bytes)?))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        Ok(self.read_at(start, length)?)
    }
}
