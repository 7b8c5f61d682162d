//! `micro gateway`: HTTP and JSON in front of services, as a service of its own.

use std::{env, path::Path};

use clap::Args;
use micro::ServiceBuilder;
use micro_gateway::{Export, Settings};
use serde::Deserialize;

use crate::{
    arguments::RegistryArguments,
    failure::{Failure, Result, chain},
    lookup::{place, registry_settings},
    output::say,
    run::SettingsFile,
    settings::{FILE, named_file, read},
};

/// What the help of the command ends with.
pub(crate) const HELP: &str = "\
Examples:
  micro gateway greeter
  micro gateway greeter shop/Orders/Get --address 0.0.0.0:8080
  micro gateway greeter --dashboard

  curl -d '{\"name\":\"Ada\"}' localhost:8080/greeter/say/hello

Only what is exported can be reached: services of the registry, gRPC services of them, or single methods. Everything else \
that can be set stands in the table [gateway] of micro.toml. Ctrl-C lets the requests finish; a second Ctrl-C ends at once.

Exit codes: 0 when it was stopped, 1 when it could not run, 2 for what was typed wrong.";

const ADDRESS_HELP: &str =
    "Where to listen [default: MICRO_SERVER_ADDRESS, server.address of micro.toml, or 127.0.0.1:8080]";

/// `micro gateway`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What to export: greeter, greeter/Say or greeter/Say/Hello [default: gateway.export of micro.toml]
    #[arg(value_name = "EXPORT")]
    pub(crate) exports: Vec<Export>,
    #[arg(long, value_name = "ADDRESS", help = ADDRESS_HELP)]
    pub(crate) address: Option<String>,
    /// Shows services and nodes at /dashboard, to whoever is on this machine [default: gateway.dashboard of micro.toml]
    #[arg(long)]
    pub(crate) dashboard: bool,
}

/// What is the gateway's in `micro.toml`.
#[derive(Default, Deserialize)]
struct File {
    #[serde(default)]
    gateway: Settings,
}

/// Whether the file says what is exported, so that nobody has to type it.
pub(crate) fn exports_something(file: &SettingsFile) -> Result<bool> {
    let file: File = read(file.path(), file.named().is_some())?;
    Ok(!file.gateway.exports().is_empty())
}

/// Runs a gateway until it is told to stop.
pub(crate) async fn gateway(registry: &RegistryArguments, arguments: &Arguments) -> Result<()> {
    let place = place(&registry_settings(registry)?);
    let named = named_file();
    let path = named.as_deref().unwrap_or(Path::new(FILE));
    let file: File = read(path, named.is_some())?;
    let settings = exported(file.gateway, arguments);
    let exports: Vec<_> = settings.exports().iter().map(ToString::to_string).collect();
    if exports.is_empty() {
        return Err(Failure::usage(
            "nothing is exported, so nothing could be reached; say what may be, such as `micro gateway greeter`, or as \
             `export = [\"greeter\"]` in the table [gateway] of micro.toml",
        ));
    }
    settings.check_files().map_err(Failure::usage)?;
    let exports = exports.join(", ");
    let has_dashboard = settings.has_dashboard();
    let service = configured(micro_gateway::service(settings), registry, arguments)?
        .after_start(move |cx| async move {
            if let Some(address) = cx.local_address() {
                say(&format!(
                    "micro: http://{address} answers for {exports}, found in {place}"
                ));
                if has_dashboard {
                    let port = address.port();
                    say(&format!(
                        "micro: the dashboard is at http://localhost:{port}/dashboard"
                    ));
                }
            }
        })
        .build()
        .map_err(|error| Failure::new(chain(&error)))?;
    service.run().await.map_err(|error| Failure::new(chain(&error)))
}

/// The settings, with what was typed instead of what the file exports.
fn exported(settings: Settings, arguments: &Arguments) -> Settings {
    let settings = match arguments.exports.as_slice() {
        [] => settings,
        typed => settings.with_exports(typed.to_vec()),
    };
    let is_shown = arguments.dashboard || settings.has_dashboard();
    settings.dashboard(is_shown)
}

/// Lays what was typed over the environment, which comes after everything that code says.
fn configured(
    builder: ServiceBuilder,
    registry: &RegistryArguments,
    arguments: &Arguments,
) -> Result<ServiceBuilder> {
    let typed = [
        ("MICRO_REGISTRY", &registry.registry),
        ("MICRO_REGISTRY_ADDRESS", &registry.registry_address),
        ("MICRO_SERVER_ADDRESS", &arguments.address),
    ];
    let typed: Vec<_> = typed
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)))
        .collect();
    if typed.is_empty() {
        return Ok(builder);
    }
    let mut variables = Vec::new();
    for (name, value) in env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => variables.push((name, value)),
            // Others' variables may be what they like.
            Err(_) if !name.starts_with("MICRO_") => {}
            Err(_) => return Err(Failure::usage(format!("{name} is not UTF-8"))),
        }
    }
    if named_file().is_none() && Path::new(FILE).exists() {
        variables.push(("MICRO_CONFIG".to_owned(), FILE.to_owned()));
    }
    variables.extend(typed);
    Ok(builder.environment(variables))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;

    fn parse(text: &str) -> Result<Settings, String> {
        settings::parse(text).map(|file: File| file.gateway)
    }

    fn shown(settings: &Settings) -> Vec<String> {
        settings.exports().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_table_is_read_and_the_rest_of_the_file_is_left_alone() {
        let settings =
            parse("[server]\nname = 7\n[gateway]\nexport = [\"greeter\", \"shop/Orders\"]\n").unwrap();
        assert_eq!(shown(&settings), ["greeter", "shop/Orders"]);
        assert!(shown(&parse("").unwrap()).is_empty());
    }

    #[test]
    fn what_is_wrong_says_where_it_is_and_what_is_allowed() {
        let error = parse("[gateway]\nexport = [\"a/../b\"]\n").unwrap_err();
        assert!(
            error.starts_with("line 2: ") && error.contains("allowed are"),
            "{error}"
        );
        let error = parse("[gateway]\n\nexports = []\n").unwrap_err();
        assert!(
            error.starts_with("line 3: unknown field `exports`, expected one of `export`"),
            "{error}"
        );
    }

    #[test]
    fn what_is_typed_stands_instead_of_what_the_file_exports() {
        let settings = parse("[gateway]\nexport = [\"greeter\"]").unwrap();
        let arguments = Arguments {
            exports: vec!["shop".parse().unwrap()],
            address: None,
            dashboard: true,
        };
        let settings = exported(settings, &arguments);
        assert_eq!(shown(&settings), ["shop"]);
        assert!(settings.has_dashboard());
    }
}
