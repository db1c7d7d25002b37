//! The two checks that stand before every router: size of the headers, and who is asking.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use tracing::warn;

use super::error::{ApiError, Dialect, head_too_large};
use crate::auth::{AuthError, Authenticator, Peer};
use crate::base::units::HumanSize;
use crate::model::Grant;

/// Paths that an orchestrator asks without a credential.
const PUBLIC_PATHS: [&str; 2] = ["/-/healthy", "/-/ready"];

/// Puts authentication before a router: each request carries the `Grant` of its sender as an
/// extension, or is answered with 401 in its own dialect.
pub fn guard(router: Router, authenticator: Authenticator) -> Router {
    router.layer(from_fn_with_state(Arc::new(authenticator), authenticate))
}

async fn authenticate(
    State(authenticator): State<Arc<Authenticator>>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if PUBLIC_PATHS.contains(&path) {
        return next.run(request).await;
    }
    let address = request.extensions().get::<Peer>().map(|peer| peer.0);
    match authenticator.authenticate(request.headers(), address) {
        Ok(grant) => {
            request.extensions_mut().insert::<Grant>((*grant).clone());
            // The credential ends here: nothing behind this line can log or store it.
            request.headers_mut().remove(http::header::AUTHORIZATION);
            next.run(request).await
        }
        Err(error) => {
            if matches!(error, AuthError::TooMany { .. }) {
                warn!(path, "too many failed logins from one address");
            }
            ApiError::from(error).into_dialect(Dialect::of(path, request.headers()))
        }
    }
}

/// Puts the limits of a request's head before a router.
pub fn limits(router: Router, header_bytes_max: HumanSize) -> Router {
    let check = move |request: Request, next: Next| check_head(header_bytes_max, request, next);
    router.layer(from_fn(check))
}

async fn check_head(header_bytes_max: HumanSize, request: Request, next: Next) -> Response {
    let n_bytes: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if n_bytes > header_bytes_max.bytes() {
        let message = format!(
            "the headers have {n_bytes} bytes of at most {header_bytes_max} (server.header_bytes_max)"
        );
        return head_too_large(message);
    }
    next.run(request).await
}
