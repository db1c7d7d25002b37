//! Samples that were read of files lately, decoded, up to a size.
//!
//! A dashboard asks for the same hours at each refresh and a rule for the same days at each evaluation,
//! and to read a sample takes several times as long as to compute with it. Files never change, so
//! what was read of one stays true. A value takes 8 bytes; times are kept once for neighbours that have
//! the same, as the series of one scrape do.

use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};

use super::of_groups::{Counted, OfGroups};
use super::read_runs::Piece;

/// Samples of one series, in the order of the file, which is that of time.
#[derive(Debug, Clone)]
pub struct Samples {
    /// ms since 1970 UTC.
    pub timestamps_ms: Arc<[i64]>,
    /// One value a timestamp.
    pub values: Arc<[f64]>,
}

/// Samples that were read of a row group, with the rows they were read of.
pub(super) type Read = Vec<(Range<u32>, Samples)>;

/// What a run takes beside its samples: its place in the table, two counts of references.
const RUN_BYTES: usize = 112;

/// What is kept of a row group.
#[derive(Debug, Default)]
struct Group {
    /// By the first row and the row after the last.
    runs: HashMap<(u32, u32), Kept>,
    n_bytes: usize,
}

#[derive(Debug)]
struct Kept {
    samples: Samples,
    /// Times count for the first of those that have them.
    n_bytes: usize,
}

/// Samples of files.
#[derive(Debug)]
pub struct SampleCache {
    groups: Mutex<OfGroups<Arc<RwLock<Group>>>>,
    bytes_max: usize,
    counted: Counted,
}

impl Default for SampleCache {
    fn default() -> Self {
        Self::new(64 << 20, Counted::default())
    }
}

impl SampleCache {
    /// Returns an empty cache of so many bytes.
    pub fn new(bytes_max: usize, counted: Counted) -> Self {
        Self { groups: Mutex::default(), bytes_max, counted }
    }

    /// Returns what is held, in bytes.
    pub fn n_bytes(&self) -> usize {
        self.groups.lock().n_bytes()
    }

    /// Returns whether a question about so many rows is worth keeping: one that reads a large part of
    /// what there is room for would only drive out what others ask for.
    pub fn has_room_for(&self, n_rows: usize) -> bool {
        n_rows.saturating_mul(8) <= self.bytes_max / 2
    }

    /// Returns what is known of each piece, which are sorted by row group.
    pub(super) fn kept(&self, path: &str, pieces: &[Piece]) -> Vec<Option<Samples>> {
        let mut found = Vec::with_capacity(pieces.len());
        for of_group in pieces.chunk_by(|a, b| a.group_idx == b.group_idx) {
            let group = self.groups.lock().get(path, &of_group[0].group_idx);
            let group = group.as_ref().map(|group| group.read());
            let of = |piece: &Piece| {
                let kept = group.as_ref()?.runs.get(&key(&piece.rows))?;
                Some(kept.samples.clone())
            };
            found.extend(of_group.iter().map(of));
        }
        let n_hits = found.iter().flatten().count() as u64;
        self.counted.hits.inc_by(n_hits);
        self.counted.misses.inc_by(found.len() as u64 - n_hits);
        found
    }

    /// Keeps what was read of a row group.
    pub(super) fn keep(&self, (path, group_idx): (&str, u32), read: Read) {
        let mut groups = self.groups.lock();
        let group = groups.get(path, &group_idx).unwrap_or_default();
        let n_bytes = group.write().extend(read);
        groups.put((path, group_idx), group, n_bytes);
        if groups.n_bytes() > self.bytes_max {
            groups.shrink(self.bytes_max / 8 * 7);
        }
        self.counted.bytes.set(i64::try_from(groups.n_bytes()).unwrap_or(i64::MAX));
    }
}

impl Group {
    /// Adds runs and returns what all of them take.
    fn extend(&mut self, read: Read) -> usize {
        let mut last: Option<Arc<[i64]>> = None;
        for (rows, samples) in read {
            let times = &samples.timestamps_ms;
            let is_shared = last.as_ref().is_some_and(|last| Arc::ptr_eq(last, times));
            let n_time_bytes = if is_shared { 0 } else { size_of_val(&**times) };
            last = Some(Arc::clone(times));
            let n_bytes = RUN_BYTES + size_of_val(&*samples.values) + n_time_bytes;
            let before = self.runs.insert(key(&rows), Kept { samples, n_bytes });
            self.n_bytes += n_bytes;
            self.n_bytes -= before.map_or(0, |kept| kept.n_bytes);
        }
        self.n_bytes
    }
}

fn key(rows: &Range<u32>) -> (u32, u32) {
    (rows.start, rows.end)
}

/// Gathers what is read of a row group.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    group_idx: u32,
    done: Read,
    /// Of the piece under way.
    timestamps_ms: Vec<i64>,
    values: Vec<f64>,
}

impl Gathered {
    /// Takes some samples of the piece under way.
    pub(super) fn add(&mut self, timestamps_ms: &[i64], values: &[f64]) {
        self.timestamps_ms.extend_from_slice(timestamps_ms);
        self.values.extend_from_slice(values);
    }

    /// Ends a piece; what was read of another row group was taken before.
    pub(super) fn end(&mut self, piece: &Piece) {
        assert!(self.done.is_empty() || self.group_idx == piece.group_idx, "one group at a time");
        self.group_idx = piece.group_idx;
        let last = self.done.last().map(|(_, samples)| &samples.timestamps_ms);
        let timestamps_ms = match last.filter(|last| ***last == *self.timestamps_ms) {
            Some(same) => Arc::clone(same),
            None => Arc::from(&*self.timestamps_ms),
        };
        let samples = Samples { timestamps_ms, values: Arc::from(&*self.values) };
        self.done.push((piece.rows.clone(), samples));
        self.timestamps_ms.clear();
        self.values.clear();
    }

    /// Returns the row group that ends when the next piece that is read is of another, and what was read
    /// of it.
    pub(super) fn take_before(&mut self, next: Option<&Piece>) -> Option<(u32, Read)> {
        let ends = next.is_none_or(|next| next.group_idx != self.group_idx);
        (ends && !self.done.is_empty()).then(|| (self.group_idx, std::mem::take(&mut self.done)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(group_idx: u32, rows: Range<u32>) -> Piece {
        Piece { place: 0, group_idx, rows }
    }

    fn read(cache: &SampleCache, pieces: &[Piece]) {
        let mut gathered = Gathered::default();
        for (at, piece) in pieces.iter().enumerate() {
            let times: Vec<i64> = piece.rows.clone().map(i64::from).collect();
            gathered.add(&times, &vec![f64::from(piece.rows.start); times.len()]);
            gathered.end(piece);
            if let Some((group_idx, read)) = gathered.take_before(pieces.get(at + 1)) {
                cache.keep(("a", group_idx), read);
            }
        }
    }

    #[test]
    fn what_was_read_is_kept_by_its_rows() {
        let cache = SampleCache::default();
        let pieces = [piece(0, 0..3), piece(0, 3..5), piece(1, 0..3)];

        read(&cache, &pieces);

        let kept = cache.kept("a", &pieces);
        let values: Vec<_> = kept.iter().map(|kept| kept.as_ref().unwrap().values[0]).collect();
        assert_eq!(values, [0.0, 3.0, 0.0]);
        for other in [piece(0, 0..4), piece(0, 1..3), piece(2, 0..3)] {
            assert!(cache.kept("a", &[other])[0].is_none());
        }
        assert!(cache.kept("b", &pieces).iter().all(Option::is_none));
    }

    #[test]
    fn it_stays_within_its_size() {
        let cache = SampleCache::new(10_000, Counted::default());

        for group_idx in 0..100 {
            read(&cache, &[piece(group_idx, 0..50)]);
            assert!(cache.n_bytes() <= 10_000, "{}", cache.n_bytes());
        }

        assert!(cache.n_bytes() > 7_000);
        assert!(cache.kept("a", &[piece(0, 0..50)])[0].is_none());
        assert!(cache.kept("a", &[piece(99, 0..50)])[0].is_some());
    }

    #[test]
    fn neighbours_with_the_same_times_share_them() {
        let mut gathered = Gathered::default();
        for at in 0..3 {
            gathered.add(&[1, 2, 3], &[0.5; 3]);
            gathered.end(&piece(0, 3 * at..3 * at + 3));
        }

        let (_, read) = gathered.take_before(None).unwrap();

        assert!(Arc::ptr_eq(&read[0].1.timestamps_ms, &read[2].1.timestamps_ms));
    }
}
