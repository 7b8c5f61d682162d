//! What can go wrong in a simulation, and how it is done to the simulated hosts.

use std::time::Duration;

use turmoil::Sim;

use crate::{directory::Mode, world::World};

/// What happens between one client and one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// What is sent is lost, in both directions.
    Cut,
    /// What the server sends is lost.
    ServerUnheard,
    /// What the client sends is lost.
    ClientUnheard,
    /// What is sent arrives once the link is well again.
    Held,
    /// Each message takes so many milliseconds.
    Slow(u64),
    /// All is well.
    Well,
}

/// One thing that happens at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A link from now on.
    Link {
        client: usize,
        server: usize,
        link: Link,
    },
    /// The handlers of a server work for so many milliseconds more.
    Slow { server: usize, millis: u64 },
    /// A server dies without a word.
    Crash { server: usize },
    /// A server is told to stop, and started anew once it has stopped.
    Restart { server: usize },
    /// A server that crashed is started anew.
    Start { server: usize },
    /// The registry from now on.
    Registry(Mode),
}

/// How long a message takes on a link that is well.
pub(crate) const LATENCY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(10));

impl Fault {
    /// Does it.
    pub(crate) fn strike(self, sim: &mut Sim<'_>, world: &World) {
        world.note(sim.elapsed(), &format!("{self:?}"));
        match self {
            Self::Link { client, server, link } => link.set(sim, client, server),
            Self::Slow { server, millis } => world.slow(server, millis),
            Self::Crash { server } => sim.crash(server_name(server)),
            Self::Start { server } => sim.bounce(server_name(server)),
            Self::Restart { server } => {
                if let Some(process) = world.process(server) {
                    process.token.cancel();
                }
            }
            Self::Registry(mode) => world.directory.set(mode),
        }
    }
}

impl Link {
    fn set(self, sim: &Sim<'_>, client: usize, server: usize) {
        let (client, server) = (client_name(client), server_name(server));
        match self {
            Self::Cut => sim.partition(client, server),
            Self::ServerUnheard => sim.partition_oneway(server, client),
            Self::ClientUnheard => sim.partition_oneway(client, server),
            Self::Held => sim.hold(client, server),
            Self::Slow(millis) => sim.set_link_latency(client, server, Duration::from_millis(millis)),
            Self::Well => {
                sim.release(client.as_str(), server.as_str());
                sim.repair(client.as_str(), server.as_str());
                sim.set_link_latency(client.as_str(), server.as_str(), LATENCY.0);
                sim.set_link_max_message_latency(client, server, LATENCY.1);
            }
        }
    }
}

pub(crate) fn server_name(server: usize) -> String {
    format!("server-{server}")
}

pub(crate) fn client_name(client: usize) -> String {
    format!("client-{client}")
}
