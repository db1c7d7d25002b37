//! Counted series of two queries, put together point by point, as Tempo does it.
//!
//! Series with the same labels belong together. A series without any, which is what a function without
//! `by` counts, goes with each of the other side. What has no partner is left out. A point that only
//! one side has is 0 on the other, and what is divided by 0 is no point.

use std::collections::BTreeMap;

use super::ast::{Arithmetic, Math, Query};
use super::metrics::{CountedSeries, Exemplar, NAME};
use super::thin;
use super::value::Value;

type Label = (String, Value<'static>);
/// What tells series apart: names, types and texts of the labels, sorted.
type Key = Vec<(String, &'static str, String)>;

/// Returns the queries of a question that count, in the order they stand; that is itself, unless it
/// is arithmetic.
pub(super) fn operands(question: &Query) -> Vec<&Query> {
    let mut list = Vec::new();
    match &question.math {
        Some(math) => add_operands(math, &mut list),
        None => list.push(question),
    }
    list
}

fn add_operands<'q>(math: &'q Math, list: &mut Vec<&'q Query>) {
    match math {
        Math::Query(query) => list.extend(operands(query)),
        Math::Operation { lhs, rhs, .. } => {
            add_operands(lhs, list);
            add_operands(rhs, list);
        }
    }
}

/// Puts the series of the operands together, which come in their order.
pub(super) fn together(
    question: &Query,
    each: &mut dyn Iterator<Item = Vec<CountedSeries>>,
) -> Vec<CountedSeries> {
    match &question.math {
        Some(math) => of_math(math, each),
        None => each.next().expect("each operand has its series"),
    }
}

fn of_math(math: &Math, each: &mut dyn Iterator<Item = Vec<CountedSeries>>) -> Vec<CountedSeries> {
    match math {
        Math::Query(query) => together(query, each),
        Math::Operation { op, lhs, rhs, seconds } => {
            let (left, right) = (of_math(lhs, each), of_math(rhs, each));
            let mut series = combined(*op, &left, &right);
            seconds.iter().for_each(|stage| thin::samples(stage, &mut series));
            series
        }
    }
}

/// Puts the series of two sides together.
fn combined(op: Arithmetic, lhs: &[CountedSeries], rhs: &[CountedSeries]) -> Vec<CountedSeries> {
    let (left, right) = (by_key(lhs), by_key(rhs));
    let of_all = Key::new();
    let keys = if right.contains_key(&of_all) { left.keys() } else { right.keys() };
    let partners = |key: &Key| {
        let one = |side: &BTreeMap<Key, &CountedSeries>| {
            side.get(key).or_else(|| side.get(&of_all)).map(|series| (*series).clone())
        };
        Some((one(&left)?, one(&right)?))
    };
    let series = keys.filter_map(partners).map(|(left, right)| joined(op, left, right));
    series.filter(|series| !series.samples.is_empty()).collect()
}

fn by_key(series: &[CountedSeries]) -> BTreeMap<Key, &CountedSeries> {
    series.iter().map(|series| (key(&series.labels), series)).collect()
}

fn key(labels: &[Label]) -> Key {
    let named = labels.iter().filter(|(name, _)| name != NAME);
    let mut key: Key = named
        .map(|(name, value)| {
            let kind = if *value == Value::Nil { "nil" } else { value.type_name() };
            (name.clone(), kind, value.plain())
        })
        .collect();
    key.sort_unstable();
    key
}

fn joined(op: Arithmetic, left: CountedSeries, right: CountedSeries) -> CountedSeries {
    let labels = labels(op, &left.labels, &right.labels);
    let samples = samples(op, &left.samples, &right.samples);
    let exemplars = exemplars(left.exemplars.into_iter().chain(right.exemplars), &samples);
    CountedSeries { labels, samples, exemplars }
}

/// Returns the labels of either side; the names of functions become one that says what was done.
fn labels(op: Arithmetic, left: &[Label], right: &[Label]) -> Vec<Label> {
    let name = |labels: &[Label]| {
        labels.iter().find(|(name, _)| name == NAME).map(|(_, value)| value.plain())
    };
    let both = name(left).zip(name(right));
    let both = both.map(|(left, right)| {
        let text = format!("({left} {} {right})", op.symbol());
        (NAME.to_owned(), Value::Text(text.into()))
    });
    let of_left = |name: &String| left.iter().any(|(known, _)| known == name);
    let others = right.iter().filter(|(name, _)| !of_left(name));
    let named = left.iter().chain(others).filter(|(name, _)| name != NAME);
    both.into_iter().chain(named.cloned()).collect()
}

fn samples(op: Arithmetic, left: &[(i64, f64)], right: &[(i64, f64)]) -> Vec<(i64, f64)> {
    let mut points: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
    for (ms, value) in left {
        points.entry(*ms).or_default().0 = *value;
    }
    for (ms, value) in right {
        points.entry(*ms).or_default().1 = *value;
    }
    let results = points.into_iter().map(|(ms, (left, right))| (ms, op.of(left, right)));
    results.filter(|(_, value)| value.is_finite()).collect()
}

/// Gives exemplars the value of their point, and leaves out those of points that are not there; a
/// span that both sides counted is shown once.
fn exemplars(both: impl Iterator<Item = Exemplar>, samples: &[(i64, f64)]) -> Vec<Exemplar> {
    let mut kept: Vec<Exemplar> = Vec::new();
    for mut exemplar in both {
        let sample = samples.iter().find(|(ms, _)| *ms == exemplar.point_ms);
        let Some((_, value)) = sample else { continue };
        exemplar.value = *value;
        if !kept.contains(&exemplar) {
            kept.push(exemplar);
        }
    }
    kept.sort_by_key(|exemplar| exemplar.timestamp_ms);
    kept
}
