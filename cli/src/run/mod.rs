//! `micro run`: builds a package, runs nodes of it, and says what to type next.

mod backoff;
mod keeper;
mod lines;
mod next_step;
mod package;
mod printer;
mod process;
mod readiness;
mod reload;
mod settings;
mod signals;
mod sources;
mod started;
mod supervisor;
#[cfg(test)]
mod tests;

use std::{env, ffi::OsString};

use tokio::sync::watch;

pub(crate) use self::process::become_node;
use self::{
    next_step::next_step,
    package::Package,
    process::Launch,
    readiness::Announced,
    reload::reload,
    settings::SettingsFile,
    signals::Signals,
    supervisor::{Plan, supervise},
};
use crate::{
    arguments::{RegistryArguments, RunArguments},
    failure::{Failure, Result},
    lookup::Lookup,
};

/// Builds the package and runs nodes of it until they are told to stop.
pub(crate) async fn run(registry: &RegistryArguments, arguments: &RunArguments) -> Result<()> {
    let mut signals = Signals::listen().map_err(|error| Failure::because("listen for signals", &error))?;
    let folder = Package::folder(&arguments.path)?;
    let file = SettingsFile::of(&folder)?;
    let settings = file.read()?;
    let binary = arguments.bin.as_deref().or(settings.bin.as_deref());
    let nodes = arguments.nodes.or(settings.nodes()).unwrap_or(1);

    if file.named().is_none() {
        // The registry of the nodes is meant, which their own micro.toml may name.
        env::set_current_dir(&folder)
            .map_err(|error| Failure::because(format!("enter `{}`", folder.display()), &error))?;
    }
    let lookup = Lookup::open(registry)?;
    if lookup.registry() == "static" {
        return Err(Failure::usage(
            "the static registry is a list of addresses, and nodes that are started here get new ones; choose another \
             with --registry or MICRO_REGISTRY",
        ));
    }
    let release = arguments.release || settings.release == Some(true);
    let build = async {
        let package = Package::find(&folder, binary).await?;
        let built = package.build(release).await?;
        Ok::<_, Failure>((package, built.executable))
    };
    let (package, executable) = tokio::select! {
        built = build => built?,
        _ = signals.received.recv() => return Err(Failure::interrupted()),
    };

    let environment = environment(registry, &file);
    let launch = Launch::of_node(&executable, &package.folder, environment)
        .map_err(|error| Failure::because("find this program", &error))?;
    let readiness = Announced::new(lookup.clone(), &package.name);
    let ready = readiness.clone();
    let next_step = async move {
        let service = ready.service().unwrap_or_default();
        next_step(&lookup, &service, usize::from(nodes)).await
    };
    let (newer, versions) = watch::channel(0);
    let plan = Plan {
        name: package.name.clone(),
        nodes: usize::from(nodes),
        launch,
        versions,
    };
    let running = supervise(plan, readiness, next_step, &mut signals.received);
    if arguments.no_watch || settings.watch == Some(false) {
        return running.await;
    }
    tokio::select! {
        ended = running => ended,
        () = reload(package, release, newer) => unreachable!("sources are followed for as long as nodes run"),
    }
}

/// What nodes are told on top of what this process was told itself.
fn environment(registry: &RegistryArguments, file: &SettingsFile) -> Vec<(&'static str, OsString)> {
    let named = file.named().map(|path| path.as_os_str().to_owned());
    [
        ("MICRO_REGISTRY", registry.registry.as_ref().map(OsString::from)),
        (
            "MICRO_REGISTRY_ADDRESS",
            registry.registry_address.as_ref().map(OsString::from),
        ),
        ("MICRO_CONFIG", named),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}
