//! What mdns-sd does not do: it does not say whether multicast works, and cannot ask what is answered at once.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use micro_registry::{Error, ErrorKind, Result};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::UdpSocket, time};

use crate::{daemon::SERVICE_TYPE, interfaces::Interfaces};

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// How often a packet is sent before the network counts as dead: a busy host may lose one.
const TRIES: u32 = 4;
/// How long each packet may take to come back to this very socket.
const RETURN_WAIT: Duration = Duration::from_millis(500);
/// A DNS message of a random id and nothing else, which responders do not answer.
const PACKET_LENGTH: usize = 12;

/// Sends a packet to the group on each interface and waits until it comes back.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] with what failed as its cause.
pub(crate) async fn check(interfaces: &Interfaces) -> Result<()> {
    for interface in interfaces.addresses()? {
        let port = interfaces.port();
        comes_back(interface.ip(), interface.index.unwrap_or(0), port)
            .await
            .map_err(|error| {
                let message = format!(
                    "speak mDNS on interface {} ({}), port {port}",
                    interface.name,
                    interface.ip()
                );
                Error::new(ErrorKind::Unavailable, message).with_source(error)
            })?;
    }
    Ok(())
}

/// Asks everybody to name their nodes now.
///
/// Responders keep silent for a second after their last multicast, except to a query that has a record in its
/// authority section (RFC 6762 §6): so does this one, in which the daemon's own questions cannot be asked. The answers
/// are multicast and reach the daemon.
pub(crate) async fn ask(interfaces: &Interfaces) -> Result<()> {
    let question = question();
    for interface in interfaces.addresses()? {
        let (ip, port) = (interface.ip(), interfaces.port());
        let sent = async {
            let socket = open(ip, interface.index.unwrap_or(0), port)?;
            socket.send_to(&question, group(ip, port)).await
        };
        sent.await.map_err(|error| {
            let message = format!("ask by mDNS on interface {} ({ip}), port {port}", interface.name);
            Error::new(ErrorKind::Unavailable, message).with_source(error)
        })?;
    }
    Ok(())
}

async fn comes_back(ip: IpAddr, index: u32, port: u16) -> io::Result<()> {
    let socket = open(ip, index, port)?;
    let group = group(ip, port);
    let mut packet = [0; PACKET_LENGTH];
    packet[..2].copy_from_slice(&fastrand::u16(..).to_be_bytes());
    for _ in 0..TRIES {
        socket.send_to(&packet, group).await?;
        if let Ok(heard) = time::timeout(RETURN_WAIT, hear(&socket, packet)).await {
            return heard;
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "multicast packets are sent and do not arrive",
    ))
}

async fn hear(socket: &UdpSocket, packet: [u8; PACKET_LENGTH]) -> io::Result<()> {
    // Longer messages of others are cut off, and then are not ours.
    let mut buffer = [0; PACKET_LENGTH + 1];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if buffer[..length] == packet {
            return Ok(());
        }
    }
}

fn group(ip: IpAddr, port: u16) -> SocketAddr {
    match ip {
        IpAddr::V4(_) => (GROUP_V4, port).into(),
        IpAddr::V6(_) => (GROUP_V6, port).into(),
    }
}

/// A query for the pointers of our type, with a record of a name that nobody has in its authority section.
fn question() -> Vec<u8> {
    const TYPE_PTR: u16 = 12;
    const TYPE_TXT: u16 = 16;
    const CLASS_IN: u16 = 1;
    let mut message = Vec::new();
    // Id, flags, one question, no answer, one authority, nothing else.
    put(&mut message, &[0, 0, 1, 0, 1, 0]);
    put_name(&mut message, SERVICE_TYPE);
    put(&mut message, &[TYPE_PTR, CLASS_IN]);
    put_name(
        &mut message,
        &format!("micro-question-{:016x}.local.", fastrand::u64(..)),
    );
    // Lives for no time; its text is one empty string.
    put(&mut message, &[TYPE_TXT, CLASS_IN, 0, 0, 1]);
    message.push(0);
    message
}

fn put(message: &mut Vec<u8>, words: &[u16]) {
    message.extend(words.iter().flat_map(|word| word.to_be_bytes()));
}

fn put_name(message: &mut Vec<u8>, name: &str) {
    // The last label, behind the last dot, is the empty one that ends a name.
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).expect("our labels are short"));
        message.extend(label.as_bytes());
    }
}

/// A socket as mdns-sd opens it, so that what fails here would fail there.
fn open(ip: IpAddr, index: u32, port: u16) -> io::Result<UdpSocket> {
    let any: SocketAddr = match ip {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, port).into(),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, port).into(),
    };
    let socket = Socket::new(Domain::for_address(any), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    match ip {
        IpAddr::V4(ip) => {
            socket.bind(&any.into())?;
            socket.join_multicast_v4(&GROUP_V4, &ip)?;
            socket.set_multicast_if_v4(&ip)?;
        }
        IpAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.bind(&any.into())?;
            socket.join_multicast_v6(&GROUP_V6, index)?;
            socket.set_multicast_if_v6(index)?;
        }
    }
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket.into())
}
