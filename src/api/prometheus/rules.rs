//! `rules` and `alerts`: what the rules room shows, filtered as the caller wishes.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::super::Api;
use super::super::ask::Ask;
use super::super::error::ApiError;
use super::super::json::success_value;
use super::super::params::Params;
use crate::model::{Grant, Labels};

pub(super) async fn alerts(State(api): State<Api>, Extension(grant): Extension<Grant>) -> Response {
    let alerts = api.rules.alerts(&grant).await;
    success_value(&json!({ "alerts": alerts }))
}

pub(super) async fn rules(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, ApiError> {
    let filter = Filter::of(&params)?;
    let mut shown = Vec::new();
    for mut group in api.rules.groups(&grant).await {
        if filter.keep(&mut group, &*api.ask)? {
            shown.push(group);
        }
    }
    let next = page(&mut shown, &params)?;
    let mut data = json!({ "groups": shown });
    if let Some(token) = next {
        data["groupNextToken"] = Value::String(token);
    }
    Ok(success_value(&data))
}

/// What the caller wants to see; Grafana spells the lists with and without `[]`.
#[derive(Debug)]
struct Filter<'a> {
    kind: Option<&'static str>,
    rule_names: Vec<&'a str>,
    groups: Vec<&'a str>,
    files: Vec<&'a str>,
    selectors: Vec<&'a str>,
    no_alerts: bool,
}

impl<'a> Filter<'a> {
    fn of(params: &'a Params) -> Result<Self, ApiError> {
        let kind = match params.get("type").map(str::to_ascii_lowercase).as_deref() {
            None => None,
            Some("alert") => Some("alerting"),
            Some("record") => Some("recording"),
            Some(other) => {
                let message = format!("not supported value \"{other}\": wanted alert or record");
                return Err(ApiError::parameter("type", message));
            }
        };
        let no_alerts = match params.get("exclude_alerts") {
            None | Some("false" | "0") => false,
            Some("true" | "1") => true,
            Some(other) => {
                let message = format!("\"{other}\" is neither true nor false");
                return Err(ApiError::parameter("exclude_alerts", message));
            }
        };
        Ok(Self {
            kind,
            rule_names: params.all("rule_name"),
            groups: params.all("rule_group"),
            files: params.all("file"),
            selectors: params.all("match"),
            no_alerts,
        })
    }

    /// Takes out the rules that are not wanted; returns false when the group is not wanted either.
    fn keep(&self, group: &mut Value, ask: &dyn Ask) -> Result<bool, ApiError> {
        if !is_in(&self.groups, &group["name"]) || !is_in(&self.files, &group["file"]) {
            return Ok(false);
        }
        let Some(rules) = group["rules"].as_array_mut() else { return Ok(true) };
        let mut kept = Vec::with_capacity(rules.len());
        for mut rule in std::mem::take(rules) {
            if self.wants(&rule, ask)? {
                if self.no_alerts && rule["alerts"].is_array() {
                    rule["alerts"] = json!([]);
                }
                kept.push(rule);
            }
        }
        let has_any = !kept.is_empty();
        *rules = kept;
        let is_narrowed =
            self.kind.is_some() || !self.rule_names.is_empty() || !self.selectors.is_empty();
        Ok(has_any || !is_narrowed)
    }

    fn wants(&self, rule: &Value, ask: &dyn Ask) -> Result<bool, ApiError> {
        if self.kind.is_some_and(|kind| rule["type"] != kind)
            || !is_in(&self.rule_names, &rule["name"])
        {
            return Ok(false);
        }
        if self.selectors.is_empty() {
            return Ok(true);
        }
        let pairs = rule["labels"].as_object().into_iter().flatten();
        let labels: Labels =
            pairs.map(|(name, value)| (name.as_str(), value.as_str().unwrap_or(""))).collect();
        for selector in &self.selectors {
            if ask.selector_matches(selector, &labels)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn is_in(wanted: &[&str], value: &Value) -> bool {
    wanted.is_empty() || value.as_str().is_some_and(|text| wanted.contains(&text))
}

/// Cuts the groups to one page; returns the token of the next one.
fn page(groups: &mut Vec<Value>, params: &Params) -> Result<Option<String>, ApiError> {
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
fn token_of(group: &Value) -> String {
    let identity = format!("{};{}", group["file"], group["name"]);
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(identity.as_bytes()))
}
