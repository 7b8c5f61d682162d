//! How a registry handle is made: every check on its settings.

use std::path::PathBuf;

use micro_registry::Result;

use crate::{
    Etcd,
    connection::Connection,
    credentials::{Credentials, Source},
    keys::Keys,
    server::{self, Server, Servers},
    tls,
};

/// Collects the settings of an [`Etcd`]; [`build`](Self::build) does every check.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Builder {
    addresses: Vec<String>,
    is_https: bool,
    prefix: Option<String>,
    user: Option<String>,
    password: Option<Source>,
    files: tls::Files,
}

impl Builder {
    /// Adds servers to speak to: `host:port`, `http://host:port` or `https://host:port`, several separated by commas.
    /// Default: `127.0.0.1:2379`.
    ///
    /// One is spoken to until it fails, then the next.
    pub fn address(mut self, addresses: impl AsRef<str>) -> Self {
        let addresses = addresses.as_ref().split(',').map(str::trim);
        self.addresses
            .extend(addresses.filter(|address| !address.is_empty()).map(str::to_owned));
        self
    }

    /// Speaks TLS to servers whose address has no scheme. Default: no TLS.
    pub fn https(mut self) -> Self {
        self.is_https = true;
        self
    }

    /// Sets below what all keys stand: names of printable ASCII with a `/` between them. Default: `/micro/registry`, which
    /// is Go Micro's.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Sets the user to log in as, and the password. Default: none.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.user = Some(name.into());
        self.password = Some(Source::Value(password.into()));
        self
    }

    /// Sets the user to log in as, and the file that has the password; it is read at every login. Default: none.
    pub fn user_with_password_file(mut self, name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.user = Some(name.into());
        self.password = Some(Source::File(path.into()));
        self
    }

    /// Sets the PEM file of those who may have signed a server's certificate. Default: whom the system trusts.
    ///
    /// This file and those of our own certificate are read each time a connection is made.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.authority = Some(path.into());
        self
    }

    /// Sets the PEM files of our own certificate and its key. Default: none.
    pub fn client_certificate_files(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.files.client = Some((certificate.into(), key.into()));
        self
    }

    /// The registry, with every setting checked. Reads the files, touches no network.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`](micro_registry::ErrorKind::InvalidArgument) for an address, a prefix or a user that
    /// is not allowed, and for a file that cannot be read or has not what it should have.
    pub fn build(mut self) -> Result<Etcd> {
        if self.addresses.is_empty() {
            self.addresses.push(server::DEFAULT.to_owned());
        }
        let servers = self
            .addresses
            .iter()
            .map(|address| Server::parse(address, self.is_https));
        let servers = Servers::new(servers.collect::<Result<_>>()?);
        let keys = match &self.prefix {
            Some(prefix) => Keys::new(prefix)?,
            None => Keys::default(),
        };
        // For its checks: the files are read again for each connection.
        tls::settings(&self.files, servers.any_https())?;
        let credentials = match (self.user, self.password) {
            (Some(user), Some(password)) => Some(Credentials { user, password }.checked()?),
            _ => None,
        };
        Ok(Etcd::new(Connection::new(servers, self.files, credentials), keys))
    }
}

#[cfg(test)]
mod tests {
    use micro_registry::ErrorKind;

    use super::*;

    #[test]
    fn what_is_not_allowed_says_what_is() {
        let builder = Builder::default;
        for (builder, expected) in [
            (
                builder().address("127.0.0.1:2379,unix:///x"),
                "expected is host:port",
            ),
            (builder().prefix("a b"), "allowed are"),
            (builder().user("", "5ec7e7"), "no name"),
            (builder().user("ann", ""), "is empty"),
            (
                builder().user_with_password_file("ann", "no/such/file"),
                "no/such/file",
            ),
            (builder().ca_file("no/such/file"), "no/such/file"),
            (
                builder().client_certificate_files("no/such/file", "no/such/key"),
                "no/such/",
            ),
        ] {
            let error = builder.build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!format!("{error:?}").contains("5ec7e7"), "{error:?}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let builder = Builder::default().user("ann", "5ec7e7");
        let shown = format!("{builder:?} {:?}", builder.clone().build().unwrap());
        assert!(shown.contains("ann"), "{shown}");
        assert!(!shown.contains("5ec7e7"), "{shown}");
    }

    #[test]
    fn several_addresses_may_stand_in_one_text() {
        let etcd = Builder::default()
            .address("a:1, b:2,")
            .address("https://c")
            .build()
            .unwrap();
        let shown = format!("{etcd:?}");
        assert!(
            shown.contains("[http://a:1, http://b:2, https://c:2379]"),
            "{shown}"
        );
    }
}
