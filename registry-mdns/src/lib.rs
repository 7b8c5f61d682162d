//! The mDNS backend: standard DNS-SD on the loopback interface, or on others on request, with nothing to install.
//!
//! Every node is an instance of `_micro._tcp.local.`; the service's name, the node's id, version, address and metadata
//! stand in its TXT record. mDNS knows no security: whoever is on the same network can announce anything. Results are
//! hints, and on by default is the loopback interface alone.

mod announcer;
mod answers;
mod browser;
mod daemon;
mod directory;
// The decoders are private, and only a fuzzer calls them from outside: see `fuzz/`.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod interest;
mod interfaces;
mod multicast;
mod phase;
mod record;
mod session;
mod warning;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use micro_registry::{Node, Registry, Result, ServiceName, Snapshot, Watcher};

use crate::{interfaces::Interfaces, session::Session};

/// How long "nobody" takes to be believed, unless the builder says otherwise.
const FIRST_ANSWER_WAIT: Duration = Duration::from_secs(2);

/// The registry of a host, or of a local network, without a server.
///
/// The constructor touches no network; the first call connects. Dropping it says goodbye for all that it announces,
/// which may block for half a second.
///
/// ```
/// use std::time::Duration;
/// use micro_registry::{Node, Registry};
/// use micro_registry_mdns::Mdns;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> micro_registry::Result<()> {
/// let registry = Mdns::builder().address("127.0.0.1:15353").build()?;
/// let node = Node::builder("greeter".parse()?, "greeter-1", "127.0.0.1:9090".parse()?).build()?;
/// registry.register(&node, Duration::from_secs(30)).await?;
/// assert_eq!(registry.get_service("greeter").await?.len(), 1);
/// registry.deregister(&node).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Mdns {
    settings: Settings,
    session: Mutex<Option<Arc<Session>>>,
}

/// Collects the settings of an [`Mdns`]; [`build`](Self::build) does every check.
///
/// ```
/// use micro_registry_mdns::Mdns;
///
/// assert!(Mdns::builder().address("eth0, 10.0.0.7").build().is_ok());
/// assert!(Mdns::builder().address("0.0.0.0:5353").build().is_err());
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Builder {
    addresses: Vec<String>,
    first_answer_wait: Option<Duration>,
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) interfaces: Interfaces,
    pub(crate) first_answer_wait: Duration,
}

impl Mdns {
    /// Starts with the defaults.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The session; a new one if there is none or the last one is over.
    fn session(&self) -> Arc<Session> {
        let mut held = self.session.lock().expect("no panic while the session is locked");
        match &*held {
            Some(session) if !session.is_over() => Arc::clone(session),
            _ => Arc::clone(held.insert(Arc::new(Session::start(self.settings.clone())))),
        }
    }
}

impl Builder {
    /// Adds interfaces to speak on: `interface-or-IP[:port]`, several separated by commas, all with one port. Loopback
    /// is always among them. Default: `127.0.0.1:5353` alone.
    ///
    /// A node whose address is loopback is announced on loopback only, whatever the interfaces.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.addresses.push(address.into());
        self
    }

    /// Sets how long to wait for answers before "nobody" is believed. Default: 2 s.
    ///
    /// A responder that has just spoken keeps silent for a second, so less than that takes live nodes for absent.
    pub fn first_answer_wait(mut self, wait: Duration) -> Self {
        self.first_answer_wait = Some(wait);
        self
    }

    /// The registry, with every setting checked.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`](micro_registry::ErrorKind::InvalidArgument) for an address that is none, and for
    /// addresses with different ports.
    pub fn build(self) -> Result<Mdns> {
        let interfaces = if self.addresses.is_empty() {
            Interfaces::default()
        } else {
            self.addresses.join(",").parse()?
        };
        Ok(Mdns {
            settings: Settings {
                interfaces,
                first_answer_wait: self.first_answer_wait.unwrap_or(FIRST_ANSWER_WAIT),
            },
            session: Mutex::new(None),
        })
    }
}

#[async_trait]
impl Registry for Mdns {
    async fn register(&self, node: &Node, ttl: Duration) -> Result<()> {
        announcer::check(node)?;
        self.session().shared.register(node, ttl).await
    }

    async fn deregister(&self, node: &Node) -> Result<()> {
        self.session().shared.deregister(node).await
    }

    async fn get_service(&self, service: &str) -> Result<Snapshot> {
        let service: ServiceName = service.parse()?;
        self.session().shared.list(&service).await
    }

    async fn list_services(&self) -> Result<Vec<String>> {
        self.session().shared.services().await
    }

    async fn watch(&self, service: &str) -> Result<Watcher> {
        let service: ServiceName = service.parse()?;
        self.session().shared.watch(service).await
    }

    fn name(&self) -> &'static str {
        "mdns"
    }
}
