//! Alerts: those that fire, as a list and in their groups, and those that others tell.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use super::super::Api;
use super::super::bounded;
use super::super::params::Params;
use super::super::received::Whole;
use super::answer::{self, AmError, filters, flag, read_time};
use super::sees;
use crate::base::Kind;
use crate::model::regexp::{self, Dot};
use crate::model::{Grant, Labels, REGEX_PROGRAM_BYTES_MAX, WriteScope};
use crate::notify::{
    AlertStatus, AlertView, AlertsFilter, GroupView, PostedAlert, fingerprint_text,
};

/// The most bytes of one alert's labels, annotations and link together.
const ALERT_BYTES_MAX: usize = 8 << 10;

pub(super) async fn list(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, AmError> {
    let filter = filter(&api, &params)?;
    let alerts = api.notifier.alerts(filter, sees(&grant)).await?;
    Ok(bounded::json(&api, Shown(alerts)).await?)
}

pub(super) async fn groups(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, AmError> {
    let filter = filter(&api, &params)?;
    let groups = api.notifier.groups(filter, sees(&grant)).await?;
    Ok(bounded::json(&api, ShownGroups(groups)).await?)
}

/// Alertmanager's `unprocessed` is read and means nothing: an alert is judged when it is asked for.
fn filter(api: &Api, params: &Params) -> Result<AlertsFilter, AmError> {
    flag(params, "unprocessed", true)?;
    let receiver = params.get("receiver").map(|pattern| {
        // The whole name, as Alertmanager reads it.
        regexp::compile_whole(pattern, Dot::InLine, REGEX_PROGRAM_BYTES_MAX).map_err(|error| {
            AmError::new(Kind::BadInput, format!("failed to parse receiver param: {error}"))
        })
    });
    Ok(AlertsFilter {
        matchers: filters(params)?,
        active: flag(params, "active", true)?,
        silenced: flag(params, "silenced", true)?,
        inhibited: flag(params, "inhibited", true)?,
        muted: flag(params, "muted", true)?,
        receiver: receiver.transpose()?,
        receiver_matchers: answer::matchers(params, "receiver_matchers")?,
        bytes_max: Some(api.result_bytes_max.bytes()),
    })
}

pub(in super::super) fn shown(alert: &AlertView) -> Value {
    let event = &alert.event;
    let receivers: Vec<Value> =
        alert.receivers.iter().map(|name| json!({ "name": name })).collect();
    json!({
        "annotations": event.annotations,
        "endsAt": answer::time(event.ends_at_ms),
        "fingerprint": fingerprint_text(alert.fingerprint),
        "receivers": receivers,
        "startsAt": answer::time(event.starts_at_ms),
        "status": shown_status(&alert.status),
        "updatedAt": answer::time(alert.updated_ms),
        "generatorURL": event.generator_url,
        "labels": event.labels,
    })
}

fn shown_status(status: &AlertStatus) -> Value {
    let inhibited_by = status.inhibited_by.iter().map(|by| fingerprint_text(*by));
    json!({
        "inhibitedBy": inhibited_by.collect::<Vec<_>>(),
        "mutedBy": status.muted_by,
        "silencedBy": status.silenced_by,
        "state": if status.is_active() { "active" } else { "suppressed" },
    })
}

/// Alerts as they are shown: one after the other is a tree of values, and never all of them.
struct Shown<A>(A);

impl<A: AsRef<[AlertView]>> Serialize for Shown<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.as_ref().iter().map(shown))
    }
}

/// Groups as they are shown.
struct ShownGroups(Vec<GroupView>);

impl Serialize for ShownGroups {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ShownGroup::from))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownGroup<'g> {
    alerts: Shown<&'g [AlertView]>,
    labels: &'g Labels,
    receiver: Value,
    route_labels: BTreeMap<&'g str, &'g str>,
}

impl<'g> From<&'g GroupView> for ShownGroup<'g> {
    fn from(group: &'g GroupView) -> Self {
        let route_labels =
            group.route_labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Self {
            alerts: Shown(group.alerts.as_slice()),
            labels: &group.labels,
            receiver: json!({ "name": group.receiver }),
            route_labels: route_labels.collect(),
        }
    }
}

/// An alert as others tell it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Postable {
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    starts_at: Option<String>,
    #[serde(default)]
    ends_at: Option<String>,
    #[serde(rename = "generatorURL", default)]
    generator_url: Option<String>,
}

/// Takes the alerts that are right, and says what is wrong with the others.
pub(super) async fn post(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    Whole(body): Whole,
) -> Result<StatusCode, AmError> {
    let (right, wrong) = read(&body, &grant)?;
    if !right.is_empty() {
        api.notifier.post(right).await?;
    }
    match wrong.is_empty() {
        true => Ok(StatusCode::OK),
        false => Err(AmError::new(Kind::BadInput, wrong.join("; "))),
    }
}

/// Reads the alerts of a body: those that are right, and what is wrong with the others.
pub(super) fn read(body: &[u8], grant: &Grant) -> Result<(Vec<PostedAlert>, Vec<String>), AmError> {
    let told: Vec<Postable> = serde_json::from_slice(body)
        .map_err(|error| AmError::new(Kind::BadInput, format!("not a list of alerts: {error}")))?;
    let (mut right, mut wrong) = (Vec::new(), Vec::new());
    for (idx, alert) in told.into_iter().enumerate() {
        match alert.checked(grant) {
            Ok(alert) => right.push(alert),
            Err(error) => wrong.push(format!("alert {idx}: {error}")),
        }
    }
    Ok((right, wrong))
}

impl Postable {
    fn checked(self, grant: &Grant) -> Result<PostedAlert, String> {
        let pairs = self.labels.iter().chain(&self.annotations);
        let texts = pairs.flat_map(|(name, value)| [name, value]).chain(&self.generator_url);
        let n_bytes: usize = texts.map(String::len).sum();
        if n_bytes > ALERT_BYTES_MAX {
            return Err(format!(
                "{n_bytes} bytes of labels, annotations and generatorURL, {ALERT_BYTES_MAX} are the most"
            ));
        }
        if self.labels.keys().any(String::is_empty) {
            return Err("a label has no name".to_owned());
        }
        let time = |text: &Option<String>| text.as_deref().map_or(Ok(None), read_time);
        let (starts_at_ms, ends_at_ms) = (time(&self.starts_at)?, time(&self.ends_at)?);
        if let (Some(start), Some(end)) = (starts_at_ms, ends_at_ms)
            && end < start
        {
            return Err("start time must be before end time".to_owned());
        }
        let labels = placed(Labels::from_pairs(&self.labels), grant)?;
        if labels.is_empty() {
            return Err("at least one label pair required".to_owned());
        }
        let generator_url = self.generator_url.unwrap_or_default();
        let annotations = self.annotations;
        Ok(PostedAlert { labels, annotations, starts_at_ms, ends_at_ms, generator_url })
    }
}

/// Says which commons an alert is about: the sender's, whatever it says, or one that it may speak for.
fn placed(labels: Labels, grant: &Grant) -> Result<Labels, String> {
    match &grant.write {
        WriteScope::Any => Ok(labels),
        WriteScope::Nothing => Err(format!("the token `{}` may not write", grant.name)),
        WriteScope::Commons(commons) => {
            Ok(labels.to_builder().set("commons", commons.as_str()).build())
        }
        WriteScope::Cluster { cluster, commons } => {
            let named = labels.get("commons").unwrap_or_default();
            let is_covered = commons.is_empty() || commons.iter().any(|one| one.as_str() == named);
            match is_covered {
                true => Ok(labels.to_builder().set("cluster", cluster).build()),
                false => Err(format!(
                    "commons `{named}` is not one that the token `{}` speaks for",
                    grant.name
                )),
            }
        }
    }
}
