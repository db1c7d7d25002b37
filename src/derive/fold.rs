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

use std::sync::Arc;

use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::model::labels::METRIC_NAME;
use crate::model::{Commons, Labels, LabelsBuilder, MetricKind, SeriesMeta, Temporality};
use crate::tagging::{CounterRule, Observed};

use super::DerivedSample;
use super::book::{self, Histogram};

/// A sender's series that was silent for so long makes room for a new one.
const SILENT_NS: i64 = 15 * 60 * 1_000_000_000;
/// Silent ones are looked for no more often: a flood of new series costs one look each, not a look at all
/// that are known.
const SWEEP_EVERY_NS: i64 = 1_000_000_000;
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
    /// Whether its values are differences and not totals.
    pub is_difference: bool,
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

#[derive(Debug)]
struct Sender {
    total_id: u64,
    last_value: f64,
    seen_ns: i64,
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
    senders: HashMap<u128, Sender>,
    /// Also of totals and of histograms' series.
    senders_max: usize,
    /// When silent senders are looked for next, if there is no room by then.
    sweep_at_ns: i64,
    /// Until then first values are old news.
    warm_at_ns: i64,
}

impl Folds {
    pub(super) fn new(now_ns: i64, warm_up_ns: i64, senders_max: usize) -> Self {
        Self {
            totals: HashMap::new(),
            observations: HashMap::new(),
            senders: HashMap::new(),
            senders_max,
            sweep_at_ns: i64::MIN,
            warm_at_ns: now_ns.saturating_add(warm_up_ns),
        }
    }

    /// Takes a sample of the sender's series `wire_id`; `rule_of` tells how a metric is given out
    /// once more. Returns false when there are too many senders to remember this one.
    pub(super) fn add<'r>(
        &mut self,
        series: &Folding<'_>,
        rule_of: impl FnOnce(&str) -> Option<&'r CounterRule>,
        wire_id: u128,
        value: f64,
        now_ns: i64,
    ) -> bool {
        if value.is_nan() {
            return true; // Stale: the sender may come back, and then goes on from its last value.
        }
        let total_id = series.labels.series_id();
        if !self.totals.contains_key(&total_id) {
            if self.totals.len() >= self.senders_max {
                return false;
            }
            let once_more = rule_of(series.labels.metric())
                .map(|rule| self.total_once_more(series.labels, rule, series.meta));
            let total = new_total(series.labels.clone(), series.meta, once_more);
            self.totals.insert(total_id, total);
        }
        let total = self.totals.get_mut(&total_id).expect("it was found or inserted above");
        if !total.is_counter {
            let before = if series.is_difference { total.value } else { 0.0 };
            total.value = before + value;
            return true;
        }
        let increase = match series.is_difference {
            true => Some(value),
            false => self.increase(total_id, wire_id, value, now_ns),
        };
        let Some(increase) = increase else { return false };
        let mut next = Some(total_id);
        while let Some(total) = next.and_then(|id| self.totals.get_mut(&id)) {
            total.value += increase;
            next = total.once_more;
        }
        if let Some(observed) = series.observed {
            return self.observe(series.labels, observed, increase);
        }
        true
    }

    /// Returns by how much a sender's series grew, `None` when there is no room to remember it.
    fn increase(&mut self, total_id: u64, wire_id: u128, value: f64, now_ns: i64) -> Option<f64> {
        if let Some(sender) = self.senders.get_mut(&wire_id) {
            let is_reset = value < sender.last_value;
            let increase = if is_reset { value } else { value - sender.last_value };
            *sender = Sender { total_id, last_value: value, seen_ns: now_ns };
            return Some(increase);
        }
        if !self.has_room(now_ns) {
            return None;
        }
        self.senders.insert(wire_id, Sender { total_id, last_value: value, seen_ns: now_ns });
        Some(if now_ns >= self.warm_at_ns { value } else { 0.0 })
    }

    /// Returns true when one more sender can be remembered, silent ones forgotten.
    fn has_room(&mut self, now_ns: i64) -> bool {
        if self.senders.len() >= self.senders_max && now_ns >= self.sweep_at_ns {
            let mut oldest_ns = now_ns;
            self.senders.retain(|_, sender| {
                let is_heard = now_ns.saturating_sub(sender.seen_ns) < SILENT_NS;
                oldest_ns = if is_heard { oldest_ns.min(sender.seen_ns) } else { oldest_ns };
                is_heard
            });
            let next_ns = oldest_ns.saturating_add(SILENT_NS);
            self.sweep_at_ns = next_ns.max(now_ns.saturating_add(SWEEP_EVERY_NS));
        }
        self.senders.len() < self.senders_max
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
        self.totals.entry(id).or_insert_with(|| new_total(few, meta, None));
        id
    }

    /// Adds so many observations of a number; false when there are too many histograms.
    fn observe(&mut self, labels: &Labels, observed: &Observed, n: f64) -> bool {
        let id = xxh3_64_with_seed(observed.metric.as_bytes(), labels.series_id());
        let n_max = self.senders_max / book::HISTOGRAM_SERIES;
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
        for sender in self.senders.values() {
            let labels = self.totals.get(&sender.total_id).map(|total| &total.labels);
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

fn new_total(labels: Labels, meta: &SeriesMeta, once_more: Option<u64>) -> Total {
    let is_counter = is_counter(&labels, meta.kind);
    let mut meta = meta.clone();
    if is_counter {
        meta.temporality = Temporality::Cumulative;
        if meta.kind == MetricKind::Unknown {
            meta.kind = MetricKind::Counter;
        }
    }
    Total { labels, meta, is_counter, value: 0.0, is_collected: false, once_more }
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

#[cfg(test)]
mod tests {
    use super::*;

    const WARM_UP_NS: i64 = 1_000;

    fn labels() -> Labels {
        Labels::from_pairs([(METRIC_NAME, "gen3_fence_login_total"), ("idp", "google")])
    }

    fn add(folds: &mut Folds, labels: &Labels, sender: u128, value: f64, now_ns: i64) -> bool {
        let series =
            Folding { labels, meta: &SeriesMeta::default(), observed: None, is_difference: false };
        folds.add(&series, |_| None, sender, value, now_ns)
    }

    /// Feeds (sender, value, time) and returns the total.
    fn total(samples: &[(u128, f64, i64)]) -> f64 {
        let mut folds = Folds::new(0, WARM_UP_NS, 3);
        for (sender, value, now_ns) in samples {
            add(&mut folds, &labels(), *sender, *value, *now_ns);
        }
        let mut out = Vec::new();
        folds.collect(&Commons::unassigned(), &mut out);
        out.retain(|sample| sample.labels.metric() != FOLDED_SERIES);
        assert_eq!(out.len(), 1);
        out[0].value
    }

    #[test]
    fn increases_of_all_senders_are_added() {
        assert_eq!(total(&[(1, 5.0, 0), (2, 7.0, 0), (1, 6.0, 10), (2, 9.0, 10)]), 3.0);
    }

    #[test]
    fn a_birth_counts_once_we_know_the_others() {
        assert_eq!(total(&[(1, 5.0, 0), (2, 4.0, WARM_UP_NS)]), 4.0);
    }

    #[test]
    fn a_restarted_sender_goes_on() {
        assert_eq!(total(&[(1, 5.0, 0), (1, 2.0, 10), (1, 3.0, 20)]), 3.0);
    }

    #[test]
    fn stale_markers_lose_nothing() {
        assert_eq!(
            total(&[(1, 5.0, 0), (1, crate::model::metric::stale_marker(), 5), (1, 7.0, 10)]),
            2.0
        );
    }

    #[test]
    fn senders_are_bounded_and_silent_ones_make_room() {
        let mut folds = Folds::new(0, 0, 2);
        let mut add = |sender, now_ns| add(&mut folds, &labels(), sender, 1.0, now_ns);

        let late_ns = SILENT_NS + SWEEP_EVERY_NS;
        let all = [add(1, 0), add(2, late_ns), add(3, SILENT_NS - 1), add(3, late_ns)];

        assert_eq!(all, [true, true, false, true]);
    }

    #[test]
    fn silent_senders_are_not_looked_for_at_every_sample_of_a_flood() {
        let mut folds = Folds::new(0, 0, 2);
        let mut add = |sender, now_ns| add(&mut folds, &labels(), sender, 1.0, now_ns);
        assert!(add(1, 0) && add(2, SILENT_NS));

        // When it is looked first, nobody has been silent for so long.
        let refused = [add(3, SILENT_NS - 1), add(4, SILENT_NS), add(5, SILENT_NS + 1)];

        assert_eq!(refused, [false; 3]);
        assert!(add(6, SILENT_NS - 1 + SWEEP_EVERY_NS));
    }

    #[test]
    fn a_gauge_keeps_its_last_value() {
        let mut folds = Folds::new(0, 0, 2);
        let gauge = Labels::from_pairs([(METRIC_NAME, "gen3_fence_presigned_url_size")]);
        add(&mut folds, &gauge, 1, 5.0, 0);
        add(&mut folds, &gauge, 2, 4.0, 0);
        let mut out = Vec::new();

        folds.collect(&Commons::unassigned(), &mut out);

        assert_eq!((out[0].value, out[0].born), (4.0, false));
    }

    #[test]
    fn differences_of_what_goes_up_and_down_are_added_up() {
        let labels = Labels::from_pairs([(METRIC_NAME, "gen3_queue_length")]);
        let meta = SeriesMeta { kind: MetricKind::UpDownCounter, ..SeriesMeta::default() };
        let series = Folding { labels: &labels, meta: &meta, observed: None, is_difference: true };
        let mut folds = Folds::new(0, 0, 2);
        for (sender, value) in [(1, 5.0), (2, 4.0), (1, -2.0)] {
            assert!(folds.add(&series, |_| None, sender, value, 0));
        }
        let mut out = Vec::new();

        folds.collect(&Commons::unassigned(), &mut out);

        assert_eq!((out.len(), out[0].value, out[0].born), (1, 7.0, false));
    }

    /// Feeds two senders of a summary's series, and returns what is given out, and whether it was born.
    fn of_summary(pairs: &[(&str, &str)]) -> (f64, bool) {
        let labels = Labels::from_pairs(pairs.iter().copied());
        let meta = SeriesMeta { kind: MetricKind::Summary, ..SeriesMeta::default() };
        let series = Folding { labels: &labels, meta: &meta, observed: None, is_difference: false };
        let mut folds = Folds::new(0, 0, 2);
        for (sender, value) in [(1, 5.0), (2, 4.0), (1, 7.0)] {
            assert!(folds.add(&series, |_| None, sender, value, 0));
        }
        let mut out = Vec::new();
        folds.collect(&Commons::unassigned(), &mut out);
        let one = out.iter().find(|sample| sample.labels == labels).unwrap();
        (one.value, one.born)
    }

    #[test]
    fn the_sum_and_the_count_of_a_summary_are_added_up_and_its_quantiles_are_not() {
        assert_eq!(of_summary(&[(METRIC_NAME, "rpc_seconds_sum")]), (11.0, true));
        assert_eq!(of_summary(&[(METRIC_NAME, "rpc_seconds_count")]), (11.0, true));
        assert_eq!(of_summary(&[(METRIC_NAME, "rpc_seconds"), ("quantile", "0.9")]), (7.0, false));
        assert_eq!(of_summary(&[(METRIC_NAME, "rpc_count"), ("quantile", "0.9")]), (7.0, false));
    }

    #[test]
    fn a_counter_is_given_out_once_more_under_few_labels() {
        let rule = CounterRule { metric: "csoc_x_total".into(), labels: vec!["idp".to_owned()] };
        let labels = |pod| {
            let pairs = [("idp", "google"), ("pod", pod), ("commons", "heart")];
            let name = [(METRIC_NAME, "gen3_fence_login_total")];
            Labels::from_pairs(name.into_iter().chain(pairs))
        };
        let mut folds = Folds::new(0, 0, 9);
        for (sender, pod, value) in [(1, "a", 2.0), (2, "b", 3.0), (1, "a", 4.0)] {
            let (labels, meta) = (labels(pod), SeriesMeta::default());
            let series =
                Folding { labels: &labels, meta: &meta, observed: None, is_difference: false };
            assert!(folds.add(&series, |_| Some(&rule), sender, value, 0));
        }

        let mut out = Vec::new();
        folds.collect(&Commons::unassigned(), &mut out);

        let few = Labels::from_pairs([
            (METRIC_NAME, "csoc_x_total"),
            ("commons", "heart"),
            ("idp", "google"),
        ]);
        let found = out.iter().find(|sample| sample.labels == few).unwrap();
        assert_eq!((found.value, found.born), (7.0, true));
        let of = |metric: &str| out.iter().filter(|s| s.labels.metric() == metric).count();
        assert_eq!((of("gen3_fence_login_total"), of(FOLDED_SERIES)), (2, 1));
        let n_folded = out.iter().find(|sample| sample.labels.metric() == FOLDED_SERIES).unwrap();
        assert_eq!((n_folded.value, n_folded.labels.get("commons")), (2.0, Some("heart")));
    }

    #[test]
    fn a_label_that_was_a_number_becomes_a_histogram() {
        let observed = |value| Observed { metric: "x_response_time_seconds".into(), value };
        let mut folds = Folds::new(0, 0, 100);
        for (sender, number, value) in [(1, 0.2, 1.0), (2, 0.3, 1.0), (3, 30.0, 1.0), (1, 0.2, 3.0)]
        {
            let (meta, observed) = (SeriesMeta::default(), observed(number));
            let series = Folding {
                labels: &labels(),
                meta: &meta,
                observed: Some(&observed),
                is_difference: false,
            };
            assert!(folds.add(&series, |_| None, sender, value, 0));
        }

        let mut out = Vec::new();
        folds.collect(&Commons::unassigned(), &mut out);

        let value = |name: &str, le: Option<&str>| {
            let is_it = |s: &&DerivedSample| s.labels.metric() == name && s.labels.get("le") == le;
            out.iter().find(is_it).unwrap().value
        };
        assert_eq!(value("x_response_time_seconds_bucket", Some("0.25")), 3.0);
        assert_eq!(value("x_response_time_seconds_bucket", Some("0.5")), 4.0);
        assert_eq!(value("x_response_time_seconds_bucket", Some("+Inf")), 5.0);
        assert_eq!(value("x_response_time_seconds_count", None), 5.0);
        assert!((value("x_response_time_seconds_sum", None) - 30.9).abs() < 1e-9);
    }
}
