//! Services and a gateway, each a process of its own, on a network of one test's own.

use std::{
    collections::BTreeMap,
    env,
    net::{TcpListener, UdpSocket},
    path::Path,
    process::Stdio,
    sync::Mutex,
};

use micro_test_servers::binary;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::process::{Child, Command};

/// A gateway with a dashboard, and services. Dropping it kills them all.
#[derive(Debug)]
pub struct System {
    /// What tells of the registry.
    variables: Vec<(&'static str, String)>,
    port: u16,
    gateway: Option<Child>,
    services: BTreeMap<String, Child>,
}

impl System {
    /// A gateway for the greeter, and for the service that calls it.
    #[must_use]
    pub fn start() -> Self {
        let port = free(|port| UdpSocket::bind(("0.0.0.0", port)).is_ok());
        Self::start_in(vec![("MICRO_REGISTRY_ADDRESS", format!("127.0.0.1:{port}"))])
    }

    /// The same, in the registry that these variables tell of.
    #[must_use]
    pub fn start_in(variables: Vec<(&'static str, String)>) -> Self {
        let mut system = Self {
            variables,
            port: free(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()),
            gateway: None,
            services: BTreeMap::new(),
        };
        system.start_gateway();
        system
    }

    /// Where the dashboard is.
    #[must_use]
    pub fn dashboard(&self) -> String {
        format!("{}/dashboard", self.origin())
    }

    /// Where the gateway is.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// Starts the gateway, where it was before.
    pub fn start_gateway(&mut self) {
        let mut command = self.command("micro");
        let address = format!("127.0.0.1:{}", self.port);
        command.args([
            "gateway",
            "greeter",
            "welcome",
            "--dashboard",
            "--address",
            &address,
        ]);
        self.gateway = Some(command.spawn().unwrap());
    }

    /// Kills the gateway.
    pub fn kill_gateway(&mut self) {
        end(&mut self.gateway.take().expect("a gateway runs"));
    }

    /// Asks the gateway to stop, and waits for that.
    pub async fn stop_gateway(&mut self) {
        let mut gateway = self.gateway.take().expect("a gateway runs");
        let id = i32::try_from(gateway.id().unwrap()).unwrap();
        kill(Pid::from_raw(id), Signal::SIGTERM).unwrap();
        gateway.wait().await.unwrap();
    }

    /// Starts a node of one of the examples.
    pub fn start_node(&mut self, program: &str, id: &str) {
        let node = self.command(program).env("MICRO_SERVER_ID", id).spawn().unwrap();
        self.services.insert(id.to_owned(), node);
    }

    /// Ends a node as `kill -9` does: it says nothing to anybody.
    pub fn kill_node(&mut self, id: &str) {
        end(&mut self.services.remove(id).expect("the node runs"));
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(binary(program));
        let ours = ["MICRO_", "CONSUL_", "ETCD_"];
        for (name, _) in env::vars().filter(|(name, _)| ours.iter().any(|start| name.starts_with(start))) {
            command.env_remove(name);
        }
        command
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(root())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

fn end(child: &mut Child) {
    child.start_kill().unwrap();
}

/// A port below those that the system gives away, which no other test of this program gets.
fn free(is_free: impl Fn(u16) -> bool) -> u16 {
    static TAKEN: Mutex<u32> = Mutex::new(0);
    let mut taken = TAKEN.lock().unwrap();
    loop {
        *taken += 1;
        let port = u16::try_from(20_000 + (std::process::id() % 5_000 * 2 + *taken) % 12_000).unwrap();
        assert!(*taken < 12_000, "no port is free");
        if is_free(port) {
            return port;
        }
    }
}

/// The repository's root.
#[must_use]
pub fn root() -> &'static Path {
    let mut ancestors = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    ancestors.nth(2).expect("the package is in a folder of the tests")
}
