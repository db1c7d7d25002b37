//! Why an alert was told, or not: its rule and what that found, its routes, what held it back, and
//! every attempt to tell somebody. Asked for a rule that is silent: why.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::super::error::ApiError;
use super::super::json::success_value;
use super::super::params::Params;
use super::super::{Api, AskOptions, alertmanager, time};
use super::records::read;
use super::wanted;
use crate::base::Kind;
use crate::model::{Grant, Labels};
use crate::notify::{AlertView, AlertsFilter, fingerprint_text};
use crate::query::may_see;
use crate::query::promql::{self, ParseLimits, format_value};
use crate::rules::{GroupView, RuleKind, RuleView, RulesFilter};

/// The most moments at which a rule's expression is looked at again.
const MOMENTS_MAX: i64 = 240;
/// The most series that are shown.
const SERIES_MAX: usize = 20;

pub(super) async fn explain(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, ApiError> {
    let wanted = wanted(&api, &params)?;
    let span = (wanted.start_ms, wanted.end_ms.min(api.clock.now_ms()));
    if let Some(name) = params.get("rule") {
        let (group, rule) = rule_named(&api, &grant, name).await.ok_or_else(|| {
            ApiError::new(Kind::NotFound, format!("there is no alerting rule {name}"))
        })?;
        let shown = explain_rule(&api, &grant, &group, &rule, None, span).await;
        return Ok(success_value(&shown));
    }
    if wanted.fingerprint.is_none() && wanted.matchers.is_empty() {
        let message = "one of fingerprint, filter and rule says what is to be explained";
        return Err(ApiError::parameter("fingerprint", message));
    }
    let found = read(&api, &grant, &wanted).await?;
    let Some((fingerprint, labels)) = found.alerts.iter().next() else {
        let message = "no alert that you may see fires or was told of in this time";
        return Err(ApiError::new(Kind::NotFound, message));
    };
    let view = firing(&api, &grant, fingerprint).await?;
    let name = labels.get("alertname").unwrap_or_default();
    let rule = match rule_named(&api, &grant, name).await {
        Some((group, rule)) => explain_rule(&api, &grant, &group, &rule, Some(labels), span).await,
        None => Value::Null, // From outside, or of a rule that is gone.
    };
    let policy = api.notifier.policy().await?;
    let others: Vec<&String> = found.alerts.keys().skip(1).collect();
    Ok(success_value(&json!({
        "fingerprint": fingerprint,
        "labels": labels,
        "now": view.as_ref().map(alertmanager::shown),
        "routes": policy.explained(labels, api.clock.now_ms()),
        "rule": rule,
        "records": of_alert(&found.records, fingerprint),
        "others": others,
    })))
}

/// Keeps the records of one alert, and of the notifications that tell of it.
fn of_alert(records: &[Value], fingerprint: &str) -> Vec<Value> {
    let mut told = Vec::new();
    let mut kept = Vec::new();
    for record in records {
        let names = |key: &str| {
            let list = record[key].as_array().into_iter().flatten();
            list.into_iter().any(|one| one == fingerprint)
        };
        let is_own = record["fingerprint"] == fingerprint || names("firing") || names("resolved");
        if is_own {
            told.push(&record["notification"]);
        }
        if is_own || (!record["notification"].is_null() && told.contains(&&record["notification"]))
        {
            kept.push(record.clone());
        }
    }
    kept
}

async fn firing(api: &Api, grant: &Grant, one: &str) -> Result<Option<AlertView>, ApiError> {
    let grant = grant.clone();
    let sees = Arc::new(move |labels: &Labels| may_see(&grant, labels));
    let all = api.notifier.alerts(AlertsFilter::everything(), sees).await?;
    Ok(all.into_iter().find(|alert| fingerprint_text(alert.fingerprint) == one))
}

async fn rule_named(api: &Api, grant: &Grant, name: &str) -> Option<(GroupView, RuleView)> {
    let filter = RulesFilter {
        kind: Some(RuleKind::Alerting),
        rule_names: vec![name.to_owned()],
        ..RulesFilter::default()
    };
    let group = api.rules.rules(grant, &filter).await.groups.into_iter().next()?;
    let rule = group.rules.first()?.clone();
    Some((group, rule))
}

/// Says what a rule found: at each evaluation of the time, and what its comparison was fed.
async fn explain_rule(
    api: &Api,
    grant: &Grant,
    group: &GroupView,
    rule: &RuleView,
    of: Option<&Labels>,
    span: (i64, i64),
) -> Value {
    let left = compared(&rule.query);
    let evaluations = series(api, grant, &rule.query, of, span, group.interval).await;
    let operand = match &left {
        Some(left) => series(api, grant, left, of, span, group.interval).await,
        None => Value::Null,
    };
    json!({
        "file": group.file,
        "group": group.name,
        "name": rule.name,
        "query": rule.query,
        "for": rule.duration,
        "keepFiringFor": rule.keep_firing_for,
        "interval": group.interval,
        "state": rule.state,
        "health": rule.health,
        "lastError": rule.last_error,
        "lastEvaluation": rule.last_evaluation,
        "alerts": rule.alerts,
        "evaluations": evaluations,
        "compared": left,
        "comparedValues": operand,
        "why": why(rule, &evaluations, &operand),
    })
}

/// Returns the left side of a comparison: what an alerting expression watches.
fn compared(query: &str) -> Option<String> {
    let expr = promql::parse(query, &ParseLimits::default()).ok()?;
    promql::watched(&expr).map(|left| left.to_string())
}

/// Asks an expression at the evaluations of a time again; of an alert, only the series it came from.
async fn series(
    api: &Api,
    grant: &Grant,
    query: &str,
    of: Option<&Labels>,
    (start_ms, end_ms): (i64, i64),
    interval_s: f64,
) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "an interval is far below 2^53 ms")]
    let interval_ms = (interval_s * 1e3) as i64;
    let step_ms = interval_ms.max((end_ms - start_ms) / MOMENTS_MAX).max(1_000);
    let start_ms = start_ms.max(end_ms - step_ms * MOMENTS_MAX);
    let asked = api.ask.range(grant, query, (start_ms, end_ms, step_ms), AskOptions::default());
    let answer = match asked.await {
        Ok(answer) => answer,
        Err(error) => return json!({ "error": error.to_string() }),
    };
    let promql::Value::Matrix(found) = answer.value else { return json!([]) };
    let belongs = |labels: &Labels| {
        of.is_none_or(|of| {
            let mut own = labels.iter().filter(|(name, _)| *name != "__name__");
            own.all(|(name, value)| of.get(name).is_none_or(|of| of == value))
        })
    };
    let shown = found.iter().filter(|one| belongs(&one.labels)).take(SERIES_MAX).map(|one| {
        let values = one.timestamps_ms.iter().zip(&one.values);
        let values: Vec<Value> =
            values.map(|(at_ms, v)| json!([time::rfc3339(*at_ms), format_value(*v)])).collect();
        json!({ "labels": one.labels, "values": values })
    });
    Value::Array(shown.collect())
}

/// Says in sentences why a rule is where it is.
fn why(rule: &RuleView, evaluations: &Value, operand: &Value) -> Vec<String> {
    let mut why = Vec::new();
    if let Some(error) = &rule.last_error {
        why.push(format!("its last evaluation failed: {error}"));
    }
    if rule.health == "unknown" {
        why.push("it has not been evaluated yet".to_owned());
    }
    let alerts = rule.alerts.as_deref().unwrap_or_default();
    for alert in alerts {
        let state = alert.state.as_str();
        why.push(format!("{} is {state} since {}", alert.labels, alert.active_at));
    }
    if !alerts.is_empty() {
        return why;
    }
    let n_of = |value: &Value| value.as_array().map_or(0, Vec::len);
    match (n_of(evaluations), n_of(operand)) {
        (0, 0) if operand.is_null() => why.push("its expression yields nothing".to_owned()),
        (0, 0) => why.push(
            "what it watches yields nothing: the metrics are not there, or their labels differ"
                .to_owned(),
        ),
        (0, n) => why.push(format!(
            "what it watches yields {n} series, none of which passes the comparison"
        )),
        (n, _) => why.push(format!(
            "its expression yielded {n} series in this time, and yields none now, or not for as \
             long as `for` asks"
        )),
    }
    why
}
