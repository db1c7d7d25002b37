//! Why an alert was told, or not: its rule and what that found, its routes, what held it back, and
//! every attempt to tell somebody. Asked for a rule that is silent: why.
//!
//! Of an alert, what was kept when it began or ended is shown as well (`to_keep`, `kept`): that opens
//! when the store and the ledger have long forgotten. What rules found is asked again (`again`).

use std::collections::HashSet;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde_json::{Value, json};

use super::super::bounded;
use super::super::error::ApiError;
use super::super::params::Params;
use super::super::{Api, alertmanager, time};
use super::again::{Again, Times};
use super::kept::kept;
use super::records::{Wanted, read};
use super::{KeptAlert, evidence, page, wanted, why};
use crate::base::Kind;
use crate::model::{Grant, Labels};
use crate::notify::{AlertView, AlertsFilter, fingerprint_text};
use crate::query::{may_see, within};
use crate::rules::{GroupView, RuleKind, RuleView, RulesFilter};

/// How long before an alert's beginning is looked: what led to it.
const LEAD_MS: i64 = 3_600_000;
/// The most records that are kept of one alert.
const KEPT_RECORDS_MAX: usize = 200;

pub(super) async fn explain(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    let wanted = wanted(&api, &params)?;
    let mut shown = if let Some(name) = params.get("rule") {
        let span = (wanted.start_ms, wanted.end_ms.min(api.clock.now_ms()));
        let times = Times::within(span);
        let (group, rule) = rule_named(&api, &grant, name).await.ok_or_else(|| {
            ApiError::new(Kind::NotFound, format!("there is no alerting rule {name}"))
        })?;
        json!({ "rule": explain_rule(&api, &grant, &group, &rule, None, times).await })
    } else {
        let started_ms = params.get("started").map(|_| params.time_ms("started", 0)).transpose()?;
        explain_alert(&api, &grant, &wanted, started_ms).await?
    };
    if page::is_wanted(&headers) {
        return Ok(page::answered(&shown));
    }
    // A rule alone stands for itself, as it did before alerts had evidence.
    if params.get("rule").is_some() {
        shown = shown["rule"].take();
    }
    bounded::success(&api, shown).await
}

/// Explains one alert: as it is now, and as it was kept when it began or ended.
async fn explain_alert(
    api: &Api,
    grant: &Grant,
    wanted: &Wanted,
    started_ms: Option<i64>,
) -> Result<Value, ApiError> {
    if wanted.fingerprint.is_none() && wanted.matchers.is_empty() {
        let message = "one of fingerprint, filter and rule says what is to be explained";
        return Err(ApiError::parameter("fingerprint", message));
    }
    // An alert that a link names began when the link says, however long ago.
    let since_ms = started_ms.map_or(wanted.start_ms, |at_ms| at_ms.saturating_sub(LEAD_MS));
    let wanted = Wanted { start_ms: wanted.start_ms.min(since_ms), ..wanted.clone() };
    let found = read(api, grant, &wanted).await?;
    let known = found.alerts.iter().next();
    let fingerprint = known.map(|(one, _)| one.clone()).or(wanted.fingerprint.clone());
    let begun = known.and_then(|(one, _)| found.started.get(one).copied());
    let kept = match (&fingerprint, started_ms.or(begun)) {
        (Some(one), Some(at_ms)) => kept(api, grant, one, at_ms).await?,
        _ => None,
    };
    let Some((fingerprint, labels)) = known else {
        let message = "no alert that you may see fires or was told of in this time";
        let kept = kept.ok_or_else(|| ApiError::new(Kind::NotFound, message))?;
        return Ok(kept);
    };
    let span = (wanted.start_ms, wanted.end_ms.min(api.clock.now_ms()));
    let view = firing(api, grant, fingerprint).await?;
    // What was kept has the evaluations around its beginning; else they are asked for now.
    let times = match (&kept, begun) {
        (None, Some(at_ms)) => Times::around(at_ms, span.1),
        _ => Times::within(span),
    };
    let rule = rule_of(api, grant, labels, times).await;
    let policy = api.notifier.policy().await?;
    let others: Vec<&String> = found.alerts.keys().skip(1).collect();
    let mut shown = json!({
        "fingerprint": fingerprint,
        "labels": labels,
        "now": view.as_ref().map(alertmanager::shown),
        "routes": policy.explained(labels, api.clock.now_ms()),
        "rule": rule,
        "records": of_alert(&found.records, fingerprint),
        "others": others,
    });
    match kept {
        Some(kept) => shown["kept"] = kept,
        None => evidence::add(api, grant, labels, begun.unwrap_or(span.1), &mut shown).await,
    }
    Ok(shown)
}

/// Returns everything that is worth keeping of an alert: what its rule found, whom its routes tell, what
/// became of it so far, and what lay nearby.
pub(crate) async fn to_keep(
    api: &Api,
    grant: &Grant,
    alert: &KeptAlert,
) -> Result<Value, ApiError> {
    let KeptAlert { fingerprint, labels, starts_at_ms, ends_at_ms } = alert;
    let now_ms = api.clock.now_ms();
    let span = (starts_at_ms.saturating_sub(LEAD_MS), ends_at_ms.unwrap_or(now_ms));
    let wanted = Wanted {
        start_ms: span.0,
        end_ms: now_ms.saturating_add(1),
        fingerprint: Some(fingerprint.clone()),
        matchers: Vec::new(),
        n_max: KEPT_RECORDS_MAX,
    };
    let found = read(api, grant, &wanted).await?;
    let mut shown = json!({
        "fingerprint": fingerprint,
        "labels": labels,
        "startsAt": time::rfc3339(*starts_at_ms),
        "endsAt": ends_at_ms.map(time::rfc3339),
        "keptAt": time::rfc3339(now_ms),
        "routes": api.notifier.policy().await?.explained(labels, *starts_at_ms),
        "rule": rule_of(api, grant, labels, Times::around(*starts_at_ms, span.1)).await,
        "ruleAtEnd": match ends_at_ms {
            // Of one that was short, the beginning shows the end as well.
            Some(at_ms) if at_ms.saturating_sub(*starts_at_ms) > LEAD_MS => {
                rule_of(api, grant, labels, Times::around(*at_ms, now_ms)).await
            }
            _ => Value::Null,
        },
        "records": of_alert(&found.records, fingerprint),
    });
    // Whoever may see the alert may see what lay near it: its commons, and no other.
    evidence::add(api, &within(grant, labels), labels, *starts_at_ms, &mut shown).await;
    Ok(shown)
}

async fn rule_of(api: &Api, grant: &Grant, labels: &Labels, times: Times) -> Value {
    let name = labels.get("alertname").unwrap_or_default();
    match rule_named(api, grant, name).await {
        Some((group, rule)) => explain_rule(api, grant, &group, &rule, Some(labels), times).await,
        None => Value::Null, // From outside, or of a rule that is gone.
    }
}

/// Keeps the records of one alert, and of the notifications that tell of it.
fn of_alert(records: &[Value], fingerprint: &str) -> Vec<Value> {
    let mut told: HashSet<&str> = HashSet::new();
    let mut kept = Vec::new();
    for record in records {
        let notification = record["notification"].as_str();
        let names = |key: &str| {
            let list = record[key].as_array().into_iter().flatten();
            list.into_iter().any(|one| one == fingerprint)
        };
        let is_own = record["fingerprint"] == fingerprint || names("firing") || names("resolved");
        if is_own {
            told.extend(notification);
        }
        if is_own || notification.is_some_and(|one| told.contains(one)) {
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
    times: Times,
) -> Value {
    let rule = &narrowed(rule, grant, of);
    let again = Again { group, rule, of, times };
    let found = again.ask(api, grant).await;
    let silence = why::Silence {
        rule,
        found: &found,
        lived: &match of {
            None => why::lived(&again, api, grant).await,
            Some(_) => Ok(Vec::new()),
        },
        // Of a time that is over, how the rule stands now says nothing.
        is_past: of.is_none() && again.end_ms() + 2 * again.interval_ms() < api.clock.now_ms(),
    };
    json!({
        "file": group.file,
        "group": group.name,
        "name": rule.name,
        "query": rule.query,
        "language": rule.language,
        "for": rule.duration,
        "keepFiringFor": rule.keep_firing_for,
        "interval": group.interval,
        "state": rule.state,
        "health": rule.health,
        "lastError": rule.last_error,
        "lastEvaluation": rule.last_evaluation,
        "alerts": rule.alerts,
        "evaluations": found.evaluations,
        "compared": found.compared,
        "comparedValues": found.compared_values,
        "unasked": found.unasked,
        "why": silence.why(),
    })
}

/// Returns a rule without the alerts and overrides that are not asked about: of an alert, those of others;
/// of a rule, those that the caller may not see. What is kept of an alert is asked for by one who sees
/// everything and read by those who do not.
fn narrowed(rule: &RuleView, grant: &Grant, of: Option<&Labels>) -> RuleView {
    let mut rule = rule.clone();
    let sees = |commons: &str| may_see(grant, &Labels::from_pairs([("commons", commons)]));
    match of {
        Some(of) => {
            let is_it = |own: &Labels| own.iter().all(|(name, value)| of.get(name) == Some(value));
            rule.alerts.iter_mut().for_each(|alerts| alerts.retain(|alert| is_it(&alert.labels)));
            rule.overrides.retain(|one| of.get("commons") == Some(one.commons.as_str()));
        }
        None => rule.overrides.retain(|one| sees(&one.commons)),
    }
    rule
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_records_of_an_alert_are_its_own_and_those_of_what_tells_of_it() {
        let records = [
            json!({ "event": "joined", "fingerprint": "a" }),
            json!({ "event": "joined", "fingerprint": "b" }),
            json!({ "event": "queued", "notification": "1", "firing": ["a", "b"], "resolved": [] }),
            json!({ "event": "queued", "notification": "2", "firing": ["b"], "resolved": [] }),
            json!({ "event": "delivered", "notification": "1" }),
            json!({ "event": "delivered", "notification": "2" }),
            json!({ "event": "queued", "notification": "3", "firing": [], "resolved": ["a"] }),
        ];

        let kept = of_alert(&records, "a");

        let of = |idx: usize| records[idx].clone();
        assert_eq!(kept, [of(0), of(2), of(4), of(6)]);
    }
}
