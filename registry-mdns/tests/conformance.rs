//! Runs the suite that every backend passes, by mDNS on the loopback interface.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use mdns_sd::{IfKind, ServiceDaemon, ServiceInfo};
use micro_registry::{
    Registry, ServiceName,
    conformance::{Absent, Foreign, Harness, Methods},
};
use micro_registry_mdns::Mdns;

/// All clauses speak on one port, as the processes of one host do; another run of them has another port.
struct MdnsHarness {
    port: u16,
    foreign: ServiceDaemon,
}

impl MdnsHarness {
    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for MdnsHarness {
    fn drop(&mut self) {
        // The bad records go with it; there is nothing to wait for.
        let _ = self.foreign.shutdown();
    }
}

#[async_trait]
impl Harness for MdnsHarness {
    async fn start() -> Self {
        let port = 20_000 + u16::try_from(std::process::id() % 12_000).expect("less than 12,000");
        let foreign = ServiceDaemon::new_with_port(port).expect("a daemon starts");
        for kind in [IfKind::IPv4, IfKind::IPv6] {
            foreign.disable_interface(kind).expect("the daemon listens");
        }
        foreign
            .enable_interface(IfKind::LoopbackV4)
            .expect("the daemon listens");
        Self { port, foreign }
    }

    async fn process(&self) -> Arc<dyn Registry> {
        let mdns = Mdns::builder().address(self.address()).build();
        Arc::new(mdns.expect("a loopback address is good"))
    }

    fn methods(&self) -> Methods {
        Methods::LeftOut
    }

    fn nodes_max(&self) -> usize {
        200
    }
}

#[async_trait]
impl Absent for MdnsHarness {
    async fn absent(&self) -> Arc<dyn Registry> {
        let mdns = Mdns::builder().address("no-such-interface").build();
        Arc::new(mdns.expect("whether an interface is there is seen by the first call"))
    }
}

#[async_trait]
impl Foreign for MdnsHarness {
    async fn write_bad_records(&self, service: &ServiceName) -> usize {
        let good = [
            ("service", service.as_str()),
            ("id", "bad-1"),
            ("address", "127.0.0.1:80"),
        ];
        let changes: [(&str, Option<&str>); 8] = [
            ("service", None),
            ("service", Some("../agent")),
            ("id", None),
            ("id", Some("a b")),
            ("address", Some("0.0.0.0:80")),
            ("address", Some("http://127.0.0.1:80")),
            ("since", Some("yesterday")),
            ("m.%zz", Some("badly escaped")),
        ];
        let texts = changes.map(|(key, value)| {
            let mut text: HashMap<String, String> =
                good.map(|(key, value)| (key.into(), value.into())).into();
            text.remove(key);
            text.extend(value.map(|value| (key.into(), value.into())));
            text
        });
        let count = texts.len() + 1;
        // The last has no text at all, and a port that cannot be called.
        for (number, text) in texts.into_iter().chain([HashMap::new()]).enumerate() {
            let label = format!("bad-{service}-{number}");
            let port = if text.is_empty() { 0 } else { 80 };
            let mut info = ServiceInfo::new(
                "_micro._tcp.local.",
                &label,
                &format!("{label}.local."),
                "127.0.0.1",
                port,
                text,
            )
            .expect("DNS-SD allows it");
            info.set_requires_probe(false);
            self.foreign.register(info).expect("the daemon listens");
        }
        count
    }
}

micro_registry::conformance! {
    MdnsHarness,
    cannot {
        a_backend_restarted_empty_has_the_node_after_the_next_renewal: "mDNS has no server that could restart",
    }
}
