//! The `micro` command.

mod arguments;
mod bench;
mod call;
mod completions;
mod describe;
#[cfg(test)]
mod documented;
mod endpoints;
mod failure;
mod foreign;
mod gateway;
mod health;
mod input;
mod invocation;
mod log;
mod lookup;
mod metadata;
mod new;
mod node_load;
mod output;
mod progress;
mod run;
mod services;
mod settings;
mod watch;

use std::{io::Write, process::ExitCode};

use clap::Parser;

use crate::{
    arguments::{Arguments, Command},
    failure::{Failure, Result},
    lookup::Lookup,
};

fn main() -> ExitCode {
    completions::answer();
    let arguments = Arguments::parse();
    let is_json = arguments.command.is_json();
    match start(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure, is_json);
            failure.exit_code().into()
        }
    }
}

fn start(arguments: &Arguments) -> Result<()> {
    if let Command::BecomeNode(node) = &arguments.command {
        return run::become_node(node);
    }
    // What runs for long is watched by others than the one who typed.
    let is_service = matches!(arguments.command, Command::Gateway(_));
    let level = if is_service { "warn" } else { "error" };
    log::start(level, arguments.command.is_json());
    let mut builder = if is_service {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        // One thread, which lives as long as the process: the kernel ends nodes with the thread that started them.
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|error| Failure::because("start the runtime", &error))?;
    let done = runtime.block_on(perform(arguments));
    // What still blocks, such as a name lookup, must not hold up the end.
    runtime.shutdown_background();
    done
}

async fn perform(arguments: &Arguments) -> Result<()> {
    let registry = &arguments.registry;
    match &arguments.command {
        Command::New(arguments) => new::new(registry, arguments),
        Command::Run(arguments) => run::run(registry, arguments).await,
        Command::Call(arguments) => call::call(&Lookup::open(registry)?, arguments).await,
        Command::Services(arguments) => services::services(&Lookup::open(registry)?, arguments).await,
        Command::Describe(arguments) => describe::describe(&Lookup::open(registry)?, arguments).await,
        Command::Gateway(arguments) => gateway::gateway(registry, arguments).await,
        Command::Health(arguments) => health::health(&Lookup::open(registry)?, arguments).await,
        Command::Bench(arguments) => bench::bench(&Lookup::open(registry)?, arguments).await,
        Command::Watch(arguments) => watch::watch(&Lookup::open(registry)?, arguments).await,
        Command::Completions(arguments) => completions::completions(arguments.shell),
        Command::Endpoints(arguments) => endpoints::endpoints(&Lookup::open(registry)?, arguments).await,
        Command::BecomeNode(node) => run::become_node(node),
    }
}

fn report(failure: &Failure, is_json: bool) {
    if failure.is_silent() {
        return;
    }
    if is_json {
        return output::say(&failure.to_json().to_string());
    }
    let style = anstyle::AnsiColor::Red.on_default().bold();
    // There is no better place to say that standard error is closed.
    let _ = writeln!(anstream::stderr(), "{style}error:{style:#} {failure}");
}
