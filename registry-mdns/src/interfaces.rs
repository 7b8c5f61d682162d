//! Which interfaces and which port to speak on, as `MICRO_REGISTRY_ADDRESS` names them.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use mdns_sd::{IfKind, MDNS_PORT};
use micro_registry::{Error, ErrorKind, Result};

/// The interfaces to speak on, and the one port for all of them.
///
/// Loopback is always among them: nodes of one host find each other whatever else is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interfaces {
    places: Vec<Place>,
    port: u16,
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The interface with this address, in the address's family.
    Ip(IpAddr),
    /// The interface of this name, in both families.
    Name(String),
}

impl Interfaces {
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What mdns-sd calls the interfaces.
    pub(crate) fn kinds(&self) -> Vec<IfKind> {
        self.places.iter().map(Place::kind).collect()
    }

    /// What mdns-sd calls those of the interfaces that no other host can hear.
    pub(crate) fn loopback_kinds() -> Vec<IfKind> {
        vec![IfKind::LoopbackV4, IfKind::LoopbackV6]
    }

    /// The system's numbers of these interfaces.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when the interfaces cannot be listed.
    pub(crate) fn loopback_numbers() -> Result<Vec<u32>> {
        let present = present()?;
        let loopback = present.iter().filter(|interface| interface.is_loopback());
        Ok(loopback.filter_map(|interface| interface.index).collect())
    }

    /// The addresses of each interface, IPv4 first.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when an interface is not there or has no address.
    pub(crate) fn addresses(&self) -> Result<Vec<Vec<if_addrs::Interface>>> {
        let mut present = present()?;
        present.sort_by_key(|interface| interface.ip().is_ipv6());
        self.places
            .iter()
            .map(|place| place.addresses(&present))
            .collect()
    }
}

impl Default for Interfaces {
    fn default() -> Self {
        Self {
            places: vec![Place::Ip(Ipv4Addr::LOCALHOST.into())],
            port: MDNS_PORT,
        }
    }
}

impl FromStr for Interfaces {
    type Err = Error;

    /// Reads `interface-or-IP[:port]`, several separated by commas. All have one port.
    fn from_str(text: &str) -> Result<Self> {
        let mut interfaces = Self::default();
        let mut port = None;
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (place, part_port) = place(part)?;
            if let Some(other) = port
                && other != part_port
            {
                return Err(refuse(
                    text,
                    &format!("names the ports {other} and {part_port}; one is allowed"),
                ));
            }
            port = Some(part_port);
            if !interfaces.places.contains(&place) {
                interfaces.places.push(place);
            }
        }
        let Some(port) = port else {
            return Err(refuse(text, "names no interface"));
        };
        interfaces.port = port;
        Ok(interfaces)
    }
}

impl fmt::Display for Interfaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in &self.places {
            write!(f, "{place}, ")?;
        }
        write!(f, "port {}", self.port)
    }
}

impl Place {
    fn kind(&self) -> IfKind {
        match self {
            // By kind and not by address, because mdns-sd reads an address as whatever interface has it.
            Self::Ip(ip) if ip.is_loopback() && ip.is_ipv4() => IfKind::LoopbackV4,
            Self::Ip(ip) if ip.is_loopback() => IfKind::LoopbackV6,
            Self::Ip(ip) => IfKind::Addr(*ip),
            Self::Name(name) => IfKind::Name(name.clone()),
        }
    }

    fn addresses(&self, present: &[if_addrs::Interface]) -> Result<Vec<if_addrs::Interface>> {
        // The daemon leaves out the others, without a word.
        let usable = |interface: &&if_addrs::Interface| interface.is_oper_up() && !interface.is_p2p();
        let matches = present
            .iter()
            .filter(|interface| self.matches(interface))
            .filter(usable);
        let found: Vec<_> = matches.cloned().collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let names: Vec<_> = present
            .iter()
            .map(|interface| format!("{} ({})", interface.name, interface.ip()))
            .collect();
        let names = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        };
        Err(unavailable(format!(
            "no interface `{self}` that mDNS can use; present are {names}"
        )))
    }

    fn matches(&self, interface: &if_addrs::Interface) -> bool {
        match self {
            Self::Ip(ip) if ip.is_loopback() => {
                interface.is_loopback() && interface.ip().is_ipv4() == ip.is_ipv4()
            }
            Self::Ip(ip) => interface.ip() == *ip,
            Self::Name(name) => interface.name == *name,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => fmt::Display::fmt(ip, f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

fn present() -> Result<Vec<if_addrs::Interface>> {
    if_addrs::get_if_addrs().map_err(|error| unavailable("list the network interfaces").with_source(error))
}

fn place(text: &str) -> Result<(Place, u16)> {
    // An IPv6 address without brackets has no port.
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok((known(text, ip)?, MDNS_PORT));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port_number(text, port)?),
        None => (text, MDNS_PORT),
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok((known(text, ip)?, port));
    }
    // What an interface may be called is up to the system; these would be something else.
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control() || "/[]:".contains(c)) {
        return Err(refuse(
            text,
            "is neither the name of an interface nor an IP address, with or without a port",
        ));
    }
    Ok((Place::Name(host.to_owned()), port))
}

fn known(text: &str, ip: IpAddr) -> Result<Place> {
    if ip.is_unspecified() || ip.is_multicast() {
        return Err(refuse(
            text,
            "is no address of an interface; name each interface to speak on",
        ));
    }
    Ok(Place::Ip(ip))
}

fn port_number(text: &str, port: &str) -> Result<u16> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse()
        .ok()
        .filter(|port| digits && *port != 0)
        .ok_or_else(|| refuse(text, "has a bad port; allowed are 1 to 65535"))
}

fn refuse(text: &str, reason: &str) -> Error {
    let shown: String = text.chars().take(100).collect();
    Error::new(
        ErrorKind::InvalidArgument,
        format!("mDNS address {shown:?} {reason}; expected is interface-or-IP[:port], separated by commas"),
    )
}

fn unavailable(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unavailable, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_always_among_the_interfaces() {
        let interfaces: Interfaces = "eth0:7001, [fe80::1]:7001,192.168.1.5:7001".parse().unwrap();
        assert_eq!(interfaces.port(), 7001);
        assert_eq!(
            interfaces.to_string(),
            "127.0.0.1, eth0, fe80::1, 192.168.1.5, port 7001"
        );
        assert_eq!(
            "127.0.0.1:5353".parse::<Interfaces>().unwrap(),
            Interfaces::default()
        );
        assert_eq!("lo".parse::<Interfaces>().unwrap().port(), 5353);
        assert_eq!(
            "::1".parse::<Interfaces>().unwrap().to_string(),
            "127.0.0.1, ::1, port 5353"
        );
    }

    #[test]
    fn the_loopback_interface_has_a_number() {
        let numbers = Interfaces::loopback_numbers().unwrap();
        let loopback = |interface: &if_addrs::Interface| interface.ip().is_loopback();
        let present = if_addrs::get_if_addrs().unwrap();
        let number = present.into_iter().find(loopback).unwrap().index.unwrap();
        assert!(numbers.contains(&number), "{numbers:?}");
    }

    #[test]
    fn what_is_no_interface_is_refused() {
        for text in [
            "",
            ",",
            "eth0:0",
            "eth0:70000",
            "eth0:+1",
            "eth0:",
            ":5353",
            "0.0.0.0",
            "224.0.0.251:5353",
            "a b",
            "http://eth0",
            "eth0:1,eth1:2",
        ] {
            let error = text.parse::<Interfaces>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text:?}");
        }
    }

    #[test]
    fn an_interface_that_is_not_there_is_unavailable_and_those_present_are_named() {
        let interfaces: Interfaces = "no-such-interface".parse().unwrap();
        let error = interfaces.addresses().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("127.0.0.1"), "{error}");
    }
}
