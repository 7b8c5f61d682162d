//! Where services are found: the client of the framework, and words for what is not there.

use std::time::Duration;

use micro::{
    CallOptions, Channel, Client, RegistrySettings,
    registry::{Error, ErrorKind, Snapshot, Watcher},
};
use micro_dynamic::{Catalog, reflect};
use tokio::time::timeout;
use tonic::Code;

use crate::{
    arguments::RegistryArguments,
    failure::{Failure, Result, chain},
    progress::waiting,
};

/// How long a server may take to describe itself, unless the caller has less time.
const REFLECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// How much longer its answers may take once it has begun, which the channel does not limit.
const REFLECTION_GRACE: Duration = Duration::from_secs(1);

/// How many nodes of our own are asked when one of another framework did not describe itself.
const OTHERS_ASKED_MAX: usize = 2;

/// Where mDNS is when nobody says.
const MDNS_DEFAULT: &str = "127.0.0.1:5353";

/// A client, and where it looks.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    client: Client,
    place: String,
    typed: Vec<String>,
}

impl Lookup {
    /// Opens the registry that the command line, the environment or `micro.toml` names.
    pub(crate) fn open(arguments: &RegistryArguments) -> Result<Self> {
        Self::opened(arguments, &registry_settings(arguments)?)
    }

    /// The same, for a process that has nodes of its own there, at addresses of loopback.
    pub(crate) fn of_own_nodes(arguments: &RegistryArguments) -> Result<Self> {
        Self::opened(arguments, &registry_settings(arguments)?.with_own_loopback())
    }

    fn opened(arguments: &RegistryArguments, settings: &RegistrySettings) -> Result<Self> {
        let client = Client::from_settings(settings).map_err(|error| {
            let is_typed = arguments.registry.is_some() || arguments.registry_address.is_some();
            let failure = if is_typed { Failure::usage } else { Failure::new };
            failure(chain(&error))
        })?;
        Ok(Self {
            client,
            place: place(settings),
            typed: typed(settings),
        })
    }

    /// The registry and its address, for people.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// The options that lead to the same place from anywhere; none where that is the default.
    pub(crate) fn typed(&self) -> &[String] {
        &self.typed
    }

    /// The name of the registry.
    pub(crate) fn registry(&self) -> &'static str {
        self.client.registry_name()
    }

    /// The client itself.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// A channel to `service`.
    pub(crate) fn channel(&self, service: &str) -> Channel {
        self.client.channel(service)
    }

    /// The names of all services.
    pub(crate) async fn services(&self) -> Result<Vec<String>> {
        let services = self.client.services().await;
        services.map_err(|error| self.failed("list the services", &error))
    }

    /// The nodes of `service`, which may be none.
    pub(crate) async fn snapshot(&self, service: &str) -> Result<Snapshot> {
        let snapshot = self.client.snapshot(service).await;
        snapshot.map_err(|error| match error.kind() {
            ErrorKind::InvalidArgument => Failure::usage(chain(&error)),
            _ => self.failed(&format!("look up `{service}`"), &error),
        })
    }

    /// Follows the nodes of `service`, until the registry fails.
    pub(crate) async fn watch(&self, service: &str) -> Result<Watcher> {
        let watcher = self.client.watch(service).await;
        watcher.map_err(|error| self.failed(&format!("follow `{service}`"), &error))
    }

    /// The nodes of `service`, at least one.
    ///
    /// # Errors
    ///
    /// UNAVAILABLE with where it looked, and what there is, when there are none.
    pub(crate) async fn nodes(&self, service: &str) -> Result<Snapshot> {
        let words = || format!("waiting for nodes of `{service}` in {}", self.place);
        let found = waiting(words, async {
            let snapshot = self.snapshot(service).await?;
            let others = match snapshot.is_empty() {
                true => self.services().await?,
                false => Vec::new(),
            };
            Ok::<_, Failure>((snapshot, others))
        });
        let (snapshot, services) = found.await?;
        if !snapshot.is_empty() {
            return Ok(snapshot);
        }
        let there = match services.as_slice() {
            [] => "no services at all are there".to_owned(),
            _ => format!("the services there are: {}", services.join(", ")),
        };
        let message = format!("no nodes of `{service}` in {}; {there}", self.place);
        Err(Failure::coded(Code::Unavailable, message))
    }

    /// What `service` offers, as one of its nodes tells: the one that `options` name, or any. A node may take 5 s, or up to
    /// `limit` if that is less.
    ///
    /// # Errors
    ///
    /// UNIMPLEMENTED when no node that was asked describes itself.
    pub(crate) async fn catalog(
        &self,
        service: &str,
        options: CallOptions,
        limit: Option<Duration>,
    ) -> Result<Catalog> {
        let asked = self.described(service, options.clone(), limit).await;
        let Err(failure) = &asked else {
            return asked;
        };
        if failure.code() != Some(Code::Unimplemented) {
            return asked;
        }
        // One service may have nodes of several frameworks: those of this one say when they were started, and describe
        // themselves.
        let snapshot = self.snapshot(service).await?;
        let ours = snapshot.nodes().iter().filter(|node| !node.boot().is_empty());
        for node in ours.take(OTHERS_ASKED_MAX) {
            let options = options.clone().node(node.id());
            if let Ok(catalog) = self.described(service, options, limit).await {
                return Ok(catalog);
            }
        }
        asked
    }

    async fn described(
        &self,
        service: &str,
        options: CallOptions,
        limit: Option<Duration>,
    ) -> Result<Catalog> {
        let limit = limit.map_or(REFLECTION_TIMEOUT, |limit| limit.min(REFLECTION_TIMEOUT));
        let channel = self.channel(service).options(options.timeout(limit));
        match timeout(limit + REFLECTION_GRACE, reflect(channel)).await {
            Ok(Ok(catalog)) => Ok(catalog),
            Ok(Err(status)) if status.code() == Code::Unimplemented => Err(Failure::coded(
                Code::Unimplemented,
                format!(
                    "`{service}` has no reflection, so its methods are not known; \
                     give its descriptors to the service with `.descriptors(FILE_DESCRIPTOR_SET)`"
                ),
            )),
            Ok(Err(status)) => Err(status.into()),
            Err(_) => Err(Failure::coded(
                Code::DeadlineExceeded,
                format!("`{service}` did not describe itself within {limit:?}"),
            )),
        }
    }

    /// What could not be done, and where.
    pub(crate) fn failed(&self, doing: &str, error: &Error) -> Failure {
        let code = match error.kind() {
            ErrorKind::Unauthenticated => Code::Unauthenticated,
            ErrorKind::PermissionDenied => Code::PermissionDenied,
            ErrorKind::InvalidArgument => Code::InvalidArgument,
            _ => Code::Unavailable,
        };
        Failure::coded(
            code,
            format!("cannot {doing} in {}: {}", self.place, chain(error)),
        )
    }
}

/// The registry that the command line, the environment or `micro.toml` names, if others than this process use it.
pub(crate) fn registry_settings(arguments: &RegistryArguments) -> Result<RegistrySettings> {
    let mut settings = RegistrySettings::from_env().map_err(|error| Failure::new(chain(&error)))?;
    if let Some(kind) = &arguments.registry {
        settings = settings.with_kind(kind, "--registry");
    }
    if let Some(address) = &arguments.registry_address {
        settings = settings.with_addresses(address);
    }
    if settings.kind() == "memory" {
        return Err(Failure::usage(
            "the memory registry is private to the process that uses it, so there is nothing to find in it from here; \
             choose another with --registry or MICRO_REGISTRY",
        ));
    }
    Ok(settings)
}

/// The registry and its address, for people.
pub(crate) fn place(settings: &RegistrySettings) -> String {
    match (settings.kind(), settings.addresses()) {
        ("mdns", []) => format!("mdns at {MDNS_DEFAULT}"),
        (_, []) => format!("{settings} at its default address"),
        _ => settings.to_string(),
    }
}

fn typed(settings: &RegistrySettings) -> Vec<String> {
    let mut typed = Vec::new();
    if settings.kind() != RegistrySettings::default().kind() {
        typed.extend(["--registry".to_owned(), settings.kind().to_owned()]);
    }
    let addresses = settings.addresses().join(",");
    // An address with a password in it is not for the screen.
    if !addresses.is_empty() && !addresses.contains('@') {
        typed.extend(["--registry-address".to_owned(), addresses]);
    }
    typed
}
