//! The door that is shut while the log is replayed.
//!
//! Sockets open first, so that `/-/ready` can tell how far the replay has come; every other request
//! is told to come back until the real routers are there.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use tower::ServiceExt;

use crate::api::{ApiError, Dialect};
use crate::base::Kind;

/// A router that is set once.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate(Arc<OnceLock<Router>>);

impl Gate {
    /// Opens the gate; a second router would be ignored, and is never given.
    pub(super) fn open(&self, router: Router) {
        assert!(self.0.set(router).is_ok(), "the gate is opened once, by the start");
    }

    /// Returns a router that answers with `early` until the gate is open.
    pub(super) fn router(&self, early: Router) -> Router {
        let gate = self.clone();
        Router::new().fallback(move |request: Request| {
            let (gate, early) = (gate.clone(), early.clone());
            async move {
                let router = gate.0.get().cloned().unwrap_or(early);
                router.oneshot(request).await.unwrap_or_else(|never| match never {})
            }
        })
    }
}

/// Answers everything with "not yet", in the dialect of the path.
pub(super) async fn not_yet(request: Request) -> Response {
    let message = "the server is replaying its log; /-/ready tells how far it is";
    let dialect = Dialect::of(request.uri().path(), request.headers());
    let mut response = ApiError::new(Kind::Unavailable, message).into_dialect(dialect);
    response.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("2"));
    response
}
