//! Which addresses a client connects to, whatever a registry says: what stands in one is untrusted.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use ipnet::IpNet;
use micro_registry::Address;

/// The range that means another host on each.
const LOOPBACK: &str = "loopback";
/// Ranges that have a name.
const NAMED: [(&str, &[&str]); 6] = [
    (LOOPBACK, &["127.0.0.0/8", "::1/128"]),
    (
        "private",
        &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
    ),
    ("link-local", &["169.254.0.0/16", "fe80::/10"]),
    ("multicast", &["224.0.0.0/4", "ff00::/8"]),
    ("unspecified", &["0.0.0.0/8", "::/128", "255.255.255.255/32"]),
    // Where clouds hand out credentials to whoever asks from the host: those outside link-local.
    (
        "metadata",
        &["fd00:ec2::254/128", "fd20:ce::254/128", "100.100.100.200/32"],
    ),
];
/// What nobody calls who has not said so: no node of a service is there, and what is there gives secrets away.
const DENIED: [&str; 4] = ["link-local", "multicast", "unspecified", "metadata"];
/// The prefix of addresses that a translator turns into the IPv4 address at their end (RFC 6052).
const TRANSLATED: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

/// Which addresses may be connected to. Of two ranges that hold an address the narrower decides, and at a tie denial.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach {
    /// When there is any, nothing else is called.
    pub(crate) allow: Vec<Range>,
    /// Besides [`DENIED`].
    pub(crate) deny: Vec<Range>,
    /// Where the registry itself is: never called.
    pub(crate) registry: Vec<Address>,
    /// Whether all loopback addresses in the registry are this host's, whatever the registry tells.
    pub(crate) own_loopback: bool,
}

/// Addresses as configuration names them: `10.0.0.0/8`, `10.0.0.1`, or the name of a range.
#[derive(Clone)]
pub(crate) struct Range {
    text: Box<str>,
    nets: Box<[IpNet]>,
}

impl Reach {
    /// Refuses an address that must not be called, with the reason.
    pub(super) fn check(&self, ip: IpAddr) -> Result<(), String> {
        let ip = ip.to_canonical();
        let allowed = narrowest(&self.allow, ip);
        if !self.allow.is_empty() && allowed.is_none() {
            return Err(format!("{ip} is not in `client.allow`"));
        }
        let allowed = allowed.map(|(_, length)| length);
        refuse_denied(narrowest(&self.deny, ip), allowed, ip, "which `client.deny` has")?;
        let standing: Vec<_> = DENIED.iter().map(|name| known(name)).collect();
        let standing_reason = "which is not called unless `client.allow` has a narrower range";
        refuse_denied(narrowest(&standing, ip), allowed, ip, standing_reason)?;
        // What stands in another address is reached by it: it must not be denied either.
        match embedded(ip) {
            Some(inner) => Self {
                allow: Vec::new(),
                ..self.clone()
            }
            .check(inner),
            None => Ok(()),
        }
    }

    /// Whether `ip` may be called only where it leads to the node that announced it: loopback, unless all of it is ours, or
    /// `allow` has it or a part of it that holds `ip`.
    pub(super) fn asks_whose(&self, ip: IpAddr) -> bool {
        if self.own_loopback {
            return false;
        }
        let ip = ip.to_canonical();
        let ip = embedded(ip).unwrap_or(ip);
        let loopback = [known(LOOPBACK)];
        let allowed = narrowest(&self.allow, ip).map(|(_, length)| length);
        narrowest(&loopback, ip).is_some_and(|(_, length)| allowed.is_none_or(|allowed| allowed < length))
    }

    /// Whether the registry listens at this port, and where that is.
    pub(super) fn registries_at(&self, port: u16) -> impl Iterator<Item = &Address> {
        self.registry.iter().filter(move |address| address.port() == port)
    }
}

/// Whether who connects to `address` meets what listens at `registry`.
pub(super) fn is_registry(address: SocketAddr, registry: SocketAddr) -> bool {
    let (ip, registry_ip) = (address.ip().to_canonical(), registry.ip().to_canonical());
    let same = ip == registry_ip || (ip.is_loopback() && registry_ip.is_loopback());
    same && address.port() == registry.port()
}

/// The narrowest range that holds `ip`, and the length of its prefix.
fn narrowest(ranges: &[Range], ip: IpAddr) -> Option<(&Range, u8)> {
    let holding = ranges.iter().flat_map(|range| {
        let nets = range.nets.iter().filter(|net| net.contains(&ip));
        nets.map(move |net| (range, net.prefix_len()))
    });
    holding.max_by_key(|(_, length)| *length)
}

fn refuse_denied(
    denied: Option<(&Range, u8)>,
    allowed: Option<u8>,
    ip: IpAddr,
    why: &str,
) -> Result<(), String> {
    match denied {
        Some((range, length)) if allowed.is_none_or(|allowed| allowed <= length) => {
            Err(format!("{ip} is in {range}, {why}"))
        }
        _ => Ok(()),
    }
}

/// The IPv4 address that a translator on the way makes of `ip`, or a host that still knows the old form.
fn embedded(ip: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = ip else {
        return None;
    };
    let is_translated = v6.segments()[..6] == TRANSLATED;
    let is_compatible = v6.segments()[..6] == [0; 6] && v6 != Ipv6Addr::LOCALHOST && !v6.is_unspecified();
    let [.., a, b, c, d] = v6.octets();
    (is_translated || is_compatible).then(|| [a, b, c, d].into())
}

/// A range by its name in [`NAMED`].
fn known(name: &str) -> Range {
    name.parse().expect("the tests parse every name")
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = NAMED.map(|(name, _)| name).join(", ");
        let refuse = |reason: &str| {
            format!(
                "{text:?} {reason}; expected is an address, a range such as 10.0.0.0/8, or one of {names}"
            )
        };
        let nets = match NAMED.iter().find(|(name, _)| *name == text) {
            Some((_, nets)) => nets
                .iter()
                .map(|net| net.parse().expect("the tests parse every range"))
                .collect(),
            None if text.contains('/') => {
                let net: IpNet = text.parse().map_err(|_| refuse("is no range of addresses"))?;
                if net != net.trunc() {
                    return Err(refuse(&format!("is an address in {}, not a range", net.trunc())));
                }
                [net].into()
            }
            None => [text
                .parse::<IpAddr>()
                .map_err(|_| refuse("is no address"))?
                .to_canonical()
                .into()]
            .into(),
        };
        Ok(Self {
            text: text.into(),
            nets,
        })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(allow: &[&str], deny: &[&str]) -> Reach {
        let ranges = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Reach {
            allow: ranges(allow),
            deny: ranges(deny),
            ..Reach::default()
        }
    }

    fn may(reach: &Reach, ip: &str) -> bool {
        reach.check(ip.parse().unwrap()).is_ok()
    }

    #[test]
    fn what_nodes_have_is_called_and_what_no_node_has_is_not() {
        let reach = Reach::default();
        for ip in [
            "10.0.0.7",
            "127.0.0.1",
            "192.168.1.5",
            "8.8.8.8",
            "::1",
            "2001:db8::1",
            "fd00::7",
        ] {
            assert!(may(&reach, ip), "{ip}");
        }
        for ip in [
            "169.254.169.254",
            "169.254.0.1",
            "fe80::1",
            "224.0.0.251",
            "ff02::fb",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "255.255.255.255",
            "fd00:ec2::254",
            "100.100.100.200",
            // The same in other words.
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
        ] {
            assert!(!may(&reach, ip), "{ip}");
        }
    }

    #[test]
    fn of_two_ranges_the_narrower_decides_and_at_a_tie_denial() {
        let only = reach(&["10.0.0.0/8"], &["10.0.5.0/24", "2001:db8::/32"]);
        for (ip, allowed) in [
            ("10.0.0.7", true),
            ("10.0.5.7", false),
            ("192.168.0.1", false),
            ("::1", false),
        ] {
            assert_eq!(may(&only, ip), allowed, "{ip}");
        }
        let tie = reach(&["10.0.0.0/8"], &["10.0.0.0/8"]);
        assert!(!may(&tie, "10.0.0.7"));
        let everything = reach(&["0.0.0.0/0", "::/0"], &[]);
        assert!(may(&everything, "8.8.8.8") && !may(&everything, "169.254.169.254"));
        let meant = reach(&["0.0.0.0/0", "169.254.171.0/24"], &[]);
        assert!(may(&meant, "169.254.171.5") && !may(&meant, "169.254.169.254"));
    }

    #[test]
    fn an_address_within_another_is_denied_by_either() {
        let reach = reach(&["64:ff9b::/96"], &["10.0.0.0/8"]);
        assert!(may(&reach, "64:ff9b::8.8.8.8"));
        assert!(!may(&reach, "64:ff9b::10.0.0.7"));
    }

    #[test]
    fn of_loopback_it_is_asked_whose_it_is_unless_it_is_allowed_by_itself() {
        for (allow, ip, asks) in [
            (&[][..], "127.0.0.1", true),
            (&[], "127.255.255.254", true),
            (&[], "::1", true),
            (&[], "::ffff:127.0.0.1", true),
            (&[], "64:ff9b::127.0.0.1", true),
            (&[], "10.0.0.7", false),
            (&[], "2001:db8::1", false),
            (&["loopback"], "127.0.0.1", false),
            (&["loopback"], "::1", false),
            (&["127.0.0.1"], "::ffff:127.0.0.1", false),
            (&["127.0.0.1"], "127.0.0.2", true),
            // Who allows everything has not thought of it.
            (&["0.0.0.0/0", "::/0"], "127.0.0.1", true),
            (&["0.0.0.0/0", "::/0"], "::1", true),
        ] {
            let mut reach = reach(allow, &[]);
            let ip = ip.parse().unwrap();
            assert_eq!(reach.asks_whose(ip), asks, "{allow:?} {ip}");
            reach.own_loopback = true;
            assert!(!reach.asks_whose(ip), "{allow:?} {ip}");
        }
    }

    #[test]
    fn every_name_is_a_range_and_what_is_none_says_what_is() {
        for (name, nets) in NAMED {
            assert_eq!(name.parse::<Range>().unwrap().nets.len(), nets.len());
        }
        for (text, reason) in [
            ("", "is no address"),
            (
                "greeter",
                "expected is an address, a range such as 10.0.0.0/8, or one of loopback, private",
            ),
            ("10.0.0.1/8", "is an address in 10.0.0.0/8"),
            ("10.0.0.0/33", "is no range"),
            ("10.0.0.1:80", "is no address"),
        ] {
            let error = text.parse::<Range>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_registry_on_loopback_is_met_at_every_loopback_address() {
        let at = |text: &str| text.parse().unwrap();
        assert!(is_registry(at("127.0.0.9:8500"), at("127.0.0.1:8500")));
        assert!(is_registry(at("[::1]:8500"), at("127.0.0.1:8500")));
        assert!(is_registry(at("[::ffff:10.0.0.1]:8500"), at("10.0.0.1:8500")));
        assert!(!is_registry(at("127.0.0.1:8501"), at("127.0.0.1:8500")));
        assert!(!is_registry(at("10.0.0.2:8500"), at("10.0.0.1:8500")));
    }
}
