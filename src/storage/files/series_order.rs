//! The order of series in metrics files: by metric, then by labels.

use hashbrown::HashMap;

use crate::model::Labels;
use crate::model::labels::cmp_packed;

/// Sorts what belongs to series by the series' labels.
///
/// Series are gathered by metric first, so that those which are compared lie close together: a
/// million label sets are ten times what the processor's caches hold.
pub fn sort<'a, T: Copy>(items: impl Iterator<Item = (T, &'a Labels)>) -> Vec<T> {
    let mut by_metric: HashMap<&str, Vec<(&[u8], T)>> = HashMap::new();
    let mut n_items = 0;
    for (item, labels) in items {
        by_metric.entry(labels.metric()).or_default().push((labels.packed(), item));
        n_items += 1;
    }
    let mut metrics: Vec<_> = by_metric.into_iter().collect();
    metrics.sort_unstable_by_key(|(metric, _)| *metric);
    let mut sorted = Vec::with_capacity(n_items);
    for (_, mut series) in metrics {
        series.sort_unstable_by(|(a, _), (b, _)| cmp_packed(a, b));
        sorted.extend(series.into_iter().map(|(_, item)| item));
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_sorted_by_metric_and_then_by_labels() {
        let labels = [("b", "2"), ("a", "9"), ("b", "10"), ("a", "")].map(|(metric, job)| {
            Labels::from_pairs([("__name__", metric), ("A", "before the name"), ("job", job)])
        });

        let sorted = sort(labels.iter().enumerate());

        assert_eq!(sorted, [3, 1, 2, 0]);
    }
}
