//! What a request brings, taken apart before a handler sees it: what stands in its path, and its body.
//!
//! What cannot be taken apart is refused in the words that the clients of that route read; axum's own
//! would be a bare text, whoever asks.

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::QUESTION_BYTES_MAX;
use super::error::{ApiError, Dialect, status_of};
use crate::base::Kind;

/// An error that knows who reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    error: ApiError,
    dialect: Dialect,
}

impl Refused {
    pub(super) fn new(error: ApiError, dialect: Dialect) -> Self {
        Self { error, dialect }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        self.error.into_dialect(self.dialect)
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        refused.error
    }
}

/// What stands in the path where the route has a name in braces.
#[derive(Debug)]
pub(super) struct InPath<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let dialect = Dialect::of(parts.uri.path(), &parts.headers);
        let found = Path::<T>::from_request_parts(parts, state).await;
        found.map(|Path(found)| Self(found)).map_err(|error| {
            let message = format!("invalid path: {error}");
            Refused::new(ApiError::new(Kind::BadInput, message), dialect)
        })
    }
}

/// A body that is read whole.
#[derive(Debug)]
pub(super) struct Whole(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        let dialect = Dialect::of(request.uri().path(), request.headers());
        let body = Bytes::from_request(request, state).await;
        body.map(Self).map_err(|error| {
            let error = match error.status() == status_of(Kind::TooLarge) {
                true => too_large("body"),
                false => {
                    let message = format!("the body did not arrive whole: {error}");
                    ApiError::new(Kind::BadInput, message)
                }
            };
            Refused::new(error, dialect)
        })
    }
}

/// Returns the error of a question that is longer than any may be.
pub(super) fn too_large(what: &str) -> ApiError {
    let message = format!("the {what} has more than {QUESTION_BYTES_MAX} bytes");
    ApiError::new(Kind::TooLarge, message)
}
