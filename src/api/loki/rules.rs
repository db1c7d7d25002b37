//! The rules over logs, as Loki's ruler shows them: those of `type: logql`.
//!
//! They are read from files here and cannot be written by this API; a group that is not there is
//! answered in the words by which Grafana knows that rules are supported.

use std::collections::BTreeMap;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::super::Api;
use super::super::bounded;
use super::super::error::{ApiError, answer};
use super::super::params::Params;
use super::super::prometheus::rules::of_language;
use super::super::received::InPath;
use super::Answered;
use crate::base::Kind;
use crate::base::units::format_duration_ms;
use crate::model::Grant;
use crate::rules::{AlertsView, Dialect, GroupView, RuleKind, RuleView, RulesFilter};

/// Returns the groups with their rules over logs; a group without any is left out.
async fn log_groups(api: &Api, grant: &Grant) -> Vec<GroupView> {
    let mut groups = api.rules.rules(grant, &RulesFilter::default()).await.groups;
    for group in &mut groups {
        group.rules.retain(|rule| rule.language == Dialect::Logql);
    }
    groups.retain(|group| !group.rules.is_empty());
    groups
}

/// `/prometheus/api/v1/rules`: filtered and paged, and refused, as Prometheus' are.
pub(super) async fn rule_groups(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    asked: Params,
) -> Result<Response, ApiError> {
    of_language(&api, &grant, &asked, Some(Dialect::Logql)).await
}

/// `/prometheus/api/v1/alerts`
pub(super) async fn alerts(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
) -> Result<Response, ApiError> {
    let groups = log_groups(&api, &grant).await;
    let rules = groups.into_iter().flat_map(|group| group.rules);
    let alerts = rules.flat_map(|rule| rule.alerts.into_iter().flatten()).collect();
    bounded::success(&api, AlertsView { alerts }).await
}

/// `/loki/api/v1/rules`
pub(super) async fn all(State(api): State<Api>, Extension(grant): Extension<Grant>) -> Answered {
    let mut by_file: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for group in log_groups(&api, &grant).await {
        by_file.entry(group.file.clone()).or_default().push(written(&group));
    }
    yaml(&by_file)
}

/// `/loki/api/v1/rules/{namespace}`
pub(super) async fn of_namespace(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    InPath(namespace): InPath<String>,
) -> Answered {
    let groups = log_groups(&api, &grant).await;
    let own = groups.iter().filter(|group| group.file == namespace).map(written);
    let own: Vec<Value> = own.collect();
    match own.is_empty() {
        true => Err(ApiError::new(Kind::NotFound, "no rule groups found").into()),
        false => yaml(&BTreeMap::from([(namespace, own)])),
    }
}

/// `/loki/api/v1/rules/{namespace}/{group}`
pub(super) async fn of_group(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    InPath((namespace, name)): InPath<(String, String)>,
) -> Answered {
    let groups = log_groups(&api, &grant).await;
    match groups.iter().find(|group| group.file == namespace && group.name == name) {
        Some(group) => yaml(&written(group)),
        None => Err(ApiError::new(Kind::NotFound, "group does not exist").into()),
    }
}

fn yaml(value: &impl serde::Serialize) -> Answered {
    let text = serde_saphyr::to_string(value)
        .map_err(|error| ApiError::new(Kind::Internal, format!("cannot write YAML: {error}")))?;
    Ok(answer(StatusCode::OK, "application/yaml", Body::from(text)))
}

/// Returns a group as a rule file has it.
fn written(group: &GroupView) -> Value {
    let rules: Vec<Value> = group.rules.iter().map(rule).collect();
    json!({ "name": group.name, "interval": duration(group.interval), "rules": rules })
}

fn rule(rule: &RuleView) -> Value {
    let name = if rule.kind == RuleKind::Recording { "record" } else { "alert" };
    let mut written = json!({ name: rule.name, "expr": rule.query });
    let mut add = |key: &str, value: Option<Value>| {
        if let (Some(value), Some(map)) = (value, written.as_object_mut()) {
            map.insert(key.to_owned(), value);
        }
    };
    let time = |secs: Option<f64>| secs.filter(|secs| *secs > 0.0).map(|s| json!(duration(s)));
    add("for", time(rule.duration));
    add("keep_firing_for", time(rule.keep_firing_for));
    add("labels", rule.labels.as_ref().map(|labels| json!(labels)));
    add("annotations", rule.annotations.as_ref().map(|texts| json!(texts)));
    written
}

#[expect(clippy::cast_possible_truncation, reason = "intervals are far below 2^53 ms")]
fn duration(secs: f64) -> String {
    format_duration_ms((secs * 1e3).round() as i64)
}
