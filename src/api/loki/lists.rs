//! Streams, sizes and patterns as Loki lists them: written piece by piece, so that their bytes are counted
//! (`bounded`) and nothing larger than what was found is made of it first.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::super::number::push_sample_value;
use crate::query::logql::{LogPattern, Pairs};

/// Labels, as an object.
#[derive(Debug)]
pub(super) struct LabelSet(pub(super) Pairs);

impl Serialize for LabelSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// Bytes by the number of the span.
pub(super) type Spans = BTreeMap<i64, f64>;

/// The sizes of streams.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sizes {
    result_type: &'static str,
    result: Vec<Size>,
    stats: serde_json::Map<String, serde_json::Value>,
}

/// The size of the streams that have some labels: over the whole time, or over each of its spans.
#[derive(Debug, Serialize)]
struct Size {
    metric: LabelSet,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Point>,
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<Points>,
}

/// Seconds since 1970 UTC, and bytes.
#[derive(Debug)]
struct Point(i64, f64);

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::new();
        push_sample_value(&mut text, self.1.round());
        (self.0, text).serialize(serializer)
    }
}

/// Bytes by the number of the span, which begin at a time and take so many ns each.
#[derive(Debug)]
struct Points {
    spans: Spans,
    start_ns: i64,
    step_ns: i64,
}

impl Serialize for Points {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.spans.iter().map(|(span, n_bytes)| {
            let at_ns = self.start_ns.saturating_add(span.saturating_mul(self.step_ns));
            Point(at_ns / 1_000_000_000, *n_bytes)
        }))
    }
}

impl Sizes {
    /// Returns what is shown of sizes over the time that ends then, ns since 1970 UTC.
    pub(super) fn at(end_ns: i64, sizes: Vec<(Pairs, Spans)>) -> Self {
        let size = |(labels, spans): (Pairs, Spans)| {
            let value = Some(Point(end_ns / 1_000_000_000, spans.values().sum()));
            Size { metric: LabelSet(labels), value, values: None }
        };
        Self::of("vector", sizes.into_iter().map(size).collect())
    }

    /// Returns what is shown of sizes over spans of `step_ns`.
    pub(super) fn over((start_ns, step_ns): (i64, i64), sizes: Vec<(Pairs, Spans)>) -> Self {
        let size = |(labels, spans): (Pairs, Spans)| {
            let values = Some(Points { spans, start_ns, step_ns });
            Size { metric: LabelSet(labels), value: None, values }
        };
        Self::of("matrix", sizes.into_iter().map(size).collect())
    }

    fn of(result_type: &'static str, result: Vec<Size>) -> Self {
        Self { result_type, result, stats: serde_json::Map::new() }
    }
}

/// Patterns, and when there were lines of each.
#[derive(Debug)]
pub(super) struct Patterns(pub(super) Vec<LogPattern>);

impl Serialize for Patterns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|one| Pattern {
            pattern: &one.pattern,
            level: &one.level,
            samples: Samples(&one.samples),
        }))
    }
}

#[derive(Serialize)]
struct Pattern<'a> {
    pattern: &'a str,
    level: &'a str,
    samples: Samples<'a>,
}

/// Lines by ns since 1970 UTC, shown by seconds.
struct Samples<'a>(&'a BTreeMap<i64, u64>);

impl Serialize for Samples<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(ns, n_lines)| (ns / 1_000_000_000, n_lines)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(shown: &impl Serialize, want: &str) {
        assert_eq!(serde_json::to_string(shown).unwrap(), want);
    }

    fn sizes() -> Vec<(Pairs, Spans)> {
        let labels = vec![("app".to_owned(), "a\"b".to_owned())];
        vec![(labels, Spans::from([(0, 1.4), (2, 1e3)]))]
    }

    #[test]
    fn sizes_are_a_vector_or_a_matrix() {
        check(
            &Sizes::at(7_900_000_000, sizes()),
            r#"{"resultType":"vector","result":[{"metric":{"app":"a\"b"},"value":[7,"1001"]}],"stats":{}}"#,
        );
        check(
            &Sizes::over((7_000_000_000, 500_000_000), sizes()),
            r#"{"resultType":"matrix","result":[{"metric":{"app":"a\"b"},"values":[[7,"1"],[8,"1000"]]}],"stats":{}}"#,
        );
    }

    #[test]
    fn patterns_have_their_lines_by_seconds() {
        let pattern = LogPattern {
            pattern: "a <_>".to_owned(),
            level: "info".to_owned(),
            samples: BTreeMap::from([(3_000_000_000, 2), (4_000_000_000, 5)]),
        };
        check(
            &Patterns(vec![pattern]),
            r#"[{"pattern":"a <_>","level":"info","samples":[[3,2],[4,5]]}]"#,
        );
    }
}
