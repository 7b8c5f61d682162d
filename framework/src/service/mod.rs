//! The service: builds what a user asked for, and runs it from the first hook to the last.

mod address;
mod announcer;
mod assembly;
mod builder;
mod checks;
mod context;
mod hooks;
mod identity;
mod life;
mod limits;
mod pulse;
mod settings;
mod stop;
mod tasks;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod watchdog;
mod work;

use std::fmt;

use tokio::time;
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    address::{Advertise, Listen},
    identity::Identity,
    settings::Settings,
};
pub use self::{builder::ServiceBuilder, context::ServiceContext, work::Outcome};
use self::{
    life::{Life, Plan},
    stop::{Signals, Stop},
};
use crate::{Client, Error, ErrorKind, Result};

/// A service that is built and checked, and ready to run.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use micro::{Service, registry::Memory};
///
/// # #[tokio::main]
/// # async fn main() -> micro::Result<()> {
/// let service = Service::builder("greeter")
///     .version("1.2.0")
///     .registry(Arc::new(Memory::default()))
///     .before_start(|cx| async move { println!("{} starts", cx.id()) })
///     // .add_service(SayServer::new(Greeter)).descriptors(greeter::FILE_DESCRIPTOR_SET)
///     .drain_delay(Duration::ZERO)
///     .build()?;
/// # service.cancellation_token().cancel();
/// service.run().await
/// # }
/// ```
#[must_use = "a service does nothing until it runs"]
pub struct Service {
    plan: Plan,
    signals: Option<Signals>,
    token: CancellationToken,
}

impl Service {
    /// Starts a service that is registered under `name`: letters, digits, `.`, `_` and `-`, at most 63 characters.
    pub fn builder(name: impl Into<String>) -> ServiceBuilder {
        ServiceBuilder::new(name.into())
    }

    /// The client of this service, which shares its registry. It can be used before and after the service runs.
    #[must_use]
    pub fn client(&self) -> Client {
        self.plan.cx.client()
    }

    /// The id of this node: what was configured, or the name and eight random hex digits.
    #[must_use]
    pub fn id(&self) -> &str {
        self.plan.cx.id()
    }

    /// The token whose cancellation stops the service, as SIGTERM does.
    #[must_use]
    pub fn cancellation_token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Runs the service until SIGTERM, SIGINT, SIGQUIT, a cancelled token or a failure.
    ///
    /// What fails on the way up takes the same way down as what was told to stop, so nothing stays registered and every
    /// `before_stop` and `after_stop` hook runs. A second signal ends at once. Dropping the future cuts everything.
    ///
    /// # Errors
    ///
    /// The first of what failed; later failures are logged. [`ErrorKind::Hook`] for the user's code;
    /// [`ErrorKind::Server`] when it cannot listen; [`ErrorKind::Registry`] when the registry refuses the node, its
    /// credentials, or for 2 × ttl its id; [`ErrorKind::Timeout`] for a hook that takes too long, and when the way down
    /// takes longer than `stop_timeout`; [`ErrorKind::Interrupted`] after a second signal.
    pub async fn run(self) -> Result<()> {
        let mut stop = Stop::listen(self.signals, self.token)?;
        let stop_timeout = self.plan.settings.stop_timeout;
        let mut life = Life::new(self.plan);

        let up = stop
            .first_or(async {
                life.before_start().await?;
                life.serve().await?;
                life.live().await
            })
            .await;
        life.note(up.map_or(Ok(()), |lived| lived.map(|never| match never {})));

        let down = async {
            life.before_stop().await;
            life.leave().await;
            life.drain().await;
            life.stop_tasks().await;
            life.after_stop().await;
            life.flush().await;
        };
        let down = match stop.second_or(time::timeout(stop_timeout, down)).await {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) => Err(Error::new(
                ErrorKind::Timeout,
                format!("the stop took longer than {stop_timeout:?}, and what was left was cut"),
            )),
            None => Err(Error::new(
                ErrorKind::Interrupted,
                "a second signal cut the stop short",
            )),
        };
        life.note(down);
        life.end()
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("service", &self.plan.cx.service())
            .field("id", &self.id())
            .field("settings", &self.plan.settings)
            .finish_non_exhaustive()
    }
}
