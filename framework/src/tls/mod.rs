//! TLS of listeners and of the client: what is set, and what is made of it where the build has the feature `tls`.

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod caller;
#[cfg(feature = "tls")]
mod client;
#[cfg(feature = "tls")]
mod handshakes;
#[cfg(feature = "tls")]
mod server;

use std::path::PathBuf;

#[cfg(not(feature = "tls"))]
pub(crate) use self::absent::{Caller, ClientTls, Secured, ServerTls};
#[cfg(feature = "tls")]
pub use self::caller::Caller;
#[cfg(feature = "tls")]
pub(crate) use self::{
    client::ClientTls,
    server::{Secured, ServerTls},
};
#[cfg(feature = "tls")]
use crate::{Error, Result};

/// How many handshakes may be under way when nobody says otherwise.
pub(crate) const HANDSHAKES_MAX: usize = 1000;

/// `[server.tls]`, as it was typed.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(feature = "tls"),
    expect(dead_code, reason = "a build without TLS checks these keys, and uses none")
)]
pub(crate) struct ServerFiles {
    /// The certificate of the listener, with those between it and the authority.
    pub(crate) certificate_file: Option<PathBuf>,
    /// Its private key.
    pub(crate) key_file: Option<PathBuf>,
    /// Who may have signed the certificate that each caller then has to show.
    pub(crate) client_ca_file: Option<PathBuf>,
    /// What that certificate has to be for, one of these; none are named when any will do.
    pub(crate) client_names: Vec<String>,
    /// Handshakes under way; one more ends the oldest. Default: 1,000.
    pub(crate) handshakes_max: usize,
}

/// `[client.tls]`, as it was typed.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(feature = "tls"),
    expect(dead_code, reason = "a build without TLS checks these keys, and uses none")
)]
pub(crate) struct ClientFiles {
    /// Who may have signed a node's certificate.
    pub(crate) ca_file: Option<PathBuf>,
    /// Whether that is whoever the system trusts.
    pub(crate) system_authorities: bool,
    /// Our own certificate, for nodes that ask for one.
    pub(crate) certificate_file: Option<PathBuf>,
    /// Its private key.
    pub(crate) key_file: Option<PathBuf>,
    /// What a node's certificate has to be for, with `{service}` for the name of its service; the host of its address if
    /// nothing is said.
    pub(crate) server_name: Option<String>,
    /// Whether nodes that do not ask for TLS are called without.
    pub(crate) plaintext: bool,
}

/// Two files of which neither is of use without the other.
#[cfg(feature = "tls")]
fn pair(
    table: &str,
    certificate: Option<&PathBuf>,
    key: Option<&PathBuf>,
) -> Result<Option<(PathBuf, PathBuf)>> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some((certificate.clone(), key.clone()))),
        (None, None) => Ok(None),
        _ => Err(Error::config(format!(
            "a certificate and its key are set together: {table}.certificate_file and {table}.key_file"
        ))),
    }
}

/// What cannot be used of `table`.
#[cfg(feature = "tls")]
fn unusable(table: &'static str) -> impl Fn(micro_registry::Error) -> Error {
    move |error| Error::config(format!("set up {table}")).with_source(error)
}
