//! `echo`, `ready`, `status`, `status/buildinfo`, `overrides`.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::super::error::answer;
use super::super::json::{answer_value, build_info};
use super::super::{Api, ReadinessState};

/// The Tempo whose API this is.
const TEMPO_VERSION: &str = "2.9.0";
const TEXT: &str = "text/plain; charset=utf-8";

fn text(body: &'static str) -> Response {
    answer(StatusCode::OK, TEXT, Body::from(body))
}

/// What "save and test" asks.
pub(super) async fn echo() -> Response {
    text("echo")
}

pub(super) async fn ready(State(api): State<Api>) -> Response {
    // A server that replays its log does not answer here at all, but with 503.
    text(if api.readiness.get() == ReadinessState::Ready { "ready" } else { "stopping" })
}

pub(super) async fn status() -> Response {
    text(concat!("commonwatch ", env!("CARGO_PKG_VERSION"), ", Tempo API\n"))
}

pub(super) async fn buildinfo() -> Response {
    answer_value(&build_info(TEMPO_VERSION))
}

/// Limits of a tenant's own: there are none, all that holds stands in the configuration.
pub(super) async fn overrides() -> Response {
    answer(StatusCode::OK, "application/json", Body::from("{}"))
}
