//! Adds up counters whose telling labels were removed.
//!
//! fence counts logins per person. The person does not become a label, so the series of all people
//! of one client become one series, whose value is the sum of their increases: a sender's first
//! value counts as an increase from 0 (a counter's birth), a smaller value than before as a reset.
//! Only for a while after a commons' first such series first values are taken as old news: then it
//! is we who are new, or the commons, and not the counter.

use hashbrown::HashMap;

use crate::model::labels::METRIC_NAME;
use crate::model::{Commons, Labels, MetricKind, SeriesMeta, Temporality};

use super::DerivedSample;

/// A sender's series that was silent for so long makes room for a new one.
const SILENT_NS: i64 = 15 * 60 * 1_000_000_000;

#[derive(Debug)]
struct Total {
    labels: Labels,
    meta: SeriesMeta,
    is_counter: bool,
    value: f64,
    is_collected: bool,
}

#[derive(Debug)]
struct Sender {
    last_value: f64,
    seen_ns: i64,
}

/// The added-up series of one commons.
#[derive(Debug)]
pub(super) struct Folds {
    totals: HashMap<u64, Total>,
    senders: HashMap<u128, Sender>,
    senders_max: usize,
    /// Until then first values are old news.
    warm_at_ns: i64,
}

impl Folds {
    pub(super) fn new(now_ns: i64, warm_up_ns: i64, senders_max: usize) -> Self {
        Self {
            totals: HashMap::new(),
            senders: HashMap::new(),
            senders_max,
            warm_at_ns: now_ns.saturating_add(warm_up_ns),
        }
    }

    /// Takes a sample of the sender's series `wire_id`, which is stored as `labels`. Returns false
    /// when there are too many senders to remember this one.
    pub(super) fn add(
        &mut self,
        labels: &Labels,
        meta: &SeriesMeta,
        wire_id: u128,
        value: f64,
        now_ns: i64,
    ) -> bool {
        if value.is_nan() {
            return true; // Stale: the sender may come back, and then goes on from its last value.
        }
        let total_id = labels.series_id();
        if self.totals.len() >= self.senders_max && !self.totals.contains_key(&total_id) {
            return false;
        }
        let total = self.totals.entry(total_id).or_insert_with(|| new_total(labels, meta));
        if !total.is_counter {
            total.value = value;
            return true;
        }
        if let Some(sender) = self.senders.get_mut(&wire_id) {
            let is_reset = value < sender.last_value;
            total.value += if is_reset { value } else { value - sender.last_value };
            *sender = Sender { last_value: value, seen_ns: now_ns };
            return true;
        }
        if !has_room(&mut self.senders, self.senders_max, now_ns) {
            return false;
        }
        if now_ns >= self.warm_at_ns {
            total.value += value;
        }
        self.senders.insert(wire_id, Sender { last_value: value, seen_ns: now_ns });
        true
    }

    /// Returns every total.
    pub(super) fn collect(&mut self, commons: &Commons, into: &mut Vec<DerivedSample>) {
        for total in self.totals.values_mut() {
            let is_first = !std::mem::replace(&mut total.is_collected, true);
            into.push(DerivedSample {
                commons: commons.clone(),
                labels: total.labels.clone(),
                meta: total.meta.clone(),
                value: total.value,
                born: is_first && total.is_counter,
            });
        }
    }
}

fn new_total(labels: &Labels, meta: &SeriesMeta) -> Total {
    let is_counter = is_counter(labels, meta.kind);
    let mut meta = meta.clone();
    if is_counter {
        meta.temporality = Temporality::Cumulative;
        if meta.kind == MetricKind::Unknown {
            meta.kind = MetricKind::Counter;
        }
    }
    Total { labels: labels.clone(), meta, is_counter, value: 0.0, is_collected: false }
}

/// Without metadata (remote write 1.0) the name has to tell.
fn is_counter(labels: &Labels, kind: MetricKind) -> bool {
    let name = labels.get(METRIC_NAME).unwrap_or("");
    match kind {
        MetricKind::Counter | MetricKind::Histogram => true,
        MetricKind::Unknown => {
            ["_total", "_count", "_sum", "_bucket"].iter().any(|suffix| name.ends_with(suffix))
        }
        _ => false,
    }
}

fn has_room(senders: &mut HashMap<u128, Sender>, max: usize, now_ns: i64) -> bool {
    if senders.len() >= max {
        senders.retain(|_, sender| now_ns.saturating_sub(sender.seen_ns) < SILENT_NS);
    }
    senders.len() < max
}

#[cfg(test)]
mod tests {
    use super::*;

    const WARM_UP_NS: i64 = 1_000;

    fn labels() -> Labels {
        Labels::from_pairs([(METRIC_NAME, "gen3_fence_login_total"), ("idp", "google")])
    }

    /// Feeds (sender, value, time) and returns the total.
    fn total(samples: &[(u128, f64, i64)]) -> f64 {
        let mut folds = Folds::new(0, WARM_UP_NS, 3);
        for (sender, value, now_ns) in samples {
            folds.add(&labels(), &SeriesMeta::default(), *sender, *value, *now_ns);
        }
        let mut out = Vec::new();
        folds.collect(&Commons::unassigned(), &mut out);
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
        let mut add =
            |sender, now_ns| folds.add(&labels(), &SeriesMeta::default(), sender, 1.0, now_ns);

        let all = [add(1, 0), add(2, SILENT_NS - 1), add(3, SILENT_NS - 1), add(3, SILENT_NS + 1)];

        assert_eq!(all, [true, true, false, true]);
    }

    #[test]
    fn a_gauge_keeps_its_last_value() {
        let mut folds = Folds::new(0, 0, 2);
        let gauge = Labels::from_pairs([(METRIC_NAME, "gen3_fence_presigned_url_size")]);
        folds.add(&gauge, &SeriesMeta::default(), 1, 5.0, 0);
        folds.add(&gauge, &SeriesMeta::default(), 2, 4.0, 0);
        let mut out = Vec::new();

        folds.collect(&Commons::unassigned(), &mut out);

        assert_eq!((out[0].value, out[0].born), (4.0, false));
    }
}
