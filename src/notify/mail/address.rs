//! Lists of addresses: `On call <oncall@heart.example>, b@c.example`.

/// An address, and the name that stands before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::notify) struct Mailbox {
    /// Empty when there is none.
    pub(super) name: String,
    /// `local@domain`.
    pub(super) address: String,
}

/// The most addresses of one list.
const ADDRESSES_MAX: usize = 100;
/// The longest address that a relay must take (RFC 5321 4.5.3.1.3).
const ADDRESS_BYTES_MAX: usize = 254;

/// Reads a list of addresses.
pub(in crate::notify) fn addresses(text: &str) -> Result<Vec<Mailbox>, String> {
    let mut found = Vec::new();
    for part in parts(text)? {
        if found.len() == ADDRESSES_MAX {
            return Err(format!("more than {ADDRESSES_MAX} addresses"));
        }
        found.push(mailbox(part.trim())?);
    }
    if found.is_empty() { Err("no address".to_owned()) } else { Ok(found) }
}

/// Splits at the commas that are not in quotes.
fn parts(text: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut start, mut is_quoted) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if is_quoted {
        return Err("a quote is not closed".to_owned());
    }
    parts.push(&text[start..]);
    Ok(parts.into_iter().filter(|part| !part.trim().is_empty()).collect())
}

fn mailbox(text: &str) -> Result<Mailbox, String> {
    let (name, address) = match text.strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
        Some((name, address)) => (name.trim().trim_matches('"').trim(), address),
        None => ("", text),
    };
    // What ends a line or an address ends up in a command to the relay: nothing of it may pass.
    let is_plain = |c: char| c.is_ascii_graphic() && !"<>()[],;:\\\"".contains(c);
    let parted = address.rsplit_once('@');
    let is_whole = parted.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    if !is_whole || !address.chars().all(is_plain) || address.len() > ADDRESS_BYTES_MAX {
        return Err(format!("`{}` is not an address such as a@b.example", address.escape_debug()));
    }
    if name.chars().any(char::is_control) {
        return Err("a name has control characters".to_owned());
    }
    Ok(Mailbox { name: name.to_owned(), address: address.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &[(&str, &str)]) {
        let found = addresses(text).unwrap();
        let found: Vec<(&str, &str)> =
            found.iter().map(|one| (one.name.as_str(), one.address.as_str())).collect();
        assert_eq!(found, want, "{text}");
    }

    #[test]
    fn lists_of_addresses_are_read() {
        check("a@b.example", &[("", "a@b.example")]);
        check(" A B <a@b>, c@d ,", &[("A B", "a@b"), ("", "c@d")]);
        check("\"B, A\" <a@b>", &[("B, A", "a@b")]);
    }

    #[test]
    fn what_could_become_another_command_is_no_address() {
        let long = format!("{}@b", "a".repeat(300));
        for text in ["", "a", "@b", "a@", "a@b>\r\nRCPT TO:<c@d", "a b@c", "a@b\nx", "\"a@b", &long]
        {
            assert!(addresses(text).is_err(), "{text}");
        }
    }
}
