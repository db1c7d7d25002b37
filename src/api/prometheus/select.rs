//! `series`, `labels`, `label/<name>/values`, `metadata`: what is there to ask for.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::super::Api;
use super::super::ask::{Listed, Selection};
use super::super::bounded;
use super::super::error::ApiError;
use super::super::json::{push_labels, push_list, push_strings, success};
use super::super::params::Params;
use super::super::received::InPath;
use super::escape::unescape;
use super::{FOREVER_MS, truncate};
use crate::base::Kind;
use crate::model::{Description, Grant};

fn selection_of(params: &Params) -> Result<Selection, ApiError> {
    let start_ms = params.time_ms("start", 0)?;
    let end_ms = params.time_ms("end", FOREVER_MS)?;
    if end_ms < start_ms {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    let selectors = params.all("match").into_iter().map(str::to_owned).collect();
    Ok(Selection { selectors, start_ms, end_ms, limit: params.limit("limit")? })
}

pub(super) async fn series(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, ApiError> {
    let wanted = selection_of(&params)?;
    if wanted.selectors.is_empty() {
        return Err(ApiError::new(Kind::BadInput, "no match[] parameter provided"));
    }
    let Listed { list: mut found, mut warnings } = api.ask.series(&grant, &wanted).await?;
    warnings.extend(truncate(&mut found, wanted.limit));
    Ok(success(&warnings, &[], 256 * found.len(), |out| push_list(out, &found, push_labels)))
}

pub(super) async fn label_names(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, ApiError> {
    let wanted = selection_of(&params)?;
    let names = api.ask.label_names(&grant, &wanted).await?;
    Ok(strings(names, wanted.limit))
}

pub(super) async fn label_values(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    InPath(name): InPath<String>,
    params: Params,
) -> Result<Response, ApiError> {
    let name = unescape(&name);
    if name.is_empty() {
        return Err(ApiError::new(Kind::BadInput, "invalid label name: \"\""));
    }
    let wanted = selection_of(&params)?;
    let values = api.ask.label_values(&grant, &name, &wanted).await?;
    Ok(strings(values, wanted.limit))
}

fn strings(listed: Listed<String>, limit: Option<usize>) -> Response {
    let Listed { mut list, mut warnings } = listed;
    warnings.extend(truncate(&mut list, limit));
    success(&warnings, &[], 32 * list.len(), |out| push_strings(out, &list))
}

pub(super) async fn metadata(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = params.limit("limit")?.unwrap_or(usize::MAX);
    let per_metric = params.limit("limit_per_metric")?.unwrap_or(usize::MAX);
    let wanted = params.get("metric");
    let mut by_metric: BTreeMap<String, Vec<Meta>> = BTreeMap::new();
    for (metric, meta) in api.ask.metadata(&grant).await? {
        let is_other = wanted.is_some_and(|wanted| wanted != metric);
        if is_other || (by_metric.len() >= limit && !by_metric.contains_key(&metric)) {
            continue;
        }
        let metas = by_metric.entry(metric).or_default();
        let meta = Meta::from(meta);
        if metas.len() < per_metric && !metas.contains(&meta) {
            metas.push(meta);
        }
    }
    bounded::success(&api, by_metric).await
}

/// What is known of a metric, as Prometheus writes it.
#[derive(Debug, PartialEq, Serialize)]
struct Meta {
    #[serde(rename = "type")]
    kind: &'static str,
    help: Arc<str>,
    unit: Arc<str>,
}

impl From<Description> for Meta {
    fn from(known: Description) -> Self {
        let Description { kind, unit, help } = known;
        Self { kind: kind.prometheus_type(), help, unit }
    }
}
