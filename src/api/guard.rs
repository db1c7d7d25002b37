//! The checks that stand before every router: the head's size, the body's time, and who is asking.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use http::HeaderMap;
use tracing::warn;

use super::error::{ApiError, Dialect, head_too_large, too_slow, unknown_coding};
use super::timed_body::timed;
use crate::auth::{AuthError, Authenticator, Peer};
use crate::base::units::{HumanDuration, HumanSize};
use crate::model::Grant;

/// Paths that an orchestrator asks without a credential.
const PUBLIC_PATHS: [&str; 2] = ["/-/healthy", "/-/ready"];
/// Below it is what anybody may read: alerts link there, and whoever is woken has only the link.
const PUBLIC_FOLDER: &str = "/runbooks/";

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
    if PUBLIC_PATHS.contains(&path) || path.starts_with(PUBLIC_FOLDER) {
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

/// What holds for every request before anybody looks at it.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// `server.header_bytes_max`
    pub header_bytes_max: HumanSize,
    /// `server.body_timeout`
    pub body_timeout: HumanDuration,
}

/// Puts the limits of a request's head, and the time for its body, before a router.
pub fn limits(router: Router, limits: HeadLimits) -> Router {
    let check = move |request: Request, next: Next| check_head(limits, request, next);
    router.layer(from_fn(check))
}

async fn check_head(limits: HeadLimits, request: Request, next: Next) -> Response {
    let HeadLimits { header_bytes_max, body_timeout } = limits;
    let n_bytes: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if n_bytes > header_bytes_max.bytes() {
        let message = format!(
            "the headers have {n_bytes} bytes of at most {header_bytes_max} (server.header_bytes_max)"
        );
        return head_too_large(message);
    }
    if let Some(coding) = foreign_coding(request.headers()) {
        let message = format!("Transfer-Encoding `{coding}` is not supported here: send chunked");
        return unknown_coding(message);
    }
    if http_body::Body::is_end_stream(request.body()) {
        return next.run(request).await;
    }
    let dialect = Dialect::of(request.uri().path(), request.headers());
    let (request, is_late) = timed(request, body_timeout);
    let answer = next.run(request).await;
    if is_late.load(Ordering::Relaxed) { too_slow(body_timeout, dialect) } else { answer }
}

/// Returns a transfer coding other than `chunked` alone. hyper takes any that ends with it and
/// undoes only the last, so that somebody else on the way may see another body than we do.
fn foreign_coding(headers: &HeaderMap) -> Option<String> {
    let mut codings = headers.get_all(http::header::TRANSFER_ENCODING).iter();
    let first = codings.next()?;
    let is_chunked = first.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    let is_alone = codings.next().is_none();
    let shown = || String::from_utf8_lossy(first.as_bytes()).into_owned();
    (!is_chunked || !is_alone).then(shown)
}
