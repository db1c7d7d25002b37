//! A file that is in object storage alone, read by pieces that are kept on the local disk.
//!
//! A piece is 4 MiB of a file, and lies in `objects/cache/` with the CRC-32C of its bytes behind
//! them. Nothing syncs it: what a power cut spoils is found by the first use in a process, and fetched
//! again.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use crc32c::crc32c;
use xxhash_rust::xxh3::xxh3_64;

use super::cache::Kept;
use super::metrics::{From, Request};
use super::{Objects, RemoteError, Unreachable};
use crate::storage::disk::DiskRead;

/// The folder of pieces.
pub(super) const PIECES: &str = "objects/cache";
/// The length of a piece; the last of a file may be shorter.
pub(super) const PIECE_BYTES: u64 = if cfg!(test) { 1 << 10 } else { 4 << 20 };
/// The checksum behind it.
const CRC_BYTES: usize = 4;

/// Returns where a piece lies.
pub(super) fn piece_path(path: &str, n: u64) -> String {
    format!("{PIECES}/{}@{n}", path.replace('/', "%"))
}

/// Returns the file and the number of a piece by its name.
pub(super) fn piece_of(name: &str) -> Option<(String, u64)> {
    let (path, n) = name.rsplit_once('@')?;
    Some((path.replace('%', "/"), n.parse().ok()?))
}

/// The file.
#[derive(Debug)]
pub(super) struct Away {
    objects: Arc<Objects>,
    path: String,
    size_bytes: u64,
}

impl Away {
    pub(super) fn new(objects: Arc<Objects>, path: String, size_bytes: u64) -> Self {
        Self { objects, path, size_bytes }
    }

    /// Returns the bytes of the `n`th piece in the file.
    fn range(&self, n: u64) -> Range<u64> {
        let start = n * PIECE_BYTES;
        start..(start + PIECE_BYTES).min(self.size_bytes)
    }

    /// Returns the part of the `n`th piece that a range of the file covers, from the piece's start.
    fn part(&self, n: u64, wanted: &Range<u64>) -> Range<usize> {
        let piece = self.range(n);
        let place = |at: u64| usize::try_from(at - piece.start).expect("a piece fits into memory");
        place(wanted.start.max(piece.start))..place(wanted.end.min(piece.end))
    }
}

impl DiskRead for Away {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let end = offset.checked_add(len as u64).filter(|end| *end <= self.size_bytes);
        let wanted = offset..end.ok_or(io::ErrorKind::UnexpectedEof)?;
        if wanted.is_empty() {
            return Ok(Bytes::new());
        }
        let numbers = wanted.start / PIECE_BYTES..(wanted.end - 1) / PIECE_BYTES + 1;
        let mut parts: Vec<(u64, Option<Bytes>)> = numbers
            .map(|n| (n, self.objects.kept_part(&self.path, n, &self.part(n, &wanted))))
            .collect();
        if parts.iter().any(|(_, part)| part.is_none()) {
            self.fill(&mut parts, &wanted)?;
        }
        let parts: Vec<Bytes> = parts.into_iter().filter_map(|(_, part)| part).collect();
        Ok(match parts.as_slice() {
            [alone] => alone.clone(),
            several => several.concat().into(),
        })
    }
}

impl Away {
    /// Fetches the pieces that are not here; who else wants one of them waits.
    fn fill(&self, parts: &mut [(u64, Option<Bytes>)], wanted: &Range<u64>) -> io::Result<()> {
        let objects = &self.objects;
        let hash = usize::try_from(xxh3_64(self.path.as_bytes()) >> 32).unwrap_or(0);
        let _one_at_a_time = objects.fetching[hash % objects.fetching.len()].lock();
        for (n, part) in parts.iter_mut().filter(|(_, part)| part.is_none()) {
            *part = objects.kept_part(&self.path, *n, &self.part(*n, wanted));
        }
        let missing: Vec<u64> =
            parts.iter().filter(|(_, part)| part.is_none()).map(|(n, _)| *n).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let ranges = missing.iter().map(|&n| self.range(n)).collect();
        let mut fetched = objects.fetch(&self.path, ranges)?.into_iter();
        for (n, part) in parts.iter_mut().filter(|(_, part)| part.is_none()) {
            let piece = fetched.next().expect("as many as were asked for");
            objects.keep(&self.path, *n, &piece);
            *part = Some(piece.slice(self.part(*n, wanted)));
        }
        objects.make_room();
        Ok(())
    }
}

impl Objects {
    /// Returns part of a piece that is here.
    fn kept_part(&self, path: &str, n: u64, part: &Range<usize>) -> Option<Bytes> {
        let kept = Kept::Piece(path.to_owned(), n);
        let is_checked = self.cache.touch(&kept)?;
        let read = self.read_piece(path, n, part, is_checked);
        match read {
            Some((bytes, n_bytes)) => {
                if !is_checked {
                    self.cache.put(kept, n_bytes, true);
                }
                self.metrics.count_read(From::Piece);
                Some(bytes)
            }
            None => {
                self.cache.remove(&kept);
                self.remove_local(&piece_path(path, n));
                None
            }
        }
    }

    fn read_piece(
        &self,
        path: &str,
        n: u64,
        part: &Range<usize>,
        is_checked: bool,
    ) -> Option<(Bytes, u64)> {
        let file = self.local.open(&piece_path(path, n)).ok()?;
        let n_bytes = file.size_bytes();
        if is_checked {
            return Some((file.read_at(part.start as u64, part.len()).ok()?, n_bytes));
        }
        let whole = file.read_at(0, usize::try_from(n_bytes).ok()?).ok()?;
        let at = whole.len().checked_sub(CRC_BYTES)?;
        let is_whole = whole[at..] == crc32c(&whole[..at]).to_le_bytes() && part.end <= at;
        is_whole.then(|| (whole.slice(part.clone()), n_bytes))
    }

    /// Fetches ranges of an object.
    fn fetch(&self, path: &str, ranges: Vec<Range<u64>>) -> io::Result<Vec<Bytes>> {
        let Some(remote) = &self.remote else {
            let why = "it is in object storage, and storage.objects.url is not set".to_owned();
            return Err(Unreachable(why).into_io());
        };
        let read = remote.read(path, ranges);
        self.metrics.count(Request::Fetch, read.is_ok());
        let read = read.map_err(|error| match error {
            RemoteError::Missing(_) => io::Error::new(io::ErrorKind::NotFound, error),
            RemoteError::Away(_) => Unreachable(error.to_string()).into_io(),
        })?;
        read.iter().for_each(|bytes| {
            self.metrics.count_read(From::Store);
            self.metrics.fetched_bytes.inc_by(bytes.len() as u64);
        });
        Ok(read)
    }

    /// Keeps a piece. Where there is no room for it, it is fetched again when it is wanted again.
    fn keep(&self, path: &str, n: u64, bytes: &Bytes) {
        let n_bytes = (bytes.len() + CRC_BYTES) as u64;
        if n_bytes > self.config.cache_max.0 {
            return;
        }
        let place = piece_path(path, n);
        let temporary = format!("{place}.tmp");
        let write = || -> io::Result<()> {
            self.local.create_dir_all(PIECES)?;
            let mut file = self.local.create(&temporary)?;
            file.write_all(bytes)?;
            file.write_all(&crc32c(bytes).to_le_bytes())?;
            drop(file);
            self.local.rename(&temporary, &place)
        };
        match write() {
            Ok(()) => self.cache.put(Kept::Piece(path.to_owned(), n), n_bytes, true),
            Err(error) => {
                tracing::debug!(path, n, %error, "a piece of a file was not kept");
                self.remove_local(&temporary);
            }
        }
    }
}
