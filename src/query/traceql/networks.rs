//! `cidr(.client.address, "10.0.0.0/8", …)`: whether a value is an address in one of some networks.
//!
//! As in Tempo, an IPv4 address that is written as an IPv6 one (`::ffff:10.0.0.1`) is the IPv4 address,
//! and what is no address, one with a port say, is in no network.

use std::fmt;
use std::net::IpAddr;

use super::error::TraceqlError;
use super::value::{Value, quoted};

/// Networks, in the order they were written.
#[derive(Debug, Clone, Default)]
pub struct Networks(Vec<Network>);

#[derive(Debug, Clone)]
struct Network {
    text: String,
    address: IpAddr,
    /// How many leading bits its addresses have in common.
    n_bits: u32,
}

impl Networks {
    /// Adds a network, such as `10.0.0.0/8` or `fc00::/7`.
    pub(super) fn push(&mut self, text: &str) -> Result<(), TraceqlError> {
        let network = Network::of(text).ok_or_else(|| {
            let text = quoted(text);
            TraceqlError::Invalid(format!(
                "cidr() has an invalid prefix {text}: wanted an address and its bits, \"10.0.0.0/8\""
            ))
        })?;
        self.0.push(network);
        Ok(())
    }

    /// Returns true when a value is an address in one of the networks.
    pub(super) fn have(&self, value: &Value<'_>) -> bool {
        match value {
            Value::Text(text) => text.parse::<IpAddr>().is_ok_and(|address| {
                let address = address.to_canonical();
                self.0.iter().any(|network| network.has(address))
            }),
            Value::Each(list) => list.iter().any(|one| self.have(one)),
            _ => false,
        }
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(|network| quoted(&network.text)).collect();
        f.write_str(&texts.join(", "))
    }
}

impl Network {
    fn of(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let is_number = bits == "0" || bits.starts_with(|c: char| matches!(c, '1'..='9'));
        let n_bits = bits.parse::<u32>().ok().filter(|_| is_number)?;
        let n_bits_max = if address.is_ipv4() { 32 } else { 128 };
        (n_bits <= n_bits_max).then(|| Self { text: text.to_owned(), address, n_bits })
    }

    fn has(&self, address: IpAddr) -> bool {
        // All bits shifted out, as of a network of 0 bits, leave no difference.
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let differing = a.to_bits() ^ b.to_bits();
                differing.checked_shr(32 - self.n_bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let differing = a.to_bits() ^ b.to_bits();
                differing.checked_shr(128 - self.n_bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(networks: &[&str], address: &str, want: bool) {
        let mut all = Networks::default();
        networks.iter().for_each(|network| all.push(network).unwrap());
        assert_eq!(all.have(&Value::Text(address.into())), want, "{address} in {networks:?}");
    }

    #[test]
    fn an_address_is_in_a_network_with_its_leading_bits() {
        check(&["10.0.0.0/8"], "10.1.2.3", true);
        check(&["10.0.0.0/8"], "11.0.0.0", false);
        check(&["10.9.9.9/8"], "10.1.2.3", true);
        check(&["203.0.113.5/32"], "203.0.113.5", true);
        check(&["203.0.113.5/32"], "203.0.113.4", false);
        check(&["0.0.0.0/0"], "8.8.8.8", true);
        check(&["::/0"], "2001:db8::1", true);
        check(&["fc00::/7"], "fd12:3456::1", true);
        check(&["fc00::/7"], "2001:db8::1", false);
        check(&["::1/128"], "::1", true);
        check(&["fc00::/7", "10.0.0.0/8"], "10.9.9.9", true);
    }

    #[test]
    fn each_family_has_networks_of_its_own() {
        check(&["fc00::/7", "::/0"], "10.0.0.1", false);
        check(&["0.0.0.0/0"], "::1", false);
        check(&["10.0.0.0/8"], "::ffff:10.1.2.3", true);
    }

    #[test]
    fn what_is_no_address_is_in_no_network() {
        for text in ["", "localhost", "10.1.2.3:8080", "10.1.2", "010.1.2.3", " 10.1.2.3"] {
            check(&["0.0.0.0/0", "::/0"], text, false);
        }
    }

    #[test]
    fn what_is_no_network_is_named() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/+8", "10.0.0.0/08", "x/8"] {
            let error = Networks::default().push(text).unwrap_err().to_string();
            assert!(error.contains(&format!("invalid prefix {text:?}")), "{error}");
        }
    }
}
