//! What the added-up series come to.

use super::senders::{SILENT_NS, SWEEP_EVERY_NS};
use super::*;

const WARM_UP_NS: i64 = 1_000;

fn labels() -> Labels {
    Labels::from_pairs([(METRIC_NAME, "gen3_fence_login_total"), ("idp", "google")])
}

fn sample(wire_id: u128, value: f64, time_ns: i64) -> FoldedSample {
    FoldedSample { wire_id, time_ns, value, is_difference: false }
}

fn difference(wire_id: u128, value: f64, time_ns: i64) -> FoldedSample {
    FoldedSample { is_difference: true, ..sample(wire_id, value, time_ns) }
}

fn add(folds: &mut Folds, labels: &Labels, sender: u128, value: f64, now_ns: i64) -> bool {
    let series = Folding { labels, meta: &SeriesMeta::default(), observed: None };
    folds.add(&series, |_| None, sample(sender, value, now_ns), now_ns)
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
    let series = Folding { labels: &labels, meta: &meta, observed: None };
    let mut folds = Folds::new(0, 0, 2);
    for (sender, value, time_ns) in [(1, 5.0, 7), (2, 4.0, 7), (1, -2.0, 8)] {
        assert!(folds.add(&series, |_| None, difference(sender, value, time_ns), 0));
    }
    let mut out = Vec::new();

    folds.collect(&Commons::unassigned(), &mut out);

    out.retain(|sample| sample.labels == labels);
    assert_eq!((out.len(), out[0].value, out[0].born), (1, 7.0, false));
}

/// Feeds samples of a counter, and returns what they come to and whether each was remembered.
fn counted(senders_max: usize, samples: &[FoldedSample]) -> (f64, Vec<bool>) {
    let (labels, meta) = (labels(), SeriesMeta::default());
    let series = Folding { labels: &labels, meta: &meta, observed: None };
    let mut folds = Folds::new(0, 0, senders_max);
    let are_kept = samples.iter().map(|sample| folds.add(&series, |_| None, *sample, 0)).collect();
    let mut out = Vec::new();
    folds.collect(&Commons::unassigned(), &mut out);
    (out.iter().find(|sample| sample.labels == labels).unwrap().value, are_kept)
}

#[test]
fn differences_that_come_again_count_once() {
    let (first, second) = (difference(1, 5.0, 7), difference(1, 2.0, 8));

    assert_eq!(counted(2, &[first, first, second, first, second]).0, 7.0);
}

#[test]
fn totals_that_come_again_late_are_no_reset() {
    let all = [sample(1, 5.0, 7), sample(1, 9.0, 8), sample(1, 5.0, 7), sample(1, 10.0, 9)];

    assert_eq!(counted(2, &all).0, 10.0);
}

#[test]
fn differences_count_also_where_there_is_no_room_to_remember_who_sent_them() {
    let all = [difference(1, 5.0, 7), difference(2, 2.0, 7), sample(3, 4.0, 7)];

    assert_eq!(counted(1, &all), (7.0, vec![true, true, false]));
}

/// Feeds two senders of a summary's series, and returns what is given out, and whether it was born.
fn of_summary(pairs: &[(&str, &str)]) -> (f64, bool) {
    let labels = Labels::from_pairs(pairs.iter().copied());
    let meta = SeriesMeta { kind: MetricKind::Summary, ..SeriesMeta::default() };
    let series = Folding { labels: &labels, meta: &meta, observed: None };
    let mut folds = Folds::new(0, 0, 2);
    for (sender, value) in [(1, 5.0), (2, 4.0), (1, 7.0)] {
        assert!(folds.add(&series, |_| None, sample(sender, value, 0), 0));
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
        let series = Folding { labels: &labels, meta: &meta, observed: None };
        assert!(folds.add(&series, |_| Some(&rule), sample(sender, value, 0), 0));
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
    for (sender, number, value) in [(1, 0.2, 1.0), (2, 0.3, 1.0), (3, 30.0, 1.0), (1, 0.2, 3.0)] {
        let (meta, observed) = (SeriesMeta::default(), observed(number));
        let series = Folding { labels: &labels(), meta: &meta, observed: Some(&observed) };
        assert!(folds.add(&series, |_| None, sample(sender, value, 0), 0));
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
