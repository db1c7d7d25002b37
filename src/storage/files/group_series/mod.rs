//! The series of a row group and where their rows are, read once and kept.
//!
//! A metrics file is sorted by series and then by time, so a series is one run of rows. Who knows the
//! runs finds the series of a question without looking at rows, and then reads two columns of the
//! rows that are wanted and nothing else. To learn the runs takes a pass over the small columns, of the
//! rows of the metrics that are asked about; what was learned is kept up to `storage.series_cache`, the
//! least lately used goes first.

mod cache;
mod learn;
mod metric_rows;
mod opened;
mod values;

use std::ops::Range;
use std::sync::Arc;

pub use cache::SeriesCache;
pub use values::{Menu, Values};

use super::read::{Footers, Selection};
use super::read_runs::Piece;
use crate::model::labels::METRIC_NAME;
use crate::model::{Labels, Matcher};
use crate::storage::disk::Disk;
use crate::storage::selections::Selections;
use crate::storage::{FileEntry, ReadError};
use opened::each_group;
use values::Gathered;

type Fault = Box<dyn std::error::Error + Send + Sync>;

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

/// The series of a row group, or of one metric in it, in the order of their rows.
#[derive(Debug, Default)]
pub struct GroupSeries {
    runs: Vec<Run>,
    /// Whether the metrics ascend, as in all files that are written today.
    is_by_metric: bool,
    n_bytes: usize,
    selections: Selections,
}

impl GroupSeries {
    fn new(runs: Vec<Run>, n_label_bytes: usize) -> Self {
        let is_by_metric = runs.is_sorted_by_key(|run| run.labels.metric());
        let n_bytes =
            runs.capacity() * size_of::<Run>() + n_label_bytes + selections_bytes(runs.len());
        Self { runs, is_by_metric, n_bytes, selections: Selections::default() }
    }

    /// Returns all runs.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Returns the places of the runs that meet all conditions, ascending.
    pub fn selected(&self, matchers: &[Matcher]) -> Arc<[u32]> {
        self.selections.get(matchers, selections_bytes(self.runs.len()), || self.select(matchers))
    }

    fn select(&self, matchers: &[Matcher]) -> Vec<u32> {
        let is_wanted = |place: &usize| {
            let labels = &self.runs[*place].labels;
            matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or("")))
        };
        let of = |place: usize| u32::try_from(place).expect("a row group has few series");
        match wanted_metric(matchers).filter(|_| self.is_by_metric) {
            None => (0..self.runs.len()).filter(is_wanted).map(of).collect(),
            // A pattern's names are sorted, and no two are the same.
            Some(names) => {
                let places = names.iter().flat_map(|name| self.of_metric(name));
                places.filter(is_wanted).map(of).collect()
            }
        }
    }

    fn of_metric(&self, name: &str) -> Range<usize> {
        let first = self.runs.partition_point(|run| run.labels.metric() < name);
        let n = self.runs[first..].partition_point(|run| run.labels.metric() <= name);
        first..first + n
    }
}

/// Returns what selections of so many series may take.
fn selections_bytes(n_runs: usize) -> usize {
    8 * n_runs + 1_024
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
    /// Returns true when no more shall be read; asked before each row group.
    pub is_over: &'a dyn Fn() -> bool,
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

/// Row groups with their series.
type Found = Vec<(Group, Arc<GroupSeries>)>;

/// Hands on the runs of a file that have samples in the time range and meet all conditions, in the order
/// of the file, each with its row group.
pub fn find_runs(
    disk: &dyn Disk,
    footers: &Footers,
    place: &Place<'_>,
    take: &mut dyn FnMut(Group, &Run) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let Selection { matchers, start_ms, end_ms } = place.selection;
    for (group, series) in find_groups(disk, footers, place)? {
        for place in &*series.selected(matchers) {
            let run = &series.runs[*place as usize];
            if run.min_ms <= end_ms && start_ms <= run.max_ms {
                take(group, run)?;
            }
        }
    }
    Ok(())
}

/// Returns the row groups of a file that may have something of the metrics that are wanted in the time
/// range, with their series or those of the metrics: the same row group may come several times, in the
/// order of its rows.
pub fn find_groups(
    disk: &dyn Disk,
    footers: &Footers,
    place: &Place<'_>,
) -> Result<Found, ReadError> {
    let names = wanted_metric(place.selection.matchers);
    let found = each_group(disk, footers, place, |opened, footer, group| {
        let parts = opened.parts(footers, footer, (group.idx, names, place.known))?;
        Ok(parts.into_iter().map(|series| (group, series)).collect::<Vec<_>>())
    })?;
    Ok(found.into_iter().flatten().collect())
}

/// Returns what a menu lists of all series of a file; no condition is looked at.
pub fn find_values(
    disk: &dyn Disk,
    footers: &Footers,
    place: &Place<'_>,
    menu: Menu<'_>,
) -> Result<Arc<Values>, ReadError> {
    let (path, name) = (&place.entry.path, menu.name());
    if let Some(known) = footers.values.get(path, &name) {
        return Ok(known);
    }
    let mut gathered = Gathered::default();
    let whole = Selection { matchers: &[], start_ms: i64::MIN, end_ms: i64::MAX };
    each_group(disk, footers, &Place { selection: whole, ..*place }, |opened, footer, group| {
        let series = opened.whole(footers, footer, (group.idx, place.known))?;
        gathered.add(&series.runs, menu);
        Ok(())
    })?;
    let found = Arc::new(gathered.finish());
    footers.values.put((path, name), Arc::clone(&found), found.n_bytes());
    Ok(found)
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
