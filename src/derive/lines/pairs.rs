//! Lines of `key=value` pairs: Kubernetes events, browsers' reports, and services that write logfmt.

use super::{Format, Line, level};

/// The most pairs that are looked at.
const PAIRS_MAX: usize = 64;

/// Reads a line that begins with a key; `None` when it does not.
pub(super) fn read(body: &str) -> Option<Line<'_>> {
    let is_key = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let key_len = body.bytes().take_while(|byte| is_key(byte)).count();
    if key_len == 0 || body.as_bytes().get(key_len) != Some(&b'=') {
        return None;
    }
    let mut found = Found::default();
    for (key, value) in (Pairs { rest: body }).take(PAIRS_MAX) {
        found.take(key, value);
    }
    Some(found.into_line(body))
}

/// The values that tell something, by key.
#[derive(Debug, Default)]
struct Found<'a> {
    kind: Option<&'a str>,
    reason: Option<&'a str>,
    kubernetes_type: Option<&'a str>,
    level: Option<&'a str>,
    message: Option<&'a str>,
    logger: Option<&'a str>,
    event: Option<&'a str>,
    session: Option<&'a str>,
}

impl<'a> Found<'a> {
    fn take(&mut self, key: &str, value: &'a str) {
        let place = match key {
            "kind" => &mut self.kind,
            "reason" => &mut self.reason,
            "type" => &mut self.kubernetes_type,
            "level" | "lvl" | "severity" => &mut self.level,
            "msg" | "message" | "value" => &mut self.message,
            "logger" | "caller" => &mut self.logger,
            "event_name" => &mut self.event,
            "session_id" => &mut self.session,
            _ => return,
        };
        place.get_or_insert(value);
    }

    fn into_line(self, body: &'a str) -> Line<'a> {
        let level = self.level.and_then(level::level).unwrap_or("unknown");
        let message = self.message.unwrap_or(body);
        if let (Some(reason), Some(_)) = (self.reason, self.kind) {
            let level = if self.kubernetes_type == Some("Warning") { "warn" } else { "info" };
            return Line { level, logger: reason, ..Line::new(Format::Kubernetes, message) };
        }
        let logger = self.logger.or(self.event).or(self.kind).unwrap_or("");
        match (self.kind, self.session) {
            (Some(kind), Some(_)) => {
                let level = match (kind, level) {
                    ("exception", _) => "error",
                    (_, "unknown") => "info",
                    (_, level) => level,
                };
                Line { level, logger, ..Line::new(Format::Faro, message) }
            }
            _ => Line { level, logger, ..Line::new(Format::Plain, message) },
        }
    }
}

/// Walks the pairs of a line; words without `=` are passed over.
struct Pairs<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
            let at = memchr::memchr2(b'=', b' ', self.rest.as_bytes())?;
            let (key, rest) = self.rest.split_at(at);
            self.rest = &rest[1..];
            if rest.starts_with('=') {
                return Some((key, self.value()));
            }
        }
    }
}

impl<'a> Pairs<'a> {
    fn value(&mut self) -> &'a str {
        if let Some(inner) = self.rest.strip_prefix('"') {
            let end = closing_quote(inner);
            self.rest = inner.get(end + 1..).unwrap_or("");
            return &inner[..end];
        }
        let end = self.rest.find([' ', '\n']).unwrap_or(self.rest.len());
        let (value, rest) = self.rest.split_at(end);
        self.rest = rest;
        value
    }
}

/// Returns where a quoted value ends; one without an end ends with the line.
fn closing_quote(inner: &str) -> usize {
    let bytes = inner.as_bytes();
    let mut at = 0;
    while let Some(offset) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += offset;
        if bytes[at] == b'"' {
            return at;
        }
        at += 2;
    }
    inner.len()
}
