//! TLS of the client: whom it trusts to be a node, and who it is to nodes that ask.

use std::{fmt, io, path::Path, sync::Arc, time::Duration};

use micro_registry::{Address, ErrorKind, Host, ServiceName};
use micro_tls::{Identified, Renewed, Trusted};
use rustls::{
    ClientConfig,
    client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::ServerName,
};
use tokio_rustls::TlsConnector;

use super::{ClientFiles, pair, unusable};
use crate::{Error, Io, Result};

const TABLE: &str = "client.tls";
/// gRPC is HTTP/2.
const PROTOCOL: &[u8] = b"h2";
/// How often the files are read again, while there are new connections.
const INTERVAL: Duration = Duration::from_secs(1);
/// The same of what the system trusts, which is long, and changes when the system is updated.
const SYSTEM_INTERVAL: Duration = Duration::from_secs(600);
/// What stands for the name of the service that is called.
const SERVICE: &str = "{service}";

/// TLS of a client; clones share.
#[derive(Clone)]
pub(crate) struct ClientTls {
    connector: TlsConnector,
    server_name: Option<Arc<str>>,
    plaintext: bool,
}

impl ClientTls {
    /// Reads the files for the first time.
    ///
    /// # Errors
    ///
    /// A configuration error when something is missing, and when a file cannot be used.
    pub(crate) fn new(files: &ClientFiles) -> Result<Self> {
        let authority = match (files.ca_file.clone(), files.system_authorities) {
            (Some(file), false) => Some(file),
            (None, true) => None,
            (Some(_), true) => {
                return Err(Error::config(format!(
                    "{TABLE}.ca_file and {TABLE}.system_authorities exclude each other: nodes are trusted by one of them"
                )));
            }
            (None, false) => {
                return Err(Error::config(format!(
                    "{TABLE} needs to know who may have signed the certificates of nodes: {TABLE}.ca_file, or \
                     {TABLE}.system_authorities for whomever the system trusts"
                )));
            }
        };
        if let Some(template) = &files.server_name {
            let example = template.replace(SERVICE, "greeter");
            ServerName::try_from(example).map_err(|error| {
                Error::config(format!(
                    "{TABLE}.server_name: {template:?} is no DNS name, in which {SERVICE} may stand for that of the service"
                ))
                .with_source(error)
            })?;
        }
        let provider = micro_tls::provider();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::config(format!("set up {TABLE}")).with_source(error))?;
        let trusting = Arc::clone(&provider);
        let trusted = match authority {
            Some(file) => Renewed::new(TABLE, INTERVAL, move || verifier(&file, &trusting)),
            None => Renewed::new(TABLE, SYSTEM_INTERVAL, move || {
                micro_tls::system_verifier(Arc::clone(&trusting))
            }),
        };
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Trusted(trusted.map_err(unusable(TABLE))?)));
        let identity = pair(TABLE, files.certificate_file.as_ref(), files.key_file.as_ref())?;
        let mut config = match identity {
            Some((certificate, key)) => {
                let read = move || micro_tls::identity(&certificate, &key, &provider);
                let identified = Renewed::new(TABLE, INTERVAL, read).map_err(unusable(TABLE))?;
                builder.with_client_cert_resolver(Arc::new(Identified(identified)))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        // What is resumed goes on with the certificates of the time before, and connections last.
        config.resumption = Resumption::disabled();
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            server_name: files.server_name.as_deref().map(Arc::from),
            plaintext: files.plaintext,
        })
    }

    /// Whether nodes that do not ask for TLS are called without.
    pub(crate) fn allows_plaintext(&self) -> bool {
        self.plaintext
    }

    /// Shakes hands with a node of `service` at `address`. The caller bounds the time.
    ///
    /// # Errors
    ///
    /// What is wrong with the node, or what it has against us.
    pub(crate) async fn connect(
        &self,
        io: Box<dyn Io>,
        service: &ServiceName,
        address: &Address,
    ) -> io::Result<Box<dyn Io>> {
        let name = match (&self.server_name, address.host()) {
            (Some(template), _) => named(template.replace(SERVICE, service.as_str()))?,
            (None, Host::Ip(ip)) => ServerName::IpAddress((*ip).into()),
            (None, host) => named(host.to_string())?,
        };
        let stream = self
            .connector
            .connect(name, io)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("over TLS: {error}")))?;
        Ok(Box::new(stream))
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("server_name", &self.server_name)
            .field("plaintext", &self.plaintext)
            .finish_non_exhaustive()
    }
}

fn named(name: String) -> io::Result<ServerName<'static>> {
    let told = format!("{name:?} is no name of a certificate");
    ServerName::try_from(name).map_err(|_invalid| io::Error::new(io::ErrorKind::InvalidInput, told))
}

fn verifier(
    authority: &Path,
    provider: &Arc<CryptoProvider>,
) -> micro_registry::Result<Arc<dyn ServerCertVerifier>> {
    let authorities = Arc::new(micro_tls::authorities(authority)?);
    let verifier = WebPkiServerVerifier::builder_with_provider(authorities, Arc::clone(provider)).build();
    Ok(verifier.map_err(|error| {
        let what = format!("take the authorities of {}", authority.display());
        micro_registry::Error::new(ErrorKind::InvalidArgument, what).with_source(error)
    })?)
}
