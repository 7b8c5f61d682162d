//! What was made of files, and is made of them again while the program runs.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use micro_registry::Result;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme,
    client::{
        ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ClientHello, ParsedCertificate, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use tokio::time::Instant;
use tracing::warn;

/// What was made of files, and is made of them again.
pub struct Renewed<T: ?Sized> {
    whose: &'static str,
    interval: Duration,
    read: Box<dyn Fn() -> Result<Arc<T>> + Send + Sync>,
    held: Mutex<Held<T>>,
}

struct Held<T: ?Sized> {
    present: Arc<T>,
    looked: Instant,
    /// What was warned of last, so that it is not said again for every connection.
    warned: Option<String>,
}

/// Trusts, as servers, whom the files name by now.
#[derive(Debug)]
pub struct Trusted(pub Renewed<dyn ServerCertVerifier>);

/// Trusts, as clients, whose certificate is signed as the files have it by now, and for one of the names if there are any.
/// Without a certificate nobody is trusted.
#[derive(Debug)]
pub struct TrustedClients {
    /// Who checks what a certificate is signed by.
    pub signed: Renewed<dyn ClientCertVerifier>,
    /// The names of those who are let in; all are if there is none.
    pub names: Vec<ServerName<'static>>,
}

/// Is who the files say by now.
#[derive(Debug)]
pub struct Identified(pub Renewed<CertifiedKey>);

impl<T: ?Sized> Renewed<T> {
    /// Reads the files for the first time. Warnings name `whose` they are; the files are read again when they are used and
    /// `interval` has passed, and for every connection if that is zero.
    ///
    /// # Errors
    ///
    /// What `read` says.
    pub fn new(
        whose: &'static str,
        interval: Duration,
        read: impl Fn() -> Result<Arc<T>> + Send + Sync + 'static,
    ) -> Result<Self> {
        let present = read()?;
        Ok(Self {
            whose,
            interval,
            read: Box::new(read),
            held: Mutex::new(Held {
                present,
                looked: Instant::now(),
                warned: None,
            }),
        })
    }

    /// What the files have now, or had when they could last be used. They are small and rarely asked for, so that reading
    /// them may hold up the thread that connects.
    pub fn present(&self) -> Arc<T> {
        {
            let mut held = self.held();
            if held.looked.elapsed() < self.interval {
                return Arc::clone(&held.present);
            }
            // Other connections go on with what there is.
            held.looked = Instant::now();
        }
        let read = (self.read)();
        let mut held = self.held();
        match read {
            Ok(present) => {
                held.present = present;
                held.warned = None;
            }
            Err(error) => {
                let said = format!("{error}");
                if held.warned.as_ref() != Some(&said) {
                    warn!(of = self.whose, %error, "certificates are used as they were before");
                    held.warned = Some(said);
                }
            }
        }
        Arc::clone(&held.present)
    }

    /// What was made last, whose methods for signatures are the same for all that are made.
    fn last(&self) -> Arc<T> {
        Arc::clone(&self.held().present)
    }

    fn held(&self) -> MutexGuard<'_, Held<T>> {
        self.held.lock().expect("no panic while it is locked")
    }
}

/// What checks signatures as the one does that was made last.
macro_rules! signatures_as_before {
    ($renewed:tt) => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            self.$renewed
                .last()
                .verify_tls12_signature(message, certificate, signature)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            self.$renewed
                .last()
                .verify_tls13_signature(message, certificate, signature)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.$renewed.last().supported_verify_schemes()
        }
    };
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

    signatures_as_before!(0);
}

impl ClientCertVerifier for TrustedClients {
    /// None: who has one certificate sends it, and a hint could be older than the file.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let signed = self.signed.present();
        let verified = signed.verify_client_cert(end_entity, intermediates, now)?;
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let is_for = |name| verify_server_name(&certificate, name).is_ok();
        if self.names.is_empty() || self.names.iter().any(is_for) {
            return Ok(verified);
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    signatures_as_before!(signed);
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

impl ResolvesServerCert for Identified {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.present())
    }
}

/// Nothing of what was read: a key is among it.
impl<T: ?Sized> fmt::Debug for Renewed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewed")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use micro_registry::{Error, ErrorKind};
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn files_are_read_again_after_the_interval_and_stay_as_they_were_when_they_are_bad() {
        let reads = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&reads);
        let read = move || match counted.fetch_add(1, Ordering::Relaxed) {
            2 => Err(Error::new(ErrorKind::InvalidArgument, "half a file")),
            times => Ok(Arc::new(times)),
        };
        let renewed = Renewed::new("a test", SECOND, read).unwrap();
        assert_eq!((*renewed.present(), *renewed.present()), (0, 0));
        for expected in [1, 1, 3] {
            advance(SECOND).await;
            assert_eq!((*renewed.present(), *renewed.present()), (expected, expected));
        }
        assert_eq!(reads.load(Ordering::Relaxed), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_interval_files_are_read_for_every_connection() {
        let reads = AtomicUsize::new(0);
        let read = move || Ok(Arc::new(reads.fetch_add(1, Ordering::Relaxed)));
        let renewed = Renewed::new("a test", Duration::ZERO, read).unwrap();
        assert_eq!((*renewed.present(), *renewed.present()), (1, 2));
    }
}
