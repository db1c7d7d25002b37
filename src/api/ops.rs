//! What an operator and an orchestrator ask: alive, ready, own metrics, reload.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;

use super::Api;
use super::error::{ApiError, answer, status_of};
use super::readiness::{Readiness, ReadinessState, Told};
use super::route::{Need, Routes};
use crate::base::Kind;

pub(super) fn add(routes: &mut Routes) {
    routes.get("/-/healthy", Need::Nothing, healthy);
    routes.get("/-/ready", Need::Nothing, ready);
    routes.get("/metrics", Need::Credential, metrics);
    routes.post("/-/reload", Need::Admin, reload);
}

async fn healthy() -> &'static str {
    "commonwatch is healthy.\n"
}

async fn ready(State(api): State<Api>) -> Response {
    tell(&api.readiness.told())
}

/// Returns the router of a server that cannot answer yet: only alive and ready.
pub fn early_router(readiness: Readiness) -> Router {
    Router::new()
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(async move || tell(&readiness.told())))
}

fn tell(told: &Told) -> Response {
    let status = match told.state {
        ReadinessState::Ready => StatusCode::OK,
        _ => status_of(Kind::Unavailable),
    };
    let body = serde_json::to_string(told).expect("a state is plain data");
    answer(status, "application/json", Body::from(body))
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

async fn metrics(State(api): State<Api>) -> Result<Response, ApiError> {
    let mut text = String::with_capacity(64 << 10);
    prometheus_client::encoding::text::encode(&mut text, &api.registry)
        .map_err(|error| ApiError::new(Kind::Internal, format!("cannot write metrics: {error}")))?;
    Ok(answer(StatusCode::OK, OPEN_METRICS, Body::from(text)))
}

async fn reload(State(api): State<Api>) -> Result<&'static str, ApiError> {
    let reloaded = api.reload.reload().await;
    reloaded.map_err(|reason| {
        let message = format!("nothing was reloaded, the old configuration stays: {reason}");
        ApiError::new(Kind::BadInput, message)
    })?;
    Ok("reloaded\n")
}
