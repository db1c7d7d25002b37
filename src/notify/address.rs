//! Which addresses a webhook may go to.
//!
//! A webhook's host is resolved and *every* address it has is judged; one that is not allowed refuses
//! the host, since an attacker who controls a name may mix good and bad. Addresses in disguise (v4 in
//! v6, NAT64, 6to4) are judged by what they carry.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::allowed::AllowedTarget;

/// Says where notifications may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressPolicy {
    /// Whether loopback, private and link-local addresses are allowed.
    pub allow_private: bool,
    /// The hosts and networks that are; none: every one.
    pub targets: Arc<[AllowedTarget]>,
}

/// Why an address is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Where clouds hand out credentials; never allowed.
    #[error("is a cloud's metadata service, which is never allowed")]
    Metadata,
    /// Not on the public internet.
    #[error("is loopback, private or reserved (alerting.allow_private_targets = true allows it)")]
    Private,
    /// Not among those that are listed.
    #[error("is not allowed: neither the host nor the address is listed in alerting.targets")]
    Unlisted,
}

impl AddressPolicy {
    /// Judges one address of a host.
    pub fn check(&self, host: &str, address: IpAddr) -> Result<(), Refusal> {
        let address = unmasked(address);
        if is_metadata(address) {
            return Err(Refusal::Metadata);
        }
        if self.targets.iter().any(|entry| entry.holds(address)) {
            return Ok(());
        }
        if !self.targets.is_empty() && !self.targets.iter().any(|entry| entry.names(host)) {
            return Err(Refusal::Unlisted);
        }
        if self.allow_private || is_public(address) { Ok(()) } else { Err(Refusal::Private) }
    }

    /// Returns whether a host may turn out to be allowed, as far as its name tells.
    pub fn may_allow(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse() {
            return self.targets.is_empty() || self.check(host, address) != Err(Refusal::Unlisted);
        }
        // A name may resolve into a network that is listed.
        let may = |entry: &AllowedTarget| {
            entry.names(host) || matches!(entry, AllowedTarget::Network { .. })
        };
        self.targets.is_empty() || self.targets.iter().any(may)
    }
}

/// Returns the v4 address that a v6 address carries, or the address itself.
fn unmasked(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let parts = v6.segments();
    let v4 = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        // ::1 and :: are v6's own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address,
        // v4-mapped, v4-compatible and v4-translated.
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] => v4(high, low),
        [0, 0, 0, 0, 0xffff, 0, high, low] => v4(high, low),
        // NAT64 (RFC 6052) and 6to4 (RFC 3056).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        _ => address,
    }
}

/// The addresses at which clouds give instances and containers their credentials.
fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => matches!(
            v4.octets(),
            [169, 254, 169, 253 | 254] | [169, 254, 170, 2 | 23] | [100, 100, 100, 200]
        ),
        IpAddr::V6(v6) => {
            matches!(v6.segments(), [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23 | 0x253 | 0x254])
        }
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

/// IANA's special-purpose registry for v4, all that is not globally reachable.
fn is_public_v4(v4: Ipv4Addr) -> bool {
    !matches!(
        v4.octets(),
        [0 | 10 | 127, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
            | [224..=255, ..]
    )
}

/// Only global unicast, 2000::/3, and of that not what is special.
fn is_public_v6(v6: Ipv6Addr) -> bool {
    let parts = v6.segments();
    (0x2000..0x4000).contains(&parts[0])
        && !matches!(parts, [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, public: Result<(), Refusal>, private: Result<(), Refusal>) {
        let address: IpAddr = address.parse().unwrap();
        let policy = |allow_private| AddressPolicy { allow_private, targets: Arc::default() };
        assert_eq!(policy(false).check("h", address), public, "{address}");
        assert_eq!(policy(true).check("h", address), private, "{address}");
    }

    #[track_caller]
    fn check_listed(host: &str, address: &str, want: Result<(), Refusal>) {
        let entries = ["hooks.example", "*.chat.example", "10.20.0.0/16", "169.254.0.0/16"];
        let targets = entries.map(|entry| AllowedTarget::parse(entry).unwrap());
        let policy = AddressPolicy { allow_private: false, targets: Arc::new(targets) };
        assert_eq!(policy.check(host, address.parse().unwrap()), want, "{host} {address}");
    }

    #[test]
    fn with_a_list_nothing_else_is_allowed() {
        check_listed("hooks.example", "1.1.1.1", Ok(()));
        check_listed("a.chat.example", "1.1.1.1", Ok(()));
        check_listed("evil.example", "1.1.1.1", Err(Refusal::Unlisted));
        check_listed("1.1.1.1", "1.1.1.1", Err(Refusal::Unlisted));
    }

    #[test]
    fn a_listed_name_does_not_lead_inside_and_a_listed_network_does() {
        check_listed("hooks.example", "10.1.1.1", Err(Refusal::Private));
        check_listed("hooks.example", "127.0.0.1", Err(Refusal::Private));
        check_listed("relay.heart.internal", "10.20.1.1", Ok(()));
        check_listed("relay.heart.internal", "::ffff:10.20.1.1", Ok(()));
        check_listed("hooks.example", "169.254.169.254", Err(Refusal::Metadata));
    }

    #[test]
    fn public_addresses_are_allowed() {
        for address in ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111"]
        {
            check(address, Ok(()), Ok(()));
        }
    }

    #[test]
    fn what_is_not_public_needs_permission() {
        for address in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.1.1",
            "100.64.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
        ] {
            check(address, Err(Refusal::Private), Ok(()));
        }
    }

    #[test]
    fn disguises_are_seen_through() {
        for address in [
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:0a00:0001::1",
            "2002:7f00:0001::",
        ] {
            check(address, Err(Refusal::Private), Ok(()));
        }
        check("::ffff:1.1.1.1", Ok(()), Ok(()));
        check("::ffff:169.254.169.254", Err(Refusal::Metadata), Err(Refusal::Metadata));
    }

    #[test]
    fn metadata_services_are_never_allowed() {
        for address in
            ["169.254.169.254", "169.254.170.2", "100.100.100.200", "fd00:ec2::254", "fd00:ec2::23"]
        {
            check(address, Err(Refusal::Metadata), Err(Refusal::Metadata));
        }
    }
}
