//! The series of one commons: labels to index, and an inverted index from labels to series.
//!
//! A series comes with [`Registry::insert`] and leaves with [`Registry::retire`]; when, is for
//! `retire` to say. Its index is then in limbo: its labels stay until the inverted index is purged
//! of it, and it is given out again only after [`Registry::release`]. So an index that a reader found
//! and that lives in a head the reader holds means the same series for as long as it holds it.
//!
//! An active series of twelve labels (260 bytes packed) with one sample costs 339 bytes beside them,
//! counted by `an_active_series_costs_at_most_400_bytes_beside_its_labels`: 155 here (40 in the table
//! of series, 16 counters of the labels, 5 to 9 in the table by labels, 4 to 8 for each label in a
//! list, 17 to 34 for each value that it alone has), 40 in the raw keys, and 144 in the head (56 for
//! its slot, a block of 64, and what vectors keep free).

use hashbrown::{HashMap, HashTable};
use std::sync::Arc;

use crate::model::labels::OVERFLOW;
use crate::model::{Labels, Matcher, SeriesMeta};

use super::held::Held;
use super::metas::Metas;
use super::postings::Postings;
use super::raw_keys::{Epoch, low_half};
use crate::storage::selections::Selections;

/// One registered series.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// xxh3-64 of the packed labels.
    pub id: u64,
    /// The lower half of its newest raw key, 0 for none; earlier ones are in `more_keys`.
    key: u64,
    /// Index of its meta; [`DEAD`] when it has left.
    meta_idx: u32,
    /// When it was last known to be wanted, s on the monotonic clock.
    last_seen_s: u32,
}

/// What the processor loads at once, on most machines.
const CACHE_LINE_BYTES: usize = 64;
/// The meta of a series that has left.
const DEAD: u32 = u32::MAX;
/// Raw keys of one series that are known; past this, the oldest is forgotten. Few series have two,
/// but a sender could make up a header a request.
const KEYS_MAX: usize = 8;

/// What selections may take beside 8 bytes a series.
const SELECTIONS_BYTES: usize = 64 << 10;

impl Series {
    /// Returns true until the series leaves.
    #[inline]
    pub fn is_alive(&self) -> bool {
        self.meta_idx != DEAD
    }
}

/// All series of one commons.
#[derive(Debug)]
pub struct Registry {
    series: Vec<Series>,
    by_labels: HashTable<u32>,
    postings: Postings,
    metas: Metas,
    n_of_metric: HashMap<Arc<str>, usize>,
    more_keys: HashMap<u32, Vec<u64>>,
    n_alive: usize,
    /// Of them, those that stand for others that a limit refused.
    n_overflow: usize,
    /// Of them, those with a label whose name comes before that of the metric.
    n_before_metric: usize,
    n_label_bytes: usize,
    /// Left in this pass or the last; the first `n_purged` are out of the inverted index.
    limbo: Vec<u32>,
    n_purged: usize,
    pass: u32,
    /// Indexes to be given out again, the lowest last.
    free: Vec<u32>,
    /// What was looked up earlier may name indexes that were given out again since.
    valid_from: Epoch,
    no_labels: Labels,
    /// What was selected since a series last came or went.
    selections: Selections,
    /// Those that were active before the start and have not come back yet.
    held: Held,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            series: Vec::new(),
            by_labels: HashTable::new(),
            postings: Postings::default(),
            metas: Metas::default(),
            n_of_metric: HashMap::new(),
            more_keys: HashMap::new(),
            n_alive: 0,
            n_overflow: 0,
            n_before_metric: 0,
            n_label_bytes: 0,
            limbo: Vec::new(),
            n_purged: 0,
            pass: 0,
            free: Vec::new(),
            valid_from: Epoch::default(),
            no_labels: Labels::empty(),
            selections: Selections::default(),
            held: Held::default(),
        }
    }
}

impl Registry {
    /// Returns the number of series, those that have left not counted.
    pub fn len(&self) -> usize {
        self.n_alive
    }

    /// Returns true when nothing is registered.
    pub fn is_empty(&self) -> bool {
        self.n_alive == 0
    }

    /// Returns the number of series that stand for others that a limit refused.
    pub fn n_overflow(&self) -> usize {
        self.n_overflow
    }

    /// Returns true when the order by metric and labels is that of labels, whichever series it is of.
    pub fn all_begin_with_metric(&self) -> bool {
        self.n_before_metric == 0
    }

    /// Returns the number of series of a metric.
    pub fn n_of_metric(&self, metric: &str) -> usize {
        self.n_of_metric.get(metric).copied().unwrap_or(0)
    }

    /// Returns the number of series that a limit counts: those that are here, and those whose places are
    /// held.
    pub fn n_places(&self) -> usize {
        self.n_alive + self.held.len()
    }

    /// Returns the number of series of a metric that a limit counts.
    pub fn n_places_of_metric(&self, metric: &str) -> usize {
        self.n_of_metric(metric) + self.held.n_of_metric(metric)
    }

    /// Returns the number of held places.
    pub fn n_held(&self) -> usize {
        self.held.len()
    }

    /// Returns true when the place of a series is held: no limit refuses it.
    pub fn is_held(&self, labels: &Labels) -> bool {
        self.held.has(labels)
    }

    /// Holds the places of series, but for those that are here by now; from the start on.
    pub fn hold(&mut self, mut held: Held) {
        assert!(self.held.is_empty(), "places are held once, at the start");
        let here = |id: u64| self.labels_of_id(id).map(|labels| (id, labels));
        let back: Vec<(u64, Labels)> = held.ids().filter_map(here).collect();
        back.iter().for_each(|(id, labels)| held.take(*id, labels.metric()));
        self.held = held;
    }

    /// Gives up places that have been held since `idle_since_s`, s on the monotonic clock, or longer;
    /// returns how many.
    pub fn forget_held(&mut self, idle_since_s: u32) -> usize {
        self.held.forget(idle_since_s)
    }

    /// Returns the index of the series with these labels.
    pub fn find(&self, labels: &Labels) -> Option<u32> {
        let id = labels.series_id();
        self.by_labels.find(id, |&idx| self.series[idx as usize].labels == *labels).copied()
    }

    /// Returns true when a series has this id.
    pub fn has_id(&self, id: u64) -> bool {
        self.by_labels.find(id, |&idx| self.series[idx as usize].id == id).is_some()
    }

    /// Returns the labels of a series with this id.
    pub fn labels_of_id(&self, id: u64) -> Option<Labels> {
        let found = self.by_labels.find(id, |&idx| self.series[idx as usize].id == id)?;
        Some(self.series[*found as usize].labels.clone())
    }

    /// Registers a series that [`Registry::find`] did not find, and returns its index.
    pub fn insert(&mut self, labels: &Labels, meta: &SeriesMeta, now_s: u32) -> u32 {
        self.selections.clear();
        let id = labels.series_id();
        self.held.take(id, labels.metric());
        let meta_idx = self.metas.take(meta);
        let new = Series { labels: labels.clone(), id, key: 0, meta_idx, last_seen_s: now_s };
        let idx = match self.free.pop() {
            Some(idx) => {
                assert!(!self.series[idx as usize].is_alive(), "a free index has no series");
                self.series[idx as usize] = new;
                idx
            }
            None => {
                self.series.push(new);
                u32::try_from(self.series.len() - 1).expect("the limit of series is far below")
            }
        };
        let series = &self.series;
        self.postings.add(series, idx);
        self.by_labels.insert_unique(id, idx, |&idx| series[idx as usize].id);
        *self.n_of_metric.entry_ref(labels.metric()).or_default() += 1;
        self.n_alive += 1;
        self.n_overflow += usize::from(labels.get(OVERFLOW).is_some());
        self.n_before_metric += usize::from(!labels.begins_with_metric());
        self.n_label_bytes += labels.packed().len();
        idx
    }

    /// Notes a new raw key of a series; returns the lower half of one that is forgotten for it.
    pub fn add_key(&mut self, idx: u32, key: u128) -> Option<u64> {
        let before = std::mem::replace(&mut self.series[idx as usize].key, low_half(key));
        if before == 0 {
            return None;
        }
        let more = self.more_keys.entry(idx).or_default();
        more.push(before);
        (more.len() >= KEYS_MAX).then(|| more.remove(0))
    }

    /// Says that a series was wanted at `now_s`, s on the monotonic clock.
    pub fn touch(&mut self, idx: u32, now_s: u32) {
        let series = &mut self.series[idx as usize];
        series.last_seen_s = series.last_seen_s.max(now_s);
    }

    /// Returns true when the series was last wanted at `idle_since_s` or earlier.
    pub fn is_idle(&self, idx: u32, idle_since_s: u32) -> bool {
        let series = &self.series[idx as usize];
        series.is_alive() && series.last_seen_s <= idle_since_s
    }

    /// Returns the idle series among the `n` indexes from `from` on; `None` past the last index.
    pub fn idle(&self, from: usize, n: usize, idle_since_s: u32) -> Option<Vec<u32>> {
        let end = (from + n).min(self.series.len());
        let indexes = (0..).take(end).skip(from);
        (from < end).then(|| indexes.filter(|&idx| self.is_idle(idx, idle_since_s)).collect())
    }

    /// Takes a series off the registry; returns the lower halves of its raw keys. Its index is in
    /// limbo from now on.
    pub fn retire(&mut self, idx: u32) -> impl Iterator<Item = u64> + use<> {
        self.selections.clear();
        let series = &mut self.series[idx as usize];
        assert!(series.is_alive(), "a series leaves once");
        self.metas.give_back(std::mem::replace(&mut series.meta_idx, DEAD));
        let (id, key) = (series.id, series.key);
        let entry = self.by_labels.find_entry(id, |&other| other == idx);
        entry.expect("what is registered is in the table by labels").remove();
        let labels = &self.series[idx as usize].labels;
        self.n_overflow -= usize::from(labels.get(OVERFLOW).is_some());
        self.n_before_metric -= usize::from(!labels.begins_with_metric());
        let metric = labels.metric();
        let n_left = self.n_of_metric.get_mut(metric).expect("it was counted when it came");
        *n_left -= 1;
        if *n_left == 0 {
            self.n_of_metric.remove(metric);
        }
        self.n_alive -= 1;
        self.limbo.push(idx);
        self.more_keys.remove(&idx).unwrap_or_default().into_iter().chain([key])
    }

    /// Takes series in limbo out of the inverted index, about `n_entries_max` entries of it; returns
    /// true when there are more.
    pub fn purge(&mut self, n_entries_max: usize) -> bool {
        let mut n_entries = 0;
        while self.n_purged < self.limbo.len() {
            if n_entries >= n_entries_max {
                return true;
            }
            let idx = self.limbo[self.n_purged];
            n_entries += self.postings.purge(&self.series, idx, self.pass);
            let series = &mut self.series[idx as usize];
            self.n_label_bytes -= series.labels.packed().len();
            series.labels = self.no_labels.clone();
            self.n_purged += 1;
        }
        false
    }

    /// Begins a pass: the indexes that the last one left in limbo, and purged, may be given out
    /// again, and what was looked up before `epoch` is no longer good.
    pub fn release(&mut self, epoch: Epoch) {
        self.pass += 1;
        if self.limbo.is_empty() {
            return;
        }
        assert_eq!(self.n_purged, self.limbo.len(), "a pass ends when all are purged");
        self.n_purged = 0;
        self.valid_from = epoch;
        self.free.append(&mut self.limbo);
        self.free.sort_unstable_by(|a, b| b.cmp(a));
        self.shrink();
    }

    /// Gives memory back that a burst of series has left behind.
    fn shrink(&mut self) {
        self.limbo.shrink_to(1024);
        let from_end = (0..self.series.len()).rev();
        let n_at_end =
            self.free.iter().zip(from_end).take_while(|(a, b)| **a as usize == *b).count();
        self.free.drain(..n_at_end);
        self.series.truncate(self.series.len() - n_at_end);
        if self.series.capacity() / 4 > self.series.len() {
            self.series.shrink_to(2 * self.series.len());
            self.free.shrink_to_fit();
        }
        if self.by_labels.capacity() / 4 > self.by_labels.len() {
            let series = &self.series;
            let hasher = |&idx: &u32| series[idx as usize].id;
            self.by_labels.shrink_to(2 * self.by_labels.len(), hasher);
        }
    }

    /// Returns true when an index that was looked up at `epoch` still means the same series.
    pub fn is_valid(&self, idx: u32, epoch: Epoch) -> bool {
        epoch >= self.valid_from && self.series.get(idx as usize).is_some_and(Series::is_alive)
    }

    /// Returns a registered series.
    pub fn series(&self, idx: u32) -> &Series {
        let series = &self.series[idx as usize];
        assert!(series.is_alive(), "whoever holds an index holds a head that keeps its series");
        series
    }

    /// Loads the labels of some series side by side: who clones one after the other waits for each alone.
    pub fn warm(&self, some: impl Iterator<Item = u32>) {
        let labels = some.map(|idx| self.series[idx as usize].labels.packed());
        let lines = labels.flat_map(|packed| packed.iter().step_by(CACHE_LINE_BYTES));
        std::hint::black_box(lines.fold(0, |sum: u8, byte| sum ^ byte));
    }

    /// Returns what is known of a series beside its labels.
    pub fn meta(&self, idx: u32) -> &SeriesMeta {
        self.metas.get(self.series(idx).meta_idx)
    }

    /// Walks the indexes of all series.
    pub fn indexes(&self) -> impl Iterator<Item = u32> {
        (0..).take(self.series.len()).filter(|&idx| self.series[idx as usize].is_alive())
    }

    /// Returns the indexes of the series that meet all conditions, in the order of metric and labels.
    pub fn selected(&self, matchers: &[Matcher]) -> Arc<[u32]> {
        let labels = |idx: &u32| &self.series[*idx as usize].labels;
        self.selections.get(matchers, 8 * self.series.len() + SELECTIONS_BYTES, || {
            let mut found = self.select(matchers);
            found.sort_by(|a, b| labels(a).cmp_by_metric(labels(b)));
            found
        })
    }

    /// Returns the indexes of the series that meet all conditions, ascending.
    pub fn select(&self, matchers: &[Matcher]) -> Vec<u32> {
        // Conditions that an absent label meets cannot be answered from postings alone; they filter.
        let (mut filters, mut lookups): (Vec<&Matcher>, Vec<&Matcher>) =
            matchers.iter().partition(|matcher| matcher.matches_empty());
        if let Some(rarest) = self.rarest(&lookups) {
            filters.extend(lookups.drain(..rarest).collect::<Vec<_>>());
            filters.extend(lookups.drain(1..));
        }
        let lookup = |matcher: &&Matcher| self.postings.lookup(&self.series, matcher);
        let mut lists: Vec<Vec<u32>> = lookups.iter().map(lookup).collect();
        lists.sort_by_key(Vec::len);
        let mut lists = lists.into_iter();
        let first = lists.next().unwrap_or_else(|| self.indexes().collect());
        let mut found = lists.fold(first, |found, list| intersect(&found, &list));
        found.retain(|&idx| {
            let series = &self.series[idx as usize];
            let value = |matcher: &Matcher| series.labels.get(&matcher.name).unwrap_or("");
            series.is_alive() && filters.iter().all(|matcher| matcher.matches(value(matcher)))
        });
        found
    }

    /// Returns which condition is met by so few series that it costs less to look at each one's labels
    /// than to look the other conditions up.
    fn rarest(&self, lookups: &[&Matcher]) -> Option<usize> {
        /// A look at a label takes as long as copying so many entries of a list.
        const LOOK: usize = 128;
        let listed = lookups.iter().map(|m| self.postings.n_listed(&self.series, m));
        let listed: Vec<Option<usize>> = listed.collect();
        let (rarest, n) = listed
            .iter()
            .enumerate()
            .filter_map(|(at, n)| Some((at, (*n)?)))
            .min_by_key(|p| p.1)?;
        let costs = lookups.iter().zip(&listed).enumerate().filter(|(at, _)| *at != rarest);
        let costs = costs.map(|(_, (matcher, n))| match n {
            Some(n) => *n,
            None => LOOK.saturating_mul(self.postings.n_values(&matcher.name)),
        });
        let cost = costs.fold(0, usize::saturating_add);
        (n.saturating_mul(LOOK).saturating_mul(lookups.len() - 1) < cost).then_some(rarest)
    }

    /// Returns each value of a label and how many series have it, some that just left among them.
    pub fn counts<'a>(&'a self, label: &'a str) -> impl Iterator<Item = (&'a str, usize)> {
        self.postings.counts(&self.series, label)
    }

    /// Returns each value of a label and the series that have it, some that just left among them.
    pub fn listed<'a>(&'a self, label: &'a str) -> impl Iterator<Item = (&'a str, &'a [u32])> {
        self.postings.listed(&self.series, label)
    }

    /// Returns each name of a label and the series that have it, some that just left among them.
    pub fn listed_names(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = u32>)> {
        self.postings.listed_names()
    }

    /// Panics unless all tables say the same, for tests.
    #[cfg(test)]
    pub(in crate::storage) fn check(&self) {
        let mut wanted = Vec::new();
        let mut n_of_metric: HashMap<Arc<str>, usize> = HashMap::new();
        for idx in self.indexes() {
            let labels = &self.series(idx).labels;
            assert_eq!(self.find(labels), Some(idx), "{labels}");
            wanted.extend(labels.iter().map(|(name, value)| (name, value, idx)));
            *n_of_metric.entry_ref(labels.metric()).or_default() += 1;
        }
        let is_alive = |(_, _, idx): &(&str, &str, u32)| self.series[*idx as usize].is_alive();
        let entries = self.postings.entries(&self.series);
        let mut found: Vec<_> = entries.filter(is_alive).collect();
        wanted.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, wanted);
        assert_eq!(self.indexes().count(), self.len());
        assert_eq!(self.by_labels.len(), self.len());
        assert_eq!(self.n_of_metric, n_of_metric);
        let all = self.indexes().all(|idx| self.series(idx).labels.begins_with_metric());
        assert_eq!(self.all_begin_with_metric(), all);
        assert_eq!(self.len() + self.limbo.len() + self.free.len(), self.series.len());
    }

    /// Returns an estimate of the memory held, labels included.
    pub fn size_bytes(&self) -> usize {
        self.n_label_bytes
            + (self.n_alive + self.limbo.len()) * 16
            + self.series.capacity() * size_of::<Series>()
            + self.by_labels.allocation_size()
            + self.postings.size_bytes()
            + 4 * (self.free.capacity() + self.limbo.capacity())
            + self.selections.n_bytes()
            + self.held.size_bytes()
    }
}

fn intersect(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut rest = b;
    let mut both = Vec::with_capacity(a.len().min(b.len()));
    for &idx in a {
        let skip = rest.partition_point(|&other| other < idx);
        rest = &rest[skip..];
        if rest.first() == Some(&idx) {
            both.push(idx);
        }
    }
    both
}
