//! What is expected to report, and where it stands, cut to what a caller may see.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::bounded;
use super::error::ApiError;
use super::params::Params;
use super::route::{Need, Routes};
use super::{Api, time};
use crate::inventory::ItemView;
use crate::model::{Grant, Labels};
use crate::query::may_see;

pub(super) fn add(routes: &mut Routes) {
    routes.get("/api/v1/admin/inventory", Need::Metrics, list);
}

async fn list(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, ApiError> {
    let (views, looked_ms) = {
        let inventory = api.inventory.lock();
        (inventory.views(), inventory.looked_ms())
    };
    let wanted = |name: &str, value: &str| params.get(name).is_none_or(|wanted| wanted == value);
    let items: Vec<Value> = views
        .iter()
        .filter(|view| may_see(&grant, &Labels::from_pairs([("commons", &view.item.commons)])))
        .filter(|view| wanted("commons", &view.item.commons))
        .map(shown)
        .filter(|item| wanted("state", item["state"].as_str().unwrap_or_default()))
        .collect();
    let shown = json!({ "items": items, "lookedAt": time::rfc3339(looked_ms) });
    bounded::success(&api, shown).await
}

fn shown(view: &ItemView) -> Value {
    let at = |ms: Option<i64>| ms.map(time::rfc3339);
    json!({
        "commons": view.item.commons,
        "service": view.item.service,
        "signal": view.item.signal,
        "state": view.state,
        "firstSeen": at(view.first_seen_ms),
        "lastSeen": at(view.last_seen_ms),
        "darkSince": at(view.dark_since_ms),
        "rhythmSeconds": view.rhythm_ms / 1_000,
        "declared": view.is_declared,
    })
}
