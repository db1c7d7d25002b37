//! The series of one leaf while lines come in.
//!
//! Where a leaf counts (lines, bytes) it keeps two numbers a series and step, however many lines there
//! are; where it needs the values themselves, it keeps them as samples. Several threads tally apart;
//! what they have is put together in the order of the pieces, so that the answer is the same however
//! many there were.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::columns::Lines;
use super::counted::{Counted, CountedRows};
use super::error::{KEY_MEMORY, KEY_SERIES, LogqlError};
use super::metric::Steps;
use super::pipeline::{Entry, Metadata, Pipeline, Sample, Wanted};
use super::rewrite::{Leaf, LeafKind};
use super::scan::{Place, Scan};
use super::stream::Stream;
use super::syntax::ast::{Grouping, RangeFunc};
use crate::model::{Labels, LabelsBuilder, SeriesData};
use crate::query::promql::Budget;

/// What all leaves of a query hold together, in all their threads.
#[derive(Debug, Default)]
pub(super) struct Used {
    n_bytes: AtomicUsize,
    n_series: AtomicUsize,
}

impl Used {
    fn bytes(&self, n: usize, budget: &Budget) -> Result<(), LogqlError> {
        let n_bytes = self.n_bytes.fetch_add(n, Ordering::Relaxed).saturating_add(n);
        let max = budget.limits.memory_bytes_max;
        if n_bytes <= max {
            return Ok(());
        }
        Err(LogqlError::Limit {
            what: "bytes of samples and intermediate results",
            n: n_bytes as u64,
            max: max as u64,
            key: KEY_MEMORY,
        })
    }

    /// Fails when these and the series of the leaves before are too many.
    fn check_series(&self, n_more: usize, budget: &Budget) -> Result<(), LogqlError> {
        let n = self.n_series.load(Ordering::Relaxed).saturating_add(n_more);
        let max = budget.limits.series_max;
        if n <= max {
            return Ok(());
        }
        Err(LogqlError::Limit { what: "series", n: n as u64, max: max as u64, key: KEY_SERIES })
    }
}

/// What is tallied, and within which limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'l> {
    pub(super) leaf: &'l Leaf<'l>,
    pub(super) steps: &'l Steps,
    pub(super) budget: &'l Budget,
    pub(super) used: &'l Used,
}

/// The series that one thread has met.
pub(super) struct Tally<'l> {
    rules: Rules<'l>,
    places: HashMap<Vec<u8>, usize>,
    all: Vec<OneSeries>,
    key: Vec<u8>,
    n_steps: usize,
    /// The series of the rows that differ in nothing else than their stream and level.
    plain: HashMap<(usize, u8), Option<usize>>,
    last_plain: Option<((usize, u8), Option<usize>)>,
    /// The piece under way.
    piece_idx: usize,
}

struct OneSeries {
    labels: Labels,
    data: Data,
}

enum Data {
    /// By how much lines and bytes grow from one step to the next, and shrink behind the last.
    Counts(Vec<(i64, i64)>),
    /// (ms, value) in the order in which they came, by their pieces.
    Samples(Vec<(usize, Vec<(i64, f64)>)>),
}

impl<'l> Tally<'l> {
    pub(super) fn new(rules: Rules<'l>) -> Self {
        Self {
            rules,
            places: HashMap::new(),
            all: Vec::new(),
            key: Vec::new(),
            n_steps: usize::try_from(rules.steps.n()).unwrap_or(1),
            plain: HashMap::new(),
            last_plain: None,
            piece_idx: 0,
        }
    }

    /// Begins a piece.
    pub(super) fn begin(&mut self, piece_idx: usize) {
        self.piece_idx = piece_idx;
    }

    /// Returns true when stream and time are all that matters.
    pub(super) fn needs_no_row(&self, pipeline: &Pipeline) -> bool {
        let counts = matches!(
            self.rules.leaf.call.func,
            RangeFunc::Count | RangeFunc::Rate | RangeFunc::Absent
        );
        let is_grouped = match &self.rules.leaf.grouping {
            Some(Grouping { is_without: false, labels }) => labels.iter().all(|label| {
                // These no record says otherwise.
                ["commons", "service", "env", "cluster"].contains(&label.as_str())
            }),
            _ => false,
        };
        counts && is_grouped && pipeline.is_empty()
    }

    /// Returns a time that stands for all from `min_ns` to `max_ns`, when rows of all these times count for
    /// the same steps.
    pub(super) fn time_of_all(
        &self,
        pipeline: &Pipeline,
        (min_ns, max_ns): (i64, i64),
    ) -> Option<i64> {
        if !matches!(self.rules.leaf.kind, LeafKind::Counted) || !pipeline.is_empty() {
            return None;
        }
        let steps_of = |ts_ns| self.steps_of(ms_of(ts_ns));
        let steps = steps_of(min_ns)?;
        (steps_of(max_ns)? == steps).then_some(max_ns)
    }

    /// Tallies rows of which nothing matters but stream and level, all of one time; returns false when
    /// that is not so, and takes none.
    pub(super) fn take_counted(
        &mut self,
        pipeline: &Pipeline,
        rows: &CountedRows,
        ts_ns: i64,
        scan: &Scan<'_>,
    ) -> Result<bool, LogqlError> {
        if !self.needs_no_row(pipeline) {
            let is_known = |count: &Counted| count.level.is_some() || !pipeline.wants_level();
            let has_attributes = rows.has_attributes && pipeline.columns().contains(&"attributes");
            if has_attributes || !rows.counts.iter().all(is_known) {
                return Ok(false);
            }
        }
        for count in &rows.counts {
            let stream = scan.stream(count.stream_idx);
            let level = count.level.as_deref().unwrap_or("");
            let metadata = Metadata { level, of_resource: &stream.metadata, ..Metadata::default() };
            let place = Place { ts_ns, row_idx: 0, stream_idx: count.stream_idx };
            let series_idx = self.take_row(pipeline, &place, "", &metadata, &stream)?;
            let Some(series_idx) = series_idx else { continue };
            // One of them was just tallied.
            self.add_lines(series_idx, ts_ns, i64::try_from(count.n_rows - 1).unwrap_or(i64::MAX));
        }
        Ok(true)
    }

    fn add_lines(&mut self, series_idx: usize, ts_ns: i64, n_lines: i64) {
        let steps = self.steps_of(ms_of(ts_ns));
        if let (Data::Counts(counts), Some((first, behind))) =
            (&mut self.all[series_idx].data, steps)
        {
            counts[first].0 += n_lines;
            counts[behind].0 -= n_lines;
        }
    }

    /// Returns the steps that a time counts for: the first, and the one behind the last.
    fn steps_of(&self, ms: i64) -> Option<(usize, usize)> {
        let call = self.rules.leaf.call;
        let at_ms = ms.saturating_add(call.offset_ms);
        steps_of(self.rules.steps, at_ms, call.range_ms, self.n_steps)
    }

    pub(super) fn count_places(
        &mut self,
        places: &[Place],
        scan: &Scan<'_>,
    ) -> Result<(), LogqlError> {
        let mut known: HashMap<usize, usize> = HashMap::new();
        for place in places {
            let series_idx = match known.get(&place.stream_idx) {
                Some(series_idx) => *series_idx,
                None => {
                    let stream = scan.stream(place.stream_idx);
                    let entry = Entry::new(place.ts_ns, "", &stream.labels);
                    let series_idx = self.series_of(&entry)?;
                    known.insert(place.stream_idx, series_idx);
                    series_idx
                }
            };
            self.add(series_idx, place.ts_ns, 0, Sample::Line)?;
        }
        Ok(())
    }

    /// Counts a row. Rows without a line that have nothing of their own but a level are looked at once
    /// for each stream and level.
    pub(super) fn take(
        &mut self,
        pipeline: &Pipeline,
        place: &Place,
        lines: &Lines<'_>,
        row: usize,
        stream: &Stream,
    ) -> Result<(), LogqlError> {
        let plain = lines.level_alone(row).filter(|_| pipeline.tells_apart_by_level_alone());
        let Some(level) = plain else {
            let metadata = lines.metadata(row, stream);
            return self.take_row(pipeline, place, lines.body(row), &metadata, stream).map(drop);
        };
        let key = (place.stream_idx, level);
        let known = match &self.last_plain {
            Some((last, series_idx)) if *last == key => Some(*series_idx),
            _ => self.plain.get(&key).copied(),
        };
        if let Some(series_idx) = known {
            self.last_plain = Some((key, series_idx));
            return match series_idx {
                Some(series_idx) => self.add(series_idx, place.ts_ns, 0, Sample::Line),
                None => Ok(()),
            };
        }
        let metadata = lines.metadata(row, stream);
        let series_idx = self.take_row(pipeline, place, "", &metadata, stream)?;
        self.plain.insert(key, series_idx);
        Ok(())
    }

    /// Counts a row by itself; returns for which series, if it was not filtered out.
    fn take_row(
        &mut self,
        pipeline: &Pipeline,
        place: &Place,
        line: &str,
        metadata: &Metadata<'_>,
        stream: &Stream,
    ) -> Result<Option<usize>, LogqlError> {
        let mut entry = Entry::new(place.ts_ns, line, &stream.labels);
        if !pipeline.run_rest(&mut entry, metadata) {
            return Ok(None);
        }
        let Some(sample) = pipeline.unwrap(&mut entry, metadata) else { return Ok(None) };
        let is_of_nothing =
            matches!(&self.rules.leaf.grouping, Some(g) if !g.is_without && g.labels.is_empty());
        if !is_of_nothing {
            pipeline.complete(&mut entry, metadata);
        }
        if let Some(error) = entry.fields.error().filter(|error| !pipeline.counts_failed(error)) {
            let error = error.to_owned();
            // Loki shows all of the line's labels, not only those that anybody asked for.
            metadata.add_to(&mut entry.fields, &entry.line, &Wanted::All);
            let series = entry.fields.labels().to_string();
            return Err(LogqlError::Pipeline { error, series });
        }
        let n_bytes = entry.line.len();
        let series_idx = self.series_of(&entry)?;
        self.add(series_idx, place.ts_ns, n_bytes, sample)?;
        Ok(Some(series_idx))
    }

    /// Returns the series that a line counts for.
    fn series_of(&mut self, entry: &Entry<'_>) -> Result<usize, LogqlError> {
        self.key.clear();
        let grouping = self.rules.leaf.grouping.as_ref();
        let labels = match grouping {
            Some(Grouping { is_without: false, labels }) => {
                for name in labels {
                    self.key.extend_from_slice(entry.fields.get(name).unwrap_or("").as_bytes());
                    self.key.push(0xff); // No UTF-8 text holds this byte.
                }
                None
            }
            _ => {
                let dropped = grouping.map_or(&[][..], |grouping| grouping.labels.as_slice());
                let mut builder = LabelsBuilder::new();
                let kept =
                    entry.fields.all().filter(|(name, _)| !dropped.iter().any(|d| d == name));
                for (name, value) in kept {
                    builder.set(name, value);
                }
                let labels = builder.build();
                self.key.extend_from_slice(labels.packed());
                Some(labels)
            }
        };
        if let Some(place) = self.places.get(&self.key) {
            return Ok(*place);
        }
        let labels = labels.unwrap_or_else(|| {
            let names = grouping.map_or(&[][..], |grouping| grouping.labels.as_slice());
            Labels::from_pairs(names.iter().map(|n| (n, entry.fields.get(n).unwrap_or(""))))
        });
        self.add_series(labels)
    }

    fn add_series(&mut self, labels: Labels) -> Result<usize, LogqlError> {
        self.rules.used.check_series(self.all.len() + 1, self.rules.budget)?;
        let data = match self.rules.leaf.kind {
            LeafKind::Counted => {
                self.rules
                    .used
                    .bytes(16 * (self.n_steps + 1) + labels.packed().len(), self.rules.budget)?;
                Data::Counts(vec![(0, 0); self.n_steps + 1])
            }
            LeafKind::Sampled => Data::Samples(Vec::new()),
        };
        self.places.insert(self.key.clone(), self.all.len());
        self.all.push(OneSeries { labels, data });
        Ok(self.all.len() - 1)
    }

    fn add(
        &mut self,
        series_idx: usize,
        ts_ns: i64,
        n_bytes: usize,
        sample: Sample,
    ) -> Result<(), LogqlError> {
        let ms = ms_of(ts_ns);
        let (rules, piece_idx) = (self.rules, self.piece_idx);
        let steps = self.steps_of(ms);
        match &mut self.all[series_idx].data {
            Data::Samples(pieces) => {
                rules.used.bytes(16, rules.budget)?;
                let value = match sample {
                    Sample::Value(value) => value,
                    Sample::Line => 1.0,
                };
                match pieces.last_mut() {
                    Some((last_idx, samples)) if *last_idx == piece_idx => {
                        samples.push((ms, value));
                    }
                    _ => pieces.push((piece_idx, vec![(ms, value)])),
                }
            }
            Data::Counts(counts) => {
                let Some((first, behind)) = steps else { return Ok(()) };
                let n_bytes = i64::try_from(n_bytes).unwrap_or(i64::MAX);
                counts[first].0 += 1;
                counts[first].1 += n_bytes;
                counts[behind].0 -= 1;
                counts[behind].1 -= n_bytes;
            }
        }
        Ok(())
    }
}

/// Rounds up to ms: so a time is in a window between whole ms exactly when it was before.
fn ms_of(ts_ns: i64) -> i64 {
    ts_ns.div_euclid(1_000_000) + i64::from(ts_ns.rem_euclid(1_000_000) != 0)
}

/// Puts together what threads have tallied apart.
pub(super) fn finish(
    rules: Rules<'_>,
    tallies: Vec<Tally<'_>>,
) -> Result<Vec<SeriesData>, LogqlError> {
    let Rules { leaf, steps, budget, used } = rules;
    let mut all: Vec<OneSeries> = tallies.into_iter().flat_map(|tally| tally.all).collect();
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    let mut merged: Vec<OneSeries> = Vec::with_capacity(all.len());
    for series in all {
        match merged.last_mut() {
            Some(last) if last.labels == series.labels => last.data.add(series.data),
            _ => merged.push(series),
        }
    }
    used.check_series(merged.len(), budget)?;
    used.n_series.fetch_add(merged.len(), Ordering::Relaxed);
    let mut found = Vec::with_capacity(merged.len());
    for OneSeries { labels, data } in merged {
        let (timestamps_ms, values) = match data {
            Data::Samples(mut pieces) => {
                pieces.sort_by_key(|(piece_idx, _)| *piece_idx);
                let samples = pieces.into_iter().flat_map(|(_, samples)| samples);
                let mut samples: Vec<(i64, f64)> = samples.collect();
                samples.sort_by_key(|(ms, _)| *ms);
                samples.into_iter().unzip()
            }
            Data::Counts(counts) => values_of(leaf, steps, &counts),
        };
        used.bytes(16 * timestamps_ms.len(), budget)?;
        found.push(SeriesData { labels, timestamps_ms, values, ..SeriesData::default() });
    }
    Ok(found)
}

impl Data {
    /// Adds what another thread has of the same series.
    fn add(&mut self, other: Data) {
        match (self, other) {
            (Data::Counts(counts), Data::Counts(others)) => {
                for (count, other) in counts.iter_mut().zip(others) {
                    count.0 += other.0;
                    count.1 += other.1;
                }
            }
            (Data::Samples(pieces), Data::Samples(others)) => pieces.extend(others),
            _ => unreachable!("a leaf keeps either counts or samples"),
        }
    }
}

/// Returns the steps whose windows hold a time: the first, and the one behind the last.
fn steps_of(steps: &Steps, ms: i64, range_ms: i64, n_steps: usize) -> Option<(usize, usize)> {
    let step_ms = steps.step_ms.unwrap_or(1);
    let ceil = |ms: i64| {
        let ms = ms.saturating_sub(steps.start_ms);
        let step = ms.div_euclid(step_ms) + i64::from(ms.rem_euclid(step_ms) != 0);
        usize::try_from(step.max(0)).unwrap_or(usize::MAX).min(n_steps)
    };
    let (first, behind) = (ceil(ms), ceil(ms.saturating_add(range_ms)));
    (first < behind).then_some((first, behind))
}

fn values_of(leaf: &Leaf<'_>, steps: &Steps, counts: &[(i64, i64)]) -> (Vec<i64>, Vec<f64>) {
    let (mut n_lines, mut n_bytes) = (0_i64, 0_i64);
    let seconds = leaf.call.range_ms as f64 / 1_000.0;
    let (mut times, mut values) = (Vec::new(), Vec::new());
    for (step, (lines, bytes)) in counts[..counts.len() - 1].iter().enumerate() {
        n_lines += lines;
        n_bytes += bytes;
        if n_lines == 0 {
            continue;
        }
        times.push(steps.at(step));
        values.push(match leaf.call.func {
            RangeFunc::Rate => n_lines as f64 / seconds,
            RangeFunc::Bytes => n_bytes as f64,
            RangeFunc::BytesRate => n_bytes as f64 / seconds,
            _ => n_lines as f64,
        });
    }
    (times, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_counts_for_the_steps_whose_window_holds_it() {
        let steps = Steps { start_ms: 100, end_ms: 150, step_ms: Some(10) };
        for (ms, want) in [
            (100, Some((0, 2))),
            (101, Some((1, 3))),
            (80, None),
            (81, Some((0, 1))),
            (150, Some((5, 6))),
            (151, None),
        ] {
            assert_eq!(steps_of(&steps, ms, 20, 6), want, "{ms}");
        }
    }
}
