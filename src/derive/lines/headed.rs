//! Lines that begin with a head of date, logger and level: cdislogging, Go's logger, guppy's, glog,
//! apex.

use super::{Format, Line, level, requests};

/// `[2026-08-21 10:11:12,345][     fence][   INFO] message`. The padding varies and the logger's name
/// may be longer than its place. FastAPI's services wrap uvicorn's access log into it.
pub(super) fn cdislogging(body: &str) -> Line<'_> {
    let line = Line::new(Format::Cdislogging, body);
    let broken = Line { level: level::of_line(body), ..line }.broken();
    let Some((logger, rest)) = body.split_once("][").and_then(|(_, rest)| rest.split_once("]["))
    else {
        return broken;
    };
    let Some((word, message)) = rest.split_once(']') else { return broken };
    let (logger, message) = (logger.trim(), message.strip_prefix(' ').unwrap_or(message));
    let level = level::level(word.trim()).unwrap_or("unknown");
    let line = Line { level, logger, message, ..line };
    match logger {
        "uvicorn.access" => match requests::uvicorn(message) {
            Some(request) => {
                Line { logger, ..Line::of_request(Format::Cdislogging, message, request) }
            }
            None => line.broken(),
        },
        _ => line,
    }
}

/// `[10:11:12] INFO: message`
pub(super) fn guppy(body: &str) -> Line<'_> {
    let line = Line::new(Format::Guppy, body);
    let Some((_, rest)) = body.split_once("] ") else { return line.broken() };
    match rest.split_once(": ") {
        Some((word, message)) if level::level(word).is_some() => {
            let level = level::level(word).unwrap_or("unknown");
            Line { level, message, ..line }
        }
        _ => Line { message: rest, ..line },
    }
}

/// `I0821 10:11:12.345678       1 handler.go:97] message`
pub(super) fn glog(body: &str) -> Line<'_> {
    let level = match body.as_bytes().first() {
        Some(b'I') => "info",
        Some(b'W') => "warn",
        _ => "error",
    };
    let line = Line { level, ..Line::new(Format::Glog, body) };
    let Some((head, message)) = body.split_once("] ") else { return line.broken() };
    let logger = head.rsplit(' ').next().unwrap_or("");
    Line { logger, message, ..line }
}

/// How long `YYYY/MM/DD HH:MM:SS ` is.
const GO_DATE_BYTES: usize = 20;

/// `2026/08/21 10:11:12 response.go:81: INFO: message`, where hatchery leaves out the place and the
/// level; nginx' own errors have the same date.
pub(super) fn go(body: &str) -> Option<Line<'_>> {
    let (date, rest) = body.split_at_checked(GO_DATE_BYTES)?;
    let is_date =
        date.bytes().zip("0000/00/00 00:00:00 ".bytes()).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            other => byte == other,
        });
    if !is_date {
        return None;
    }
    let line = Line::new(Format::Go, rest);
    if let Some((word, message)) = rest.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        let level = level::level(word).unwrap_or("unknown");
        return Some(Line { level, message, ..line });
    }
    let (logger, rest) = place(rest).unwrap_or(("", rest));
    let (level, message) = go_level(rest);
    Some(Line { level, logger, message, ..line })
}

/// Reads `response.go:81: `.
fn place(text: &str) -> Option<(&str, &str)> {
    let (place, rest) = text.split_once(": ")?;
    let (file, number) = place.rsplit_once(':')?;
    let is_place = file.ends_with(".go") && number.bytes().all(|byte| byte.is_ascii_digit());
    is_place.then_some((place, rest))
}

/// Reads `ERROR: message`. hatchery has no levels; what begins so has failed.
fn go_level(text: &str) -> (&'static str, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    if let Some(level) = word.strip_suffix(':').and_then(level::level) {
        // An `Error:` of hatchery belongs to what it says.
        let is_level = word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b':');
        return (level, if is_level { rest } else { text });
    }
    let has_failed = ["failed", "error", "panic"].iter().any(|start| {
        text.get(..start.len()).is_some_and(|found| found.eq_ignore_ascii_case(start))
    });
    (if has_failed { "error" } else { "unknown" }, text)
}

/// ` ERROR[0007] message`, seconds since the start between the brackets.
pub(super) fn apex(body: &str) -> Option<Line<'_>> {
    let (word, rest) = body.trim_start().split_once('[')?;
    let level = level::level(word)?;
    let line = Line { level, ..Line::new(Format::Apex, body) };
    let Some((seconds, message)) = rest.split_once(']') else { return Some(line.broken()) };
    let is_whole = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
    Some(Line { message: message.trim_start(), is_whole, ..line })
}
