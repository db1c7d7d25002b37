//! The label sets of series with samples in a range, and the values of a label, without the samples.

use hashbrown::HashSet;

use super::Scan;
use super::plan::{Found, OfCommons, Plan, commons_of};
use crate::model::Labels;
use crate::storage::files::group_series::{GroupSeries, Place, find_groups};
use crate::storage::files::read::Selection;
use crate::storage::head::CommonsHead;
use crate::storage::snapshot::Snapshot;
use crate::storage::{ReadError, SeriesRequest};

/// Rows of series whose samples have to be looked at, at a time.
const BLOCK_ROWS: usize = 1 << 20;

impl Snapshot {
    /// Returns the labels of the matching series with at least one sample in the range, sorted.
    pub fn series(&self, request: &SeriesRequest<'_>) -> Result<Vec<Labels>, ReadError> {
        let mut found = self.series_unsorted(request)?;
        found.sort();
        Ok(found)
    }

    /// The same in any order, each label set once.
    pub fn series_unsorted(&self, request: &SeriesRequest<'_>) -> Result<Vec<Labels>, ReadError> {
        loop {
            let mut plan = self.plan(request)?;
            let mut found: Vec<Labels> = Vec::new();
            for of in &mut plan.commons {
                take_certain(of, (request.start_ms, request.end_ms), &mut found);
            }
            match self.add_uncertain(request, plan, &mut found) {
                Err(error) if error.leaves_out() => {} // Noted: once more without it.
                added => return added.map(|()| found),
            }
        }
    }

    /// Returns the values of a label of the matching series with at least one sample in the range, in any
    /// order.
    pub fn label_values(
        &self,
        name: &str,
        request: &SeriesRequest<'_>,
    ) -> Result<Vec<String>, ReadError> {
        loop {
            let mut values = Values { name, found: HashSet::new() };
            match self.add_values(request, &mut values) {
                Ok(true) => return Ok(values.found.into_iter().collect()),
                Ok(false) => break,
                Err(error) => self.leave_out(error)?,
            }
        }
        let found = self.series_unsorted(request)?;
        let mut values = Values { name, found: HashSet::new() };
        found.iter().for_each(|labels| values.take(labels.get(name).unwrap_or("")));
        Ok(values.found.into_iter().collect())
    }

    /// Adds the values that are known without a look at each series; returns false when a series may
    /// have another one, and whether it has samples in the range is not known.
    fn add_values(
        &self,
        request: &SeriesRequest<'_>,
        values: &mut Values<'_>,
    ) -> Result<bool, ReadError> {
        if request.matchers.iter().any(|matcher| matcher.name != "commons") {
            return Ok(false);
        }
        let range = (request.start_ms, request.end_ms);
        let selection = Selection { matchers: &[], start_ms: range.0, end_ms: range.1 };
        for commons in &commons_of(self, request.matchers) {
            let registered = self.registered(commons);
            let known = |id| registered.as_ref()?.registry.read().labels_of_id(id);
            for entry in self.metrics_files(commons, range) {
                let place = Place { entry: &entry, selection, known: &known };
                if entry.has_exp || entry.deleted().is_some() {
                    return Ok(false);
                }
                for (_, series) in find_groups(self.disk(), self.footers(), &place)? {
                    if !values.add_group(&series, range) {
                        return Ok(false);
                    }
                }
            }
            for head in self.heads(commons) {
                if !values.add_head(&head, range) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn add_uncertain(
        &self,
        request: &SeriesRequest<'_>,
        mut plan: Plan,
        found: &mut Vec<Labels>,
    ) -> Result<(), ReadError> {
        plan.commons.retain(|of| !of.series.is_empty());
        if plan.commons.is_empty() {
            return Ok(());
        }
        let mut scan = Scan::new(self, request, plan, false);
        while let Some(block) = scan.next_block(BLOCK_ROWS)? {
            found.extend(block.into_iter().map(|series| series.labels));
        }
        Ok(())
    }
}

/// Values of one label.
struct Values<'a> {
    name: &'a str,
    found: HashSet<String>,
}

impl Values<'_> {
    fn take(&mut self, value: &str) {
        if !value.is_empty() && !self.found.contains(value) {
            self.found.insert(value.to_owned());
        }
    }

    /// Adds the values of series that have a sample in the range; returns false when there may be more.
    fn add_group(&mut self, group: &GroupSeries, (start_ms, end_ms): (i64, i64)) -> bool {
        let mut missing = HashSet::new();
        group.each_value(self.name, &mut |value| {
            if !self.found.contains(value) {
                missing.insert(value.to_owned());
            }
        });
        let (min_ms, max_ms) = group.times_ms();
        if start_ms <= min_ms && max_ms <= end_ms {
            self.found.extend(missing);
            return true;
        }
        // A value has many series: mostly the first that has it is in the range.
        let is_in = |ms| start_ms <= ms && ms <= end_ms;
        let mut unsure = HashSet::new();
        let mut runs = group.runs().iter();
        while !missing.is_empty()
            && let Some(run) = runs.next()
        {
            let value = run.labels.get(self.name).unwrap_or("");
            if is_in(run.min_ms) || is_in(run.max_ms) {
                self.found.extend(missing.take(value));
            } else if run.min_ms < start_ms && end_ms < run.max_ms && missing.contains(value) {
                unsure.insert(value);
            }
        }
        !unsure.iter().any(|value| missing.contains(*value))
    }

    fn add_head(&mut self, head: &CommonsHead, (start_ms, end_ms): (i64, i64)) -> bool {
        let registry = head.entry.registry.read();
        let metrics = head.metrics.read();
        let Some((min_ms, max_ms)) = metrics.time_range_ms() else { return true };
        let is_whole = start_ms <= min_ms && max_ms <= end_ms;
        let mut is_certain = true;
        for (value, series) in registry.listed(self.name) {
            if self.found.contains(value) {
                continue;
            }
            let slots = || series.iter().filter_map(|series_idx| metrics.find(*series_idx));
            let last_ms = |slot| metrics.chunk(slot).last_ms();
            let is_in = |slot| is_whole || (start_ms <= last_ms(slot) && last_ms(slot) <= end_ms);
            if slots().any(|slot| !metrics.chunk(slot).is_empty() && is_in(slot)) {
                self.take(value);
            } else if slots().next().is_some() {
                is_certain = false; // Histograms, or samples before the last.
            }
        }
        is_certain
    }
}

/// Takes the series out that have a sample in the range for sure, and leaves those of which the samples
/// must be looked at.
fn take_certain(of: &mut OfCommons, range: (i64, i64), found: &mut Vec<Labels>) {
    let is_certain =
        |one: &Found| one.is_certain || of.heads.iter().any(|head| is_in(head, one, range));
    let is_left: Vec<bool> = of.series.iter().map(|one| !is_certain(one)).collect();
    let mut place_of = vec![0; is_left.len()];
    let mut n_left = 0;
    for (place, is_left) in place_of.iter_mut().zip(&is_left) {
        *place = n_left;
        n_left += u32::from(*is_left);
    }
    for (_, pieces) in &mut of.files {
        pieces.retain(|piece| is_left[piece.place as usize]);
        pieces.iter_mut().for_each(|piece| piece.place = place_of[piece.place as usize]);
    }
    of.files.retain(|(_, pieces)| !pieces.is_empty());
    let series = std::mem::take(&mut of.series);
    for (one, is_left) in series.into_iter().zip(is_left) {
        if is_left {
            of.series.push(one);
        } else {
            found.push(one.labels);
        }
    }
}

/// Returns true when a head says by a series' newest sample that there is one in the range.
fn is_in(head: &CommonsHead, one: &Found, (start_ms, end_ms): (i64, i64)) -> bool {
    let Some(series_idx) = one.series_idx else { return false };
    let metrics = head.metrics.read();
    let Some(slot) = metrics.find(series_idx) else { return false };
    let chunk = metrics.chunk(slot);
    !chunk.is_empty() && start_ms <= chunk.last_ms() && chunk.last_ms() <= end_ms
}
