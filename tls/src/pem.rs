//! Reads certificates and keys; what is wrong is told with the file, and never with what stands in it.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use micro_registry::{Error, ErrorKind, Result};
use rustls::{
    InconsistentKeys, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

/// The largest file in bytes: all authorities that a system trusts have a quarter of it.
const SIZE_MAX: u64 = 1024 * 1024;

/// The authorities in the PEM file at `path`.
///
/// # Errors
///
/// [`ErrorKind::InvalidArgument`] when the file cannot be read, or has not what it should have.
pub fn authorities(path: &Path) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store
            .add(certificate)
            .map_err(|error| refuse(&about("take a certificate authority of", path)).with_source(error))?;
    }
    Ok(store)
}

/// The certificate in the PEM file at `certificate`, its own first and then those between it and the authority, with the
/// private key in that at `key`.
///
/// # Errors
///
/// [`ErrorKind::InvalidArgument`] when a file cannot be read or has not what it should have, and when the two do not belong
/// together.
pub fn identity(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>> {
    let what = about("read the private key in", key);
    // Without a cause that could show the key.
    let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| {
        refuse(&format!(
            "{what}: expected is one of PKCS #8, PKCS #1 or SEC 1, as PEM"
        ))
    })?;
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|error| refuse(&what).with_source(error))?;
    let identity = CertifiedKey::new(certificates(certificate)?, key);
    match identity.keys_match() {
        // A key that does not tell its public half may fit; handshakes will show.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Arc::new(identity)),
        Err(error) => Err(refuse(&about("use the certificate of", certificate)).with_source(error)),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let what = about("read the certificates in", path);
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let found = found.map_err(|error| refuse(&what).with_source(error))?;
    if found.is_empty() {
        return Err(refuse(&format!("{what}: there are none; expected is PEM")));
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |error: io::Error| refuse(&about("read", path)).with_source(error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(SIZE_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > SIZE_MAX {
        return Err(refuse(&format!(
            "{}: it is larger than {SIZE_MAX} bytes",
            about("read", path)
        )));
    }
    Ok(bytes)
}

fn about(what: &str, path: &Path) -> String {
    format!("{what} {}", path.display())
}

fn refuse(what: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, what)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::generate_simple_self_signed;

    use super::*;
    use crate::provider;

    #[test]
    fn a_file_that_has_not_what_it_should_have_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let large = "#".repeat(usize::try_from(SIZE_MAX).unwrap() + 1);
        for text in [
            None,
            Some(""),
            Some("-----BEGIN CERTIFICATE-----\n"),
            Some("no certificate"),
            Some(&*large),
        ] {
            if let Some(text) = text {
                fs::write(&path, text).unwrap();
            }
            let error = authorities(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains("ca.pem"), "{error}");
        }
    }

    #[test]
    fn a_key_is_that_of_the_certificate_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = ["a.pem", "a.key"].map(|name| folder.path().join(name));
        let [one, other] = [(); 2].map(|()| generate_simple_self_signed(["localhost".to_owned()]).unwrap());
        fs::write(&certificate, one.cert.pem()).unwrap();
        fs::write(&key, one.signing_key.serialize_pem()).unwrap();
        identity(&certificate, &key, &provider()).unwrap();
        fs::write(&key, other.signing_key.serialize_pem()).unwrap();
        let error = identity(&certificate, &key, &provider()).unwrap_err();
        assert!(error.to_string().contains("a.pem"), "{error}");
        fs::write(
            &key,
            "-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----\n",
        )
        .unwrap();
        let error = identity(&certificate, &key, &provider()).unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(told.contains("a.key") && !told.contains("SECRET"), "{told}");
    }
}
