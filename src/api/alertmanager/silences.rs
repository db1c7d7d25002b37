//! Silences: listed, made, changed, ended.

use std::cmp::Reverse;
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
use super::super::received::{InPath, Whole};
use super::answer::{self, AmError, filters, flag, read_time};
use crate::base::Kind;
use crate::model::{Grant, Labels};
use crate::notify::{Silence, SilenceDef, SilenceMatcher, SilenceState};
use crate::query::may_see;

pub(super) async fn list(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, AmError> {
    let filters = filters(&params)?;
    let now_ms = api.clock.now_ms();
    let wanted = [
        (SilenceState::Active, flag(&params, "active", true)?),
        (SilenceState::Pending, flag(&params, "pending", true)?),
        (SilenceState::Expired, flag(&params, "expired", true)?),
    ];
    let mut silences = api.notifier.silences().await?;
    silences.retain(|silence| {
        let of: BTreeMap<&str, &str> =
            silence.def.matchers.iter().map(|m| (m.name.as_str(), m.value.as_str())).collect();
        let value_of = |name: &String| of.get(name.as_str()).copied().unwrap_or("");
        may_see(&grant, &about(&silence.def))
            && wanted.contains(&(silence.state(now_ms), true))
            && filters.iter().all(|filter| filter.matches(value_of(&filter.name)))
    });
    silences.sort_by_key(|silence| order(silence, now_ms));
    Ok(bounded::json(&api, Shown { silences, now_ms }).await?)
}

/// Silences as they are shown at a time.
struct Shown {
    silences: Vec<Silence>,
    now_ms: i64,
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.silences.iter().map(|one| shown(one, self.now_ms)))
    }
}

/// Active ones first, the next to end before the others; then those to come; then the latest to end.
fn order(silence: &Silence, now_ms: i64) -> (u8, i64, Reverse<i64>) {
    let def = &silence.def;
    match silence.state(now_ms) {
        SilenceState::Active => (0, def.ends_at_ms, Reverse(0)),
        SilenceState::Pending => (1, def.starts_at_ms, Reverse(0)),
        SilenceState::Expired => (2, 0, Reverse(def.ends_at_ms)),
    }
}

/// Returns the labels by which it is decided who sees a silence: the commons that it names by an
/// equality, or none when it is about every commons.
fn about(def: &SilenceDef) -> Labels {
    let commons = def.matchers.iter().find(|m| m.name == "commons" && m.is_equal && !m.is_regex);
    Labels::from_pairs(commons.map(|matcher| ("commons", matcher.value.as_str())))
}

fn shown(silence: &Silence, now_ms: i64) -> Value {
    let def = &silence.def;
    json!({
        "id": silence.id,
        "status": { "state": silence.state(now_ms) },
        "updatedAt": answer::time(silence.updated_ms),
        "annotations": {},
        "comment": def.comment,
        "createdBy": def.created_by,
        "endsAt": answer::time(def.ends_at_ms),
        "matchers": def.matchers,
        "startsAt": answer::time(def.starts_at_ms),
    })
}

/// Returns a silence that the caller may see; another one is as unknown as one that never was.
async fn seen(api: &Api, grant: &Grant, id: &str) -> Result<Silence, AmError> {
    let silences = api.notifier.silences().await?;
    let found = silences.into_iter().find(|silence| silence.id == id);
    found
        .filter(|silence| may_see(grant, &about(&silence.def)))
        .ok_or_else(|| AmError::new(Kind::NotFound, format!("there is no silence {id}")))
}

pub(super) async fn get(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    InPath(id): InPath<String>,
) -> Result<Response, AmError> {
    let silence = seen(&api, &grant, &id).await?;
    Ok(answer::json(&shown(&silence, api.clock.now_ms())))
}

pub(super) async fn expire(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    InPath(id): InPath<String>,
) -> Result<StatusCode, AmError> {
    seen(&api, &grant, &id).await?;
    api.notifier.expire_silence(id).await?;
    Ok(StatusCode::OK)
}

/// A silence as people ask for it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Postable {
    #[serde(default)]
    id: Option<String>,
    matchers: Vec<SilenceMatcher>,
    starts_at: String,
    ends_at: String,
    created_by: String,
    comment: String,
}

pub(super) async fn post(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    Whole(body): Whole,
) -> Result<Response, AmError> {
    let (id, def) = read(&body)?;
    if !may_see(&grant, &about(&def)) {
        let message = format!(
            "the token `{}` may silence only alerts of its own commons: add the matcher \
             commons=\"…\"",
            grant.name
        );
        return Err(AmError::new(Kind::Forbidden, message));
    }
    if let Some(id) = &id {
        seen(&api, &grant, id).await?;
    }
    let id = api.notifier.set_silence(id, def).await?;
    tracing::info!(id, by = %grant.name, "a silence was set");
    Ok(answer::json(&json!({ "silenceID": id })))
}

/// Reads a silence as it is asked for, and the id of the one that it changes.
pub(super) fn read(body: &[u8]) -> Result<(Option<String>, SilenceDef), AmError> {
    let wrong = |message: String| AmError::new(Kind::BadInput, message);
    let asked: Postable =
        serde_json::from_slice(body).map_err(|error| wrong(format!("not a silence: {error}")))?;
    let time = |text: &str| read_time(text).map(Option::unwrap_or_default).map_err(wrong);
    let def = SilenceDef {
        starts_at_ms: time(&asked.starts_at)?,
        ends_at_ms: time(&asked.ends_at)?,
        matchers: asked.matchers,
        created_by: asked.created_by,
        comment: asked.comment,
    };
    Ok((asked.id.filter(|id| !id.is_empty()), def))
}
