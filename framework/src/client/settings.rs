//! What a client can be told, and what holds when nobody says anything.

use std::{sync::Arc, time::Duration};

use super::policy::Policy;

use super::reach::Reach;
use crate::tls::ClientFiles;

/// How a client finds nodes, connects and calls. Each field's default stands in [`Default`].
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How long a unary call may take when nobody says otherwise.
    pub(crate) request_timeout: Duration,
    /// How long connecting to one node may take, up to its first HTTP/2 frame.
    pub(crate) connect_timeout: Duration,
    /// How long a node with a live connection is kept although a suspicious snapshot lacks it.
    pub(crate) hold_down: Duration,
    /// How many nodes of a large service are connected to ahead of calls.
    pub(crate) subset: usize,
    /// What says which these are; `None` for any.
    pub(crate) subset_seed: Option<Arc<str>>,
    /// How many connections one node may get when its stream limit is reached.
    pub(crate) connections_per_node: usize,
    /// After how much silence a peer is asked whether it is still there.
    pub(crate) keepalive_interval: Duration,
    /// How long it may take to answer that.
    pub(crate) keepalive_timeout: Duration,
    /// How many bytes of an answer may wait for whoever reads it.
    pub(crate) stream_window: u32,
    /// Whether nodes are asked for their health.
    pub(crate) health_watch: bool,
    /// How a node is chosen.
    pub(crate) policy: Policy,
    /// The zone whose nodes come first; `None` when all are alike.
    pub(crate) zone: Option<Arc<str>>,
    /// How often a call of an idempotent method is sent again that perhaps ran.
    pub(crate) retries: u32,
    /// After which time without an answer such a call is sent to a second node, too.
    pub(crate) hedge_delay: Option<Duration>,
    /// Which addresses may be called.
    pub(crate) reach: Reach,
    /// Whom to trust over TLS; `None` when it is not spoken.
    pub(crate) tls: Option<ClientFiles>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(1),
            hold_down: Duration::from_secs(60),
            subset: 64,
            subset_seed: None,
            connections_per_node: 4,
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(5),
            // What tonic has.
            stream_window: 2 * 1024 * 1024,
            health_watch: false,
            policy: Policy::default(),
            zone: None,
            retries: 2,
            hedge_delay: None,
            reach: Reach::default(),
            tls: None,
        }
    }
}
