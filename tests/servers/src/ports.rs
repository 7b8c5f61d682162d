//! Free ports outside the range that the system gives away, so that a server can come back to its own.

use std::net::{TcpListener, UdpSocket};

/// The first of `count` ports in a row that are free, for TCP and for UDP.
pub(crate) fn free(count: u16) -> u16 {
    let is_free =
        |port| TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok();
    std::iter::repeat_with(|| fastrand::u16(10_000..32_000))
        .find(|first| (*first..first + count).all(is_free))
        .expect("ports come without end")
}
