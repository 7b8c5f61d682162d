//! How a node is stored in a TXT record: the only file that knows.
//!
//! Each part is one string `key=value`; a value that is too long for one goes on in `key;1`, `key;2` and so on. DNS-SD
//! keys are ASCII and know no case, so what else stands in a metadata key is escaped as in URLs.

use std::{collections::BTreeMap, fmt::Write as _, net::SocketAddr, slice};

use mdns_sd::{InterfaceId, ResolvedService, ScopedIp, TxtProperty};
use micro_registry::{Address, BOOT_KEY, Error, ErrorKind, Node, Result, ServiceName};

/// The most bytes of a TXT record that arrive: above it mdns-sd sends the record, and it arrives empty.
pub(crate) const TXT_LENGTH_MAX: usize = 1_300;
/// The longest string of a TXT record (RFC 6763 §6.1).
const STRING_LENGTH_MAX: usize = 255;
/// The longest key, so that each string has room for a part of its value.
const KEY_LENGTH_MAX: usize = 200;
/// The most strings that one value goes on in: a whole record of them.
const PARTS_MAX: usize = TXT_LENGTH_MAX;

/// The version of this format (RFC 6763 §6.7).
const FORMAT: (&str, &str) = ("txtvers", "1");
const SERVICE: &str = "service";
const ID: &str = "id";
const VERSION: &str = "version";
const ADDRESS: &str = "address";
const SINCE: &str = "since";
const REVISION: &str = "rev";
/// Stands before each key of the metadata.
const METADATA: &str = "m.";

/// A node, and what its announcement says beyond it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) node: Node,
    pub(crate) stamp: Stamp,
}

/// When a node was announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp {
    /// Milliseconds since 1970 on the announcer's clock; decides who holds an id that two announce.
    pub(crate) since: u64,
    /// Counts the changes. Caches that still hold an older text tell the new one by it, even if all else is as before.
    pub(crate) revision: u64,
}

/// The strings of the TXT record of `record`, without the node's methods.
///
/// # Errors
///
/// [`ErrorKind::InvalidArgument`] when the node does not fit.
pub(crate) fn encode(record: &Record) -> Result<Vec<TxtProperty>> {
    let node = &record.node;
    let mut strings = Strings::default();
    strings.push(FORMAT.0, FORMAT.1);
    strings.push(SERVICE, node.service().as_str());
    strings.push(ID, node.id());
    strings.push(ADDRESS, &node.address().to_string());
    strings.push(SINCE, &record.stamp.since.to_string());
    if record.stamp.revision > 0 {
        strings.push(REVISION, &record.stamp.revision.to_string());
    }
    if !node.version().is_empty() {
        strings.push(VERSION, node.version());
    }
    if !node.boot().is_empty() {
        strings.push(&format!("{METADATA}{BOOT_KEY}"), node.boot());
    }
    for (key, value) in node.metadata() {
        let escaped = escape(key);
        if escaped.len() > KEY_LENGTH_MAX {
            let message = format!(
                "metadata key {key:?} of node `{}` takes {} bytes in a TXT record; allowed are {KEY_LENGTH_MAX}",
                node.id(),
                escaped.len()
            );
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        strings.push(&escaped, value);
    }
    if strings.length > TXT_LENGTH_MAX {
        let message = format!(
            "node `{}` takes {} bytes in a TXT record; mDNS has room for {TXT_LENGTH_MAX}: use less metadata, or \
             another registry",
            node.id(),
            strings.length
        );
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    Ok(strings.properties)
}

/// What stands in `service`; `None` while its TXT record has not arrived. No other host is heard on the interfaces with
/// the numbers `loopback`.
///
/// # Errors
///
/// [`ErrorKind::Protocol`] or [`ErrorKind::InvalidArgument`] for what is no node. Nothing in it is trusted: another program may have written it.
pub(crate) fn decode(service: &ResolvedService, loopback: &[u32]) -> Result<Option<Record>> {
    let properties = service.get_properties();
    if properties.is_empty() {
        return Ok(None);
    }
    let ip = service
        .get_addresses()
        .iter()
        .map(mdns_sd::ScopedIp::to_ip_addr)
        .min();
    let strings = properties
        .iter()
        .map(|property| (property.key(), property.val().unwrap_or_default()));
    let record = read(strings, ip.map(|ip| SocketAddr::new(ip, service.get_port())))?;
    // Who announces such an address does so where nobody else hears it.
    if record.node.address().is_loopback()
        && let Some(interface) = interfaces(service).find(|heard| !loopback.contains(&heard.index))
    {
        return Err(refused(&format!(
            "is heard on {}, where other hosts are, and has the loopback address {}",
            interface.name,
            record.node.address()
        )));
    }
    Ok(Some(record))
}

/// The interfaces on which the addresses of a service's host were heard. The host is one announcement's alone.
fn interfaces(service: &ResolvedService) -> impl Iterator<Item = &InterfaceId> {
    service.get_addresses().iter().flat_map(|address| match address {
        ScopedIp::V4(address) => address.interface_ids(),
        ScopedIp::V6(address) => slice::from_ref(address.scope_id()),
        _ => &[],
    })
}

pub(crate) fn read<'a>(
    strings: impl Iterator<Item = (&'a str, &'a [u8])>,
    resolved: Option<SocketAddr>,
) -> Result<Record> {
    let mut values: BTreeMap<String, &[u8]> = BTreeMap::new();
    for (key, value) in strings {
        // Of two strings with one key the first counts (RFC 6763 §6.4); one without a key is nothing.
        if !key.is_empty() {
            values.entry(key.to_ascii_lowercase()).or_insert(value);
        }
    }
    let service: ServiceName = required(&values, SERVICE)?.parse()?;
    let id = required(&values, ID)?;
    let mut node = Node::builder(service, id, address(&values, resolved)?);
    if let Some(version) = text(&values, VERSION)? {
        node = node.version(version);
    }
    for key in values.keys().filter(|key| !key.contains(';')) {
        let Some(escaped) = key.strip_prefix(METADATA) else {
            continue;
        };
        node = node.metadata(unescape(escaped)?, text(&values, key)?.unwrap_or_default());
    }
    let node = node.build()?;
    let stamp = Stamp {
        since: number(&values, SINCE)?,
        revision: number(&values, REVISION)?,
    };
    Ok(Record { node, stamp })
}

/// The address in the text; plain DNS-SD announcements of other programs have it in SRV and A records only.
fn address(values: &BTreeMap<String, &[u8]>, resolved: Option<SocketAddr>) -> Result<Address> {
    match (text(values, ADDRESS)?, resolved) {
        (Some(address), _) => address.parse(),
        (None, Some(resolved)) => Address::try_from(resolved),
        (None, None) => Err(refused("has no address")),
    }
}

fn required(values: &BTreeMap<String, &[u8]>, key: &str) -> Result<String> {
    text(values, key)?.ok_or_else(|| refused(&format!("has no `{key}`")))
}

fn number(values: &BTreeMap<String, &[u8]>, key: &str) -> Result<u64> {
    let Some(text) = text(values, key)? else {
        return Ok(0);
    };
    text.parse()
        .map_err(|error| refused(&format!("has a `{key}` that is no number")).with_source(error))
}

/// The value of `key` and of the strings it goes on in.
fn text(values: &BTreeMap<String, &[u8]>, key: &str) -> Result<Option<String>> {
    let Some(first) = values.get(key) else {
        return Ok(None);
    };
    let mut whole = first.to_vec();
    for part in 1..PARTS_MAX {
        let Some(more) = values.get(&format!("{key};{part}")) else {
            break;
        };
        whole.extend_from_slice(more);
    }
    String::from_utf8(whole)
        .map(Some)
        .map_err(|error| refused("has text that is not UTF-8").with_source(error))
}

fn refused(reason: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("the announcement {reason}"))
}

/// The strings of a TXT record, and how long they are on the wire.
#[derive(Default)]
struct Strings {
    properties: Vec<TxtProperty>,
    length: usize,
}

impl Strings {
    fn push(&mut self, key: &str, value: &str) {
        let mut rest = value.as_bytes();
        for part in 0.. {
            let key = if part == 0 {
                key.to_owned()
            } else {
                format!("{key};{part}")
            };
            let (now, later) = rest.split_at(rest.len().min(STRING_LENGTH_MAX - key.len() - 1));
            // Each string stands behind a byte with its length.
            self.length += 1 + key.len() + 1 + now.len();
            self.properties.push(TxtProperty::from((key, now)));
            rest = later;
            if rest.is_empty() || self.length > TXT_LENGTH_MAX {
                return;
            }
        }
    }
}

fn escape(key: &str) -> String {
    let mut escaped = METADATA.to_owned();
    for byte in key.bytes() {
        if byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_./:".contains(&byte) {
            escaped.push(byte.into());
        } else {
            write!(escaped, "%{byte:02x}").expect("a string takes all that is written");
        }
    }
    escaped
}

fn unescape(escaped: &str) -> Result<String> {
    let bad = || refused("has a badly escaped metadata key");
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(bad());
        };
        bytes.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits are a byte"));
    }
    String::from_utf8(bytes).map_err(|error| bad().with_source(error))
}

#[cfg(test)]
mod documented;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
