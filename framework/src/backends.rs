//! The one place that knows every backend by name.

#[cfg(feature = "consul")]
mod consul;
#[cfg(feature = "etcd")]
mod etcd;
mod shown;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use micro_registry::{Address, Memory, Registry, Static};
#[cfg(feature = "consul")]
use micro_registry_consul::{Builder as ConsulBuilder, Consul};
#[cfg(feature = "etcd")]
use micro_registry_etcd::{Builder as EtcdBuilder, Etcd};

use self::shown::without_password;
use crate::{
    Error, Result,
    config::{self, Environment, Loaded},
};

/// What holds when nobody names a registry: nothing to install.
const DEFAULT: &str = "mdns";

/// Which registry, and where.
///
/// A service and a client read it by themselves; this is for programs that decide between their own arguments and the
/// configuration, and for those that add a backend.
///
/// ```
/// use std::sync::Arc;
/// use micro::{Client, RegistrySettings, registry::Memory};
///
/// # fn main() -> micro::Result<()> {
/// let settings = RegistrySettings::default()
///     .backend("test", |_settings| Ok(Arc::new(Memory::default())))
///     .with_kind("test", "--registry");
/// let client = Client::from_settings(&settings)?;
/// assert_eq!(client.registry_name(), "memory");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RegistrySettings {
    kind: String,
    /// The variable, the file and key, or the argument that named the kind.
    kind_from: Option<String>,
    addresses: Vec<String>,
    /// The address of this host's interface to the network on which a service can be called from other hosts.
    advertised_on: Option<IpAddr>,
    own_loopback: bool,
    consul: config::Consul,
    etcd: config::Etcd,
    own: BTreeMap<String, Factory>,
}

impl RegistrySettings {
    /// What `micro.toml` and the environment say: see [`config`](crate::config).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when the configuration has a mistake. Whether the registry is
    /// one that this build has shows when it is opened.
    pub fn from_env() -> Result<Self> {
        let mut settings = Self::default();
        Loaded::load(&Environment::Process)?.registry(&mut settings);
        Ok(settings)
    }

    /// Sets which registry. Default: `mdns`. Errors say that `from` asked for it: an argument, a variable.
    #[must_use]
    pub fn with_kind(mut self, kind: impl Into<String>, from: impl Into<String>) -> Self {
        self.kind = kind.into();
        self.kind_from = Some(from.into());
        self
    }

    /// Sets where the registry is: one address, or several separated by commas. Default: where the backend expects it.
    #[must_use]
    pub fn with_addresses(mut self, addresses: &str) -> Self {
        let addresses = addresses
            .split(',')
            .map(str::trim)
            .filter(|address| !address.is_empty());
        self.addresses = addresses.map(str::to_owned).collect();
        self
    }

    /// Says that all loopback addresses in the registry are this host's: see
    /// [`ClientBuilder::own_loopback`](crate::ClientBuilder::own_loopback). A client goes by it unless `micro.toml` or the
    /// environment says otherwise.
    #[must_use]
    pub fn with_own_loopback(mut self) -> Self {
        self.own_loopback = true;
        self
    }

    /// Adds a backend that can then be named like those in the box. Of two with one name the last stands, also over one
    /// in the box. The factory must not touch the network: a backend connects in its first call.
    #[must_use]
    pub fn backend(
        mut self,
        name: impl Into<String>,
        factory: impl Fn(&Self) -> micro_registry::Result<Arc<dyn Registry>> + Send + Sync + 'static,
    ) -> Self {
        self.own.insert(name.into(), Arc::new(factory));
        self
    }

    /// The name of the registry.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Where the registry is; empty when nobody said. An address may have a password in it, so it belongs into no log.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        // What is said of the registry in general comes before what is said of one in particular.
        match self.kind.as_str() {
            _ if !self.addresses.is_empty() => &self.addresses,
            kind if kind == CONSUL.0 => &self.consul.addresses,
            kind if kind == ETCD.0 => &self.etcd.addresses,
            _ => &[],
        }
    }

    /// Where the registry itself listens, as far as it is known: no node is there.
    pub(crate) fn own_addresses(&self) -> Vec<Address> {
        let Some((_, port)) = PORTS.iter().find(|(kind, _)| *kind == self.kind) else {
            return Vec::new();
        };
        let local = [format!("127.0.0.1:{port}")];
        let addresses = match self.addresses() {
            [] => &local,
            addresses => addresses,
        };
        // What is no address shows when the registry is opened.
        let read = |address: &String| {
            let plain = without_password(address);
            let host = plain.split_once("://").map_or(&*plain, |(_, host)| host);
            let host = host.split('/').next().unwrap_or_default();
            host.parse().or_else(|_| format!("{host}:{port}").parse()).ok()
        };
        addresses.iter().filter_map(read).collect()
    }

    pub(crate) fn has_own_loopback(&self) -> bool {
        self.own_loopback
    }

    pub(crate) fn set_addresses(&mut self, addresses: Vec<String>) {
        self.addresses = addresses;
    }

    pub(crate) fn set_consul(&mut self, consul: config::Consul) {
        self.consul = consul;
    }

    pub(crate) fn set_etcd(&mut self, etcd: config::Etcd) {
        self.etcd = etcd;
    }

    /// Says by which interface other hosts reach the service that will be announced.
    pub(crate) fn advertised_on(mut self, interface: Option<IpAddr>) -> Self {
        self.advertised_on = interface;
        self
    }

    /// Who named the kind, if it is not `opened`, which is used instead.
    pub(crate) fn overruled_by(&self, opened: &dyn Registry) -> Option<&str> {
        let from = self.kind_from.as_deref();
        from.filter(|_| self.kind != opened.name())
    }

    /// Opens the registry. Touches no network.
    pub(crate) fn open(&self) -> Result<Arc<dyn Registry>> {
        let opened = match self.own.get(&self.kind) {
            Some(factory) => factory(self),
            None => self.in_the_box()?(self),
        };
        opened.map_err(|error| self.error("cannot be used").with_source(error))
    }

    fn in_the_box(&self) -> Result<Open> {
        match IN_THE_BOX.iter().find(|(name, _)| *name == self.kind) {
            Some((_, Some(open))) => Ok(*open),
            Some((feature, None)) => Err(self.error(&format!(
                "is not in this build, which has {}; switch on the feature {feature:?} of micro-rs",
                self.names(|open| open.is_some())
            ))),
            None => Err(self.error(&format!("is unknown; allowed are {}", self.names(|_| true)))),
        }
    }

    fn names(&self, keep: impl Fn(Option<Open>) -> bool) -> String {
        let in_the_box = IN_THE_BOX
            .iter()
            .filter(|(_, open)| keep(*open))
            .map(|(name, _)| *name);
        let own = self.own.keys().map(String::as_str);
        in_the_box.chain(own).collect::<Vec<_>>().join(", ")
    }

    fn error(&self, what: &str) -> Error {
        let from = self.kind_from.as_ref().map(|from| format!(" ({from})"));
        Error::config(format!(
            "registry {:?} {what}{}",
            self.kind,
            from.unwrap_or_default()
        ))
    }
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            kind: DEFAULT.to_owned(),
            kind_from: None,
            addresses: Vec::new(),
            advertised_on: None,
            own_loopback: false,
            consul: config::Consul::default(),
            etcd: config::Etcd::default(),
            own: BTreeMap::new(),
        }
    }
}

/// The registries that are servers, and the port on which they listen unless an address says otherwise.
const PORTS: [(&str, u16); 2] = [("consul", 8500), ("etcd", 2379)];

type Opened = micro_registry::Result<Arc<dyn Registry>>;
type Open = fn(&RegistrySettings) -> Opened;
type Factory = Arc<dyn Fn(&RegistrySettings) -> Opened + Send + Sync>;

/// Every backend in the box, in the order in which errors list them. `open` is `None` where its feature, which has the
/// backend's name, is switched off.
const IN_THE_BOX: [(&str, Option<Open>); 5] = [
    ("mdns", MDNS),
    CONSUL,
    ETCD,
    ("static", Some(open_static)),
    ("memory", Some(open_memory)),
];

#[cfg(not(feature = "mdns"))]
const MDNS: Option<Open> = None;
#[cfg(feature = "mdns")]
const MDNS: Option<Open> = Some(open_mdns);

#[cfg(feature = "mdns")]
fn open_mdns(settings: &RegistrySettings) -> Opened {
    let mut mdns = micro_registry_mdns::Mdns::builder();
    for address in &settings.addresses {
        mdns = mdns.address(address);
    }
    // Loopback is always among them.
    if let Some(ip) = settings.advertised_on.filter(|_| settings.addresses.is_empty()) {
        mdns = mdns.address(ip.to_string());
    }
    Ok(Arc::new(mdns.build()?))
}

#[cfg(not(feature = "consul"))]
const CONSUL: (&str, Option<Open>) = ("consul", None);
#[cfg(feature = "consul")]
const CONSUL: (&str, Option<Open>) = ("consul", Some(consul::open));

#[cfg(not(feature = "etcd"))]
const ETCD: (&str, Option<Open>) = ("etcd", None);
#[cfg(feature = "etcd")]
const ETCD: (&str, Option<Open>) = ("etcd", Some(etcd::open));

fn open_static(settings: &RegistrySettings) -> Opened {
    Ok(Arc::new(settings.addresses.join(",").parse::<Static>()?))
}

fn open_memory(_settings: &RegistrySettings) -> Opened {
    Ok(Arc::new(Memory::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(kind: &str, addresses: &str) -> RegistrySettings {
        RegistrySettings::default()
            .with_kind(kind, "MICRO_REGISTRY")
            .with_addresses(addresses)
    }

    fn refused(kind: &str) -> String {
        let error = settings(kind, "").open().unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Config);
        format!("{error:#}")
    }

    #[test]
    fn what_is_in_this_build_opens_without_touching_the_network() {
        for (kind, addresses) in [
            ("memory", ""),
            ("static", "greeter=10.0.0.1:9090, orders=10.0.0.2:9090"),
            #[cfg(feature = "mdns")]
            ("mdns", "127.0.0.1:5354"),
        ] {
            assert_eq!(settings(kind, addresses).open().unwrap().name(), kind);
        }
    }

    #[test]
    fn a_backend_that_is_not_built_in_names_the_feature_to_switch_on() {
        for (kind, _) in IN_THE_BOX.iter().filter(|(_, open)| open.is_none()) {
            let message = refused(kind);
            let start = format!("registry \"{kind}\" is not in this build, which has ");
            assert!(message.starts_with(&start), "{message}");
            let end =
                format!("static, memory; switch on the feature \"{kind}\" of micro-rs (MICRO_REGISTRY)");
            assert!(message.ends_with(&end), "{message}");
        }
    }

    #[test]
    fn an_unknown_name_lists_what_is_allowed_and_where_it_stands() {
        assert_eq!(
            refused("zookeeper"),
            "registry \"zookeeper\" is unknown; allowed are mdns, consul, etcd, static, memory (MICRO_REGISTRY)"
        );
    }

    #[test]
    fn a_backend_of_ones_own_is_opened_by_its_name_and_listed() {
        let with_own = |kind| {
            settings(kind, "zk:2181").backend("zookeeper", |settings| {
                assert_eq!(settings.addresses(), ["zk:2181"]);
                Ok(Arc::new(Memory::default()))
            })
        };
        with_own("zookeeper").open().unwrap();
        let error = with_own("zk").open().unwrap_err();
        assert!(error.to_string().contains("memory, zookeeper"), "{error}");
    }

    #[test]
    fn an_address_that_cannot_be_used_says_what_is_expected() {
        let error = settings("static", "10.0.0.1").open().unwrap_err();
        assert!(
            format!("{error:#}").contains("expected is service=host:port"),
            "{error:#}"
        );
    }

    #[test]
    fn where_a_registry_listens_is_known_of_those_that_are_servers() {
        for (kind, addresses, expected) in [
            ("consul", "", &["127.0.0.1:8500"][..]),
            ("etcd", "", &["127.0.0.1:2379"]),
            (
                "etcd",
                "https://root:secret@etcd.internal:1/v3,10.0.0.1,[::1]:2380",
                &["etcd.internal:1", "10.0.0.1:2379", "[::1]:2380"],
            ),
            ("static", "greeter=10.0.0.1:9090", &[]),
            ("mdns", "127.0.0.1:5353", &[]),
        ] {
            let own = settings(kind, addresses).own_addresses();
            let own: Vec<_> = own.iter().map(ToString::to_string).collect();
            assert_eq!(own, expected, "{kind} {addresses}");
        }
    }
}
