//! The samples of one commons in one generation.
//!
//! A series gets a slot at its first sample; slots are dense, so the columns below are too. The log
//! names series by slot, and defines each before its first sample: `n_defined` says how far the
//! definitions on disk go, `n_framed` how far those in the group under way would take it.

use hashbrown::HashMap;

use crate::model::ExpHistogram;

use super::chunk::{Arena, Chunk};
use super::starts::Starts;

/// No slot.
const NONE: u32 = u32::MAX;

/// Samples by slot.
#[derive(Debug, Default)]
pub struct MetricsHead {
    slot_of: Vec<u32>,
    series_of: Vec<u32>,
    chunks: Vec<Chunk>,
    arena: Arena,
    exp_histograms: Vec<(u32, i64, ExpHistogram)>,
    /// Where in `exp_histograms` those of a slot are.
    exp_of_slot: HashMap<u32, Vec<u32>>,
    n_exp_bytes: usize,
    starts: Starts,
    /// The earliest and the latest sample, ms since 1970 UTC.
    time_range_ms: Option<(i64, i64)>,
    /// Slots below this are defined on disk.
    pub n_defined: u32,
    /// Slots below this will be, once the group under way is synced.
    pub n_framed: u32,
}

impl MetricsHead {
    /// Returns the slot of a series, giving it one when it has none.
    pub fn slot(&mut self, series_idx: u32) -> u32 {
        let at = series_idx as usize;
        if self.slot_of.len() <= at {
            self.slot_of.resize(at + 1, NONE);
        }
        if self.slot_of[at] == NONE {
            let slot = u32::try_from(self.series_of.len()).expect("slots are fewer than series");
            self.slot_of[at] = slot;
            self.series_of.push(series_idx);
            self.chunks.push(Chunk::default());
        }
        self.slot_of[at]
    }

    /// Returns the slot of a series, or `None` when it has no sample here.
    pub fn find(&self, series_idx: u32) -> Option<u32> {
        self.slot_of.get(series_idx as usize).copied().filter(|&slot| slot != NONE)
    }

    /// Returns the series of the slots that were given out since `from`.
    pub fn series_from(&self, from: u32) -> &[u32] {
        &self.series_of[from as usize..]
    }

    /// Gives a slot read from the log to a series; slots whose definition was lost stay empty.
    pub fn define(&mut self, slot: u32, series_idx: u32) {
        let (slot_at, series_at) = (slot as usize, series_idx as usize);
        if self.series_of.len() <= slot_at {
            self.series_of.resize(slot_at + 1, NONE);
            self.chunks.resize(slot_at + 1, Chunk::default());
        }
        if self.slot_of.len() <= series_at {
            self.slot_of.resize(series_at + 1, NONE);
        }
        self.series_of[slot_at] = series_idx;
        self.slot_of[series_at] = slot;
    }

    /// Returns true when the slot has a series.
    pub fn is_defined(&self, slot: u32) -> bool {
        self.series_of.get(slot as usize).is_some_and(|&series| series != NONE)
    }

    /// Returns the series of a defined slot.
    pub fn series_of(&self, slot: u32) -> u32 {
        self.series_of[slot as usize]
    }

    /// Appends a sample to a slot.
    pub fn append(&mut self, slot: u32, timestamp_ms: i64, value: f64) {
        self.cover(timestamp_ms);
        self.chunks[slot as usize].append(&mut self.arena, timestamp_ms, value);
    }

    /// Appends a sample that says since when it counts, ns since 1970 UTC; 0 is none.
    pub fn append_started(&mut self, slot: u32, timestamp_ms: i64, value: f64, start_ns: i64) {
        let idx = self.chunks[slot as usize].len();
        self.append(slot, timestamp_ms, value);
        // A repeated sample was left out, and with it what it says.
        if self.chunks[slot as usize].len() > idx {
            self.starts.note(slot, idx, start_ns);
        }
    }

    /// Returns true when a sample says since when it counts. From then on all are to be appended with
    /// what they say.
    pub fn has_starts(&self) -> bool {
        !self.starts.is_empty()
    }

    fn cover(&mut self, timestamp_ms: i64) {
        let (first_ms, last_ms) = self.time_range_ms.unwrap_or((timestamp_ms, timestamp_ms));
        self.time_range_ms = Some((first_ms.min(timestamp_ms), last_ms.max(timestamp_ms)));
    }

    /// Returns the times of the earliest and the latest sample, ms since 1970 UTC.
    pub fn time_range_ms(&self) -> Option<(i64, i64)> {
        self.time_range_ms
    }

    /// Appends an exponential histogram to a slot.
    pub fn append_exp(&mut self, slot: u32, timestamp_ms: i64, histogram: ExpHistogram) {
        self.cover(timestamp_ms);
        self.n_exp_bytes += size_of::<(u32, i64, ExpHistogram)>() + 4 + histogram.n_heap_bytes();
        let place = u32::try_from(self.exp_histograms.len()).expect("the head's size is limited");
        self.exp_of_slot.entry(slot).or_default().push(place);
        self.exp_histograms.push((slot, timestamp_ms, histogram));
    }

    /// Walks the histograms of a slot, in arrival order.
    pub fn exp_of(&self, slot: u32) -> impl Iterator<Item = (i64, &ExpHistogram)> {
        self.exp_of_slot.get(&slot).into_iter().flatten().map(|&place| {
            let (_, ms, histogram) = &self.exp_histograms[place as usize];
            (*ms, histogram)
        })
    }

    /// Returns the number of slots.
    pub fn n_slots(&self) -> usize {
        self.series_of.len()
    }

    /// Returns a slot's samples; [`MetricsHead::read`] walks them.
    pub fn chunk(&self, slot: u32) -> &Chunk {
        &self.chunks[slot as usize]
    }

    /// Loads what [`MetricsHead::read`] walks through for some slots, all of them side by side: read one
    /// after the other, each block is waited for alone.
    pub fn warm(&self, slots: impl Iterator<Item = u32>, start_ms: i64) {
        let chunks = slots.map(|slot| &self.chunks[slot as usize]);
        let wanted = chunks.filter(|chunk| !chunk.is_before(start_ms));
        self.arena.warm(wanted.filter_map(Chunk::first_block).collect());
    }

    /// Hands each sample of a slot in `[start_ms, end_ms]` to `visit`, in arrival order.
    pub fn read(&self, slot: u32, start_ms: i64, end_ms: i64, mut visit: impl FnMut(i64, f64)) {
        let chunk = &self.chunks[slot as usize];
        if chunk.is_before(start_ms) {
            return;
        }
        chunk.for_each(&self.arena, |ms, value| {
            if start_ms <= ms && ms <= end_ms {
                visit(ms, value);
            }
        });
    }

    /// Hands each sample of a slot in `[start_ms, end_ms]` to `visit`, in arrival order, and since when
    /// it counts, ns since 1970 UTC, 0 for none.
    pub fn read_started(
        &self,
        slot: u32,
        start_ms: i64,
        end_ms: i64,
        mut visit: impl FnMut(i64, f64, i64),
    ) {
        let mut starts = self.starts.of(slot);
        if starts.is_empty() {
            return self.read(slot, start_ms, end_ms, |ms, value| visit(ms, value, 0));
        }
        self.chunks[slot as usize].for_each(&self.arena, |ms, value| {
            let start_ns = starts.step();
            if start_ms <= ms && ms <= end_ms {
                visit(ms, value, start_ns);
            }
        });
    }

    /// Returns the exponential histograms: (slot, ms since 1970 UTC, histogram), in arrival order.
    pub fn exp_histograms(&self) -> &[(u32, i64, ExpHistogram)] {
        &self.exp_histograms
    }

    /// Returns an estimate of the memory held.
    pub fn size_bytes(&self) -> usize {
        4 * (self.slot_of.capacity() + self.series_of.capacity())
            + size_of::<Chunk>() * self.chunks.capacity()
            + self.row_bytes()
    }

    /// Returns what of it the samples and histograms take.
    pub fn row_bytes(&self) -> usize {
        self.arena.size_bytes() + self.n_exp_bytes + self.starts.size_bytes()
    }

    /// Forgets all samples and histograms, which are in files; the slots stay with their series.
    pub fn forget_rows(&mut self) {
        self.chunks.fill(Chunk::default());
        self.arena = Arena::default();
        self.starts = Starts::default();
        self.exp_histograms = Vec::new();
        self.exp_of_slot = HashMap::new();
        self.n_exp_bytes = 0;
        self.time_range_ms = None;
    }
}

/// Sorts samples by time and keeps the first that arrived of each timestamp. Input that is already
/// strictly ascending, the usual case, is only looked at. The starts are empty, or one a sample.
pub fn sort_first_wins(
    timestamps_ms: &mut Vec<i64>,
    values: &mut Vec<f64>,
    starts_ns: &mut Vec<i64>,
) {
    if timestamps_ms.is_sorted_by(|a, b| a < b) {
        return;
    }
    let mut order: Vec<usize> = (0..timestamps_ms.len()).collect();
    order.sort_by_key(|&idx| timestamps_ms[idx]); // Stable: arrival order within a timestamp.
    order.dedup_by_key(|&mut idx| timestamps_ms[idx]);
    *values = order.iter().map(|&idx| values[idx]).collect();
    if !starts_ns.is_empty() {
        *starts_ns = order.iter().map(|&idx| starts_ns[idx]).collect();
    }
    *timestamps_ms = order.iter().map(|&idx| timestamps_ms[idx]).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_timestamps_wins() {
        let (mut ms, mut values) = (vec![3, 1, 3, 2, 1], vec![30.0, 10.0, 31.0, 20.0, 11.0]);

        let mut starts = vec![3, 1, 4, 2, 5];

        sort_first_wins(&mut ms, &mut values, &mut starts);

        assert_eq!((ms, values, starts), (vec![1, 2, 3], vec![10.0, 20.0, 30.0], vec![1, 2, 3]));
    }

    #[test]
    fn series_get_dense_slots() {
        let mut head = MetricsHead::default();

        assert_eq!([head.slot(70), head.slot(3), head.slot(70)], [0, 1, 0]);
        assert_eq!((head.find(3), head.find(4), head.find(1000)), (Some(1), None, None));
        assert_eq!(head.series_from(1), [3]);
    }

    #[test]
    fn reading_is_limited_to_the_range() {
        let mut head = MetricsHead::default();
        let slot = head.slot(0);
        (0..10).for_each(|ms| head.append(slot, ms, 0.5));

        let mut read = Vec::new();
        head.read(slot, 3, 5, |ms, _| read.push(ms));

        assert_eq!(read, [3, 4, 5]);
    }
}
