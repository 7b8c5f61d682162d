//! What mdns-sd does not do: it does not say whether multicast works, and cannot ask what is answered at once.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use if_addrs::Interface;
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
    let port = interfaces.port();
    'interfaces: for addresses in interfaces.addresses()? {
        let mut failed = Ok(());
        for address in &addresses {
            match comes_back(address, port).await {
                // An interface that works in one family works: its other address may not be usable yet.
                Ok(()) => continue 'interfaces,
                Err(error) => failed = failed.and(Err(failure(address, port, error))),
            }
        }
        failed?;
    }
    Ok(())
}

/// Asks everybody to name their nodes now.
///
/// Responders keep silent for a second after their last multicast, except to a query that has a record in its
/// authority section (RFC 6762 §6). The daemon cannot send such a query; the answers are multicast and reach it.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] when it can be sent on no address of an interface.
pub(crate) async fn ask(interfaces: &Interfaces) -> Result<()> {
    let question = question();
    let port = interfaces.port();
    for addresses in interfaces.addresses()? {
        let mut sent = Vec::new();
        for address in &addresses {
            let result = send(address, port, &question).await;
            sent.push(result.map_err(|error| failure(address, port, error)));
        }
        if sent.iter().all(Result::is_err) {
            sent.into_iter().collect::<Result<()>>()?;
        }
    }
    Ok(())
}

fn failure(address: &Interface, port: u16, error: io::Error) -> Error {
    let message = format!(
        "speak mDNS on interface {} ({}), port {port}",
        address.name,
        address.ip()
    );
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}

async fn send(address: &Interface, port: u16, message: &[u8]) -> io::Result<()> {
    let socket = open(address, port)?;
    socket.send_to(message, group(address.ip(), port)).await.map(drop)
}

async fn comes_back(address: &Interface, port: u16) -> io::Result<()> {
    let socket = open(address, port)?;
    let group = group(address.ip(), port);
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
fn open(address: &Interface, port: u16) -> io::Result<UdpSocket> {
    let ip = address.ip();
    let index = address.index.unwrap_or(0);
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
