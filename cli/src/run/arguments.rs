//! What can be typed after `micro run`.

use std::{ffi::OsString, path::PathBuf};

use clap::Args;

/// The most nodes of one `micro run`: more belong on more machines.
pub(super) const NODES_MAX: u16 = 100;

/// What the help of the command ends with.
pub(crate) const HELP: &str = "\
Examples:
  micro run .
  micro run examples/greeter --nodes 3
  micro run examples/greeter examples/welcome

Several services run together if several folders are given, one whose micro.toml lists them as services = [\"greeter\", \
\"shop/orders\"] in its table [run], or one that contains packages with a micro.toml. They must be in one registry.

A gateway stands beside them and answers HTTP and JSON: POST /greeter/say/hello. It exports what runs, or what the table \
[gateway] of micro.toml says, and shows services and nodes at /dashboard to whoever is on this machine.

Each node listens on a free port of 127.0.0.1. The nodes run in the folder of their package, so its micro.toml counts; \
its table [run] can say nodes, bin, release, watch and gateway. MICRO_SERVER_NAME, MICRO_SERVER_ID, MICRO_SERVER_ADDRESS and \
MICRO_SERVER_ADVERTISE are not passed on. Nodes and gateway take loopback addresses in the registry for this host's \
(MICRO_CLIENT_OWN_LOOPBACK=true), also if the registry is on another; what you have set of that stays.

When a source of the package or of its workspace changes, it is built anew, and each node is replaced by a new one: the old \
one serves until the new one is ready, so no call fails. A build that fails, or a new node that does, leaves what runs as it is.

A node that crashes is started again. Ctrl-C lets first the gateway and then the nodes finish their calls; a second Ctrl-C \
kills them.

With --json, an object has the line of a process, {\"process\":\"greeter-1\",\"line\":\"…\"}, or a message, which for a node that \
is ready has \"event\": \"ready\", and \"replaced\" once those before it have ended, and its process, node and address; \"gateway\" \
has the url. What cargo says stays on standard error.

Exit codes: 0 when all ended well, 1 when a build failed, a node could not start or did not stop well, 2 for what was typed \
wrong, 130 for Ctrl-C during the first build.";

/// `micro run`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The folder of a package, of a micro.toml that lists `services`, or one that contains services
    #[arg(default_value = ".", value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// How many nodes of each service to run [default: 1]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(NODES_MAX)))]
    pub(crate) nodes: Option<u16>,
    /// The binary to run, if the package has several; for one service only
    #[arg(long, value_name = "NAME")]
    pub(crate) bin: Option<String>,
    /// Build with optimisations
    #[arg(long)]
    pub(crate) release: bool,
    /// Do not build and run anew what has changed
    #[arg(long)]
    pub(crate) no_watch: bool,
    /// Where HTTP and JSON are answered by calls of the services [default: 127.0.0.1:8080, or another port if that is taken]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) gateway: Option<String>,
    /// Run no gateway beside the services
    #[arg(long, conflicts_with = "gateway")]
    pub(crate) no_gateway: bool,
    /// Write JSON, one object a line: what the nodes write, and what is said of them
    #[arg(long)]
    pub(crate) json: bool,
}

/// The hidden command by which nodes are started.
#[derive(Debug, Args)]
pub(crate) struct NodeArguments {
    pub(crate) parent: u32,
    pub(crate) executable: PathBuf,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<OsString>,
}
