//! Loki's API of deletions: asked for, listed, taken back.

use axum::Extension;
use axum::extract::State;
use http::HeaderMap;
use serde_json::{Value, json};

use super::super::Api;
use super::super::bounded;
use super::super::deletions::{delete_quoted, id_of, no_content, of_own_site};
use super::super::error::ApiError;
use super::super::params::Params;
use super::Answered;
use super::params::times_of_deletion;
use crate::base::Kind;
use crate::model::{Grant, Signal};
use crate::query::Doomed;
use crate::storage::Receipt;
use crate::storage::deletion::Progress;

pub(super) async fn delete(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    headers: HeaderMap,
    params: Params,
) -> Answered {
    of_own_site(&headers)?;
    let Some(query) = params.get("query") else {
        return Err(ApiError::new(Kind::BadInput, "query not set").into());
    };
    let range_ns = times_of_deletion(&params, api.clock.now_ms())?;
    let doomed = Doomed::Lines(query.to_owned());
    let receipt = delete_quoted(api, grant, doomed, range_ns).await?;
    Ok(no_content(Some(&receipt)))
}

pub(super) async fn list(State(api): State<Api>, Extension(grant): Extension<Grant>) -> Answered {
    let receipts = api.deleting.receipts(&grant)?;
    let shown: Vec<Value> = receipts.iter().filter_map(shown).collect();
    Ok(bounded::json(&api, shown).await?)
}

pub(super) async fn cancel(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    headers: HeaderMap,
    params: Params,
) -> Answered {
    of_own_site(&headers)?;
    let Some(id) = params.get("request_id") else {
        return Err(ApiError::new(Kind::BadInput, "request_id not set").into());
    };
    // Another signal's is none of Loki's.
    let id = id_of(id)?;
    let is_here = |receipt: &Receipt| receipt.id == id && shown(receipt).is_some();
    if !api.deleting.receipts(&grant)?.iter().any(is_here) {
        return Err(ApiError::new(Kind::NotFound, "could not find delete request").into());
    }
    api.deleting.cancel(&grant, id).await?;
    Ok(no_content(None))
}

/// Returns a deletion of log lines as Loki lists it: those that were taken back are not listed.
fn shown(receipt: &Receipt) -> Option<Value> {
    let status = match receipt.progress {
        Progress::Hidden => "received",
        Progress::Erased => "processed",
        Progress::Cancelled => return None,
    };
    let seconds = |ns: i64| json!(ns.div_euclid(1_000_000) as f64 / 1_000.0);
    receipt.signals.contains(&Signal::Logs).then(|| {
        json!({
            "request_id": receipt.id.to_string(),
            "start_time": seconds(receipt.start_ns),
            "end_time": seconds(receipt.end_ns),
            "query": receipt.selectors.first(),
            "status": status,
            "created_at": seconds(receipt.at_ms.saturating_mul(1_000_000)),
        })
    })
}
