//! Which series a question is about, and where their samples lie.

use std::sync::Arc;

use super::finder::{Finder, Left};
use super::histograms::{Form, Taken};
use crate::model::{Commons, Labels, Matcher, SeriesData};
use crate::storage::files::read_runs::Piece;
use crate::storage::head::CommonsHead;
use crate::storage::head::registry::Registry;
use crate::storage::snapshot::{Snapshot, commons_matches};
use crate::storage::{FileEntry, ReadError, SeriesRequest};

/// Samples of a series that room is made for beforehand.
const ROOM_MAX: usize = 1 << 14;

/// What a question reads, commons by commons.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) commons: Vec<OfCommons>,
    /// About how many rows there are in the range.
    pub(super) n_rows: usize,
    /// What histograms in files took of the limit.
    pub(super) n_samples: usize,
}

/// What it reads of one commons.
#[derive(Debug)]
pub(super) struct OfCommons {
    /// Sorted by metric and labels, as files are.
    pub(super) series: Vec<Found>,
    /// Whether that is the order of labels too.
    pub(super) is_by_labels: bool,
    /// Oldest first; the place of a piece is that of its series above.
    pub(super) files: Vec<(Arc<FileEntry>, Vec<Piece>)>,
    /// Oldest first.
    pub(super) heads: Vec<Arc<CommonsHead>>,
}

/// Which of the series that match a question wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// How many are enough, whichever they are; all of them where there is no number.
    pub(super) enough: Option<usize>,
    /// The key of the most that may be looked at.
    pub(super) series_limit: &'static str,
}

impl Wanted {
    /// Returns that all of them are.
    pub(super) fn all(series_limit: &'static str) -> Self {
        Self { enough: None, series_limit }
    }
}

/// A series that matches.
#[derive(Debug)]
pub(super) struct Found {
    /// None where the heads alone have it: theirs are looked up when its samples are read, a few series at
    /// a time, because to look at all of them twice is most of what a question about many takes.
    pub(super) labels: Option<Labels>,
    /// Its index in the heads, when it is in any of them.
    pub(super) series_idx: Option<u32>,
    /// Those in files; not sorted.
    pub(super) histograms: Taken,
    pub(super) n_rows: u32,
    /// Whether it has a sample in the range for sure.
    pub(super) is_certain: bool,
}

impl Found {
    /// Returns the index of a series whose labels only the heads have.
    pub(super) fn of_heads_alone(&self) -> Option<u32> {
        self.series_idx.filter(|_| self.labels.is_none())
    }

    /// Takes the labels; `registry` is that of the heads, where there are any.
    pub(super) fn take_labels(&mut self, registry: Option<&Registry>) -> Labels {
        let of_heads = || Some(registry?.series(self.series_idx?).labels.clone());
        self.labels.take().or_else(of_heads).expect("a series without labels is that of a head")
    }

    /// Returns the series with the histograms of files and no samples, but with room for them.
    pub(super) fn begin(mut self, registry: Option<&Registry>) -> SeriesData {
        let n = (self.n_rows as usize).min(ROOM_MAX);
        SeriesData {
            labels: self.take_labels(registry),
            timestamps_ms: Vec::with_capacity(n),
            values: Vec::with_capacity(n),
            starts_ns: Vec::new(),
            histograms: self.histograms.seen,
            stored: self.histograms.stored,
        }
    }

    /// Returns true when a head says by the newest sample that there is one in the range.
    pub(super) fn is_in(&self, head: &CommonsHead, (start_ms, end_ms): (i64, i64)) -> bool {
        let Some(series_idx) = self.series_idx else { return false };
        let metrics = head.metrics.read();
        let Some(slot) = metrics.find(series_idx) else { return false };
        let chunk = metrics.chunk(slot);
        !chunk.is_empty() && start_ms <= chunk.last_ms() && chunk.last_ms() <= end_ms
    }
}

impl Plan {
    /// Plans to read what is asked of some commons. Where less than all is enough, it ends as soon as so
    /// many series have a sample in the range for sure.
    pub(super) fn find(
        sources: (&Snapshot, Form),
        request: &SeriesRequest<'_>,
        commons: &[Commons],
        wanted: Wanted,
    ) -> Result<Self, ReadError> {
        let mut plan = Self::default();
        let SeriesRequest { series_max, samples_max, .. } = *request;
        let Wanted { enough: n_wanted, series_limit } = wanted;
        let mut left =
            Left { n_series: series_max, n_samples: samples_max, n_wanted, series_limit };
        for commons in commons {
            let mut finder = Finder::new(sources, request, commons, &mut left);
            finder.files()?;
            let heads = finder.heads()?;
            if finder.series.is_empty() {
                continue;
            }
            let of = finder.finish(heads);
            plan.n_rows += of.series.iter().map(|found| found.n_rows as usize).sum::<usize>();
            plan.commons.push(of);
        }
        plan.n_samples = request.samples_max - left.n_samples;
        Ok(plan)
    }

    /// Returns how many rows are read of files, in the range or not.
    pub(super) fn n_rows_of_files(&self) -> usize {
        let files = self.commons.iter().flat_map(|of| &of.files);
        files.flat_map(|(_, pieces)| pieces).map(|piece| piece.rows.len()).sum()
    }
}

/// Returns the commons that are asked about; where the question names them, the others cost nothing.
pub(super) fn commons_of(snapshot: &Snapshot, matchers: &[Matcher]) -> Vec<Commons> {
    let of_commons = matchers.iter().filter(|matcher| matcher.name == "commons");
    let named = of_commons.filter_map(Matcher::one_of).min_by_key(|names| names.len());
    let mut all = match named {
        None => snapshot.commons(),
        Some(names) => {
            let of = |name: &String| match name.as_str() {
                "" => Some(Commons::unassigned()),
                name => Commons::from_stored(name).ok(),
            };
            names.iter().filter_map(of).filter(|commons| snapshot.covers(commons)).collect()
        }
    };
    all.retain(|commons| commons_matches(commons, matchers));
    all
}
