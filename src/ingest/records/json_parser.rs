//! A pull parser over JSON text: one pass, no tree, strings borrowed where they have no escapes.
//!
//! It knows nothing of OTLP or Loki; those ask for what they expect next and skip the rest. A
//! fault carries the path to where it was found, such as `resourceLogs[0].scopeLogs[2].scope`.

use std::borrow::Cow;

/// The deepest nesting of objects and arrays that is read.
const DEPTH_MAX: usize = 128;

/// What is wrong with a JSON text, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message} (byte {byte_idx})")]
pub(in crate::ingest) struct JsonError {
    path: String,
    message: String,
    byte_idx: usize,
}

/// One step of a path.
#[derive(Debug, Clone)]
enum Step<'a> {
    Field(Cow<'a, str>),
    Index(usize),
}

/// What comes next in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ingest) enum Next {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `"`
    String,
    /// A digit or `-`.
    Number,
    /// `true` or `false`.
    Bool,
    /// `null`
    Null,
}

/// Reads a JSON text from front to back.
#[derive(Debug, Clone)]
pub(in crate::ingest) struct Parser<'a> {
    text: &'a str,
    idx: usize,
    depth: usize,
    path: Vec<Step<'a>>,
}

impl<'a> Parser<'a> {
    /// Returns a parser at the front of `text`.
    pub(in crate::ingest) fn new(text: &'a str) -> Self {
        Self { text, idx: 0, depth: 0, path: Vec::new() }
    }

    /// Returns an error at the current place.
    pub(in crate::ingest) fn error(&self, message: impl Into<String>) -> JsonError {
        JsonError { path: self.path_text(), message: message.into(), byte_idx: self.idx }
    }

    fn path_text(&self) -> String {
        let mut text = String::new();
        for step in &self.path {
            match step {
                Step::Field(name) if text.is_empty() => text.push_str(name),
                Step::Field(name) => {
                    text.push('.');
                    text.push_str(name);
                }
                Step::Index(idx) => text.push_str(&format!("[{idx}]")),
            }
        }
        if text.is_empty() { "the request".to_owned() } else { text }
    }

    /// Says what comes next without taking it.
    pub(in crate::ingest) fn peek(&mut self) -> Result<Next, JsonError> {
        match self.peek_byte() {
            Some(b'{') => Ok(Next::Object),
            Some(b'[') => Ok(Next::Array),
            Some(b'"') => Ok(Next::String),
            Some(b'-' | b'0'..=b'9') => Ok(Next::Number),
            Some(b't' | b'f') => Ok(Next::Bool),
            Some(b'n') => Ok(Next::Null),
            Some(_) => Err(self.error("wanted a JSON value")),
            None => Err(self.error("the text ends where a JSON value is wanted")),
        }
    }

    /// Walks an object: `on_field` is called at each value and must take it.
    pub(in crate::ingest) fn object(
        &mut self,
        mut on_field: impl FnMut(&mut Self, &str) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.open(b'{', "an object")?;
        if self.take(b'}') {
            self.depth -= 1;
            return Ok(());
        }
        loop {
            let name = self.string()?;
            if !self.take(b':') {
                return Err(self.error("wanted `:` after a field's name"));
            }
            self.path.push(Step::Field(name.clone()));
            on_field(self, &name)?;
            self.path.pop();
            if self.take(b'}') {
                self.depth -= 1;
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.error("wanted `,` or `}`"));
            }
        }
    }

    /// Walks an array: `on_item` is called at each value and must take it.
    pub(in crate::ingest) fn array(
        &mut self,
        mut on_item: impl FnMut(&mut Self, usize) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.open(b'[', "an array")?;
        if self.take(b']') {
            self.depth -= 1;
            return Ok(());
        }
        for idx in 0.. {
            self.path.push(Step::Index(idx));
            on_item(self, idx)?;
            self.path.pop();
            if self.take(b']') {
                break;
            }
            if !self.take(b',') {
                return Err(self.error("wanted `,` or `]`"));
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn open(&mut self, byte: u8, wanted: &str) -> Result<(), JsonError> {
        if !self.take(byte) {
            return Err(self.error(format!("wanted {wanted}")));
        }
        if self.depth == DEPTH_MAX {
            return Err(self.error(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        self.depth += 1;
        Ok(())
    }

    /// Takes a string; borrowed when it has no escapes.
    pub(in crate::ingest) fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        if !self.take(b'"') {
            return Err(self.error("wanted a string"));
        }
        let from = self.idx;
        let n_plain = self.n_plain_bytes()?;
        if self.text.as_bytes()[from + n_plain] == b'"' {
            self.idx = from + n_plain + 1;
            return Ok(Cow::Borrowed(&self.text[from..from + n_plain]));
        }
        self.escaped_string().map(Cow::Owned)
    }

    /// Counts the bytes up to the next quote or backslash.
    fn n_plain_bytes(&self) -> Result<usize, JsonError> {
        let rest = &self.text.as_bytes()[self.idx..];
        let n_plain =
            memchr::memchr2(b'"', b'\\', rest).ok_or_else(|| self.error("a string has no end"))?;
        if rest[..n_plain].iter().any(|&byte| byte < 0x20) {
            return Err(self.error("a string holds a raw control character"));
        }
        Ok(n_plain)
    }

    fn escaped_string(&mut self) -> Result<String, JsonError> {
        let mut out = String::new();
        loop {
            let n_plain = self.n_plain_bytes()?;
            out.push_str(&self.text[self.idx..self.idx + n_plain]);
            self.idx += n_plain + 1;
            if self.text.as_bytes()[self.idx - 1] == b'"' {
                return Ok(out);
            }
            let escaped = self.text.as_bytes().get(self.idx).copied();
            self.idx += 1;
            out.push(match escaped {
                Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
                Some(b'b') => '\u{8}',
                Some(b'f') => '\u{c}',
                Some(b'n') => '\n',
                Some(b'r') => '\r',
                Some(b't') => '\t',
                Some(b'u') => self.unicode_escape()?,
                _ => {
                    self.idx -= 1;
                    return Err(self.error("unknown escape in a string"));
                }
            });
        }
    }

    /// Takes the digits after `\u`. Half of a surrogate pair becomes U+FFFD: JavaScript writes
    /// such halves when it cuts a string, and one cut string must not cost the batch.
    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let high = self.hex4()?;
        if !(0xd800..0xdc00).contains(&high) {
            return Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let before = self.idx;
        if self.text.as_bytes()[self.idx..].starts_with(b"\\u") {
            self.idx += 2;
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.idx = before;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.as_bytes().get(self.idx..self.idx + 4);
        let code = digits.and_then(|digits| {
            digits.iter().try_fold(0, |code, &d| Some(code * 16 + char::from(d).to_digit(16)?))
        });
        let code = code.ok_or_else(|| self.error("wanted four hex digits after \\u"))?;
        self.idx += 4;
        Ok(code)
    }

    /// Takes a number and returns its text, which follows JSON's grammar.
    pub(in crate::ingest) fn number(&mut self) -> Result<&'a str, JsonError> {
        if self.peek()? != Next::Number {
            return Err(self.error("wanted a number"));
        }
        let rest = &self.text[self.idx..];
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let n_bytes = rest.as_bytes().iter().take_while(|byte| is_part(byte)).count();
        let text = &rest[..n_bytes];
        if !is_json_number(text) {
            return Err(self.error(format!("`{text}` is not a number")));
        }
        self.idx += n_bytes;
        Ok(text)
    }

    /// Takes `true` or `false`.
    pub(in crate::ingest) fn bool(&mut self) -> Result<bool, JsonError> {
        if self.take_word("true") {
            Ok(true)
        } else if self.take_word("false") {
            Ok(false)
        } else {
            Err(self.error("wanted true or false"))
        }
    }

    /// Takes `null` if it is next.
    pub(in crate::ingest) fn take_null(&mut self) -> bool {
        self.take_word("null")
    }

    /// Takes whatever value is next and forgets it.
    pub(in crate::ingest) fn skip(&mut self) -> Result<(), JsonError> {
        match self.peek()? {
            Next::Object => self.object(|parser, _| parser.skip()),
            Next::Array => self.array(|parser, _| parser.skip()),
            Next::String => self.string().map(drop),
            Next::Number => self.number().map(drop),
            Next::Bool => self.bool().map(drop),
            Next::Null if self.take_null() => Ok(()),
            Next::Null => Err(self.error("wanted a JSON value")),
        }
    }

    /// Checks that nothing but white space is left.
    pub(in crate::ingest) fn end(&mut self) -> Result<(), JsonError> {
        match self.peek_byte() {
            None => Ok(()),
            Some(_) => Err(self.error("there is more text after the JSON value")),
        }
    }

    fn peek_byte(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(self.idx) {
            self.idx += 1;
        }
        bytes.get(self.idx).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek_byte() == Some(byte);
        self.idx += usize::from(is_next);
        is_next
    }

    fn take_word(&mut self, word: &str) -> bool {
        self.peek_byte();
        let is_next = self.text.as_bytes()[self.idx..].starts_with(word.as_bytes());
        self.idx += if is_next { word.len() } else { 0 };
        is_next
    }
}

/// Checks JSON's own grammar: `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`.
fn is_json_number(text: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = text.strip_prefix('-').unwrap_or(text);
    let n_whole = digits(rest);
    if n_whole == 0 || (n_whole > 1 && rest.starts_with('0')) {
        return false;
    }
    let mut rest = &rest[n_whole..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let n_digits = digits(fraction);
        if n_digits == 0 {
            return false;
        }
        rest = &fraction[n_digits..];
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let n_digits = digits(exponent);
        return n_digits > 0 && n_digits == exponent.len();
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_skip(text: &str, want_ok: bool) {
        let mut parser = Parser::new(text);
        let got = parser.skip().and_then(|()| parser.end());
        assert_eq!(got.is_ok(), want_ok, "{text}: {got:?}");
        let serde = serde_json::from_str::<serde_json::Value>(text).is_ok();
        assert_eq!(serde, want_ok, "serde_json disagrees on {text}");
    }

    #[test]
    fn valid_json_is_read() {
        for text in ["{}", "[]", " [1, -0.5e+3 ,\t\"a\\u00e9\\n\"]\r\n", "null", "true", "0"] {
            check_skip(text, true);
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "tru",
            "nul",
            "[1 2]",
            "\"a",
            "\"\\x\"",
            "\"\n\"",
            "{} {}",
            "-",
            "\"\\u12\"",
            "'a'",
        ] {
            check_skip(text, false);
        }
    }

    #[test]
    fn escapes_are_undone_and_cut_surrogates_replaced() {
        let text = r#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\ud83dx""#;

        let got = Parser::new(text).string().unwrap();

        assert_eq!(got, "a\"\\/\u{8}\u{c}\n\r\té😀\u{fffd}x");
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_crash() {
        let text = "[".repeat(1_000_000);

        let error = Parser::new(&text).skip().unwrap_err();

        assert!(error.to_string().contains("nested deeper than 128 levels"), "{error}");
    }

    #[test]
    fn an_error_names_the_path() {
        let mut parser = Parser::new(r#"{"a":[{},{"b":tru}]}"#);

        let error = parser.skip().unwrap_err();

        assert_eq!(error.to_string(), "a[1].b: wanted true or false (byte 14)");
    }
}
