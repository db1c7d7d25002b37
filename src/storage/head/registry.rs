//! The series of one commons: labels to index, and an inverted index from labels to series.
//!
//! A series keeps its index for as long as the process runs, so a reader that found it can use the
//! index after letting go of the lock.

use std::sync::Arc;

use hashbrown::{HashMap, HashTable};

use crate::model::{Labels, MatchOp, Matcher, SeriesMeta};

/// One registered series.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// xxh3-64 of the packed labels.
    pub id: u64,
    /// Index into the registry's metas.
    meta_idx: u32,
}

type Postings = HashMap<Arc<str>, HashMap<Arc<str>, Vec<u32>>>;

/// All series of one commons.
#[derive(Debug, Default)]
pub struct Registry {
    series: Vec<Series>,
    by_labels: HashTable<u32>,
    postings: Postings,
    metas: Vec<SeriesMeta>,
    n_label_bytes: usize,
}

impl Registry {
    /// Returns the number of series.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Returns true when nothing is registered.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Returns the index of the series with these labels.
    pub fn find(&self, labels: &Labels) -> Option<u32> {
        let id = labels.series_id();
        self.by_labels.find(id, |&idx| self.series[idx as usize].labels == *labels).copied()
    }

    /// Registers a series that [`Registry::find`] did not find, and returns its index.
    pub fn insert(&mut self, labels: &Labels, meta: &SeriesMeta) -> u32 {
        let idx = u32::try_from(self.series.len()).expect("limits.series_per_commons is far below");
        let id = labels.series_id();
        let meta_idx = self.meta_idx(meta);
        for (name, value) in labels.iter() {
            posting(&mut self.postings, name, value).push(idx);
        }
        self.n_label_bytes += labels.packed().len();
        self.series.push(Series { labels: labels.clone(), id, meta_idx });
        let series = &self.series;
        self.by_labels.insert_unique(id, idx, |&idx| series[idx as usize].id);
        idx
    }

    // A commons has a handful of (kind, temporality, unit) triples.
    fn meta_idx(&mut self, meta: &SeriesMeta) -> u32 {
        let place = self.metas.iter().rposition(|known| known == meta).unwrap_or_else(|| {
            self.metas.push(meta.clone());
            self.metas.len() - 1
        });
        u32::try_from(place).expect("there are fewer metas than series")
    }

    /// Returns a registered series.
    pub fn series(&self, idx: u32) -> &Series {
        &self.series[idx as usize]
    }

    /// Returns what is known of a series beside its labels.
    pub fn meta(&self, idx: u32) -> &SeriesMeta {
        &self.metas[self.series(idx).meta_idx as usize]
    }

    /// Walks all series in the order they were registered.
    pub fn iter(&self) -> impl Iterator<Item = &Series> {
        self.series.iter()
    }

    /// Returns the indexes of the series that meet all conditions, ascending.
    pub fn select(&self, matchers: &[Matcher]) -> Vec<u32> {
        // Conditions that an absent label meets cannot be answered from postings alone; they filter.
        let (filters, lookups): (Vec<&Matcher>, Vec<&Matcher>) =
            matchers.iter().partition(|matcher| matcher.matches_empty());
        let mut lists: Vec<Vec<u32>> = lookups.iter().map(|matcher| self.lookup(matcher)).collect();
        lists.sort_by_key(Vec::len);
        let mut lists = lists.into_iter();
        let first = lists.next().unwrap_or_else(|| (0..).take(self.series.len()).collect());
        let mut found = lists.fold(first, |found, list| intersect(&found, &list));
        found.retain(|&idx| {
            let labels = &self.series(idx).labels;
            filters.iter().all(|matcher| matcher.matches(labels.get(&matcher.name).unwrap_or("")))
        });
        found
    }

    fn lookup(&self, matcher: &Matcher) -> Vec<u32> {
        let Some(values) = self.postings.get(matcher.name.as_str()) else { return Vec::new() };
        if matcher.op == MatchOp::Eq {
            return values.get(matcher.value.as_str()).cloned().unwrap_or_default();
        }
        let matching = values.iter().filter(|(value, _)| matcher.matches(value));
        let mut found: Vec<u32> = matching.flat_map(|(_, list)| list.iter().copied()).collect();
        found.sort_unstable();
        found
    }

    /// Returns an estimate of the memory held.
    pub fn size_bytes(&self) -> usize {
        // Labels with their counters, the entry, the table, about 16 postings of 4 to 8 bytes.
        self.n_label_bytes + self.series.len() * (16 + size_of::<Series>() + 8 + 96)
    }
}

fn posting<'a>(postings: &'a mut Postings, name: &str, value: &str) -> &'a mut Vec<u32> {
    let values = postings.entry_ref(name).or_default();
    values.entry_ref(value).or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        let mut registry = Registry::default();
        for (job, code) in [("a", "200"), ("a", "500"), ("b", "200"), ("b", "")] {
            let labels = Labels::from_pairs([("__name__", "req"), ("job", job), ("code", code)]);
            registry.insert(&labels, &SeriesMeta::default());
        }
        registry
    }

    #[track_caller]
    fn check(matchers: &[(&str, MatchOp, &str)], want: &[u32]) {
        let matchers: Vec<Matcher> = matchers
            .iter()
            .map(|(name, op, value)| Matcher::new(name, *op, value).unwrap())
            .collect();
        assert_eq!(registry().select(&matchers), want);
    }

    #[test]
    fn matchers_select_series() {
        check(&[], &[0, 1, 2, 3]);
        check(&[("job", MatchOp::Eq, "a")], &[0, 1]);
        check(&[("job", MatchOp::Eq, "a"), ("code", MatchOp::Eq, "200")], &[0]);
        check(&[("code", MatchOp::Re, "[25]00")], &[0, 1, 2]);
        check(&[("job", MatchOp::Re, "a|b"), ("code", MatchOp::Re, "5..")], &[1]);
        check(&[("job", MatchOp::Eq, "c")], &[]);
        check(&[("nope", MatchOp::Re, ".+")], &[]);
    }

    #[test]
    fn absent_labels_count_as_empty() {
        check(&[("code", MatchOp::Eq, "")], &[3]);
        check(&[("code", MatchOp::Ne, "200")], &[1, 3]);
        check(&[("code", MatchOp::Nre, "2..")], &[1, 3]);
        check(&[("code", MatchOp::Re, ".*")], &[0, 1, 2, 3]);
        check(&[("nope", MatchOp::Eq, "")], &[0, 1, 2, 3]);
    }

    #[test]
    fn registered_series_are_found() {
        let registry = registry();
        let labels = registry.series(2).labels.clone();

        assert_eq!(registry.find(&labels), Some(2));
        assert_eq!(registry.find(&Labels::from_pairs([("x", "y")])), None);
    }
}
