//! Request metrics from one access-log line: which backend, which route, how it went.
//!
//! The service of the record is the revproxy; the backend is whoever answered. `proxy_service`
//! names it except for sheepdog, whose location never sets it (`noproxy`); then the upstream's host
//! does, then the path's prefix. Every label value is from a bounded set or goes through a bound.

use std::borrow::Cow;
use std::sync::Arc;

use crate::model::{MetricKind, Tags};
use crate::tagging::{AccessKind, LoginStage, RequestPath, Tagger};

use super::book::{Book, Family, OTHER};
use super::lines::Request;

static REQUESTS: Family =
    Family { name: "csoc_http_requests_total", kind: MetricKind::Counter, unit: "" };
static DURATION: Family =
    Family { name: "csoc_http_request_duration_seconds", kind: MetricKind::Histogram, unit: "s" };
static BYTES: Family =
    Family { name: "csoc_http_response_bytes_total", kind: MetricKind::Counter, unit: "By" };
static LOGINS: Family = Family { name: "csoc_login_total", kind: MetricKind::Counter, unit: "" };
static ACCESS: Family =
    Family { name: "csoc_data_access_total", kind: MetricKind::Counter, unit: "" };

/// Longer or stranger path segments and backends are not made labels.
const LABEL_BYTES_MAX: usize = 40;

/// Who answered, and the route.
pub(super) type Edge = (Arc<str>, Arc<str>);

/// Returns who answered a request and on which route, however many routes there are already.
pub(super) fn edge(tagger: &Tagger, line: &Request<'_>) -> Option<Edge> {
    let found = tagger.request_path(line.path?);
    let backend = backend(tagger, line, &found);
    let route = match route(tagger, &backend, &found) {
        Route::Template(template) => match found.route {
            Some(known) => Arc::clone(&known.template),
            None => Arc::from(template),
        },
        Route::Made(route) => Arc::from(route),
        Route::Other => Arc::from(OTHER),
    };
    Some((backend, route))
}

/// Counts one request; `edge` is what is known of it already. Returns false when the line lacks what a request needs.
pub(super) fn observe(
    book: &mut Book,
    tagger: &Tagger,
    tags: &Tags,
    line: &Request<'_>,
    edge: Option<&Edge>,
) -> bool {
    let (Some(path), Some(status)) = (line.path, line.status) else { return false };
    let found = tagger.request_path(path);
    let backend = match edge {
        Some((backend, _)) => Arc::clone(backend),
        None => backend(tagger, line, &found),
    };
    let route = match route(tagger, &backend, &found) {
        Route::Template(template) => Cow::Borrowed(book.route(template, true)),
        Route::Made(route) => Cow::Owned(book.route(&route, false).to_owned()),
        Route::Other => Cow::Borrowed(OTHER),
    };
    let status_text = status_text(status);
    let pairs = [
        ("backend", &*backend),
        ("method", method(line.verb)),
        ("route", &*route),
        ("status", &*status_text),
    ];
    book.count(&REQUESTS, tags, &pairs, 1.0);
    if let Some(duration_s) = line.duration_s {
        book.observe(&DURATION, tags, &[("backend", &backend), ("route", &route)], duration_s);
    }
    if let Some(size_bytes) = line.size_bytes {
        book.count(&BYTES, tags, &[("backend", &backend)], size_bytes);
    }
    if let Some(stage) = found.route.and_then(|route| route.login) {
        observe_login(book, tags, stage, found.idp.unwrap_or(OTHER), line.verb, status);
    }
    if let Some(kind) = found.route.and_then(|route| route.access) {
        observe_access(book, tags, kind, status);
    }
    true
}

/// `/user/login/<idp>` only starts a login when it redirects; a provider that fence does not know
/// is a 404 of somebody who guesses, and makes no label.
fn observe_login(
    book: &mut Book,
    tags: &Tags,
    stage: LoginStage,
    idp: &str,
    verb: Option<&str>,
    status: u16,
) {
    if verb != Some("GET") {
        return;
    }
    let outcome = if status < 400 { "ok" } else { "fail" };
    let idp = if status == 404 || !is_plain(idp) { OTHER } else { idp };
    let pairs = [("idp", idp), ("stage", stage.as_str()), ("outcome", outcome)];
    book.count(&LOGINS, tags, &pairs, 1.0);
}

fn observe_access(book: &mut Book, tags: &Tags, kind: AccessKind, status: u16) {
    let outcome = match status {
        0..=399 => "ok",
        401 | 403 => "denied",
        404 | 410 => "missing",
        _ => "error",
    };
    book.count(&ACCESS, tags, &[("kind", kind.as_str()), ("outcome", outcome)], 1.0);
}

/// Returns who answered.
fn backend(tagger: &Tagger, line: &Request<'_>, path: &RequestPath<'_, '_>) -> Arc<str> {
    let named = |name: &str| match tagger.known_service(name) {
        Some(known) => Some(known),
        None if is_plain(name) => Some(Arc::from(name)),
        None => None,
    };
    let by_proxy = line.proxy_service.filter(|name| !says_nothing(name));
    by_proxy
        .and_then(named)
        .or_else(|| line.upstream.and_then(upstream_service).and_then(named))
        .or_else(|| path.backend.cloned())
        .unwrap_or_else(|| Arc::from(OTHER))
}

fn says_nothing(name: &str) -> bool {
    matches!(name, "" | "-" | "noproxy")
}

/// Returns `<service>` of `http://<service>-service.<ns>.svc.cluster.local:80/…`.
fn upstream_service(upstream: &str) -> Option<&str> {
    let host = upstream.split_once("://").map_or(upstream, |(_, rest)| rest);
    let host = host.split(['/', ':']).next()?;
    let name = host.split('.').next().filter(|name| !says_nothing(name))?;
    let is_address = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    (!is_address).then(|| name.strip_suffix("-service").unwrap_or(name))
}

/// A route as a label.
enum Route<'t> {
    /// One of the bounded set.
    Template(&'t str),
    /// The first segment of a path that no template matches.
    Made(String),
    Other,
}

/// Returns the route: its template, else the first segment, else `other`.
fn route<'t>(tagger: &Tagger, backend: &str, path: &RequestPath<'t, '_>) -> Route<'t> {
    match path.route {
        Some(route) => Route::Template(&route.template),
        None if tagger.is_catch_all(backend) => Route::Template("/{page}"),
        None if is_plain(path.first_segment) => Route::Made(format!("/{}", path.first_segment)),
        None => Route::Other,
    }
}

/// Returns true for texts that are short and plain enough for a label.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= LABEL_BYTES_MAX
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Returns the method as a label.
pub(super) fn method(verb: Option<&str>) -> &'static str {
    const VERBS: [&str; 7] = ["GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS"];
    VERBS.into_iter().find(|known| Some(*known) == verb).unwrap_or(OTHER)
}

fn status_text(status: u16) -> Cow<'static, str> {
    match status {
        200 => Cow::Borrowed("200"),
        100..=599 => Cow::Owned(status.to_string()),
        _ => Cow::Borrowed(OTHER),
    }
}
