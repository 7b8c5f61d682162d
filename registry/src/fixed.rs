//! The registry that never changes: fixed addresses, for where something else already knows them.

use std::{collections::BTreeMap, str::FromStr, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{Address, Error, Node, Registry, Result, ServiceName, Snapshot, Watcher};

/// Fixed addresses: `greeter=10.0.0.1:9090,greeter=10.0.0.2:9090,orders=orders.internal:80`.
///
/// The list is the announcement: registering a node stores nothing. A node's id is its address.
///
/// ```
/// use micro_registry::{Registry, Static};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> micro_registry::Result<()> {
/// let registry: Static = "greeter=10.0.0.1:9090,greeter=10.0.0.2:9090".parse()?;
/// assert_eq!(registry.get_service("greeter").await?.len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Static {
    services: BTreeMap<ServiceName, Snapshot>,
}

impl FromStr for Static {
    type Err = Error;

    /// Reads `service=host:port` pairs separated by commas; spaces around them are ignored. A service may stand often.
    fn from_str(text: &str) -> Result<Self> {
        let mut nodes: BTreeMap<ServiceName, Vec<Arc<Node>>> = BTreeMap::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let Some((service, address)) = pair.split_once('=') else {
                return Err(Error::invalid(format!(
                    "static address {pair:?} has no `=`; expected is service=host:port, separated by commas"
                )));
            };
            let service: ServiceName = service.trim().parse()?;
            let address: Address = address.trim().parse()?;
            let node = Node::builder(service.clone(), address.to_string(), address).build()?;
            nodes.entry(service).or_default().push(Arc::new(node));
        }
        if nodes.is_empty() {
            return Err(Error::invalid(
                "no static address; expected is service=host:port, separated by commas",
            ));
        }
        Ok(Self {
            services: nodes
                .into_iter()
                .map(|(service, nodes)| (service, Snapshot::new(nodes)))
                .collect(),
        })
    }
}

#[async_trait]
impl Registry for Static {
    /// Stores nothing: the fixed list is the announcement.
    async fn register(&self, _node: &Node, _ttl: Duration) -> Result<()> {
        Ok(())
    }

    /// Takes nothing away: the fixed list stays.
    async fn deregister(&self, _node: &Node) -> Result<()> {
        Ok(())
    }

    async fn get_service(&self, service: &str) -> Result<Snapshot> {
        let service: ServiceName = service.parse()?;
        Ok(self
            .services
            .get(&service)
            .cloned()
            .unwrap_or_else(Snapshot::empty))
    }

    async fn list_services(&self) -> Result<Vec<String>> {
        Ok(self.services.keys().map(ToString::to_string).collect())
    }

    async fn watch(&self, service: &str) -> Result<Watcher> {
        let snapshot = self.get_service(service).await?;
        Ok(Watcher::spawn(|sender| async move {
            sender.send(snapshot);
            sender.closed().await;
            Ok(())
        }))
    }

    fn name(&self) -> &'static str {
        "static"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn registry() -> Static {
        " greeter=10.0.0.1:9090, greeter=[::1]:9090,orders=Orders.internal:80,"
            .parse()
            .unwrap()
    }

    #[tokio::test]
    async fn the_list_is_what_is_found() {
        let nodes = registry().get_service("greeter").await.unwrap();
        let ids: Vec<_> = nodes.nodes().iter().map(|node| node.id()).collect();
        assert_eq!(ids, ["10.0.0.1:9090", "[::1]:9090"]);
        let orders = registry().get_service("orders").await.unwrap();
        assert_eq!(orders.nodes()[0].address().to_string(), "orders.internal:80");
        assert_eq!(registry().list_services().await.unwrap(), ["greeter", "orders"]);
        assert!(registry().get_service("nobody").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn an_address_that_stands_twice_is_one_node() {
        let registry: Static = "greeter=10.0.0.1:9090,greeter=10.0.0.1:09090".parse().unwrap();
        assert_eq!(registry.get_service("greeter").await.unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_yields_the_list_and_stays_open() {
        for (service, nodes) in [("greeter", 2), ("nobody", 0)] {
            let mut watcher = registry().watch(service).await.unwrap();
            assert_eq!(watcher.next().await.unwrap().unwrap().len(), nodes);
            let year = Duration::from_secs(365 * 24 * 60 * 60);
            assert!(tokio::time::timeout(year, watcher.next()).await.is_err());
        }
    }

    #[tokio::test]
    async fn announcing_and_withdrawing_change_nothing() {
        let registry = registry();
        let before = registry.get_service("greeter").await.unwrap();
        let address = "10.0.0.3:9090".parse().unwrap();
        let node = Node::builder("greeter".parse().unwrap(), "a", address)
            .build()
            .unwrap();
        registry.register(&node, Duration::from_secs(30)).await.unwrap();
        registry.deregister(&before.nodes()[0]).await.unwrap();
        assert_eq!(registry.get_service("greeter").await.unwrap(), before);
    }

    #[tokio::test]
    async fn a_name_outside_the_grammar_is_refused() {
        for name in ["", "../agent", "a b", "greeter="] {
            let listed = registry().get_service(name).await.unwrap_err();
            let watched = registry().watch(name).await.unwrap_err();
            assert_eq!(
                [listed.kind(), watched.kind()],
                [ErrorKind::InvalidArgument; 2],
                "{name:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_called_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "no static address"),
            (" , ,", "no static address"),
            ("greeter", "no `=`"),
            ("10.0.0.1:9090", "no `=`"),
            ("greeter=", "no port"),
            ("greeter=10.0.0.1", "no port"),
            ("greeter=0.0.0.0:1", "unspecified"),
            ("greeter=10.0.0.1:80;10.0.0.2:80", "host:port"),
            ("greeter=10.0.0.1:80,greeter=10.0.0.2:0", "1 to 65535"),
            ("/=1.2.3.4:5", "service name"),
            ("=1.2.3.4:5", "service name"),
        ] {
            let error = text.parse::<Static>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text:?}");
            assert!(error.to_string().contains(reason), "{text:?}: {error}");
        }
    }
}
