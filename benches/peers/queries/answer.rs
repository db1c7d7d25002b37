//! Whether two answers say the same.

use std::collections::BTreeMap;

use serde_json::Value;

/// An answer: values by series and time; names have none.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    series: BTreeMap<String, BTreeMap<i64, f64>>,
}

/// Labels that ours adds to what was sent.
const ADDED: [&str; 1] = ["env"];

impl Answer {
    /// Reads an answer of the Prometheus API; `None` when it is none.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let data = &body["data"];
        let mut series = BTreeMap::new();
        for one in data["result"].as_array().or(data.as_array())? {
            let labels = one.get("metric").unwrap_or(one);
            let mut points: Vec<&Value> = one["values"].as_array().into_iter().flatten().collect();
            points.extend(one.get("value"));
            let point = |point: &Value| {
                #[expect(clippy::cast_possible_truncation, reason = "a time in ms")]
                let ms = (point[0].as_f64()? * 1000.0).round() as i64;
                Some((ms, point[1].as_str()?.parse().ok()?))
            };
            let points = points.into_iter().map(point).collect::<Option<_>>()?;
            series.insert(name(labels), points);
        }
        Some(Self { series })
    }

    /// Returns how many values there are, or names.
    pub(super) fn len(&self) -> usize {
        self.series.values().map(|points| points.len().max(1)).sum()
    }

    /// Returns the first difference that is larger than a share of the value.
    pub(super) fn difference(&self, other: &Self, share: f64) -> Option<String> {
        let only =
            |a: &Self, b: &Self| a.series.keys().find(|key| !b.series.contains_key(*key)).cloned();
        if let Some(key) = only(self, other) {
            return Some(format!("{key} is missing there"));
        }
        if let Some(key) = only(other, self) {
            return Some(format!("{key} is missing here"));
        }
        for (key, points) in &self.series {
            let others = &other.series[key];
            if points.keys().ne(others.keys()) {
                return Some(format!("{key} has {} points and {}", points.len(), others.len()));
            }
            for ((ms, a), b) in points.iter().zip(others.values()) {
                let is_near = (a - b).abs() <= share * a.abs().max(b.abs());
                if !(is_near || a == b || a.is_nan() && b.is_nan()) {
                    return Some(format!("{key} at {ms} is {a} and {b}"));
                }
            }
        }
        None
    }

    /// Returns the first difference of what a step's values add up to: of series that are picked by
    /// their order only the sum is near.
    pub(super) fn difference_of_sums(&self, other: &Self, share: f64) -> Option<String> {
        self.sums().difference(&other.sums(), share)
    }

    fn sums(&self) -> Self {
        let mut sums = BTreeMap::new();
        for (ms, value) in self.series.values().flatten() {
            *sums.entry(*ms).or_insert(0.0) += value;
        }
        Self { series: [("sum".to_owned(), sums)].into() }
    }
}

fn name(labels: &Value) -> String {
    match labels {
        Value::Object(labels) => {
            let sent = labels.iter().filter(|(name, _)| !ADDED.contains(&name.as_str()));
            let mut pairs: Vec<String> =
                sent.map(|(name, value)| format!("{name}={value}")).collect();
            pairs.sort();
            pairs.join(",")
        }
        other => other.to_string(),
    }
}
