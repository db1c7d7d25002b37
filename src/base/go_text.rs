//! Texts between double quotes as Go writes them, and so PromQL, LogQL, TraceQL, Go's templates and
//! the labels of Loki's and Alertmanager's clients.
//!
//! What digits say is a byte, and `\xc3\xa9` one letter: a literal is bytes until it has ended.

/// Why what stands behind a backslash is none of Go's escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadEscape {
    /// The text ends in it.
    Ended,
    /// No escape begins with this letter.
    Unknown,
    /// A digit is missing.
    NotADigit,
    /// The octal number is past `\377`.
    NotAByte,
    /// No character has this number.
    NotACharacter,
}

/// Why a text between quotes is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadLiteral {
    /// Its line ends before it does.
    Open,
    /// An escape in it is none.
    Escape(BadEscape),
}

/// Reads a text whose opening quote stands before `text`; returns what it says, which need not be UTF-8, and
/// what comes after the closing one.
pub(crate) fn literal(text: &str) -> Result<(Vec<u8>, &str), BadLiteral> {
    let (mut rest, mut bytes) = (text, Vec::new());
    loop {
        match next(&mut rest).map_err(|_| BadLiteral::Open)? {
            '"' => return Ok((bytes, rest)),
            '\n' => return Err(BadLiteral::Open),
            '\\' => unescape(&mut rest, &mut bytes).map_err(BadLiteral::Escape)?,
            letter => push_char(&mut bytes, letter),
        }
    }
}

/// Undoes an escape whose backslash stands before `rest`: appends what it means, and leaves in
/// `rest` what was not read, which of a bad one is what follows the place where it went wrong.
pub(crate) fn unescape(rest: &mut &str, bytes: &mut Vec<u8>) -> Result<(), BadEscape> {
    let text = *rest;
    match next(rest)? {
        itself @ ('\\' | '\'' | '"') => push_char(bytes, itself),
        'x' => push_byte(bytes, number(rest, 2, 16)?)?,
        'u' => push_code(bytes, number(rest, 4, 16)?)?,
        'U' => push_code(bytes, number(rest, 8, 16)?)?,
        '0'..='7' => {
            *rest = text;
            push_byte(bytes, number(rest, 3, 8)?)?;
        }
        letter => push_char(bytes, control(letter).ok_or(BadEscape::Unknown)?),
    }
    Ok(())
}

/// Returns the control character that a backslash and this letter stand for.
fn control(letter: char) -> Option<char> {
    Some(match letter {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        _ => return None,
    })
}

/// Appends a letter.
pub(crate) fn push_char(bytes: &mut Vec<u8>, letter: char) {
    bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Returns a text as a literal that escapes only what it must: the backslash, the quote and the end
/// of a line. Prometheus' text format knows no other escapes.
pub(crate) fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

fn push_byte(bytes: &mut Vec<u8>, number: u32) -> Result<(), BadEscape> {
    bytes.push(u8::try_from(number).map_err(|_| BadEscape::NotAByte)?);
    Ok(())
}

fn push_code(bytes: &mut Vec<u8>, number: u32) -> Result<(), BadEscape> {
    push_char(bytes, char::from_u32(number).ok_or(BadEscape::NotACharacter)?);
    Ok(())
}

/// Reads so many digits; eight of them are the most that a `u32` takes.
fn number(rest: &mut &str, n_digits: usize, radix: u32) -> Result<u32, BadEscape> {
    let mut number = 0;
    for _ in 0..n_digits {
        let digit = next(rest)?.to_digit(radix).ok_or(BadEscape::NotADigit)?;
        number = number * radix + digit;
    }
    Ok(number)
}

fn next(rest: &mut &str) -> Result<char, BadEscape> {
    let next = rest.chars().next().ok_or(BadEscape::Ended)?;
    *rest = &rest[next.len_utf8()..];
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &[u8], want_rest: &str) {
        let (mut rest, mut bytes) = (text, Vec::new());
        assert_eq!(unescape(&mut rest, &mut bytes), Ok(()), "{text}");
        assert_eq!((bytes.as_slice(), rest), (want, want_rest), "{text}");
    }

    #[track_caller]
    fn check_bad(text: &str, want: BadEscape, want_rest: &str) {
        let mut rest = text;
        assert_eq!(unescape(&mut rest, &mut Vec::new()), Err(want), "{text}");
        assert_eq!(rest, want_rest, "{text}");
    }

    #[test]
    fn escapes_are_those_of_go() {
        check("n.", b"\n", ".");
        check("\"", b"\"", "");
        check("xc3\\", b"\xc3", "\\");
        check("377x", b"\xff", "x");
        check("u00e9!", "é".as_bytes(), "!");
        check("U0001f600", "😀".as_bytes(), "");
    }

    #[test]
    fn what_is_none_of_them_is_refused_where_it_goes_wrong() {
        check_bad("", BadEscape::Ended, "");
        check_bad("xf", BadEscape::Ended, "");
        check_bad("q.", BadEscape::Unknown, ".");
        check_bad("é.", BadEscape::Unknown, ".");
        check_bad("x+1.", BadEscape::NotADigit, "1.");
        check_bad("08.", BadEscape::NotADigit, ".");
        check_bad("400.", BadEscape::NotAByte, ".");
        check_bad("ud800.", BadEscape::NotACharacter, ".");
        check_bad("U00110000.", BadEscape::NotACharacter, ".");
        check_bad("Uffffffff.", BadEscape::NotACharacter, ".");
    }

    #[test]
    fn a_text_ends_with_its_quote() {
        assert_eq!(literal(r#"a\"\xc3\251" b"#), Ok(("a\"é".as_bytes().to_vec(), " b")));
        assert_eq!(literal(r#"\xff""#), Ok((vec![0xff], "")));
        for open in ["", "a", "a\n\"", r#"a\""#] {
            assert_eq!(literal(open), Err(BadLiteral::Open), "{open}");
        }
        assert_eq!(literal(r#"\q""#), Err(BadLiteral::Escape(BadEscape::Unknown)));
        assert_eq!(literal(r"\x4"), Err(BadLiteral::Escape(BadEscape::Ended)));
    }

    #[test]
    fn as_little_as_can_be_is_escaped() {
        assert_eq!(quoted("a\\d \"b\"\n\té"), "\"a\\\\d \\\"b\\\"\\n\té\"");
    }
}
