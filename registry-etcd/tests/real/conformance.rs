//! The suite that every backend passes, against a server of its own for each clause.

use std::sync::Arc;

use async_trait::async_trait;
use micro_registry::{
    Registry, ServiceName,
    conformance::{Absent, Foreign, Harness, Restart},
};
use micro_registry_etcd::{Builder, Etcd};
use micro_test_servers::Etcd as Server;

/// How a server is set up, and spoken to.
#[async_trait]
pub(crate) trait Setup: Send + Sync + 'static {
    /// Starts the server.
    async fn start() -> Self;

    fn server(&self) -> &Server;

    /// What a process needs to speak to the server.
    fn builder(&self) -> Builder;

    /// Prepares the server, which knows nothing.
    async fn prepare(&self) {}
}

/// Runs the suite against what `S` sets up.
pub(crate) struct EtcdHarness<S> {
    setup: S,
}

#[async_trait]
impl<S: Setup> Harness for EtcdHarness<S> {
    async fn start() -> Self {
        let setup = S::start().await;
        setup.prepare().await;
        Self { setup }
    }

    async fn process(&self) -> Arc<dyn Registry> {
        Arc::new(self.setup.builder().build().expect("good settings"))
    }
}

#[async_trait]
impl<S: Setup> Absent for EtcdHarness<S> {
    async fn absent(&self) -> Arc<dyn Registry> {
        // The first of the ports that only the system may give away.
        Arc::new(
            Etcd::builder()
                .address("127.0.0.1:1")
                .build()
                .expect("a good address"),
        )
    }
}

#[async_trait]
impl<S: Setup> Restart for EtcdHarness<S> {
    async fn stop(&self) {
        self.setup.server().kill();
    }

    async fn start_empty(&self) {
        self.setup.server().start_wiped().await.expect("the server again");
        self.setup.prepare().await;
    }
}

#[async_trait]
impl<S: Setup> Foreign for EtcdHarness<S> {
    async fn write_bad_records(&self, service: &ServiceName) -> usize {
        let of_node = |node: &str| format!(r#"{{"name":"{service}","nodes":[{{{node}}}]}}"#);
        let bad = [
            b"".to_vec(),
            b"\xff\xfe".to_vec(),
            b"no JSON".to_vec(),
            b"null".to_vec(),
            b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
                .to_vec(),
            of_node("").into(),
            of_node(r#""id":"a","address":"127.0.0.1:70000""#).into(),
            of_node(r#""id":"a","address":"http://127.0.0.1/""#).into(),
            of_node(r#""id":"a","address":"0.0.0.0:80""#).into(),
            of_node(r#""id":7,"address":"127.0.0.1:80""#).into(),
            format!(r#"{{"name":"{service}","nodes":[]}}"#).into(),
        ];
        for (number, record) in bad.iter().enumerate() {
            let key = format!("/micro/registry/{service}/!{number}");
            let written = self.setup.server().put(&key, record).await;
            written.expect("etcd takes whatever it is given");
        }
        bad.len()
    }
}

/// A server as it comes.
mod plain {
    use super::*;

    struct Plain(Server);

    #[async_trait]
    impl Setup for Plain {
        async fn start() -> Self {
            Self(Server::builder().start().await.expect("a server"))
        }

        fn server(&self) -> &Server {
            &self.0
        }

        fn builder(&self) -> Builder {
            Etcd::builder().address(self.0.address())
        }
    }

    micro_registry::conformance! { EtcdHarness<Plain> }
}
