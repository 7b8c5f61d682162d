//! `micro gateway`: HTTP and JSON in front of services, as a service of its own.

use std::{
    env,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use clap::Args;
use micro::ServiceBuilder;
use micro_gateway::{Export, Settings};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    arguments::RegistryArguments,
    failure::{Failure, Result, chain},
    lookup::{place, registry_settings},
    output::{print, say},
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
    /// Write where it listens as JSON, to standard output, and the log, to standard error
    #[arg(long)]
    pub(crate) json: bool,
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

/// Where a gateway listens, and for what.
#[derive(Debug)]
struct Listening {
    /// `http`, or `https` where it has a certificate.
    scheme: &'static str,
    address: SocketAddr,
    exports: Vec<String>,
    place: String,
    has_dashboard: bool,
}

impl Listening {
    fn tell(&self, is_json: bool) {
        if is_json {
            // The gateway does its work whether or not somebody reads that.
            let _ = print(&self.to_json().to_string());
        } else {
            self.lines().iter().for_each(|line| say(line));
        }
    }

    fn lines(&self) -> Vec<String> {
        let Self {
            scheme,
            address,
            place,
            ..
        } = self;
        let exports = self.exports.join(", ");
        let mut lines = vec![format!(
            "micro: {scheme}://{address} answers for {exports}, found in {place}"
        )];
        if self.has_dashboard {
            lines.push(match self.dashboard() {
                Some(url) => format!("micro: the dashboard is at {url}"),
                None => format!(
                    "micro: the dashboard cannot be reached: it answers at localhost alone, which does not lead to {address}; \
                     127.0.0.1 or 0.0.0.0 would do"
                ),
            });
        }
        lines
    }

    fn to_json(&self) -> Value {
        let mut shown = json!({
            "url": format!("{}://{}", self.scheme, self.address),
            "exports": self.exports,
            "registry": self.place,
        });
        if let Some(url) = self.dashboard().filter(|_| self.has_dashboard) {
            shown["dashboard"] = url.into();
        }
        shown
    }

    /// Where a browser on this machine finds the dashboard, which answers at `localhost` alone.
    fn dashboard(&self) -> Option<String> {
        let host = local_host(self.address)?;
        Some(format!("{}://{host}/dashboard", self.scheme))
    }
}

/// What a URL begins with that leads to a service which has a certificate, or has none.
pub(crate) fn scheme(has_tls: bool) -> &'static str {
    if has_tls { "https" } else { "http" }
}

/// Where what listens at an address is found on this machine as `localhost`, if that leads there.
pub(crate) fn local_host(address: SocketAddr) -> Option<String> {
    let (ip, port) = (address.ip(), address.port());
    let is_local = ip == IpAddr::V4(Ipv4Addr::LOCALHOST) || ip == IpAddr::V6(Ipv6Addr::LOCALHOST);
    (is_local || ip.is_unspecified()).then(|| format!("localhost:{port}"))
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
    let (has_dashboard, is_json) = (settings.has_dashboard(), arguments.json);
    let service = configured(micro_gateway::service(settings), registry, arguments)?
        .after_start(move |cx| async move {
            if let Some(address) = cx.local_address() {
                let listening = Listening {
                    scheme: scheme(cx.has_tls()),
                    address,
                    exports,
                    place,
                    has_dashboard,
                };
                listening.tell(is_json);
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
            json: false,
        };
        let settings = exported(settings, &arguments);
        assert_eq!(shown(&settings), ["shop"]);
        assert!(settings.has_dashboard());
    }

    #[test]
    fn the_dashboard_is_told_of_where_localhost_leads_to_it() {
        let listening = |address: &str| Listening {
            scheme: scheme(false),
            address: address.parse().unwrap(),
            exports: vec!["greeter".to_owned(), "shop/Orders".to_owned()],
            place: "mdns at 127.0.0.1:5353".to_owned(),
            has_dashboard: true,
        };
        for address in ["127.0.0.1:80", "0.0.0.0:80", "[::1]:80", "[::]:80"] {
            let lines = listening(address).lines();
            assert_eq!(
                lines[1],
                "micro: the dashboard is at http://localhost:80/dashboard"
            );
        }
        for address in ["10.0.0.7:80", "127.0.0.2:80", "[fd00::7]:80"] {
            let lines = listening(address).lines();
            assert!(
                lines[1].contains("cannot be reached") && lines[1].contains(address),
                "{lines:?}"
            );
            assert_eq!(listening(address).to_json().get("dashboard"), None);
        }
        assert_eq!(
            listening("127.0.0.1:80").to_json(),
            json!({
                "url": "http://127.0.0.1:80",
                "exports": ["greeter", "shop/Orders"],
                "registry": "mdns at 127.0.0.1:5353",
                "dashboard": "http://localhost:80/dashboard",
            })
        );
        let secured = Listening {
            scheme: scheme(true),
            ..listening("127.0.0.1:80")
        };
        assert_eq!(secured.to_json()["url"], "https://127.0.0.1:80");
    }
}
