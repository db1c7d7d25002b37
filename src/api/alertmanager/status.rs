//! Who is told, and by which configuration.

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::super::Api;
use super::answer::{self, AmError};

/// The Alertmanager whose API this is; our own version stands in `revision`.
const COMPATIBLE_VERSION: &str = "0.28.0";

pub(super) async fn status(State(api): State<Api>) -> Result<Response, AmError> {
    let policy = api.notifier.policy().await?;
    Ok(answer::json(&json!({
        "cluster": { "name": "", "peers": [], "status": "disabled" },
        "config": { "original": policy.shown() },
        "uptime": answer::time(api.started_ms),
        "versionInfo": {
            "branch": "",
            "buildDate": "",
            "buildUser": "",
            "goVersion": "",
            "revision": concat!("commonwatch-", env!("CARGO_PKG_VERSION")),
            "version": COMPATIBLE_VERSION,
        },
    })))
}

pub(super) async fn receivers(State(api): State<Api>) -> Result<Response, AmError> {
    let policy = api.notifier.policy().await?;
    let names: Vec<Value> = policy.receiver_names().map(|name| json!({ "name": name })).collect();
    Ok(answer::json(&names))
}
