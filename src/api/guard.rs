//! The checks that stand before every router: the head's size, the body's time, and who is asking.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use http::HeaderMap;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tracing::warn;

use super::error::{
    ApiError, Dialect, head_too_large, method_not_allowed, too_slow, unknown_coding,
};
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

/// Requests that a limit of their head, or of the time for their body, refused, by the limit's key.
pub type RefusedRequests = Family<[(&'static str, &'static str); 1], Counter>;

/// What holds for every request before anybody looks at it.
#[derive(Debug, Clone)]
pub struct HeadLimits {
    /// `server.header_bytes_max`
    pub header_bytes_max: HumanSize,
    /// `server.body_timeout`
    pub body_timeout: HumanDuration,
    /// Counts what they refuse.
    pub refused: RefusedRequests,
}

impl HeadLimits {
    fn count(&self, key: &'static str) {
        self.refused.get_or_create(&[("limit", key)]).inc();
    }
}

/// Puts the limits of a request's head, and the time for its body, before a router.
pub fn limits(router: Router, limits: HeadLimits) -> Router {
    let limits = Arc::new(limits);
    let check = move |request: Request, next: Next| check_head(Arc::clone(&limits), request, next);
    router.layer(from_fn(check))
}

async fn check_head(limits: Arc<HeadLimits>, request: Request, next: Next) -> Response {
    let dialect = Dialect::of(request.uri().path(), request.headers());
    let header_bytes_max = limits.header_bytes_max;
    let n_bytes: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if n_bytes > header_bytes_max.bytes() {
        limits.count("server.header_bytes_max");
        let message = format!(
            "the headers have {n_bytes} bytes of at most {header_bytes_max} (server.header_bytes_max)"
        );
        return head_too_large(message, dialect);
    }
    if let Some(coding) = foreign_coding(request.headers()) {
        let message = format!("Transfer-Encoding `{coding}` is not supported here: send chunked");
        return unknown_coding(message, dialect);
    }
    if http_body::Body::is_end_stream(request.body()) {
        return next.run(request).await;
    }
    let (request, is_late) = timed(request, limits.body_timeout);
    let answer = next.run(request).await;
    if !is_late.load(Ordering::Relaxed) {
        return answer;
    }
    limits.count("server.body_timeout");
    too_slow(limits.body_timeout, dialect)
}

/// Has a router answer wrong methods in the dialect of the path. Merged with another one, a router does not
/// take over how that answers them.
pub fn refuse_other_methods(router: Router) -> Router {
    router.method_not_allowed_fallback(method_not_allowed)
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
