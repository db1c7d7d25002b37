//! The records of a time, cut to what a caller may see.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::error::ApiError;
use super::super::{Api, time};
use crate::model::{Grant, Labels, Matcher};
use crate::notify::{AlertsFilter, NotifyError, Record, What, fingerprint_text};
use crate::query::may_see;

/// The most lines of the ledger that one question reads; what is older is left out, and said.
const SCAN_MAX: usize = 50_000;

/// Which records are wanted.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    pub(super) fingerprint: Option<String>,
    /// All must hold for an alert's labels.
    pub(super) matchers: Vec<Matcher>,
    pub(super) n_max: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Oldest first.
    pub(super) records: Vec<Value>,
    /// Whether older ones were left out.
    pub(super) is_truncated: bool,
    /// The alerts that the records tell of, by fingerprint.
    pub(super) alerts: BTreeMap<String, Labels>,
    /// When each of them last began, ms since 1970 UTC.
    pub(super) started: BTreeMap<String, i64>,
}

/// Reads the ledger.
pub(super) async fn read(api: &Api, grant: &Grant, wanted: &Wanted) -> Result<Found, ApiError> {
    let read = api.ledger.newest(wanted.start_ms, wanted.end_ms, SCAN_MAX).await?;
    let (lines, is_truncated) = (read.records, read.is_cut);
    let mut known = BTreeMap::new();
    let mut started = BTreeMap::new();
    for (fingerprint, labels, starts_at_ms) in firing(api).await? {
        started.insert(fingerprint.clone(), starts_at_ms);
        known.insert(fingerprint, labels);
    }
    for line in &lines {
        if let What::Joined { fingerprint, labels, starts_at_ms, .. }
        | What::Ended { fingerprint, labels, starts_at_ms, .. } = &line.what
            && !labels.is_empty()
        {
            known.insert(fingerprint.clone(), labels.clone());
            started.insert(fingerprint.clone(), *starts_at_ms);
        }
    }
    let sees_all = may_see(grant, &Labels::empty());
    let is_narrowed = wanted.fingerprint.is_some() || !wanted.matchers.is_empty();
    let is_wanted = |fingerprint: &str| {
        let Some(labels) = known.get(fingerprint) else { return sees_all && !is_narrowed };
        let fits = |m: &Matcher| m.matches(labels.get(&m.name).unwrap_or(""));
        may_see(grant, labels)
            && wanted.fingerprint.as_deref().is_none_or(|one| one == fingerprint)
            && wanted.matchers.iter().all(fits)
    };
    let mut told = BTreeSet::new();
    let mut found = Found { is_truncated, started, ..Found::default() };
    for line in &lines {
        if let Some(record) = shown(line, &known, &is_wanted, &mut told) {
            found.records.push(record);
        }
    }
    let n_over = found.records.len().saturating_sub(wanted.n_max);
    found.is_truncated |= n_over > 0;
    found.records.drain(..n_over);
    let wanted = known.iter().filter(|(fingerprint, _)| is_wanted(fingerprint));
    found.alerts =
        wanted.map(|(fingerprint, labels)| (fingerprint.clone(), labels.clone())).collect();
    Ok(found)
}

/// Returns the alerts that fire now: their beginning may be older than the time that is asked for.
async fn firing(api: &Api) -> Result<Vec<(String, Labels, i64)>, NotifyError> {
    let all = api.notifier.alerts(AlertsFilter::everything(), Arc::new(|_| true)).await?;
    let named = all
        .into_iter()
        .map(|one| (fingerprint_text(one.fingerprint), one.event.labels, one.event.starts_at_ms));
    Ok(named.collect())
}

/// Returns a record as it is shown, without alerts that are not wanted; `told` remembers the
/// notifications that tell of one that is.
fn shown(
    record: &Record,
    known: &BTreeMap<String, Labels>,
    is_wanted: &dyn Fn(&str) -> bool,
    told: &mut BTreeSet<String>,
) -> Option<Value> {
    let mut what = record.what.clone();
    match &mut what {
        What::Queued { notification, firing, resolved, .. } => {
            firing.retain(|one| is_wanted(one));
            resolved.retain(|one| is_wanted(one));
            if firing.is_empty() && resolved.is_empty() {
                return None;
            }
            told.insert(notification.clone());
        }
        What::Attempt { notification, .. } | What::GivenUp { notification, .. } => {
            if !told.contains(notification) {
                return None;
            }
        }
        one => {
            if !one.fingerprint().is_some_and(is_wanted) {
                return None;
            }
        }
    }
    let mut value = json!({ "time": time::rfc3339(record.at_ms), "group": record.group });
    let what = serde_json::to_value(&what).expect("records are plain data");
    if let (Some(value), Value::Object(what)) = (value.as_object_mut(), what) {
        let labels = record.what.fingerprint().and_then(|one| known.get(one));
        value.extend(what);
        value.extend(labels.map(|labels| ("labels".to_owned(), json!(labels))));
    }
    Some(value)
}
