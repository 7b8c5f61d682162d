//! The limits and waits of the server, each with a name and a default.

use tokio::time::Duration;

use crate::{Error, Result, context::Propagation, tls::ServerFiles};

/// What tonic itself allows for a message; the generated type can raise it, these settings cannot.
pub(crate) const MESSAGE_SIZE_OF_TONIC: usize = 4 * 1024 * 1024;

/// How many resets may wait for the server for each call that a connection may have in flight.
const PENDING_RESETS_PER_STREAM: usize = 4;

/// How a server behaves; what configuration does not set stays at its default.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Calls in flight on one connection. Default: 200.
    pub(crate) streams_max: u32,
    /// Connections at a time; one more is closed at once, so that its caller goes elsewhere. Default: 10,000.
    pub(crate) connections_max: usize,
    /// Connections at a time from one IP address; one more is closed at once. Default: 10,000, as many as in all, for
    /// behind a proxy or a gateway all callers have one address.
    pub(crate) connections_per_ip_max: usize,
    /// Calls in flight, streams included until they end; one more is refused at once with `RESOURCE_EXHAUSTED` and the
    /// time to wait. Calls of health and reflection are neither counted nor refused. Default: 10,000, which is one a connection,
    /// and with tens of KiB each what a small machine has memory for.
    pub(crate) calls_max: usize,
    /// Whether the limit of calls follows how long calls take, below `calls_max`. Default: no.
    pub(crate) calls_adaptive: bool,
    /// How long a connection may take to say what it is: until its first request's headers, or, for an HTTP/2 client
    /// that connects ahead of its calls, its settings. Default: 5 s.
    pub(crate) handshake_timeout: Duration,
    /// How long a peer may take nothing of what waits to be sent to it; then its connection ends, or, over HTTP/2 and where it
    /// is the answer to plain HTTP, the stream; there it is the time for each 64 KiB, so that a byte now and then does not do.
    /// Default: 30 s.
    pub(crate) write_timeout: Duration,
    /// Bytes of the headers of one request. Default: 16 KiB.
    pub(crate) header_size_max: u32,
    /// Bytes of one request message as sent, so compressed. It can only lower what tonic allows, 4 MiB, which is also
    /// the default; the generated type raises that by `max_decoding_message_size`.
    pub(crate) message_size_max: usize,
    /// After how long, give or take a tenth, a connection is asked to go, so that callers behind one address spread
    /// anew. Its calls finish. Default: 1 h; `None`: never.
    pub(crate) connection_age_max: Option<Duration>,
    /// How often a connection is asked whether its peer lives. Default: 30 s; `None`: never.
    pub(crate) keepalive_interval: Option<Duration>,
    /// How long that answer may take. Default: 10 s.
    pub(crate) keepalive_timeout: Duration,
    /// Streams that a peer opened and reset before the server got to them; more, and the connection ends
    /// (CVE-2023-44487). A server that stood still finds as many as its callers gave up meanwhile, and those are no attack.
    /// Default: `None`, which is four times `streams_max`: what callers who wait give up in four of their deadlines.
    pub(crate) pending_resets_max: Option<usize>,
    /// Streams of a connection that the server had to reset for a fault of the peer; more, and the connection ends.
    /// Default: 1,024.
    pub(crate) local_resets_max: usize,
    /// The longest pause after an accept error, such as too many open files. Default: 500 ms.
    pub(crate) accept_backoff_max: Duration,
    /// Which metadata of a call travels on to the calls made on its behalf.
    pub(crate) propagation: Propagation,
    /// The certificates of TLS. Default: `None`, and it is not spoken.
    pub(crate) tls: Option<ServerFiles>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            streams_max: 200,
            connections_max: 10_000,
            connections_per_ip_max: 10_000,
            calls_max: 10_000,
            calls_adaptive: false,
            handshake_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(30),
            header_size_max: 16 * 1024,
            message_size_max: MESSAGE_SIZE_OF_TONIC,
            connection_age_max: Some(Duration::from_secs(3600)),
            keepalive_interval: Some(Duration::from_secs(30)),
            keepalive_timeout: Duration::from_secs(10),
            pending_resets_max: None,
            local_resets_max: 1024,
            accept_backoff_max: Duration::from_millis(500),
            propagation: Propagation::default(),
            tls: None,
        }
    }
}

impl Settings {
    /// Refuses what no server can work with.
    pub(super) fn checked(self) -> Result<Self> {
        let zero = [
            ("streams_max", self.streams_max == 0),
            ("connections_max", self.connections_max == 0),
            ("connections_per_ip_max", self.connections_per_ip_max == 0),
            ("calls_max", self.calls_max == 0),
            ("header_size_max", self.header_size_max == 0),
            ("message_size_max", self.message_size_max == 0),
            ("handshake_timeout", self.handshake_timeout.is_zero()),
            ("write_timeout", self.write_timeout.is_zero()),
            (
                "connection_age_max",
                self.connection_age_max == Some(Duration::ZERO),
            ),
            (
                "keepalive_interval",
                self.keepalive_interval == Some(Duration::ZERO),
            ),
            ("keepalive_timeout", self.keepalive_timeout.is_zero()),
        ];
        match zero.iter().find(|(_, is_zero)| *is_zero) {
            Some((name, _)) => Err(Error::config(format!(
                "`{name}` of the server is 0; it must be more"
            ))),
            None => Ok(self),
        }
    }

    /// How many resets of streams that the server has not got to may wait for it on one connection.
    pub(super) fn pending_resets_allowed(&self) -> usize {
        let streams = usize::try_from(self.streams_max).unwrap_or(usize::MAX);
        self.pending_resets_max
            .unwrap_or(streams.saturating_mul(PENDING_RESETS_PER_STREAM))
    }

    /// The limit of a message, if it is lower than tonic's.
    pub(super) fn message_size_lowered(&self) -> Option<usize> {
        (self.message_size_max < MESSAGE_SIZE_OF_TONIC).then_some(self.message_size_max)
    }
}
