//! Metric points: from the bytes of an `ExportMetricsServiceRequest` to samples of series.
//!
//! A point costs a walk over its numbers and a hash over its attributes; names, labels and tags are
//! made only for series that the store does not know. Samples wait in a group until their keys are
//! looked up together.
//!
//! | OTLP | here |
//! |---|---|
//! | gauge, sum | one series; the sum's temporality and monotony are kept beside it |
//! | histogram | `_bucket{le}` cumulative with `+Inf`, `_sum` if known, `_count` (not min and max) |
//! | summary | `{quantile}`, `_sum`, `_count` |
//! | exponential histogram | one series of whole histograms, nothing lost |
//!
//! Differences (delta temporality) are handed on as such: storage adds them up in the order of its log.
//!
//! A point with the flag "no recorded value" ends its series with Prometheus' stale marker.

mod names;
mod units;
mod exemplars;
mod point;
mod points;
mod scope;
mod series;
mod target_info;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::logs::find;
use super::resource::{Resource, ResourceCache};
use super::scope::{apart, schema_url};
use crate::derive::FoldedSample;
use crate::ingest::outcome::{Reason, Refusal};
use crate::ingest::records::{Context, Decoded, RowError};
use crate::ingest::remote_write::metadata::News;
use crate::ingest::resolve::{NotStored, SampleParts};
use crate::ingest::wire::{Field, Reader, WireError};
use crate::ingest::{IngestError, Seed};
use crate::model::exemplar::ExemplarsBuilder;
use crate::model::metric::{is_stale, stale_marker};
use crate::model::{Commons, ExpHistogram, MetricKind, Temporality};
use crate::storage::{self, Delta, Difference, LeftOut};
use exemplars::WaitingExemplar;
use point::{Common, Histogram, Numbers, Summary};
use points::{Points, WaitingPoint};
use scope::Scope;
use series::{Metric, Part};
use target_info::Times;

/// Samples that wait for one lookup: enough to hide its cache misses, few enough to stay in L2.
const GROUP_MAX: usize = 4_096;
/// The point of samples that no point of the request stands for (`target_info`).
const NO_POINT: u64 = u64::MAX;

/// Reads the points of an `ExportMetricsServiceRequest`.
pub(super) fn decode_metrics(
    ctx: &Context<'_>,
    resources: &ResourceCache,
    body: &[u8],
) -> Result<Decoded, IngestError> {
    let mut walk = Walk::new(ctx, resources);
    let mut request = Reader::new(body);
    while let Some(field) = request.next_field()? {
        if field.number == 1 {
            walk.resource_metrics(&field)?;
        }
    }
    walk.finish()
}

struct Walk<'c, 'a> {
    ctx: &'c Context<'c>,
    resources: &'c ResourceCache,
    seed: Seed,
    decoded: Decoded,
    metrics: Vec<Metric<'a>>,
    /// The group that waits: keys, and what they are of.
    keys: Vec<u128>,
    waiting: Vec<Sample<'a>>,
    exp_waiting: Vec<ExpHistogram>,
    exemplars_waiting: Vec<WaitingExemplar<'a>>,
    exemplars: BTreeMap<u32, ExemplarsBuilder>,
    n_exemplars_refused: u64,
    points: Points<'a>,
    news: News,
    n_samples: usize,
    last_refused_point: u64,
    /// When the resource under way has points.
    resource_times: Times,
    samples: SampleParts,
    exp_histograms: Vec<(u32, Vec<ExpPoint>)>,
    deltas: Vec<(u32, Vec<Delta>)>,
    histogram: Histogram,
    summary: Summary,
}

/// An exponential histogram of a series: its index, ms since 1970 UTC, the histogram.
type ExpPoint = (u32, i64, ExpHistogram);

/// A sample that waits for its series.
#[derive(Debug, Clone, Copy)]
struct Sample<'a> {
    metric_idx: usize,
    point: &'a [u8],
    point_no: u64,
    part: Part,
    /// When, and since when the value counts, ns since 1970 UTC; a start of 0 is unknown.
    time_ns: i64,
    start_ns: i64,
    /// Of a histogram of differences: its bounds.
    shape: u64,
    value: f64,
    /// The index in `exp_waiting`, plus one; 0 for a plain sample.
    exp: usize,
}

/// A point whose time is checked and whose attributes are hashed.
#[derive(Debug, Clone, Copy, Default)]
struct Place<'a> {
    point: &'a [u8],
    attributes_key: u128,
    time_ns: i64,
    start_ns: i64,
    shape: u64,
    is_stale: bool,
}

impl Sample<'_> {
    /// Returns the difference that the sample is.
    fn delta(&self, series_idx: u32, histogram: Option<ExpHistogram>) -> Delta {
        let difference = match histogram {
            Some(histogram) => Difference::Histogram(Box::new(histogram)),
            None if is_stale(self.value) => Difference::End,
            None => Difference::Number(self.value),
        };
        let Self { start_ns, time_ns, shape, point_no, .. } = *self;
        Delta { series_idx, start_ns, time_ns, shape, difference, point_no }
    }

    /// Returns the sample as it is added up with those of others.
    fn folded(&self, wire_id: u128, is_difference: bool) -> FoldedSample {
        FoldedSample { wire_id, time_ns: self.time_ns, value: self.value, is_difference }
    }

    fn time_ms(&self) -> i64 {
        self.time_ns.div_euclid(1_000_000)
    }
}

impl<'c, 'a> Walk<'c, 'a> {
    fn new(ctx: &'c Context<'c>, resources: &'c ResourceCache) -> Self {
        Self {
            ctx,
            resources,
            seed: Seed::new(ctx.sender, "otlp series"),
            decoded: Decoded::default(),
            metrics: Vec::new(),
            keys: Vec::with_capacity(GROUP_MAX),
            waiting: Vec::with_capacity(GROUP_MAX),
            exp_waiting: Vec::new(),
            exemplars_waiting: Vec::new(),
            exemplars: BTreeMap::new(),
            n_exemplars_refused: 0,
            points: Points::default(),
            news: News::default(),
            n_samples: 0,
            last_refused_point: NO_POINT,
            resource_times: Times::default(),
            samples: SampleParts::with_capacity(GROUP_MAX),
            exp_histograms: Vec::new(),
            deltas: Vec::new(),
            histogram: Histogram::default(),
            summary: Summary::default(),
        }
    }

    fn finish(mut self) -> Result<Decoded, IngestError> {
        self.place_group();
        self.decoded.n_received += self.n_exemplars_refused;
        self.decoded.rejected.add(Reason::Exemplar, self.n_exemplars_refused, String::new);
        let epoch = self.samples.epoch();
        self.decoded.parts = self.samples.into_parts();
        for (commons_idx, mut rows) in self.exemplars {
            let commons = self.ctx.ingest.store.commons(commons_idx);
            self.decoded.parts.push(storage::Part::Exemplars { commons, batch: rows.finish() });
        }
        for (commons_idx, mut rows) in self.points.into_rows() {
            let commons = self.ctx.ingest.store.commons(commons_idx);
            self.decoded.parts.push(storage::Part::Points { commons, batch: rows.finish() });
        }
        self.decoded.parts.extend(self.news.into_parts());
        for (commons_idx, points) in self.exp_histograms {
            self.decoded.parts.push(storage::Part::ExpHistograms { commons_idx, epoch, points });
        }
        let left_out = Arc::new(LeftOut::default());
        for (commons_idx, deltas) in self.deltas {
            let left_out = Arc::clone(&left_out);
            self.decoded.parts.push(storage::Part::Deltas { commons_idx, epoch, deltas, left_out });
        }
        Ok(self.decoded)
    }

    fn resource_metrics(&mut self, field: &Field<'a>) -> Result<(), IngestError> {
        self.ctx.count_group(&mut self.decoded)?;
        let resource = self.resources.get(self.ctx, find(field.message()?, 1)?)?;
        let resource_url = apart(schema_url(field, &self.ctx.rules()))?.ok();
        let mut reader = field.message()?;
        while let Some(field) = reader.next_field()? {
            if field.number == 2 {
                self.ctx.count_group(&mut self.decoded)?;
                self.note_scope(&field, &resource, resource_url.as_deref())?;
                self.scope_metrics(&field, &resource)?;
            }
        }
        let times = std::mem::take(&mut self.resource_times);
        if let (Ok(resource), false) = (&resource, times.is_empty()) {
            self.note_commons(&resource.origin.tags.commons);
            self.target_info(resource, &times);
        }
        Ok(())
    }

    /// Notes whose points follow, for those who want them as they were sent.
    fn note_scope(
        &mut self,
        field: &Field<'a>,
        resource: &Result<Arc<Resource>, Refusal>,
        resource_url: Option<&str>,
    ) -> Result<(), IngestError> {
        if !self.ctx.ingest.otlp.keep_points {
            return Ok(());
        }
        let scope = match (resource, resource_url) {
            (Ok(resource), Some(url)) => {
                let rules = self.ctx.rules();
                apart(super::scope::Scope::read(field, resource, url, &rules))?.ok()
            }
            _ => None,
        };
        self.points.scopes.push(scope);
        Ok(())
    }

    fn note_commons(&mut self, commons: &Commons) {
        if !self.decoded.commons.contains(commons) {
            self.decoded.commons.push(commons.clone());
        }
    }

    fn scope_metrics(
        &mut self,
        field: &Field<'a>,
        resource: &Result<Arc<Resource>, Refusal>,
    ) -> Result<(), IngestError> {
        let mut scope = Scope::default();
        if self.ctx.ingest.otlp.promote_scope_metadata {
            let mut reader = field.message()?;
            while let Some(field) = reader.next_field()? {
                match field.number {
                    1 => scope.message = field.bytes()?,
                    3 => scope.schema_url = field.bytes()?,
                    _ => {}
                }
            }
        }
        let mut reader = field.message()?;
        while let Some(field) = reader.next_field()? {
            if field.number == 2 {
                self.ctx.count_group(&mut self.decoded)?;
                self.metric(&field, scope, resource)?;
            }
        }
        Ok(())
    }

    fn metric(
        &mut self,
        field: &Field<'a>,
        scope: Scope<'a>,
        resource: &Result<Arc<Resource>, Refusal>,
    ) -> Result<(), IngestError> {
        let (mut name, mut help, mut unit): (&[u8], &[u8], &[u8]) = (b"", b"", b"");
        let mut data = None;
        let message = field.bytes()?;
        let mut reader = field.message()?;
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => name = field.bytes()?,
                2 => help = field.bytes()?,
                3 => unit = field.bytes()?,
                5 | 7 | 9..=11 => data = Some(field),
                _ => {}
            }
        }
        let Some(data) = data else { return Ok(()) };
        let (kind, temporality) = kind_of(&data)?;
        let mut is_kept = false;
        let mut points = data.message()?;
        while let Some(field) = points.next_field()? {
            if field.number == 1 {
                self.ctx.count_record(&mut self.decoded)?;
                // With its first point, which is counted: a metric without any is four bytes on the
                // wire, and would be a hundred here.
                if let (Ok(resource), false) = (resource, is_kept) {
                    let number = numbers_of(data.number).attributes;
                    let kind = (kind, temporality);
                    let texts = (name, unit, help);
                    let scope_idx = self.points.scopes.len().wrapping_sub(1);
                    let metric = Metric::new(resource, texts, scope, kind, number);
                    self.metrics.push(Metric { message, scope_idx, ..metric });
                    is_kept = true;
                }
                let outcome = match resource {
                    Ok(_) => self.point(data.number, &field),
                    Err(refusal) => Err(RowError::Refused(refusal.clone())),
                };
                self.decoded.note(outcome)?;
                self.ctx.check_samples(self.n_samples)?;
            }
        }
        Ok(())
    }

    fn point(&mut self, data_number: u32, field: &Field<'a>) -> Result<(), RowError> {
        let sample = self.waiting.len();
        match data_number {
            5 | 7 => self.number_point(field)?,
            9 => self.histogram_point(field)?,
            10 => self.exp_point(field)?,
            _ => self.summary_point(field)?,
        }
        if self.ctx.ingest.otlp.keep_points {
            let message = field.message()?;
            self.points.waiting.push(WaitingPoint { sample, data_number, message });
        }
        if self.waiting.len() >= GROUP_MAX {
            self.place_group();
        }
        Ok(())
    }

    /// Checks a point's time and hashes its attributes.
    fn place(&mut self, common: &Common<'a>) -> Result<Place<'a>, RowError> {
        let time_ns = match common.time_ns {
            0 => self.ctx.now_ns,
            time_ns => i64::try_from(time_ns).unwrap_or(i64::MAX),
        };
        self.ctx.check_time(time_ns).map_err(RowError::Refused)?;
        self.resource_times.note(time_ns.div_euclid(1_000_000));
        let attributes_key = self.last_metric().attributes_key(common)?;
        let start_ns = i64::try_from(common.start_ns).unwrap_or(i64::MAX);
        let (point, is_stale) = (common.bytes, common.is_stale());
        Ok(Place { point, attributes_key, time_ns, start_ns, shape: 0, is_stale })
    }

    /// Refuses a point that would be more series than anything real.
    fn check_buckets(&self, n_buckets: usize) -> Result<(), RowError> {
        let max = self.ctx.ingest.limits.buckets_per_point;
        if n_buckets <= max {
            return Ok(());
        }
        let message = format!(
            "a point has {n_buckets} buckets or quantiles, at most {max} (limits.buckets_per_point)"
        );
        Err(RowError::Refused(Refusal::new(Reason::BucketLimit, message)))
    }

    fn last_metric(&self) -> &Metric<'a> {
        self.metrics.last().expect("a metric is pushed before its points are read")
    }

    /// Adds a sample of the last metric to the group.
    fn push(&mut self, place: Place<'a>, part: Part, value: f64) {
        let value = if place.is_stale { stale_marker() } else { value };
        self.push_sample(place, self.decoded.n_received, part, value, 0);
    }

    fn push_sample(&mut self, place: Place<'a>, point_no: u64, part: Part, value: f64, exp: usize) {
        let Place { point, attributes_key, time_ns, start_ns, shape, .. } = place;
        let key = self.last_metric().series_key(self.seed, attributes_key, part);
        let metric_idx = self.metrics.len() - 1;
        self.keys.push(key);
        self.waiting.push(Sample {
            metric_idx,
            point,
            point_no,
            part,
            time_ns,
            start_ns,
            shape,
            value,
            exp,
        });
        self.n_samples += 1;
    }

    fn number_point(&mut self, field: &Field<'a>) -> Result<(), RowError> {
        let (common, value) = point::number(field)?;
        let value = match value {
            Some(value) => value,
            None if common.is_stale() => 0.0,
            None => {
                let refusal = Refusal::new(Reason::Invalid, "a data point has no value");
                return Err(RowError::Refused(refusal));
            }
        };
        let place = self.place(&common)?;
        self.push(place, Part::Value, value);
        self.note_exemplars(&common, self.waiting.len() - 1);
        Ok(())
    }

    fn histogram_point(&mut self, field: &Field<'a>) -> Result<(), RowError> {
        let mut histogram = std::mem::take(&mut self.histogram);
        let read = histogram.read(field).and_then(|common| {
            self.check_buckets(histogram.counts.len().max(histogram.bounds.len()))?;
            Ok((self.place(&common)?, common))
        });
        let outcome = read.map(|(place, common)| {
            let from = self.waiting.len();
            self.push_histogram(place, &histogram);
            self.note_exemplars(&common, from);
        });
        self.histogram = histogram;
        outcome
    }

    fn push_histogram(&mut self, mut place: Place<'a>, histogram: &Histogram) {
        if self.last_metric().is_delta() {
            place.shape = histogram.shape();
        }
        if histogram.sum.is_some() || place.is_stale {
            self.push(place, Part::Sum, histogram.sum.unwrap_or(0.0));
        }
        self.push(place, Part::Count, as_f64(histogram.count));
        let mut cumulative: u64 = 0;
        for (idx, &bound) in histogram.bounds.iter().enumerate() {
            cumulative = cumulative.saturating_add(histogram.counts.get(idx).copied().unwrap_or(0));
            if bound != f64::INFINITY {
                self.push(place, Part::Bucket(bound), as_f64(cumulative));
            }
        }
        self.push(place, Part::Bucket(f64::INFINITY), as_f64(histogram.count));
    }

    fn summary_point(&mut self, field: &Field<'a>) -> Result<(), RowError> {
        let mut summary = std::mem::take(&mut self.summary);
        let place = summary.read(field).and_then(|common| {
            self.check_buckets(summary.quantiles.len())?;
            self.place(&common)
        });
        if let Ok(place) = place {
            self.push(place, Part::Sum, summary.sum);
            self.push(place, Part::Count, as_f64(summary.count));
            for &(quantile, value) in &summary.quantiles {
                self.push(place, Part::Quantile(quantile), value);
            }
        }
        self.summary = summary;
        place.map(drop)
    }

    fn exp_point(&mut self, field: &Field<'a>) -> Result<(), RowError> {
        let (common, histogram) = point::exp_histogram(field)?;
        let n_buckets = histogram.positive_counts.len() + histogram.negative_counts.len();
        self.check_buckets(n_buckets)?;
        let place = self.place(&common)?;
        if place.is_stale {
            self.push(place, Part::Value, 0.0);
            return Ok(());
        }
        self.decoded.n_built_bytes += n_buckets * size_of::<u64>();
        let count = as_f64(histogram.count);
        self.exp_waiting.push(histogram);
        let exp = self.exp_waiting.len();
        self.push_sample(place, self.decoded.n_received, Part::Value, count, exp);
        self.note_exemplars(&common, self.waiting.len() - 1);
        Ok(())
    }

    /// Looks up the series of the group and hands its samples on.
    fn place_group(&mut self) {
        let (ctx, metrics, waiting) = (self.ctx, &self.metrics, &self.waiting);
        let (keys, exp_waiting) = (&self.keys, &self.exp_waiting);
        let mut refusals = Vec::new();
        let mut described = Vec::new();
        let (epoch, found) = ctx.ingest.resolve(
            ctx.sender,
            &self.keys,
            |idx| {
                let sample: &Sample<'_> = &waiting[idx];
                if described.last() != Some(&idx) {
                    described.push(idx);
                }
                metrics[sample.metric_idx].describe(ctx, sample.point, sample.part)
            },
            |idx, why| {
                let sample = &waiting[idx];
                let is_difference = metrics[sample.metric_idx].is_delta();
                let to_fold = sample.folded(keys[idx], is_difference);
                let refusal = match why {
                    NotStored::Refused(refusal) => {
                        match sample.exp.checked_sub(1).map(|exp| &exp_waiting[exp]) {
                            None => ctx.ingest.overflow(&refusal, to_fold),
                            Some(histogram) => {
                                let count = FoldedSample { value: histogram.value(), ..to_fold };
                                ctx.ingest.overflow_histogram(&refusal, histogram, count);
                            }
                        }
                        refusal
                    }
                    NotStored::Folded(folded) => {
                        ctx.ingest.fold(&folded, to_fold);
                        Refusal::folded()
                    }
                };
                refusals.push((waiting[idx].point_no, refusal));
            },
        );
        self.place_exemplars(epoch, &found);
        self.place_points(epoch, &found);
        self.describe_metrics(&described, &found);
        self.note_refusals(refusals);
        self.samples.looked_up(epoch);
        for (sample, series) in self.waiting.iter().zip(found) {
            let Some(series) = series else { continue };
            let exp_idx = sample.exp.checked_sub(1);
            let histogram = exp_idx.map(|idx| std::mem::take(&mut self.exp_waiting[idx]));
            let of = (series.commons_idx, series.series_idx);
            match histogram {
                _ if self.metrics[sample.metric_idx].is_delta() => {
                    push_of(&mut self.deltas, of.0, sample.delta(of.1, histogram));
                }
                None if sample.start_ns == 0 => {
                    self.samples.push(series, &[sample.time_ms()], &[sample.value]);
                }
                None => {
                    let starts_ns = std::iter::once(sample.start_ns);
                    let (ms, value) = ([sample.time_ms()], [sample.value]);
                    self.samples.push_started(series, &ms, &value, starts_ns);
                }
                Some(mut histogram) => {
                    histogram.start_ns = sample.start_ns;
                    push_of(&mut self.exp_histograms, of.0, (of.1, sample.time_ms(), histogram));
                }
            }
        }
        self.keys.clear();
        self.waiting.clear();
        self.exp_waiting.clear();
        self.exemplars_waiting.clear();
    }

    /// Counts the points of refused samples: one whose buckets are refused one by one is one point.
    fn note_refusals(&mut self, refusals: Vec<(u64, Refusal)>) {
        for (point_no, refusal) in refusals {
            if point_no != NO_POINT && point_no != self.last_refused_point {
                self.decoded.rejected.add_refusal(refusal, 1);
                self.last_refused_point = point_no;
            }
        }
    }
}

/// Adds an item to those of its commons; a request has few.
fn push_of<T>(groups: &mut Vec<(u32, Vec<T>)>, commons_idx: u32, item: T) {
    match groups.iter_mut().find(|(known, _)| *known == commons_idx) {
        Some((_, items)) => items.push(item),
        None => groups.push((commons_idx, vec![item])),
    }
}

/// Returns what the numbers in the `data` field of a metric are.
fn kind_of(data: &Field<'_>) -> Result<(MetricKind, Temporality), WireError> {
    let (mut temporality, mut is_monotonic) = (Temporality::Unspecified, false);
    if let 7 | 9 | 10 = data.number {
        let mut reader = data.message()?;
        while let Some(field) = reader.next_field()? {
            match field.number {
                2 => {
                    let number = u8::try_from(field.varint()?).unwrap_or(0);
                    temporality = Temporality::from_u8(number).unwrap_or_default();
                }
                3 if data.number == 7 => is_monotonic = field.bool()?,
                _ => {}
            }
        }
    }
    let kind = match data.number {
        5 => MetricKind::Gauge,
        7 if is_monotonic => MetricKind::Counter,
        7 => MetricKind::UpDownCounter,
        9 => MetricKind::Histogram,
        10 => MetricKind::ExpHistogram,
        _ => MetricKind::Summary,
    };
    Ok((kind, temporality))
}

fn numbers_of(data_number: u32) -> Numbers {
    match data_number {
        9 => point::HISTOGRAM,
        10 => point::EXP_HISTOGRAM,
        11 => point::SUMMARY,
        _ => point::NUMBER,
    }
}

#[expect(clippy::cast_precision_loss, reason = "what a double can hold of a count is what is kept")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
