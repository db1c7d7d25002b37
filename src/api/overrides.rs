//! Who overrides what: what single commons have different in a rule, cut to what a caller may see.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::Api;
use super::error::ApiError;
use super::json::success_value;
use super::params::Params;
use super::route::{Need, Routes};
use crate::model::{Grant, Labels};
use crate::query::may_see;
use crate::rules::{OverrideView, RulesFilter};

pub(super) fn add(routes: &mut Routes) {
    routes.get("/api/v1/admin/rules/overrides", Need::Metrics, list);
}

async fn list(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, ApiError> {
    let now_ms = api.clock.now_ms();
    let groups = api.rules.rules(&grant, &RulesFilter::default()).await.groups;
    let all = groups.iter().flat_map(|group| &group.rules).flat_map(|rule| &rule.overrides);
    let wanted = |name: &str, value: &str| params.get(name).is_none_or(|wanted| wanted == value);
    let mut found: Vec<&OverrideView> = all
        .filter(|one| may_see(&grant, &Labels::from_pairs([("commons", &one.commons)])))
        .filter(|one| wanted("commons", &one.commons) && wanted("rule", &one.rule))
        .collect();
    found.sort_by(|a, b| (&a.commons, &a.rule).cmp(&(&b.commons, &b.rule)));
    let shown: Vec<Value> = found.iter().map(|one| shown(one, now_ms)).collect();
    Ok(success_value(&json!({ "overrides": shown })))
}

fn shown(one: &OverrideView, now_ms: i64) -> Value {
    let mut shown = json!(one);
    shown["isOver"] = json!(one.until_ms.is_some_and(|until_ms| until_ms <= now_ms));
    shown
}
