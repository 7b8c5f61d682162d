//! A registry of one test's own; services, clients and the command are told of it by their environment alone.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use micro::{Client, RegistrySettings};
use micro_test_servers::{Consul, Etcd};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::support::{Network, Output, Process, run, told};

/// A registry that runs; it ends when this is dropped.
pub(crate) enum World {
    Mdns(Network),
    Consul(Consul),
    Etcd(Etcd),
}

impl World {
    pub(crate) async fn consul() -> Self {
        Self::Consul(Consul::builder().start().await.unwrap())
    }

    pub(crate) async fn etcd() -> Self {
        Self::Etcd(Etcd::builder().start().await.unwrap())
    }

    /// What tells of it.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Mdns(network) => vec![("MICRO_REGISTRY_ADDRESS", network.address.clone())],
            Self::Consul(consul) => consul.variables(),
            Self::Etcd(etcd) => etcd.variables(),
        }
    }

    /// Starts a service that finds it, with more variables.
    pub(crate) fn start(&self, service: &str, more: &[(&'static str, &str)]) -> Process {
        let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let variables: Vec<_> = self.variables().into_iter().chain(more).collect();
        Process::start(&mut told(service, &variables))
    }

    /// Runs `micro` with these arguments to its end.
    pub(crate) fn micro(&self, arguments: &[&str]) -> Output {
        run(told("micro", &self.variables()).args(arguments))
    }

    /// A client in this process.
    pub(crate) fn client(&self) -> Client {
        let variables = self.variables();
        let value = |wanted: &str| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map_or("mdns", |(_, value)| value)
        };
        let settings = RegistrySettings::default()
            .with_kind(value("MICRO_REGISTRY"), "this test")
            .with_addresses(value("MICRO_REGISTRY_ADDRESS"));
        Client::from_settings(&settings).unwrap()
    }

    /// Kills it; multicast has nobody to kill.
    pub(crate) fn kill(&self) {
        match self {
            Self::Mdns(_) => {}
            Self::Consul(consul) => consul.kill(),
            Self::Etcd(etcd) => etcd.kill(),
        }
    }

    /// Starts it where it was.
    pub(crate) async fn start_again(&self) {
        match self {
            Self::Mdns(_) => {}
            Self::Consul(consul) => consul.start_again().await.unwrap(),
            Self::Etcd(etcd) => etcd.start_again().await.unwrap(),
        }
    }
}

/// Where a service says that it listens.
pub(crate) fn address(service: &Process) -> String {
    let line = service.wait_for("it serves", |line| line.contains("local_address="));
    let (_, rest) = line.split_once("local_address=").unwrap();
    rest.split_whitespace().next().unwrap().to_owned()
}

/// The status with which a page of a service is answered.
pub(crate) fn page(address: &str, path: &str) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1);
    status.and_then(|status| status.parse().ok()).expect(&answer)
}

/// What a service says of its own health.
pub(crate) async fn health(address: &str) -> ServingStatus {
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let request = HealthCheckRequest {
        service: String::new(),
    };
    let mut client = HealthClient::new(channel.connect().await.unwrap());
    client.check(request).await.unwrap().into_inner().status()
}
