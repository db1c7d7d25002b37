//! The series of a row group and where their rows are, read once and kept.
//!
//! A metrics file is sorted by series and then by time, so a series is one run of rows. Who knows the
//! runs finds the series of a question without looking at rows, and then reads two columns of the
//! rows that are wanted and nothing else. To learn the runs takes a pass over the small columns; what
//! was learned is kept up to `storage.series_cache`, the least lately used goes first.

use std::sync::Arc;

use arrow::array::{AsArray, DictionaryArray, RecordBatch};
use arrow::datatypes::{Int32Type, TimestampMillisecondType, UInt64Type};
use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::checked::Checked;
use super::deleted::group_starts;
use super::read::{Footers, Reader, Selection, fault, may_match};
use super::read_runs::Piece;
use crate::base::shield::shield;
use crate::model::labels::METRIC_NAME;
use crate::model::{Commons, Labels, Matcher, json, json_read};
use crate::storage::disk::Disk;
use crate::storage::{FileEntry, ReadError};

/// Rows decoded at a time.
const BATCH_ROWS: usize = 65_536;
/// What tells series apart, and when they have samples.
const COLUMNS: [&str; 7] =
    ["timestamp", "metric", "service", "env", "cluster", "labels", "series_id"];

/// A series of a row group.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its labels.
    pub labels: Labels,
    /// Its id, which another one may have too.
    pub id: u64,
    /// Its first row in the group.
    pub first_row: u32,
    /// How many rows there are of it.
    pub n_rows: u32,
    /// Its earliest sample, ms since 1970 UTC.
    pub min_ms: i64,
    /// Its latest.
    pub max_ms: i64,
}

/// The series of a row group, in the order of their rows.
#[derive(Debug, Default)]
pub struct GroupSeries {
    runs: Vec<Run>,
    /// Whether the metrics ascend, as in all files that are written today.
    is_by_metric: bool,
    times_ms: (i64, i64),
    n_bytes: usize,
    /// For labels whose values were asked for, a run of each value.
    distinct: Mutex<HashMap<String, Arc<[u32]>>>,
}

/// Labels whose values are kept of one row group.
const DISTINCT_MAX: usize = 8;

impl GroupSeries {
    fn new(runs: Vec<Run>, n_label_bytes: usize) -> Self {
        let is_by_metric = runs.is_sorted_by_key(|run| run.labels.metric());
        let n_bytes = runs.capacity() * size_of::<Run>() + n_label_bytes;
        let times_ms = runs.iter().fold((i64::MAX, i64::MIN), |(min_ms, max_ms), run| {
            (min_ms.min(run.min_ms), max_ms.max(run.max_ms))
        });
        Self { runs, is_by_metric, times_ms, n_bytes, distinct: Mutex::default() }
    }

    /// Returns the times of the earliest and the latest sample, ms since 1970 UTC.
    pub fn times_ms(&self) -> (i64, i64) {
        self.times_ms
    }

    /// Returns all runs.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Hands on the values of a label, each once.
    pub fn each_value(&self, name: &str, take: &mut dyn FnMut(&str)) {
        let known = self.distinct.lock().get(name).cloned();
        let places = known.unwrap_or_else(|| self.keep_distinct(name));
        for place in &*places {
            take(self.runs[*place as usize].labels.get(name).unwrap_or(""));
        }
    }

    fn keep_distinct(&self, name: &str) -> Arc<[u32]> {
        let mut seen: HashSet<&str> = HashSet::new();
        let values =
            (0..).zip(&self.runs).filter_map(|(at, run)| Some((at, run.labels.get(name)?)));
        let places: Arc<[u32]> =
            values.filter(|(_, value)| seen.insert(value)).map(|(at, _): (u32, _)| at).collect();
        let mut distinct = self.distinct.lock();
        if distinct.len() >= DISTINCT_MAX {
            distinct.clear();
        }
        distinct.insert(name.to_owned(), Arc::clone(&places));
        places
    }

    /// Returns the runs of the metrics that are wanted, or all.
    pub fn of_metrics(&self, names: Option<&[String]>) -> impl Iterator<Item = &Run> {
        let whole = std::slice::from_ref(&self.runs);
        let ranges: Vec<&[Run]> = match names.filter(|_| self.is_by_metric) {
            None => whole.iter().map(Vec::as_slice).collect(),
            // A pattern's names are sorted, and no two are the same.
            Some(names) => names.iter().map(|name| self.of_metric(name)).collect(),
        };
        ranges.into_iter().flatten()
    }

    fn of_metric(&self, name: &str) -> &[Run] {
        let first = self.runs.partition_point(|run| run.labels.metric() < name);
        let n = self.runs[first..].partition_point(|run| run.labels.metric() <= name);
        &self.runs[first..first + n]
    }
}

/// Returns the labels of a series that somebody holds anyway.
pub type Known<'a> = dyn Fn(u64) -> Option<Labels> + 'a;

/// Where series of a file are looked for.
pub struct Place<'a> {
    /// The file.
    pub entry: &'a FileEntry,
    /// What samples are wanted of.
    pub selection: Selection<'a>,
    /// What need not be made anew.
    pub known: &'a Known<'a>,
}

impl std::fmt::Debug for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("path", &self.entry.path).finish_non_exhaustive()
    }
}

/// A row group.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    idx: u32,
    /// Its first row, counted from the beginning of the file.
    first_row: usize,
}

/// Hands on the runs of a file that have samples in the time range, of metrics that are wanted, in the
/// order of the file, each with its row group. Other matchers are left to whoever takes them.
pub fn find_runs(
    disk: &dyn Disk,
    footers: &Footers,
    place: &Place<'_>,
    take: &mut dyn FnMut(Group, &Run) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let Selection { matchers, start_ms, end_ms } = place.selection;
    let names = wanted_metric(matchers);
    for (group, series) in find_groups(disk, footers, place)? {
        for run in series.of_metrics(names) {
            if run.min_ms <= end_ms && start_ms <= run.max_ms {
                take(group, run)?;
            }
        }
    }
    Ok(())
}

/// Returns the row groups of a file that may have something of the metrics that are wanted in the time
/// range, with their series.
pub fn find_groups(
    disk: &dyn Disk,
    footers: &Footers,
    place: &Place<'_>,
) -> Result<Vec<(Group, Arc<GroupSeries>)>, ReadError> {
    let entry = place.entry;
    let mut opened = Opened { disk, entry, file: None };
    match shield("parquet", || opened.groups(footers, place)) {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(source)) => Err(fault(&entry.path, &opened.checked(), source)),
        Err(panic) => Err(fault(&entry.path, &opened.checked(), panic.into())),
    }
}

/// Returns the metrics of which at least one is wanted, when they are few and known.
fn wanted_metric(matchers: &[Matcher]) -> Option<&[String]> {
    let names = matchers.iter().filter(|matcher| matcher.name == METRIC_NAME);
    names.filter_map(Matcher::one_of).min_by_key(|names| names.len())
}

/// Appends the rows of a run that are not deleted.
pub fn push_pieces(
    entry: &FileEntry,
    place: u32,
    (group, run): (Group, &Run),
    pieces: &mut Vec<Piece>,
) {
    let group_idx = group.idx;
    let rows = run.first_row..run.first_row + run.n_rows;
    let Some(deleted) = entry.deleted() else {
        pieces.push(Piece { place, group_idx, rows });
        return;
    };
    let in_file = group.first_row + rows.start as usize..group.first_row + rows.end as usize;
    for kept in deleted.kept(in_file) {
        let row = |at: usize| rows.start + u32::try_from(at).expect("within the run");
        pieces.push(Piece { place, group_idx, rows: row(kept.start)..row(kept.end) });
    }
}

/// A file that is opened when something has to be read of it.
struct Opened<'a> {
    disk: &'a dyn Disk,
    entry: &'a FileEntry,
    file: Option<Reader>,
}

impl Opened<'_> {
    fn reader(&mut self) -> Reader {
        let open = || Reader(Arc::new(Checked::open(self.disk, self.entry)));
        self.file.get_or_insert_with(open).clone()
    }

    fn checked(&mut self) -> Arc<Checked> {
        self.reader().0
    }

    /// Returns the row groups that may hold what is wanted, with their series.
    fn groups(
        &mut self,
        footers: &Footers,
        place: &Place<'_>,
    ) -> Result<Vec<(Group, Arc<GroupSeries>)>, Fault> {
        let path = &self.entry.path;
        let footer = match footers.known(path) {
            Some(footer) => footer,
            None => footers.with_places(path, &self.reader())?,
        };
        let names = wanted_metric(place.selection.matchers);
        let starts = group_starts(footer.metadata());
        let mut found = Vec::new();
        for (group_idx, group) in footer.metadata().row_groups().iter().enumerate() {
            if !may_match(group, names, place.selection) {
                continue;
            }
            let series = match footers.series.kept(path, group_idx) {
                Some(series) => series,
                None => {
                    let file = self.reader();
                    footers.with_places(path, &file)?; // The blocks' checksums, for the reader.
                    let source = Source { entry: self.entry, group_idx, known: place.known };
                    footers.series.read(&file, &footer, &source)?
                }
            };
            let group = Group { idx: u32::try_from(group_idx)?, first_row: starts[group_idx] };
            found.push((group, series));
        }
        Ok(found)
    }
}

/// Which rows to learn the series of.
struct Source<'a> {
    entry: &'a FileEntry,
    group_idx: usize,
    known: &'a Known<'a>,
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// What was learned of row groups.
#[derive(Debug)]
pub struct SeriesCache {
    inner: Mutex<Inner>,
    bytes_max: usize,
    counted: Counted,
}

/// Tells how the cache does.
#[derive(Debug, Clone, Default)]
pub struct Counted {
    /// What is held.
    pub bytes: Gauge,
    /// Row groups that were known.
    pub hits: Counter,
    /// Row groups that had to be read.
    pub misses: Counter,
}

impl Default for SeriesCache {
    fn default() -> Self {
        Self::new(64 << 20, Counted::default())
    }
}

#[derive(Debug, Default)]
struct Inner {
    groups: HashMap<String, HashMap<usize, Kept>>,
    n_bytes: usize,
    n_asked: u64,
    /// Label sets that several row groups share.
    interned: HashMap<u64, Labels>,
    intern_purge_at: usize,
}

#[derive(Debug)]
struct Kept {
    series: Arc<GroupSeries>,
    last_asked: u64,
}

impl SeriesCache {
    /// Returns an empty cache of so many bytes.
    pub fn new(bytes_max: usize, counted: Counted) -> Self {
        Self { inner: Mutex::default(), bytes_max, counted }
    }

    /// Returns what is held, in bytes.
    pub fn n_bytes(&self) -> usize {
        self.inner.lock().n_bytes
    }

    fn kept(&self, path: &str, group_idx: usize) -> Option<Arc<GroupSeries>> {
        let mut inner = self.inner.lock();
        inner.n_asked += 1;
        let n_asked = inner.n_asked;
        let kept = inner.groups.get_mut(path)?.get_mut(&group_idx)?;
        kept.last_asked = n_asked;
        self.counted.hits.inc();
        Some(Arc::clone(&kept.series))
    }

    fn keep(&self, source: &Source<'_>, series: &Arc<GroupSeries>) {
        let mut inner = self.inner.lock();
        let kept = Kept { series: Arc::clone(series), last_asked: inner.n_asked };
        let before =
            inner.groups.entry_ref(&*source.entry.path).or_default().insert(source.group_idx, kept);
        inner.n_bytes += series.n_bytes;
        inner.n_bytes -= before.map_or(0, |kept| kept.series.n_bytes);
        if inner.n_bytes > self.bytes_max {
            inner.shrink(self.bytes_max / 8 * 7);
        }
        self.counted.misses.inc();
        self.counted.bytes.set(i64::try_from(inner.n_bytes).unwrap_or(i64::MAX));
    }

    fn read(
        &self,
        file: &Reader,
        footer: &ArrowReaderMetadata,
        source: &Source<'_>,
    ) -> Result<Arc<GroupSeries>, Fault> {
        let columns = ProjectionMask::columns(footer.parquet_schema(), COLUMNS);
        let reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), footer.clone())
                .with_row_groups(vec![source.group_idx])
                .with_projection(columns)
                .with_batch_size(BATCH_ROWS)
                .build()?;
        let mut learner =
            Learner { cache: self, source, runs: Vec::new(), text: String::new(), n_bytes: 0 };
        let mut first_row = 0;
        for batch in reader {
            let batch = batch?;
            learner.take(&batch, first_row)?;
            first_row += u32::try_from(batch.num_rows())?;
        }
        let series = Arc::new(GroupSeries::new(learner.runs, learner.n_bytes));
        self.keep(source, &series);
        Ok(series)
    }

    fn interned(&self, id: u64) -> Option<Labels> {
        self.inner.lock().interned.get(&id).cloned()
    }

    fn intern(&self, id: u64, labels: &Labels) {
        let mut inner = self.inner.lock();
        if inner.interned.len() >= inner.intern_purge_at {
            inner.purge();
        }
        inner.interned.insert(id, labels.clone());
    }
}

impl Inner {
    /// Forgets what was not asked for the longest, until no more than so many bytes are left.
    fn shrink(&mut self, bytes: usize) {
        let mut ages: Vec<u64> =
            self.groups.values().flat_map(HashMap::values).map(|kept| kept.last_asked).collect();
        ages.sort_unstable();
        let mut n_at_once = ages.len().div_ceil(8).max(1);
        while self.n_bytes > bytes && !ages.is_empty() {
            n_at_once = n_at_once.min(ages.len());
            let youngest = ages[n_at_once - 1];
            ages.drain(..n_at_once);
            let n_bytes = &mut self.n_bytes;
            self.groups.retain(|_, groups| {
                groups.retain(|_, kept| {
                    let is_kept = kept.last_asked > youngest;
                    *n_bytes -= if is_kept { 0 } else { kept.series.n_bytes };
                    is_kept
                });
                !groups.is_empty()
            });
        }
        self.purge();
    }

    /// Forgets label sets that nobody else holds.
    fn purge(&mut self) {
        self.interned.retain(|_, labels| labels.is_shared());
        self.interned.shrink_to(2 * self.interned.len());
        self.intern_purge_at = (2 * self.interned.len()).max(4_096);
    }
}

/// Reads runs off batches.
struct Learner<'a> {
    cache: &'a SeriesCache,
    source: &'a Source<'a>,
    runs: Vec<Run>,
    text: String,
    /// Of labels that nobody else holds.
    n_bytes: usize,
}

impl Learner<'_> {
    fn take(&mut self, batch: &RecordBatch, first_row: u32) -> Result<(), Fault> {
        let columns = Columns::of(batch)?;
        let n_rows = batch.num_rows();
        let mut from = 0;
        while from < n_rows {
            let end = columns.end_of_run(from);
            let times = &columns.times[from..end];
            let (min_ms, max_ms) = (times[0], times[times.len() - 1]);
            // Files are sorted by time; who wrote another one would have its samples lost.
            let (min_ms, max_ms) =
                times.iter().fold((min_ms, max_ms), |(min, max), &ms| (min.min(ms), max.max(ms)));
            let n_in_run = u32::try_from(end - from)?;
            let (id, labels) = (columns.ids[from], self.labels(&columns, from));
            match self.runs.last_mut() {
                Some(last) if from == 0 && last.id == id && last.labels == labels => {
                    last.n_rows += n_in_run;
                    last.min_ms = last.min_ms.min(min_ms);
                    last.max_ms = last.max_ms.max(max_ms);
                }
                _ => {
                    let first_row = first_row + u32::try_from(from)?;
                    self.runs.push(Run { labels, id, first_row, n_rows: n_in_run, min_ms, max_ms });
                }
            }
            from = end;
        }
        Ok(())
    }

    /// Returns the labels of a row's series: those that somebody holds already, when they are the same.
    fn labels(&mut self, columns: &Columns<'_>, row: usize) -> Labels {
        let (id, texts) = (columns.ids[row], columns.texts(row));
        if let Some(labels) = (self.source.known)(id).filter(|known| self.is_of(known, &texts)) {
            return labels;
        }
        if let Some(labels) = self.cache.interned(id).filter(|known| self.is_of(known, &texts)) {
            return labels;
        }
        let labels = texts.labels(&self.source.entry.commons);
        self.n_bytes += labels.packed().len() + 16;
        self.cache.intern(id, &labels);
        labels
    }

    /// Returns true when labels are written as these texts.
    fn is_of(&mut self, labels: &Labels, texts: &Texts<'_>) -> bool {
        let commons = &self.source.entry.commons;
        let own = if commons.is_unassigned() { "" } else { commons.as_str() };
        let mut fixed = Texts::default();
        let mut found_commons = "";
        let others = labels.iter().filter(|&(name, value)| {
            match name {
                METRIC_NAME => fixed.metric = value,
                "commons" => found_commons = value,
                "service" => fixed.service = value,
                "env" => fixed.env = value,
                "cluster" => fixed.cluster = value,
                _ => return true,
            }
            false
        });
        self.text.clear();
        json::push_object(&mut self.text, others);
        self.text == texts.others
            && found_commons == own
            && (fixed.metric, fixed.service, fixed.env, fixed.cluster)
                == (texts.metric, texts.service, texts.env, texts.cluster)
    }
}

/// What the columns say of a series.
#[derive(Debug, Clone, Copy, Default)]
struct Texts<'a> {
    metric: &'a str,
    service: &'a str,
    env: &'a str,
    cluster: &'a str,
    /// The other labels, as JSON.
    others: &'a str,
}

impl Texts<'_> {
    fn labels(&self, commons: &Commons) -> Labels {
        let others: Vec<_> = json_read::members(self.others)
            .filter_map(|(name, value)| match json_read::Json::of(value) {
                json_read::Json::Text(text) => Some((name, text)),
                _ => None,
            })
            .collect();
        let mut pairs: Vec<(&str, &str)> =
            others.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
        pairs.extend([
            (METRIC_NAME, self.metric),
            ("service", self.service),
            ("env", self.env),
            ("cluster", self.cluster),
        ]);
        if !commons.is_unassigned() {
            pairs.push(("commons", commons.as_str()));
        }
        Labels::from_few(&mut pairs)
    }
}

type Texted<'a> = &'a DictionaryArray<Int32Type>;

/// The columns of a batch.
struct Columns<'a> {
    times: &'a [i64],
    ids: &'a [u64],
    metric: Texted<'a>,
    others: Texted<'a>,
    small: [Texted<'a>; 3],
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, Fault> {
        let column = |name: &str| batch.column_by_name(name).ok_or("the file lacks a column");
        let text = |name: &str| -> Result<Texted<'a>, Fault> {
            Ok(column(name)?.as_dictionary_opt().ok_or("the file has a column of another kind")?)
        };
        let times = column("timestamp")?.as_primitive_opt::<TimestampMillisecondType>();
        let ids = column("series_id")?.as_primitive_opt::<UInt64Type>();
        Ok(Self {
            times: times.ok_or("the file's times are of another kind")?.values(),
            ids: ids.ok_or("the file's ids are of another kind")?.values(),
            metric: text("metric")?,
            others: text("labels")?,
            small: [text("service")?, text("env")?, text("cluster")?],
        })
    }

    /// Returns the end of the run of rows of one series that begins at a row. Two label sets may share
    /// an id; two keys of one dictionary do not share a text.
    fn end_of_run(&self, from: usize) -> usize {
        let (others, metrics) = (self.others.keys().values(), self.metric.keys().values());
        let (id, other, metric) = (self.ids[from], others[from], metrics[from]);
        let rows = self.ids[from..].iter().zip(&others[from..]).zip(&metrics[from..]);
        from + rows.take_while(|&((a, b), c)| *a == id && *b == other && *c == metric).count()
    }

    fn texts(&self, row: usize) -> Texts<'a> {
        let text = |column: Texted<'a>| {
            column.key(row).map_or("", |key| column.values().as_string::<i32>().value(key))
        };
        let [service, env, cluster] = self.small.map(text);
        Texts { metric: text(self.metric), service, env, cluster, others: text(self.others) }
    }
}
