//! The parameters of a request: the form in its body, then the query string, as Go's `FormValue`
//! reads them.

use axum::extract::{FromRequest, Query, Request};
use axum::{Form, RequestExt as _};
use http::Method;
use http::header::CONTENT_TYPE;

use super::error::{ApiError, Dialect, status_of};
use super::received::{Refused, too_large};
use super::time;
use crate::base::Kind;

type Pairs = Vec<(String, String)>;

/// The parameters of a request in the order they came.
#[derive(Debug, Clone, Default)]
pub(super) struct Params(Pairs);

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Refused;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Refused> {
        let dialect = Dialect::of(request.uri().path(), request.headers());
        pairs_of(request).await.map(Self).map_err(|error| Refused::new(error, dialect))
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

async fn pairs_of(request: Request) -> Result<Pairs, ApiError> {
    let wrong = |error: &dyn std::error::Error| {
        ApiError::new(Kind::BadInput, format!("error parsing form values: {error}"))
    };
    let Query(in_url): Query<Pairs> =
        Query::try_from_uri(request.uri()).map_err(|error| wrong(&error))?;
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let is_form = content_type.is_some_and(|t| t.starts_with(FORM));
    if request.method() != Method::POST || !is_form {
        return Ok(in_url);
    }
    let form: Result<Form<Pairs>, _> = request.extract().await;
    let Form(mut pairs) =
        form.map_err(|error| match error.status() == status_of(Kind::TooLarge) {
            true => too_large("form"),
            false => wrong(&error),
        })?;
    pairs.extend(in_url);
    Ok(pairs)
}

impl Params {
    /// Returns the first value of a name; an empty one counts as absent, as in Prometheus.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Returns all values of a name, and of the same name with `[]`.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let is_wanted = |n: &str| n == name || n.strip_suffix("[]") == Some(name);
        self.0.iter().filter(|(n, _)| is_wanted(n)).map(|(_, value)| value.as_str()).collect()
    }

    /// Returns a parameter that must be there.
    pub(super) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).ok_or_else(|| ApiError::parameter(name, "it must be given"))
    }

    /// Returns a time, ms since 1970 UTC, or `default_ms`.
    pub(super) fn time_ms(&self, name: &str, default_ms: i64) -> Result<i64, ApiError> {
        let parse = |text| time::parse_ms(text).ok_or_else(|| optional_time(name, text));
        self.get(name).map_or(Ok(default_ms), parse)
    }

    /// Returns a time that must be there, ms since 1970 UTC.
    pub(super) fn required_time_ms(&self, name: &str) -> Result<i64, ApiError> {
        let text = self.required(name)?;
        time::parse_ms(text).ok_or_else(|| ApiError::parameter(name, no_time(text)))
    }

    /// Returns a duration in ms.
    pub(super) fn duration_ms(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let parse = |text| {
            time::parse_duration_ms(text).ok_or_else(|| {
                ApiError::parameter(
                    name,
                    format!(
                        "cannot parse \"{text}\" to a valid duration: wanted 15s, 1h30m or seconds"
                    ),
                )
            })
        };
        self.get(name).map(parse).transpose()
    }

    /// Returns a whole number of at least 0; 0 and absence are `None`.
    pub(super) fn limit(&self, name: &str) -> Result<Option<usize>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number: i64 = text.parse().map_err(|_| {
            ApiError::parameter(name, format!("cannot parse \"{text}\" to a valid number"))
        })?;
        let limit = usize::try_from(number)
            .map_err(|_| ApiError::parameter(name, "it must be non-negative; 0 is no limit"))?;
        Ok((limit > 0).then_some(limit))
    }
}

/// Prometheus says more where a time need not be given.
fn optional_time(name: &str, text: &str) -> ApiError {
    ApiError::parameter(name, format!("invalid time value for '{name}': {}", no_time(text)))
}

fn no_time(text: &str) -> String {
    format!("cannot parse \"{text}\" to a valid timestamp: wanted seconds since 1970 or RFC 3339")
}
