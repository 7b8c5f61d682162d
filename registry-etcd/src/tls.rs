//! Whom to trust, and who we are, on connections to servers over TLS.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use micro_registry::{Error, ErrorKind, Result};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, client::WantsClientCert, sign::SingleCertAndKey};
use rustls_platform_verifier::BuilderVerifierExt;

/// The protocol to offer: gRPC is HTTP/2.
const PROTOCOL: &[u8] = b"h2";

/// The files of certificates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    /// Who may have signed a server's certificate, instead of those whom the system trusts.
    pub(crate) authority: Option<PathBuf>,
    /// Our own certificate and its key.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
}

/// The settings of TLS, with ring as the one provider; `is_needed` when a server is spoken to over TLS.
///
/// # Errors
///
/// [`ErrorKind::InvalidArgument`] when a file cannot be read, or has not what it should have.
pub(crate) fn settings(files: &Files, is_needed: bool) -> Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(micro_tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| refuse("set up TLS").with_source(error))?;
    let builder = match &files.authority {
        Some(path) => builder.with_root_certificates(micro_tls::authorities(path)?),
        // Reading what the system trusts takes time.
        None if is_needed => builder
            .with_platform_verifier()
            .map_err(|error| refuse("read whom the system trusts").with_source(error))?,
        None => builder.with_root_certificates(RootCertStore::empty()),
    };
    let mut settings = match &files.client {
        Some((certificate, key)) => identified(builder, certificate, key)?,
        None => builder.with_no_client_auth(),
    };
    settings.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(settings)
}

fn identified(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    certificate: &Path,
    key: &Path,
) -> Result<ClientConfig> {
    let identity = micro_tls::identity(certificate, key, builder.crypto_provider())?;
    Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity))))
}

fn refuse(what: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, what)
}
