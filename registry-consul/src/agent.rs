//! The agents that a handle may speak to, and which of them it speaks to.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use micro_registry::{Error, ErrorKind, Result};
use reqwest::Url;

/// Where an agent of this host listens.
pub(crate) const DEFAULT: &str = "127.0.0.1:8500";
/// The port of an agent, where nobody names one.
const HTTP_PORT: u16 = 8500;
const HTTPS_PORT: u16 = 8501;

/// The address of an agent.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Agent {
    url: Url,
}

/// Several agents, of which one is spoken to until it fails; then the next call speaks to the next.
#[derive(Debug)]
pub(crate) struct Agents {
    agents: Arc<[Agent]>,
    current: AtomicUsize,
}

/// One try at an agent; after one that failed, the next is at another agent.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    agents: &'a Agents,
    at: usize,
    /// Whether it counts as a failure when nobody waits any longer: whoever announces is cut off by a timeout.
    fails_when_cut: bool,
}

impl Agent {
    /// Reads `host:port`, `http://host:port` or `https://host:port`; `is_https` is for what has no scheme.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`], without showing what may be a password.
    pub(crate) fn parse(text: &str, is_https: bool) -> Result<Self> {
        let text = text.trim();
        if text.contains('@') {
            return Err(refuse(
                "…@…",
                "names a user, which Consul does not know: use a token",
            ));
        }
        let has_scheme = text.contains("://");
        let scheme = if is_https { "https" } else { "http" };
        let whole = if has_scheme {
            text.to_owned()
        } else {
            format!("{scheme}://{text}")
        };
        let mut url: Url = whole
            .parse()
            .map_err(|error| refuse(text, "is none").with_source(error))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(refuse(text, "is none"));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(refuse(url.authority(), "has more than a host and a port"));
        }
        let has_port = whole
            .trim_end_matches('/')
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
        if !has_scheme && !has_port {
            let port = if is_https { HTTPS_PORT } else { HTTP_PORT };
            url.set_port(Some(port)).expect("http has ports");
        }
        Ok(Self { url })
    }

    /// The URL of an endpoint, each of whose `segments` is escaped.
    pub(crate) fn endpoint(&self, segments: &[&str]) -> Url {
        let mut url = self.url.clone();
        url.path_segments_mut()
            .expect("http has a path")
            .pop_if_empty()
            .push("v1")
            .extend(segments);
        url
    }

    pub(crate) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }
}

impl Agents {
    pub(crate) fn new(agents: Arc<[Agent]>) -> Self {
        Self {
            agents,
            current: AtomicUsize::new(0),
        }
    }

    /// A try at the agent that is spoken to.
    pub(crate) fn attempt(&self) -> Attempt<'_> {
        Attempt {
            agents: self,
            at: self.current.load(Ordering::Relaxed),
            fails_when_cut: false,
        }
    }

    /// A try that has failed if it is dropped before there was an answer.
    pub(crate) fn urgent_attempt(&self) -> Attempt<'_> {
        Attempt {
            fails_when_cut: true,
            ..self.attempt()
        }
    }

    /// The agent at this place of the list.
    pub(crate) fn get(&self, at: usize) -> &Agent {
        &self.agents[at]
    }
}

impl<'a> Attempt<'a> {
    pub(crate) fn agent(&self) -> &'a Agent {
        self.agents.get(self.at)
    }

    /// The place of the agent in the list.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Notes what came of it: an agent that cannot do its work has failed, one that refuses has not.
    pub(crate) fn answered<T>(mut self, answer: Result<T>) -> Result<T> {
        self.fails_when_cut = false;
        if matches!(&answer, Err(error) if error.kind() == ErrorKind::Unavailable) {
            self.leave();
        }
        answer
    }

    fn leave(&self) {
        let next = (self.at + 1) % self.agents.agents.len();
        // Whoever failed at the same agent at the same time has moved on already.
        let current = &self.agents.current;
        let _ = current.compare_exchange(self.at, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.fails_when_cut {
            self.leave();
        }
    }
}

/// `https://10.0.0.1:8501`.
impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.url.scheme(), self.url.authority())
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn refuse(shown: &str, reason: &str) -> Error {
    let message = format!(
        "Consul address {shown:?} {reason}; expected is host:port, http://host:port or https://host:port"
    );
    Error::new(ErrorKind::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_with_and_without_scheme_and_port() {
        for (text, is_https, expected) in [
            ("127.0.0.1:8500", false, "http://127.0.0.1:8500"),
            ("consul.internal", false, "http://consul.internal:8500"),
            ("consul.internal", true, "https://consul.internal:8501"),
            ("consul.internal:443", true, "https://consul.internal"),
            (" [::1]:8500 ", false, "http://[::1]:8500"),
            ("[::1]", false, "http://[::1]:8500"),
            ("http://10.0.0.1:8500", true, "http://10.0.0.1:8500"),
            ("https://consul.example/", false, "https://consul.example"),
        ] {
            assert_eq!(
                Agent::parse(text, is_https).unwrap().to_string(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_address_says_what_is_expected_and_shows_no_password() {
        for text in [
            "",
            "http://",
            "unix:///run/consul.sock",
            "http://10.0.0.1:8500/ui",
            "10.0.0.1:8500?token=secret",
            "http://user:secret@10.0.0.1:8500",
            "10.0.0.1:99999",
            "a b:1",
        ] {
            let error = Agent::parse(text, false).unwrap_err();
            assert!(error.to_string().contains("expected is host:port"), "{error}");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn what_stands_in_a_path_is_escaped() {
        let agent = Agent::parse("127.0.0.1:8500", false).unwrap();
        let url = agent.endpoint(&["health", "service", "a/../b?c#d%2e"]);
        assert_eq!(
            url.as_str(),
            "http://127.0.0.1:8500/v1/health/service/a%2F..%2Fb%3Fc%23d%252e"
        );
    }

    fn agents() -> Agents {
        let agents = ["a:1", "b:1", "c:1"].map(|text| Agent::parse(text, false).unwrap());
        Agents::new(agents.into())
    }

    fn failed(kind: ErrorKind) -> Result<()> {
        Err(Error::new(kind, "try"))
    }

    #[test]
    fn the_next_agent_is_spoken_to_after_one_that_failed_and_once_for_many_failures() {
        let agents = agents();
        let (first, second, third) = (agents.attempt(), agents.attempt(), agents.urgent_attempt());
        assert!(first.answered(failed(ErrorKind::Unavailable)).is_err());
        assert!(second.answered(failed(ErrorKind::Unavailable)).is_err());
        drop(third);
        let held = agents.attempt();
        assert_eq!(held.agent().to_string(), "http://b:1");
        assert!(held.answered(failed(ErrorKind::PermissionDenied)).is_err());
        agents.urgent_attempt().answered(Ok(())).unwrap();
        assert_eq!(agents.attempt().at(), 1);
    }

    #[test]
    fn whoever_looks_may_stop_waiting_and_whoever_announces_may_not() {
        let agents = agents();
        drop(agents.attempt());
        assert_eq!(agents.attempt().at(), 0);
        drop(agents.urgent_attempt());
        assert_eq!(agents.attempt().at(), 1);
        drop(agents.urgent_attempt());
        drop(agents.urgent_attempt());
        assert_eq!(agents.attempt().at(), 0);
    }
}
