//! The registry of a scenario: real servers on loopback, or multicast on a port of its own.

use std::{
    fs,
    net::UdpSocket,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::ValueEnum;
use micro::registry::Registry;
use micro_registry_consul::Consul as ConsulRegistry;
use micro_registry_etcd::Etcd as EtcdRegistry;
use micro_registry_mdns::Mdns;
use micro_test_servers::{Consul, Etcd, Node};
use reqwest::Method;
use tempfile::TempDir;

/// Which registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// Multicast DNS on loopback.
    Mdns,
    /// Consul.
    Consul,
    /// etcd.
    Etcd,
}

/// How many servers a registry has, and what they are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// One server.
    One,
    /// One server that has on disk what it was told.
    OneThatRemembers,
    /// Three servers. With Consul there is an agent beside them, as on every host, and services know it alone.
    Three,
    /// One server that lets hundreds in from one address.
    OneForHundreds,
    /// One server that denies what no rule allows.
    OneWithRights,
}

/// A registry that runs. It ends when it is dropped.
#[derive(Debug)]
pub struct World {
    servers: Servers,
    /// Where services and clients are told that it is.
    addresses: Vec<String>,
    /// What they identify themselves with.
    token_file: Option<PathBuf>,
}

#[derive(Debug)]
enum Servers {
    Multicast,
    Consul(Consul),
    Etcd(Etcd),
}

impl Backend {
    /// Its name, as `MICRO_REGISTRY` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mdns => "mdns",
            Self::Consul => "consul",
            Self::Etcd => "etcd",
        }
    }
}

impl World {
    /// Starts a registry.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub async fn start(backend: Backend, size: Size) -> Self {
        let (servers, addresses) = match backend {
            Backend::Mdns => (Servers::Multicast, vec![format!("127.0.0.1:{}", free_port())]),
            Backend::Consul => {
                let builder = match size {
                    Size::One => Consul::builder(),
                    Size::OneThatRemembers => Consul::builder().keeps_data(),
                    Size::OneForHundreds => {
                        Consul::builder().configuration("limits { http_max_conns_per_client = 4000 }")
                    }
                    Size::Three => Consul::builder().servers(3).client_agent(),
                    Size::OneWithRights => Consul::builder().rights(),
                };
                let consul = builder.start().await.expect("Consul starts");
                let local = consul.nodes().last().expect("an agent").address();
                (Servers::Consul(consul), vec![local])
            }
            Backend::Etcd => {
                let builder = match size {
                    Size::One | Size::OneThatRemembers | Size::OneForHundreds => Etcd::builder(),
                    Size::Three => Etcd::builder().members(3),
                    Size::OneWithRights => Etcd::builder().users(),
                };
                let etcd = builder.start().await.expect("etcd starts");
                let members = etcd.nodes().iter().map(Node::address).collect();
                (Servers::Etcd(etcd), members)
            }
        };
        Self {
            servers,
            addresses,
            token_file: None,
        }
    }

    /// The same registry, found somewhere else.
    #[must_use]
    pub fn at(mut self, address: String) -> Self {
        self.addresses = vec![address];
        self
    }

    /// The same registry, for those who have the token in this file.
    #[must_use]
    pub fn with_token_file(mut self, file: PathBuf) -> Self {
        self.token_file = Some(file);
        self
    }

    /// Where services and clients are told that it is.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// What tells a service or client of it.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let kind = match self.servers {
            Servers::Multicast => "mdns",
            Servers::Consul(_) => "consul",
            Servers::Etcd(_) => "etcd",
        };
        let mut variables = vec![
            ("MICRO_REGISTRY", kind.to_owned()),
            ("MICRO_REGISTRY_ADDRESS", self.addresses.join(",")),
        ];
        if let Some(file) = &self.token_file {
            variables.push(("CONSUL_HTTP_TOKEN_FILE", file.display().to_string()));
        }
        variables
    }

    /// A new handle of it, as services and clients have one.
    ///
    /// # Panics
    ///
    /// When the handle's settings are wrong.
    #[must_use]
    pub fn registry(&self) -> Arc<dyn Registry> {
        self.handle(&self.addresses, self.token_file.clone())
    }

    /// A new handle of it, past everything that stands between it and its services, and with all rights.
    ///
    /// # Panics
    ///
    /// When the handle's settings are wrong.
    #[must_use]
    pub fn direct(&self) -> Arc<dyn Registry> {
        match &self.servers {
            Servers::Multicast => self.registry(),
            Servers::Consul(consul) => {
                let local = consul.nodes().last().expect("an agent").address();
                let mut builder = ConsulRegistry::builder().address(local);
                if let Some(token) = consul.token() {
                    builder = builder.token(token);
                }
                Arc::new(builder.build().expect("right settings"))
            }
            Servers::Etcd(etcd) => {
                let members: Vec<_> = etcd.nodes().iter().map(Node::address).collect();
                let mut builder = EtcdRegistry::builder().address(members.join(","));
                if let Some((name, password)) = etcd.root() {
                    builder = builder.user(name, password);
                }
                Arc::new(builder.build().expect("right settings"))
            }
        }
    }

    /// A new handle of it, found somewhere else, for those who have the token in this file.
    ///
    /// # Panics
    ///
    /// When the handle's settings are wrong.
    #[must_use]
    pub fn through(&self, address: String, token_file: Option<PathBuf>) -> Arc<dyn Registry> {
        self.handle(&[address], token_file)
    }

    fn handle(&self, addresses: &[String], token_file: Option<PathBuf>) -> Arc<dyn Registry> {
        match &self.servers {
            Servers::Multicast => {
                let builder = Mdns::builder().address(&addresses[0]);
                Arc::new(builder.build().expect("a right address"))
            }
            Servers::Consul(_) => {
                let mut builder = ConsulRegistry::builder();
                for address in addresses {
                    builder = builder.address(address);
                }
                if let Some(file) = token_file {
                    builder = builder.token_file(file);
                }
                Arc::new(builder.build().expect("right settings"))
            }
            Servers::Etcd(_) => {
                let builder = EtcdRegistry::builder().address(addresses.join(","));
                Arc::new(builder.build().expect("right settings"))
            }
        }
    }

    /// Its servers, and after them Consul's agent.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        match &self.servers {
            Servers::Multicast => &[],
            Servers::Consul(consul) => consul.nodes(),
            Servers::Etcd(etcd) => etcd.nodes(),
        }
    }

    /// Consul, to be asked past the framework.
    ///
    /// # Panics
    ///
    /// When it is another registry.
    #[must_use]
    pub fn consul(&self) -> &Consul {
        match &self.servers {
            Servers::Consul(consul) => consul,
            Servers::Multicast | Servers::Etcd(_) => panic!("this scenario is for Consul"),
        }
    }

    /// etcd, to be asked past the framework.
    ///
    /// # Panics
    ///
    /// When it is another registry.
    #[must_use]
    pub fn etcd(&self) -> &Etcd {
        match &self.servers {
            Servers::Etcd(etcd) => etcd,
            Servers::Multicast | Servers::Consul(_) => panic!("this scenario is for etcd"),
        }
    }

    /// Kills all of it.
    pub fn kill(&self) {
        self.nodes().iter().for_each(Node::kill);
    }

    /// Starts all of it that does not run, and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub async fn start_again(&self) {
        match &self.servers {
            Servers::Multicast => {}
            Servers::Consul(consul) => consul.start_again().await.expect("Consul starts again"),
            Servers::Etcd(etcd) => etcd.start_again().await.expect("etcd starts again"),
        }
    }

    /// Kills all of it, and starts it where it was, knowing nothing.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub async fn start_wiped(&self) {
        match &self.servers {
            Servers::Multicast => {}
            Servers::Consul(consul) => consul.start_wiped().await.expect("Consul starts again"),
            Servers::Etcd(etcd) => etcd.start_wiped().await.expect("etcd starts again"),
        }
    }

    /// Lets it count changes that no service made.
    ///
    /// # Panics
    ///
    /// When it does not take them.
    pub async fn count_on(&self, changes: usize) {
        for _ in 0..changes {
            match &self.servers {
                Servers::Multicast => {}
                Servers::Consul(consul) => {
                    let answer = consul.request(Method::PUT, "kv/count", "").await;
                    let (status, answer) = answer.expect("Consul answers");
                    assert!(status.is_success(), "{status}: {answer}");
                }
                Servers::Etcd(etcd) => etcd.put("count", b"").await.expect("etcd takes it"),
            }
        }
    }

    /// A copy of what it has on its disks, made while it does not run.
    ///
    /// # Panics
    ///
    /// When it does not come up again.
    pub async fn copy(&self) -> TempDir {
        self.kill();
        let copy = tempfile::tempdir().expect("a folder for the copy");
        for node in self.nodes() {
            copy_folder(&node.data(), &copy.path().join(node.name()));
        }
        self.start_again().await;
        copy
    }

    /// Kills it, and starts it from a copy that was made before.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub async fn restore(&self, copy: &TempDir) {
        self.kill();
        for node in self.nodes() {
            fs::remove_dir_all(node.data()).expect("it has kept something");
            copy_folder(&copy.path().join(node.name()), &node.data());
        }
        self.start_again().await;
    }

    /// Which of its servers leads.
    ///
    /// # Panics
    ///
    /// When none does.
    pub async fn leader(&self) -> usize {
        let leader = match &self.servers {
            Servers::Multicast => None,
            Servers::Consul(consul) => consul.leader().await,
            Servers::Etcd(etcd) => etcd.leader().await,
        };
        leader.expect("a cluster that is ready has a leader")
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let from = entry.expect("a folder").path();
        let to = to.join(from.file_name().expect("a name"));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            fs::copy(&from, &to).expect("copied");
        }
    }
}

/// A free port below those that the system gives away.
pub(super) fn free_port() -> u16 {
    let mut ports = std::iter::repeat_with(|| fastrand::u16(10_000..32_000));
    ports
        .find(|port| {
            UdpSocket::bind(("0.0.0.0", *port)).is_ok()
                && std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()
        })
        .expect("ports come without end")
}
