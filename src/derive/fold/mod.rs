//! Adds up counters whose telling labels were removed.
//!
//! fence counts logins per person. The person does not become a label, so the series of all people
//! of one client become one series, whose value is the sum of their increases: a sender's first
//! value counts as an increase from 0 (a counter's birth), a smaller value than before as a reset.
//! Only for a while after a commons' first such series first values are taken as old news: then it
//! is we who are new, or the commons, and not the counter.
//!
//! Two more things are made of an increase: some counters are given out once more under few labels
//! (`hygiene.toml`), and where the label that was removed was a number, the increase is so many
//! observations of it.

mod senders;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::model::labels::METRIC_NAME;
use crate::model::{Commons, Labels, LabelsBuilder, MetricKind, SeriesMeta, Temporality};
use crate::tagging::{CounterRule, Observed};

use super::DerivedSample;
use super::book::{self, Histogram};
pub use senders::FoldedSample;
use senders::Senders;

/// The labels that every derived series has, if the record has them.
const TAG_LABELS: [&str; 4] = ["commons", "service", "env", "cluster"];

/// A series that is added up with others.
#[derive(Debug, Clone, Copy)]
pub struct Folding<'a> {
    /// What is left of its labels.
    pub labels: &'a Labels,
    /// What its numbers are.
    pub meta: &'a SeriesMeta,
    /// What becomes of a label that was a number.
    pub observed: Option<&'a Observed>,
}

#[derive(Debug)]
struct Total {
    labels: Labels,
    meta: SeriesMeta,
    is_counter: bool,
    value: f64,
    is_collected: bool,
    /// The total under few labels to which this one's increases are added as well.
    once_more: Option<u64>,
}

/// How many series of senders are added up: each costs its sender as much as any other.
const FOLDED_SERIES: &str = "csoc_folded_series";

#[derive(Debug)]
struct Observations {
    /// One for each sample it gives.
    labels: Vec<Labels>,
    meta: SeriesMeta,
    histogram: Histogram,
    is_collected: bool,
}

/// The added-up series of one commons.
#[derive(Debug)]
pub(super) struct Folds {
    totals: HashMap<u64, Total>,
    observations: HashMap<u64, Observations>,
    senders: Senders,
    /// Of totals, of histograms' series and of senders' series.
    series_max: usize,
}

impl Folds {
    pub(super) fn new(now_ns: i64, warm_up_ns: i64, series_max: usize) -> Self {
        Self {
            totals: HashMap::new(),
            observations: HashMap::new(),
            senders: Senders::new(now_ns.saturating_add(warm_up_ns), series_max),
            series_max,
        }
    }

    /// Takes a sample of a sender's series; `rule_of` tells how a metric is given out once more.
    /// Returns false when there are too many senders to remember this one.
    pub(super) fn add<'r>(
        &mut self,
        series: &Folding<'_>,
        rule_of: impl FnOnce(&str) -> Option<&'r CounterRule>,
        sample: FoldedSample,
        now_ns: i64,
    ) -> bool {
        if sample.value.is_nan() {
            return true; // Stale: the sender may come back, and then goes on from its last value.
        }
        let total_id = series.labels.series_id();
        let Some(is_counter) = self.is_counter(total_id, series, rule_of) else { return false };
        let is_last_value = !is_counter && !sample.is_difference;
        let growth = match is_last_value {
            true => Some(sample.value),
            false => self.senders.growth(total_id, sample, now_ns),
        };
        let Some(growth) = growth else { return false };
        let mut next = Some(total_id);
        while let Some(total) = next.and_then(|id| self.totals.get_mut(&id)) {
            total.value = if is_last_value { growth } else { total.value + growth };
            next = total.once_more;
        }
        match series.observed {
            Some(observed) if is_counter => self.observe(series.labels, observed, growth),
            _ => true,
        }
    }

    /// Returns whether a total counts, which is made when it is not there; `None` when there are too many.
    fn is_counter<'r>(
        &mut self,
        total_id: u64,
        series: &Folding<'_>,
        rule_of: impl FnOnce(&str) -> Option<&'r CounterRule>,
    ) -> Option<bool> {
        if let Some(total) = self.totals.get(&total_id) {
            return Some(total.is_counter);
        }
        if self.totals.len() >= self.series_max {
            return None;
        }
        let total = new_total(series.labels.clone(), series.meta);
        let is_counter = total.is_counter;
        let rule = rule_of(series.labels.metric()).filter(|_| is_counter);
        let once_more = rule.map(|rule| self.total_once_more(series.labels, rule, series.meta));
        self.totals.insert(total_id, Total { once_more, ..total });
        Some(is_counter)
    }

    /// Returns the id of the total under few labels, which is made when it is not there.
    fn total_once_more(&mut self, labels: &Labels, rule: &CounterRule, meta: &SeriesMeta) -> u64 {
        let mut few = LabelsBuilder::new();
        few.set(METRIC_NAME, &rule.metric);
        for name in TAG_LABELS.into_iter().chain(rule.labels.iter().map(String::as_str)) {
            few.set(name, labels.get(name).unwrap_or(""));
        }
        let few = few.build();
        let id = few.series_id();
        self.totals.entry(id).or_insert_with(|| new_total(few, meta));
        id
    }

    /// Adds so many observations of a number; false when there are too many histograms.
    fn observe(&mut self, labels: &Labels, observed: &Observed, n: f64) -> bool {
        let id = xxh3_64_with_seed(observed.metric.as_bytes(), labels.series_id());
        let n_max = self.series_max / book::HISTOGRAM_SERIES;
        if self.observations.len() >= n_max && !self.observations.contains_key(&id) {
            return false;
        }
        let new = || Observations {
            labels: book::histogram_labels(&observed.metric, &mut labels.to_builder()),
            meta: SeriesMeta {
                kind: MetricKind::Histogram,
                temporality: Temporality::Cumulative,
                unit: Arc::from("s"),
                ..SeriesMeta::default()
            },
            histogram: Histogram::default(),
            is_collected: false,
        };
        let found = self.observations.entry(id).or_insert_with(new);
        found.histogram.add(book::bounds(&observed.metric), observed.value, n);
        true
    }

    /// Returns every total, every histogram, and of how many series they are.
    pub(super) fn collect(&mut self, commons: &Commons, into: &mut Vec<DerivedSample>) {
        self.count_senders(commons, into);
        for total in self.totals.values_mut() {
            let is_first = !std::mem::replace(&mut total.is_collected, true);
            into.push(DerivedSample {
                commons: commons.clone(),
                labels: total.labels.clone(),
                meta: total.meta.clone(),
                value: total.value,
                born: is_first && total.is_counter,
                examples: Vec::new(),
            });
        }
        for found in self.observations.values_mut() {
            let born = !std::mem::replace(&mut found.is_collected, true);
            for (labels, value) in found.labels.iter().zip(found.histogram.samples()) {
                into.push(DerivedSample {
                    commons: commons.clone(),
                    labels: labels.clone(),
                    meta: found.meta.clone(),
                    value,
                    born,
                    examples: Vec::new(),
                });
            }
        }
    }

    fn count_senders(&self, commons: &Commons, into: &mut Vec<DerivedSample>) {
        let mut of_service: HashMap<(&str, &str), f64> = HashMap::new();
        for total_id in self.senders.total_ids() {
            let labels = self.totals.get(&total_id).map(|total| &total.labels);
            let label = |name| labels.and_then(|labels| labels.get(name)).unwrap_or("");
            *of_service.entry((label("commons"), label("service"))).or_default() += 1.0;
        }
        for ((name, service), n) in of_service {
            let pairs = [(METRIC_NAME, FOLDED_SERIES), ("commons", name), ("service", service)];
            into.push(DerivedSample {
                commons: commons.clone(),
                labels: Labels::from_pairs(
                    pairs.into_iter().filter(|(_, value)| !value.is_empty()),
                ),
                meta: SeriesMeta { kind: MetricKind::Gauge, ..SeriesMeta::default() },
                value: n,
                born: false,
                examples: Vec::new(),
            });
        }
    }
}

fn new_total(labels: Labels, meta: &SeriesMeta) -> Total {
    let is_counter = is_counter(&labels, meta.kind);
    let mut meta = meta.clone();
    if is_counter {
        meta.temporality = Temporality::Cumulative;
        if meta.kind == MetricKind::Unknown {
            meta.kind = MetricKind::Counter;
        }
    }
    Total { labels, meta, is_counter, value: 0.0, is_collected: false, once_more: None }
}

/// Without metadata (remote write 1.0) the name has to tell, and of a summary, whose quantiles rise and fall
/// beside a sum and a count that do not.
fn is_counter(labels: &Labels, kind: MetricKind) -> bool {
    let ends_in = |suffixes: &[&str]| suffixes.iter().any(|one| labels.metric().ends_with(one));
    match kind {
        MetricKind::Counter | MetricKind::Histogram => true,
        MetricKind::Unknown => ends_in(&["_total", "_count", "_sum", "_bucket"]),
        MetricKind::Summary => labels.get("quantile").is_none() && ends_in(&["_count", "_sum"]),
        _ => false,
    }
}
