//! What lets through the addresses that may be called.

use std::{
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
};

use micro_registry::{Error, ErrorKind, Host, Node, SkippedRecords};
use tokio::net::lookup_host;

use super::super::reach::{Reach, is_registry};

/// The most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;
/// What to do about a node on this host that says so in a way that another host's would.
const ADVICE: &str = "if the node is on this host, let it advertise another address (MICRO_SERVER_ADVERTISE) or set \
                      `client.own_loopback` (MICRO_CLIENT_OWN_LOOPBACK=true)";

/// Knows what addresses mean here.
pub(super) trait Resolve: fmt::Debug + Send + Sync + 'static {
    /// The addresses of `name`, in the order in which they are tried.
    fn resolve(&self, name: &str) -> Resolving;

    /// The addresses of this host's own interfaces.
    fn own(&self) -> io::Result<Vec<IpAddr>>;
}

/// The future of [`Resolve::resolve`].
pub(super) type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Asks the system, as every program of the host does.
#[derive(Clone, Copy, Debug)]
pub(super) struct System;

impl Resolve for System {
    fn resolve(&self, name: &str) -> Resolving {
        let name = name.to_owned();
        Box::pin(async move {
            let found = lookup_host((name, 0)).await?;
            Ok(found.take(ADDRESSES_MAX).map(|address| address.ip()).collect())
        })
    }

    fn own(&self) -> io::Result<Vec<IpAddr>> {
        let interfaces = if_addrs::get_if_addrs()?;
        Ok(interfaces.iter().map(if_addrs::Interface::ip).collect())
    }
}

/// Checks the addresses of nodes.
#[derive(Debug)]
pub(super) struct Gate {
    reach: Reach,
    resolver: Box<dyn Resolve>,
    skipped: SkippedRecords,
}

impl Gate {
    pub(super) fn new(reach: Reach, registry: &'static str, resolver: impl Resolve) -> Self {
        Self {
            reach,
            resolver: Box::new(resolver),
            skipped: SkippedRecords::new(registry),
        }
    }

    /// The addresses of `node` that may be called. That there is none is an error, and worth a warning.
    pub(super) async fn checked(&self, node: &Node) -> io::Result<Vec<SocketAddr>> {
        let address = node.address();
        let mut refusal = None;
        let mut checked = Vec::new();
        for ip in self.resolve(address.host()).await? {
            let candidate = SocketAddr::new(ip, address.port());
            match self.check(candidate, node.origin()).await {
                Ok(()) => checked.push(candidate),
                Err(reason) => refusal = Some(reason),
            }
        }
        match refusal {
            Some(reason) if checked.is_empty() => {
                let message = format!("not called: {reason}");
                let error = Error::new(ErrorKind::PermissionDenied, message.clone());
                self.skipped.skip(&address.to_string(), &error);
                Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
            }
            _ => Ok(checked),
        }
    }

    async fn check(&self, candidate: SocketAddr, origin: Option<&Host>) -> Result<(), String> {
        self.reach.check(candidate.ip())?;
        for registry in self.reach.registries_at(candidate.port()) {
            let sockets = self.known(registry.host()).await.into_iter();
            let mut sockets = sockets.map(|ip| SocketAddr::new(ip, registry.port()));
            if sockets.any(|socket| is_registry(candidate, socket)) {
                return Err(format!("the registry itself is at {registry}"));
            }
        }
        if self.reach.asks_whose(candidate.ip()) {
            return self.check_whose(candidate.ip(), origin).await;
        }
        Ok(())
    }

    /// Refuses an address of loopback that must be another host's: here it leads to somebody else. Whose it is says the
    /// host on which the registry holds the record; if that is unknown, where the registry itself is.
    async fn check_whose(&self, ip: IpAddr, origin: Option<&Host>) -> Result<(), String> {
        if let Some(origin) = origin {
            let mut ips = self.known(origin).await;
            // Every host is that to itself.
            ips.retain(|ip| !ip.to_canonical().is_loopback());
            if self.has_one(&ips)? {
                return Ok(());
            }
            if !ips.is_empty() {
                return Err(format!(
                    "{ip} is a loopback address, and the record is of another host, {origin}; {ADVICE}"
                ));
            }
        }
        for registry in &self.reach.registry {
            if self.has_one(&self.known(registry.host()).await)? {
                return Ok(());
            }
        }
        match self.reach.registry.as_slice() {
            [] => Ok(()),
            [registry, ..] => Err(format!(
                "{ip} is a loopback address, and the registry, at {}, is not on this host; {ADVICE}",
                registry.host()
            )),
        }
    }

    /// Whether one of `ips` is this host's.
    fn has_one(&self, ips: &[IpAddr]) -> Result<bool, String> {
        let is_loopback = |ip: &IpAddr| ip.to_canonical().is_loopback();
        if ips.is_empty() || ips.iter().any(is_loopback) {
            return Ok(!ips.is_empty());
        }
        let own = self.resolver.own();
        let own = own.map_err(|error| format!("the addresses of this host cannot be listed: {error}"))?;
        let is_own = |ip: &IpAddr| own.iter().any(|own| own.to_canonical() == ip.to_canonical());
        Ok(ips.iter().any(is_own))
    }

    async fn resolve(&self, host: &Host) -> io::Result<Vec<IpAddr>> {
        match host {
            Host::Ip(ip) => Ok(vec![*ip]),
            host => self.resolver.resolve(&host.to_string()).await,
        }
    }

    /// The addresses of `host`. A name that does not resolve now is nobody's.
    async fn known(&self, host: &Host) -> Vec<IpAddr> {
        self.resolve(host).await.unwrap_or_default()
    }
}
