//! What was typed into the file and the variables, key by key; nothing typed is `None` and changes nothing.

use micro_registry::ServiceName;
use serde::{Deserialize, de::IgnoredAny};

use super::{
    consul, etcd,
    node::{Id, Metadata, Version},
    otlp, tls,
    value::{Count, Flag, Keys, List, MaybeSpan, Parsed, Ranges, Repeats, Span, Window},
};
use crate::{
    client::Policy,
    service::{Advertise, Listen},
};

/// The whole of `micro.toml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Typed {
    pub(super) registry: Registry,
    pub(super) server: Server,
    pub(super) client: Client,
    pub(super) consul: consul::Typed,
    pub(super) etcd: etcd::Typed,
    #[cfg_attr(
        not(feature = "otel"),
        allow(dead_code, reason = "a build without otel checks these keys, and uses none")
    )]
    pub(super) telemetry: otlp::Telemetry,
    /// Belongs to `micro run`, which checks it.
    #[serde(rename = "run")]
    pub(super) _run: Option<IgnoredAny>,
    /// Belongs to `micro gateway`, which checks it.
    #[serde(rename = "gateway")]
    pub(super) _gateway: Option<IgnoredAny>,
}

/// `[registry]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Registry {
    pub(super) kind: Option<Parsed<String>>,
    pub(super) address: Option<List>,
    pub(super) ttl: Option<Span>,
    pub(super) timeout: Option<Span>,
}

/// `[server]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Server {
    pub(super) name: Option<Parsed<ServiceName>>,
    pub(super) version: Option<Parsed<Version>>,
    pub(super) id: Option<Parsed<Id>>,
    pub(super) address: Option<Parsed<Listen>>,
    pub(super) advertise: Option<Parsed<Advertise>>,
    pub(super) metadata: Metadata,
    pub(super) tls: tls::Server,
    pub(super) propagate: Option<Keys>,
    pub(super) drain_delay: Option<Span>,
    pub(super) drain_timeout: Option<Span>,
    pub(super) hook_timeout: Option<Span>,
    pub(super) stop_timeout: Option<Span>,
    pub(super) check_interval: Option<Span>,
    pub(super) check_timeout: Option<Span>,
    pub(super) streams_max: Option<Count<u32>>,
    pub(super) connections_max: Option<Count<usize>>,
    pub(super) connections_per_ip_max: Option<Count<usize>>,
    pub(super) calls_max: Option<Count<usize>>,
    pub(super) calls_adaptive: Option<Flag>,
    pub(super) handshake_timeout: Option<Span>,
    pub(super) write_timeout: Option<Span>,
    pub(super) header_size_max: Option<Count<u32>>,
    pub(super) message_size_max: Option<Count<usize>>,
    pub(super) connection_age_max: Option<MaybeSpan>,
    pub(super) keepalive_interval: Option<MaybeSpan>,
    pub(super) keepalive_timeout: Option<Span>,
    pub(super) pending_resets_max: Option<Count<usize>>,
    pub(super) local_resets_max: Option<Count<usize>>,
    pub(super) accept_backoff_max: Option<Span>,
}

/// `[client]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Client {
    pub(super) request_timeout: Option<Span>,
    pub(super) connect_timeout: Option<Span>,
    pub(super) policy: Option<Parsed<Policy>>,
    pub(super) zone: Option<String>,
    pub(super) health_watch: Option<Flag>,
    pub(super) allow: Option<Ranges>,
    pub(super) deny: Option<Ranges>,
    pub(super) own_loopback: Option<Flag>,
    pub(super) hold_down: Option<Span>,
    pub(super) subset: Option<Count<usize>>,
    pub(super) subset_seed: Option<String>,
    pub(super) connections_per_node: Option<Count<usize>>,
    pub(super) keepalive_interval: Option<Span>,
    pub(super) keepalive_timeout: Option<Span>,
    pub(super) stream_window: Option<Count<Window>>,
    pub(super) retries: Option<Repeats>,
    pub(super) hedge_delay: Option<MaybeSpan>,
    pub(super) tls: tls::Client,
}
