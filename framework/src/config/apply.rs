//! Lays what was typed over what code and defaults say.

use std::mem;

use super::{
    Loaded,
    node::Metadata,
    value::{Count, Window},
};
use crate::{
    backends::RegistrySettings,
    client, server,
    service::{Identity, Settings},
};

impl Loaded {
    /// Which registry, and where.
    pub(crate) fn registry(&self, settings: &mut RegistrySettings) {
        let typed = &self.typed.registry;
        if let Some(kind) = &typed.kind {
            let from = self.place("registry.kind").unwrap_or_default();
            *settings = mem::take(settings).with_kind(&kind.0, from);
        }
        if let Some(address) = &typed.address {
            settings.set_addresses(address.0.clone());
        }
        settings.set_consul(self.typed.consul.settings());
        settings.set_etcd(self.typed.etcd.settings());
    }

    /// Who the service is, and where it listens.
    pub(crate) fn identity(&self, identity: &mut Identity) {
        let typed = self.typed.server.clone();
        set(&mut identity.name, typed.name.map(|name| name.0));
        set(&mut identity.version, typed.version.map(|version| version.0.0));
        set(&mut identity.id, typed.id.map(|id| Some(id.0.0)));
        set(&mut identity.listen, typed.address.map(|address| address.0));
        set(
            &mut identity.advertise,
            typed.advertise.map(|address| Some(address.0)),
        );
        let Metadata(metadata) = typed.metadata;
        identity.metadata.extend(metadata);
    }

    /// How long each part of a service's life may take.
    pub(crate) fn lifecycle(&self, settings: &mut Settings) {
        let (registry, server) = (&self.typed.registry, &self.typed.server);
        for (setting, typed) in [
            (&mut settings.ttl, registry.ttl),
            (&mut settings.registry_timeout, registry.timeout),
            (&mut settings.drain_delay, server.drain_delay),
            (&mut settings.drain_timeout, server.drain_timeout),
            (&mut settings.hook_timeout, server.hook_timeout),
            (&mut settings.stop_timeout, server.stop_timeout),
            (&mut settings.check_interval, server.check_interval),
            (&mut settings.check_timeout, server.check_timeout),
        ] {
            set(setting, typed.map(|span| span.0));
        }
    }
}

impl Loaded {
    /// The limits of the server.
    pub(crate) fn server(&self, settings: &mut server::Settings) {
        let typed = self.typed.server.clone();
        set(&mut settings.streams_max, typed.streams_max.map(|count| count.0));
        set(
            &mut settings.connections_max,
            typed.connections_max.map(|count| count.0),
        );
        set(
            &mut settings.connections_per_ip_max,
            typed.connections_per_ip_max.map(|count| count.0),
        );
        set(&mut settings.calls_max, typed.calls_max.map(|count| count.0));
        set(
            &mut settings.calls_adaptive,
            typed.calls_adaptive.map(|flag| flag.0),
        );
        set(
            &mut settings.handshake_timeout,
            typed.handshake_timeout.map(|span| span.0),
        );
        set(
            &mut settings.write_timeout,
            typed.write_timeout.map(|span| span.0),
        );
        set(
            &mut settings.header_size_max,
            typed.header_size_max.map(|count| count.0),
        );
        set(
            &mut settings.message_size_max,
            typed.message_size_max.map(|count| count.0),
        );
        set(
            &mut settings.connection_age_max,
            typed.connection_age_max.map(|span| span.0),
        );
        set(
            &mut settings.keepalive_interval,
            typed.keepalive_interval.map(|span| span.0),
        );
        set(
            &mut settings.keepalive_timeout,
            typed.keepalive_timeout.map(|span| span.0),
        );
        set(
            &mut settings.pending_resets_max,
            typed.pending_resets_max.map(|count| Some(count.0)),
        );
        set(
            &mut settings.local_resets_max,
            typed.local_resets_max.map(|count| count.0),
        );
        set(
            &mut settings.accept_backoff_max,
            typed.accept_backoff_max.map(|span| span.0),
        );
        set(&mut settings.propagation, typed.propagate.map(|keys| keys.0));
        set(&mut settings.tls, typed.tls.settings().map(Some));
    }

    /// How the client finds, connects and calls.
    pub(crate) fn client(&self, settings: &mut client::Settings) {
        let typed = self.typed.client.clone();
        set(
            &mut settings.request_timeout,
            typed.request_timeout.map(|span| span.0),
        );
        set(
            &mut settings.connect_timeout,
            typed.connect_timeout.map(|span| span.0),
        );
        set(&mut settings.policy, typed.policy.map(|policy| policy.0));
        set(&mut settings.health_watch, typed.health_watch.map(|flag| flag.0));
        set(&mut settings.zone, typed.zone.map(|zone| Some(zone.into())));
        set(&mut settings.reach.allow, typed.allow.map(|ranges| ranges.0));
        set(&mut settings.reach.deny, typed.deny.map(|ranges| ranges.0));
        set(
            &mut settings.reach.own_loopback,
            typed.own_loopback.map(|flag| flag.0),
        );
        set(&mut settings.hold_down, typed.hold_down.map(|span| span.0));
        set(&mut settings.subset, typed.subset.map(|count| count.0));
        set(
            &mut settings.subset_seed,
            typed.subset_seed.map(|seed| Some(seed.into())),
        );
        set(
            &mut settings.connections_per_node,
            typed.connections_per_node.map(|count| count.0),
        );
        set(
            &mut settings.keepalive_interval,
            typed.keepalive_interval.map(|span| span.0),
        );
        set(
            &mut settings.keepalive_timeout,
            typed.keepalive_timeout.map(|span| span.0),
        );
        let stream_window = typed.stream_window.map(|Count(Window(bytes))| bytes);
        set(&mut settings.stream_window, stream_window);
        set(&mut settings.retries, typed.retries.map(|retries| retries.0));
        set(&mut settings.hedge_delay, typed.hedge_delay.map(|span| span.0));
        set(&mut settings.tls, typed.tls.settings().map(Some));
    }
}

fn set<T>(setting: &mut T, typed: Option<T>) {
    if let Some(typed) = typed {
        *setting = typed;
    }
}
