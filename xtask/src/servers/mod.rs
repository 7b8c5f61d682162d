//! The registries' servers, for tests and by hand: found on this machine, or unpacked under the target folder.

use std::{
    env, fs,
    path::{self, Path, PathBuf},
};

use clap::{Args, ValueEnum};

use crate::{
    Result,
    cargo::{cargo, root, target_folder},
    debian::Package,
    program,
};

/// The folder of the unpacked programs, in the target folder; tests look there, too.
const FOLDER: &str = "servers";

/// The servers that tests start.
const SERVERS: [Server; 2] = [
    Server {
        program: "consul",
        variable: "MICRO_TEST_CONSUL",
        package: Package {
            name: "consul",
            suite: "bullseye",
            program: "usr/bin/consul",
        },
        home: "https://developer.hashicorp.com/consul/install",
    },
    Server {
        program: "etcd",
        variable: "MICRO_TEST_ETCD",
        package: Package {
            name: "etcd-server",
            suite: "bookworm",
            program: "usr/bin/etcd",
        },
        home: "https://etcd.io/docs/latest/install/",
    },
];

/// A registry's server, and where it comes from.
#[derive(Debug)]
struct Server {
    program: &'static str,
    /// Tells the tests which program to start; a developer may set it.
    variable: &'static str,
    package: Package,
    home: &'static str,
}

/// Which servers to start by hand.
#[derive(Clone, Debug, Args)]
pub(crate) struct Order {
    /// Which registry
    registry: Registry,
    /// How many servers make the cluster: 1, 3 or 5
    #[arg(long, default_value_t = 1)]
    nodes: u8,
    /// Denies what no rule allows; a token, or a user, may do everything
    #[arg(long)]
    acl: bool,
    /// Speaks TLS to those who have a certificate
    #[arg(long)]
    tls: bool,
    /// Writes the variables into a file that is not there yet, for `. FILE` in other terminals, and removes it at the end
    #[arg(long, value_name = "FILE")]
    env: Option<PathBuf>,
}

/// A registry with servers of its own.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Registry {
    Consul,
    Etcd,
}

impl Order {
    fn program(&self) -> &'static str {
        match self.registry {
            Registry::Consul => "consul",
            Registry::Etcd => "etcd",
        }
    }

    /// The arguments of the program that starts the servers.
    fn arguments(&self) -> String {
        let flags = [(self.acl, " --acl"), (self.tls, " --tls")];
        let flags = flags.into_iter().filter(|(is_set, _)| *is_set);
        let flags: String = flags.map(|(_, flag)| flag).collect();
        format!("{} --nodes {}{flags}", self.program(), self.nodes)
    }
}

/// Starts the servers, and waits until they are stopped.
pub(crate) fn run(order: &Order) -> Result<()> {
    let mut start = cargo(&format!(
        "run --quiet --package micro-test-servers -- {}",
        order.arguments()
    ));
    if let Some(file) = &order.env {
        // The step runs at the root, and who named the file may stand elsewhere.
        start = start.arg(Path::new("--env")).arg(&path::absolute(file)?);
    }
    let is_ordered = |server: &&Server| server.program == order.program();
    let server = SERVERS
        .iter()
        .find(is_ordered)
        .expect("every registry has a server");
    start.env(server.variable, server.provide()?).run()
}

/// The variables that tell the tests which servers to start.
///
/// # Errors
///
/// When a server is neither on this machine nor among Debian's packages; the message says how to get it.
pub(crate) fn provide() -> Result<Vec<(&'static str, PathBuf)>> {
    let provided = SERVERS
        .iter()
        .map(|server| Ok((server.variable, server.provide()?)));
    provided.collect()
}

impl Server {
    /// What the developer named, else what is on PATH, else what was unpacked before, else Debian's package.
    fn provide(&self) -> Result<PathBuf> {
        if let Some(program) = env::var_os(self.variable) {
            let program = root().join(program);
            if !program.is_file() {
                let shown = program.display();
                return Err(format!("{} names {shown}, which is no program", self.variable).into());
            }
            return Ok(program);
        }
        if let Some(program) = program::on_path(self.program) {
            return Ok(program);
        }
        let folder = target_folder().join(FOLDER);
        let unpacked = folder.join(self.program);
        if !unpacked.is_file() {
            println!("\n{} is not on PATH: unpack Debian's", self.program);
            fs::create_dir_all(&folder)?;
            self.package
                .unpack(&folder, &unpacked)
                .map_err(|error| self.advice(&error.to_string()))?;
        }
        Ok(unpacked)
    }

    fn advice(&self, reason: &str) -> String {
        format!(
            "the tests start {0}, which is not on PATH, and Debian's package `{1}` cannot be had here ({reason}): \
             install {0} ({2}), or set {3} to the path of its program",
            self.program, self.package.name, self.home, self.variable
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_cannot_be_had_says_how_to_get_it() {
        for server in &SERVERS {
            let advice = server.advice("no apt-get");
            for needed in [server.program, server.home, server.variable, "no apt-get"] {
                assert!(advice.contains(needed), "{advice}");
            }
        }
    }
}
