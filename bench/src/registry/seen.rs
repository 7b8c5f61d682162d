//! What a contestant has seen of the services that it follows.

use tokio::sync::watch;

/// What was seen so far, for whoever waits for it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    state: watch::Sender<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// How many nodes each service has.
    nodes: Vec<Option<usize>>,
    /// The port of the first node of the first service.
    port: u16,
    updates: u64,
}

impl Seen {
    pub(super) fn of(services: usize) -> Self {
        let (state, _) = watch::channel(State {
            nodes: vec![None; services],
            ..State::default()
        });
        Self { state }
    }

    /// A service has so many nodes now, and `port` is the one of its first.
    pub(super) fn update(&self, service: usize, nodes: usize, port: Option<u16>) {
        self.state.send_modify(|state| {
            state.nodes[service] = Some(nodes);
            state.updates += 1;
            if service == 0 {
                state.port = port.unwrap_or_default();
            }
        });
    }

    /// Waits until every service was listed, with so many nodes.
    pub(super) async fn until_listed(&self, nodes: usize) {
        let all = |state: &State| state.nodes.iter().all(|seen| *seen == Some(nodes));
        // Fails when the sender is gone, which is `self`.
        let _ = self.state.subscribe().wait_for(all).await;
    }

    /// Waits until the first node has this port.
    pub(super) async fn until_port(&self, port: u16) {
        let _ = self.state.subscribe().wait_for(|state| state.port == port).await;
    }

    /// How often something was seen.
    pub(super) fn updates(&self) -> u64 {
        self.state.borrow().updates
    }
}
