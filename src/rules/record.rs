//! Recording rules: the result of an expression under a new name.

use std::collections::BTreeSet;

use crate::model::Labels;

use super::Row;
use super::def::RecordDef;

/// Returns the samples to store: the name replaced, the rule's labels set, an empty one removed.
pub(super) fn rows(
    rule: &RecordDef,
    found: Vec<(Labels, f64)>,
    limit: usize,
    now_ms: i64,
) -> Result<Vec<Row>, String> {
    if limit > 0 && found.len() > limit {
        return Err(format!("exceeded limit of {limit} with {} series", found.len()));
    }
    let mut seen = BTreeSet::new();
    let mut rows = Vec::with_capacity(found.len());
    for (labels, value) in found {
        let mut builder = labels.to_builder();
        builder.set("__name__", &rule.name);
        for (name, value) in &rule.labels {
            builder.set(name, value);
        }
        let labels = builder.build();
        if !seen.insert(labels.clone()) {
            return Err(format!(
                "vector contains metrics with the same labelset after applying rule labels: {labels}"
            ));
        }
        rows.push((labels, now_ms, value));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(labels: &[(&str, &str)]) -> RecordDef {
        RecordDef {
            name: "sum:x".to_owned(),
            asked: crate::rules::Asked::promql("x"),
            query: "x".to_owned(),
            labels: labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        }
    }

    fn found() -> Vec<(Labels, f64)> {
        let one = |app| Labels::from_pairs([("__name__", "x"), ("app", app), ("pod", "p")]);
        vec![(one("a"), 1.0), (one("b"), 2.0)]
    }

    #[track_caller]
    fn check(labels: &[(&str, &str)], limit: usize, want: Result<&str, &str>) {
        let got = rows(&rule(labels), found(), limit, 7).map(|rows| {
            let texts: Vec<String> = rows.iter().map(|(l, t, v)| format!("{l} {v}@{t}")).collect();
            texts.join("; ")
        });
        assert_eq!(got, want.map(str::to_owned).map_err(str::to_owned));
    }

    #[test]
    fn the_name_is_replaced_and_labels_are_set_or_removed() {
        check(
            &[("pod", ""), ("site", "s")],
            0,
            Ok(r#"sum:x{app="a", site="s"} 1@7; sum:x{app="b", site="s"} 2@7"#),
        );
    }

    #[test]
    fn results_that_become_one_series_are_refused() {
        check(
            &[("app", "")],
            0,
            Err("vector contains metrics with the same labelset after applying rule labels: \
                 sum:x{pod=\"p\"}"),
        );
    }

    #[test]
    fn more_than_the_limit_is_refused() {
        check(&[], 1, Err("exceeded limit of 1 with 2 series"));
        check(&[("pod", "")], 2, Ok(r#"sum:x{app="a"} 1@7; sum:x{app="b"} 2@7"#));
    }
}
