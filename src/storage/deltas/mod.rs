//! Differences become totals: what comes with delta temporality is added up, series by series.
//!
//! PromQL counts with totals, so a total is what is stored. It is made by the thread that writes, in the
//! order of the log: a difference counts once it is synced, and one whose request was refused never does,
//! however many requests are under way. The rules are those of OpenTelemetry's deltatocumulative
//! processor ([`sum`]).
//!
//! The total of a series is kept ([`State`]) as long as the series is active. A frame of the log holds the
//! totals and not the differences, so a replay that meets a frame twice changes nothing; before the log
//! is cut, all of them are written to one file ([`file`]), in a rename. So a restart goes on counting where
//! the last acknowledged request ended. When the file is damaged it is set aside and counting begins anew,
//! which PromQL takes for the reset of a counter.
//!
//! ```text
//! request -> Part::Deltas -> [writer: add, frame, sync, keep] -> totals in the head -> files
//!                                             |
//!                                  parquet/totals.bin, before the log is cut
//! ```

pub mod file;
pub mod histogram;
pub mod sum;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::ExpHistogram;

use super::head::CommonsEntry;
use super::head::registry::Registry;
use super::shared::Shared;
pub use sum::Why;

/// One difference of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Delta {
    /// The series' index in its commons.
    pub series_idx: u32,
    /// When the difference begins, ns since 1970 UTC; 0 when the sender does not say.
    pub start_ns: i64,
    /// When it ends, ns since 1970 UTC.
    pub time_ns: i64,
    /// What the parts of one histogram share: its bounds. With another shape, counting begins anew.
    pub shape: u64,
    /// How much.
    pub difference: Difference,
    /// Which data point of its request it is of: the parts of a histogram follow one another, and have
    /// the same number.
    pub point_no: u64,
}

/// How much a difference is.
#[derive(Debug, Clone, PartialEq)]
pub enum Difference {
    /// A number.
    Number(f64),
    /// An exponential histogram.
    Histogram(Box<ExpHistogram>),
    /// There is no value any more: the series ends, and its total stays.
    End,
}

/// The total of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Since when it counts, ns since 1970 UTC.
    pub start_ns: i64,
    /// Up to when, ns since 1970 UTC.
    pub time_ns: i64,
    /// See [`Delta::shape`].
    pub shape: u64,
    /// The total.
    pub total: Total,
}

/// How much a total is.
#[derive(Debug, Clone, PartialEq)]
pub enum Total {
    /// A number.
    Number(f64),
    /// An exponential histogram.
    Histogram(Box<ExpHistogram>),
}

/// What becomes of a difference: a sample, and what is kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Summed {
    /// The total, which is the sample.
    Total(State),
    /// The series ends at this time, ns since 1970 UTC.
    End(i64),
}

impl Summed {
    /// Returns the sample's time, ms since 1970 UTC.
    pub fn time_ms(&self) -> i64 {
        let time_ns = match self {
            Summed::Total(state) => state.time_ns,
            Summed::End(time_ns) => *time_ns,
        };
        time_ns.div_euclid(1_000_000)
    }
}

/// How many data points of one request were left out, and why; the request's sender is told.
#[derive(Debug, Default)]
pub struct LeftOut {
    counts: [AtomicU64; Why::ALL.len()],
}

impl LeftOut {
    fn note(&self, why: Why) {
        self.counts[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the counts, for those that are not 0.
    pub fn counts(&self) -> impl Iterator<Item = (Why, u64)> {
        let count = |why: Why| (why, self.counts[why as usize].load(Ordering::Relaxed));
        Why::ALL.into_iter().map(count).filter(|(_, n)| *n > 0)
    }
}

/// The totals of one commons.
#[derive(Debug, Default)]
pub struct Totals {
    of_series: HashMap<u32, State>,
    /// Read at the start, by the id of a series that has sent nothing since.
    waiting: HashMap<u64, State>,
    /// When the start was, s on the monotonic clock.
    waiting_since_s: u32,
}

impl Totals {
    /// Returns the number of totals.
    pub fn len(&self) -> usize {
        self.of_series.len() + self.waiting.len()
    }

    /// Returns true when there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the total of a series; `id` is asked only while some wait for their series.
    pub fn get(&mut self, series_idx: u32, id: impl FnOnce() -> u64) -> Option<&State> {
        if !self.waiting.is_empty()
            && !self.of_series.contains_key(&series_idx)
            && let Some(state) = self.waiting.remove(&id())
        {
            self.of_series.insert(series_idx, state);
        }
        self.of_series.get(&series_idx)
    }

    /// Replaces the total of a series.
    pub fn put(&mut self, series_idx: u32, state: State) {
        self.of_series.insert(series_idx, state);
    }

    /// Takes over a total from the log, unless a later one is known.
    pub fn restore(&mut self, series_idx: u32, id: u64, state: State) {
        if self.get(series_idx, || id).is_none_or(|known| known.time_ns < state.time_ns) {
            self.put(series_idx, state);
        }
    }

    /// Forgets the total of a series that has left.
    pub fn remove(&mut self, series_idx: u32) {
        self.of_series.remove(&series_idx);
    }

    /// Takes over totals from the file.
    pub fn wait(&mut self, states: impl IntoIterator<Item = (u64, State)>, now_s: u32) {
        self.waiting.extend(states);
        self.waiting_since_s = now_s;
    }

    /// Forgets the totals whose series have not come since a start that long ago.
    pub fn forget_waiting(&mut self, idle_since_s: u32) {
        if self.waiting_since_s <= idle_since_s {
            self.waiting = HashMap::new();
        }
    }

    /// Hands over all totals with the ids of their series.
    fn for_each(&self, id_of: impl Fn(u32) -> u64, mut visit: impl FnMut(u64, &State)) {
        self.of_series.iter().for_each(|(&idx, state)| visit(id_of(idx), state));
        self.waiting.iter().for_each(|(&id, state)| visit(id, state));
    }
}

/// The totals of the group under way: they count once it is synced.
#[derive(Debug, Default)]
pub struct Adding {
    /// By the indexes of commons and series.
    staged: HashMap<(u32, u32), State>,
    /// How many of them are the first of their series, by the index of the commons.
    n_first: HashMap<u32, usize>,
}

impl Adding {
    /// Adds differences of series of one commons up; the data points that cannot be are counted.
    pub fn add_up(
        &mut self,
        shared: &Shared,
        (commons_idx, entry): (u32, &CommonsEntry),
        mut deltas: Vec<Delta>,
        left_out: &LeftOut,
    ) -> Vec<(u32, Summed)> {
        let registry = entry.registry.read();
        let mut totals = entry.totals.lock();
        let Self { staged, n_first } = self;
        let mut known = Known {
            commons_idx,
            registry: &registry,
            totals: &mut totals,
            staged,
            n_first: n_first.entry(commons_idx).or_default(),
            max: shared.config.delta_series_per_commons,
        };
        // A collector puts together what came to it in any order. The parts of a point stay together, as
        // the sort is a stable one.
        deltas.sort_by_key(|delta| delta.time_ns);
        let mut summed = Vec::with_capacity(deltas.len());
        for point in deltas.chunk_by_mut(|a, b| a.point_no == b.point_no) {
            let n_before = summed.len();
            match known.add_point(point, &mut summed) {
                Ok(n_first) => known.stage(&summed[n_before..], n_first),
                Err(why) => {
                    summed.truncate(n_before);
                    left_out.note(why);
                    shared.metrics.left_out_deltas(why).inc();
                }
            }
        }
        summed
    }

    /// Keeps the totals of a group that is synced.
    pub fn settle(&mut self, shared: &Shared) {
        self.n_first.clear();
        if self.staged.is_empty() {
            return;
        }
        for ((commons_idx, series_idx), state) in self.staged.drain() {
            shared.commons.get(commons_idx).totals.lock().put(series_idx, state);
        }
        shared.totals_changed.store(true, Ordering::Release);
    }

    /// Forgets the totals of a group that is not.
    pub fn forget(&mut self) {
        self.n_first.clear();
        self.staged.clear();
    }
}

/// What there is of one commons while its differences are added up.
struct Known<'a> {
    commons_idx: u32,
    registry: &'a Registry,
    totals: &'a mut Totals,
    staged: &'a mut HashMap<(u32, u32), State>,
    /// How many of the staged are the first of their series.
    n_first: &'a mut usize,
    /// The most totals of the commons.
    max: usize,
}

impl Known<'_> {
    /// Adds the parts of one data point up, all of them or none: a histogram that has some of its buckets
    /// only would be another one. Returns how many are the first of their series.
    fn add_point(
        &mut self,
        point: &mut [Delta],
        summed: &mut Vec<(u32, Summed)>,
    ) -> Result<usize, Why> {
        let (mut n_first, is_alone) = (0, point.len() == 1);
        for delta in point {
            let (series_idx, time_ns) = (delta.series_idx, delta.time_ns);
            let difference = std::mem::replace(&mut delta.difference, Difference::End);
            if matches!(difference, Difference::End) {
                summed.push((series_idx, Summed::End(time_ns)));
                continue;
            }
            match self.add_part(Delta { difference, ..*delta }, n_first) {
                Ok((state, is_first)) => {
                    n_first += usize::from(is_first);
                    summed.push((series_idx, Summed::Total(state)));
                }
                // What a histogram counts is right also where one value made its sum a NaN.
                Err(Why::NotFinite) if !is_alone => {}
                Err(why) => return Err(why),
            }
        }
        Ok(n_first)
    }

    /// Adds one part up; `n_first` parts of its point are the first of their series. Returns whether it is
    /// one too.
    fn add_part(&mut self, delta: Delta, n_first: usize) -> Result<(State, bool), Why> {
        // Most of a group are totals that are kept already, and these take no room.
        let has_room = self.totals.len() + *self.n_first + n_first < self.max;
        let before = self.before(delta.series_idx);
        let is_first = before.is_none();
        if is_first && !has_room {
            return Err(Why::NoRoom);
        }
        Ok((sum::add(before, delta)?, is_first))
    }

    /// Returns what a series has come to, the group under way included.
    fn before(&mut self, series_idx: u32) -> Option<&State> {
        let registry = self.registry;
        match self.staged.get(&(self.commons_idx, series_idx)) {
            Some(staged) => Some(staged),
            None => self.totals.get(series_idx, || registry.series(series_idx).id),
        }
    }

    /// Takes the totals of a data point into the group.
    fn stage(&mut self, point: &[(u32, Summed)], n_first: usize) {
        *self.n_first += n_first;
        for (series_idx, summed) in point {
            if let Summed::Total(state) = summed {
                self.staged.insert((self.commons_idx, *series_idx), state.clone());
            }
        }
    }
}

/// Who hears of points that were left out.
pub type Told = Arc<LeftOut>;
