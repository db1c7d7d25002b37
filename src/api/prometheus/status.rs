//! `status/*`, and what Prometheus has and we do not, as well-formed emptiness.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::super::json::{build_info, success_value};
use super::super::readiness::ReadinessState;
use super::super::{Api, time};
use crate::base::n_cores;
use crate::model::Grant;

/// The Prometheus whose API this is. Grafana chooses what it asks by this version; our own stands
/// in `revision`. There is no `features`: Grafana would take the server for Mimir.
const COMPATIBLE_VERSION: &str = "3.5.0";

pub(super) async fn buildinfo() -> Response {
    success_value(&build_info(COMPATIBLE_VERSION))
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
    let n_cores = n_cores();
    let reload = api.reload.last();
    success_value(&json!({
        "startTime": time::rfc3339(api.started_ms),
        "serverTime": time::rfc3339(api.clock.now_ms()),
        "CWD": "",
        "hostname": "",
        "reloadConfigSuccess": reload.refused_ms.is_none(),
        "lastConfigTime": time::rfc3339(reload.in_force_since_ms),
        "corruptionCount": 0,
        "goroutineCount": 0,
        "GOMAXPROCS": n_cores,
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": &*api.retention,
    }))
}

/// What Prometheus' own pages show on top: of what it can tell there, one thing happens here.
pub(super) async fn notifications(State(api): State<Api>) -> Response {
    let failed = |refused_ms| {
        json!({
            "text": "Configuration reload has failed.",
            "date": time::rfc3339(refused_ms),
            "active": true,
        })
    };
    let told: Vec<_> = api.reload.last().refused_ms.map(failed).into_iter().collect();
    success_value(&json!(told))
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

pub(super) async fn scrape_pools() -> Response {
    success_value(&json!({ "scrapePools": [] }))
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

/// Which parts of the language and of the API are there, as Prometheus lists them.
pub(super) async fn features(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
) -> Response {
    let mut features = api.ask.promql_features(&grant);
    features["api"] = json!({
        "exclude_alerts": true,
        "exemplars": true,
        "federate": true,
        "format_query": true,
        "label_values_match": true,
        "lifecycle": true,
        "otlp_write_receiver": true,
        "parse_query": true,
        "query_stats": true,
        "query_warnings": true,
        "remote_read": true,
        "remote_read_streamed_xor_chunks": true,
        "remote_write_receiver": true,
        "time_range_labels": true,
        "time_range_series": true,
    });
    success_value(&features)
}
