//! Finds the series of one commons that a question is about, in its files and then in its heads.

use std::sync::Arc;

use hashbrown::HashMap;

use super::histograms::{Form, Taken};
use super::plan::{Found, OfCommons};
use super::{SERIES_PER_LOCK, too_many_samples};
use crate::model::{Commons, ExpHistogram, Labels, Matcher};
use crate::storage::files::group_series::{Group, Place, Run, find_runs, push_pieces};
use crate::storage::files::read::Selection;
use crate::storage::files::read_histograms::{HistogramSink, read_histograms};
use crate::storage::files::read_runs::Piece;
use crate::storage::head::CommonsHead;
use crate::storage::snapshot::Snapshot;
use crate::storage::{FileEntry, ReadError, SeriesRequest};

/// What is left of the limits.
pub(super) struct Left {
    pub(super) n_series: usize,
    pub(super) n_samples: usize,
    /// Series with a sample in the range that are wanted yet, unless all are.
    pub(super) n_wanted: Option<usize>,
    pub(super) series_limit: &'static str,
}

impl Left {
    fn is_enough(&self) -> bool {
        self.n_wanted == Some(0)
    }

    /// Takes note of a series that has a sample in the range for sure.
    fn found_one(&mut self) {
        self.n_wanted = self.n_wanted.map(|n_wanted| n_wanted.saturating_sub(1));
    }
}

/// Finds the series of one commons.
pub(super) struct Finder<'a> {
    snapshot: &'a Snapshot,
    form: Form,
    request: &'a SeriesRequest<'a>,
    commons: &'a Commons,
    left: &'a mut Left,
    matchers: Vec<Matcher>,
    pub(super) series: Vec<Found>,
    /// Whether each came after those before it in the order of metric and labels.
    is_sorted: bool,
    /// Whether that is the order of labels too.
    is_by_labels: bool,
    by_id: HashMap<u64, u32>,
    files: Vec<(Arc<FileEntry>, Vec<Piece>)>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(
        (snapshot, form): (&'a Snapshot, Form),
        request: &'a SeriesRequest<'a>,
        commons: &'a Commons,
        left: &'a mut Left,
    ) -> Self {
        // All series of a commons have its label, which was compared already.
        let others = request.matchers.iter().filter(|matcher| matcher.name != "commons");
        let matchers = others.cloned().collect();
        Self {
            snapshot,
            form,
            request,
            commons,
            left,
            matchers,
            series: Vec::new(),
            is_sorted: true,
            is_by_labels: true,
            by_id: HashMap::new(),
            files: Vec::new(),
        }
    }

    pub(super) fn files(&mut self) -> Result<(), ReadError> {
        let SeriesRequest { start_ms, end_ms, .. } = *self.request;
        let snapshot = self.snapshot;
        let (disk, footers) = (snapshot.disk(), snapshot.footers());
        let is_over = || snapshot.is_stopped();
        let registered = self.snapshot.registered(self.commons);
        let known = |id| registered.as_ref()?.registry.read().labels_of_id(id);
        let matchers = self.matchers.clone();
        let selection = Selection { matchers: &matchers, start_ms, end_ms };
        for entry in snapshot.metrics_files(self.commons, (start_ms, end_ms)) {
            if self.left.is_enough() {
                break;
            }
            snapshot.go_on()?;
            if entry.has_exp {
                read_histograms(disk, footers, &entry, selection, self)?;
                continue;
            }
            let place = Place { entry: &entry, selection, known: &known, is_over: &is_over };
            let mut pieces = Vec::new();
            find_runs(disk, footers, &place, &mut |group, run| {
                self.run(&entry, (group, run), &mut pieces)
            })?;
            if !pieces.is_empty() {
                self.files.push((entry, pieces));
            }
        }
        Ok(())
    }

    fn run(
        &mut self,
        entry: &FileEntry,
        (group, run): (Group, &Run),
        pieces: &mut Vec<Piece>,
    ) -> Result<(), ReadError> {
        if self.left.is_enough() {
            return Ok(());
        }
        let place = match self.known(run.id, &run.labels) {
            Some(place) => place,
            None => self.add(run.id, run.labels.clone())?,
        };
        let SeriesRequest { start_ms, end_ms, .. } = *self.request;
        let is_in = |ms| start_ms <= ms && ms <= end_ms;
        let n_rows = share(u64::from(run.n_rows), (run.min_ms, run.max_ms), (start_ms, end_ms));
        let found = &mut self.series[place as usize];
        found.n_rows = found.n_rows.saturating_add(n_rows);
        let is_certain = entry.deleted().is_none() && (is_in(run.min_ms) || is_in(run.max_ms));
        if is_certain && !found.is_certain {
            found.is_certain = true;
            self.left.found_one();
        }
        push_pieces(entry, place, (group, run), pieces);
        Ok(())
    }

    pub(super) fn heads(&mut self) -> Result<Vec<Arc<CommonsHead>>, ReadError> {
        let heads = self.snapshot.heads(self.commons);
        let Some(first) = heads.first() else { return Ok(heads) };
        let registry = first.entry.registry.read();
        let range = (self.request.start_ms, self.request.end_ms);
        let wanted = registry.selected(&self.matchers);
        let is_counted = self.left.n_wanted.is_some();
        let is_alone = self.series.is_empty() && !is_counted;
        let some = wanted.chunks(SERIES_PER_LOCK).flat_map(|some| present(&heads, some, range));
        for (series_idx, n_rows) in some {
            if self.left.is_enough() {
                break;
            }
            if is_alone {
                self.add_of_head(series_idx, n_rows)?;
                continue;
            }
            let series = registry.series(series_idx);
            let place = match self.known(series.id, &series.labels) {
                Some(place) => place,
                None => self.add(series.id, series.labels.clone())?,
            };
            let found = &mut self.series[place as usize];
            found.series_idx = Some(series_idx);
            found.n_rows = found.n_rows.saturating_add(n_rows);
            // Whoever wants all of them asks the heads when all are found.
            let is_unsure = is_counted && !found.is_certain;
            if is_unsure && heads.iter().any(|head| found.is_in(head, range)) {
                found.is_certain = true;
                self.left.found_one();
            }
        }
        self.is_by_labels &= !is_alone || registry.all_begin_with_metric();
        drop(registry);
        Ok(heads)
    }

    /// Adds a series that is in no file. Those of heads come in the order of metric and labels.
    fn add_of_head(&mut self, series_idx: u32, n_rows: u32) -> Result<(), ReadError> {
        self.take_one()?;
        let (series_idx, histograms) = (Some(series_idx), Taken::default());
        let found = Found { labels: None, series_idx, histograms, n_rows, is_certain: false };
        self.series.push(found);
        Ok(())
    }

    /// Takes one off the series that there may be.
    fn take_one(&mut self) -> Result<(), ReadError> {
        let too_many = ReadError::Limit {
            what: "series",
            max: self.request.series_max,
            limit: self.left.series_limit,
        };
        self.left.n_series = self.left.n_series.checked_sub(1).ok_or(too_many)?;
        Ok(())
    }

    fn known(&self, id: u64, labels: &Labels) -> Option<u32> {
        let mut key = id;
        // Two label sets with one id: the later has the next free key.
        while let Some(&place) = self.by_id.get(&key) {
            if self.series[place as usize].labels.as_ref() == Some(labels) {
                return Some(place);
            }
            key = key.wrapping_add(1);
        }
        None
    }

    fn add(&mut self, id: u64, labels: Labels) -> Result<u32, ReadError> {
        self.take_one()?;
        let place = u32::try_from(self.series.len()).expect("memory ends before");
        let mut key = id;
        while self.by_id.contains_key(&key) {
            key = key.wrapping_add(1);
        }
        self.by_id.insert(key, place);
        // Now that its labels are at hand: to look at all of them once more in the end takes longer
        // than all the rest, when they are too many for the processor's cache.
        let last = self.series.last().and_then(|last| last.labels.as_ref());
        self.is_sorted &= last.is_none_or(|last| last.cmp_by_metric(&labels).is_lt());
        self.is_by_labels &= labels.begins_with_metric();
        let (labels, histograms) = (Some(labels), Taken::default());
        let found = Found { labels, series_idx: None, histograms, n_rows: 0, is_certain: false };
        self.series.push(found);
        Ok(place)
    }

    /// Puts the series into the order of the files, and each file's pieces into that of its rows.
    pub(super) fn finish(mut self, heads: Vec<Arc<CommonsHead>>) -> OfCommons {
        if !self.is_sorted {
            let order = |a: &Found, b: &Found| match (&a.labels, &b.labels) {
                (Some(a), Some(b)) => a.cmp_by_metric(b),
                _ => unreachable!("series of heads alone are sorted"),
            };
            let mut places: Vec<u32> = (0..).take(self.series.len()).collect();
            places.sort_by(|a, b| order(&self.series[*a as usize], &self.series[*b as usize]));
            let mut place_of = vec![0; places.len()];
            for (new, old) in (0..).zip(&places) {
                place_of[*old as usize] = new;
            }
            let mut series: Vec<Option<Found>> = self.series.drain(..).map(Some).collect();
            let moved = places.iter().map(|old| series[*old as usize].take());
            self.series = moved.map(|found| found.expect("each place comes once")).collect();
            for piece in self.files.iter_mut().flat_map(|(_, pieces)| pieces) {
                piece.place = place_of[piece.place as usize];
            }
        }
        let files = self.files.into_iter().flat_map(|(entry, pieces)| in_order(entry, pieces));
        let (series, is_by_labels) = (self.series, self.is_by_labels);
        OfCommons { series, is_by_labels, files: files.collect(), heads }
    }
}

/// Returns those of a few series that have a slot in one of the heads, with about how many samples they
/// have in a range. Call it under the registry's lock: a series that has one cannot leave while the
/// head is held, so its index is good from then on.
fn present(heads: &[Arc<CommonsHead>], some: &[u32], range: (i64, i64)) -> Vec<(u32, u32)> {
    let heads = heads.iter().map(|head| head.metrics.read());
    let heads = heads.filter_map(|head| Some((head.time_range_ms()?, head)));
    let overlaps = |times: (i64, i64)| times.0 <= range.1 && range.0 <= times.1;
    let heads: Vec<_> = heads.filter(|(times, _)| overlaps(*times)).collect();
    let present = some.iter().filter_map(|&series_idx| {
        let slots = heads.iter().filter_map(|(times, head)| {
            Some(share(head.chunk(head.find(series_idx)?).len() as u64, *times, range))
        });
        Some((series_idx, slots.reduce(u32::saturating_add)?))
    });
    present.collect()
}

/// Returns about how many of `n` rows that cover a time lie in a range, at least one.
fn share(n: u64, (min_ms, max_ms): (i64, i64), (start_ms, end_ms): (i64, i64)) -> u32 {
    // Coarse, so that the product fits.
    let coarse =
        |from_ms: i64, to_ms: i64| to_ms.saturating_sub(from_ms).max(0).unsigned_abs() >> 8;
    let part = coarse(min_ms.max(start_ms), max_ms.min(end_ms)) + 1;
    let n_rows = n.saturating_mul(part) / (coarse(min_ms, max_ms) + 1) + 1;
    u32::try_from(n_rows).unwrap_or(u32::MAX)
}

/// Returns the pieces of a file so that places and rows ascend; a file in another order is read as if
/// it were several.
fn in_order(entry: Arc<FileEntry>, pieces: Vec<Piece>) -> Vec<(Arc<FileEntry>, Vec<Piece>)> {
    let mut files: Vec<(Arc<FileEntry>, Vec<Piece>)> = Vec::new();
    if pieces.is_sorted_by_key(|piece| piece.place) {
        files.push((entry, pieces));
        return files;
    }
    let ascending = pieces.chunk_by(|a, b| a.place <= b.place);
    files.extend(ascending.map(|some| (Arc::clone(&entry), some.to_vec())));
    files
}

impl HistogramSink for Finder<'_> {
    fn go_on(&self) -> Result<(), ReadError> {
        self.snapshot.go_on()
    }

    fn series(&mut self, id: u64, labels: Labels) -> Result<usize, ReadError> {
        let place = match self.known(id, &labels) {
            Some(place) => place,
            None => self.add(id, labels)?,
        };
        Ok(place as usize)
    }

    fn histogram(
        &mut self,
        place: usize,
        ms: i64,
        histogram: &ExpHistogram,
    ) -> Result<(), ReadError> {
        let found = &mut self.series[place];
        let n = found.histograms.push(self.form, ms, histogram);
        if n.is_some() && !found.is_certain {
            found.is_certain = true;
            self.left.found_one();
        }
        let too_many = || too_many_samples(self.request.samples_max);
        let n_left = self.left.n_samples.checked_sub(n.unwrap_or(0));
        self.left.n_samples = n_left.ok_or_else(too_many)?;
        Ok(())
    }
}
