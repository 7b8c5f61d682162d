//! The gateway beside the services: HTTP and JSON in front of what runs, as one more process.

use std::{
    ffi::OsString,
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
};

use micro::RegistrySettings;

use super::{
    arguments::Arguments,
    choice::Choice,
    printer::Facts,
    process::{ADVERTISE, Launch},
    settings::{Beside, SettingsFile},
};
use crate::{
    failure::{Failure, Result},
    gateway::exports_something,
};

/// What the lines of the gateway begin with; also its name in the registry.
pub(super) const NAME: &str = "gateway";
/// Where it listens unless another is there already.
const ADDRESS: &str = "127.0.0.1:8080";
/// Where it listens then: wherever there is room.
const ANYWHERE: &str = "127.0.0.1:0";

/// How long it serves on once it has left the registry. That is for callers that others tell of its leaving; here nobody
/// is: who calls it has its address, and is refused a connection now or 2 s later. What has come in is finished.
const DRAIN_DELAY: (&str, &str) = ("MICRO_SERVER_DRAIN_DELAY", "0s");

/// A gateway that is to be started once the services are ready.
#[derive(Debug)]
pub(super) struct Front {
    /// Where it is to listen, if it was said.
    wanted: Option<String>,
    /// Its settings, of which the table `[gateway]` is read.
    file: SettingsFile,
    folder: PathBuf,
    environment: Vec<(&'static str, OsString)>,
}

/// Where a gateway can listen.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) address: String,
    /// The usual place, if that was taken.
    pub(super) instead_of: Option<&'static str>,
}

impl Place {
    /// What a program wants to know of it.
    pub(super) fn facts(&self, scheme: &str) -> Facts {
        let url = format!("{scheme}://{}", self.address);
        let facts = [("event", NAME.to_owned()), ("url", url)];
        facts
            .map(|(name, value)| (name.to_owned(), value.into()))
            .into_iter()
            .collect()
    }
}

impl Front {
    /// The gateway that is asked for, unless it is asked not to be there.
    ///
    /// # Errors
    ///
    /// When the address that was asked for is no address, or somebody is there already.
    pub(super) fn of(
        arguments: &Arguments,
        choice: &Choice,
        registry: &RegistrySettings,
        mut environment: Vec<(&'static str, OsString)>,
    ) -> Result<Option<Self>> {
        let said = match (&arguments.gateway, arguments.no_gateway) {
            (_, true) => Beside::Nothing,
            (Some(address), false) => Beside::At(address.clone()),
            (None, false) => choice.common.gateway.clone().unwrap_or(Beside::Anywhere),
        };
        let wanted = match said {
            Beside::Nothing => return Ok(None),
            Beside::Anywhere => None,
            Beside::At(address) => Some(address),
        };
        if let Some(address) = &wanted {
            room_at(address)?;
        }
        // Its folder may say nothing of a registry; it is to look where the services are.
        let addresses = registry.addresses().join(",");
        environment.retain(|(name, _)| !name.starts_with("MICRO_REGISTRY"));
        environment.push((DRAIN_DELAY.0, DRAIN_DELAY.1.into()));
        environment.push(("MICRO_REGISTRY", registry.kind().into()));
        if !addresses.is_empty() {
            environment.push(("MICRO_REGISTRY_ADDRESS", addresses.into()));
        }
        Ok(Some(Self {
            wanted,
            file: choice.file.clone(),
            folder: choice.base.clone(),
            environment,
        }))
    }

    /// Where it can listen, and how it is started there, in front of these services.
    pub(super) fn launch(mut self, services: &[String]) -> Result<(Place, Launch)> {
        let place = match &self.wanted {
            Some(wanted) => Place {
                address: room_at(wanted)?,
                instead_of: None,
            },
            None => anywhere()?,
        };
        let mut arguments: Vec<OsString> = vec![NAME.into()];
        if !exports_something(&self.file)? {
            arguments.extend(services.iter().map(OsString::from));
        }
        arguments.extend([
            "--address".into(),
            place.address.as_str().into(),
            "--dashboard".into(),
        ]);
        self.environment.extend(advertised(&place.address));
        let launch = Launch::of_this_command(arguments, &self.folder, self.environment)
            .map_err(|error| Failure::because("find this program", &error))?;
        Ok((place, launch))
    }
}

/// What tells a gateway at `address` to be found there; one at every address is found where nodes are.
fn advertised(address: &str) -> Option<(&'static str, OsString)> {
    let address: SocketAddr = address.parse().ok()?;
    let ip = address.ip();
    (!ip.is_unspecified()).then(|| (ADVERTISE, ip.to_string().into()))
}

/// The usual place, or another if that is taken.
fn anywhere() -> Result<Place> {
    if let Ok(address) = room_at(ADDRESS) {
        return Ok(Place {
            address,
            instead_of: None,
        });
    }
    Ok(Place {
        address: room_at(ANYWHERE)?,
        instead_of: Some(ADDRESS),
    })
}

/// The address at which one can listen; one with the port 0 becomes one with a port that is free.
fn room_at(address: &str) -> Result<String> {
    let listener = TcpListener::bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => Failure::new(format!(
            "the gateway cannot be at {address}, where another program listens; give another address with --gateway, or \
             --no-gateway"
        )),
        io::ErrorKind::InvalidInput => Failure::usage(format!(
            "the gateway cannot be at {address:?}; expected is a host and a port, such as 127.0.0.1:8080"
        )),
        _ => Failure::because(format!("the gateway cannot be at {address}"), &error),
    })?;
    let address = listener.local_addr();
    address
        .map(|address| address.to_string())
        .map_err(|error| Failure::because("find a place for the gateway", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_taken_or_none_at_all_is_refused_with_what_to_do() {
        let other = TcpListener::bind(ANYWHERE).unwrap();
        let taken = other.local_addr().unwrap().to_string();
        let error = room_at(&taken).unwrap_err();
        assert!(error.to_string().contains("--no-gateway"), "{error}");
        for wrong in ["8080", "localhost", ":8080x"] {
            let error = room_at(wrong).unwrap_err();
            assert!(error.to_string().contains("such as 127.0.0.1:8080"), "{error}");
        }
        assert!(!room_at(ANYWHERE).unwrap().ends_with(":0"));
    }

    #[test]
    fn a_gateway_is_found_at_the_address_where_it_listens() {
        for (address, found_at) in [
            ("127.0.0.2:8080", Some("127.0.0.2")),
            ("[::1]:8080", Some("::1")),
            ("0.0.0.0:8080", None),
            ("[::]:8080", None),
        ] {
            let told = advertised(address).map(|(_, ip)| ip.into_string().unwrap());
            assert_eq!(told.as_deref(), found_at, "{address}");
        }
    }
}
