//! Prometheus' snapshot: all that is stored, as links below the data directory.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde_json::json;

use super::Api;
use super::ask::AskError;
use super::deletions::of_own_site;
use super::error::ApiError;
use super::json::success_value;
use super::route::{Need, Routes};
use crate::model::Grant;
use crate::storage::Taken;

pub(super) fn add(routes: &mut Routes) {
    routes.put("/api/v1/admin/tsdb/snapshot", Need::Admin, snapshot);
}

/// Takes snapshots.
#[async_trait::async_trait]
pub trait BackUp: Send + Sync + std::fmt::Debug {
    /// Takes one of all there is.
    async fn snapshot(&self, grant: &Grant) -> Result<Taken, AskError>;
}

async fn snapshot(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    of_own_site(&headers)?;
    let taken = api.backup.snapshot(&grant).await?;
    Ok(success_value(&json!({
        "name": taken.name,
        "files": taken.n_files,
        "bytes": taken.n_bytes,
        "leftOut": taken.left_out,
    })))
}
