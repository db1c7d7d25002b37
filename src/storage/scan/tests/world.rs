//! Series and questions at random, and what the answers are by nothing but the words.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::SmallRng;

use super::{NOW_MS, Store};
use crate::model::{Labels, MatchOp, Matcher};
use crate::storage::SeriesRequest;

fn series(rng: &mut SmallRng) -> Labels {
    let pick = |rng: &mut SmallRng, n| rng.random_range(0..n);
    // Some sort before the metric's name.
    let first = ["", "x"][pick(rng, 2)];
    Labels::from_pairs([
        ("A", first),
        ("__name__", ["errors", "requests", "up"][pick(rng, 3)]),
        ("commons", ["heart", "lung"][pick(rng, 2)]),
        ("service", ["", "fence", "indexd"][pick(rng, 3)]),
        ("pod", &format!("pod-{}", pick(rng, 9))),
    ])
}

pub(super) type Written = BTreeMap<Labels, BTreeMap<i64, f64>>;

/// Where what was written lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Lies {
    Head,
    Files,
    Both,
}

/// Writes at random, and flushes and merges in between.
pub(super) fn written(rng: &mut SmallRng, store: &mut Store, lies: Lies) -> Written {
    let mut written = Written::new();
    for _ in 0..rng.random_range(40..160) {
        let series = series(rng);
        let from_ms = NOW_MS - rng.random_range(0..4_000_000);
        let (n, step_ms) = (rng.random_range(1..20), rng.random_range(1..20_000));
        let samples: Vec<(i64, f64)> =
            (0..n).map(|at| (from_ms + at * step_ms, f64::from(rng.random::<u16>()))).collect();
        store.put(&series, &samples);
        let of_series = written.entry(series).or_default();
        for (ms, value) in samples {
            of_series.entry(ms).or_insert(value); // The first stays.
        }
        if lies != Lies::Head && rng.random_range(0..12) == 0 {
            store.flush();
        }
        if rng.random_range(0..30) == 0 {
            while store.merger.merge_next(&store.storage.shared).unwrap() {}
        }
    }
    if lies == Lies::Files {
        store.flush();
    }
    written
}

const NAMES: [&str; 6] = ["__name__", "A", "commons", "service", "pod", "nope"];
const OPS: [MatchOp; 4] = [MatchOp::Eq, MatchOp::Ne, MatchOp::Re, MatchOp::Nre];
/// Each with a label that may have it.
pub(super) const TEXTS: [(&str, &str); 9] = [
    ("service", ""),
    ("__name__", "up"),
    ("__name__", "errors"),
    ("A", "x"),
    ("commons", "heart"),
    ("commons", "lung"),
    ("service", "fence"),
    ("pod", "pod-3"),
    ("pod", "nothing"),
];
/// All, some and none; texts, beginnings and ends; with and without the empty text.
pub(super) const PATTERNS: [(&str, &str); 20] = [
    ("service", ""),
    ("service", ".*"),
    ("service", ".+"),
    ("__name__", "up|errors"),
    ("__name__", "up|"),
    ("service", "fence|indexd|nothing"),
    ("service", "fence|in.*"),
    ("service", "|fence"),
    ("A", "()"),
    ("A", "x?"),
    ("pod", "pod-[1-5]"),
    ("pod", "pod-.*"),
    ("pod", "po.+"),
    ("pod", "pod-1|pod-2|pod-3|pod-4|pod-5|pod-6"),
    ("__name__", ".*r.*"),
    ("__name__", ".*[hp]"),
    ("commons", "(?i)UP|HEART"),
    ("commons", "heart"),
    ("__name__", "[^r]*"),
    ("pod", "nothing.*"),
];

fn matcher(rng: &mut SmallRng) -> Matcher {
    let op = OPS[rng.random_range(0..OPS.len())];
    let is_regex = matches!(op, MatchOp::Re | MatchOp::Nre);
    let values: &[(&str, &str)] = if is_regex { &PATTERNS } else { &TEXTS };
    let (own, value) = values[rng.random_range(0..values.len())];
    let other = NAMES[rng.random_range(0..NAMES.len())];
    let name = if rng.random_ratio(2, 3) { own } else { other };
    Matcher::new(name, op, value).unwrap()
}

pub(super) fn matchers(rng: &mut SmallRng) -> Vec<Matcher> {
    let n = [0, 1, 1, 1, 2, 2, 3][rng.random_range(0..7)];
    let metric = [None, Some("up"), Some("errors")][rng.random_range(0..3)];
    let metric = metric.map(|name| Matcher::equal("__name__", name));
    metric.into_iter().chain((0..n).map(|_| matcher(rng))).collect()
}

/// What a matcher means, by nothing but its words.
fn meaning(matcher: &Matcher) -> impl Fn(&Labels) -> bool {
    let (name, text) = (matcher.name.clone(), matcher.value.clone());
    let is_regex = matches!(matcher.op, MatchOp::Re | MatchOp::Nre);
    let is_not = matches!(matcher.op, MatchOp::Ne | MatchOp::Nre);
    let pattern = is_regex.then(|| regex::Regex::new(&format!("^(?s:{text})$")).unwrap());
    move |labels| {
        let found = labels.iter().find(|(of, _)| *of == name);
        let value = found.map_or("", |(_, value)| value);
        let is_match = pattern.as_ref().map_or(value == text, |pattern| pattern.is_match(value));
        is_match != is_not
    }
}

pub(super) fn wanted(
    written: &Written,
    request: &SeriesRequest<'_>,
) -> Vec<(Labels, Vec<(i64, f64)>)> {
    let meanings: Vec<_> = request.matchers.iter().map(meaning).collect();
    let matches = |labels: &&Labels| meanings.iter().all(|fits| fits(labels));
    let of = |labels: &Labels| {
        let range = request.start_ms..=request.end_ms;
        written[labels].range(range).map(|(ms, value)| (*ms, *value)).collect::<Vec<_>>()
    };
    let found = written.keys().filter(matches).map(|labels| (labels.clone(), of(labels)));
    found.filter(|(_, samples)| !samples.is_empty()).collect()
}
