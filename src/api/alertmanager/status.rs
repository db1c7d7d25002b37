//! Who is told, and by which configuration.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::super::json::build_info;
use super::super::params::Params;
use super::super::{Api, error};
use super::answer::{self, AmError};
use crate::notify::receiver_fits;

/// The Alertmanager whose API this is; our own version stands in `revision`.
const COMPATIBLE_VERSION: &str = "0.28.0";

pub(super) async fn status(State(api): State<Api>) -> Result<Response, AmError> {
    let policy = api.notifier.policy().await?;
    Ok(answer::json(&json!({
        "cluster": { "name": "", "peers": [], "status": "disabled" },
        "config": { "original": policy.shown() },
        "uptime": answer::time(api.started_ms),
        "versionInfo": build_info(COMPATIBLE_VERSION),
    })))
}

pub(super) async fn receivers(State(api): State<Api>, params: Params) -> Result<Response, AmError> {
    let matchers = answer::matchers(&params, "receiver_matchers")?;
    let policy = api.notifier.policy().await?;
    let names = policy.receiver_names().filter(|name| receiver_fits(&matchers, name));
    let names: Vec<Value> = names.map(|name| json!({ "name": name })).collect();
    Ok(answer::json(&names))
}

/// Says which Alertmanager's API this is in the one place where karma looks for it.
pub(super) async fn metrics() -> Response {
    let revision = concat!("commonwatch-", env!("CARGO_PKG_VERSION"));
    let text = format!(
        "# HELP alertmanager_build_info The Alertmanager whose API this is.\n\
         # TYPE alertmanager_build_info gauge\n\
         alertmanager_build_info{{branch=\"\",goversion=\"\",revision=\"{revision}\",\
         version=\"{COMPATIBLE_VERSION}\"}} 1\n"
    );
    error::answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", Body::from(text))
}
