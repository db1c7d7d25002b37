//! Reads a line of the revproxy's access log, and of the portal's, which is much like it.
//!
//! The line looks like JSON and mostly is. nginx writes it without `escape=json`: a quote, a
//! backslash or a byte outside ASCII in a user agent becomes `\x22`, `\x5C`, `\xC3`, which strict
//! parsers refuse, and an empty number becomes a bare `-`. A line may also be cut off by a log
//! driver. So this reader takes what it can and never fails on bytes; it walks the line once and
//! copies nothing.

use super::Request;

/// How far into a line its first key is looked for: log drivers put little before it.
const FIRST_KEY_BYTES_MAX: usize = 96;

/// Returns the line from its opening brace on, if it is one of the revproxy's format.
pub(super) fn find(body: &str) -> Option<&str> {
    let bytes = body.as_bytes();
    let head = &bytes[..bytes.len().min(FIRST_KEY_BYTES_MAX)];
    let key = memchr::memmem::find(head, b"\"gen3log\"")?;
    let brace = memchr::memrchr(b'{', &head[..key])?;
    body.get(brace..)
}

/// Reads a line that begins with its brace. False when it stops before its closing brace.
pub(super) fn parse(line: &str) -> (Request<'_>, bool) {
    let mut found = Request::default();
    let mut reader = Reader { text: line, at: 0 };
    reader.skip(b'{');
    while let Some((name, value)) = reader.pair() {
        found.take(name, value);
    }
    (found, reader.peek() == Some(b'}'))
}

impl<'a> Request<'a> {
    fn take(&mut self, name: &str, value: &'a str) {
        match name {
            "http_verb" => self.verb = Some(value),
            "http_request" => self.path = Some(value),
            "http_status_code" => self.status = value.parse().ok(),
            // The portal's own nginx has another name for it, and quotes around it.
            "response_secs" | "http_response_time" => self.duration_s = number(value),
            "network_bytes_write" => self.size_bytes = number(value),
            "http_upstream" => self.upstream = Some(value),
            "proxy_service" => self.proxy_service = Some(value),
            "user_id" => self.user = Some(value),
            "message" => self.take_message(value),
            _ => {}
        }
    }

    /// `GET /x HTTP/1.1` says again what the keys say; it helps when they are missing.
    fn take_message(&mut self, message: &'a str) {
        let mut words = message.split(' ');
        let (verb, path) = (words.next(), words.next());
        self.verb = self.verb.or(verb);
        self.path = self.path.or(path);
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let n_spaces = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.at += n_spaces;
        rest.get(n_spaces).copied()
    }

    fn skip(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Reads `"name": value` and the comma after it; `None` at the end or where nothing fits.
    fn pair(&mut self) -> Option<(&'a str, &'a str)> {
        let name = self.string()?;
        if !self.skip(b':') {
            return None;
        }
        let value = if self.peek()? == b'"' { self.string()? } else { self.bare()? };
        self.skip(b',');
        Some((name, value))
    }

    /// Reads a string; whatever follows a backslash belongs to it.
    fn string(&mut self) -> Option<&'a str> {
        if !self.skip(b'"') {
            return None;
        }
        let from = self.at;
        let bytes = self.text.as_bytes();
        loop {
            let offset = memchr::memchr2(b'"', b'\\', bytes.get(self.at..)?)?;
            self.at += offset;
            if bytes[self.at] == b'"' {
                self.at += 1;
                return self.text.get(from..self.at - 1);
            }
            self.at += 2;
        }
    }

    /// Reads a number, a word, `-`, or nothing at all, up to the next comma or brace; nested
    /// values are walked over.
    fn bare(&mut self) -> Option<&'a str> {
        let from = self.at;
        let mut depth = 0_usize;
        for (offset, byte) in self.text.as_bytes().get(from..)?.iter().enumerate() {
            match byte {
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth > 0 => depth -= 1,
                b',' | b'}' if depth == 0 => {
                    self.at = from + offset;
                    return self.text.get(from..self.at).map(str::trim);
                }
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &str = r#"{"gen3log": "nginx", "date_access": "2026-08-21T10:11:12+00:00", "user_id": "uid:null,unknown@unknown", "request_id": "5d1f", "network_bytes_write": 812, "response_secs": 0.012, "http_status_code": 200, "http_request": "/user/user?x=1", "http_verb": "GET", "http_referer": "-", "http_useragent": "Mozilla/5.0", "http_upstream": "http://fence-service.default.svc.cluster.local", "proxy_service": "fence", "message": "GET /user/user?x=1 HTTP/1.1"}"#;

    #[track_caller]
    fn check(line: &str, want: Option<(&str, u16)>) {
        let (found, _) = find(line).map(parse).unwrap_or_default();
        assert_eq!(found.path.zip(found.status), want, "{line}");
    }

    #[test]
    fn every_field_is_read() {
        let (line, is_whole) = parse(find(LINE).unwrap());

        assert!(is_whole);
        assert_eq!(
            line,
            Request {
                verb: Some("GET"),
                path: Some("/user/user?x=1"),
                status: Some(200),
                duration_s: Some(0.012),
                size_bytes: Some(812.0),
                upstream: Some("http://fence-service.default.svc.cluster.local"),
                proxy_service: Some("fence"),
                user: Some("uid:null,unknown@unknown"),
            }
        );
    }

    #[test]
    fn escapes_that_json_refuses_are_walked_over() {
        for agent in [r"\x22quoted\x22", r"\xC3\xA9", r"back\x5Cslash", r"\q"] {
            let line = LINE.replace("Mozilla/5.0", agent);

            assert!(serde_json::from_str::<serde_json::Value>(&line).is_err(), "{agent}");
            check(&line, Some(("/user/user?x=1", 200)));
            assert_eq!(parse(&line).0.proxy_service, Some("fence"), "{agent}");
        }
    }

    #[test]
    fn a_bare_backslash_costs_what_follows_and_no_more() {
        let text = LINE.replace("Mozilla/5.0", "\\");
        let (line, is_whole) = parse(&text);

        assert_eq!((line.status, line.proxy_service, is_whole), (Some(200), None, false));
    }

    #[test]
    fn odd_numbers_are_absent_not_wrong() {
        let line = LINE.replace("0.012", "-").replace("812", "");
        let (found, _) = parse(&line);

        assert_eq!((found.duration_s, found.size_bytes, found.status), (None, None, Some(200)));
        assert_eq!(parse(&LINE.replace("0.012", "1e999")).0.duration_s, None);
        assert_eq!(parse(&LINE.replace("0.012", "-1")).0.duration_s, None);
        assert_eq!(parse(&LINE.replace(": 200", ": 99999")).0.status, None);
    }

    #[test]
    fn a_driver_may_put_something_before_the_line() {
        check(&format!("2026-08-21T10:11:12.3Z stdout F {LINE}"), Some(("/user/user?x=1", 200)));
    }

    #[test]
    fn a_cut_line_gives_what_it_has() {
        let cut = &LINE[..LINE.find("Mozilla").unwrap() + 3];
        let (found, is_whole) = parse(cut);

        assert_eq!((found.status, found.verb, is_whole), (Some(200), Some("GET"), false));
        assert_eq!(found.proxy_service, None);
    }

    #[test]
    fn nested_values_are_walked_over() {
        let line = r#"{"gen3log": "nginx", "a": {"b": [1, {"c": 2}], "d": "x"}, "http_status_code": 502, "http_request": "/x"}"#;
        check(line, Some(("/x", 502)));
    }

    #[test]
    fn other_lines_are_not_taken_for_it() {
        for line in ["", "{", "[2026-08-21 10:11:12,345][ fence][ INFO] x", r#"{"level":"info"}"#] {
            assert_eq!(find(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text = String::from_utf8_lossy(&bytes);
            parse(&text);
            find(&text);
        }

        #[test]
        fn no_damage_makes_it_panic(at in 0..LINE.len(), with in "[\"\\\\{}\\[\\],: \u{e9}x0-]{0,4}") {
            let damaged = format!("{}{with}{}", &LINE[..at], &LINE[at..]);
            parse(&damaged);
            parse(&damaged[..at]);
        }
    }
}
