//! Who calls, as its certificate says.

use std::{io, sync::Arc};

use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

/// Who calls, by the names in the certificate that it showed: an extension of each request to a service that asks its callers
/// for one (`server.tls.client_ca_file`), over gRPC and plain HTTP alike. Without that there is none.
///
/// The certificate was checked before the first request of its connection, and its names are read once. They are as they
/// stand there, so names of hosts may have capital letters.
///
/// ```
/// use micro::Caller;
/// use tonic::{Request, Response, Status};
///
/// fn refund(request: &Request<()>) -> Result<Response<()>, Status> {
///     let caller = request.extensions().get::<Caller>();
///     if !caller.is_some_and(|caller| caller.dns_names().any(|name| name == "billing")) {
///         return Err(Status::permission_denied("billing alone refunds"));
///     }
///     Ok(Response::new(()))
/// }
///
/// let mut request = Request::new(());
/// assert!(refund(&request).is_err());
/// request.extensions_mut().insert(Caller::named(["billing"], [], None));
/// assert!(refund(&request).is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(Arc<Names>);

#[derive(Debug, PartialEq, Eq)]
struct Names {
    dns: Box<[String]>,
    uris: Box<[String]>,
    common: Option<String>,
}

impl Caller {
    /// A caller of these names, to test a handler with.
    #[must_use]
    pub fn named<'n>(
        dns_names: impl IntoIterator<Item = &'n str>,
        uris: impl IntoIterator<Item = &'n str>,
        common_name: Option<&'n str>,
    ) -> Self {
        Self(Arc::new(Names {
            dns: dns_names.into_iter().map(str::to_owned).collect(),
            uris: uris.into_iter().map(str::to_owned).collect(),
            common: common_name.map(str::to_owned),
        }))
    }

    /// The names of hosts or services that the certificate is for (subject alternative names of the kind DNS).
    pub fn dns_names(&self) -> impl Iterator<Item = &str> {
        self.0.dns.iter().map(String::as_str)
    }

    /// The URIs that it is for, such as a SPIFFE ID (subject alternative names of the kind URI).
    pub fn uris(&self) -> impl Iterator<Item = &str> {
        self.0.uris.iter().map(String::as_str)
    }

    /// The common name of its subject, if it has one. Names to decide by stand in the others today.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.0.common.as_deref()
    }

    /// The names in a certificate that was checked.
    ///
    /// # Errors
    ///
    /// What is wrong with it: a caller of whom nobody can say who it is, is none.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> io::Result<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).map_err(unreadable)?;
        let names = certificate.subject_alternative_name().map_err(unreadable)?;
        let names = names.map_or(&[][..], |names| &names.value.general_names);
        let dns = names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(*name),
            _ => None,
        });
        let uris = names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        let mut common = certificate.subject().iter_common_name();
        let common = common.next().and_then(|name| name.as_str().ok());
        Ok(Self::named(dns, uris, common))
    }
}

fn unreadable(error: impl std::fmt::Display) -> io::Error {
    let what = format!("read the names in the caller's certificate: {error}");
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_nobody_s() {
        for bytes in [&[][..], b"no certificate", &[0x30, 0x82, 0xff, 0xff]] {
            let error = Caller::of(&CertificateDer::from(bytes)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }
}
