//! Reading: the files and generations of one moment, limited to a scope.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::disk::{Disk, NoDisk};
use super::files::metrics_rows::{MetricsRows, RowSamples};
use super::files::read::Footers;
use super::files::series_order;
use super::flush::{ExpPoint, exp_batch, sorted_slots};
use super::head::metrics::sort_first_wins;
use super::head::{CommonsEntry, CommonsHead, Generation};
use super::missing::Missing;
use super::objects::Unreachable;
use super::shared::{Shared, Version};
use super::stop::Stop;
use super::{FileEntry, HeadBatch, HeadFilter, ReadError};
use crate::model::{Commons, Description, Matcher, MetricKind, ReadScope, SeriesMeta, Signal};

/// Series read under one hold of the head's lock, so that writers are never kept waiting long.
const SERIES_PER_LOCK: usize = 256;
/// The most bytes of a file that are handed out at a time.
pub const FILE_BYTES_MAX: usize = 4 << 20;
/// Rows in a batch of head samples.
const HEAD_BATCH_ROWS: usize = 16_384;

/// The files and generations of one moment, limited to a scope.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(super) shared: Arc<Shared>,
    version: Version,
    scope: ReadScope,
    pub(super) missing: Arc<Missing>,
    pub(super) stop: Option<Arc<dyn Stop>>,
    has_disk: bool,
}

impl Snapshot {
    pub(super) fn new(shared: Arc<Shared>, scope: ReadScope) -> Self {
        let version = shared.current();
        Self { shared, version, scope, missing: Arc::default(), stop: None, has_disk: true }
    }

    /// Returns why what was read through this snapshot is not all there is; empty when it is.
    pub fn warnings(&self) -> Vec<String> {
        let lost = self.shared.lost.get().into_iter().flatten();
        self.missing.warnings(lost)
    }

    /// Leaves a file out because of what a reader met, so that the question can be asked again: a
    /// damaged one out of all answers, one that cannot be fetched now out of this snapshot's. Any
    /// other error comes back.
    pub fn leave_out(&self, error: ReadError) -> Result<(), ReadError> {
        match error {
            ReadError::Damaged { path, reason } => {
                self.shared.note_damaged(&path, &reason);
                if !self.shared.damaged.read().contains_key(&path) {
                    let why = "its local copy is damaged, and the next question fetches it";
                    self.missing.leave_out(&path, why.to_owned());
                }
                Ok(())
            }
            ReadError::Away { path, reason } => {
                self.missing.leave_out_away(&reason);
                self.missing.leave_out(&path, reason);
                Ok(())
            }
            error => Err(error),
        }
    }

    /// Leaves a file out as [`Snapshot::leave_out`] does, for those who hand the error on.
    pub(super) fn note_unread(&self, error: ReadError) -> ReadError {
        let again = match &error {
            ReadError::Damaged { path, reason } => {
                ReadError::Damaged { path: path.clone(), reason: reason.clone() }
            }
            ReadError::Away { path, reason } => {
                ReadError::Away { path: path.clone(), reason: reason.clone() }
            }
            _ => return error,
        };
        match self.leave_out(error) {
            Ok(()) => again,
            Err(error) => error,
        }
    }

    /// Notes that an answer lacks the damaged files of a signal.
    pub fn note_missing(&self, signal: Signal) {
        self.missing.note(self.part(self.of_signal(signal)).1);
    }

    pub(super) fn of_signal(&self, signal: Signal) -> impl Iterator<Item = &Arc<FileEntry>> {
        let wanted = self
            .version
            .files
            .iter()
            .filter(move |((s, commons), _)| *s == signal && self.scope.covers(commons));
        wanted.flat_map(|(_, files)| files)
    }

    /// Parts the files that can be read from those that are damaged or left out.
    pub(super) fn part<'a>(
        &self,
        files: impl Iterator<Item = &'a Arc<FileEntry>>,
    ) -> (Vec<&'a Arc<FileEntry>>, Vec<&'a Arc<FileEntry>>) {
        let damaged = self.shared.damaged.read();
        files.partition(|file| {
            let is_away = || self.shared.is_away(&file.path);
            !damaged.contains_key(&file.path) && !self.missing.is_left_out(&file.path, is_away)
        })
    }

    /// Returns the commons that have data, within the scope, sorted.
    pub fn commons(&self) -> Vec<Commons> {
        let in_files = self.version.files.keys().map(|(_, commons)| commons.clone());
        let in_head =
            self.version.generations().flat_map(|g| g.all()).map(|head| head.entry.name.clone());
        let mut all: Vec<Commons> =
            in_files.chain(in_head).filter(|c| self.scope.covers(c)).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Returns the intact metrics files of a commons with samples in a range, ms since 1970 UTC, both
    /// ends included; the damaged ones are noted.
    pub(super) fn metrics_files(
        &self,
        commons: &Commons,
        (start_ms, end_ms): (i64, i64),
    ) -> Vec<Arc<FileEntry>> {
        let start_ns = start_ms.saturating_mul(1_000_000);
        let end_ns = end_ms.saturating_mul(1_000_000).saturating_add(999_999);
        let overlaps = |file: &FileEntry| file.min_ns <= end_ns && start_ns <= file.max_ns;
        self.live_files(Signal::Metrics, commons, &overlaps)
    }

    /// Returns what is known of a commons that has sent something since the start.
    pub(super) fn registered(&self, commons: &Commons) -> Option<Arc<CommonsEntry>> {
        self.shared.commons.find(commons)
    }

    /// Returns the snapshot without the disk, for who may not wait: series of which not all is in memory
    /// cannot be read, and the error is that of a file that could not be read.
    pub fn at_hand(self) -> Self {
        Self { has_disk: false, ..self }
    }

    pub(super) fn disk(&self) -> &dyn Disk {
        if self.has_disk { &*self.shared.disk } else { &NoDisk }
    }

    pub(super) fn footers(&self) -> &Footers {
        &self.shared.footers
    }

    pub(super) fn covers(&self, commons: &Commons) -> bool {
        self.scope.covers(commons)
    }

    pub(super) fn generations(&self) -> impl Iterator<Item = Arc<Generation>> {
        self.version.generations().cloned()
    }

    /// Returns the intact files of one commons that are wanted, and notes the damaged ones.
    pub(super) fn live_files(
        &self,
        signal: Signal,
        commons: &Commons,
        wants: &dyn Fn(&FileEntry) -> bool,
    ) -> Vec<Arc<FileEntry>> {
        let files = self.version.files.get(&(signal, commons.clone()));
        let wanted = files.into_iter().flatten().filter(|file| wants(file));
        let (intact, damaged) = self.part(wanted);
        self.missing.note(damaged);
        intact.into_iter().cloned().collect()
    }

    /// Returns one commons' parts of the generations, oldest first.
    pub(super) fn heads(&self, commons: &Commons) -> Vec<Arc<CommonsHead>> {
        let part = |generation: &Arc<Generation>| generation.of_commons(commons);
        self.version.generations().filter_map(part).collect()
    }

    /// Returns what is known of each metric, sorted by name: what senders say, and of those that
    /// nobody describes what their series are.
    pub fn metadata(&self) -> Vec<(String, Description)> {
        let said = self.shared.descriptions.all(&self.scope);
        let mut metas: BTreeMap<String, Vec<Description>> = BTreeMap::new();
        for (metric, description) in said {
            metas.entry(metric.to_string()).or_default().push(description);
        }
        for entry in self.shared.commons.all().iter().filter(|entry| self.scope.covers(&entry.name))
        {
            let registry = entry.registry.read();
            for idx in registry.indexes() {
                let (metric, meta) = (registry.series(idx).labels.metric(), registry.meta(idx));
                let family = family(metric, meta.kind);
                if !metas.contains_key(metric) && !metas.contains_key(family) {
                    let SeriesMeta { kind, unit, .. } = meta.clone();
                    let description = Description { kind, unit, ..Description::default() };
                    metas.insert(family.to_owned(), vec![description]);
                }
            }
        }
        let listed = metas.into_iter();
        listed.flat_map(|(metric, all)| all.into_iter().map(move |d| (metric.clone(), d))).collect()
    }

    /// Returns, for each commons with samples in the head, the times of the earliest and the latest,
    /// ms since 1970 UTC.
    pub fn head_time_ranges_ms(&self) -> Vec<(Commons, i64, i64)> {
        let mut ranges: BTreeMap<Commons, (i64, i64)> = BTreeMap::new();
        for head in self.version.generations().flat_map(|generation| generation.all()) {
            let Some((first_ms, last_ms)) = head.metrics.read().time_range_ms() else { continue };
            if self.scope.covers(&head.entry.name) {
                let range = ranges.entry(head.entry.name.clone()).or_insert((first_ms, last_ms));
                *range = (range.0.min(first_ms), range.1.max(last_ms));
            }
        }
        ranges
            .into_iter()
            .map(|(commons, (first_ms, last_ms))| (commons, first_ms, last_ms))
            .collect()
    }

    /// Returns the live files of a signal within the scope, without those that are damaged.
    pub fn files(&self, signal: Signal) -> Vec<Arc<FileEntry>> {
        self.part(self.of_signal(signal)).0.into_iter().cloned().collect()
    }

    /// Returns bytes of a file within the scope as they are stored, unchecked, at most
    /// [`FILE_BYTES_MAX`] of them; for readers that have no way to object storage.
    pub fn file_bytes(&self, path: &str, offset: u64, n_bytes: usize) -> Result<Bytes, ReadError> {
        let is_one = |signal| self.of_signal(signal).any(|file| file.path == path);
        let path = path.to_owned();
        if n_bytes > FILE_BYTES_MAX || !Signal::ALL.into_iter().any(is_one) {
            let source = "it is none of the question's files, or too much of one".into();
            return Err(ReadError::File { path, source });
        }
        let read = self.shared.disk.open(&path).and_then(|file| file.read_at(offset, n_bytes));
        read.map_err(|error| match (Unreachable::why(&error), error.kind()) {
            (Some(why), _) => ReadError::Away { path, reason: why.to_owned() },
            (None, io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
                ReadError::Damaged { path, reason: error.to_string() }
            }
            _ => ReadError::File { path, source: error.into() },
        })
    }

    /// Returns the head's rows of a signal within the scope, one batch at a time, so that memory
    /// stays bounded; a row is either here or in a file of the same snapshot. Samples of one series
    /// come once a timestamp.
    pub fn head(
        &self,
        signal: Signal,
        filter: HeadFilter,
    ) -> Box<dyn Iterator<Item = HeadBatch> + Send> {
        let snapshot = self.clone();
        let wanted: Vec<Commons> = self
            .commons()
            .into_iter()
            .filter(|c| filter.commons.as_ref().is_none_or(|want| want == c))
            .collect();
        Box::new(wanted.into_iter().flat_map(move |commons| {
            let heads = snapshot.heads(&commons);
            let batches: Box<dyn Iterator<Item = arrow::array::RecordBatch> + Send> = match signal {
                Signal::Metrics => Box::new(head_metrics(heads, filter.clone())),
                _ => Box::new(head_rows(heads, signal, filter.clone())),
            };
            batches.map(move |batch| HeadBatch { commons: commons.clone(), batch })
        }))
    }
}

/// Returns the name that the parts of a histogram or summary share.
pub fn family(metric: &str, kind: MetricKind) -> &str {
    let suffixes: &[&str] = match kind {
        MetricKind::Histogram | MetricKind::Summary => &["_bucket", "_count", "_sum"],
        MetricKind::GaugeHistogram => &["_bucket", "_gcount", "_gsum"],
        _ => &[],
    };
    suffixes.iter().find_map(|suffix| metric.strip_suffix(suffix)).unwrap_or(metric)
}

pub(super) fn commons_matches(commons: &Commons, matchers: &[Matcher]) -> bool {
    let label = if commons.is_unassigned() { "" } else { commons.as_str() };
    matchers
        .iter()
        .filter(|matcher| matcher.name == "commons")
        .all(|matcher| matcher.matches(label))
}

fn head_rows(
    heads: Vec<Arc<CommonsHead>>,
    signal: Signal,
    filter: HeadFilter,
) -> impl Iterator<Item = arrow::array::RecordBatch> + Send {
    heads.into_iter().flat_map(move |head| {
        let batches = head.rows(signal).read().batches().to_vec();
        let (min_ns, max_ns) =
            (filter.min_ns.unwrap_or(i64::MIN), filter.max_ns.unwrap_or(i64::MAX));
        batches
            .into_iter()
            .filter(move |b| b.min_ns <= max_ns && min_ns <= b.max_ns)
            .map(|b| b.batch)
    })
}

/// The series of one commons in file order, merged over its generations, a batch at a time.
fn head_metrics(
    heads: Vec<Arc<CommonsHead>>,
    filter: HeadFilter,
) -> impl Iterator<Item = arrow::array::RecordBatch> + Send {
    let (start_ms, end_ms) = (
        filter.min_ns.map_or(i64::MIN, |ns| ns.div_euclid(1_000_000)),
        filter.max_ns.map_or(i64::MAX, |ns| ns.div_euclid(1_000_000)),
    );
    let wanted = wanted_series(&heads, filter.metric.as_deref());
    let exp = exp_batches(&heads, start_ms, end_ms, filter.metric.as_deref());
    let mut rest = wanted.into_iter();
    let plain = std::iter::from_fn(move || {
        let mut rows = MetricsRows::default();
        while rows.len() < HEAD_BATCH_ROWS {
            let Some(series_idx) = rest.next() else { break };
            let (mut timestamps, mut values) = (Vec::new(), Vec::new());
            let mut starts = Vec::new();
            for head in &heads {
                let metrics = head.metrics.read();
                if let Some(slot) = metrics.find(series_idx) {
                    metrics.read_started(slot, start_ms, end_ms, |ms, value, start_ns| {
                        timestamps.push(ms);
                        values.push(value);
                        starts.push(start_ns);
                    });
                }
            }
            sort_first_wins(&mut timestamps, &mut values, &mut starts);
            let registry = heads[0].entry.registry.read();
            let series = registry.series(series_idx);
            let samples =
                RowSamples { timestamps_ms: &timestamps, values: &values, starts_ns: &starts };
            rows.push(&series.labels, series.id, registry.meta(series_idx), samples);
        }
        (!rows.is_empty()).then(|| rows.finish_exp(None))
    });
    plain.chain(exp)
}

/// Keeps the series that have a slot in one of the heads. Call it under the registry's lock: a series
/// that has one cannot leave while the head is held, so its index is good from then on.
fn keep_present(heads: &[Arc<CommonsHead>], wanted: &mut Vec<u32>) {
    let mut present = Vec::with_capacity(wanted.len());
    for some in wanted.chunks(SERIES_PER_LOCK) {
        let heads: Vec<_> = heads.iter().map(|head| head.metrics.read()).collect();
        let is_present = |idx: &&u32| heads.iter().any(|head| head.find(**idx).is_some());
        present.extend(some.iter().filter(is_present));
    }
    *wanted = present;
}

fn wanted_series(heads: &[Arc<CommonsHead>], metric: Option<&str>) -> Vec<u32> {
    let Some(first) = heads.first() else { return Vec::new() };
    let registry = first.entry.registry.read();
    let matchers: Vec<Matcher> =
        metric.map(|name| Matcher::equal("__name__", name)).into_iter().collect();
    let mut wanted = registry.select(&matchers);
    keep_present(heads, &mut wanted);
    series_order::sort(wanted.into_iter().map(|idx| (idx, &registry.series(idx).labels)))
}

fn exp_batches(
    heads: &[Arc<CommonsHead>],
    start_ms: i64,
    end_ms: i64,
    metric: Option<&str>,
) -> Vec<arrow::array::RecordBatch> {
    let mut batches = Vec::new();
    for head in heads {
        let (registry, metrics) = (head.entry.registry.read(), head.metrics.read());
        if metrics.exp_histograms().is_empty() {
            continue;
        }
        let mut rank = vec![0; metrics.n_slots()];
        sorted_slots(&metrics, &registry)
            .iter()
            .enumerate()
            .for_each(|(at, &slot)| rank[slot as usize] = at);
        let mut points: Vec<ExpPoint<'_>> = metrics
            .exp_histograms()
            .iter()
            .filter(|(slot, ms, _)| {
                let name = registry.series(metrics.series_of(*slot)).labels.metric();
                start_ms <= *ms && *ms <= end_ms && metric.is_none_or(|want| want == name)
            })
            .map(|(slot, ms, histogram)| ExpPoint {
                rank: rank[*slot as usize],
                slot: *slot,
                ms: *ms,
                histogram,
            })
            .collect();
        points.sort_by_key(|point| (point.rank, point.ms));
        points.dedup_by_key(|point| (point.rank, point.ms));
        batches.extend(
            points.chunks(HEAD_BATCH_ROWS).map(|points| exp_batch(&metrics, &registry, points)),
        );
    }
    batches
}
