//! Matchers as people write them: `{severity="page", commons=~"heart.*"}`.
//!
//! Two notations are read, as in Alertmanager. The newer one takes any UTF-8 name, quoted where it
//! must be, and values with Go's escapes; the classic one takes Prometheus' label names and nearly
//! anything as an unquoted value. A text that only one of them reads means what that one says; a text
//! that both read differently means what it always did, the classic thing.

use crate::base::go_text::{BadLiteral, literal, quoted};
use crate::model::names::is_metric_name;
use crate::model::{MatchOp, Matcher, REGEX_PROGRAM_BYTES_MAX, check_label_regex};

/// The most bytes of a text of matchers, and the most matchers in one.
pub(super) const TEXT_BYTES_MAX: usize = 64 << 10;
/// See [`TEXT_BYTES_MAX`].
pub(super) const MATCHERS_MAX: usize = 64;

/// Reads a list of matchers, with or without braces.
pub fn parse_matchers(text: &str) -> Result<Vec<Matcher>, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("{} bytes of matchers, {TEXT_BYTES_MAX} are the most", text.len()));
    }
    let newer = Scanner { rest: text.trim() }.list();
    let parts = match (newer, classic(text)) {
        (Ok(newer), Err(_)) => newer,
        (_, Ok(classic)) => classic,
        (Err(error), Err(_)) => return Err(format!("`{text}` is not a matcher: {error}")),
    };
    if parts.len() > MATCHERS_MAX {
        return Err(format!("{} matchers, {MATCHERS_MAX} are the most", parts.len()));
    }
    let compile = |(name, op, value): Part| {
        check_pattern(op, &value)?;
        Matcher::new(&name, op, &value).map_err(|error| error.to_string())
    };
    parts.into_iter().map(compile).collect()
}

/// Reads several lists of matchers that belong together: all have as many as one may have.
pub fn parse_all_matchers<'t>(
    texts: impl IntoIterator<Item = &'t str>,
) -> Result<Vec<Matcher>, String> {
    let mut matchers = Vec::new();
    for text in texts {
        matchers.extend(parse_matchers(text)?);
        if matchers.len() > MATCHERS_MAX {
            return Err(format!("more than {MATCHERS_MAX} matchers together"));
        }
    }
    Ok(matchers)
}

/// Fails when a pattern compiles to more than one of a query may: a few letters make megabytes.
pub(super) fn check_pattern(op: MatchOp, value: &str) -> Result<(), String> {
    match op {
        MatchOp::Eq | MatchOp::Ne => Ok(()),
        MatchOp::Re | MatchOp::Nre => {
            check_label_regex(value, REGEX_PROGRAM_BYTES_MAX).map_err(|error| error.to_string())
        }
    }
}

/// Returns true when every matcher accepts what `value_of` says of its label.
pub(super) fn all_match<'a>(
    matchers: &[Matcher],
    value_of: impl Fn(&str) -> Option<&'a str>,
) -> bool {
    matchers.iter().all(|matcher| matcher.matches(value_of(&matcher.name).unwrap_or("")))
}

/// Writes matchers as Alertmanager does: `{a="b",c=~"d"}`.
pub(super) fn braces(matchers: &[Matcher]) -> String {
    let texts: Vec<String> = matchers.iter().map(shown).collect();
    format!("{{{}}}", texts.join(","))
}

/// Writes one matcher; a name beyond Prometheus' letters is quoted.
fn shown(matcher: &Matcher) -> String {
    let op = matcher.op.as_str();
    let value = quoted(&matcher.value);
    match is_metric_name(&matcher.name) {
        true => format!("{}{op}{value}", matcher.name),
        false => format!("{}{op}{value}", quoted(&matcher.name)),
    }
}

type Part = (String, MatchOp, String);

/// Reads the newer notation.
struct Scanner<'a> {
    rest: &'a str,
}

impl Scanner<'_> {
    fn list(mut self) -> Result<Vec<Part>, String> {
        let is_braced = self.eat("{");
        let mut parts = Vec::new();
        loop {
            self.blanks();
            if self.rest.is_empty() || self.rest.starts_with('}') {
                break;
            }
            parts.push(self.matcher()?);
            self.blanks();
            if !self.eat(",") {
                break;
            }
        }
        self.blanks();
        if is_braced && !self.eat("}") {
            return Err("the closing brace is missing".to_owned());
        }
        self.blanks();
        if !self.rest.is_empty() {
            return Err(format!("unexpected `{}`", self.rest));
        }
        Ok(parts)
    }

    fn matcher(&mut self) -> Result<Part, String> {
        let name = self.word("a label's name")?;
        if name.is_empty() {
            return Err("a label's name is empty".to_owned());
        }
        self.blanks();
        let op =
            self.op().ok_or_else(|| format!("after `{name}` one of =, !=, =~, !~ must come"))?;
        self.blanks();
        Ok((name, op, self.word("a value")?))
    }

    fn op(&mut self) -> Option<MatchOp> {
        let ops =
            [("=~", MatchOp::Re), ("!~", MatchOp::Nre), ("!=", MatchOp::Ne), ("=", MatchOp::Eq)];
        ops.into_iter().find(|(text, _)| self.eat(text)).map(|(_, op)| op)
    }

    fn word(&mut self, what: &str) -> Result<String, String> {
        if self.rest.starts_with('"') {
            return self.quoted();
        }
        let is_reserved = |c: char| c.is_whitespace() || "{}!=~,\\\"'`".contains(c);
        let end = self.rest.find(is_reserved).unwrap_or(self.rest.len());
        if end == 0 {
            return Err(format!("{what} must come where `{}` stands", self.rest));
        }
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(word.to_owned())
    }

    fn quoted(&mut self) -> Result<String, String> {
        let (text, rest) = unquote(&self.rest[1..])?;
        self.rest = rest;
        Ok(text)
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

/// Reads what follows an opening quote, with Go's escapes; returns it and what comes after.
fn unquote(text: &str) -> Result<(String, &str), String> {
    let (bytes, rest) = literal(text).map_err(|error| match error {
        BadLiteral::Open => "a closing quote is missing",
        BadLiteral::Escape(_) => "a backslash in a quoted text begins no escape",
    })?;
    let value = String::from_utf8(bytes).map_err(|_| "a quoted text is not UTF-8")?;
    Ok((value, rest))
}

/// Reads the classic notation.
fn classic(text: &str) -> Result<Vec<Part>, String> {
    let text = text.trim();
    let text = text.strip_prefix('{').unwrap_or(text);
    let text = text.strip_suffix('}').unwrap_or(text);
    let parts = split_outside_quotes(text);
    let texts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    texts.map(classic_matcher).collect()
}

fn split_outside_quotes(text: &str) -> Vec<String> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let (mut is_quoted, mut is_escaped) = (false, false);
    for c in text.chars() {
        if c == ',' && !is_quoted {
            parts.push(std::mem::take(&mut part));
            continue;
        }
        is_quoted ^= c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        part.push(c);
    }
    parts.push(part);
    parts
}

fn classic_matcher(text: &str) -> Result<Part, String> {
    let n = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let (name, rest) = text.split_at(n.unwrap_or(text.len()));
    if !is_metric_name(name) {
        return Err(format!("`{name}` is not a label's name"));
    }
    let mut scanner = Scanner { rest: rest.trim_start() };
    let op =
        scanner.op().ok_or_else(|| format!("after `{name}` one of =, !=, =~, !~ must come"))?;
    Ok((name.to_owned(), op, classic_value(scanner.rest.trim())?))
}

fn classic_value(text: &str) -> Result<String, String> {
    let (mut rest, is_quoted) = match text.strip_prefix('"') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    if is_quoted {
        rest = rest.strip_suffix('"').ok_or("a closing quote is missing")?;
    }
    let mut value = String::new();
    let mut chars = rest.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some('n')) => value.push('\n'),
            ('\\', Some(&next @ ('"' | '\\'))) => value.push(next),
            ('\\', None) if is_quoted => return Err("a closing quote is missing".to_owned()),
            ('"', _) => return Err("a quote in the midst of a value".to_owned()),
            (c, _) => {
                value.push(c);
                continue;
            }
        }
        chars.next();
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let got = parse_matchers(text).map(|matchers| braces(&matchers));
        assert_eq!(got.as_deref(), Ok(want), "{text}");
    }

    #[test]
    fn both_notations_are_read() {
        check("a=b", r#"{a="b"}"#);
        check(r#"{a="b"}"#, r#"{a="b"}"#);
        check(r#" { a = "b" , c =~ "d|e", } "#, r#"{a="b",c=~"d|e"}"#);
        check("a!=b,c!~d", r#"{a!="b",c!~"d"}"#);
        check("", "{}");
        check("{}", "{}");
        check(r#"a="x,y}""#, r#"{a="x,y}"}"#);
        check(r#"a="q\"uo\\te\n""#, r#"{a="q\"uo\\te\n"}"#);
    }

    #[test]
    fn patterns_and_the_lists_of_one_request_are_bounded() {
        let error = parse_matchers(r#"a=~"\\pL{500}""#).unwrap_err();
        assert!(error.contains("limit of 1048576 bytes"), "{error}");
        assert_eq!(parse_all_matchers(vec!["a=b"; 64]).unwrap().len(), 64);
        let error = parse_all_matchers(vec!["a=b"; 65]).unwrap_err();
        assert_eq!(error, "more than 64 matchers together");
    }

    #[test]
    fn the_newer_one_takes_any_name() {
        check("Ünïcode=🙂", r#"{"Ünïcode"="🙂"}"#);
        check(r#""service.name"="fence""#, r#"{"service.name"="fence"}"#);
        check(r#"a="\u00e9\t""#, "{a=\"\\\\u00e9\\\\t\"}"); // Both read it, and classic knows no \u.
        check(r#""a.b"="\u00e9""#, r#"{"a.b"="é"}"#);
        check(r#""a.b"="\xc3\251""#, r#"{"a.b"="é"}"#);
    }

    #[test]
    fn the_classic_one_takes_nearly_any_value() {
        check("a=b=c", r#"{a="b=c"}"#);
        check("a=two words", r#"{a="two words"}"#);
        check("a=x}", r#"{a="x"}"#); // The last brace is the list's, as in Alertmanager.
        check("a=", r#"{a=""}"#);
        check("a=~x{2}", r#"{a=~"x{2"}"#); // Go takes a brace that is not closed for itself.
    }

    #[track_caller]
    fn refused(text: &str) {
        assert!(parse_matchers(text).is_err(), "{text}");
    }

    #[test]
    fn what_is_no_matcher_is_refused() {
        for text in ["a", "=b", "a=\"b", "a=b\"c", "1a==", "a=~(", "a=~\"[\"", "\"\"=b"] {
            refused(text);
        }
        refused(&"x".repeat(TEXT_BYTES_MAX + 1));
        refused(&vec!["a=b"; MATCHERS_MAX + 1].join(","));
    }
}
