//! Classic histograms: series with an `le` label, read as cumulative buckets. Native ones are left to
//! `native`.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat};

use crate::model::Labels;

use super::error::PromqlError;
use super::eval::{Eval, Work};
use super::grid::{ABSENT, Grid, is_absent};
use super::parse::place::Place;
use super::parse::quoting::quoted;
use super::plan::{ScalarNode, VectorNode, is_identity};
use super::table::{Row, SAME_LABELSET, Table};
use super::value::{format_g, format_value};

/// The label that holds a bucket's upper bound.
const BUCKET_LABEL: &str = "le";
/// Counts that differ by less, relatively, differ because of rounding.
const TOLERANCE: f64 = 1e-12;

/// All observations up to a bound.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    upper: f64,
    count: f64,
}

/// The counts that were lifted at one step: of which buckets, and by how much at most.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Repair {
    lowest: f64,
    highest: f64,
    most: f64,
}

/// What was repaired of the histograms of one name, at all steps.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    all: Option<Repair>,
    n: u64,
    first_ms: i64,
    last_ms: i64,
}

impl Repairs {
    fn add(&mut self, one: Repair, at_ms: i64) {
        if self.n == 0 {
            (self.first_ms, self.last_ms) = (at_ms, at_ms);
        }
        self.n += 1;
        (self.first_ms, self.last_ms) = (self.first_ms.min(at_ms), self.last_ms.max(at_ms));
        let all = self.all.get_or_insert(one);
        all.lowest = all.lowest.min(one.lowest);
        all.highest = all.highest.max(one.highest);
        all.most = all.most.max(one.most);
    }

    /// Returns what the user is told, in Prometheus' words (3.13).
    pub(super) fn told(&self, of_metric: &str) -> String {
        let Repair { lowest, highest, most } =
            self.all.unwrap_or(Repair { lowest: 0.0, highest: 0.0, most: 0.0 });
        let (lowest, highest) = (format_g(lowest, None), format_g(highest, None));
        let most = format_g(most, Some(2));
        let (first, last) = (to_the_second(self.first_ms), to_the_second(self.last_ms));
        let n = self.n;
        format!(
            "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile){of_metric}, from buckets {lowest} to {highest}, with a max diff of {most}, over {n} samples from {first} to {last}"
        )
    }
}

/// Writes ms since 1970 UTC as RFC 3339, without the part below a second.
fn to_the_second(ms: i64) -> String {
    let time = DateTime::from_timestamp(ms / 1_000, 0).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The bucket series of one histogram.
#[derive(Debug)]
struct Histogram {
    labels: Labels,
    metric: String,
    /// Upper bound and row, ascending.
    buckets: Vec<(f64, usize)>,
}

/// Bucket series and what they are parts of.
struct BucketRows {
    rows: Table,
    histograms: Vec<Histogram>,
    /// Native histograms.
    natives: Vec<Row>,
}

impl Eval<'_> {
    pub(super) fn histogram_quantile(
        &self,
        label: Option<&str>,
        quantiles: &[(ScalarNode, Place)],
        place: Place,
        inner: &VectorNode,
        grid: &Grid,
    ) -> Result<Table, PromqlError> {
        let mut columns = Vec::with_capacity(quantiles.len());
        for (quantile, of_quantile) in quantiles {
            let column = self.scalar(quantile, grid)?;
            self.warn_of_quantiles(&column, *of_quantile);
            columns.push(column);
        }
        let inner = self.bucket_rows(inner, place, grid)?;
        let mut table = Table::new(&self.meter);
        for column in &columns {
            let mut found = self.quantiles_of(column, &inner, place, grid)?;
            self.native_quantiles(column, &inner.natives, place, &mut found)?;
            match label {
                None => table = found,
                Some(label) => add_labelled(label, column, found, &mut table)?,
            }
        }
        table.merge_equal(SAME_LABELSET)?;
        Ok(table)
    }

    fn quantiles_of(
        &self,
        quantiles: &[f64],
        inner: &BucketRows,
        place: Place,
        grid: &Grid,
    ) -> Result<Table, PromqlError> {
        self.each_histogram(inner, grid, |step, buckets, metric| {
            let (value, repair) = bucket_quantile(quantiles[step], buckets);
            if let Some(repair) = repair {
                let mut notes = self.notes.borrow_mut();
                let repairs = notes.repairs.entry((of_metric(metric), place)).or_default();
                repairs.add(repair, grid.at(step));
            }
            value
        })
    }

    pub(super) fn histogram_fraction(
        &self,
        lower: &ScalarNode,
        upper: &ScalarNode,
        place: Place,
        inner: &VectorNode,
        grid: &Grid,
    ) -> Result<Table, PromqlError> {
        let (lower, upper) = (self.scalar(lower, grid)?, self.scalar(upper, grid)?);
        let inner = self.bucket_rows(inner, place, grid)?;
        let mut table = self.each_histogram(&inner, grid, |step, buckets, _| {
            bucket_fraction(lower[step], upper[step], buckets)
        })?;
        self.native_fractions((&lower, &upper), &inner.natives, place, &mut table)?;
        table.merge_equal(SAME_LABELSET)?;
        Ok(table)
    }

    fn bucket_rows(
        &self,
        inner: &VectorNode,
        place: Place,
        grid: &Grid,
    ) -> Result<BucketRows, PromqlError> {
        let mut rows = self.rows(inner, grid)?;
        let natives = self.take_natives(&mut rows);
        let histograms = self.histograms(&rows, place);
        let mut all = BucketRows { rows, histograms, natives };
        self.leave_out_twins(&mut all, place);
        Ok(all)
    }

    /// Leaves out steps at which a histogram is there in both kinds: nobody knows which is meant.
    fn leave_out_twins(&self, all: &mut BucketRows, place: Place) {
        for native in &mut all.natives {
            let labels = native.labels.retain(|name| name != BUCKET_LABEL && !is_identity(name));
            let metric = native.labels.metric();
            let is_twin =
                |classic: &&Histogram| classic.labels == labels && classic.metric == metric;
            let Some(twin) = all.histograms.iter().find(is_twin) else { continue };
            let mut n_left_out = 0;
            for (step, value) in native.values.iter_mut().enumerate() {
                let mut counts =
                    twin.buckets.iter().map(|(_, row)| all.rows.rows[*row].values[step]);
                if is_absent(*value) || counts.all(is_absent) {
                    continue;
                }
                *value = ABSENT;
                for (_, row) in &twin.buckets {
                    all.rows.rows[*row].values[step] = ABSENT;
                }
                n_left_out += 1;
            }
            if n_left_out > 0 {
                let of_metric = of_metric(metric);
                self.warn(
                    place,
                    &format!("vector contains a mix of classic and native histograms{of_metric}"),
                );
            }
        }
    }

    fn each_histogram(
        &self,
        inner: &BucketRows,
        grid: &Grid,
        of: impl Fn(usize, &mut Vec<Bucket>, &str) -> f64,
    ) -> Result<Table, PromqlError> {
        let rows = &inner.rows;
        let mut table = Table::new(&self.meter);
        let mut buckets = Vec::new();
        let mut work = Work::new(self.budget);
        for histogram in &inner.histograms {
            work.spend(grid.n * histogram.buckets.len())?;
            let column = (0..grid.n).map(|step| {
                buckets.clear();
                let counts = histogram.buckets.iter();
                buckets.extend(counts.filter_map(|(upper, row)| {
                    let count = rows.rows[*row].values[step];
                    (!is_absent(count)).then_some(Bucket { upper: *upper, count })
                }));
                if buckets.is_empty() { ABSENT } else { of(step, &mut buckets, &histogram.metric) }
            });
            let column: Vec<f64> = column.collect();
            table.push(histogram.labels.clone(), column)?;
        }
        Ok(table)
    }

    /// Puts bucket series of one histogram together, in order of first appearance.
    fn histograms(&self, table: &Table, place: Place) -> Vec<Histogram> {
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut histograms: Vec<Histogram> = Vec::new();
        for (row_idx, row) in table.rows.iter().enumerate() {
            let bound = row.labels.get(BUCKET_LABEL).unwrap_or("");
            let metric = row.labels.metric();
            let Some(upper) = parse_bound(bound) else {
                let (bound, of_metric) = (quoted(bound), of_metric(metric));
                self.warn(place, &format!("bucket label \"le\" is missing or has a malformed value of {bound}{of_metric}"));
                continue;
            };
            // Two metrics with the same labels are two histograms, though their results collide.
            let key = row.labels.retain(|name| name != BUCKET_LABEL);
            let place = *places.entry(key).or_insert_with(|| {
                let keep = |name: &str| name != BUCKET_LABEL && !is_identity(name);
                let labels = row.labels.retain(keep);
                let metric = metric.to_owned();
                histograms.push(Histogram { labels, metric, buckets: Vec::new() });
                histograms.len() - 1
            });
            histograms[place].buckets.push((upper, row_idx));
        }
        for histogram in &mut histograms {
            histogram.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        histograms
    }
}

pub(super) fn of_metric(metric: &str) -> String {
    if metric.is_empty() { String::new() } else { format!(" for metric name {}", quoted(metric)) }
}

/// Adds rows with a label that says which quantile they are; a quantile may differ by step.
fn add_labelled(
    label: &str,
    quantiles: &[f64],
    found: Table,
    table: &mut Table,
) -> Result<(), PromqlError> {
    let mut distinct: Vec<f64> = Vec::new();
    for quantile in quantiles {
        if !distinct.iter().any(|known| known.to_bits() == quantile.to_bits()) {
            distinct.push(*quantile);
        }
    }
    for row in &found.rows {
        for quantile in &distinct {
            let column = row.values.iter().zip(quantiles).map(|(value, of)| {
                if of.to_bits() == quantile.to_bits() { *value } else { ABSENT }
            });
            let mut labels = row.labels.to_builder();
            let labels = labels.set(label, &open_metrics(*quantile)).build();
            table.push(labels, column.collect())?;
        }
    }
    Ok(())
}

/// Prints a number as OpenMetrics does: whole ones with `.0`.
fn open_metrics(value: f64) -> String {
    let text = format_value(value);
    let is_whole = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if is_whole { format!("{text}.0") } else { text }
}

fn parse_bound(text: &str) -> Option<f64> {
    text.parse().ok().filter(|bound: &f64| !bound.is_nan())
}

/// Joins buckets of equal bounds (`1` and `1.0`), which only addition makes one histogram of.
fn coalesce(buckets: &mut Vec<Bucket>) {
    buckets.dedup_by(|later, earlier| {
        let is_same = later.upper == earlier.upper;
        if is_same {
            earlier.count += later.count;
        }
        is_same
    });
}

/// Lifts counts that are below the count of a lower bound; returns those that were by more than
/// rounding.
fn make_monotonic(buckets: &mut [Bucket]) -> Option<Repair> {
    let mut repair: Option<Repair> = None;
    let mut before = buckets[0].count;
    for bucket in &mut buckets[1..] {
        if nearly_equal(before, bucket.count) {
            bucket.count = before;
        } else if bucket.count < before {
            let first = Repair { lowest: bucket.upper, highest: bucket.upper, most: 0.0 };
            let repair = repair.get_or_insert(first);
            repair.highest = bucket.upper;
            repair.most = repair.most.max(before - bucket.count);
            bucket.count = before;
        } else {
            before = bucket.count;
        }
    }
    repair
}

fn nearly_equal(left: f64, right: f64) -> bool {
    if left == right || left.is_nan() && right.is_nan() {
        return true;
    }
    let (sum, difference) = (left.abs() + right.abs(), (left - right).abs());
    if left == 0.0 || right == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

/// Returns the quantile, linear inside its bucket, and which counts had to be repaired. The buckets
/// are sorted and not empty.
fn bucket_quantile(q: f64, buckets: &mut Vec<Bucket>) -> (f64, Option<Repair>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if buckets[buckets.len() - 1].upper != f64::INFINITY {
        return (f64::NAN, None);
    }
    coalesce(buckets);
    let repair = make_monotonic(buckets);
    let last = buckets.len() - 1;
    let n_observations = buckets[last].count;
    if last == 0 || n_observations == 0.0 {
        return (f64::NAN, repair);
    }
    (inside(buckets, q * n_observations), repair)
}

/// Returns the index of the first bucket with a count of at least `rank`, or their number. Of counts that
/// are NaN none is, and the search goes on above them, step by step as Go's does.
fn first_with(buckets: &[Bucket], rank: f64) -> usize {
    let (mut low, mut high) = (0, buckets.len());
    while low < high {
        let middle = low + (high - low) / 2;
        if buckets[middle].count >= rank {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// Returns the value below which `rank` observations lie.
fn inside(buckets: &[Bucket], rank: f64) -> f64 {
    let last = buckets.len() - 1;
    let idx = first_with(&buckets[..last], rank);
    if idx == last {
        // The bucket without an upper end: its lower end is the best guess.
        return buckets[last - 1].upper;
    }
    let upper = buckets[idx].upper;
    if idx == 0 {
        // A natural lower end of 0, unless the bucket lies below it.
        return if upper <= 0.0 { upper } else { upper * (rank / buckets[0].count) };
    }
    let below = buckets[idx - 1];
    below.upper
        + (upper - below.upper) * ((rank - below.count) / (buckets[idx].count - below.count))
}

/// Returns which part of the observations lies between two values. As in Prometheus, counts are taken as
/// they are: no bucket is searched for here.
fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if buckets[buckets.len() - 1].upper != f64::INFINITY {
        return f64::NAN;
    }
    coalesce(buckets);
    let n_observations = buckets[buckets.len() - 1].count;
    if n_observations == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let rank = |value| rank_of(value, buckets).min(n_observations);
    (rank(upper) - rank(lower)) / n_observations
}

/// Returns how many observations lie below a value.
fn rank_of(value: f64, buckets: &[Bucket]) -> f64 {
    let mut below = Bucket { upper: f64::NEG_INFINITY, count: 0.0 };
    if buckets[0].upper > 0.0 {
        below.upper = 0.0;
    }
    for bucket in buckets {
        if value <= below.upper {
            return below.count;
        }
        if value < bucket.upper {
            if bucket.upper.is_infinite() {
                // Nothing is known of where in the last bucket they lie.
                return below.count;
            }
            if below.upper.is_infinite() {
                return bucket.count;
            }
            let within = (bucket.count - below.count) * (value - below.upper);
            return below.count + within / (bucket.upper - below.upper);
        }
        below = *bucket;
    }
    below.count
}
