//! `| logfmt`: `key=value key="a value"`.

use std::borrow::Cow;

use super::json::unescape;

/// A pair, or why there is none.
pub(super) type Pair<'a> = Result<(&'a str, Cow<'a, str>), String>;

/// Walks the pairs of a line. After a fault the walk goes on behind the next space.
pub(super) fn pairs(line: &str) -> Pairs<'_> {
    Pairs { line, at: 0 }
}

/// See [`pairs`].
#[derive(Debug)]
pub(super) struct Pairs<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Pair<'a>;

    fn next(&mut self) -> Option<Pair<'a>> {
        let rest = &self.line[self.at..];
        self.at += rest.len() - rest.trim_start_matches(is_space).len();
        let rest = &self.line[self.at..];
        if rest.is_empty() {
            return None;
        }
        let n_key = rest.find(|c: char| is_space(c) || c == '=' || c == '"').unwrap_or(rest.len());
        let key = &rest[..n_key];
        let behind = rest[n_key..].chars().next();
        match behind {
            Some('"') => return Some(self.fault(n_key)),
            Some('=') if key.is_empty() => return Some(self.fault(n_key)),
            Some('=') => {}
            _ => {
                self.at += n_key;
                return Some(Ok((key, Cow::Borrowed(""))));
            }
        }
        let value_at = n_key + 1;
        let value = &rest[value_at..];
        if value.starts_with('"') {
            return Some(self.quoted(key, value_at));
        }
        let n_value =
            value.find(|c: char| is_space(c) || c == '=' || c == '"').unwrap_or(value.len());
        match value[n_value..].chars().next() {
            Some('=' | '"') => Some(self.fault(value_at + n_value)),
            _ => {
                self.at += value_at + n_value;
                Some(Ok((key, Cow::Borrowed(&value[..n_value]))))
            }
        }
    }
}

impl<'a> Pairs<'a> {
    fn quoted(&mut self, key: &'a str, value_at: usize) -> Pair<'a> {
        let inside = &self.line[self.at + value_at + 1..];
        let bytes = inside.as_bytes();
        let mut end = 0;
        loop {
            match memchr::memchr2(b'"', b'\\', bytes.get(end..).unwrap_or_default()) {
                Some(found) if bytes[end + found] == b'"' => {
                    end += found;
                    break;
                }
                Some(found) => end += found + 2,
                None => {
                    let at = self.at + value_at;
                    self.at = self.line.len();
                    return Err(format!(
                        "logfmt syntax error at pos {at} : unterminated quoted value"
                    ));
                }
            }
        }
        self.at += value_at + 1 + end + 1;
        Ok((key, unescape(&inside[..end])))
    }

    /// Says what was not expected, and goes behind it.
    fn fault(&mut self, at: usize) -> Pair<'a> {
        let rest = &self.line[self.at..];
        let found = rest[at..].chars().next().unwrap_or(' ');
        let pos = self.at + at + 1;
        self.at += at + rest[at..].find(is_space).unwrap_or(rest.len() - at);
        Err(format!("logfmt syntax error at pos {pos} : unexpected '{found}'"))
    }
}

fn is_space(c: char) -> bool {
    c <= ' '
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, want: &[(&str, &str)]) {
        let found: Vec<_> = pairs(line).flatten().collect();
        let found: Vec<_> = found.iter().map(|(key, value)| (*key, &**value)).collect();
        assert_eq!(found, want, "{line}");
    }

    #[test]
    fn pairs_are_bare_or_quoted() {
        check(
            r#"a=1 b="x \"y\" z"  c d="#,
            &[("a", "1"), ("b", "x \"y\" z"), ("c", ""), ("d", "")],
        );
        check("", &[]);
        check("level=info msg=\"\"", &[("level", "info"), ("msg", "")]);
    }

    #[test]
    fn a_fault_costs_its_pair_and_no_more() {
        check(r#"a=1 =2 b"c d=x=y e=5"#, &[("a", "1"), ("e", "5")]);
        let errors: Vec<_> = pairs("a=1 b=x=y").filter_map(Result::err).collect();
        assert_eq!(errors, ["logfmt syntax error at pos 8 : unexpected '='"]);
        assert!(pairs("a=\"x").next().unwrap().is_err());
    }
}
