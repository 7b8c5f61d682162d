//! TLS of a listener: who it is, who may call it, and a bound on handshakes.

use std::{fmt, io, path::Path, sync::Arc, time::Duration};

use micro_registry::ErrorKind;
use micro_tls::{Identified, Renewed, TrustedClients};
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    pki_types::ServerName,
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{ServerFiles, caller::Caller, handshakes::Handshakes, pair, unusable};
use crate::{Error, Result};

const TABLE: &str = "server.tls";
/// What can be spoken after the handshake, best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// How often the files are read again, while there are handshakes.
const INTERVAL: Duration = Duration::from_secs(1);

/// TLS of a listener; clones share.
#[derive(Clone)]
pub(crate) struct ServerTls {
    acceptor: TlsAcceptor,
    handshakes: Arc<Handshakes>,
}

/// A connection after its handshake.
pub(crate) type Secured<Stream> = TlsStream<Stream>;

impl ServerTls {
    /// Reads the files for the first time.
    ///
    /// # Errors
    ///
    /// A configuration error when something is missing, and when a file cannot be used.
    pub(crate) fn new(files: &ServerFiles) -> Result<Self> {
        let identity = pair(TABLE, files.certificate_file.as_ref(), files.key_file.as_ref())?;
        let Some((certificate, key)) = identity else {
            return Err(Error::config(format!(
                "{TABLE} needs a certificate: {TABLE}.certificate_file and {TABLE}.key_file"
            )));
        };
        let provider = micro_tls::provider();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::config(format!("set up {TABLE}")).with_source(error))?;
        let builder = match clients(files, &provider)? {
            Some(clients) => builder.with_client_cert_verifier(clients),
            None => builder.with_no_client_auth(),
        };
        let read = move || micro_tls::identity(&certificate, &key, &provider);
        let identified = Renewed::new(TABLE, INTERVAL, read).map_err(unusable(TABLE))?;
        let mut config = builder.with_cert_resolver(Arc::new(Identified(identified)));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        // What is resumed goes on with the certificates of the time before, and connections last.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            handshakes: Arc::new(Handshakes::new(files.handshakes_max)),
        })
    }

    /// Shakes hands, and says who the peer is if it has shown that. The caller bounds the time.
    ///
    /// # Errors
    ///
    /// What the peer did wrong, or that it had to make room for others.
    pub(crate) async fn accept<Stream>(&self, stream: Stream) -> io::Result<(Secured<Stream>, Option<Caller>)>
    where
        Stream: AsyncRead + AsyncWrite + Unpin,
    {
        let place = self.handshakes.begin();
        let stream = tokio::select! {
            biased;
            accepted = self.acceptor.accept(stream) => accepted?,
            () = place.lost() => return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "there are too many handshakes, and this was the oldest",
            )),
        };
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let caller = certificate.map(Caller::of).transpose()?;
        Ok((stream, caller))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

/// Who checks the certificates of callers; `None` when they need none.
fn clients(
    files: &ServerFiles,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>> {
    let Some(authority) = files.client_ca_file.clone() else {
        if files.client_names.is_empty() {
            return Ok(None);
        }
        return Err(Error::config(format!(
            "{TABLE}.client_names are names of certificates, which {TABLE}.client_ca_file asks for"
        )));
    };
    let names: Result<Vec<_>> = files.client_names.iter().map(|name| client_name(name)).collect();
    let (names, provider) = (names?, Arc::clone(provider));
    let read = move || verifier(&authority, &provider);
    let signed = Renewed::new(TABLE, INTERVAL, read).map_err(unusable(TABLE))?;
    Ok(Some(Arc::new(TrustedClients { signed, names })))
}

fn client_name(name: &str) -> Result<ServerName<'static>> {
    ServerName::try_from(name.to_owned()).map_err(|error| {
        Error::config(format!(
            "{TABLE}.client_names: {name:?} is neither a DNS name nor an IP address"
        ))
        .with_source(error)
    })
}

fn verifier(
    authority: &Path,
    provider: &Arc<CryptoProvider>,
) -> micro_registry::Result<Arc<dyn ClientCertVerifier>> {
    let authorities = Arc::new(micro_tls::authorities(authority)?);
    let signed = WebPkiClientVerifier::builder_with_provider(authorities, Arc::clone(provider)).build();
    let signed = signed.map_err(|error| {
        let what = format!("take the authorities of {}", authority.display());
        micro_registry::Error::new(ErrorKind::InvalidArgument, what).with_source(error)
    })?;
    Ok(signed)
}
