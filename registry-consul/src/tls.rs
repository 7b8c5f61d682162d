//! Whom to trust, and who we are, on connections to agents over TLS.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use micro_registry::{Error, ErrorKind, Result};
use micro_tls::{Identified, Renewed, Trusted};
use rustls::{
    ClientConfig, RootCertStore,
    client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::CryptoProvider,
};
use rustls_platform_verifier::BuilderVerifierExt;

/// The protocols to offer. Over HTTP/2 all requests share a connection.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// The files are read for every connection: requests share them, so that they are rare.
const INTERVAL: Duration = Duration::ZERO;

/// The files of certificates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    /// Who may have signed an agent's certificate, instead of those whom the system trusts.
    pub(crate) authority: Option<PathBuf>,
    /// Our own certificate and its key.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
}

/// The settings of TLS, with ring as the one provider; `is_needed` when an agent is spoken to over TLS.
///
/// # Errors
///
/// [`ErrorKind::InvalidArgument`] when a file cannot be read, or has not what it should have.
pub(crate) fn settings(files: &Files, is_needed: bool) -> Result<ClientConfig> {
    let provider = micro_tls::provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| refuse("set up TLS").with_source(error))?;
    let builder = match files.authority.clone() {
        Some(path) => {
            let provider = Arc::clone(&provider);
            let trusted = Trusted(Renewed::new(crate::NAME, INTERVAL, move || {
                verifier(&path, &provider)
            })?);
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(trusted))
        }
        // Reading what the system trusts takes time.
        None if is_needed => builder
            .with_platform_verifier()
            .map_err(|error| refuse("read whom the system trusts").with_source(error))?,
        None => builder.with_root_certificates(RootCertStore::empty()),
    };
    let mut settings = match files.client.clone() {
        Some((certificate, key)) => {
            let read = move || micro_tls::identity(&certificate, &key, &provider);
            let identified = Renewed::new(crate::NAME, INTERVAL, read)?;
            builder.with_client_cert_resolver(Arc::new(Identified(identified)))
        }
        None => builder.with_no_client_auth(),
    };
    settings.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    // What is resumed goes on with the certificates of the time before.
    settings.resumption = Resumption::disabled();
    Ok(settings)
}

fn verifier(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
    let authorities = Arc::new(micro_tls::authorities(path)?);
    let verifier = WebPkiServerVerifier::builder_with_provider(authorities, Arc::clone(provider)).build();
    Ok(verifier
        .map_err(|error| refuse(&format!("take the authorities of {}", path.display())).with_source(error))?)
}

fn refuse(what: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, what)
}
