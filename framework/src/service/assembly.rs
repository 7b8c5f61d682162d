//! Joins what a builder collected into a service, with every check made.

use std::{mem, sync::Arc};

use micro_registry::{Address, Registry};
use tracing::warn;

use super::{
    Identity, Listen, Service, ServiceBuilder, ServiceContext,
    address::Advertised,
    life::{Bind, Parts, Plan},
};
use crate::{
    Client, Error, ErrorKind, RegistrySettings, Result,
    config::Loaded,
    context::Propagation,
    control::Control,
    server::{self, ServerBuilder},
};

impl ServiceBuilder {
    /// The service, with every check made. Touches no network.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for whatever is wrong in code, file or environment; the message says what is allowed.
    /// [`ErrorKind::Server`] when the control thread cannot be started or the network interfaces not be listed.
    pub fn build(mut self) -> Result<Service> {
        let loaded = Loaded::load(&self.environment)?;
        let (mut identity, bind) = self.identity(&loaded)?;
        let advertised = Advertised::new(
            &identity.listen,
            identity.advertise.as_ref(),
            if_addrs::get_if_addrs,
        )?;
        loaded.lifecycle(&mut self.settings);
        let settings = self.settings.checked()?;
        if let Some(keys) = &self.propagate {
            self.server.propagation = Propagation::new(keys.iter().map(String::as_str))?;
        }
        loaded.server(&mut self.server);

        let mut backends = self.backends.advertised_on(advertised.interface());
        loaded.registry(&mut backends);
        let registry = open(self.registry, &backends)?;
        let control = match self.control {
            Some(handle) => Control::on(handle),
            None => Control::start().map_err(|error| {
                Error::new(ErrorKind::Server, "start the control thread").with_source(error)
            })?,
        };
        let client = Client::builder(Arc::clone(&registry)).with_control(control.clone());
        let adjusted = self
            .adjustments
            .into_iter()
            .fold(client, |client, adjust| adjust(client));
        let client = adjusted.configured(&loaded).build()?;

        let token = self.token.child_token();
        let cx = ServiceContext::new(
            identity.name.clone(),
            identity.id().to_owned(),
            client,
            token.clone(),
        );
        let server = ServerBuilder::new(identity.name.clone(), self.server);
        let server = self
            .additions
            .into_iter()
            .fold(server, |server, add| add(server, &cx))
            .build()?;
        // What the registry would refuse later is refused now, whatever the address will be.
        identity.node(any_address(), server.methods().into())?;

        Ok(Service {
            plan: Plan {
                cx,
                settings,
                hooks: self.hooks,
                parts: Parts {
                    identity,
                    advertised,
                    server,
                    bind,
                    registry,
                    control,
                    checks: self.checks,
                    tasks: self.tasks,
                },
            },
            signals: self.signals,
            token,
        })
    }

    /// Who the service is by all that was said, and how it will listen.
    fn identity(&mut self, loaded: &Loaded) -> Result<(Identity, Bind)> {
        let name = self
            .name
            .parse()
            .map_err(|error: micro_registry::Error| Error::config(error.to_string()))?;
        let mut identity = Identity::new(name);
        identity.version = mem::take(&mut self.version);
        identity.id = self.id.take();
        identity.metadata = mem::take(&mut self.metadata);
        if let Some(address) = self.address.take() {
            identity.listen = address.parse().map_err(Error::config)?;
        }
        if let Some(advertise) = self.advertise.take() {
            identity.advertise = Some(advertise.parse().map_err(Error::config)?);
        }
        loaded.identity(&mut identity);
        let Some((address, bind)) = self.listener.take() else {
            let listen = identity.listen.to_string();
            let bind: Bind =
                Box::new(|server| Box::pin(async move { server.start(server::bind(&listen).await?) }));
            return Ok((identity, bind));
        };
        identity.listen = Listen::Ip(address.map_err(|error| {
            Error::new(ErrorKind::Server, "ask for the address that is listened on").with_source(error)
        })?);
        Ok((identity, bind))
    }
}

fn open(handed: Option<Arc<dyn Registry>>, settings: &RegistrySettings) -> Result<Arc<dyn Registry>> {
    let Some(registry) = handed else {
        return settings.open();
    };
    if let Some(from) = settings.overruled_by(&*registry) {
        warn!(
            registry = registry.name(),
            "the program hands in its registry, so {from} has no effect"
        );
    }
    Ok(registry)
}

fn any_address() -> Address {
    Address::new("localhost", 1).expect("a host and a port")
}
