//! Where a service listens, and which address it tells the others.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};

use if_addrs::Interface;
use micro_registry::{Address, Host};

use crate::{Error, ErrorKind, Result};

/// What to listen on: an address of this host and a port, where 0 means any free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    Ip(SocketAddr),
    Name(Host, u16),
}

impl Default for Listen {
    /// Nothing is open to the network unasked.
    fn default() -> Self {
        Self::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }
}

impl FromStr for Listen {
    type Err = String;

    /// Reads `host:port`; `:port` means every IPv4 address of the host, as Go programs write it.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let parsed = text.rsplit_once(':').and_then(|(host, port)| {
            let port = port
                .bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| port.parse().ok())??;
            if host.is_empty() {
                return Some(Self::Ip(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))));
            }
            let host = Address::new(host, 1).ok()?.host().clone();
            matches!(host, Host::Name(_)).then_some(Self::Name(host, port))
        });
        parsed.ok_or_else(|| {
            format!(
                "{text:?} is no address to listen on, expected host:port such as `127.0.0.1:0`, `0.0.0.0:9090` or \
                 `[::]:9090`, where port 0 is any free one"
            )
        })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => fmt::Display::fmt(address, f),
            Self::Name(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// What to tell the others instead of the address listened on: a host, and a port unless it is the one listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advertise {
    host: Host,
    port: Option<u16>,
}

impl FromStr for Advertise {
    type Err = String;

    /// Reads `host:port` or `host`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<Address>() {
            return Ok(Self {
                host: address.host().clone(),
                port: Some(address.port()),
            });
        }
        let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let Ok(address) = Address::new(bracketed.unwrap_or(text), 1) else {
            return Err(format!(
                "{text:?} is no address that others can call, expected host:port or host, such as `10.0.0.7:9090` or \
                 `greeter.internal`"
            ));
        };
        Ok(Self {
            host: address.host().clone(),
            port: None,
        })
    }
}

/// The address that a node tells the others, as far as it is known before the port is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advertised {
    /// `None` where the address listened on is the one to tell.
    host: Option<Host>,
    port: Option<u16>,
    interface: Option<IpAddr>,
}

impl Advertised {
    /// What `advertise` says, else the address listened on; where that is every address, the first one of an interface
    /// that other hosts can reach.
    pub(crate) fn new(
        listen: &Listen,
        advertise: Option<&Advertise>,
        interfaces: impl FnOnce() -> io::Result<Vec<Interface>>,
    ) -> Result<Self> {
        let listen_ip = match listen {
            Listen::Ip(address) => Some(address.ip()),
            Listen::Name(..) => None,
        };
        let told = advertise.map(|advertise| advertise.host.clone());
        let local_only = match &told {
            Some(host) => is_loopback(host),
            None => listen_ip.is_none_or(|ip| ip.is_loopback()),
        };
        let mut advertised = Self {
            host: told,
            port: advertise.and_then(|advertise| advertise.port),
            interface: None,
        };
        if local_only {
            return Ok(advertised);
        }
        let interfaces = interfaces().map_err(|error| {
            Error::new(ErrorKind::Server, "list the network interfaces").with_source(error)
        })?;
        let has = |ip: &IpAddr| interfaces.iter().any(|interface| interface.ip() == *ip);
        let told_ip = match advertised.host {
            Some(Host::Ip(ip)) => Some(ip),
            _ => None,
        };
        let any = listen_ip.filter(IpAddr::is_unspecified);
        advertised.interface = told_ip
            .or(listen_ip)
            .filter(has)
            .or_else(|| reachable(&interfaces, any.is_none_or(|ip| ip.is_ipv6())));
        if any.is_some() && advertised.host.is_none() {
            let Some(ip) = advertised.interface else {
                return Err(Error::config(format!(
                    "listening on {listen} and no network interface has an address that other hosts can call; \
                     MICRO_SERVER_ADVERTISE can name one"
                )));
            };
            advertised.host = Some(host_of(ip)?);
        }
        Ok(advertised)
    }

    /// The address to tell, now that the one listened on is known.
    pub(crate) fn address(&self, bound: SocketAddr) -> Result<Address> {
        let port = self.port.unwrap_or(bound.port());
        let address = match &self.host {
            Some(host) => Address::new(&host.to_string(), port),
            None => Address::try_from(SocketAddr::new(bound.ip(), port)),
        };
        address.map_err(|error| {
            Error::config(format!(
                "advertise {bound}; MICRO_SERVER_ADVERTISE can name another address"
            ))
            .with_source(error)
        })
    }

    /// The address of this host's interface to the network on which the advertised one is called; `None` when only this
    /// host can call it.
    pub(crate) fn interface(&self) -> Option<IpAddr> {
        self.interface
    }
}

/// The first address that other hosts can call.
fn reachable(interfaces: &[Interface], or_ipv6: bool) -> Option<IpAddr> {
    let mut candidates: Vec<_> = interfaces
        .iter()
        .filter(|interface| !interface.is_loopback() && !interface.is_link_local() && interface.is_oper_up())
        .filter(|interface| or_ipv6 || interface.ip().is_ipv4())
        .collect();
    // Stable, so that the order of the interfaces decides among equals. Tunnels come last; so does IPv6, as who listens
    // on `[::]` answers both and not every host has a route for it.
    candidates.sort_by_key(|interface| (interface.is_p2p(), interface.ip().is_ipv6()));
    candidates.first().map(|interface| interface.ip())
}

fn is_loopback(host: &Host) -> bool {
    Address::new(&host.to_string(), 1).is_ok_and(|address| address.is_loopback())
}

fn host_of(ip: IpAddr) -> Result<Host> {
    let address = Address::new(&ip.to_string(), 1);
    address
        .map(|address| address.host().clone())
        .map_err(|error| Error::config(format!("advertise {ip}")).with_source(error))
}

#[cfg(test)]
mod tests {
    use if_addrs::{IfAddr, IfOperStatus, Ifv4Addr};

    use super::*;

    fn interface(name: &str, ip: [u8; 4], is_p2p: bool) -> Interface {
        Interface {
            name: name.to_owned(),
            addr: IfAddr::V4(Ifv4Addr {
                ip: ip.into(),
                netmask: [255, 255, 255, 0].into(),
                prefixlen: 24,
                broadcast: None,
            }),
            index: None,
            oper_status: IfOperStatus::Up,
            is_p2p,
        }
    }

    fn advertised(listen: &str, advertise: Option<&str>, interfaces: Vec<Interface>) -> Result<Address> {
        let advertise = advertise.map(|text| text.parse::<Advertise>().unwrap());
        let bound: SocketAddr = listen.parse().unwrap();
        Advertised::new(&listen.parse().unwrap(), advertise.as_ref(), || Ok(interfaces))?
            .address(SocketAddr::new(bound.ip(), 9090))
    }

    fn of_a_laptop() -> Vec<Interface> {
        vec![
            interface("lo", [127, 0, 0, 1], false),
            interface("tun0", [10, 8, 0, 2], true),
            interface("wlan0", [169, 254, 1, 1], false),
            interface("eth0", [10, 0, 0, 7], false),
        ]
    }

    #[test]
    fn every_address_is_advertised_as_the_one_that_other_hosts_reach() {
        for listen in ["0.0.0.0:0", "[::]:0"] {
            let address = advertised(listen, None, of_a_laptop()).unwrap();
            assert_eq!(address.to_string(), "10.0.0.7:9090", "{listen}");
        }
    }

    #[test]
    fn one_address_is_advertised_as_it_is() {
        let address = advertised("127.0.0.1:0", None, of_a_laptop()).unwrap();
        assert_eq!(address.to_string(), "127.0.0.1:9090");
    }

    #[test]
    fn what_is_configured_is_advertised_with_the_bound_port_unless_it_names_one() {
        for (advertise, expected) in [
            ("203.0.113.5:80", "203.0.113.5:80"),
            ("203.0.113.5", "203.0.113.5:9090"),
            ("greeter.internal", "greeter.internal:9090"),
            ("[2001:db8::1]", "[2001:db8::1]:9090"),
        ] {
            let address = advertised("0.0.0.0:0", Some(advertise), Vec::new()).unwrap();
            assert_eq!(address.to_string(), expected);
        }
    }

    #[test]
    fn the_interface_to_the_network_is_known_unless_only_this_host_can_call() {
        for (listen, advertise, expected) in [
            ("127.0.0.1:0", None, None),
            ("localhost:0", None, None),
            ("0.0.0.0:0", Some("localhost"), None),
            ("0.0.0.0:0", None, Some([10, 0, 0, 7])),
            ("10.8.0.2:0", None, Some([10, 8, 0, 2])),
            ("127.0.0.1:0", Some("10.8.0.2"), Some([10, 8, 0, 2])),
            ("0.0.0.0:0", Some("203.0.113.5"), Some([10, 0, 0, 7])),
        ] {
            let advertise = advertise.map(|text| text.parse::<Advertise>().unwrap());
            let listen = listen.parse().unwrap();
            let advertised = Advertised::new(&listen, advertise.as_ref(), || Ok(of_a_laptop())).unwrap();
            assert_eq!(
                advertised.interface(),
                expected.map(IpAddr::from),
                "{listen} {advertise:?}"
            );
        }
    }

    #[test]
    fn without_an_interface_that_others_reach_the_error_says_what_to_set() {
        let only_loopback = vec![interface("lo", [127, 0, 0, 1], false)];
        let error = advertised("0.0.0.0:0", None, only_loopback).unwrap_err();
        assert!(error.to_string().contains("MICRO_SERVER_ADVERTISE"), "{error}");
    }

    #[test]
    fn an_address_to_listen_on_is_host_and_port() {
        for (text, shown) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            (":8080", "0.0.0.0:8080"),
            ("[::]:9090", "[::]:9090"),
            ("localhost:0", "localhost:0"),
        ] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), shown);
        }
        for text in [
            "",
            "9090",
            "127.0.0.1",
            "127.0.0.1:70000",
            "http://a:1",
            "a b:1",
            "::1:80",
            "a:+1",
        ] {
            assert!(
                text.parse::<Listen>().unwrap_err().contains("expected host:port"),
                "{text}"
            );
        }
        for text in ["", "0.0.0.0:80", "0.0.0.0", "a b", "http://a", "10.0.0.1:0"] {
            assert!(
                text.parse::<Advertise>()
                    .unwrap_err()
                    .contains("expected host:port"),
                "{text}"
            );
        }
    }
}
