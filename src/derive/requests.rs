//! Request metrics from one access-log line: which backend, which route, how it went.
//!
//! The service of the record is the revproxy; the backend is whoever answered. `proxy_service`
//! names it except for sheepdog, whose location never sets it (`noproxy`); then the upstream's host
//! does, then the path's prefix. Every label value is from a bounded set or goes through a bound.

use std::borrow::Cow;
use std::sync::Arc;

use crate::model::{MetricKind, Tags};
use crate::tagging::{AccessKind, LoginStage, RequestPath, Tagger};

use super::access_line::AccessLine;
use super::book::{Book, Family, OTHER};

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

/// Counts one request. Returns false when the line lacks what a request needs.
pub(super) fn observe(
    book: &mut Book,
    tagger: &Tagger,
    tags: &Tags,
    line: &AccessLine<'_>,
) -> bool {
    let (Some(path), Some(status)) = (line.path, line.status) else { return false };
    let found = tagger.request_path(path);
    let backend = backend(tagger, line, &found);
    let route = route(book, tagger, &backend, &found);
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
fn backend(tagger: &Tagger, line: &AccessLine<'_>, path: &RequestPath<'_, '_>) -> Arc<str> {
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

/// Returns the route: its template, else the first segment, else `other`.
fn route<'t>(
    book: &mut Book,
    tagger: &Tagger,
    backend: &str,
    path: &RequestPath<'t, '_>,
) -> Cow<'t, str> {
    if let Some(route) = path.route {
        return Cow::Borrowed(book.route(&route.template, true));
    }
    if tagger.is_catch_all(backend) {
        return Cow::Borrowed(book.route("/{page}", true));
    }
    if !is_plain(path.first_segment) {
        return Cow::Borrowed(OTHER);
    }
    let route = format!("/{}", path.first_segment);
    Cow::Owned(book.route(&route, false).to_owned())
}

/// Returns true for texts that are short and plain enough for a label.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= LABEL_BYTES_MAX
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn method(verb: Option<&str>) -> &'static str {
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
