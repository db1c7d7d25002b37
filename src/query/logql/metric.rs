//! Metric queries: what pipelines make of lines becomes series, and the rest is PromQL.
//!
//! Every function over a window is a leaf. Where it counts (lines, bytes) a leaf keeps two numbers a
//! series and step, however many lines there are; where it needs the values themselves, it keeps
//! them as samples. Leaves are then the series of a PromQL query that says what is above them
//! ([`rewrite`](super::rewrite)), so that aggregation, matching and arithmetic are one code for both
//! languages.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::columns::Lines;
use super::error::{KEY_MEMORY, KEY_SERIES, LogqlError};
use super::pipeline::{Entry, Metadata, Pipeline, Sample, Wanted};
use super::prune::need;
use super::rewrite::{Leaf, LeafKind, rewrite};
use super::scan::{Place, Scan, ScanStats};
use super::stream::Stream;
use super::syntax::MetricExpr;
use super::syntax::ast::{Grouping, RangeFunc};
use crate::model::{Labels, LabelsBuilder, SeriesData};
use crate::query::promql::{self, Answer, Budget, SeriesSource};
use crate::storage::{ReadError, SeriesRequest, Snapshot};

/// Evenly spaced times, ms since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// The first.
    pub start_ms: i64,
    /// None is later.
    pub end_ms: i64,
    /// From one to the next; `None` is one time alone.
    pub step_ms: Option<i64>,
}

impl Steps {
    fn n(&self) -> i64 {
        let step_ms = self.step_ms.unwrap_or(1);
        if self.step_ms.is_none() { 1 } else { (self.end_ms - self.start_ms) / step_ms + 1 }
    }

    fn at(&self, step: usize) -> i64 {
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        self.start_ms.saturating_add(self.step_ms.unwrap_or(0).saturating_mul(step))
    }
}

/// Answers a metric query.
pub(super) fn evaluate(
    snapshot: &Snapshot,
    expr: &MetricExpr,
    steps: Steps,
    budget: &Budget,
    now_ns: i64,
) -> Result<(Answer, ScanStats), LogqlError> {
    check_steps(&steps, budget)?;
    let query = rewrite(expr);
    let text_limits = promql::ParseLimits {
        // LogQL has functions of its own name that PromQL only has behind a flag.
        has_experimental: true,
        text_bytes_max: usize::MAX,
        tokens_max: usize::MAX,
        ..budget.limits.parse
    };
    let above = promql::parse(&query.promql, &text_limits)?;
    let mut series = HashMap::new();
    let mut stats = ScanStats::default();
    let mut used = Used::default();
    for leaf in &query.leaves {
        let (found, of_leaf) = run_leaf(snapshot, leaf, &steps, budget, now_ns, &mut used)?;
        series.insert(leaf.name.clone(), found);
        stats.n_lines += of_leaf.n_lines;
        stats.n_bytes += of_leaf.n_bytes;
        stats.n_pieces += of_leaf.n_pieces;
        stats.n_in_memory += of_leaf.n_in_memory;
        stats.n_rows_ruled_out += of_leaf.n_rows_ruled_out;
    }
    let source = Made(Mutex::new(series));
    // A leaf that counts has a value at each step and nothing between them.
    let engine = promql::Engine { lookback_ms: 1, subquery_step_ms: 1_000 };
    let answer = match steps.step_ms {
        None => engine.instant(&source, &above, steps.start_ms, budget)?,
        Some(step_ms) => {
            engine.range(&source, &above, steps.start_ms, steps.end_ms, step_ms, budget)?
        }
    };
    Ok((answer, stats))
}

fn check_steps(steps: &Steps, budget: &Budget) -> Result<(), LogqlError> {
    let Some(step_ms) = steps.step_ms else { return Ok(()) };
    if step_ms <= 0 || steps.end_ms < steps.start_ms {
        let text = "a range query needs a step above 0 and an end that is not before its start";
        return Err(LogqlError::Refused(text.to_owned()));
    }
    let max = budget.limits.points_max;
    match usize::try_from((steps.end_ms.saturating_sub(steps.start_ms)) / step_ms) {
        Ok(n) if n <= max => Ok(()),
        _ => Err(promql::PromqlError::Points { max }.into()),
    }
}

/// The series that the leaves made, each asked for once.
struct Made(Mutex<HashMap<String, Vec<SeriesData>>>);

impl SeriesSource for Made {
    fn select(&self, request: &SeriesRequest<'_>) -> Result<Vec<SeriesData>, ReadError> {
        let name = request.matchers.iter().find(|matcher| matcher.name == "__name__");
        let found = name.and_then(|name| self.0.lock().remove(&name.value));
        Ok(found.unwrap_or_default())
    }
}

/// What all leaves of a query hold together.
#[derive(Debug, Default)]
struct Used {
    n_bytes: usize,
    n_series: usize,
}

impl Used {
    fn bytes(&mut self, n: usize, budget: &Budget) -> Result<(), LogqlError> {
        self.n_bytes = self.n_bytes.saturating_add(n);
        let max = budget.limits.memory_bytes_max;
        if self.n_bytes <= max {
            return Ok(());
        }
        Err(LogqlError::Limit {
            what: "bytes of samples and intermediate results",
            n: self.n_bytes as u64,
            max: max as u64,
            key: KEY_MEMORY,
        })
    }

    fn series(&mut self, budget: &Budget) -> Result<(), LogqlError> {
        self.n_series += 1;
        let max = budget.limits.series_max;
        if self.n_series <= max {
            return Ok(());
        }
        let n = self.n_series as u64;
        Err(LogqlError::Limit { what: "series", n, max: max as u64, key: KEY_SERIES })
    }
}

fn run_leaf(
    snapshot: &Snapshot,
    leaf: &Leaf<'_>,
    steps: &Steps,
    budget: &Budget,
    now_ns: i64,
    used: &mut Used,
) -> Result<(Vec<SeriesData>, ScanStats), LogqlError> {
    let call = leaf.call;
    let pipeline = Pipeline::new(&call.lines, wanted_of(leaf.grouping.as_ref()), now_ns)?;
    let first_ms = steps.start_ms.saturating_sub(call.offset_ms).saturating_sub(call.range_ms);
    let last_ms = match steps.step_ms {
        None => steps.start_ms,
        Some(_) => steps.end_ms,
    };
    let last_ms = last_ms.saturating_sub(call.offset_ms);
    let to_ns = |ms: i64| ms.saturating_mul(1_000_000);
    // A window is open on the left and closed on the right.
    let times = (to_ns(first_ms).saturating_add(1), to_ns(last_ms));
    let sets = [call.lines.matchers.clone()];
    let mut scan = Scan::new(snapshot, budget, &sets, times).through(&pipeline, need(&call.lines));
    let mut series = Series::new(leaf, steps, budget, used);
    for piece in &scan.pieces()? {
        let Some(piece) = &scan.narrow(piece)? else { continue };
        let places = scan.places(piece)?;
        if series.needs_no_line(&pipeline) {
            series.count_places(&places, &scan)?;
            continue;
        }
        let streams = scan.streams();
        scan.lines(piece, &places, &mut |places, lines| {
            for (row, place) in places.iter().enumerate() {
                let stream = &streams[place.stream_idx];
                series.take(&pipeline, place, lines, row, stream)?;
            }
            Ok(true)
        })?;
    }
    Ok((series.finish()?, scan.stats))
}

fn wanted_of(grouping: Option<&Grouping>) -> Wanted {
    match grouping {
        None => Wanted::All,
        Some(Grouping { is_without: true, .. }) => Wanted::All,
        Some(Grouping { labels, .. }) if labels.is_empty() => Wanted::Nothing,
        Some(Grouping { labels, .. }) => Wanted::Named(labels.clone()),
    }
}

/// The series of one leaf while lines come in.
struct Series<'l> {
    leaf: &'l Leaf<'l>,
    steps: &'l Steps,
    budget: &'l Budget,
    used: &'l mut Used,
    places: HashMap<Vec<u8>, usize>,
    all: Vec<OneSeries>,
    key: Vec<u8>,
    n_steps: usize,
}

struct OneSeries {
    labels: Labels,
    data: Data,
}

enum Data {
    /// By how much lines and bytes grow from one step to the next, and shrink behind the last.
    Counts(Vec<(i64, i64)>),
    /// (ms, value) in the order in which they came.
    Samples(Vec<(i64, f64)>),
}

impl<'l> Series<'l> {
    fn new(leaf: &'l Leaf<'l>, steps: &'l Steps, budget: &'l Budget, used: &'l mut Used) -> Self {
        let n_steps = usize::try_from(steps.n()).unwrap_or(1);
        let (places, all, key) = (HashMap::new(), Vec::new(), Vec::new());
        Self { leaf, steps, budget, used, places, all, key, n_steps }
    }

    /// Returns true when stream and time are all that matters.
    fn needs_no_line(&self, pipeline: &Pipeline) -> bool {
        let counts =
            matches!(self.leaf.call.func, RangeFunc::Count | RangeFunc::Rate | RangeFunc::Absent);
        let is_grouped = match &self.leaf.grouping {
            Some(Grouping { is_without: false, labels }) => labels.iter().all(|label| {
                // These no record says otherwise.
                ["commons", "service", "env", "cluster"].contains(&label.as_str())
            }),
            _ => false,
        };
        counts && is_grouped && pipeline.is_empty()
    }

    fn count_places(&mut self, places: &[Place], scan: &Scan<'_>) -> Result<(), LogqlError> {
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

    fn take(
        &mut self,
        pipeline: &Pipeline,
        place: &Place,
        lines: &Lines<'_>,
        row: usize,
        stream: &Stream,
    ) -> Result<(), LogqlError> {
        let metadata: Metadata<'_> = lines.metadata(row, stream);
        let mut entry = Entry::new(place.ts_ns, lines.body(row), &stream.labels);
        if !pipeline.run_rest(&mut entry, &metadata) {
            return Ok(());
        }
        let Some(sample) = pipeline.unwrap(&mut entry, &metadata) else { return Ok(()) };
        let is_of_nothing =
            matches!(&self.leaf.grouping, Some(g) if !g.is_without && g.labels.is_empty());
        if !is_of_nothing {
            pipeline.complete(&mut entry, &metadata);
        }
        if let Some(error) = entry.fields.error() {
            let (error, series) = (error.to_owned(), entry.fields.labels().to_string());
            return Err(LogqlError::Pipeline { error, series });
        }
        let n_bytes = entry.line.len();
        let series_idx = self.series_of(&entry)?;
        self.add(series_idx, place.ts_ns, n_bytes, sample)
    }

    /// Returns the series that a line counts for.
    fn series_of(&mut self, entry: &Entry<'_>) -> Result<usize, LogqlError> {
        self.key.clear();
        let grouping = self.leaf.grouping.as_ref();
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
        self.used.series(self.budget)?;
        let data = match self.leaf.kind {
            LeafKind::Counted => {
                self.used.bytes(16 * (self.n_steps + 1) + labels.packed().len(), self.budget)?;
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
        // Rounded up to ms, a time is in a window between whole ms exactly when it was before.
        let ms = ts_ns.div_euclid(1_000_000) + i64::from(ts_ns.rem_euclid(1_000_000) != 0);
        match &mut self.all[series_idx].data {
            Data::Samples(samples) => {
                self.used.bytes(16, self.budget)?;
                let value = match sample {
                    Sample::Value(value) => value,
                    Sample::Line => 1.0,
                };
                samples.push((ms, value));
            }
            Data::Counts(counts) => {
                let call = self.leaf.call;
                let at_ms = ms.saturating_add(call.offset_ms);
                let Some((first, behind)) =
                    steps_of(self.steps, at_ms, call.range_ms, self.n_steps)
                else {
                    return Ok(());
                };
                let n_bytes = i64::try_from(n_bytes).unwrap_or(i64::MAX);
                counts[first].0 += 1;
                counts[first].1 += n_bytes;
                counts[behind].0 -= 1;
                counts[behind].1 -= n_bytes;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<SeriesData>, LogqlError> {
        let Self { leaf, steps, budget, used, all, .. } = self;
        let mut found = Vec::with_capacity(all.len());
        for OneSeries { labels, data } in all {
            let (timestamps_ms, values) = match data {
                Data::Samples(mut samples) => {
                    samples.sort_by_key(|(ms, _)| *ms);
                    samples.into_iter().unzip()
                }
                Data::Counts(counts) => values_of(leaf, steps, &counts),
            };
            used.bytes(16 * timestamps_ms.len(), budget)?;
            found.push(SeriesData { labels, timestamps_ms, values, ..SeriesData::default() });
        }
        found.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        Ok(found)
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
