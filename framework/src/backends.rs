//! The one place that knows every backend by name.

use std::{collections::BTreeMap, fmt, net::IpAddr, sync::Arc};

use micro_registry::{Memory, Registry, Static};

use crate::{Error, Result};

/// What holds when nobody names a registry: nothing to install.
const DEFAULT: &str = "mdns";

/// Which registry, and where: what a backend's factory gets.
#[derive(Clone)]
pub struct RegistrySettings {
    pub(crate) kind: String,
    /// The variable, or the file and key, that named the kind.
    pub(crate) kind_from: Option<String>,
    pub(crate) address: Vec<String>,
    /// The address of this host's interface to the network on which a service can be called from other hosts.
    pub(crate) advertised_on: Option<IpAddr>,
}

impl RegistrySettings {
    /// The addresses that `MICRO_REGISTRY_ADDRESS` or the file has, in their order; none when nobody said.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.address
    }

    fn error(&self, what: &str) -> Error {
        let from = self.kind_from.as_ref();
        Error::config(format!(
            "registry {:?} {what}{}",
            self.kind,
            from.map(|from| format!(" ({from})")).unwrap_or_default()
        ))
    }
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            kind: DEFAULT.to_owned(),
            kind_from: None,
            address: Vec::new(),
            advertised_on: None,
        }
    }
}

/// Without the addresses: one may have a password in it.
impl fmt::Debug for RegistrySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrySettings")
            .field("kind", &self.kind)
            .field("addresses", &self.address.len())
            .finish()
    }
}

type Opened = micro_registry::Result<Arc<dyn Registry>>;
type Open = fn(&RegistrySettings) -> Opened;
type Factory = Arc<dyn Fn(&RegistrySettings) -> Opened + Send + Sync>;

/// Every backend in the box, in the order in which errors list them. `open` is `None` where its feature, which has the
/// backend's name, is switched off.
const IN_THE_BOX: [(&str, Option<Open>); 5] = [
    ("mdns", MDNS),
    ("consul", None),
    ("etcd", None),
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
    for address in &settings.address {
        mdns = mdns.address(address);
    }
    // Loopback is always among them.
    if let Some(ip) = settings.advertised_on.filter(|_| settings.address.is_empty()) {
        mdns = mdns.address(ip.to_string());
    }
    Ok(Arc::new(mdns.build()?))
}

fn open_static(settings: &RegistrySettings) -> Opened {
    Ok(Arc::new(settings.address.join(",").parse::<Static>()?))
}

fn open_memory(_settings: &RegistrySettings) -> Opened {
    Ok(Arc::new(Memory::default()))
}

/// The backends that `MICRO_REGISTRY` can name: those in the box, and a user's own.
#[derive(Clone, Default)]
pub(crate) struct Backends {
    own: BTreeMap<String, Factory>,
}

impl Backends {
    /// Adds a backend of the user's own; of two with one name the last stands, also over one in the box.
    pub(crate) fn add(
        &mut self,
        name: impl Into<String>,
        factory: impl Fn(&RegistrySettings) -> Opened + Send + Sync + 'static,
    ) {
        self.own.insert(name.into(), Arc::new(factory));
    }

    /// Opens the registry that `settings` name. Touches no network: backends connect in their first call.
    pub(crate) fn open(&self, settings: &RegistrySettings) -> Result<Arc<dyn Registry>> {
        let opened = if let Some(factory) = self.own.get(&settings.kind) {
            factory(settings)
        } else {
            self.in_the_box(settings)?(settings)
        };
        opened.map_err(|error| settings.error("cannot be used").with_source(error))
    }

    fn in_the_box(&self, settings: &RegistrySettings) -> Result<Open> {
        let kind = &settings.kind;
        match IN_THE_BOX.iter().find(|(name, _)| name == kind) {
            Some((_, Some(open))) => Ok(*open),
            Some((feature, None)) => Err(settings.error(&format!(
                "is not in this build, which has {}; switch on the feature {feature:?} of micro-rs",
                self.names(|open| open.is_some())
            ))),
            None => Err(settings.error(&format!("is unknown; allowed are {}", self.names(|_| true)))),
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
}

impl fmt::Debug for Backends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.own.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(kind: &str, address: &[&str]) -> RegistrySettings {
        RegistrySettings {
            kind: kind.to_owned(),
            kind_from: Some("MICRO_REGISTRY".to_owned()),
            address: address.iter().map(|&address| address.to_owned()).collect(),
            advertised_on: None,
        }
    }

    fn refused(kind: &str) -> String {
        let error = Backends::default().open(&settings(kind, &[])).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Config);
        format!("{error:#}")
    }

    #[test]
    fn what_needs_no_server_opens() {
        for (kind, address) in [
            ("memory", &[][..]),
            ("static", &["greeter=10.0.0.1:9090", "orders=10.0.0.2:9090"]),
        ] {
            let registry = Backends::default().open(&settings(kind, address)).unwrap();
            assert_eq!(registry.name(), kind);
        }
    }

    #[test]
    fn a_backend_that_is_not_built_in_names_the_feature_to_switch_on() {
        for (kind, open) in IN_THE_BOX {
            if open.is_none() {
                let message = refused(kind);
                assert!(
                    message.starts_with(&format!("registry \"{kind}\" is not in this build, which has "))
                );
                assert!(
                    message.contains(&format!("switch on the feature \"{kind}\" of micro-rs")),
                    "{message}"
                );
            }
        }
    }

    #[test]
    fn an_unknown_name_lists_what_is_allowed_and_where_it_stands() {
        let message = refused("zookeeper");
        let expected = "registry \"zookeeper\" is unknown; allowed are mdns, consul, etcd, static, memory (MICRO_REGISTRY)";
        assert_eq!(message, expected);
    }

    #[test]
    fn a_backend_of_ones_own_is_opened_by_its_name_and_listed() {
        let mut backends = Backends::default();
        backends.add("zookeeper", |settings: &RegistrySettings| {
            assert_eq!(settings.addresses(), ["zk:2181"]);
            Ok(Arc::new(Memory::default()))
        });
        backends.open(&settings("zookeeper", &["zk:2181"])).unwrap();
        let error = backends.open(&settings("zk", &[])).unwrap_err();
        assert!(error.to_string().contains("memory, zookeeper"), "{error}");
    }

    #[test]
    fn an_address_that_cannot_be_used_says_what_is_expected() {
        let error = Backends::default()
            .open(&settings("static", &["10.0.0.1"]))
            .unwrap_err();
        assert!(
            format!("{error:#}").contains("expected is service=host:port"),
            "{error:#}"
        );
    }

    #[test]
    fn addresses_stay_out_of_debug_output() {
        let shown = format!("{:?}", settings("etcd", &["http://root:secret@10.0.0.1:2379"]));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
