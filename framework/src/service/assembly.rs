//! Joins what a builder collected into a service, with every check made.

use std::{mem, net::IpAddr, sync::Arc};

use micro_registry::{Address, Registry, TLS_KEY};
use tokio::runtime::Handle;
use tracing::warn;

use super::{
    Identity, Listen, Service, ServiceBuilder, ServiceContext, Settings,
    address::Advertised,
    life::{Bind, Parts, Plan},
};
use crate::{
    Client, ClientBuilder, Error, ErrorKind, Result,
    config::Loaded,
    context::Propagation,
    control::Control,
    server::{self, ServerBuilder},
    telemetry::Telemetry,
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
        let (settings, server_settings) = self.limits(&loaded)?;
        let has_tls = server_settings.tls.is_some();
        if has_tls {
            identity.metadata.insert(TLS_KEY.to_owned(), "true".to_owned());
        }
        let (registry, registry_at) = self.open_registry(&loaded, advertised.interface())?;
        let control = start_control(self.control.take())?;
        let telemetry = Telemetry::new();
        let client = Client::builder(Arc::clone(&registry))
            .registry_at(registry_at)
            .subset_seed(identity.id());
        let client = self.join_client(client, &loaded, &control, &telemetry)?;

        let token = self.token.child_token();
        let cx = ServiceContext::new(&mut identity, client, has_tls, token.clone());
        let server = ServerBuilder::new(identity.name.clone(), server_settings).telemetry(telemetry.clone());
        let additions = self.additions.into_iter();
        let server = additions.fold(server, |server, add| add(server, &cx)).build()?;
        // What the registry would refuse later is refused now, whatever the address will be.
        identity.node(any_address(), server.methods().into())?;

        let parts = Parts {
            identity,
            advertised,
            server,
            bind,
            registry,
            control,
            clock: self.clock,
            telemetry,
            checks: self.checks,
            tasks: self.tasks,
        };
        let plan = Plan {
            cx,
            settings,
            hooks: self.hooks,
            parts,
            sink: self.sink,
        };
        Ok(Service {
            plan,
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

    /// The limits of the service's life, and those of its server.
    fn limits(&self, loaded: &Loaded) -> Result<(Settings, server::Settings)> {
        let (mut settings, mut server) = (self.settings.clone(), self.server.clone());
        if let Some(keys) = &self.propagate {
            server.propagation = Propagation::new(keys.iter().map(String::as_str))?;
        }
        loaded.lifecycle(&mut settings);
        loaded.server(&mut server);
        Ok((settings.checked()?, server))
    }

    /// The registry, and where it listens itself.
    fn open_registry(
        &mut self,
        loaded: &Loaded,
        interface: Option<IpAddr>,
    ) -> Result<(Arc<dyn Registry>, Vec<Address>)> {
        let mut settings = mem::take(&mut self.backends).advertised_on(interface);
        loaded.registry(&mut settings);
        let Some(registry) = self.registry.take() else {
            return Ok((settings.open()?, settings.own_addresses()));
        };
        if let Some(from) = settings.overruled_by(&*registry) {
            warn!(
                registry = registry.name(),
                "the program hands in its registry, so {from} has no effect"
            );
        }
        Ok((registry, Vec::new()))
    }

    fn join_client(
        &mut self,
        client: ClientBuilder,
        loaded: &Loaded,
        control: &Control,
        telemetry: &Telemetry,
    ) -> Result<Client> {
        let client = client
            .with_control(control.clone())
            .with_telemetry(telemetry.clone());
        let adjustments = mem::take(&mut self.adjustments).into_iter();
        let client = adjustments.fold(client, |client, adjust| adjust(client));
        client.configured(loaded).build()
    }
}

fn start_control(handed: Option<Handle>) -> Result<Control> {
    match handed {
        Some(handle) => Ok(Control::on(handle)),
        None => Control::start()
            .map_err(|error| Error::new(ErrorKind::Server, "start the control thread").with_source(error)),
    }
}

fn any_address() -> Address {
    Address::new("localhost", 1).expect("a host and a port")
}
