//! How a registry handle is made: every check on its settings.

use std::{path::PathBuf, sync::Arc, time::Duration};

use micro_registry::{Error, ErrorKind, Result};

use crate::{
    Consul,
    agent::{self, Agent, Agents},
    announcer::Announcer,
    catalogue::Catalogue,
    check::{Check, DEREGISTER_CRITICAL_AFTER_MIN},
    http::Http,
    record::{self, Extras},
    tls,
    token::{Source, Token},
};

/// The shortest interval, and the shortest timeout, of a check that an agent makes.
const CHECK_TIME_MIN: Duration = Duration::from_secs(1);

/// Collects the settings of a [`Consul`]; [`build`](Self::build) does every check.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Builder {
    addresses: Vec<String>,
    is_https: bool,
    token: Source,
    files: tls::Files,
    datacenter: Option<String>,
    extras: Extras,
}

impl Builder {
    /// Adds agents to speak to: `host:port`, `http://host:port` or `https://host:port`, several separated by commas.
    /// Default: `127.0.0.1:8500`.
    ///
    /// One is spoken to until it fails, then the next: nodes are registered there anew.
    pub fn address(mut self, addresses: impl AsRef<str>) -> Self {
        let addresses = addresses.as_ref().split(',').map(str::trim);
        self.addresses
            .extend(addresses.filter(|address| !address.is_empty()).map(str::to_owned));
        self
    }

    /// Speaks TLS to agents whose address has no scheme. Default: plain HTTP.
    pub fn https(mut self) -> Self {
        self.is_https = true;
        self
    }

    /// Sets the ACL token; of this and [`token_file`](Self::token_file) the last counts. Default: none.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Source::Value(token.into());
        self
    }

    /// Sets the file that has the ACL token. Default: none.
    ///
    /// It is read again at most every second, and when Consul refuses what was in it.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token = Source::File(path.into());
        self
    }

    /// Sets the PEM file of those who may have signed an agent's certificate. Default: whom the system trusts.
    ///
    /// It is read again for every connection; what cannot be read leaves what was read before.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.authority = Some(path.into());
        self
    }

    /// Sets the PEM files of our own certificate and its key. Default: none.
    ///
    /// They are read again for every connection; what cannot be read, and what is being replaced and does not fit
    /// together, leaves what was read before.
    pub fn client_certificate_files(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.files.client = Some((certificate.into(), key.into()));
        self
    }

    /// Sets the datacenter to look in. Default: the agent's own. Nodes are always registered in the agent's own.
    pub fn datacenter(mut self, datacenter: impl Into<String>) -> Self {
        self.datacenter = Some(datacenter.into());
        self
    }

    /// Sets how Consul finds out whether a node is alive. Default: [`Check::Ttl`].
    pub fn check(mut self, check: Check) -> Self {
        self.extras.check.check = check;
        self
    }

    /// Sets how often the agent makes a check. Default: 10 s. Of no use with [`Check::Ttl`].
    pub fn check_interval(mut self, interval: Duration) -> Self {
        self.extras.check.interval = interval;
        self
    }

    /// Sets how long a node may take to answer a check. Default: 5 s. Of no use with [`Check::Ttl`].
    pub fn check_timeout(mut self, timeout: Duration) -> Self {
        self.extras.check.timeout = timeout;
        self
    }

    /// Sets how long a node that fails its check stays in Consul, where nobody is told of it. Default: 60 s, Consul's
    /// least.
    pub fn deregister_critical_after(mut self, time: Duration) -> Self {
        self.extras.check.deregister_critical_after = time;
        self
    }

    /// Adds tags to every node that is registered. Default: none.
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.extras.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// Says of every node that is registered that it speaks Consul's Connect itself. Default: it does not.
    pub fn connect_native(mut self) -> Self {
        self.extras.connect_native = true;
        self
    }

    /// The registry, with every setting checked. Reads the files, touches no network.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] for an address, a tag, a datacenter or a time that is not allowed, and for a file
    /// that cannot be read or has not what it should have.
    pub fn build(mut self) -> Result<Consul> {
        if self.addresses.is_empty() {
            self.addresses.push(agent::DEFAULT.to_owned());
        }
        let agents = self
            .addresses
            .iter()
            .map(|address| Agent::parse(address, self.is_https));
        let agents: Arc<[Agent]> = agents.collect::<Result<Vec<_>>>()?.into();
        self.check_settings()?;
        let tls = tls::settings(&self.files, agents.iter().any(Agent::is_https))?;
        let http = Arc::new(Http::new(&tls, Token::open(self.token)?)?);
        let catalogue = Catalogue::new(
            Arc::clone(&http),
            Agents::new(Arc::clone(&agents)),
            self.datacenter,
        );
        Ok(Consul {
            announcer: Announcer::new(http, Agents::new(Arc::clone(&agents)), self.extras),
            catalogue: Arc::new(catalogue),
            decoders: Arc::default(),
            agents,
        })
    }

    fn check_settings(&self) -> Result<()> {
        for tag in &self.extras.tags {
            record::check_tag(tag)?;
        }
        if let Some(name) = &self.datacenter {
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if name.is_empty() || !name.bytes().all(is_allowed) {
                return Err(refuse(format!(
                    "datacenter {name:?} is no name: allowed are letters, digits, `-` and `_`"
                )));
            }
        }
        let check = &self.extras.check;
        for (name, time, least) in [
            ("check_interval", check.interval, CHECK_TIME_MIN),
            ("check_timeout", check.timeout, CHECK_TIME_MIN),
            (
                "deregister_critical_after",
                check.deregister_critical_after,
                DEREGISTER_CRITICAL_AFTER_MIN,
            ),
        ] {
            if time < least {
                return Err(refuse(format!("{name} is {time:?}; the least is {least:?}")));
            }
        }
        Ok(())
    }
}

fn refuse(message: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(builder: Builder) -> String {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        error.to_string()
    }

    #[test]
    fn what_is_not_allowed_says_what_is() {
        let builder = Builder::default;
        for (builder, expected) in [
            (
                builder().address("127.0.0.1:8500,unix:///x"),
                "expected is host:port",
            ),
            (builder().datacenter("dc1&token=x"), "allowed are letters"),
            (builder().tags(["blue", "v-2"]), "a tag is not empty"),
            (builder().check_interval(Duration::ZERO), "the least is 1s"),
            (
                builder().deregister_critical_after(Duration::from_secs(1)),
                "the least is 60s",
            ),
            (builder().token(""), "is empty"),
            (builder().token_file("no/such/file"), "no/such/file"),
            (builder().ca_file("no/such/file"), "no/such/file"),
        ] {
            let message = refused(builder);
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_token_and_a_key_are_never_shown() {
        let builder = Builder::default().token("5ec7e7");
        assert!(!format!("{builder:?} {:?}", builder.clone().build().unwrap()).contains("5ec7e7"));
    }

    #[test]
    fn several_addresses_may_stand_in_one_text() {
        let consul = Builder::default()
            .address("a:1, b:2,")
            .address("https://c")
            .build()
            .unwrap();
        let shown: Vec<_> = consul.agents.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["http://a:1", "http://b:2", "https://c"]);
    }
}
