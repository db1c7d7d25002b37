//! A line that was read, kept until its record is stored: places in the text instead of texts.
//!
//! A record is read once, when it is decoded, because what is found goes into its columns; it is
//! counted when it is stored, and not before, because a request that is refused comes again.

use std::ops::Range;
use std::sync::Arc;

use super::{Format, Line, Request};
use crate::model::LineFields;

/// A piece of the line: where it begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    start: u32,
    end: u32,
}

impl Place {
    const NONE: Self = Self { start: u32::MAX, end: 0 };

    /// Finds a piece in the text that it was cut from; lines are far shorter than 4 GiB.
    fn of(body: &str, piece: Option<&str>) -> Self {
        let Some(piece) = piece else { return Self::NONE };
        let start = piece.as_ptr().addr().wrapping_sub(body.as_ptr().addr());
        match (u32::try_from(start), u32::try_from(start.wrapping_add(piece.len()))) {
            (Ok(start), Ok(end)) => Self { start, end },
            _ => Self::NONE,
        }
    }

    fn in_text(self, body: &str) -> Option<&str> {
        let range: Range<usize> =
            usize::try_from(self.start).ok()?..usize::try_from(self.end).ok()?;
        body.get(range)
    }
}

#[derive(Debug, Clone, Copy)]
struct RequestPlaces {
    verb: Place,
    path: Place,
    upstream: Place,
    proxy_service: Place,
    user: Place,
    status: Option<u16>,
    duration_s: Option<f64>,
    size_bytes: Option<f64>,
}

/// A line that was read.
#[derive(Debug, Clone)]
pub struct ReadLine {
    format: Format,
    level: &'static str,
    is_whole: bool,
    logger: Place,
    message: Place,
    request: Option<RequestPlaces>,
    /// Who answered and on which route, when the line is the revproxy's.
    pub(in super::super) edge: Option<(Arc<str>, Arc<str>)>,
}

impl ReadLine {
    /// Keeps what was read of `body`.
    pub(in super::super) fn of(line: &Line<'_>, body: &str) -> Self {
        let place = |piece| Place::of(body, piece);
        let request = line.request.map(|request| RequestPlaces {
            verb: place(request.verb),
            path: place(request.path),
            upstream: place(request.upstream),
            proxy_service: place(request.proxy_service),
            user: place(request.user),
            status: request.status,
            duration_s: request.duration_s,
            size_bytes: request.size_bytes,
        });
        Self {
            format: line.format,
            level: line.level,
            is_whole: line.is_whole,
            logger: place(Some(line.logger).filter(|logger| !logger.is_empty())),
            message: place(Some(line.message)),
            request,
            edge: None,
        }
    }

    /// Returns the line again; `body` is the text that it was read of.
    pub(in super::super) fn line<'a>(&self, body: &'a str) -> Line<'a> {
        if self.format == Format::LaunchTest {
            return super::read(body, false); // One line of a job in hours.
        }
        Line {
            format: self.format,
            level: self.level,
            logger: self.logger.in_text(body).unwrap_or(""),
            message: self.message.in_text(body).unwrap_or(body),
            request: self.request.map(|request| Request {
                verb: request.verb.in_text(body),
                path: request.path.in_text(body),
                status: request.status,
                duration_s: request.duration_s,
                size_bytes: request.size_bytes,
                upstream: request.upstream.in_text(body),
                proxy_service: request.proxy_service.in_text(body),
                user: request.user.in_text(body),
            }),
            launch_test: None,
            is_whole: self.is_whole,
        }
    }

    /// Returns what goes into the record's columns; `body` is the text that it was read of.
    pub fn fields<'a>(&'a self, body: &'a str) -> LineFields<'a> {
        let request = self.request.as_ref();
        let edge = self.edge.as_ref();
        LineFields {
            format: if self.format == Format::Plain { "" } else { self.format.as_str() },
            logger: self.logger.in_text(body).unwrap_or(""),
            method: request.map_or("", |request| match request.verb.in_text(body) {
                Some(verb) => super::super::requests::method(Some(verb)),
                None => "",
            }),
            route: edge.map_or("", |(_, route)| route),
            backend: edge.map_or("", |(backend, _)| backend),
            status: request.and_then(|request| request.status),
            duration_s: request.and_then(|request| request.duration_s),
            size_bytes: request.and_then(|request| request.size_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_kept_is_the_line_that_was_read() {
        for body in [
            r#"{"gen3log": "nginx", "user_id": "uid:7,x", "response_secs": 0.2, "http_status_code": 200, "http_request": "/x?y", "http_verb": "GET"}"#,
            r#"10.0.3.7 - - [21/Aug/2026:10:11:12 +0000] "GET /x HTTP/1.1" 200 812 "-" "a" "b""#,
            "[2026-08-21 10:11:12,345][     fence][   INFO] hello",
            "2026/08/21 10:11:12 response.go:81: ERROR: hello",
            r#"{"final_result": {"image": "x", "duration": 20, "result": "Running", "proxy_status": 502}}"#,
            "plain",
            "",
        ] {
            for is_edge in [true, false] {
                let line = super::super::read(body, is_edge);
                let copy = body.to_owned();

                let kept = ReadLine::of(&line, body).line(&copy);

                assert_eq!(kept, line, "{body}");
            }
        }
    }
}
