//! The labels of a stream as Loki clients write them: `{app="fence", level="info"}`.
//!
//! Values are Go string literals: quoted with escapes, or raw between backticks. Only equality
//! makes sense here, and each name may stand once.

use crate::base::go_text::{BadEscape, push_char, unescape};

/// Why a text is not a label set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parse error at byte {byte_idx}: {message}")]
pub(super) struct LabelsError {
    byte_idx: usize,
    message: &'static str,
}

/// More labels than any limit allows; names are compared with all before them, so there is an end.
pub(super) const LABELS_MAX: usize = 1_024;

/// Reads the label set of a stream; pairs keep their order. Reading ends with one more pair than
/// `n_max`: that is enough to refuse the set, and each name is compared with all before it.
pub(super) fn parse(text: &str, n_max: usize) -> Result<Vec<(String, String)>, LabelsError> {
    let mut parser = Parser { text, idx: 0 };
    let mut pairs = Vec::new();
    parser.expect('{', "wanted `{`")?;
    while !parser.take('}') {
        if !pairs.is_empty() {
            parser.expect(',', "wanted `,` or `}`")?;
            // A comma may stand before the end, as in PromQL.
            if parser.take('}') {
                break;
            }
        }
        if pairs.len() == LABELS_MAX {
            return Err(parser.error("there are more than 1024 labels (limits.labels_per_series)"));
        }
        let name = parser.name()?;
        parser.expect('=', "wanted `=` after a label's name")?;
        let value = parser.value()?;
        if pairs.iter().any(|(earlier, _)| *earlier == name) {
            return Err(parser.error("a label stands twice"));
        }
        pairs.push((name, value));
        if pairs.len() > n_max {
            return Ok(pairs);
        }
    }
    parser.skip_space();
    if parser.idx < text.len() {
        return Err(parser.error("there is more text after `}`"));
    }
    Ok(pairs)
}

struct Parser<'a> {
    text: &'a str,
    idx: usize,
}

impl<'a> Parser<'a> {
    fn error(&self, message: &'static str) -> LabelsError {
        LabelsError { byte_idx: self.idx, message }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.idx..]
    }

    fn skip_space(&mut self) {
        self.idx = self.text.len() - self.rest().trim_start().len();
    }

    fn take(&mut self, wanted: char) -> bool {
        self.skip_space();
        let is_next = self.rest().starts_with(wanted);
        self.idx += if is_next { wanted.len_utf8() } else { 0 };
        is_next
    }

    fn expect(&mut self, wanted: char, message: &'static str) -> Result<(), LabelsError> {
        if self.take(wanted) { Ok(()) } else { Err(self.error(message)) }
    }

    fn next(&mut self) -> Result<char, LabelsError> {
        let next = self.rest().chars().next().ok_or_else(|| self.error("a value has no end"))?;
        self.idx += next.len_utf8();
        Ok(next)
    }

    fn name(&mut self) -> Result<String, LabelsError> {
        self.skip_space();
        if self.rest().starts_with('"') {
            return self.value();
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let n_bytes = self.rest().find(|c| !is_part(c)).unwrap_or(self.rest().len());
        let name = &self.rest()[..n_bytes];
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.error("wanted a label's name"));
        }
        self.idx += n_bytes;
        Ok(name.to_owned())
    }

    fn value(&mut self) -> Result<String, LabelsError> {
        if self.take('`') {
            let n_bytes = self.rest().find('`').ok_or_else(|| self.error("a value has no end"))?;
            let value = self.rest()[..n_bytes].to_owned();
            self.idx += n_bytes + 1;
            return Ok(value);
        }
        self.expect('"', "wanted a quoted value")?;
        let mut value = Vec::new();
        loop {
            match self.next()? {
                '"' => return Ok(String::from_utf8_lossy(&value).into_owned()),
                '\\' => self.escape(&mut value)?,
                '\n' => return Err(self.error("a value has no end on its line")),
                plain => push_char(&mut value, plain),
            }
        }
    }

    /// Undoes one escape of Go's string literals.
    fn escape(&mut self, value: &mut Vec<u8>) -> Result<(), LabelsError> {
        let mut rest = self.rest();
        let undone = unescape(&mut rest, value);
        self.idx = self.text.len() - rest.len();
        undone.map_err(|bad| {
            self.error(match bad {
                BadEscape::Ended => "a value has no end",
                BadEscape::Unknown => "unknown escape in a value",
                BadEscape::NotADigit => "wanted a digit in an escape",
                BadEscape::NotAByte => "an octal escape is past \\377",
                BadEscape::NotACharacter => "an escape is no character",
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &[(&str, &str)]) {
        let got = parse(text, 40).unwrap();
        let got: Vec<_> = got.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(got, want, "{text}");
    }

    #[track_caller]
    fn check_bad(text: &str, want: &str) {
        assert_eq!(parse(text, 40).unwrap_err().to_string(), want, "{text}");
    }

    #[test]
    fn label_sets_are_read() {
        check("{}", &[]);
        check(r#"{app="fence"}"#, &[("app", "fence")]);
        check(r#" { a = "1" , b="2", } "#, &[("a", "1"), ("b", "2")]);
        check(r#"{a="q\"\\\n\t\x41\101\u00e9\U0001F600"}"#, &[("a", "q\"\\\n\tAAé😀")]);
        check(r"{a=`raw\n`}", &[("a", r"raw\n")]);
        check(r#"{"service.name"="x"}"#, &[("service.name", "x")]);
        check(r#"{a="}, b=\"c"}"#, &[("a", "}, b=\"c")]);
    }

    #[test]
    fn what_is_no_label_set_is_refused() {
        check_bad("", "parse error at byte 0: wanted `{`");
        check_bad("{", "parse error at byte 1: wanted a label's name");
        check_bad("{a}", "parse error at byte 2: wanted `=` after a label's name");
        check_bad("{a=1}", "parse error at byte 3: wanted a quoted value");
        check_bad(r#"{a=~"1"}"#, "parse error at byte 3: wanted a quoted value");
        check_bad(r#"{a="1"#, "parse error at byte 5: a value has no end");
        check_bad(r#"{a="1" b="2"}"#, "parse error at byte 7: wanted `,` or `}`");
        check_bad(r#"{a="1",a="2"}"#, "parse error at byte 12: a label stands twice");
        check_bad(r#"{a="1"}x"#, "parse error at byte 7: there is more text after `}`");
        check_bad(r#"{1a="1"}"#, "parse error at byte 1: wanted a label's name");
        check_bad(r#"{a="\q"}"#, "parse error at byte 6: unknown escape in a value");
        check_bad(r#"{a="\ud800"}"#, "parse error at byte 10: an escape is no character");
        check_bad(r#"{a="\777"}"#, "parse error at byte 8: an octal escape is past \\377");
    }

    #[test]
    fn labels_without_end_are_not_compared_without_end() {
        let labels: Vec<String> = (0..=LABELS_MAX).map(|n| format!("l{n}=\"v\"")).collect();

        let error =
            parse(&format!("{{{}}}", labels.join(",")), usize::MAX).unwrap_err().to_string();

        assert!(error.contains("limits.labels_per_series"), "{error}");
        assert_eq!(
            parse(&format!("{{{}}}", labels[1..].join(",")), usize::MAX).unwrap().len(),
            LABELS_MAX
        );
    }

    #[test]
    fn no_cut_makes_the_parser_panic() {
        let text = r#"{a="q\"\\\n\x41\101\u00e9é", b=`c`, "d"="e",}"#;
        for (end, _) in text.char_indices() {
            assert!(parse(&text[..end], 40).is_err(), "{}", &text[..end]);
        }
        assert!(parse(text, 40).is_ok());
    }
}
