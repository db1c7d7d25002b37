//! `rules` and `alerts`: what the rules room shows, filtered and paged as the caller wishes.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::super::Api;
use super::super::bounded;
use super::super::error::ApiError;
use super::super::params::Params;
use crate::model::{Grant, Labels, Matcher};
use crate::rules::{Dialect, GroupView, RuleKind, RuleView, RulesFilter};

pub(super) async fn alerts(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
) -> Result<Response, ApiError> {
    let alerts = api.rules.alerts(&grant).await;
    bounded::success(&api, alerts).await
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    groups: Vec<GroupView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_next_token: Option<String>,
}

pub(super) async fn rules(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, ApiError> {
    of_language(&api, &grant, &params, None).await
}

/// Returns the rules that a caller wishes for, of one language or of all.
pub(in super::super) async fn of_language(
    api: &Api,
    grant: &Grant,
    params: &Params,
    language: Option<Dialect>,
) -> Result<Response, ApiError> {
    let filter = filter_of(params)?;
    let selectors: Vec<String> = params.all("match").into_iter().map(str::to_owned).collect();
    let wanted =
        if selectors.is_empty() { Vec::new() } else { api.ask.matchers(grant, selectors).await? };
    let mut groups = api.rules.rules(grant, &filter).await.groups;
    if language.is_some() || !wanted.is_empty() {
        let is_meant = |rule: &RuleView| {
            language.is_none_or(|language| rule.language == language)
                && (wanted.is_empty() || matches_any(&wanted, rule))
        };
        groups.iter_mut().for_each(|group| group.rules.retain(is_meant));
        groups.retain(|group| !group.rules.is_empty());
    }
    let group_next_token = page(&mut groups, params)?;
    bounded::success(api, Page { groups, group_next_token }).await
}

/// Grafana spells the lists with and without `[]`.
fn filter_of(params: &Params) -> Result<RulesFilter, ApiError> {
    let kind = match params.get("type").map(str::to_ascii_lowercase).as_deref() {
        None => None,
        Some("alert") => Some(RuleKind::Alerting),
        Some("record") => Some(RuleKind::Recording),
        Some(other) => {
            let message = format!("not supported value \"{other}\": wanted alert or record");
            return Err(ApiError::parameter("type", message));
        }
    };
    let exclude_alerts = match params.get("exclude_alerts") {
        None | Some("false" | "0") => false,
        Some("true" | "1") => true,
        Some(other) => {
            let message = format!("\"{other}\" is neither true nor false");
            return Err(ApiError::parameter("exclude_alerts", message));
        }
    };
    let list = |name| params.all(name).into_iter().map(str::to_owned).collect();
    Ok(RulesFilter {
        kind,
        rule_names: list("rule_name"),
        groups: list("rule_group"),
        files: list("file"),
        exclude_alerts,
    })
}

fn matches_any(wanted: &[Vec<Matcher>], rule: &RuleView) -> bool {
    let labels: Labels = rule.labels.iter().flatten().collect();
    let fits = |m: &Matcher| m.matches(labels.get(&m.name).unwrap_or(""));
    wanted.iter().any(|matchers| matchers.iter().all(fits))
}

/// Cuts the groups to one page; returns the token of the next one.
fn page(groups: &mut Vec<GroupView>, params: &Params) -> Result<Option<String>, ApiError> {
    if let Some(token) = params.get("group_next_token") {
        let found = groups.iter().position(|group| token_of(group) == token);
        let from = found.ok_or_else(|| {
            let message = "no group has this token any more: start again without it";
            ApiError::parameter("group_next_token", message)
        })?;
        groups.drain(..from);
    }
    let limit = params.limit("group_limit")?.unwrap_or(usize::MAX);
    let next = groups.get(limit).map(token_of);
    groups.truncate(limit);
    Ok(next)
}

/// A group's token names its file and itself, so that a page survives a reload.
fn token_of(group: &GroupView) -> String {
    let identity = format!("{};{}", group.file, group.name);
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(identity.as_bytes()))
}
