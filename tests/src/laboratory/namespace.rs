//! A network of its own for one process, joined to ours by a cable that can be cut on one side.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    process::Command,
    thread,
};

use nix::sched::{CloneFlags, setns};

/// How to get what this needs.
const ADVICE: &str = "network namespaces need `ip` (Debian's package `iproute2`) and the right to make them: run this as \
                      root, or in a container with CAP_NET_ADMIN and CAP_SYS_ADMIN";

/// A network namespace, which goes when this is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    /// The second and third number of its addresses.
    net: (u8, u8),
}

impl Namespace {
    /// Makes one, with a cable to it: `outside` and `registry` are addresses of our end, `inside` of its end.
    ///
    /// # Panics
    ///
    /// Without the right to; the message says how to get it.
    #[must_use]
    pub fn make() -> Self {
        let namespace = Self {
            name: format!("micro-{:06x}", fastrand::u32(..0x100_0000)),
            net: (fastrand::u8(64..128), fastrand::u8(..)),
        };
        let (name, cable) = (&namespace.name, namespace.cable());
        ip(&format!("netns add {name}"));
        ip(&format!(
            "link add {cable}o type veth peer name {cable}i netns {name}"
        ));
        ip(&format!("addr add {}/24 dev {cable}o", namespace.outside()));
        ip(&format!("addr add {}/24 dev {cable}o", namespace.registry()));
        ip(&format!("link set {cable}o up"));
        ip(&format!(
            "-n {name} addr add {}/24 dev {cable}i",
            namespace.inside()
        ));
        ip(&format!("-n {name} link set {cable}i up"));
        ip(&format!("-n {name} link set lo up"));
        namespace
    }

    /// Our end, from which calls come.
    pub(super) fn outside(&self) -> String {
        self.address(1)
    }

    /// Its end.
    #[must_use]
    pub fn inside(&self) -> String {
        self.address(2)
    }

    /// A second address of our end, which does not get lost.
    #[must_use]
    pub fn registry(&self) -> String {
        self.address(3)
    }

    /// The same command, run in the namespace.
    #[must_use]
    pub fn command(&self, told: &Command) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name])
            .arg(told.get_program());
        for (name, value) in told.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(folder) = told.get_current_dir() {
            command.current_dir(folder);
        }
        command
    }

    /// A socket of this process that listens in the namespace.
    ///
    /// # Panics
    ///
    /// When that is not possible.
    #[must_use]
    pub fn listen(&self, address: SocketAddr) -> TcpListener {
        let namespace = File::open(format!("/var/run/netns/{}", self.name)).expect("a namespace");
        let listening = thread::spawn(move || {
            // For this thread alone.
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("the namespace can be entered");
            TcpListener::bind(address).expect("the address is free")
        });
        listening.join().expect("the thread listens")
    }

    /// From now on nothing that the namespace sends to callers arrives, and nobody is told so.
    pub(super) fn lose_answers(&self) {
        ip(&format!(
            "-n {} route add blackhole {}/32",
            self.name,
            self.outside()
        ));
    }

    fn address(&self, host: u8) -> String {
        format!("10.{}.{}.{host}", self.net.0, self.net.1)
    }

    /// A device's name has 15 letters at most.
    fn cable(&self) -> String {
        self.name.replace("micro-", "mc")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The cable goes with it. Fails when it was never made.
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.unwrap_or_else(|error| panic!("ip: {error}; {ADVICE}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {said}; {ADVICE}");
}
