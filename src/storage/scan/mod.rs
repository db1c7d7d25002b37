//! Reading series: first which there are and where their samples lie, then the samples, some series
//! at a time.
//!
//! A [`Plan`] finds the series of a question in the heads' index and in what is known of the files, so
//! that nothing is read that is not wanted. A [`Scan`] then reads the rows of the found series from all
//! files and heads side by side, each file once from its first wanted row to its last, and hands on
//! blocks of whole series; so the memory that a question takes depends on the size of a block and not
//! on how much it reads. Names alone ([`names`]) need no samples but where a file's first and last
//! sample of a series lie around the range that is asked for.

mod finder;
mod histograms;
mod names;
mod plan;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::files::read_runs::{Rows, RunReader, Wants};
use super::head::CommonsHead;
use super::head::metrics::{MetricsHead, sort_first_wins};
use super::snapshot::Snapshot;
use super::{ReadError, SeriesRequest};
use crate::model::{Commons, SeriesData};
use histograms::{Form, Taken, put_in_order as put_points_in_order};
use plan::{Found, OfCommons, Plan, Wanted, commons_of};

pub use histograms::stored_samples;

/// Series read under one hold of the head's lock, so that writers are never kept waiting long.
const SERIES_PER_LOCK: usize = 256;
/// Series whose labels and samples are loaded at once: as many as the processor can wait for, and few enough
/// that they are still near when it comes to them.
const SIDE_BY_SIDE: usize = 32;
/// The key of the most series whose samples are read.
const SERIES_LIMIT: &str = "query.series_max";
/// A histogram counts for as many samples as it takes memory.
const SAMPLE_BYTES: usize = 16;
/// What is read together where somebody works through the series one by one: what so many rows take stays
/// in the processor's cache until it is computed with, and with so many series several threads have work.
const FEW: Enough = Enough { n_rows: 1 << 14, n_series: 256 };
/// Rows that are taken between two looks whether anybody waits for them.
const LOOK_ROWS: usize = 1 << 16;

/// The series of one question, which are read as they are asked for.
#[derive(Debug)]
pub struct Scan {
    snapshot: Snapshot,
    start_ms: i64,
    end_ms: i64,
    samples_max: usize,
    wants: Wants,
    form: Form,
    n_samples: usize,
    n_rows: usize,
    /// Whether the series of each commons come in the order of labels by themselves.
    is_by_labels: bool,
    n_commons: usize,
    rest: std::vec::IntoIter<OfCommons>,
    current: Option<UnderWay>,
}

/// How much a block has, about: no more rows than fit, and no more than are enough.
#[derive(Debug, Clone, Copy)]
struct Room {
    n_rows_max: usize,
    enough: Enough,
}

/// So many rows of so many series; one of the two is not enough.
#[derive(Debug, Clone, Copy)]
struct Enough {
    n_rows: usize,
    n_series: usize,
}

impl Room {
    fn of(n_rows_max: usize) -> Self {
        Self { n_rows_max, enough: Enough { n_rows: usize::MAX, n_series: usize::MAX } }
    }
}

/// One commons, some of whose series were read.
#[derive(Debug)]
struct UnderWay {
    series: std::vec::IntoIter<Found>,
    /// The place of the next series.
    n_done: u32,
    heads: Vec<Arc<CommonsHead>>,
    readers: Vec<RunReader>,
}

impl Snapshot {
    /// Finds the matching series; their samples are read by [`Scan::next_block`]. With `wants_starts`
    /// each sample says since when it counts.
    ///
    /// A file that turns out to be damaged is left out whole, and [`Snapshot::warnings`] names it.
    pub fn scan(&self, request: &SeriesRequest<'_>, wants_starts: bool) -> Result<Scan, ReadError> {
        self.scan_as(Form::Seen, request, wants_starts)
    }

    fn scan_as(
        &self,
        form: Form,
        request: &SeriesRequest<'_>,
        wants_starts: bool,
    ) -> Result<Scan, ReadError> {
        let plan = self.plan(form, request)?;
        Ok(Scan::new(self, request, plan, (wants_starts, form)))
    }

    /// Returns the matching series with their samples in the time range, sorted by labels; series
    /// without a sample there are left out.
    ///
    /// A file that turns out to be damaged is left out whole, and [`Snapshot::warnings`] names it.
    pub fn select(&self, request: &SeriesRequest<'_>) -> Result<Vec<SeriesData>, ReadError> {
        self.select_all(Form::Seen, request, false)
    }

    /// As [`Snapshot::select`], with histograms as they are stored in place of those that questions
    /// compute with.
    pub fn select_stored(&self, request: &SeriesRequest<'_>) -> Result<Vec<SeriesData>, ReadError> {
        self.select_all(Form::Stored, request, false)
    }

    /// As [`Snapshot::select`], and says of each sample since when it counts.
    pub fn select_started(
        &self,
        request: &SeriesRequest<'_>,
    ) -> Result<Vec<SeriesData>, ReadError> {
        self.select_all(Form::Seen, request, true)
    }

    fn select_all(
        &self,
        form: Form,
        request: &SeriesRequest<'_>,
        wants_starts: bool,
    ) -> Result<Vec<SeriesData>, ReadError> {
        loop {
            // A damaged file was noted, so the next plan does without it.
            match self.scan_as(form, request, wants_starts)?.next_block(usize::MAX) {
                Err(error) if error.leaves_out() => {}
                read => return Ok(read?.unwrap_or_default()),
            }
        }
    }

    fn plan(&self, form: Form, request: &SeriesRequest<'_>) -> Result<Plan, ReadError> {
        self.plan_of(form, &commons_of(self, request.matchers), request, Wanted::all(SERIES_LIMIT))
    }

    fn plan_of(
        &self,
        form: Form,
        commons: &[Commons],
        request: &SeriesRequest<'_>,
        wanted: Wanted,
    ) -> Result<Plan, ReadError> {
        loop {
            match Plan::find((self, form), request, commons, wanted) {
                Err(error) => self.leave_out(error)?,
                found => return found,
            }
        }
    }
}

impl Scan {
    fn new(
        snapshot: &Snapshot,
        request: &SeriesRequest<'_>,
        plan: Plan,
        (wants_starts, form): (bool, Form),
    ) -> Self {
        let SeriesRequest { start_ms, end_ms, samples_max, .. } = *request;
        Self {
            snapshot: snapshot.clone(),
            start_ms,
            end_ms,
            samples_max,
            wants: Wants {
                starts: wants_starts,
                keeping: snapshot.footers().samples.has_room_for(plan.n_rows_of_files()),
            },
            form,
            n_samples: plan.n_samples,
            n_rows: plan.n_rows,
            is_by_labels: plan.commons.iter().all(|of| of.is_by_labels),
            n_commons: plan.commons.len(),
            rest: plan.commons.into_iter(),
            current: None,
        }
    }

    /// Returns about how many rows there are to look at.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Returns some series with their samples, sorted by labels, or `None` when there are no more. When
    /// all of them have no more rows than `n_rows`, they come together. Those of one commons come
    /// before those of the next; a series without a sample in the range is left out.
    ///
    /// After an error that [leaves a file out](ReadError::leaves_out) the file is noted, and a new scan does without it.
    pub fn next_block(&mut self, n_rows: usize) -> Result<Option<Vec<SeriesData>>, ReadError> {
        let mut block = Vec::new();
        if self.n_rows <= n_rows {
            while let Some(some) = self.next_of_commons(Room::of(usize::MAX))? {
                block.extend(some);
            }
        } else {
            block.extend(self.next_of_commons(Room::of(n_rows))?.into_iter().flatten());
        }
        if block.is_empty() {
            return Ok(None);
        }
        if !self.is_by_labels || self.n_commons > 1 {
            // Runs that are sorted, one after the other: a stable sort finds them.
            block.sort_by(|a, b| a.labels.cmp(&b.labels));
        }
        Ok(Some(block))
    }

    /// As [`Scan::next_block`], for who works through the series one by one: no more than are quickly
    /// worked through. One commons comes after the other, each in the order of labels over all blocks.
    pub fn next_few(&mut self, n_rows_max: usize) -> Result<Option<Vec<SeriesData>>, ReadError> {
        if !self.is_by_labels {
            return self.next_block(n_rows_max);
        }
        self.next_of_commons(Room { n_rows_max, enough: FEW })
    }

    /// Returns the next series of a commons, none of them without samples.
    fn next_of_commons(&mut self, room: Room) -> Result<Option<Vec<SeriesData>>, ReadError> {
        loop {
            if self.current.as_ref().is_none_or(|current| current.series.as_slice().is_empty()) {
                let Some(next) = self.rest.next() else { return Ok(None) };
                self.current = Some(UnderWay::new(next, self.wants));
            }
            let mut current = self.current.take().expect("it was just put there");
            let read = self.read(&mut current, room);
            self.current = Some(current);
            let block = read.map_err(|error| self.snapshot.note_unread(error))?;
            if !block.is_empty() {
                return Ok(Some(block));
            }
        }
    }

    fn read(&mut self, of: &mut UnderWay, room: Room) -> Result<Vec<SeriesData>, ReadError> {
        let (in_heads, mut block) = of.take_some(room);
        let n_found = u32::try_from(block.len()).expect("places have 32 bits");
        let (first, end) = (of.n_done, of.n_done + n_found);
        of.n_done = end;
        let sources = (self.snapshot.disk(), self.snapshot.footers());
        let snapshot = &self.snapshot;
        let mut taking = Taking {
            snapshot,
            n_unlooked: 0,
            range: (self.start_ms, self.end_ms),
            n_samples: self.n_samples,
            samples_max: self.samples_max,
            wants_starts: self.wants.starts,
            form: self.form,
        };
        for reader in &mut of.readers {
            snapshot.go_on()?;
            reader.read_until(sources, end, &mut |rows| {
                taking.rows(&mut block[(rows.place - first) as usize], &rows)
            })?;
        }
        for head in &of.heads {
            let blocks = block.chunks_mut(SERIES_PER_LOCK);
            for (in_heads, series) in in_heads.chunks(SERIES_PER_LOCK).zip(blocks) {
                snapshot.go_on()?;
                taking.head(head, in_heads, series)?;
            }
        }
        self.n_samples = taking.n_samples;
        block.retain(|one| {
            let has_histograms = !one.histograms.is_empty() || !one.stored.is_empty();
            !one.timestamps_ms.is_empty() || has_histograms
        });
        block.iter_mut().for_each(put_in_order);
        Ok(block)
    }
}

impl UnderWay {
    fn new(of: OfCommons, wants: Wants) -> Self {
        let readers = of.files.into_iter();
        let readers = readers.map(|(entry, pieces)| RunReader::new(entry, pieces, wants));
        Self {
            series: of.series.into_iter(),
            n_done: 0,
            heads: of.heads,
            readers: readers.collect(),
        }
    }

    /// Takes series that fit, at least one, none of them with samples of its own yet; the index of
    /// each in the heads is beside it.
    fn take_some(&mut self, room: Room) -> (Vec<Option<u32>>, Vec<SeriesData>) {
        let Room { n_rows_max, enough } = room;
        let mut n_rows = 0_usize;
        let fits = |(n_series, found): &(usize, &Found)| {
            let is_enough = n_rows >= enough.n_rows && *n_series >= enough.n_series;
            let fits = n_rows < n_rows_max && !is_enough;
            n_rows = n_rows.saturating_add(found.n_rows as usize);
            fits
        };
        let n = self.series.as_slice().iter().enumerate().take_while(fits).count();
        let registry = self.heads.first().map(|head| head.entry.registry.read());
        let registry = registry.as_deref();
        let mut n_left = n.max(1).min(self.series.len());
        let mut taken = (Vec::with_capacity(n_left), Vec::with_capacity(n_left));
        while n_left > 0 {
            let n_some = n_left.min(SIDE_BY_SIDE);
            n_left -= n_some;
            if let Some(registry) = registry {
                let some = self.series.as_slice()[..n_some].iter();
                registry.warm(some.filter_map(Found::of_heads_alone));
            }
            let some = self.series.by_ref().take(n_some);
            taken.extend(some.map(|found| (found.series_idx, found.begin(registry))));
        }
        taken
    }
}

/// What is taken of samples, and how many were.
struct Taking<'a> {
    snapshot: &'a Snapshot,
    /// Rows since the last look whether to go on.
    n_unlooked: usize,
    range: (i64, i64),
    n_samples: usize,
    samples_max: usize,
    wants_starts: bool,
    form: Form,
}

impl Taking<'_> {
    /// Takes what lies in the range.
    fn rows(&mut self, series: &mut SeriesData, rows: &Rows<'_>) -> Result<(), ReadError> {
        let (start_ms, end_ms) = self.range;
        let times = rows.timestamps_ms;
        self.n_unlooked += times.len();
        if self.n_unlooked >= LOOK_ROWS {
            self.n_unlooked = 0;
            self.snapshot.go_on()?;
        }
        // Mostly all of them lie in it.
        let is_all = times.first().is_some_and(|ms| start_ms <= *ms)
            && times.last().is_some_and(|ms| *ms <= end_ms);
        let (first, n) = match is_all {
            true => (0, times.len()),
            false => {
                let first = times.partition_point(|ms| *ms < start_ms);
                (first, times[first..].partition_point(|ms| *ms <= end_ms))
            }
        };
        self.count(n)?;
        series.timestamps_ms.extend_from_slice(&times[first..first + n]);
        series.values.extend_from_slice(&rows.values[first..first + n]);
        if self.wants_starts {
            series.starts_ns.extend((first..first + n).map(|idx| rows.start_ns(idx)));
        }
        Ok(())
    }

    fn head(
        &mut self,
        head: &CommonsHead,
        in_heads: &[Option<u32>],
        block: &mut [SeriesData],
    ) -> Result<(), ReadError> {
        let metrics = head.metrics.read();
        for (in_heads, block) in in_heads.chunks(SIDE_BY_SIDE).zip(block.chunks_mut(SIDE_BY_SIDE)) {
            let slot = |series_idx: &Option<u32>| metrics.find((*series_idx)?);
            let slots: Vec<Option<u32>> = in_heads.iter().map(slot).collect();
            metrics.warm(slots.iter().flatten().copied(), self.range.0);
            for (slot, series) in slots.into_iter().zip(block) {
                if let Some(slot) = slot {
                    self.slot(&metrics, slot, series)?;
                }
            }
        }
        Ok(())
    }

    fn slot(
        &mut self,
        metrics: &MetricsHead,
        slot: u32,
        series: &mut SeriesData,
    ) -> Result<(), ReadError> {
        let (start_ms, end_ms) = self.range;
        let SeriesData { timestamps_ms, values, starts_ns, .. } = series;
        let n_before = values.len();
        if self.wants_starts {
            metrics.read_started(slot, start_ms, end_ms, |ms, value, start_ns| {
                timestamps_ms.push(ms);
                values.push(value);
                starts_ns.push(start_ns);
            });
        } else {
            metrics.read(slot, start_ms, end_ms, |ms, value| {
                timestamps_ms.push(ms);
                values.push(value);
            });
        }
        self.count(values.len() - n_before)?;
        let mut taken = Taken::default();
        for (ms, histogram) in metrics.exp_of(slot) {
            let is_in = start_ms <= ms && ms <= end_ms;
            if let Some(n) = is_in.then(|| taken.push(self.form, ms, histogram)).flatten() {
                self.count(n)?;
            }
        }
        series.histograms.append(&mut taken.seen);
        series.stored.append(&mut taken.stored);
        Ok(())
    }

    fn count(&mut self, n: usize) -> Result<(), ReadError> {
        self.n_samples += n;
        if self.n_samples <= self.samples_max {
            return Ok(());
        }
        Err(too_many_samples(self.samples_max))
    }
}

fn too_many_samples(max: usize) -> ReadError {
    ReadError::Limit { what: "samples", max, limit: "query.samples_max" }
}

/// Sorts samples by time; of two at one time the first that came stays.
fn put_in_order(series: &mut SeriesData) {
    let SeriesData { timestamps_ms, values, starts_ns, histograms, stored, .. } = series;
    sort_first_wins(timestamps_ms, values, starts_ns);
    put_points_in_order(histograms, timestamps_ms);
    put_points_in_order(stored, timestamps_ms);
}
