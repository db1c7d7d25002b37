//! What all answers share: errors as Alertmanager's clients read them, and times.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat};
use http::StatusCode;
use serde::Serialize;

use super::super::error::{self, ApiError, Dialect};
use super::super::params::Params;
use crate::base::Kind;
use crate::model::Matcher;
use crate::notify::{NotifyError, parse_all_matchers};

/// An error whose body is a JSON text.
#[derive(Debug)]
pub(super) struct AmError(pub(super) ApiError);

impl AmError {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(ApiError::new(kind, message))
    }
}

impl From<NotifyError> for AmError {
    fn from(error: NotifyError) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

impl From<ApiError> for AmError {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for AmError {
    fn into_response(self) -> Response {
        self.0.into_dialect(Dialect::Alertmanager)
    }
}

/// Returns a value as JSON.
pub(super) fn json(value: &impl Serialize) -> Response {
    let text = serde_json::to_string(value).expect("views are plain data");
    error::answer(StatusCode::OK, "application/json", Body::from(text))
}

/// Writes a time as Alertmanager's API does.
pub(super) fn time(ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(ms).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Reads a time; Go's zero time is no time.
pub(super) fn read_time(text: &str) -> Result<Option<i64>, String> {
    let time = DateTime::parse_from_rfc3339(text)
        .map_err(|_| format!("`{text}` is not a time as in RFC 3339"))?;
    let ms = time.timestamp_millis();
    Ok((ms > 0).then_some(ms))
}

/// Reads all `filter` parameters, all of which must hold.
pub(super) fn filters(params: &Params) -> Result<Vec<Matcher>, AmError> {
    matchers(params, "filter")
}

/// Reads all matchers of a parameter, all of which must hold.
pub(super) fn matchers(params: &Params, name: &str) -> Result<Vec<Matcher>, AmError> {
    parse_all_matchers(params.all(name))
        .map_err(|error| AmError::new(Kind::BadInput, format!("bad matcher format: {error}")))
}

/// Reads a truth.
pub(super) fn flag(params: &Params, name: &str, default: bool) -> Result<bool, AmError> {
    match params.get(name) {
        None => Ok(default),
        Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => {
            let message = format!("parameter {name}: `{other}` is neither true nor false");
            Err(AmError::new(Kind::BadInput, message))
        }
    }
}
