//! What Loki says of itself.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::super::Api;
use super::super::error::{ApiError, answer};
use super::super::json::{answer_value, build_info};
use super::super::readiness::ReadinessState;
use super::Answered;
use crate::base::Kind;
use crate::model::level::NAMES;

/// The Loki whose API this is; our own version stands in `revision`.
const COMPATIBLE_VERSION: &str = "3.5.0";

pub(super) async fn buildinfo() -> Response {
    answer_value(&build_info(COMPATIBLE_VERSION))
}

/// What Logs Drilldown may use.
pub(super) async fn drilldown_limits() -> Response {
    let limits = json!({
        "limits": {
            "discover_log_levels": true,
            "discover_service_name": ["service", "app", "container", "job"],
            "log_level_fields": NAMES,
            "max_entries_limit_per_query": 5000,
            "max_query_length": "0s",
            "max_query_lookback": "0s",
            "metric_aggregation_enabled": false,
            "pattern_persistence_enabled": false,
            "query_timeout": "30s",
            "retention_period": "0s",
            "volume_enabled": true,
            "volume_max_series": 1000,
        },
        "pattern_ingester_enabled": true,
        "version": COMPATIBLE_VERSION,
        "maxDetectedFields": 1000,
        "maxDetectedValues": 1000,
        "maxLabelValues": 0,
        "maxLines": 5000,
    });
    answer(StatusCode::OK, "application/json", Body::from(limits.to_string()))
}

pub(super) async fn ready(State(api): State<Api>) -> Answered {
    match api.readiness.get() {
        ReadinessState::Ready => {
            Ok(answer(StatusCode::OK, "text/plain; charset=utf-8", Body::from("ready\n")))
        }
        _ => Err(ApiError::new(Kind::Unavailable, "not ready yet").into()),
    }
}
