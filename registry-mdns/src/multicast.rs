//! Whether multicast works on this host: mdns-sd does not say, it only stays silent.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use micro_registry::{Error, ErrorKind, Result};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::UdpSocket, time};

use crate::interfaces::Interfaces;

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

async fn comes_back(ip: IpAddr, index: u32, port: u16) -> io::Result<()> {
    let socket = open(ip, index, port)?;
    let group = match ip {
        IpAddr::V4(_) => SocketAddr::new(GROUP_V4.into(), port),
        IpAddr::V6(_) => SocketAddr::new(GROUP_V6.into(), port),
    };
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
