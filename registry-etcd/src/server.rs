//! The servers that a handle may speak to, and which of them it speaks to.

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
};

use http::Uri;
use micro_registry::{Address, Error, ErrorKind, Result};

/// Where a server of this host listens.
pub(crate) const DEFAULT: &str = "127.0.0.1:2379";
/// The port of a server, where nobody names one.
const PORT: u16 = 2379;

/// The address of a server, and whether it is spoken to over TLS.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Server {
    address: Address,
    is_https: bool,
}

/// Several servers, of which one is spoken to until it fails; then the next call speaks to the next.
#[derive(Debug)]
pub(crate) struct Servers {
    servers: Vec<Server>,
    current: AtomicUsize,
}

impl Server {
    /// Reads `host:port`, `http://host:port` or `https://host:port`; `is_https` is for what has no scheme.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`], without showing what may be a password.
    pub(crate) fn parse(text: &str, is_https: bool) -> Result<Self> {
        let text = text.trim();
        if text.contains('@') {
            return Err(refuse("…@…", "names a user: set it apart from the address"));
        }
        let (is_https, rest) = match text.split_once("://") {
            None => (is_https, text),
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return Err(refuse(text, "is none")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if let Some((authority, _)) = authority.split_once(['/', '?', '#']) {
            return Err(refuse(authority, "has more than a host and a port"));
        }
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'));
        let whole = if has_port {
            authority.to_owned()
        } else {
            format!("{authority}:{PORT}")
        };
        let address = whole
            .parse()
            .map_err(|error: Error| refuse(text, "is none").with_source(error))?;
        Ok(Self { address, is_https })
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn is_https(&self) -> bool {
        self.is_https
    }

    /// What its requests carry as scheme and authority.
    pub(crate) fn origin(&self) -> Uri {
        self.to_string().parse().expect("an address makes a URI")
    }
}

impl Servers {
    /// All of `servers`, of which there is at least one.
    pub(crate) fn new(servers: Vec<Server>) -> Self {
        Self {
            servers,
            current: AtomicUsize::new(0),
        }
    }

    /// The place of the server that is spoken to.
    pub(crate) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// The server at this place.
    pub(crate) fn get(&self, at: usize) -> &Server {
        &self.servers[at]
    }

    pub(crate) fn len(&self) -> usize {
        self.servers.len()
    }

    /// Speaks to the next from now on, unless the one at `at` is not spoken to any more.
    pub(crate) fn leave(&self, at: usize) {
        let next = (at + 1) % self.servers.len();
        let _ = self
            .current
            .compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Speaks to the one at `at` again, which was left.
    pub(crate) fn return_to(&self, at: usize) {
        self.current.store(at, Ordering::Relaxed);
    }

    pub(crate) fn any_https(&self) -> bool {
        self.servers.iter().any(Server::is_https)
    }
}

/// `https://10.0.0.1:2379`.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.address)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn refuse(shown: &str, reason: &str) -> Error {
    let message = format!(
        "etcd address {shown:?} {reason}; expected is host:port, http://host:port or https://host:port"
    );
    Error::new(ErrorKind::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_with_and_without_scheme_and_port() {
        for (text, is_https, expected) in [
            ("127.0.0.1:2379", false, "http://127.0.0.1:2379"),
            ("etcd.internal", false, "http://etcd.internal:2379"),
            ("etcd.internal", true, "https://etcd.internal:2379"),
            (" [::1]:2380 ", false, "http://[::1]:2380"),
            ("[::1]", false, "http://[::1]:2379"),
            ("http://10.0.0.1:2379", true, "http://10.0.0.1:2379"),
            ("https://etcd.example/", false, "https://etcd.example:2379"),
        ] {
            let server = Server::parse(text, is_https).unwrap();
            assert_eq!(server.to_string(), expected, "{text}");
            assert_eq!(server.origin().to_string(), format!("{expected}/"));
        }
    }

    #[test]
    fn what_is_no_address_says_what_is_expected_and_shows_no_password() {
        for text in [
            "",
            "http://",
            "unix:///run/etcd.sock",
            "http://10.0.0.1:2379/v3",
            "10.0.0.1:2379?token=secret",
            "http://user:secret@10.0.0.1:2379",
            "10.0.0.1:99999",
            "10.0.0.1:0",
            "::1",
            "a b:1",
        ] {
            let error = Server::parse(text, false).unwrap_err();
            assert!(error.to_string().contains("expected is host:port"), "{error}");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn a_server_is_left_once_however_many_found_that_it_failed() {
        let servers = Servers::new(["a", "b"].map(|text| Server::parse(text, false).unwrap()).into());
        servers.leave(0);
        servers.leave(0);
        assert_eq!(servers.current(), 1);
        servers.leave(1);
        assert_eq!(servers.current(), 0);
    }
}
