//! How a server is reached: TCP, TLS if it is asked for, and HTTP/2 whose silence is noticed.

use std::{io, sync::Arc, time::Duration};

use etcd_client::Channel;
use http::{HeaderName, HeaderValue, Request, Uri};
use hyper_util::rt::TokioIo;
use micro_registry::Host;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task, time,
};
use tokio_rustls::TlsConnector;
use tonic::{body::Body, transport::Endpoint};
use tower::{
    BoxError, ServiceExt as _,
    util::{BoxCloneSyncService, service_fn},
};

use crate::{
    server::Server,
    tls::{self, Files},
};

/// How long connecting may take, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a connection in use may be silent until the server is asked for a sign of life. A server ends connections
/// that ask more often than every 5 s, or while nothing is being waited for.
const PING_INTERVAL: Duration = Duration::from_secs(6);
/// How long the sign of life may take.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Makes a server refuse what it could only do with the others while it has lost them.
const HAS_LEADER: HeaderName = HeaderName::from_static("hasleader");
const YES: HeaderValue = HeaderValue::from_static("true");
/// What a server without a leader can do: list what it knows, if that is enough for whoever asks.
const WITHOUT_LEADER: &str = "/etcdserverpb.KV/Range";

/// A stream of bytes to a server.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Connects to `server`. Should the connection end, the next call connects anew; the files are read each time.
pub(super) async fn dial(server: &Server, files: &Files) -> Result<Channel, BoxError> {
    // Without `https`, tonic leaves TLS to us.
    let uri: Uri = format!("http://{}", server.address()).parse()?;
    let endpoint = Endpoint::from(uri)
        .origin(server.origin())
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(false);
    let (server, files) = (server.clone(), files.clone());
    let connector = service_fn(move |_: Uri| {
        let (server, files) = (server.clone(), files.clone());
        async move {
            let opened = time::timeout(CONNECT_TIMEOUT, open(&server, files)).await;
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, "not connected in time");
            opened.map_err(late)?.map(TokioIo::new)
        }
    });
    let channel = endpoint.connect_with_connector(connector).await?;
    let channel = channel.map_request(asking_for_a_leader).map_err(BoxError::from);
    Ok(Channel::Custom(BoxCloneSyncService::new(channel)))
}

async fn open(server: &Server, files: Files) -> io::Result<Box<dyn Io>> {
    let address = server.address();
    let stream = match address.host() {
        Host::Ip(ip) => TcpStream::connect((*ip, address.port())).await?,
        Host::Name(name) => TcpStream::connect((&**name, address.port())).await?,
        _ => return Err(io::Error::other("the host is of a kind that cannot be reached")),
    };
    stream.set_nodelay(true)?;
    if !server.is_https() {
        return Ok(Box::new(stream));
    }
    let settings = task::spawn_blocking(move || tls::settings(&files, true)).await;
    let settings = settings.map_err(io::Error::other)?.map_err(io::Error::other)?;
    let name = match address.host() {
        Host::Ip(ip) => ServerName::IpAddress((*ip).into()),
        host => ServerName::try_from(host.to_string()).map_err(io::Error::other)?,
    };
    let stream = TlsConnector::from(Arc::new(settings))
        .connect(name, stream)
        .await?;
    Ok(Box::new(stream))
}

fn asking_for_a_leader(mut request: Request<Body>) -> Request<Body> {
    if request.uri().path() != WITHOUT_LEADER {
        request.headers_mut().insert(HAS_LEADER, YES);
    }
    request
}
