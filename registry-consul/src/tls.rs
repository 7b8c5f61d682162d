//! Whom to trust, and who we are, on connections to agents over TLS.

mod renewed;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use micro_registry::{Error, ErrorKind, Result};
use rustls::{
    ClientConfig, RootCertStore,
    client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use rustls_platform_verifier::BuilderVerifierExt;

use self::renewed::{Identified, Renewed, Trusted};

/// The protocols to offer. Over HTTP/2 all requests share a connection.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

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
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| refuse("set up TLS").with_source(error))?;
    let builder = match files.authority.clone() {
        Some(path) => {
            let provider = Arc::clone(&provider);
            let trusted = Trusted(Renewed::new(move || verifier(&path, &provider))?);
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
            let identified = Renewed::new(move || identity(&certificate, &key, &provider))?;
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
    let mut store = RootCertStore::empty();
    let what = about("take a certificate authority of", path);
    for certificate in certificates(path)? {
        store
            .add(certificate)
            .map_err(|error| refuse(&what).with_source(error))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(store.into(), Arc::clone(provider));
    let verifier = verifier
        .build()
        .map_err(|error| refuse(&what).with_source(error))?;
    Ok(verifier)
}

fn identity(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>> {
    let what = about("read the private key in", key);
    // Without a cause that could show the key.
    let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| refuse(&what))?;
    let identity = CertifiedKey::from_der(certificates(certificate)?, key, provider)
        .map_err(|error| refuse(&about("use the client certificate of", certificate)).with_source(error))?;
    Ok(Arc::new(identity))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let what = about("read the certificates in", path);
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let found = found.map_err(|error| refuse(&what).with_source(error))?;
    if found.is_empty() {
        return Err(refuse(&format!("{what}: there are none")));
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| refuse(&about("read", path)).with_source(error))
}

fn about(what: &str, path: &Path) -> String {
    format!("{what} {}", path.display())
}

fn refuse(what: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_has_not_what_it_should_have_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let files = Files {
            authority: Some(path.clone()),
            client: None,
        };
        for text in [
            None,
            Some(""),
            Some("-----BEGIN CERTIFICATE-----\n"),
            Some("no certificate"),
        ] {
            if let Some(text) = text {
                fs::write(&path, text).unwrap();
            }
            let error = settings(&files, true).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains("ca.pem"), "{error}");
        }
    }
}
