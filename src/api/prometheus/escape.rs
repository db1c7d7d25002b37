//! Names in a path: a label whose name has other characters than `[a-zA-Z0-9_]` comes as `U__…`
//! (prometheus/common, `model.ValueEncodingEscaping`): `__` is `_`, `_1F600_` the character of that
//! number.

/// Returns the name that was meant; what is not well-formed is taken as it is.
pub(in crate::api) fn unescape(name: &str) -> String {
    name.strip_prefix("U__").and_then(decode).unwrap_or_else(|| name.to_owned())
}

fn decode(escaped: &str) -> Option<String> {
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(idx) = rest.find('_') {
        out.push_str(&rest[..idx]);
        rest = &rest[idx + 1..];
        let end = rest.find('_')?;
        let code = &rest[..end];
        rest = &rest[end + 1..];
        out.push(if code.is_empty() { '_' } else { character(code)? });
    }
    out.push_str(rest);
    Some(out)
}

fn character(code: &str) -> Option<char> {
    // Rust would read a sign.
    let is_hex = code.len() <= 6 && code.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u32::from_str_radix(code, 16).ok()).flatten().and_then(char::from_u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unescaped() {
        for (escaped, want) in [
            ("job", "job"),
            ("U__http_2e_status", "http.status"),
            ("U__http_2E_status", "http.status"),
            ("U__a__b", "a_b"),
            ("U___1F600_", "😀"),
            ("U__", ""),
            ("U__a_2e", "U__a_2e"),
            ("U__a_zz_", "U__a_zz_"),
            ("U__a_D800_", "U__a_D800_"),
            ("U__a_+2e_", "U__a_+2e_"),
            ("U__a_00000002e_", "U__a_00000002e_"),
            ("__name__", "__name__"),
        ] {
            assert_eq!(unescape(escaped), want, "{escaped}");
        }
    }
}
