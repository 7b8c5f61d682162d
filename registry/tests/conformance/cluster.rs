//! The harness of the registry that can be stopped, wiped, written into by others, and given one fault.

use std::{marker::PhantomData, sync::Arc};

use async_trait::async_trait;
use micro_registry::{
    Registry, ServiceName,
    conformance::{Absent, Foreign, Harness, Restart},
};
use tokio::runtime::Runtime;

use crate::{
    remote::Remote,
    server::{Fault, Server},
};

/// What is wrong with a registry.
pub(crate) trait Defect: Send + Sync + 'static {
    const FAULT: Fault;
}

/// One server, and as many processes as are asked for.
pub(crate) struct Cluster<D> {
    server: Arc<Server>,
    defect: PhantomData<D>,
}

impl<D: Defect> Cluster<D> {
    fn new() -> Self {
        Self {
            server: Arc::new(Server::start(D::FAULT)),
            defect: PhantomData,
        }
    }
}

#[async_trait]
impl<D: Defect> Harness for Cluster<D> {
    async fn start() -> Self {
        Self::new()
    }

    async fn process(&self) -> Arc<dyn Registry> {
        Arc::new(Remote::new(Arc::clone(&self.server)))
    }

    fn runtime() -> Runtime {
        super::paused()
    }
}

#[async_trait]
impl<D: Defect> Absent for Cluster<D> {
    async fn absent(&self) -> Arc<dyn Registry> {
        let server = Server::start(D::FAULT);
        server.stop();
        Arc::new(Remote::new(Arc::new(server)))
    }
}

#[async_trait]
impl<D: Defect> Restart for Cluster<D> {
    async fn stop(&self) {
        self.server.stop();
    }

    async fn start_empty(&self) {
        self.server.start_empty();
    }
}

#[async_trait]
impl<D: Defect> Foreign for Cluster<D> {
    async fn write_bad_records(&self, service: &ServiceName) -> usize {
        self.server.write_bad(service);
        1
    }
}
