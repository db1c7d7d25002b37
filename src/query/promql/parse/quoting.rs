//! String literals: Go's escapes to text, and text to a quoted literal.
//!
//! Escapes are bytes (`\\xc3\\xa9` is one letter), and what is written is always read back.

use crate::base::go_text::{push_char, unescape};

/// Returns the text of a literal, quotes included in `literal`; `None` when it is not one.
pub(in super::super) fn unquote(literal: &str) -> Option<String> {
    let quote = literal.chars().next()?;
    let inside = literal.get(1..literal.len().checked_sub(1)?)?;
    if !literal.ends_with(quote) || !['"', '\'', '`'].contains(&quote) {
        return None;
    }
    if quote == '`' {
        return (!inside.contains('`')).then(|| inside.to_owned());
    }
    // Bytes, because `\xc3\xa9` is one letter.
    let mut bytes = Vec::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            // Of the quotes only its own may be escaped.
            '\\' if rest.starts_with(['\'', '"']) && !rest.starts_with(quote) => return None,
            '\\' => unescape(&mut rest, &mut bytes).ok()?,
            '\n' => return None,
            c if c == quote => return None,
            c => push_char(&mut bytes, c),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Writes a text as a double-quoted literal that can be read back.
pub(in super::super) fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Returns a text as a double-quoted literal.
pub(in super::super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_quoted(&mut out, text);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(literal: &str, want: Option<&str>) {
        assert_eq!(unquote(literal).as_deref(), want, "{literal}");
    }

    #[test]
    fn literals_are_read_as_go_reads_them() {
        check(r#""plain""#, Some("plain"));
        check("'it'", Some("it"));
        check(r#""a\"b\\c\n""#, Some("a\"b\\c\n"));
        check(r#""\x41\101\u00e9\U0001F600""#, Some("AAé😀"));
        check(r#""\xc3\xa9""#, Some("é"));
        check(r"`raw \d`", Some(r"raw \d"));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["", "a\"b", "\\d+", "line\nline\r\t", "\u{1}\u{7f}", "é😀"] {
            check(&quoted(text), Some(text));
        }
    }

    #[test]
    fn what_is_no_literal_is_refused() {
        for literal in [
            "",
            "\"",
            "\"a'",
            r#""\'""#,
            r#""\d""#,
            "\"\\ங\"",
            r#""\x4""#,
            r#""\xff""#,
            r#""\u+041""#,
        ] {
            check(literal, None);
        }
    }
}
