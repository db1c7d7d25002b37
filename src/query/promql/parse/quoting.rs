//! String literals: Go's escapes to text, and text to a quoted literal.
//!
//! Escapes are bytes (`\\xc3\\xa9` is one letter), and what is written is always read back.

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
            '\\' => rest = unescape(rest, quote, &mut bytes)?,
            '\n' => return None,
            c if c == quote => return None,
            c => push_char(&mut bytes, c),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Reads the rest of an escape after its backslash; returns the text after it.
fn unescape<'t>(text: &'t str, quote: char, bytes: &mut Vec<u8>) -> Option<&'t str> {
    let c = text.chars().next()?;
    let rest = &text[c.len_utf8()..];
    let byte = match c {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '\'' | '"' if c == quote => u8::try_from(c).ok()?,
        'x' => {
            bytes.push(u8::try_from(digits(rest, 2, 16)?).ok()?);
            return rest.get(2..);
        }
        'u' | 'U' => {
            let n_digits = if c == 'u' { 4 } else { 8 };
            push_char(bytes, char::from_u32(digits(rest, n_digits, 16)?)?);
            return rest.get(n_digits..);
        }
        '0'..='7' => {
            bytes.push(u8::try_from(digits(text, 3, 8)?).ok()?);
            return text.get(3..);
        }
        _ => return None,
    };
    bytes.push(byte);
    Some(rest)
}

fn digits(text: &str, n: usize, radix: u32) -> Option<u32> {
    let digits =
        text.get(..n).filter(|digits| digits.bytes().all(|b| b.is_ascii_alphanumeric()))?;
    u32::from_str_radix(digits, radix).ok()
}

fn push_char(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
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
