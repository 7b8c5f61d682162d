//! What can be typed: the commands, their options and their help.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum, builder::styling::Styles};
use clap_complete::engine::ArgValueCompleter;

use crate::{completions, endpoints, gateway, health, metadata::Header, run};

const EXAMPLES: &str = "\
Examples:
  micro new my-service
  micro run examples/greeter --nodes 2
  micro services
  micro describe greeter
  micro call greeter Say.Hello '{\"name\":\"Ada\"}'
  micro health greeter

The registry is the one of the services: MICRO_REGISTRY, micro.toml, or mDNS on this machine.

With --json, errors and the log (RUST_LOG) on standard error are JSON, too, an object a line.

Exit codes: 0 for success, 1 for what failed, 2 for what was typed wrong, 64 + N for the gRPC code N (`micro call --help` \
lists them), 130 for Ctrl-C before there was anything to end in order.";

const REGISTRY_HELP: &str = "mdns, consul, etcd, static, or another registry of this build [default: MICRO_REGISTRY, micro.toml, or mdns]";
const REGISTRY_ADDRESS_HELP: &str =
    "Its addresses, separated by commas [default: MICRO_REGISTRY_ADDRESS, micro.toml, or the registry's own]";

const NEW_HELP: &str = "\
Examples:
  micro new shop/orders
  micro new shop/checkout --template client --calls orders
  micro new shop/edge --template gateway --calls orders
  micro new my-backend --template registry
  micro new shop/orders --registry consul

The service is called like its folder, which must not exist yet. It builds and runs as it is made, and its tests run it \
in one process; what is left to write is the proto file and the handlers. Within a cargo workspace it becomes a member.

Exit codes: 0 when it is made, 2 for what was typed wrong, 1 for what could not be written; then nothing is left behind.";

const CALL_HELP: &str = "\
Examples:
  micro call greeter Say.Hello '{\"name\":\"Ada\"}'
  micro call greeter greeter.Say/Hello '{\"name\":\"Ada\"}' --timeout 2s -H 'x-md-global-tenant: a'
  echo '{\"name\":\"Ada\"}' | micro call greeter Hello -

Messages are the canonical JSON of protobuf. A stream goes in and out as one JSON a line.

Exit codes: 0 for success, 2 for what was typed wrong, 1 for anything else that failed, and 64 + N for a call that \
ended with the gRPC code N:
  65 CANCELLED           71 PERMISSION_DENIED    77 INTERNAL
  66 UNKNOWN             72 RESOURCE_EXHAUSTED   78 UNAVAILABLE
  67 INVALID_ARGUMENT    73 FAILED_PRECONDITION  79 DATA_LOSS
  68 DEADLINE_EXCEEDED   74 ABORTED              80 UNAUTHENTICATED
  69 NOT_FOUND           75 OUT_OF_RANGE
  70 ALREADY_EXISTS      76 UNIMPLEMENTED";

const SERVICES_HELP: &str = "\
Examples:
  micro services
  micro services --json

Exit codes: 0 also when there are none, 78 when the registry does not answer.";

const DESCRIBE_HELP: &str = "\
Examples:
  micro describe greeter
  micro describe greeter --json

Exit codes: 0 also for a service that does not tell its methods, 78 when there is no node.";

const BENCH_HELP: &str = "\
Examples:
  micro bench greeter Say.Hello '{\"name\":\"Ada\"}'
  micro bench greeter Say.Hello '{\"name\":\"Ada\"}' --rate 1000 --duration 30s

Calls are made when they are due, whether or not earlier ones have answered, and a call's time counts from when it was \
due, so a server that stalls shows. This command runs on one core: at rates that it cannot keep up with, it measures itself.

Exit codes: 0 when all calls succeeded, 1 when some failed.";

const WATCH_HELP: &str = "\
Examples:
  micro watch
  micro watch greeter --json

The nodes there are come first, as up. Times are UTC. Without a service, new ones are looked for every 2 s.

Exit codes: those of `micro call` when the registry cannot be asked. Ctrl-C ends it as it does any program.";

const COMPLETIONS_HELP: &str = "\
Examples:
  micro completions bash >> ~/.bashrc
  micro completions zsh >> ~/.zshrc
  micro completions fish > ~/.config/fish/completions/micro.fish

Services and methods are looked up as they are completed, for at most 2 s. zsh needs its own completion set up before: \
`autoload -Uz compinit && compinit`.

Exit codes: 0 when it is written, 1 when it cannot be.";

const STYLES: Styles = Styles::styled();

/// Runs microservices, finds them and calls them.
#[derive(Debug, Parser)]
#[command(name = "micro", version, styles = STYLES, after_help = EXAMPLES)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) registry: RegistryArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where services are looked for.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RegistryArguments {
    #[arg(long, global = true, value_name = "NAME", help_heading = "Registry", help = REGISTRY_HELP)]
    pub(crate) registry: Option<String>,
    #[arg(long, global = true, value_name = "ADDRESS", help_heading = "Registry", help = REGISTRY_ADDRESS_HELP)]
    pub(crate) registry_address: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a new service
    #[command(after_help = NEW_HELP)]
    New(NewArguments),
    /// Build a service and run nodes of it until Ctrl-C
    #[command(after_help = run::HELP)]
    Run(run::Arguments),
    /// Call a method of a service with JSON
    #[command(after_help = CALL_HELP)]
    Call(CallArguments),
    /// List the services of the registry
    #[command(after_help = SERVICES_HELP)]
    Services(ServicesArguments),
    /// Show the nodes of a service, its methods and their messages
    #[command(after_help = DESCRIBE_HELP)]
    Describe(ServiceArguments),
    /// Show how each node of a service looks to a client
    #[command(after_help = endpoints::HELP)]
    Endpoints(ServiceArguments),
    /// Ask each node of a service for its health
    #[command(after_help = health::HELP)]
    Health(ServiceArguments),
    /// Call a method at a steady rate and show how long it takes
    #[command(after_help = BENCH_HELP)]
    Bench(BenchArguments),
    /// Show the nodes that come, change and go, until Ctrl-C
    #[command(after_help = WATCH_HELP)]
    Watch(WatchArguments),
    /// Write the script by which a shell completes commands, services and methods
    #[command(after_help = COMPLETIONS_HELP)]
    Completions(CompletionsArguments),
    /// Answer HTTP and JSON by calls of services, until Ctrl-C
    #[command(after_help = gateway::HELP)]
    Gateway(gateway::Arguments),
    /// Become a node that ends with its parent: how `run` starts nodes, and of no other use.
    #[command(hide = true)]
    BecomeNode(run::NodeArguments),
}

impl Command {
    /// Whether JSON is asked for, which then holds for errors, too.
    pub(crate) fn is_json(&self) -> bool {
        match self {
            Self::Call(arguments) => arguments.json,
            Self::Services(arguments) => arguments.json,
            Self::Endpoints(arguments) => arguments.json,
            Self::Watch(arguments) => arguments.json,
            Self::Bench(arguments) => arguments.json,
            Self::Describe(arguments) | Self::Health(arguments) => arguments.json,
            Self::New(arguments) => arguments.json,
            Self::Run(arguments) => arguments.json,
            Self::Gateway(arguments) => arguments.json,
            Self::Completions(_) | Self::BecomeNode(_) => false,
        }
    }
}

/// `micro new`.
#[derive(Debug, Args)]
pub(crate) struct NewArguments {
    /// The folder to make
    pub(crate) path: PathBuf,
    /// What to make
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) template: Template,
    /// The service that a `client` calls, or a `gateway` exports [default: greeter]
    #[arg(long, value_name = "SERVICE")]
    pub(crate) calls: Option<String>,
    /// A checkout of micro to depend on [default: the one this command was built from]
    #[arg(long, value_name = "PATH")]
    pub(crate) checkout: Option<PathBuf>,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `micro new` makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Template {
    /// A service with a unary and a streaming method
    #[default]
    Service,
    /// A service that calls another
    Client,
    /// HTTP and JSON in front of a service
    Gateway,
    /// A registry of one's own, with the suite that every backend passes
    Registry,
}

/// The registry of what `micro new` makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum NewRegistry {
    #[default]
    Mdns,
    Consul,
    Etcd,
}

impl NewRegistry {
    const ALL: [Self; 3] = [Self::Mdns, Self::Consul, Self::Etcd];

    /// Its name in `MICRO_REGISTRY`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Mdns => "mdns",
            Self::Consul => "consul",
            Self::Etcd => "etcd",
        }
    }

    /// The one of this name, if a new service can have it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|registry| registry.as_str() == name)
    }
}

/// `micro call`.
#[derive(Debug, Args)]
pub(crate) struct CallArguments {
    /// The name of the service in the registry
    #[arg(add = ArgValueCompleter::new(completions::services))]
    pub(crate) service: String,
    /// The method: Say.Hello, greeter.Say/Hello, or Hello if there is only one
    #[arg(add = ArgValueCompleter::new(completions::methods))]
    pub(crate) method: String,
    /// The request as JSON, or - to read standard input
    #[arg(default_value = "{}", value_name = "JSON")]
    pub(crate) message: String,
    /// Send metadata, as often as needed; the value of a key that ends in -bin is base64
    #[arg(short = 'H', long = "header", value_name = "KEY:VALUE")]
    pub(crate) headers: Vec<Header>,
    /// How long the call may take, such as 500ms [default: 5s for a unary call, no limit for a stream]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) timeout: Option<Duration>,
    /// Write errors as JSON, too; results always are
    #[arg(long)]
    pub(crate) json: bool,
}

/// `micro services`.
#[derive(Debug, Args)]
pub(crate) struct ServicesArguments {
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `micro describe`, `micro health` and `micro endpoints`.
#[derive(Debug, Args)]
pub(crate) struct ServiceArguments {
    /// The name of the service in the registry
    #[arg(add = ArgValueCompleter::new(completions::services))]
    pub(crate) service: String,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `micro bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// The name of the service in the registry
    #[arg(add = ArgValueCompleter::new(completions::services))]
    pub(crate) service: String,
    /// The method, as for `micro call`; no stream
    #[arg(add = ArgValueCompleter::new(completions::methods))]
    pub(crate) method: String,
    /// The request as JSON
    #[arg(default_value = "{}", value_name = "JSON")]
    pub(crate) message: String,
    /// Calls a second
    #[arg(long, default_value = "100", value_name = "N")]
    pub(crate) rate: NonZeroU32,
    /// How long calls are made
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = time)]
    pub(crate) duration: Duration,
    /// How long each call may take
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = time)]
    pub(crate) timeout: Duration,
    /// Send metadata, as often as needed; the value of a key that ends in -bin is base64
    #[arg(short = 'H', long = "header", value_name = "KEY:VALUE")]
    pub(crate) headers: Vec<Header>,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `micro watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArguments {
    /// The name of the service in the registry [default: all services]
    #[arg(add = ArgValueCompleter::new(completions::services))]
    pub(crate) service: Option<String>,
    /// Write JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// `micro completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// A shell that completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

fn time(text: &str) -> Result<Duration, String> {
    let time = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?,
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| "expected is a time such as 500ms, 2s or 1m30s".to_owned())?,
    };
    if time.is_zero() {
        return Err("it must be longer than nothing".to_owned());
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_that_is_shown_has_examples() {
        for command in Arguments::command()
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
        {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(help.contains("Examples:\n  micro "), "{}", command.get_name());
        }
    }

    #[test]
    fn times_are_seconds_or_have_a_unit() {
        assert_eq!(time("2"), Ok(Duration::from_secs(2)));
        assert_eq!(time("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(time("1m 30s"), Ok(Duration::from_secs(90)));
        for wrong in ["", "0", "0s", "-1", "soon", "inf", "1e300"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
        assert!(time("soon").is_err_and(|error| error.contains("500ms")));
    }
}
