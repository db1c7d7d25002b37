//! Lines that web servers write about a request: nginx and Go's handlers (combined), uvicorn, uwsgi.

use super::{Format, Line, Request};

/// How long an address may be at most: IPv6 with a zone.
const ADDRESS_BYTES_MAX: usize = 64;

/// Returns true when a line begins with an address, as a combined one does: `10.0.3.7 - `. An IPv6
/// address may have a zone.
pub(super) fn has_address(body: &str) -> bool {
    let head = &body.as_bytes()[..body.len().min(ADDRESS_BYTES_MAX + 3)];
    let is_digit = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':');
    let len = head.iter().take_while(|byte| is_digit(byte)).count();
    let zone = head[len..].iter().enumerate();
    let is_zone = |(idx, byte): &(usize, &u8)| match idx {
        0 => **byte == b'%',
        _ => byte.is_ascii_alphanumeric(),
    };
    let end = len + zone.take_while(is_zone).count();
    let has_mark = head[..len].iter().any(|byte| matches!(byte, b'.' | b':'));
    has_mark && head[end..].starts_with(b" - ")
}

/// `10.0.3.7 - - [21/Aug/2026:10:11:12 +0000] "GET /x HTTP/1.1" 200 812 "-" "agent" "203.0.113.9"`
pub(super) fn combined(body: &str) -> Line<'_> {
    let read = || {
        let (_, rest) = body.split_once("] \"")?;
        let (request, rest) = quoted(rest)?;
        let mut words = rest.split_ascii_whitespace();
        let status = words.next()?.parse().ok()?;
        let size_bytes = words.next().and_then(|word| word.parse::<u64>().ok()).map(as_f64);
        let (verb, path) = verb_and_path(request);
        Some(Request { verb, path, status: Some(status), size_bytes, ..Request::default() })
    };
    match read() {
        Some(request) => Line::of_request(Format::Nginx, body, request),
        None => Line::new(Format::Nginx, body).broken(),
    }
}

/// `10.0.1.2:4567 - "GET /_status HTTP/1.1" 200`
pub(super) fn uvicorn(message: &str) -> Option<Request<'_>> {
    let (_, rest) = message.split_once(" - \"")?;
    let (request, rest) = quoted(rest)?;
    let status = rest.split_ascii_whitespace().next()?.parse().ok()?;
    let (verb, path) = verb_and_path(request);
    Some(Request { verb, path, status: Some(status), ..Request::default() })
}

/// `[pid: 28|app: 0|req: 2384/7253] 10.2.73.1 () {34 vars in 393 bytes} [Mon Mar 26 15:36:11 2018] GET /_status =>
/// generated 7 bytes in 4 msecs (HTTP/1.1 200) …`
pub(super) fn uwsgi(body: &str) -> Line<'_> {
    let read = || {
        let (_, rest) = body.split_once("} [")?;
        let (_, rest) = rest.split_once("] ")?;
        let (request, rest) = rest.split_once(" => generated ")?;
        let (size, rest) = rest.split_once(" bytes in ")?;
        let (ms, rest) = rest.split_once(" msecs (")?;
        let (_, rest) = rest.split_once(' ')?;
        let (status, _) = rest.split_once(')')?;
        let (verb, path) = verb_and_path(request);
        Some(Request {
            verb,
            path,
            status: Some(status.parse().ok()?),
            duration_s: Some(as_f64(ms.parse().ok()?) / 1e3),
            size_bytes: Some(as_f64(size.parse().ok()?)),
            ..Request::default()
        })
    };
    match read() {
        Some(request) => Line::of_request(Format::Uwsgi, body, request),
        None => Line::new(Format::Uwsgi, body).broken(),
    }
}

/// Splits off what stands before the closing quote; Go escapes quotes with a backslash.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some((&text[..at], &text[at + 1..]));
        }
        at += 2;
    }
}

/// Reads `GET /x HTTP/1.1`; a scanner's bytes are no request.
fn verb_and_path(request: &str) -> (Option<&str>, Option<&str>) {
    let mut words = request.split(' ');
    let verb = words.next().filter(|verb| {
        !verb.is_empty() && verb.len() <= 16 && verb.bytes().all(|byte| byte.is_ascii_uppercase())
    });
    (verb, verb.and_then(|_| words.next()).filter(|path| !path.is_empty()))
}

#[expect(clippy::cast_precision_loss, reason = "sizes and milliseconds are far below 2^53")]
fn as_f64(n: u64) -> f64 {
    n as f64
}
