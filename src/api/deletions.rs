//! Deleting what is stored: Prometheus' admin API, and our own with receipts for every signal.
//!
//! Who deletes is told by a credential; without one (a server on loopback) any page in a browser on
//! the machine could post here, so requests that a browser makes for another site are refused.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::alert_history::Withdrawal;
use super::ask::AskError;
use super::bounded;
use super::error::{ApiError, answer};
use super::json::success_value;
use super::params::Params;
use super::received::InPath;
use super::route::{Need, Routes};
use super::{Api, time};
use crate::base::Kind;
use crate::base::tasks::spawn_joined;
use crate::model::Grant;
use crate::query::{Doomed, Quoted};
use crate::storage::Receipt;

/// ns in a ms.
const MS_NS: i64 = 1_000_000;
/// The header that names the receipt where the dialect has no place for it.
const RECEIPT: &str = "x-commonwatch-deletion";

pub(super) fn add(routes: &mut Routes) {
    routes.put("/api/v1/admin/tsdb/delete_series", Need::Admin, delete_series);
    routes.put("/api/v1/admin/tsdb/clean_tombstones", Need::Admin, clean_tombstones);
    routes.get("/api/v1/admin/deletions", Need::Admin, list);
    routes.post("/api/v1/admin/deletions", Need::Admin, delete);
    routes.get("/api/v1/admin/deletions/{deletion}", Need::Admin, one);
    routes.delete("/api/v1/admin/deletions/{deletion}", Need::Admin, cancel);
}

/// Deletes, and knows what was deleted.
#[async_trait::async_trait]
pub trait Deleting: Send + Sync + std::fmt::Debug {
    /// Deletes what there is in a range of time, ns since 1970 UTC, both ends included.
    async fn delete(
        &self,
        grant: &Grant,
        doomed: Doomed,
        range_ns: (i64, i64),
    ) -> Result<Receipt, AskError>;

    /// Returns what a deletion means of what is quoted elsewhere.
    fn quoted(&self, grant: &Grant, doomed: &Doomed) -> Result<Quoted, AskError>;

    /// Returns the receipts that a caller may know of, oldest first.
    fn receipts(&self, grant: &Grant) -> Result<Vec<Receipt>, AskError>;

    /// Takes a deletion back.
    async fn cancel(&self, grant: &Grant, id: u64) -> Result<Receipt, AskError>;

    /// Lets the bytes of all deletions go at once.
    async fn erase(&self, grant: &Grant) -> Result<(), AskError>;
}

/// Refuses what a browser sends for a page of another site.
pub(super) fn of_own_site(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_foreign_fetch =
        text("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    let is_foreign_origin = text("origin").is_some_and(|origin| {
        let host = origin.split_once("://").map(|(_, host)| host);
        host.is_none() || host != text("host")
    });
    if is_foreign_fetch || is_foreign_origin {
        let message = "a page of another site may not do this".to_owned();
        return Err(ApiError::new(Kind::Forbidden, message));
    }
    Ok(())
}

/// Returns an empty success that names its receipt.
pub(super) fn no_content(receipt: Option<&Receipt>) -> Response {
    let mut response = answer(StatusCode::NO_CONTENT, "text/plain", axum::body::Body::empty());
    if let Some(receipt) = receipt {
        response.headers_mut().insert(RECEIPT, receipt.id.into());
    }
    response
}

/// Returns start and end, ns since 1970 UTC; what is not said is open.
fn range_ns(params: &Params) -> Result<(i64, i64), ApiError> {
    let start_ms = params.time_ms("start", i64::MIN)?;
    let end_ms = params.time_ms("end", i64::MAX)?;
    if end_ms < start_ms {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    // A time is a ms here, and all of it is meant.
    Ok((start_ms.saturating_mul(MS_NS), end_ms.saturating_mul(MS_NS).saturating_add(MS_NS - 1)))
}

fn selectors(params: &Params) -> Vec<String> {
    params.all("match").into_iter().map(str::to_owned).collect()
}

/// Deletes rows, and then what explanations of alerts quote of them; goes on when the client has left, so
/// that no row is gone and still quoted.
pub(super) async fn delete_quoted(
    api: Api,
    grant: Grant,
    doomed: Doomed,
    range_ns: (i64, i64),
) -> Result<Receipt, ApiError> {
    let deleting = async move {
        let receipt = api.deleting.delete(&grant, doomed.clone(), range_ns).await?;
        let quoted = api.deleting.quoted(&grant, &doomed)?;
        let withdrawal = Withdrawal { grant, quoted, range_ns };
        let withdrawn = withdrawal.carry_out(&api).await;
        withdrawn.map_err(|reason| still_quoted(&receipt, &reason))?;
        Ok::<Receipt, ApiError>(receipt)
    };
    let ended = spawn_joined(deleting).await;
    ended.map_err(|error| ApiError::new(Kind::Internal, error.to_string()))?
}

fn still_quoted(receipt: &Receipt, reason: &str) -> ApiError {
    let id = receipt.id;
    let message = format!(
        "deletion {id} is done, but explanations of alerts still quote what it took: {reason}; send it again"
    );
    ApiError::new(Kind::Unavailable, message)
}

async fn delete_series(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    of_own_site(&headers)?;
    let doomed = Doomed::Series(selectors(&params));
    let receipt = delete_quoted(api, grant, doomed, range_ns(&params)?).await?;
    Ok(no_content(Some(&receipt)))
}

async fn clean_tombstones(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    of_own_site(&headers)?;
    api.deleting.erase(&grant).await?;
    Ok(no_content(None))
}

async fn delete(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    of_own_site(&headers)?;
    let doomed = match params.required("signal")? {
        "metrics" => Doomed::Series(selectors(&params)),
        "logs" => Doomed::Lines(params.required("query")?.to_owned()),
        "spans" => Doomed::Spans(selectors(&params)),
        other => {
            let message = format!("`{other}` is none of metrics, logs, spans");
            return Err(ApiError::parameter("signal", message));
        }
    };
    let receipt = delete_quoted(api, grant, doomed, range_ns(&params)?).await?;
    Ok(success_value(&shown(&receipt)))
}

async fn list(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
) -> Result<Response, ApiError> {
    let receipts = api.deleting.receipts(&grant)?;
    let receipts: Vec<Value> = receipts.iter().map(shown).collect();
    bounded::success(&api, json!({ "deletions": receipts })).await
}

async fn one(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    InPath(id): InPath<String>,
) -> Result<Response, ApiError> {
    let receipts = api.deleting.receipts(&grant)?;
    let found = receipts.iter().find(|receipt| receipt.id.to_string() == id);
    found.map(|receipt| success_value(&shown(receipt))).ok_or_else(|| unknown(&id))
}

async fn cancel(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    headers: HeaderMap,
    InPath(id): InPath<String>,
) -> Result<Response, ApiError> {
    of_own_site(&headers)?;
    let receipt = api.deleting.cancel(&grant, id_of(&id)?).await?;
    Ok(success_value(&shown(&receipt)))
}

/// Reads the id of a deletion.
pub(super) fn id_of(text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| unknown(text))
}

fn unknown(id: &str) -> ApiError {
    ApiError::new(Kind::NotFound, format!("there is no deletion `{id}`"))
}

fn shown(receipt: &Receipt) -> Value {
    let at = |ms: i64| time::rfc3339(ms);
    // An end that was not said is the first or the last ns there is.
    let is_said = |ns: i64| (i64::MIN + MS_NS..i64::MAX - MS_NS).contains(&ns);
    let bound = |ns: i64| is_said(ns).then(|| at(ns.div_euclid(MS_NS)));
    json!({
        "id": receipt.id.to_string(),
        "status": receipt.progress.as_str(),
        "by": receipt.by,
        "at": at(receipt.at_ms),
        "signals": receipt.signals,
        "selectors": receipt.selectors,
        "start": bound(receipt.start_ns),
        "end": bound(receipt.end_ns),
        "rows": receipt.n_rows,
        "files": receipt.files.len(),
        "commons": receipt.commons,
        "skippedFiles": receipt.skipped,
        "cancelUntil": at(receipt.cancel_until_ms),
        "endedAt": receipt.ended_at_ms.map(at),
        "endedBy": receipt.ended_by,
    })
}
