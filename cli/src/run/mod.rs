//! `micro run`: builds services, runs nodes of them and a gateway beside them, and says what to type next.

mod arguments;
mod backoff;
mod choice;
mod environment;
mod front;
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

use std::{
    env,
    path::{Path, PathBuf},
};

use micro::RegistrySettings;
use tokio::sync::watch;

pub(crate) use self::{
    arguments::{Arguments, HELP, NodeArguments},
    process::become_node,
    settings::SettingsFile,
};
use self::{
    choice::Choice,
    environment::environment,
    front::Front,
    next_step::next_step,
    package::Package,
    process::Launch,
    readiness::Announced,
    reload::{Followed, reload},
    signals::Signals,
    supervisor::{Next, Plan, supervise},
};
use crate::{
    arguments::RegistryArguments,
    failure::{Failure, Result},
    gateway::scheme,
    lookup::{Lookup, place, registry_settings},
};

/// Builds the services and runs nodes of them until they are told to stop.
pub(crate) async fn run(registry: &RegistryArguments, arguments: &Arguments) -> Result<()> {
    let mut signals = Signals::listen().map_err(|error| Failure::because("listen for signals", &error))?;
    let choice = Choice::of(&arguments.paths)?;
    let nodes = choice.nodes(arguments.nodes)?;
    if arguments.bin.is_some() && choice.services.len() > 1 {
        return Err(Failure::usage(
            "`--bin` is for one service; say `bin` in the table [run] of each service's micro.toml",
        ));
    }
    let (lookup, settings) = common_registry(registry, &choice)?;
    if lookup.registry() == "static" {
        return Err(Failure::usage(
            "the static registry is a list of addresses, and nodes that are started here get new ones; choose another \
             with --registry or MICRO_REGISTRY",
        ));
    }
    let front = Front::of(
        arguments,
        &choice,
        &settings,
        environment(registry, &choice.file)?,
    )?;
    let packages = tokio::select! {
        built = build(arguments, &choice) => built?,
        _ = signals.received.recv() => return Err(Failure::interrupted()),
    };

    let (mut plans, mut followed) = (Vec::new(), Vec::new());
    for ((chosen, nodes), built) in choice.services.iter().zip(nodes).zip(packages) {
        let package = built.package;
        let launch = Launch::of_node(
            &built.executable,
            &package.folder,
            environment(registry, &chosen.file)?,
        );
        let (newer, versions) = watch::channel(0);
        plans.push(Plan {
            name: package.name.clone(),
            nodes,
            launch: launch.map_err(|error| Failure::because("find this program", &error))?,
            readiness: Announced::new(lookup.clone(), &package.name),
            versions,
        });
        let watch = chosen.settings.watch.or(choice.common.watch);
        if !arguments.no_watch && watch != Some(false) {
            followed.push(Followed {
                package,
                release: built.release,
                settings: chosen.file.path().to_owned(),
                versions: newer,
                is_json: arguments.json,
            });
        }
    }
    let ready: Vec<_> = plans
        .iter()
        .map(|plan| (plan.readiness.clone(), plan.nodes))
        .collect();
    let name = front.as_ref().map(|_| front::NAME);
    let next = next(lookup, ready, front);
    tokio::select! {
        ended = supervise(plans, name, next, arguments.json, &mut signals.received) => ended,
        () = reload(followed) => unreachable!("sources are followed for as long as nodes run"),
    }
}

/// A package that was built.
struct BuiltPackage {
    package: Package,
    executable: PathBuf,
    release: bool,
}

/// Builds one service after the other: cargo would have them wait for each other anyway.
async fn build(arguments: &Arguments, choice: &Choice) -> Result<Vec<BuiltPackage>> {
    let mut packages = Vec::new();
    for chosen in &choice.services {
        let binary = arguments.bin.as_deref().or(chosen.settings.bin.as_deref());
        let package = Package::find(&chosen.folder, binary).await?;
        let release = chosen.settings.release.or(choice.common.release);
        let release = arguments.release || release == Some(true);
        let executable = package.build(release).await?.executable;
        packages.push(BuiltPackage {
            package,
            executable,
            release,
        });
    }
    Ok(packages)
}

/// The registry in which all services are, as the micro.toml of each may name it.
fn common_registry(registry: &RegistryArguments, choice: &Choice) -> Result<(Lookup, RegistrySettings)> {
    let mut common: Option<(&Path, Lookup, RegistrySettings)> = None;
    for chosen in &choice.services {
        if chosen.file.named().is_none() {
            // The registry of the nodes is meant.
            env::set_current_dir(&chosen.folder)
                .map_err(|error| Failure::because(format!("enter `{}`", chosen.folder.display()), &error))?;
        }
        let settings = registry_settings(registry)?;
        match &common {
            Some((folder, _, first)) if place(first) != place(&settings) => {
                return Err(Failure::usage(format!(
                    "`{}` is in {} and `{}` in {}, so they would not find each other; say by --registry where both are",
                    folder.display(),
                    place(first),
                    chosen.folder.display(),
                    place(&settings)
                )));
            }
            Some(_) => {}
            None => {
                let lookup = Lookup::of_own_nodes(registry)?;
                common = Some((&chosen.folder, lookup, settings));
            }
        }
    }
    let (_, lookup, settings) = common.ok_or_else(|| Failure::usage("there is no service to run"))?;
    Ok((lookup, settings))
}

/// What to say and to start once all nodes are ready.
async fn next(lookup: Lookup, ready: Vec<(Announced, usize)>, front: Option<Front>) -> Next<Announced> {
    let named = ready
        .iter()
        .map(|(ready, nodes)| (ready.service().unwrap_or_default(), *nodes));
    let services: Vec<_> = named.collect();
    let next = next_step(&lookup, &services).await;
    let Some(front) = front else {
        return Next {
            words: next.words,
            front: None,
        };
    };
    let names: Vec<_> = services.into_iter().map(|(name, _)| name).collect();
    match front.launch(&names) {
        Ok((place, launch)) => Next {
            words: next.words.clone(),
            front: Some(supervisor::Front {
                launch,
                readiness: Announced::new(lookup, front::NAME),
                words: Box::new(move |reached| {
                    let scheme = scheme(reached.has_tls);
                    (next.over_http(scheme, &place), place.facts(scheme))
                }),
            }),
        },
        Err(failure) => Next {
            words: format!("{}\nThere is no gateway: {failure}", next.words),
            front: None,
        },
    }
}
