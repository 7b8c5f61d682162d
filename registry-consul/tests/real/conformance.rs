//! The suite that every backend passes, against an agent of its own for each clause.

use std::sync::Arc;

use async_trait::async_trait;
use micro_registry::{
    Registry, ServiceName,
    conformance::{Absent, Foreign, Harness, Restart},
};
use micro_registry_consul::{Builder, Consul};
use micro_test_servers::Consul as Agent;
use reqwest::Method;

/// How an agent is set up, and spoken to.
#[async_trait]
pub(crate) trait Setup: Send + Sync + 'static {
    /// Starts the agent.
    async fn start() -> Self;

    fn agent(&self) -> &Agent;

    /// What a process needs to speak to the agent.
    fn builder(&self) -> Builder;

    /// Prepares the agent anew after it lost everything.
    async fn prepare(&self) {}
}

/// Runs the suite against what `S` sets up.
pub(crate) struct ConsulHarness<S> {
    setup: S,
}

#[async_trait]
impl<S: Setup> Harness for ConsulHarness<S> {
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
impl<S: Setup> Absent for ConsulHarness<S> {
    async fn absent(&self) -> Arc<dyn Registry> {
        // The first of the ports that only the system may give away.
        Arc::new(
            Consul::builder()
                .address("127.0.0.1:1")
                .build()
                .expect("a good address"),
        )
    }
}

#[async_trait]
impl<S: Setup> Restart for ConsulHarness<S> {
    async fn stop(&self) {
        self.setup.agent().kill();
    }

    async fn start_empty(&self) {
        self.setup.agent().start_again().await.expect("the agent again");
        self.setup.prepare().await;
    }
}

#[async_trait]
impl<S: Setup> Foreign for ConsulHarness<S> {
    async fn write_bad_records(&self, service: &ServiceName) -> usize {
        // What is no JSON, although its checksum is right.
        let packed = "t-789cca492c492d2e01040000ffff08cc028e";
        let bad = [
            r#""Address":"127.0.0.1""#.to_owned(),
            r#""Address":"127.0.0.1","Port":70000"#.to_owned(),
            r#""Address":"127.0.0.1","Port":-1"#.to_owned(),
            r#""Address":"http://127.0.0.1/","Port":80"#.to_owned(),
            r#""Address":"a b","Port":80"#.to_owned(),
            r#""Address":"fe80::1%eth0","Port":80"#.to_owned(),
            r#""Address":"127.0.0.1","Port":80,"Meta":{"micro-id":".."}"#.to_owned(),
            r#""Address":"127.0.0.1","Port":80,"Meta":{"zone":"a\u0000b"}"#.to_owned(),
            format!(r#""Address":"127.0.0.1","Port":80,"Tags":["{packed}"]"#),
        ];
        for (number, record) in bad.iter().enumerate() {
            let body = format!(r#"{{"ID":"!{service}-{number}","Name":"{service}",{record}}}"#);
            let (status, answer) = self
                .setup
                .agent()
                .request(Method::PUT, "agent/service/register", &body)
                .await
                .expect("the agent answers");
            assert!(status.is_success(), "{answer}");
        }
        bad.len()
    }
}

/// An agent as it comes.
mod plain {
    use super::*;

    struct Plain(Agent);

    #[async_trait]
    impl Setup for Plain {
        async fn start() -> Self {
            Self(Agent::builder().start().await.expect("an agent"))
        }

        fn agent(&self) -> &Agent {
            &self.0
        }

        fn builder(&self) -> Builder {
            Consul::builder().address(self.0.address())
        }
    }

    micro_registry::conformance! { ConsulHarness<Plain> }
}
