//! Where notifications may go, as people write it: hosts, and networks.
//!
//! A host is listed by its name; its addresses still have to be public. An address or a network is listed
//! as such, and may be private: whoever lists it means it.

use std::net::IpAddr;

/// An entry of `alerting.targets`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AllowedTarget {
    /// A host, `hooks.example`.
    Host(String),
    /// Every host below a name, `*.hooks.example`; kept is what stands behind the `*`.
    Below(String),
    /// An address, `10.1.2.3`, or a network, `10.1.0.0/16`.
    Network {
        /// Its address.
        address: IpAddr,
        /// How many bits of it count.
        bits: u8,
    },
}

/// A text that is no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is neither a host such as hooks.example or *.hooks.example nor an address or a network such as \
     10.1.2.3 or 10.1.0.0/16"
)]
pub struct AllowedTargetError(String);

impl AllowedTarget {
    /// Reads an entry.
    pub fn parse(text: &str) -> Result<Self, AllowedTargetError> {
        let wrong = || AllowedTargetError(text.to_owned());
        let (place, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        if let Ok(address) = place.parse::<IpAddr>() {
            let bits_max = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Ok(bits_max), str::parse).map_err(|_| wrong())?;
            return if bits <= bits_max {
                Ok(Self::Network { address, bits })
            } else {
                Err(wrong())
            };
        }
        let name = text.trim_end_matches('.').to_ascii_lowercase();
        let (is_below, bare) = match name.strip_prefix("*.") {
            Some(bare) => (true, bare),
            None => (false, name.as_str()),
        };
        let is_label = |label: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            !label.is_empty() && label.chars().all(fits)
        };
        match bare.split('.').all(is_label) {
            true if is_below => Ok(Self::Below(format!(".{bare}"))),
            true => Ok(Self::Host(bare.to_owned())),
            false => Err(wrong()),
        }
    }

    /// Returns whether a host is allowed by its name.
    pub(super) fn names(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        match self {
            Self::Host(name) => host == *name,
            Self::Below(end) => host.ends_with(end) && host.len() > end.len(),
            Self::Network { .. } => false,
        }
    }

    /// Returns whether an address is one of the network.
    pub(super) fn holds(&self, address: IpAddr) -> bool {
        let Self::Network { address: own, bits } = self else { return false };
        let of = |address: IpAddr| match address {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, true),
            IpAddr::V6(v6) => (v6.to_bits(), false),
        };
        let ((own, own_is_v4), (other, is_v4)) = (of(*own), of(address));
        let mask = u128::MAX.checked_shl(128 - u32::from(*bits)).unwrap_or(0);
        own_is_v4 == is_v4 && own & mask == other & mask
    }
}

impl TryFrom<String> for AllowedTarget {
    type Error = AllowedTargetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<AllowedTarget> for String {
    fn from(target: AllowedTarget) -> Self {
        match target {
            AllowedTarget::Host(name) => name,
            AllowedTarget::Below(end) => format!("*{end}"),
            AllowedTarget::Network { address, bits } => format!("{address}/{bits}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(entry: &str, host: &str, want: bool) {
        let entry = AllowedTarget::parse(entry).unwrap();
        let is_held = host.parse().is_ok_and(|address| entry.holds(address));
        assert_eq!(entry.names(host) || is_held, want, "{entry:?} {host}");
        assert_eq!(AllowedTarget::parse(&String::from(entry.clone())), Ok(entry));
    }

    #[test]
    fn hosts_are_listed_by_name() {
        check("hooks.example", "hooks.example", true);
        check("Hooks.Example.", "HOOKS.example", true);
        check("hooks.example", "a.hooks.example", false);
        check("hooks.example", "evilhooks.example", false);
        check("*.hooks.example", "a.b.hooks.example", true);
        check("*.hooks.example", "hooks.example", false);
        check("*.hooks.example", "evilhooks.example", false);
    }

    #[test]
    fn addresses_are_listed_by_network() {
        check("10.1.2.3", "10.1.2.3", true);
        check("10.1.2.3", "10.1.2.4", false);
        check("10.1.0.0/16", "10.1.255.255", true);
        check("10.1.0.0/16", "10.2.0.0", false);
        check("0.0.0.0/0", "8.8.8.8", true);
        check("0.0.0.0/0", "::1", false);
        check("fd00::/8", "fd12::1", true);
        check("fd00::/8", "fe00::1", false);
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in ["", "*", "*.", "a..b", "http://a", "a b", "10.0.0.0/33", "10.0.0.0/x", "a/8"] {
            assert!(AllowedTarget::parse(text).is_err(), "{text}");
        }
    }
}
