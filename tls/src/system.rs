//! Whom the system trusts.

use std::sync::Arc;

use micro_registry::{Error, ErrorKind, Result};
use rustls::{client::danger::ServerCertVerifier, crypto::CryptoProvider};
use rustls_platform_verifier::Verifier;

/// Trusts whom the system trusts by now: on Linux who stands in the files that `SSL_CERT_FILE` and `SSL_CERT_DIR` name, or
/// else where OpenSSL looks. To read them takes milliseconds.
///
/// # Errors
///
/// [`ErrorKind::InvalidArgument`] when the system trusts nobody, or does not say whom.
pub fn system_verifier(provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
    let verifier = Verifier::new(provider).map_err(|error| {
        let what = "read whom the system trusts, as SSL_CERT_FILE and SSL_CERT_DIR or its own files say";
        Error::new(ErrorKind::InvalidArgument, what).with_source(error)
    })?;
    Ok(Arc::new(verifier))
}
