//! With what Consul is started.

use std::{fmt::Write as _, fs, path::Path, process::Command};

use super::{Consul, MASTER};
use crate::{Certificates, Error, Result, cluster::Cluster, node::Plan, program::Program};

/// The ports of an agent: HTTP, HTTPS, of the server, and of the gossip, which is UDP, too.
const PORTS: u16 = 4;
/// The first 1.x that listens for gRPC over TLS unless it is told not to, always on the same port.
const MINOR_WITH_GRPC_TLS: u32 = 14;

/// What Consul is started with.
#[derive(Clone, Debug)]
pub struct ConsulBuilder {
    servers: usize,
    client_agent: bool,
    pub(super) rights: bool,
    tls: bool,
    keeps_data: bool,
    configuration: String,
}

impl ConsulBuilder {
    pub(super) fn new() -> Self {
        Self {
            servers: 1,
            client_agent: false,
            rights: false,
            tls: false,
            keeps_data: false,
            configuration: String::new(),
        }
    }

    /// Sets how many servers make the cluster. Default: 1.
    #[must_use]
    pub fn servers(mut self, servers: usize) -> Self {
        self.servers = servers;
        self
    }

    /// Adds an agent that is no server, as there is one on every host. It is the last of the nodes.
    #[must_use]
    pub fn client_agent(mut self) -> Self {
        self.client_agent = true;
        self
    }

    /// Denies what no rule allows; there is a token that may do everything.
    #[must_use]
    pub fn rights(mut self) -> Self {
        self.rights = true;
        self
    }

    /// Listens for TLS, too, for those who have a certificate.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Keeps on disk what is known, so that it is there after
    /// [`Node::start_again`](crate::Node::start_again). Default: one server alone loses everything, and starts faster;
    /// several keep it.
    #[must_use]
    pub fn keeps_data(mut self) -> Self {
        self.keeps_data = true;
        self
    }

    /// Adds to the configuration of every agent, in Consul's own language.
    #[must_use]
    pub fn configuration(mut self, text: &str) -> Self {
        self.configuration.push_str(text);
        self.configuration.push('\n');
        self
    }

    /// Starts all agents, and waits until they are ready.
    ///
    /// # Errors
    ///
    /// When there is no program, when it ends at once, or when it is not ready in time.
    pub async fn start(self) -> Result<Consul> {
        let certificates = self.tls.then(Certificates::new).transpose()?;
        let common = self.common(certificates.as_ref())?;
        let count = self.servers + usize::from(self.client_agent);
        let ports = PORTS * u16::try_from(count).map_err(Error::during("count the agents"))?;
        let cluster = Cluster::start(ports, |folder, first| {
            (0..count)
                .map(|index| self.plan(index, folder, first, &common))
                .collect()
        })
        .await?;
        let consul = Consul {
            cluster,
            settings: self,
            certificates,
        };
        consul.until_ready().await?;
        Ok(consul)
    }

    fn plan(&self, index: usize, folder: &Path, first: u16, common: &str) -> Result<Plan> {
        let port_of = |index: usize| first + PORTS * u16::try_from(index).expect("few agents");
        let (name, port) = (format!("consul-{}", index + 1), port_of(index));
        let folder = folder.join(&name);
        let configuration = folder.join("agent.hcl");
        let (https, server, gossip) = (port + 1, server_port(port), gossip_port(port));
        let grpc_tls = if minor_version()? >= MINOR_WITH_GRPC_TLS {
            "grpc_tls = -1"
        } else {
            ""
        };
        let text = format!(
            "ports {{ http = {port} https = {https} server = {server} serf_lan = {gossip} serf_wan = -1 dns = -1 \
             grpc = -1 {grpc_tls} }}\n{common}"
        );
        fs::create_dir_all(&folder).map_err(Error::during("make a folder for an agent"))?;
        fs::write(&configuration, text).map_err(Error::during("write an agent's configuration"))?;
        let mut arguments = vec![
            "agent".to_owned(),
            "-bind=127.0.0.1".to_owned(),
            "-client=127.0.0.1".to_owned(),
            format!("-node={name}"),
            format!("-config-file={}", configuration.display()),
        ];
        if self.is_dev() {
            arguments.push("-dev".to_owned());
        } else {
            arguments.push(format!("-data-dir={}", folder.join("data").display()));
            // The same after it lost its data: others know it by that.
            arguments.push(format!("-node-id=5ec7e700-0000-4000-8000-{index:012}"));
            arguments.push("-retry-interval=1s".to_owned());
            let servers = (0..self.servers).filter(|server| *server != index);
            arguments.extend(
                servers.map(|server| format!("-retry-join=127.0.0.1:{}", gossip_port(port_of(server)))),
            );
            if index < self.servers {
                arguments.push("-server".to_owned());
                arguments.push(format!("-bootstrap-expect={}", self.servers));
            }
        }
        Ok(Plan {
            name,
            program: Program::Consul,
            arguments,
            folder,
            port,
            tls_port: https,
        })
    }

    /// What all agents are told.
    fn common(&self, certificates: Option<&Certificates>) -> Result<String> {
        let mut text = "log_level = \"warn\"\n".to_owned();
        if !self.is_dev() {
            text.push_str("performance { raft_multiplier = 1 }\n");
        }
        if self.rights {
            let tokens = format!("tokens {{ master = \"{MASTER}\" agent = \"{MASTER}\" }}");
            let rights = format!("acl {{ enabled = true default_policy = \"deny\" {tokens} }}");
            writeln!(text, "{rights}").map_err(Error::during("write the rights"))?;
        }
        if let Some(certificates) = certificates {
            writeln!(
                text,
                "verify_incoming_https = true\nca_file = {:?}\ncert_file = {:?}\nkey_file = {:?}",
                certificates.text("ca.pem"),
                certificates.text("server.pem"),
                certificates.text("server.key")
            )
            .map_err(Error::during("write the certificates"))?;
        }
        text.push_str(&self.configuration);
        Ok(text)
    }

    fn is_dev(&self) -> bool {
        self.servers == 1 && !self.client_agent && !self.keeps_data
    }
}

pub(super) fn server_port(http: u16) -> u16 {
    http + 2
}

fn gossip_port(http: u16) -> u16 {
    http + 3
}

/// The `x` of the program's version 1.x.
fn minor_version() -> Result<u32> {
    let output = Command::new(Program::Consul.find()?)
        .arg("version")
        .output()
        .map_err(Error::during("ask Consul for its version"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let minor = text
        .split_once("v1.")
        .and_then(|(_, rest)| rest.split('.').next()?.parse().ok());
    minor.ok_or_else(|| Error::new(format!("Consul does not say which version 1.x it is: {text}")))
}
