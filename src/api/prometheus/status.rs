//! `status/*`, and what Prometheus has and we do not, as well-formed emptiness.

use std::collections::{BTreeMap, BTreeSet};

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::super::ask::Selection;
use super::super::error::ApiError;
use super::super::json::success_value;
use super::super::params::Params;
use super::super::readiness::ReadinessState;
use super::super::{Api, time};
use crate::model::{Grant, Labels};

/// The Prometheus whose API this is. Grafana chooses what it asks by this version; our own stands
/// in `revision`. There is no `features`: Grafana would take the server for Mimir.
const COMPATIBLE_VERSION: &str = "3.5.0";

pub(super) async fn buildinfo() -> Response {
    success_value(&json!({
        "version": COMPATIBLE_VERSION,
        "revision": concat!("commonwatch-", env!("CARGO_PKG_VERSION")),
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}

/// Read by Grafana to recognise Thanos; ours are in `status/config`.
pub(super) async fn flags() -> Response {
    success_value(&json!({}))
}

pub(super) async fn config(State(api): State<Api>) -> Response {
    // Prometheus' key; the text is TOML.
    success_value(&json!({ "yaml": &*api.shown_config }))
}

pub(super) async fn runtimeinfo(State(api): State<Api>) -> Response {
    let n_cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    success_value(&json!({
        "startTime": time::rfc3339(api.started_ms),
        "serverTime": time::rfc3339(api.clock.now_ms()),
        "CWD": "",
        "hostname": "",
        "reloadConfigSuccess": true,
        "lastConfigTime": time::rfc3339(api.started_ms),
        "corruptionCount": 0,
        "goroutineCount": 0,
        "GOMAXPROCS": n_cores,
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": &*api.retention,
    }))
}

pub(super) async fn walreplay(State(api): State<Api>) -> Response {
    let (state, current, max) = match api.readiness.get() {
        ReadinessState::Starting => ("waiting", 0, 0),
        ReadinessState::Replaying { done_bytes, total_bytes } => {
            ("in progress", done_bytes, total_bytes)
        }
        ReadinessState::Ready | ReadinessState::Stopping => ("done", 0, 0),
    };
    success_value(&json!({ "min": 0, "max": max, "current": current, "state": state }))
}

pub(super) async fn targets() -> Response {
    success_value(&json!({
        "activeTargets": [],
        "droppedTargets": [],
        "droppedTargetCounts": {},
    }))
}

pub(super) async fn alertmanagers() -> Response {
    success_value(&json!({ "activeAlertmanagers": [], "droppedAlertmanagers": [] }))
}

pub(super) async fn empty_list() -> Response {
    success_value(&json!([]))
}

/// How far back a series counts as active.
const ACTIVE_MS: i64 = 3_600_000;
const TOP_MAX: usize = 10;

/// Where the cardinality of the last hour is, within what the caller may read.
pub(super) async fn tsdb(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, ApiError> {
    let top = params.limit("limit")?.unwrap_or(TOP_MAX);
    let now_ms = api.clock.now_ms();
    let wanted = Selection { selectors: Vec::new(), start_ms: now_ms - ACTIVE_MS, end_ms: now_ms };
    let series = api.ask.series(&grant, &wanted).await?;
    Ok(success_value(&cardinality(&series.list, top, (wanted.start_ms, wanted.end_ms))))
}

fn cardinality(series: &[Labels], top: usize, (min_ms, max_ms): (i64, i64)) -> Value {
    let mut by_metric: BTreeMap<&str, usize> = BTreeMap::new();
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut by_pair: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for labels in series {
        *by_metric.entry(labels.metric()).or_default() += 1;
        for (name, value) in labels.iter() {
            values.entry(name).or_default().insert(value);
            *by_pair.entry((name, value)).or_default() += 1;
        }
    }
    let n_pairs = by_pair.len();
    let n_bytes = |set: &BTreeSet<&str>| set.iter().map(|value| value.len()).sum::<usize>();
    let by_metric = by_metric.into_iter().map(|(metric, n)| (metric.to_owned(), n));
    let by_label = values.iter().map(|(name, set)| ((*name).to_owned(), set.len()));
    let memory = values.iter().map(|(name, set)| ((*name).to_owned(), n_bytes(set)));
    let by_pair = by_pair.into_iter().map(|((name, value), n)| (format!("{name}={value}"), n));
    json!({
        "headStats": {
            "numSeries": series.len(),
            "numLabelPairs": n_pairs,
            "chunkCount": 0,
            "minTime": min_ms,
            "maxTime": max_ms,
        },
        "seriesCountByMetricName": ranked(by_metric, top),
        "labelValueCountByLabelName": ranked(by_label, top),
        "memoryInBytesByLabelName": ranked(memory, top),
        "seriesCountByLabelValuePair": ranked(by_pair, top),
    })
}

fn ranked(counts: impl Iterator<Item = (String, usize)>, top: usize) -> Vec<Value> {
    let mut counts: Vec<_> = counts.collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.truncate(top);
    counts.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}
