//! What a log line is: its format, level, logger, message, and the request it is about.
//!
//! Its one idea: the first few bytes tell the format, so a line is looked at by one reader at most,
//! and a line of none costs a glance. Readers walk a line once, copy nothing and never fail; a line
//! that begins as a format and does not go on as one is given with what could be read, and said not
//! to be whole. A record of several lines (a traceback) is one line with a long message.
//!
//! ```text
//! revproxy, portal   {"gen3log": "nginx", …}                                     L1, L2
//! nginx              10.0.3.7 - - [21/Aug/2026:10:11:12 +0000] "GET /x HTTP/1.1" 200 812 "-" …   L3, L6
//! cdislogging        [2026-08-21 10:11:12,345][     fence][   INFO] …            L4, L5, L9, L12, L13
//! go                 2026/08/21 10:11:12 response.go:81: INFO: …                 L6, L8
//! guppy              [10:11:12] INFO: …                                          L7
//! launch_test        {"final_result": {…}}                                       L11
//! glog               I0821 10:11:12.345678       1 handler.go:97] …              L14
//! apex                ERROR[0007] …                                              L15
//! kubernetes         name=x kind=Pod reason=BackOff type=Warning msg="…"         L16
//! faro               timestamp="…" kind=exception …                              browsers
//! uwsgi              [pid: 28|app: 0|req: 1/2] … GET /x => generated 7 bytes …   L17
//! plain              anything else, the ETL's prints among it                    L10
//! ```
//! What lines mean (markers, numbers in them) is data: `config/gen3/lines.toml`.
//!
//! When you add a format: its head in [`read`], a reader, its name in [`Format::ALL`], cases in
//! `tests/cases/lines/`, and a line in the corpus of `derive_lines`.

mod access;
mod headed;
mod launch_test;
mod level;
mod pairs;
mod read;
mod requests;

pub(super) use launch_test::LaunchTest;
pub use read::ReadLine;

/// The format of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Revproxy,
    Portal,
    Nginx,
    Cdislogging,
    Go,
    Guppy,
    LaunchTest,
    Glog,
    Apex,
    Kubernetes,
    Faro,
    Uwsgi,
    Plain,
}

impl Format {
    /// Returns the value of the label `format`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Format::Revproxy => "revproxy",
            Format::Portal => "portal",
            Format::Nginx => "nginx",
            Format::Cdislogging => "cdislogging",
            Format::Go => "go",
            Format::Guppy => "guppy",
            Format::LaunchTest => "launch_test",
            Format::Glog => "glog",
            Format::Apex => "apex",
            Format::Kubernetes => "kubernetes",
            Format::Faro => "faro",
            Format::Uwsgi => "uwsgi",
            Format::Plain => "plain",
        }
    }
}

/// The request that a line is about. Texts are as written, escapes included.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Request<'a> {
    pub(super) verb: Option<&'a str>,
    /// The request's path and query.
    pub(super) path: Option<&'a str>,
    pub(super) status: Option<u16>,
    pub(super) duration_s: Option<f64>,
    pub(super) size_bytes: Option<f64>,
    pub(super) upstream: Option<&'a str>,
    pub(super) proxy_service: Option<&'a str>,
    /// Who asked, as the revproxy read it in the token, unchecked. Personal.
    pub(super) user: Option<&'a str>,
}

/// What was read of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line<'a> {
    pub(super) format: Format,
    /// `debug`, `info`, `warn`, `error` or `unknown`.
    pub(super) level: &'static str,
    /// Who in the service says it: a logger, a place in the source, an event's reason; or empty.
    pub(super) logger: &'a str,
    /// What is said, without date, logger and level.
    pub(super) message: &'a str,
    pub(super) request: Option<Request<'a>>,
    pub(super) launch_test: Option<LaunchTest<'a>>,
    /// False when the line begins as its format and does not go on as one.
    pub(super) is_whole: bool,
}

impl<'a> Line<'a> {
    fn new(format: Format, message: &'a str) -> Self {
        Self {
            format,
            level: "unknown",
            logger: "",
            message,
            request: None,
            launch_test: None,
            is_whole: true,
        }
    }

    /// A line about a request: an answer of 5xx is an error.
    fn of_request(format: Format, message: &'a str, request: Request<'a>) -> Self {
        let is_error = request.status.is_some_and(|status| status >= 500);
        let level = if is_error { "error" } else { "info" };
        Self { level, request: Some(request), ..Self::new(format, message) }
    }

    fn broken(self) -> Self {
        Self { is_whole: false, ..self }
    }
}

/// Reads a line. `is_edge` says that it may be the revproxy's, before which a log driver may have put
/// something.
pub(super) fn read(body: &str, is_edge: bool) -> Line<'_> {
    let may_be_access = is_edge || body.starts_with('{');
    if let Some(line) = may_be_access.then(|| access::find(body)).flatten() {
        let (request, is_whole) = access::parse(line);
        let format = if is_edge { Format::Revproxy } else { Format::Portal };
        return Line { is_whole, ..Line::of_request(format, line, request) };
    }
    let found = match body.as_bytes() {
        [b'{', ..] => launch_test::read(body),
        [b'[', b'p', b'i', b'd', b':', ..] => Some(requests::uwsgi(body)),
        [b'[', a, b, b':', ..] if is_digits(&[*a, *b]) => Some(headed::guppy(body)),
        [b'[', a, b, c, d, b'-', ..] if is_digits(&[*a, *b, *c, *d]) => {
            Some(headed::cdislogging(body))
        }
        [b'I' | b'W' | b'E' | b'F', a, b, c, d, b' ', ..] if is_digits(&[*a, *b, *c, *d]) => {
            Some(headed::glog(body))
        }
        [a, b, c, d, b'/', ..] if is_digits(&[*a, *b, *c, *d]) => headed::go(body),
        [b'0'..=b'9' | b'a'..=b'f' | b':', ..] if requests::has_address(body) => {
            Some(requests::combined(body))
        }
        [b' ' | b'A'..=b'Z', ..] => headed::apex(body),
        [b'a'..=b'z', ..] => pairs::read(body),
        _ => None,
    };
    found.unwrap_or_else(|| Line { level: level::of_line(body), ..Line::new(Format::Plain, body) })
}

fn is_digits(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_digit)
}
