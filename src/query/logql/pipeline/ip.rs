//! `ip("…")`: an address, a range of addresses or a network, in a label or anywhere in a line.

use std::net::{IpAddr, Ipv4Addr};

/// Which addresses are meant; both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IpPattern {
    first: u128,
    last: u128,
    is_v4: bool,
}

impl IpPattern {
    /// Reads `192.168.4.5`, `192.168.4.5-192.168.4.20`, `192.168.4.0/24`, or the same of IPv6.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("ip: invalid pattern {text:?}");
        let address = |text: &str| text.trim().parse::<IpAddr>().map_err(|_| wrong());
        if let Some((address_text, bits)) = text.split_once('/') {
            let (number, is_v4) = number_of(address(address_text)?);
            let width = if is_v4 { 32 } else { 128 };
            let bits: u32 = bits.trim().parse().map_err(|_| wrong())?;
            let n_free = u32::checked_sub(width, bits).ok_or_else(wrong)?;
            let free = u128::MAX.checked_shr(128 - n_free).unwrap_or(0);
            return Ok(Self { first: number & !free, last: number | free, is_v4 });
        }
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (address(first)?, address(last)?),
            None => (address(text)?, address(text)?),
        };
        let ((first, is_v4), (last, also_v4)) = (number_of(first), number_of(last));
        if is_v4 != also_v4 || last < first {
            return Err(wrong());
        }
        Ok(Self { first, last, is_v4 })
    }

    fn contains(&self, address: IpAddr) -> bool {
        let (number, is_v4) = number_of(address);
        is_v4 == self.is_v4 && (self.first..=self.last).contains(&number)
    }

    /// Returns true when one of the addresses stands somewhere in the line.
    pub(super) fn is_in(&self, line: &str) -> bool {
        let is_part = |c: char| c.is_ascii_hexdigit() || c == '.' || c == ':';
        let runs = line.split(|c| !is_part(c));
        runs.filter(|run| run.len() >= 2).any(|run| self.is_in_run(run.trim_end_matches('.')))
    }

    /// The same of letters that an address may have.
    fn is_in_run(&self, run: &str) -> bool {
        // A port or a colon may stand behind an address.
        let address = run.parse().ok().or_else(|| {
            let (address, _) = run.rsplit_once(':')?;
            address.parse::<IpAddr>().ok()
        });
        if let Some(address) = address {
            return self.contains(address);
        }
        // A word before one of IPv4 may end with such letters: `client:10.0.0.7:443`, `id10.0.0.7`.
        let is_part = |c: char| c.is_ascii_digit() || c == '.';
        let parts = run.split(|c| !is_part(c)).map(|part| part.trim_end_matches('.'));
        let addresses = parts.filter_map(|part| part.parse::<Ipv4Addr>().ok());
        addresses.map(IpAddr::V4).any(|address| self.contains(address))
    }
}

fn number_of(address: IpAddr) -> (u128, bool) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), true),
        IpAddr::V6(address) => (address.to_bits(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_ranges_and_networks() {
        for (pattern, text, want) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.0/8", "10.255.0.9", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("10.0.0.5-10.0.0.9", "10.0.0.7", true),
            ("2001:db8::/32", "2001:db8::1", true),
            ("::/0", "1.2.3.4", false),
            ("10.0.0.1", "localhost", false),
        ] {
            let pattern = IpPattern::parse(pattern).unwrap();
            assert_eq!(pattern.is_in(text), want, "{pattern:?} {text}");
        }
        for pattern in ["", "x", "10.0.0.0/33", "10.0.0.9-10.0.0.1", "10.0.0.1-::1"] {
            assert!(IpPattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn an_address_is_found_in_a_line() {
        let pattern = IpPattern::parse("10.0.0.0/24").unwrap();
        assert!(pattern.is_in("from 10.0.0.7:443 to 1.1.1.1"));
        assert!(pattern.is_in("ip=10.0.0.7."));
        assert!(pattern.is_in("client:10.0.0.7"));
        assert!(pattern.is_in("remote:10.0.0.7:443, refused"));
        assert!(pattern.is_in("bad:10.0.0.7.") && pattern.is_in("id10.0.0.7"));
        assert!(!pattern.is_in("client:10.0.1.7 at::ffff:10.0.0.7"), "one of IPv6");
        assert!(!pattern.is_in("version 10.0.0 and 110.0.0.7"));
    }
}
