//! Takes secrets out of query strings: `?code=…&state=…` becomes `?code=REDACTED&state=REDACTED`.
//!
//! Works on any text that may hold URLs: access-log lines, JSON, attributes. A query begins after
//! `?` or `#` and ends at a space, quote, angle bracket or control character. Separators are also
//! seen in their escaped forms (`&amp;`, `\u0026`, `%26`), as loggers and nested URLs write them.
//! When in doubt more is taken out, not less.

use memchr::memchr2;

use super::files::HygieneFile;
use super::names::NameSet;

/// What a secret's value becomes.
pub(super) const REDACTED: &str = "REDACTED";

/// Knows which parameters are secrets.
#[derive(Debug)]
pub(super) struct Scrubber {
    secrets: NameSet,
    query_attributes: NameSet,
}

impl Scrubber {
    pub(super) fn new(file: &HygieneFile) -> Self {
        Self {
            secrets: NameSet::new(&file.query_secrets),
            query_attributes: NameSet::new(&file.query_attributes),
        }
    }

    /// Returns the text with secrets replaced, or `None` when there are none.
    pub(super) fn text(&self, text: &str) -> Option<String> {
        let first = memchr2(b'?', b'#', text.as_bytes())?;
        let mut edit = Edit { text, out: String::new(), copied: 0 };
        let mut from = first + 1;
        loop {
            from = self.query(&mut edit, from);
            match memchr2(b'?', b'#', text.as_bytes().get(from..).unwrap_or(&[])) {
                Some(offset) => from += offset + 1,
                None => return edit.finish(),
            }
        }
    }

    /// Like [`Scrubber::text`], for an attribute: some are a query from their first byte.
    pub(super) fn attribute(&self, name: &str, value: &str) -> Option<String> {
        if !self.query_attributes.contains(name) {
            return self.text(value);
        }
        let mut edit = Edit { text: value, out: String::new(), copied: 0 };
        self.query(&mut edit, 0);
        edit.finish()
    }

    /// Scrubs the query that begins at `from`; returns where it ends.
    fn query(&self, edit: &mut Edit<'_>, mut from: usize) -> usize {
        let bytes = edit.text.as_bytes();
        loop {
            let name_end = name_end(bytes, from);
            let value_from = name_end + assign_len(bytes, name_end);
            if value_from == name_end {
                match separator_len(bytes, name_end) {
                    0 => return name_end,
                    len => from = name_end + len,
                }
                continue;
            }
            let name = edit.text[from..name_end].trim_start_matches("amp;");
            let is_secret = self.secrets.contains_ignoring_case(name);
            let value_end = value_end(bytes, value_from, is_secret);
            let is_open = !matches!(&edit.text[value_from..value_end], "" | REDACTED);
            if is_secret && is_open {
                edit.replace(value_from, value_end);
            }
            match separator_len(bytes, value_end) {
                0 => return value_end,
                len => from = value_end + len,
            }
        }
    }
}

/// A text on its way to a changed copy; nothing is copied before the first change.
struct Edit<'a> {
    text: &'a str,
    out: String,
    copied: usize,
}

impl Edit<'_> {
    fn replace(&mut self, from: usize, to: usize) {
        self.out.push_str(&self.text[self.copied..from]);
        self.out.push_str(REDACTED);
        self.copied = to;
    }

    fn finish(mut self) -> Option<String> {
        if self.copied == 0 {
            return None;
        }
        self.out.push_str(&self.text[self.copied..]);
        Some(self.out)
    }
}

fn ends_query(byte: u8) -> bool {
    byte <= b' ' || matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'`' | b'\\' | 0x7f)
}

fn name_end(bytes: &[u8], from: usize) -> usize {
    let stop = |at: usize| {
        ends_query(bytes[at]) || assign_len(bytes, at) > 0 || separator_len(bytes, at) > 0
    };
    (from..bytes.len()).find(|&at| stop(at)).unwrap_or(bytes.len())
}

/// A secret may hold a `;`, any other value ends there.
fn value_end(bytes: &[u8], from: usize, is_secret: bool) -> usize {
    let separates = |at: usize| separator_len(bytes, at) > 0 && !(is_secret && bytes[at] == b';');
    let stop = |at: usize| ends_query(bytes[at]) || separates(at);
    (from..bytes.len()).find(|&at| stop(at)).unwrap_or(bytes.len())
}

/// Returns the length of `=` or its escaped form at `at`, or 0.
fn assign_len(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at.min(bytes.len())..];
    match rest {
        [b'=', ..] => 1,
        [b'%', b'3', b'D' | b'd', ..] => 3,
        [b'\\', ..] if rest.starts_with(b"\\u003d") || rest.starts_with(b"\\x3D") => {
            if rest[1] == b'u' { 6 } else { 4 }
        }
        _ => 0,
    }
}

/// Returns the length of a separator of parameters at `at`, escaped or not, or 0. `?` and `#`
/// begin the next part of the same query.
fn separator_len(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at.min(bytes.len())..];
    match rest {
        [b'&' | b'?' | b'#' | b';', ..] => 1,
        [b'%', b'2', b'6', ..] | [b'%', b'3', b'F' | b'f', ..] | [b'%', b'2', b'3', ..] => 3,
        [b'\\', ..] if rest.starts_with(b"\\u0026") => 6,
        [b'\\', ..] if rest.starts_with(b"\\x26") => 4,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tagging::files::parse;

    fn scrubber() -> Scrubber {
        let file = include_str!("../../config/gen3/hygiene.toml");
        Scrubber::new(&parse("hygiene.toml", file).unwrap())
    }

    #[track_caller]
    fn check(text: &str, want: &str) {
        let got = scrubber().text(text);
        assert_eq!(got.as_deref().unwrap_or(text), want);
        assert_eq!(got.is_some(), text != want, "an unchanged text is not copied");
    }

    #[test]
    fn secrets_of_a_login_are_taken_out() {
        check(
            r#"{"http_request": "/user/login/google/login?state=xyz&code=4/0Ab_c&scope=email", "a": 1}"#,
            r#"{"http_request": "/user/login/google/login?state=REDACTED&code=REDACTED&scope=email", "a": 1}"#,
        );
        check("GET /cb?CODE=abc HTTP/1.1", "GET /cb?CODE=REDACTED HTTP/1.1");
        check("/cb?x=1;code=a;b&y=2", "/cb?x=1;code=REDACTED&y=2");
        check("/cb#access_token=eyJ.x.y&x=1", "/cb#access_token=REDACTED&x=1");
    }

    #[test]
    fn signatures_of_signed_urls_are_taken_out() {
        check(
            "https://b.s3.amazonaws.com/k?X-Amz-Credential=AK%2F1&X-Amz-Signature=00ff&user_id=7",
            "https://b.s3.amazonaws.com/k?X-Amz-Credential=REDACTED&X-Amz-Signature=REDACTED&user_id=7",
        );
        check(
            "?x-goog-signature=1&Signature=2&Expires=3",
            "?x-goog-signature=REDACTED&Signature=REDACTED&Expires=3",
        );
    }

    #[test]
    fn escaped_separators_are_seen() {
        check(r"/cb?a=1\u0026code=abc\u0026b=2", r"/cb?a=1\u0026code=REDACTED\u0026b=2");
        check("/cb?a=1&amp;code=abc", "/cb?a=1&amp;code=REDACTED");
        check(
            "/r?next=https%3A%2F%2Fh%2Fcb%3Fcode%3Dabc%26x%3D1",
            "/r?next=https%3A%2F%2Fh%2Fcb%3Fcode%3DREDACTED%26x%3D1",
        );
        check(r"/cb?a=1\x26code=abc\x22 x", r"/cb?a=1\x26code=REDACTED\x22 x");
    }

    #[test]
    fn what_holds_no_secret_is_left_alone() {
        for text in [
            "",
            "no question at all, code=5",
            "really? code=5",
            "/x?page=2&size=10",
            "/x?code",
            "/x?code=",
            "/x?encode=abc&zipcode=60637",
            "??##&&==",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn an_attribute_may_be_a_query_by_itself() {
        let scrubber = scrubber();

        assert_eq!(
            scrubber.attribute("url.query", "code=1&x=2").as_deref(),
            Some("code=REDACTED&x=2")
        );
        assert_eq!(scrubber.attribute("url.path", "code=1&x=2"), None);
        assert_eq!(
            scrubber.attribute("http.url", "/a?token=t").as_deref(),
            Some("/a?token=REDACTED")
        );
    }

    proptest! {
        #[test]
        fn any_text_is_scrubbed_once_and_for_all(text in "[?&=#%;\\\\a-dcodestaten 2636Dxu0\"é]{0,60}") {
            let scrubber = scrubber();
            let once = scrubber.text(&text).unwrap_or_else(|| text.clone());

            prop_assert_eq!(scrubber.text(&once).unwrap_or_else(|| once.clone()), once);
        }

        #[test]
        fn a_secret_never_survives(secret in "[A-Za-z0-9_./%~+,:@!$*()-]{8,40}", before in "[a-z=&]{0,12}") {
            prop_assume!(!secret.contains('%') && !"REDACTED".contains(&secret));
            let text = format!("GET /x?{before}&token={secret} HTTP/1.1");

            let scrubbed = scrubber().text(&text).unwrap();

            prop_assert!(!scrubbed.contains(&format!("token={secret}")), "{}", scrubbed);
        }
    }
}
