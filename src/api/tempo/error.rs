//! Errors as Tempo gives them: the message alone, which Grafana shows word for word.

use axum::response::{IntoResponse, Response};

use super::super::ask::AskError;
use super::super::error::{ApiError, Dialect};
use crate::base::Kind;

/// An error on its way to a client of Tempo.
#[derive(Debug)]
pub(super) struct TempoError(pub(super) ApiError);

impl TempoError {
    /// Returns the error of a parameter.
    pub(super) fn parameter(message: impl Into<String>) -> Self {
        Self(ApiError::new(Kind::BadInput, message))
    }
}

impl IntoResponse for TempoError {
    fn into_response(self) -> Response {
        self.0.into_dialect(Dialect::Text)
    }
}

impl From<ApiError> for TempoError {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl From<AskError> for TempoError {
    fn from(error: AskError) -> Self {
        Self(error.into())
    }
}
