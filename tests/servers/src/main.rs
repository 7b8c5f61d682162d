//! `cargo xtask servers`: real registries by hand, until Ctrl-C, or until whoever started them has gone.

mod variables;

use std::{
    env,
    fmt::Display,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use micro_test_servers::{Certificates, Consul, Error, Etcd, Node, Result};
use nix::unistd;
use tokio::{
    signal::unix::{SignalKind, signal},
    time,
};

use crate::variables::{EnvFile, exports};

/// How often it is looked whether whoever started us is still there.
const PARENT_INTERVAL: Duration = Duration::from_secs(1);

/// What to start.
struct Order {
    registry: String,
    nodes: usize,
    acl: bool,
    tls: bool,
    /// Where the variables go, instead of being shown.
    env: Option<PathBuf>,
}

/// What runs; it ends when this is dropped.
enum Running {
    Consul(Consul),
    Etcd(Etcd),
}

impl Order {
    /// Reads `consul|etcd [--nodes 3] [--acl] [--tls] [--env FILE]`.
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let registry = arguments.next().unwrap_or_default();
        if !["consul", "etcd"].contains(&registry.as_str()) {
            return Err(format!(
                "registry {registry:?} is unknown; allowed are consul, etcd"
            ));
        }
        let mut order = Self {
            registry,
            nodes: 1,
            acl: false,
            tls: false,
            env: None,
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--nodes" => {
                    let nodes = arguments.next().unwrap_or_default();
                    let allowed = ["1", "3", "5"].contains(&nodes.as_str());
                    let parsed = nodes.parse().ok().filter(|_| allowed);
                    order.nodes = parsed.ok_or(format!("--nodes {nodes:?}; allowed are 1, 3 and 5"))?;
                }
                "--acl" => order.acl = true,
                "--tls" => order.tls = true,
                "--env" => {
                    let file = arguments.next().filter(|file| !file.is_empty());
                    order.env = Some(file.ok_or("--env names no file")?.into());
                }
                other => {
                    return Err(format!(
                        "{other:?} is unknown; allowed are --nodes N, --acl, --tls and --env FILE"
                    ));
                }
            }
        }
        Ok(order)
    }

    async fn start(&self) -> Result<Running> {
        if self.registry == "consul" {
            let mut builder = Consul::builder().servers(self.nodes).keeps_data();
            if self.acl {
                builder = builder.rights();
            }
            if self.tls {
                builder = builder.tls();
            }
            return Ok(Running::Consul(builder.start().await?));
        }
        let mut builder = Etcd::builder().members(self.nodes);
        if self.acl {
            builder = builder.users();
        }
        if self.tls {
            builder = builder.tls();
        }
        Ok(Running::Etcd(builder.start().await?))
    }
}

impl Running {
    fn nodes(&self) -> &[Node] {
        match self {
            Self::Consul(consul) => consul.nodes(),
            Self::Etcd(etcd) => etcd.nodes(),
        }
    }

    fn certificates(&self) -> Option<&Certificates> {
        match self {
            Self::Consul(consul) => consul.certificates(),
            Self::Etcd(etcd) => etcd.certificates(),
        }
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Consul(consul) => consul.variables(),
            Self::Etcd(etcd) => etcd.variables(),
        }
    }

    /// Says how to find what runs; what was written for that is there until it is dropped.
    fn tell(&self, env: Option<&Path>) -> Result<Option<EnvFile>> {
        let variables = self.variables();
        let file = env.map(|path| EnvFile::write(path, &variables)).transpose()?;
        for node in self.nodes() {
            let tls = self.certificates().map(|_| format!(", {}", node.tls_address()));
            let tls = tls.unwrap_or_default();
            println!("{} runs at http://{}{tls}", node.name(), node.address());
        }
        println!("\nPaste this where services, clients and the command are to find it:\n");
        match &file {
            Some(file) => println!("{}", file.command()),
            None => print!("{}", exports(&variables)),
        }
        println!("\nCtrl-C stops it, and it forgets everything.");
        Ok(file)
    }
}

/// Waits for Ctrl-C, for the terminal to go, and for whoever started us to end.
async fn until_told_to_stop() -> Result<()> {
    let failed = |error: std::io::Error| told("wait for signals", error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let parent = unistd::getppid();
    let orphaned = async {
        let mut looks = time::interval(PARENT_INTERVAL);
        while unistd::getppid() == parent {
            looks.tick().await;
        }
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
        () = orphaned => {}
    }
    Ok(())
}

fn told(what: &str, error: impl Display) -> Error {
    Error::new(format!("{what}: {error}"))
}

async fn serve(order: &Order) -> Result<()> {
    let stopped = until_told_to_stop();
    tokio::pin!(stopped);
    let running = tokio::select! {
        running = order.start() => running?,
        stopped = &mut stopped => return stopped,
    };
    let _file = running.tell(order.env.as_deref())?;
    stopped.await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = match Order::read(env::args().skip(1)) {
        Ok(order) => serve(&order).await.map_err(|error| error.to_string()),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
