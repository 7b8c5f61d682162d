//! Who sent a request where proxies stand in front: their word is taken, and nobody else's.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de::Error as _};

/// The most addresses of a request that are looked at: so many proxies stand in front of nothing.
const HOPS_MAX: usize = 32;
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The table `[gateway.proxies]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(crate) struct Proxies {
    trusted: Vec<Network>,
    #[serde(default)]
    header: Said,
}

/// The header in which the proxies say for whom they speak. They let the other one through as a client sent it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
enum Said {
    #[default]
    #[serde(rename = "x-forwarded-for")]
    XForwardedFor,
    /// That of RFC 7239.
    #[serde(rename = "forwarded")]
    Forwarded,
}

/// `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug)]
struct Network(IpNet);

impl Proxies {
    /// The client that `peer` speaks for: from the nearest hop on, the first that is no proxy of ours. A hop that tells nothing
    /// that could be read is taken for the client itself.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        for hop in self.hops(headers).into_iter().rev().take(HOPS_MAX) {
            let (true, Some(before)) = (self.trusts(client), hop) else {
                break;
            };
            client = before.to_canonical();
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.0.contains(&address))
    }

    /// What the headers say, the farthest first; `None` for what is no address.
    fn hops(&self, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
        let (name, read): (_, fn(&str) -> Option<IpAddr>) = match self.header {
            Said::XForwardedFor => (X_FORWARDED_FOR, address),
            Said::Forwarded => (header::FORWARDED, forwarded),
        };
        let mut hops = Vec::new();
        for value in headers.get_all(name) {
            match value.to_str() {
                Ok(text) => hops.extend(split(text, ',').into_iter().map(read)),
                Err(_) => hops.push(None),
            }
        }
        hops
    }
}

/// `for=192.0.2.1;proto=https`
fn forwarded(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in split(element, ';') {
        let (name, value) = pair.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("for") {
            // Whoever says it twice says nothing.
            if found.is_some() {
                return None;
            }
            let value = value.trim();
            let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            found = Some(address(inner.unwrap_or(value))?);
        }
    }
    found
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
    text.parse().ok().or_else(bracketed).or_else(with_port)
}

/// The parts between the separators that stand in no quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut begun, mut is_quoted) = (Vec::new(), 0, false);
    for (at, letter) in text.char_indices() {
        if letter == '"' {
            is_quoted = !is_quoted;
        } else if letter == separator && !is_quoted {
            parts.push(&text[begun..at]);
            begun = at + letter.len_utf8();
        }
    }
    parts.push(&text[begun..]);
    parts
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let one = || text.parse().map(|address: IpAddr| address.into());
        let network: Result<IpNet, _> = text.parse().or_else(|_| one());
        match network {
            Ok(network) if network.trunc() == network && network.prefix_len() > 0 => Ok(Self(network)),
            _ => Err(D::Error::custom(format!(
                "{text:?} is no network of proxies; expected is one such as `10.1.0.0/16`, or an address"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(settings: &str, peer: &str, name: &'static str, values: &[&str]) -> String {
        let proxies: Proxies = toml::from_str(settings).unwrap();
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_client_is_the_first_that_is_no_proxy_of_ours_from_the_nearest_on() {
        let of = |peer, values: &[&str]| {
            client(
                "trusted = ['10.0.0.0/8', '192.0.2.7']",
                peer,
                "x-forwarded-for",
                values,
            )
        };
        for (peer, values, expected) in [
            ("10.0.0.1", &["203.0.113.5"][..], "203.0.113.5"),
            ("::ffff:10.0.0.1", &["::ffff:203.0.113.5"], "203.0.113.5"),
            ("10.0.0.1", &["203.0.113.5, 10.9.9.9"], "203.0.113.5"),
            ("10.0.0.1", &["203.0.113.5", "192.0.2.7"], "203.0.113.5"),
            ("10.0.0.1", &["203.0.113.5:4711"], "203.0.113.5"),
            ("10.0.0.1", &["[2001:db8::1]:80"], "2001:db8::1"),
            // What a client made up stands before what the proxies saw.
            ("10.0.0.1", &["1.1.1.1, 203.0.113.5, 10.0.0.2"], "203.0.113.5"),
            ("203.0.113.9", &["1.1.1.1"], "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1, "], "10.0.0.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ] {
            assert_eq!(of(peer, values), expected, "{peer} {values:?}");
        }
    }

    #[test]
    fn rfc_7239_is_read_where_the_proxies_speak_it() {
        let settings = "trusted = ['10.0.0.0/8']\nheader = 'forwarded'";
        let of = |values: &[&str]| client(settings, "10.0.0.1", "forwarded", values);
        for (values, expected) in [
            (&["for=203.0.113.5;proto=https;by=10.0.0.1"][..], "203.0.113.5"),
            (&["For=\"[2001:db8::1]:80\""], "2001:db8::1"),
            (
                &["for=1.1.1.1, for=\"203.0.113.5:80\"", "proto=http; for=10.0.0.2"],
                "203.0.113.5",
            ),
            (&["for=_hidden"], "10.0.0.1"),
            (&["for=1.1.1.1;for=203.0.113.5"], "10.0.0.1"),
            (&["host=\"a,b;c\";for=203.0.113.5"], "203.0.113.5"),
            (&["proto=https"], "10.0.0.1"),
        ] {
            assert_eq!(of(values), expected, "{values:?}");
        }
        // The other header is whoever's.
        assert_eq!(
            client(settings, "10.0.0.1", "x-forwarded-for", &["1.1.1.1"]),
            "10.0.0.1"
        );
    }

    #[test]
    fn no_more_hops_are_looked_at_than_there_may_be() {
        let many = vec!["10.0.0.2"; 10_000].join(",");
        let many = format!("203.0.113.5,{many}");
        let settings = "trusted = ['10.0.0.0/8']";
        assert_eq!(
            client(settings, "10.0.0.1", "x-forwarded-for", &[&many]),
            "10.0.0.2"
        );
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "trusted = ['10.0.0.1/8']",
            "trusted = ['0.0.0.0/0']",
            "trusted = ['proxy.internal']",
            "trusted = ['10.0.0.0/33']",
            "header = 'forwarded'",
            "trusted = []\nheader = 'via'",
        ] {
            assert!(toml::from_str::<Proxies>(text).is_err(), "{text}");
        }
    }
}
