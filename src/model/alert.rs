//! What the rules tell the notifier: one alert as it stands.
//!
//! The same event is told again and again while the alert fires, so a listener that missed one
//! hears the next; when nobody tells it any more, the alert counts as over at `ends_at_ms`.

use std::collections::BTreeMap;

use super::labels::Labels;

/// One alert that fires, or that did and is over.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AlertEvent {
    /// What identifies the alert, `alertname` included.
    #[serde(with = "labels_as_map")]
    pub labels: Labels,
    /// What people read; may differ from one telling to the next.
    pub annotations: BTreeMap<String, String>,
    /// When it began to fire, ms since 1970 UTC.
    pub starts_at_ms: i64,
    /// Resolved: when it ended. Firing: when it counts as over unless it is told again.
    pub ends_at_ms: i64,
    /// Whether it is over.
    pub resolved: bool,
    /// A link to the expression's graph.
    pub generator_url: String,
}

/// Reads and writes labels as a JSON object.
pub mod labels_as_map {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::model::Labels;

    /// Writes the labels as an object.
    pub fn serialize<S: Serializer>(labels: &Labels, serializer: S) -> Result<S::Ok, S::Error> {
        labels.serialize(serializer)
    }

    /// Reads the labels from an object.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Labels, D::Error> {
        BTreeMap::<String, String>::deserialize(deserializer).map(Labels::from_pairs)
    }
}
