//! Certificates that are read again for every connection, as they are replaced while a service runs.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use micro_registry::Result;
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::{
        ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::CertifiedKey,
};
use tracing::warn;

/// What was made of files, and is made of them again.
pub(super) struct Renewed<T: ?Sized> {
    read: Box<dyn Fn() -> Result<Arc<T>> + Send + Sync>,
    held: Mutex<Held<T>>,
}

struct Held<T: ?Sized> {
    present: Arc<T>,
    /// What was warned of last, so that it is not said again for every connection.
    warned: Option<String>,
}

/// Trusts whom the files name by now.
#[derive(Debug)]
pub(super) struct Trusted(pub(super) Renewed<dyn ServerCertVerifier>);

/// Is who the files say by now.
#[derive(Debug)]
pub(super) struct Identified(pub(super) Renewed<CertifiedKey>);

impl<T: ?Sized> Renewed<T> {
    /// Reads the files for the first time.
    ///
    /// # Errors
    ///
    /// What `read` says.
    pub(super) fn new(read: impl Fn() -> Result<Arc<T>> + Send + Sync + 'static) -> Result<Self> {
        let present = read()?;
        Ok(Self {
            read: Box::new(read),
            held: Mutex::new(Held {
                present,
                warned: None,
            }),
        })
    }

    /// What the files have now, or had when they could last be used. They are small and a connection is rare, so that
    /// reading them may hold up the thread that connects.
    fn present(&self) -> Arc<T> {
        let read = (self.read)();
        let mut held = self.held.lock().expect("no panic while it is locked");
        match read {
            Ok(present) => {
                *held = Held {
                    present,
                    warned: None,
                }
            }
            Err(error) => {
                let said = format!("{error}");
                if held.warned.as_ref() != Some(&said) {
                    warn!(registry = crate::NAME, %error, "certificates are used as they were before");
                    held.warned = Some(said);
                }
            }
        }
        Arc::clone(&held.present)
    }
}

impl Trusted {
    /// The verifier that was made last, whose methods for signatures are the same for all of them.
    fn last(&self) -> Arc<dyn ServerCertVerifier> {
        let held = self.0.held.lock().expect("no panic while it is locked");
        Arc::clone(&held.present)
    }
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.0
            .present()
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.last().verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.last().verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.last().supported_verify_schemes()
    }
}

impl ResolvesClientCert for Identified {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(self.0.present())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Nothing of what was read: a key is among it.
impl<T: ?Sized> fmt::Debug for Renewed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewed")
    }
}
