//! `| json` and `| unpack`: values out of JSON, without building a tree of it.
//!
//! The reader forgives what Loki's forgives, and one thing more: nginx without `escape=json` writes
//! `\x22` for a quote, which is no JSON and stands in every access log of Gen3. Such an escape is
//! the byte that it says.

use std::borrow::Cow;

/// Why a line is not the JSON that was wanted; the texts are those of Loki's parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JsonError {
    NoObject,
    Malformed,
    UnknownValue,
    MalformedString,
    TooDeep,
    LongName,
}

impl JsonError {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            JsonError::NoObject => "Value looks like object, but can't find closing '}' symbol",
            JsonError::Malformed => "Malformed JSON error",
            JsonError::UnknownValue => "Unknown value type",
            JsonError::MalformedString => "Value is string, but can't find closing '\"' symbol",
            JsonError::TooDeep => "Value is nested too deep",
            JsonError::LongName => "Keys of a nested value are longer than 1024 bytes together",
        }
    }
}

/// The deepest nesting that is looked into.
pub(super) const DEPTH_MAX: usize = 64;
/// The longest name that is put together of keys: every value below a key repeats it, so that one line
/// could fill the memory. Loki's limit of a label's name.
const NAME_BYTES_MAX: usize = 1_024;

/// A value as it stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Between the quotes, escapes not undone.
    Text(&'a str),
    /// A number, `true` or `false`.
    Plain(&'a str),
    Null,
    /// With its braces.
    Object(&'a str),
    /// With its brackets.
    Array(&'a str),
}

impl<'a> Value<'a> {
    /// Returns the value as a label has it; what is structured stays as it is written.
    pub(super) fn into_label(self) -> Cow<'a, str> {
        match self {
            Value::Text(raw) => unescape(raw),
            Value::Plain(text) | Value::Object(text) | Value::Array(text) => Cow::Borrowed(text),
            Value::Null => Cow::Borrowed(""),
        }
    }
}

/// A key as it stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key<'a> {
    /// Between the quotes, escapes not undone.
    pub(super) raw: &'a str,
    has_escapes: bool,
}

impl<'a> Key<'a> {
    /// Returns the key as it is meant.
    pub(super) fn text(self) -> Cow<'a, str> {
        if self.has_escapes { unescape(self.raw) } else { Cow::Borrowed(self.raw) }
    }
}

/// Whether to read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    On,
    Stop,
}

/// Calls `each` with the key, as it is written, and the value of every member of the object that
/// the text begins with. What follows the object is not looked at.
pub(super) fn members<'a>(
    text: &'a str,
    each: &mut dyn FnMut(Cow<'a, str>, Value<'a>) -> Result<Flow, JsonError>,
) -> Result<Flow, JsonError> {
    raw_members(text, |key, value| each(key.text(), value))
}

/// The same, with keys as they stand in the text.
fn raw_members<'a>(
    text: &'a str,
    mut each: impl FnMut(Key<'a>, Value<'a>) -> Result<Flow, JsonError>,
) -> Result<Flow, JsonError> {
    let mut reader = Reader { text, at: 0 };
    reader.skip_space();
    if !reader.take(b'{') {
        return Err(JsonError::NoObject);
    }
    reader.skip_space();
    if reader.take(b'}') {
        return Ok(Flow::On);
    }
    loop {
        reader.skip_space();
        if reader.peek() != Some(b'"') {
            return Err(JsonError::Malformed);
        }
        let key = reader.key()?;
        reader.skip_space();
        if !reader.take(b':') {
            return Err(JsonError::Malformed);
        }
        let value = reader.value()?;
        if each(key, value)? == Flow::Stop {
            return Ok(Flow::Stop);
        }
        reader.skip_space();
        match reader.peek() {
            Some(b',') => reader.at += 1,
            Some(b'}') => return Ok(Flow::On),
            _ => return Err(JsonError::Malformed),
        }
    }
}

/// Calls `each` with the elements of an array.
fn elements<'a>(text: &'a str, each: &mut dyn FnMut(Value<'a>) -> Flow) -> Result<Flow, JsonError> {
    let mut reader = Reader { text, at: 0 };
    reader.skip_space();
    if !reader.take(b'[') {
        return Err(JsonError::Malformed);
    }
    reader.skip_space();
    if reader.take(b']') {
        return Ok(Flow::On);
    }
    loop {
        if each(reader.value()?) == Flow::Stop {
            return Ok(Flow::Stop);
        }
        reader.skip_space();
        match reader.peek() {
            Some(b',') => reader.at += 1,
            Some(b']') => return Ok(Flow::On),
            _ => return Err(JsonError::Malformed),
        }
    }
}

/// Calls `each` with the value of every text, number and truth value at the top of the object, and
/// `nested` with what is below an object, by its path.
pub(super) fn top_leaves<'a>(
    text: &'a str,
    each: &mut dyn FnMut(Key<'a>, Value<'a>) -> Flow,
    nested: &mut dyn FnMut(Cow<'a, str>, Value<'a>) -> Flow,
) -> Result<Flow, JsonError> {
    raw_members(text, |key, value| match value {
        Value::Null | Value::Array(_) => Ok(Flow::On),
        Value::Object(inner) => {
            let mut prefix = String::new();
            push_part(&mut prefix, &key.text())?;
            leaves_below(inner, &mut prefix, DEPTH_MAX - 1, Keep::Leaves, nested)
        }
        _ => Ok(each(key, value)),
    })
}

/// Calls `each` with the path and value of every text, number and truth value in the object, however
/// deep; the parts of a path are joined by `_`, as labels are named. Arrays are passed over.
pub(super) fn leaves<'a>(
    text: &'a str,
    each: &mut dyn FnMut(Cow<'a, str>, Value<'a>) -> Flow,
) -> Result<Flow, JsonError> {
    leaves_below(text, &mut String::new(), DEPTH_MAX, Keep::Leaves, each)
}

/// The same with everything in the object: arrays, and objects that lie too deep or under names too long
/// to be repeated, are values as they are written.
pub(super) fn all_values<'a>(
    text: &'a str,
    each: &mut dyn FnMut(Cow<'a, str>, Value<'a>) -> Flow,
) -> Result<Flow, JsonError> {
    leaves_below(text, &mut String::new(), DEPTH_MAX, Keep::All, each)
}

/// What is kept of an object whose values are named by their paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// Texts, numbers and truth values; an object that cannot be looked into is a fault.
    Leaves,
    /// Everything but nulls.
    All,
}

fn leaves_below<'a>(
    text: &'a str,
    prefix: &mut String,
    depth_left: usize,
    keep: Keep,
    each: &mut dyn FnMut(Cow<'a, str>, Value<'a>) -> Flow,
) -> Result<Flow, JsonError> {
    if depth_left == 0 {
        return Err(JsonError::TooDeep);
    }
    members(text, &mut |key, value| {
        let n_prefix = prefix.len();
        match value {
            Value::Null => return Ok(Flow::On),
            Value::Array(_) if keep == Keep::Leaves => return Ok(Flow::On),
            Value::Object(_) => {}
            _ if n_prefix == 0 => return Ok(each(sanitized_cow(key), value)),
            _ => {}
        }
        let named = push_part(prefix, &key);
        if keep == Keep::Leaves {
            named?;
        }
        let flow = match value {
            Value::Object(inner) if keep == Keep::Leaves || (named.is_ok() && depth_left > 1) => {
                leaves_below(inner, prefix, depth_left - 1, keep, each)
            }
            _ => Ok(each(Cow::Owned(prefix.clone()), value)),
        };
        prefix.truncate(n_prefix);
        flow
    })
}

pub(super) fn push_part(prefix: &mut String, key: &str) -> Result<(), JsonError> {
    if !prefix.is_empty() {
        prefix.push('_');
    }
    super::super::fields::push_sanitized(prefix, key.trim());
    if prefix.len() > NAME_BYTES_MAX { Err(JsonError::LongName) } else { Ok(()) }
}

/// Returns a key as labels are named.
pub(super) fn label_of<'a>(key: Key<'a>) -> Cow<'a, str> {
    sanitized_cow(key.text())
}

fn sanitized_cow(key: Cow<'_, str>) -> Cow<'_, str> {
    match key {
        Cow::Borrowed(key) => super::super::fields::sanitized(key),
        Cow::Owned(key) => Cow::Owned(super::super::fields::sanitized(&key).into_owned()),
    }
}

/// One part of a path: `a`, `["a b"]`, `[0]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Key(String),
    Index(usize),
}

/// Reads a path: `a.b[0]["c d"]`.
pub(super) fn parse_path(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    let wrong = || format!("cannot parse expression [{text}]: wanted a path such as a.b[0][\"c\"]");
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let end = match inside.starts_with('"') {
                true => inside[1..].find('"').map(|end| end + 2),
                false => inside.find(']'),
            };
            let end = end.ok_or_else(wrong)?;
            let part = &inside[..end];
            rest = inside[end..].strip_prefix(']').ok_or_else(wrong)?;
            parts.push(match part.strip_prefix('"') {
                Some(key) => Part::Key(key.trim_end_matches('"').to_owned()),
                None => Part::Index(part.trim().parse().map_err(|_| wrong())?),
            });
        } else {
            if !parts.is_empty() {
                rest = rest.strip_prefix('.').ok_or_else(wrong)?;
            }
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            if end == 0 {
                return Err(wrong());
            }
            parts.push(Part::Key(rest[..end].to_owned()));
            rest = &rest[end..];
        }
    }
    if parts.is_empty() { Err(wrong()) } else { Ok(parts) }
}

/// Returns what is found at a path; what cannot be read there is not found.
pub(super) fn at_path<'a>(text: &'a str, path: &[Part]) -> Option<Value<'a>> {
    let mut found = None;
    let mut inside = text;
    for (idx, part) in path.iter().enumerate() {
        found = match part {
            Part::Key(key) => member(inside, key),
            Part::Index(wanted) => element(inside, *wanted),
        };
        let is_last = idx + 1 == path.len();
        match found {
            Some(Value::Object(text) | Value::Array(text)) => inside = text,
            _ if is_last => {}
            _ => return None,
        }
    }
    found
}

fn member<'a>(text: &'a str, wanted: &str) -> Option<Value<'a>> {
    let mut found = None;
    let _: Result<Flow, JsonError> = members(text, &mut |key, value| {
        if key != wanted {
            return Ok(Flow::On);
        }
        found = Some(value);
        Ok(Flow::Stop)
    });
    found
}

fn element(text: &str, wanted: usize) -> Option<Value<'_>> {
    let mut left = wanted;
    let mut found = None;
    let _: Result<Flow, JsonError> = elements(text, &mut |value| match left {
        0 => {
            found = Some(value);
            Flow::Stop
        }
        _ => {
            left -= 1;
            Flow::On
        }
    });
    found
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Reads a key. Keys are short, so they are looked at a byte at a time.
    fn key(&mut self) -> Result<Key<'a>, JsonError> {
        let start = self.at + 1;
        let mut at = start;
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(Key { raw: &self.text[start..at], has_escapes: false });
                }
                Some(b'\\') => return Ok(Key { raw: self.string()?, has_escapes: true }),
                Some(_) => at += 1,
                None => return Err(JsonError::MalformedString),
            }
        }
    }

    /// Reads a string; returns what stands between the quotes.
    fn string(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at + 1;
        let bytes = self.text.as_bytes();
        let mut at = start;
        loop {
            let found = memchr::memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default());
            let Some(found) = found else { return Err(JsonError::MalformedString) };
            at += found;
            if bytes[at] == b'"' {
                self.at = at + 1;
                return Ok(&self.text[start..at]);
            }
            // The escaped byte may be the first of several, none of which is a quote.
            at += 2;
        }
    }

    fn value(&mut self) -> Result<Value<'a>, JsonError> {
        self.skip_space();
        match self.peek() {
            Some(b'"') => self.string().map(Value::Text),
            Some(b'{') => self.nested(b'{', b'}').map(Value::Object),
            Some(b'[') => self.nested(b'[', b']').map(Value::Array),
            _ => self.plain(),
        }
    }

    fn plain(&mut self) -> Result<Value<'a>, JsonError> {
        let start = self.at;
        let is_end = |b: u8| matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
        while self.peek().is_some_and(|byte| !is_end(byte)) {
            self.at += 1;
        }
        let text = self.text.get(start..self.at).ok_or(JsonError::UnknownValue)?;
        match text {
            "null" => Ok(Value::Null),
            "true" | "false" => Ok(Value::Plain(text)),
            _ if text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
                Ok(Value::Plain(text))
            }
            _ => Err(JsonError::UnknownValue),
        }
    }

    /// Passes over an object or an array; only the brackets of its own kind are counted, as all
    /// others must be balanced between them.
    fn nested(&mut self, open: u8, close: u8) -> Result<&'a str, JsonError> {
        let start = self.at;
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b if b == open => depth += 1,
                b if b == close => {
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        return Ok(&self.text[start..self.at]);
                    }
                }
                _ => {}
            }
            self.at += 1;
        }
        Err(if open == b'{' { JsonError::NoObject } else { JsonError::Malformed })
    }
}

/// Undoes the escapes of a string; those that JSON does not know stay as they are.
pub(super) fn unescape(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    let mut out: Vec<u8> = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let n_taken = push_escape(&mut out, rest);
        if n_taken == 0 {
            out.push(b'\\');
        }
        rest = &rest[n_taken..];
    }
    out.extend_from_slice(rest.as_bytes());
    match String::from_utf8_lossy(&out) {
        Cow::Borrowed(text) => Cow::Owned(text.to_owned()),
        Cow::Owned(text) => Cow::Owned(text),
    }
}

/// Undoes one escape; returns how many bytes behind the backslash it took.
fn push_escape(out: &mut Vec<u8>, rest: &str) -> usize {
    let hex = |from: usize, n: usize| {
        let digits = rest.get(from..from + n)?;
        digits.bytes().all(|b| b.is_ascii_hexdigit()).then_some(digits)
    };
    let code = |from| u32::from_str_radix(hex(from, 4)?, 16).ok();
    let plain = match rest.as_bytes().first() {
        Some(b'n') => b'\n',
        Some(b't') => b'\t',
        Some(b'r') => b'\r',
        Some(b'b') => 0x08,
        Some(b'f') => 0x0c,
        Some(&b @ (b'"' | b'\\' | b'/')) => b,
        Some(b'x') => match hex(1, 2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                return 3;
            }
            None => return 0,
        },
        Some(b'u') => {
            let Some(first) = code(1) else { return 0 };
            let low = (0xd800..0xdc00).contains(&first) && rest[5..].starts_with("\\u");
            let low = if low { code(7).filter(|c| (0xdc00..0xe000).contains(c)) } else { None };
            let (c, n_taken) = match low {
                Some(low) => (0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00), 11),
                None => (first, 5),
            };
            let c = char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER);
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return n_taken;
        }
        _ => return 0,
    };
    out.push(plain);
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> (Vec<(String, String)>, Option<&'static str>) {
        let mut found = Vec::new();
        let ended = leaves(text, &mut |name, value| {
            found.push((name.into_owned(), value.into_label().into_owned()));
            Flow::On
        });
        (found, ended.err().map(JsonError::as_str))
    }

    #[track_caller]
    fn check(text: &str, want: &[(&str, &str)]) {
        let (found, error) = all(text);
        let found: Vec<_> = found.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!((found, error), (want.to_vec(), None), "{text}");
    }

    #[test]
    fn leaves_are_named_by_their_path() {
        check(
            r#"{"a":1,"b":{"c d":"x","e":{"f":true}},"g":[1],"h":null}"#,
            &[("a", "1"), ("b_c_d", "x"), ("b_e_f", "true")],
        );
        check(r#" {} "#, &[]);
        check(r#"{"1a":"x"} and more"#, &[("_1a", "x")]);
    }

    #[test]
    fn escapes_are_undone_those_of_nginx_as_well() {
        check(r#"{"a":"q\"\\\n\u00e9\ud83d\ude00"}"#, &[("a", "q\"\\\né😀")]);
        check(r#"{"ua":"say \x22hi\x22 \xC3\xA9","n":1}"#, &[("ua", "say \"hi\" é"), ("n", "1")]);
        check(r#"{"a":"\q \ud800"}"#, &[("a", "\\q \u{fffd}")]);
    }

    #[test]
    fn what_was_read_before_a_fault_stays() {
        for (text, n, want) in [
            ("plain text", 0, "Value looks like object, but can't find closing '}' symbol"),
            (r#"{"a":"1","b":"#, 1, "Unknown value type"),
            (r#"{"a":"1" "b":2}"#, 1, "Malformed JSON error"),
            (r#"{"a":"1","b":"x"#, 1, "Value is string, but can't find closing '\"' symbol"),
            ("", 0, "Value looks like object, but can't find closing '}' symbol"),
        ] {
            let (found, error) = all(text);
            assert_eq!((found.len(), error), (n, Some(want)), "{text}");
        }
    }

    #[test]
    fn nesting_has_an_end() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(70), "}".repeat(70));

        assert_eq!(all(&deep).1, Some("Value is nested too deep"));
    }

    #[test]
    fn names_that_many_values_repeat_have_an_end() {
        let key = "k".repeat(1_025);

        let (found, error) = all(&format!(r#"{{"a":1,"{key}":{{"b":2}}}}"#));
        assert_eq!(
            (found.len(), error),
            (1, Some("Keys of a nested value are longer than 1024 bytes together"))
        );
        // One that no other repeats is as long as it is.
        assert_eq!(all(&format!(r#"{{"{key}":1}}"#)), (vec![(key, "1".to_owned())], None));
    }

    #[test]
    fn what_cannot_be_looked_into_is_kept_as_it_is_written_where_everything_is() {
        let long = "k".repeat(1_025);
        let deep = format!("{}1{}", r#"{"a":"#.repeat(66), "}".repeat(66));
        let text = format!(r#"{{"b":{{"{long}":{{"c":1}},"{long}":2}},"d":{deep},"e":[1]}}"#);
        let mut found = Vec::new();

        let ended = all_values(&text, &mut |name, value| {
            found.push((name.into_owned(), value.into_label().into_owned()));
            Flow::On
        });

        assert_eq!(ended, Ok(Flow::On));
        let of_long = |value: &str| (format!("b_{long}"), value.to_owned());
        assert_eq!(found[..2], [of_long(r#"{"c":1}"#), of_long("2")]);
        let (name, value) = &found[2];
        assert_eq!(name.matches('a').count(), 63, "{name}");
        assert_eq!(value, r#"{"a":{"a":{"a":1}}}"#);
        assert_eq!(found[3], ("e".to_owned(), "[1]".to_owned()));
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn paths_lead_into_objects_and_arrays() {
        let text = r#"{"a":{"b":[1,{"c d":"x"}]},"n":null}"#;
        for (path, want) in [
            ("a.b[0]", Some("1")),
            (r#"a["b"][1]["c d"]"#, Some("x")),
            ("a.b", Some(r#"[1,{"c d":"x"}]"#)),
            ("n", Some("")),
            ("a.z", None),
            ("a.b[7]", None),
            ("n.x", None),
        ] {
            let found = at_path(text, &parse_path(path).unwrap());
            assert_eq!(found.map(Value::into_label).as_deref(), want, "{path}");
        }
        for path in ["", "a..b", "[", "[x]", "a[\"b]", "a b["] {
            assert!(parse_path(path).is_err(), "{path}");
        }
    }
}
