//! Go's escapes, by which PromQL, LogQL and TraceQL quote texts.
//!
//! What digits say is a byte, and `\xc3\xa9` one letter: a literal is bytes until it has ended.

/// Undoes an escape whose backslash stands before `text`: appends what it means, and returns what
/// follows it; `None` when it is none of Go's.
pub(in crate::query) fn unescape<'t>(text: &'t str, bytes: &mut Vec<u8>) -> Option<&'t str> {
    let letter = text.chars().next()?;
    let rest = &text[letter.len_utf8()..];
    let byte = match letter {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' | '\'' | '"' => u8::try_from(letter).ok()?,
        'x' => {
            bytes.push(u8::try_from(digits(rest, 2, 16)?).ok()?);
            return rest.get(2..);
        }
        'u' | 'U' => {
            let n_digits = if letter == 'u' { 4 } else { 8 };
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

/// Appends a letter.
pub(in crate::query) fn push_char(bytes: &mut Vec<u8>, letter: char) {
    bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
}

fn digits(text: &str, n: usize, radix: u32) -> Option<u32> {
    let digits =
        text.get(..n).filter(|digits| digits.bytes().all(|b| b.is_ascii_alphanumeric()))?;
    u32::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &[u8], want_rest: &str) {
        let mut bytes = Vec::new();
        assert_eq!(unescape(text, &mut bytes), Some(want_rest), "{text}");
        assert_eq!(bytes, want, "{text}");
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
    fn what_is_none_of_them_is_refused() {
        for text in ["", "q", "é", "x+1", "xf", "400", "08", "ud800", "U00110000"] {
            assert_eq!(unescape(text, &mut Vec::new()), None, "{text}");
        }
    }
}
