//! Alerts that one route tells together.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::Labels;
use crate::model::alert::labels_as_map;

/// Names a group: its route's place in the policy, and its labels.
pub(super) type GroupId = (usize, Labels);

/// A group.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    /// As Alertmanager writes it: `{}/{severity="page"}:{alertname="A"}`.
    pub(super) key: String,
    pub(super) labels: Labels,
    pub(super) alerts: BTreeSet<u64>,
    pub(super) pace: Pace,
    /// Why each alert was not told at the last look.
    pub(super) held_back: BTreeMap<u64, HeldBack>,
}

/// When a group was and will be looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Pace {
    /// When its first alert came; tells this group from an earlier one of the same key.
    pub(super) since_ms: i64,
    pub(super) next_look_ms: i64,
    pub(super) was_looked_at: bool,
}

/// A group as it is stored; its alerts are stored by themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredGroup {
    /// Its route's name.
    pub(super) route: String,
    /// Whom it tells: routes of the same name may tell several.
    #[serde(default)]
    pub(super) receiver: String,
    #[serde(with = "labels_as_map")]
    pub(super) labels: Labels,
    pub(super) pace: Pace,
    /// Why each alert was not told at the last look.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) held_back: BTreeMap<u64, HeldBack>,
}

/// Why an alert of a group is not told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldBack {
    /// Silences hold for it.
    SilencedBy(Vec<String>),
    /// An alert of this fingerprint inhibits it.
    InhibitedBy(u64),
    /// These time intervals mute its route, or it names one as its `hours` that is over.
    MutedBy(Vec<String>),
}

impl Group {
    pub(super) fn new(route_key: &str, labels: Labels, pace: Pace) -> Self {
        let key = format!("{route_key}:{}", crate::notify::payload::braces(&labels));
        Self { key, labels, alerts: BTreeSet::new(), pace, held_back: BTreeMap::new() }
    }
}
