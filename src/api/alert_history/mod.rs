//! What became of alerts: the ledger as a list, and one alert or rule explained.
//!
//! A caller sees the records of alerts of its commons; of a notification that tells of others as well
//! it sees only its own. What names no known alert is for those who read everything.

mod again;
mod evidence;
mod explain;
mod kept;
mod page;
mod records;
mod why;
mod withdraw;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::Api;
use super::bounded;
use super::error::ApiError;
use super::params::Params;
use super::route::{Need, Routes};
use crate::base::Kind;
use crate::model::{Grant, Labels};
use crate::notify::{NotifyError, parse_all_matchers};

use records::{Wanted, read};

pub(crate) use explain::to_keep;
pub(super) use withdraw::Withdrawal;

/// Changes what was kept of one alert; returns whether there was anything to change.
pub type Change = Box<dyn FnMut(&mut serde_json::Value) -> bool + Send>;

/// An alert of which something is to be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptAlert {
    /// Names its labels.
    pub fingerprint: String,
    /// Its labels.
    pub labels: Labels,
    /// When it began, ms since 1970 UTC.
    pub starts_at_ms: i64,
    /// When it ended, if it did.
    pub ends_at_ms: Option<i64>,
}

/// What was kept of alerts, beyond what the store and the ledger remember.
#[async_trait::async_trait]
pub trait Kept: Send + Sync + std::fmt::Debug {
    /// Returns what was kept of an alert that began at a time.
    async fn get(
        &self,
        fingerprint: &str,
        starts_at_ms: i64,
    ) -> Result<Option<serde_json::Value>, String>;

    /// Changes what was kept of all alerts, and waits for what is just being kept; returns how many it
    /// changed.
    async fn change_all(&self, change: Change) -> Result<usize, String>;
}

pub(super) fn add(routes: &mut Routes) {
    routes.get("/api/v1/admin/alerts/history", Need::Metrics, history);
    routes.get("/api/v1/admin/alerts/explain", Need::Metrics, explain::explain);
}

/// How far back is looked when nobody says.
const LOOK_BACK_MS: i64 = 24 * 3_600_000;
/// The most records that one answer shows when nobody says, and at all.
const RECORDS_USUAL: usize = 1_000;
const RECORDS_MAX: usize = 10_000;

async fn history(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, ApiError> {
    let wanted = wanted(&api, &params)?;
    let found = read(&api, &grant, &wanted).await?;
    let shown = json!({ "records": found.records, "truncated": found.is_truncated });
    bounded::success(&api, shown).await
}

fn wanted(api: &Api, params: &Params) -> Result<Wanted, ApiError> {
    let now_ms = api.clock.now_ms();
    let end_ms = params.time_ms("end", now_ms.saturating_add(1))?;
    let matchers = parse_all_matchers(params.all("filter"));
    let matchers = matchers.map_err(|error| ApiError::parameter("filter", error))?;
    Ok(Wanted {
        start_ms: params.time_ms("start", end_ms.saturating_sub(LOOK_BACK_MS))?,
        end_ms,
        fingerprint: params.get("fingerprint").map(str::to_owned),
        matchers,
        n_max: params.limit("limit")?.unwrap_or(RECORDS_USUAL).min(RECORDS_MAX),
    })
}

impl From<NotifyError> for ApiError {
    fn from(error: NotifyError) -> Self {
        let kind: Kind = error.kind();
        ApiError::new(kind, error.to_string())
    }
}
