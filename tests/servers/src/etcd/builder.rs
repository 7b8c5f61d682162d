//! With what etcd is started.

use std::path::Path;

use super::Etcd;
use crate::{Certificates, Error, Result, cluster::Cluster, node::Plan, program::Program};

/// The ports of a member: for clients without and with TLS, and for the other members.
const PORTS: u16 = 3;

/// What etcd is started with.
#[derive(Clone, Debug)]
pub struct EtcdBuilder {
    members: usize,
    pub(super) users: bool,
    tls: bool,
    arguments: Vec<String>,
}

impl EtcdBuilder {
    pub(super) fn new() -> Self {
        Self {
            members: 1,
            users: false,
            tls: false,
            arguments: Vec::new(),
        }
    }

    /// Sets how many members make the cluster. Default: 1.
    #[must_use]
    pub fn members(mut self, members: usize) -> Self {
        self.members = members;
        self
    }

    /// Lets in who has a name and a password alone; there is a user who may do everything.
    #[must_use]
    pub fn users(mut self) -> Self {
        self.users = true;
        self
    }

    /// Listens for TLS, too, for those who have a certificate.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Adds an argument of every member, such as `--election-timeout=500` or `--auth-token-ttl=5`.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Starts all members, and waits until they are ready.
    ///
    /// # Errors
    ///
    /// When there is no program, when it ends at once, or when it is not ready in time.
    pub async fn start(self) -> Result<Etcd> {
        let certificates = self.tls.then(Certificates::new).transpose()?;
        let ports = PORTS * u16::try_from(self.members).map_err(Error::during("count the members"))?;
        let cluster = Cluster::start(ports, |folder, first| {
            let plans = (0..self.members).map(|index| self.plan(index, folder, first, certificates.as_ref()));
            Ok(plans.collect())
        })
        .await?;
        let etcd = Etcd {
            cluster,
            settings: self,
            certificates,
        };
        etcd.prepare().await?;
        Ok(etcd)
    }

    fn plan(&self, index: usize, folder: &Path, first: u16, certificates: Option<&Certificates>) -> Plan {
        let port_of = |index: usize| first + PORTS * u16::try_from(index).expect("few members");
        let name_of = |index: usize| format!("etcd-{}", index + 1);
        let peer_of = |index: usize| format!("http://127.0.0.1:{}", port_of(index) + 2);
        let (name, port, peer) = (name_of(index), port_of(index), peer_of(index));
        let members: Vec<_> = (0..self.members)
            .map(|index| format!("{}={}", name_of(index), peer_of(index)))
            .collect();
        let folder = folder.join(&name);
        let plain = format!("http://127.0.0.1:{port}");
        let tls = certificates.map(|_| format!("https://127.0.0.1:{}", port + 1));
        let listening = tls.iter().chain([&plain]).cloned().collect::<Vec<_>>().join(",");
        let advertised = tls.map_or(plain, |_| format!("https://localhost:{}", port + 1));
        let mut arguments = vec![
            format!("--name={name}"),
            format!("--data-dir={}", folder.join("data").display()),
            format!("--listen-client-urls={listening}"),
            format!("--advertise-client-urls={advertised}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster={}", members.join(",")),
            "--initial-cluster-token=micro-test-servers".to_owned(),
            "--bcrypt-cost=4".to_owned(),
            "--logger=zap".to_owned(),
            "--log-level=warn".to_owned(),
        ];
        if let Some(certificates) = certificates {
            arguments.push("--client-cert-auth".to_owned());
            for (argument, file) in [
                ("trusted-ca-file", "ca.pem"),
                ("cert-file", "server.pem"),
                ("key-file", "server.key"),
            ] {
                arguments.push(format!("--{argument}={}", certificates.text(file)));
            }
        }
        arguments.extend(self.arguments.iter().cloned());
        Plan {
            name,
            program: Program::Etcd,
            arguments,
            folder,
            port,
            tls_port: port + 1,
        }
    }
}
