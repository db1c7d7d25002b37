//! What is kept of the alerts over a restart.
//!
//! JSON, so that an operator can read it: `{"version":1,"saved_at_ms":…,"groups":[{"file":…,"name":…,
//! "rules":[{"name":…,"alerts":[…]}]}]}`, and a value for each group, so that one alert that changes does
//! not have all others written again. Rules find their alerts again by file, group, name and, among
//! rules of one name, order; what no rule claims is dropped.

use serde::{Deserialize, Serialize};

use super::RulesError;
use super::alert::{Alert, AlertState};
use super::group::Group;

/// A break up to this long is like evaluations that were missed: the data is still within an instant
/// query's reach, and a pending alert keeps its start.
pub(super) const BREAK_KEPT_MS: i64 = 300_000;
/// Pending alerts are not continued after a longer break than this: too much may have happened.
pub(super) const BREAK_MS_MAX: i64 = 3_600_000;

const VERSION: u32 = 1;

/// All that is saved.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    version: u32,
    pub(super) saved_at_ms: i64,
    pub(super) groups: Vec<SavedGroup>,
}

/// A group as it is saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedGroup {
    pub(crate) file: String,
    pub(crate) name: String,
    pub(crate) rules: Vec<SavedRule>,
}

/// A rule with its alerts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedRule {
    name: String,
    alerts: Vec<Alert>,
}

impl SavedGroup {
    /// Returns whether there is nothing to remember.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.iter().all(|rule| rule.alerts.is_empty())
    }

    /// Copies what is to be saved of a group.
    pub(crate) fn of(group: &Group) -> Self {
        let rules = group.rules.iter().map(|rule| SavedRule {
            name: rule.def.name().to_owned(),
            alerts: rule.alerts.iter().cloned().collect(),
        });
        Self { file: group.def.file.clone(), name: group.def.name.clone(), rules: rules.collect() }
    }

    /// Returns which alert is in which state, to see whether a change is worth saving.
    pub(crate) fn states(&self) -> Vec<(&crate::model::Labels, AlertState, i64)> {
        let alerts = self.rules.iter().flat_map(|rule| &rule.alerts);
        alerts.map(|alert| (&alert.labels, alert.state, alert.active_at_ms)).collect()
    }
}

/// Writes the state of all groups.
pub(super) fn encode(groups: Vec<SavedGroup>, now_ms: i64) -> Vec<u8> {
    let saved = Saved { version: VERSION, saved_at_ms: now_ms, groups };
    serde_json::to_vec(&saved).expect("strings, integers and maps with text keys are always JSON")
}

/// Names a group's value.
pub(super) fn key_of(group: &SavedGroup) -> String {
    let text = format!("{}\0{}", group.file, group.name);
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(text.as_bytes()))
}

/// Reads a state back.
pub(super) fn decode(bytes: &[u8]) -> Result<Saved, RulesError> {
    let saved: Saved =
        serde_json::from_slice(bytes).map_err(|error| RulesError::State(error.to_string()))?;
    if saved.version != VERSION {
        return Err(RulesError::State(format!(
            "it has version {}, this program reads {VERSION}",
            saved.version
        )));
    }
    Ok(saved)
}

/// Gives a group its alerts back. After a short break a pending alert keeps its start. The time of a
/// longer one, which nobody watched, does not count towards `for`: it resumes where it was, and
/// after a long break starts anew. Where the clock was set back meanwhile (the break is less than nothing)
/// alerts move along, or they would wait and be silent until it has come to where it was.
pub(super) fn restore(group: &mut Group, saved: SavedGroup, break_ms: i64) {
    let names: Vec<String> = group.rules.iter().map(|rule| rule.def.name().to_owned()).collect();
    let mut left = saved.rules;
    for (idx, name) in names.iter().enumerate() {
        let Some(at) = left.iter().position(|rule| rule.name == *name) else {
            continue;
        };
        let mut alerts = left.remove(at).alerts;
        alerts.iter_mut().for_each(|alert| alert.leap(break_ms.min(0)));
        alerts.retain(|alert| alert.state != AlertState::Pending || break_ms <= BREAK_MS_MAX);
        if break_ms > BREAK_KEPT_MS {
            for alert in alerts.iter_mut().filter(|alert| alert.state == AlertState::Pending) {
                alert.active_at_ms = alert.active_at_ms.saturating_add(break_ms);
            }
        }
        group.restore(idx, alerts);
    }
}
