//! The repository's commands: `cargo xtask` lists them.

mod architecture;
mod bench;
mod browser;
mod cargo;
mod checks;
mod debian;
mod finding;
mod fuzz;
mod program;
mod protoc;
mod servers;
mod suite;
mod tidy;
mod workspace;

use std::{error::Error, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// The repository's commands.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

// The one list. The table in CONTRIBUTING.md repeats it, and a test holds the two together.
#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Runs every test, and tests apart the feature sets that a workspace build hides
    Test,
    /// Formats the code; with `--check`, only says what is not formatted
    Fmt {
        /// Changes nothing and fails when something is not formatted
        #[arg(long)]
        check: bool,
    },
    /// Lints everything, every package alone as well, and fails on a warning; checks that the fuzz targets compile
    Clippy,
    /// Builds the documentation and fails on a warning
    Docs,
    /// Checks what the rules of CONTRIBUTING.md and ARCHITECTURE.md let a machine check
    Tidy,
    /// Runs the benchmarks, built for release: `all` of what a call costs, or what `cargo xtask bench -- --help` lists
    Bench {
        /// Which, and its options
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, default_values = ["all"])]
        arguments: Vec<String>,
    },
    /// Looks for bytes that do harm to what reads registries; CI replays what it has found
    Fuzz {
        /// One target alone; default: all
        target: Option<String>,
        /// How long each target runs
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Runs the faults of `cargo xtask chaos -- --list` at their full length, and fails when more goes wrong than is allowed
    Chaos {
        /// What `micro-chaos` takes: faults, such as F12, and `--registry`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Runs real clients and services over a simulated network with faults, from many seeds; repeats one with `--seed`
    Simulate {
        /// What `micro-simulation` takes: scenarios, such as `crash`, and `--seeds` or `--seed`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Runs the models of what calls share across threads, over all interleavings
    Loom,
    /// Writes what the command's help and output are now into its snapshots, which tests compare
    Snapshots,
    /// Makes the pictures in docs/images: a terminal, and the dashboard in Chromium, both with real services
    Pictures,
    /// Starts Consul or etcd to try things with, as a cluster with `--nodes 3`, until Ctrl-C
    Servers(servers::Order),
    /// Runs what CI runs, the cheap checks first: fmt --check, tidy, clippy, docs, test
    Ci,
}

impl Command {
    fn run(self) -> Result<()> {
        match self {
            Self::Test => suite::run(),
            Self::Fmt { check } => checks::fmt(check),
            Self::Clippy => checks::clippy(),
            Self::Docs => checks::docs(),
            Self::Tidy => tidy::run(),
            Self::Bench { arguments } => bench::run(&arguments),
            Self::Fuzz { target, seconds } => fuzz::run(target.as_deref(), seconds),
            Self::Chaos { arguments } => suite::chaos(&arguments),
            Self::Simulate { arguments } => suite::simulate(&arguments),
            Self::Loom => suite::loom(),
            Self::Snapshots => suite::snapshots(),
            Self::Pictures => suite::pictures(),
            Self::Servers(order) => servers::run(&order),
            Self::Ci => {
                checks::fmt(true)?;
                tidy::run()?;
                checks::clippy()?;
                checks::docs()?;
                suite::run()
            }
        }
    }
}

fn main() -> ExitCode {
    let Some(command) = Arguments::parse().command else {
        println!("{}", Arguments::command().render_help());
        return ExitCode::SUCCESS;
    };
    match command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod command_list {
    use super::*;

    #[test]
    fn the_table_of_contributing_is_the_list_of_commands() {
        let contributing = include_str!("../../CONTRIBUTING.md");
        let table: Vec<_> = contributing
            .lines()
            .filter(|line| line.starts_with("| `cargo xtask "))
            .collect();
        let commands: Vec<_> = Arguments::command()
            .get_subcommands()
            .map(|command| {
                let about = command.get_about().expect("every command says what it does");
                format!("| `cargo xtask {}` | {about} |", command.get_name())
            })
            .collect();
        assert_eq!(table, commands);
    }

    #[test]
    fn every_command_is_told_in_one_line() {
        for command in Arguments::command().get_subcommands() {
            let about = command
                .get_about()
                .expect("every command says what it does")
                .to_string();
            assert_eq!(about.lines().count(), 1, "{}", command.get_name());
        }
    }
}
