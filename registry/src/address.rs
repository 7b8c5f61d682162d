//! The address of a node: a host and a port that can be called.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use crate::Error;

/// The longest host name (RFC 1035 §2.3.4, without the trailing dot).
const HOST_LENGTH_MAX: usize = 253;
/// The longest label of a host name (RFC 1035 §2.3.4).
const LABEL_LENGTH_MAX: usize = 63;
/// The longest piece of a refused address in an error, in characters.
const SHOWN_LENGTH_MAX: usize = 100;

/// Where a node can be called: a host and a port.
///
/// Parsing is the only way in from text, and refuses what cannot be called: port 0 or above 65535, unspecified,
/// multicast, broadcast and IPv6 link-local addresses, IPv6 zones, IPv6 without brackets, numbers that resolvers would
/// read as an address of their own choice (`10.1`, `0x7f.1`, `010.0.0.1`), URLs, paths, spaces and control characters,
/// and host names that are not ASCII or end in a dot. What it takes has one form: host names are in lower case, and
/// IPv4 mapped into IPv6 is IPv4.
///
/// ```
/// use micro_registry::Address;
///
/// let address: Address = "[2001:db8::1]:9090".parse()?;
/// assert_eq!(address.port(), 9090);
/// assert_eq!(address.to_string(), "[2001:db8::1]:9090");
/// assert!("http://10.0.0.1:80".parse::<Address>().is_err());
/// assert!("0.0.0.0:80".parse::<Address>().is_err());
/// # Ok::<(), micro_registry::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: Host,
    port: u16,
}

/// The host part of an [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Host {
    /// An IP address that one host can have.
    Ip(IpAddr),
    /// A host name, in lower case, to be resolved when it is called.
    Name(Box<str>),
}

impl Address {
    /// An address of a host and a port, as registries that store both apart have them.
    ///
    /// An IPv6 host stands without brackets here.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for what cannot be called.
    pub fn new(host: &str, port: impl Into<i64>) -> Result<Self, Error> {
        let port = port.into();
        let checked = u16::try_from(port).ok().filter(|port| *port != 0);
        let Some(checked) = checked else {
            return Err(refuse(host, &format!("has port {port}; allowed are 1 to 65535")));
        };
        Ok(Self {
            host: parse_host(host).map_err(|reason| refuse(host, reason))?,
            port: checked,
        })
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, never 0.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the host is a loopback address or `localhost`, so that no other host can call it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Ip(ip) => ip.to_canonical().is_loopback(),
            Host::Name(name) => &**name == "localhost" || name.ends_with(".localhost"),
        }
    }

    /// The socket address, unless the host is a name.
    #[must_use]
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            Host::Name(_) => None,
        }
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(refuse(text, "has no port; expected is host:port"));
        };
        // `u16::from_str` takes a leading `+`, which no program writes.
        if port.is_empty() || port.len() > 5 || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refuse(
                text,
                "has a port that is no number; expected is host:port with a port of 1 to 65535",
            ));
        }
        let Some(port) = port.parse::<u16>().ok().filter(|port| *port != 0) else {
            return Err(refuse(
                text,
                "has a port that cannot be called; allowed are 1 to 65535",
            ));
        };
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = match bracketed {
            Some(inner) if inner.contains(':') => parse_host(inner),
            Some(_) => Err("has brackets around what is not IPv6"),
            None if host.contains(':') => Err("has an IPv6 address without brackets, or more than host:port"),
            None => parse_host(host),
        };
        Ok(Self {
            host: host.map_err(|reason| refuse(text, reason))?,
            port,
        })
    }
}

impl TryFrom<SocketAddr> for Address {
    type Error = Error;

    fn try_from(address: SocketAddr) -> Result<Self, Error> {
        if let SocketAddr::V6(v6) = address
            && v6.scope_id() != 0
        {
            return Err(refuse(
                &address.to_string(),
                "has an IPv6 zone, which means nothing on another host",
            ));
        }
        Self::new(&address.ip().to_string(), address.port())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Without brackets around IPv6.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => fmt::Display::fmt(ip, f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

fn parse_host(text: &str) -> Result<Host, &'static str> {
    if text.contains(':') {
        return text
            .parse::<Ipv6Addr>()
            .map_err(|_| "has a bad IPv6 address (zones are not allowed)")
            .and_then(ipv6);
    }
    // What ends in a number must be an address: resolvers read `10.1` and `0x7f.1` as addresses of their own choice.
    // A name such as `3f2a9bc1d2e3`, as containers have it, is a name.
    let last_label = text.rsplit_once('.').map_or(text, |(_, last)| last);
    if is_number(last_label) {
        return text
            .parse::<Ipv4Addr>()
            .map_err(|_| "has a bad IPv4 address")
            .and_then(ipv4);
    }
    name(text)
}

/// Whether resolvers read `label` as a number: decimal, octal or hexadecimal.
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => !label.is_empty() && label.bytes().all(|b| b.is_ascii_digit()),
    }
}

fn ipv4(ip: Ipv4Addr) -> Result<Host, &'static str> {
    if ip.octets()[0] == 0 {
        return Err("is an unspecified address, which names no host");
    }
    if ip.is_multicast() {
        return Err("is a multicast address");
    }
    if ip.is_broadcast() {
        return Err("is the broadcast address");
    }
    Ok(Host::Ip(ip.into()))
}

fn ipv6(ip: Ipv6Addr) -> Result<Host, &'static str> {
    if let Some(mapped) = ip.to_ipv4_mapped() {
        return ipv4(mapped);
    }
    if ip.is_unspecified() {
        return Err("is an unspecified address, which names no host");
    }
    if ip.is_multicast() {
        return Err("is a multicast address");
    }
    if ip.is_unicast_link_local() {
        return Err("is an IPv6 link-local address, which cannot be called without a zone");
    }
    Ok(Host::Ip(ip.into()))
}

fn name(text: &str) -> Result<Host, &'static str> {
    if text.is_empty() {
        return Err("has no host");
    }
    if text.len() > HOST_LENGTH_MAX {
        return Err("has a host name of more than 253 characters");
    }
    // Underscores are outside RFC 952, and names of containers have them.
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= LABEL_LENGTH_MAX
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !text.split('.').all(label) {
        return Err("has a host that is neither a host name nor an IP address");
    }
    Ok(Host::Name(text.to_ascii_lowercase().into()))
}

fn refuse(text: &str, reason: &str) -> Error {
    let shown = shown(text);
    Error::invalid(format!("address {shown:?} {reason}"))
}

/// As much of a refused address as a log may have: not what stands before `@` or after `?`, where URLs carry secrets.
fn shown(text: &str) -> String {
    let (text, tail) = match text.find(['?', '#']) {
        Some(at) => (&text[..at], "…"),
        None => (text, ""),
    };
    let (head, text) = match text.rfind('@') {
        Some(at) => ("…", &text[at..]),
        None => ("", text),
    };
    let mut characters = text.chars();
    let start: String = characters.by_ref().take(SHOWN_LENGTH_MAX).collect();
    let tail = if characters.next().is_some() { "…" } else { tail };
    format!("{head}{start}{tail}")
}
