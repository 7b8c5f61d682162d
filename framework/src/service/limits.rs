//! How long each part of a service's life may take, and the limits of its server.

use std::time::Duration;

use super::ServiceBuilder;

/// Times. Each must be at least 1 ms, unless said otherwise, and at most 365 days.
impl ServiceBuilder {
    /// Sets how long a registration holds without being renewed, at least 1 s; it is renewed every third of it.
    /// Default: 30 s.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.settings.ttl = ttl;
        self
    }

    /// Sets how long one call into the registry may take. Default: 10 s.
    pub fn registry_timeout(mut self, timeout: Duration) -> Self {
        self.settings.registry_timeout = timeout;
        self
    }

    /// Sets how long the service goes on serving after it has left the registry, so that callers move away. It may be
    /// zero. Default: 2 s.
    pub fn drain_delay(mut self, delay: Duration) -> Self {
        self.settings.drain_delay = delay;
        self
    }

    /// Sets how long calls in flight may take to finish once the service stops; what is left is cut. It may be zero.
    /// Default: 20 s.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.settings.drain_timeout = timeout;
        self
    }

    /// Sets how long each hook may take. Default: 10 s.
    pub fn hook_timeout(mut self, timeout: Duration) -> Self {
        self.settings.hook_timeout = timeout;
        self
    }

    /// Sets how long all of the way down may take; what is left then is cut. Default: 28 s.
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.settings.stop_timeout = timeout;
        self
    }

    /// Sets how long after one round of checks the next begins. Default: 5 s.
    pub fn check_interval(mut self, interval: Duration) -> Self {
        self.settings.check_interval = interval;
        self
    }

    /// Sets how long each check may take; one that takes longer has failed. Default: 5 s.
    pub fn check_timeout(mut self, timeout: Duration) -> Self {
        self.settings.check_timeout = timeout;
        self
    }
}

/// Limits of the server. None may be zero.
impl ServiceBuilder {
    /// Sets how many calls may be in flight on one connection. Default: 200.
    pub fn streams_max(mut self, streams: u32) -> Self {
        self.server.streams_max = streams;
        self
    }

    /// Sets how many connections may be open. Default: 10,000.
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.server.connections_max = connections;
        self
    }

    /// Sets how long a connection may take from being accepted to the headers of its first request. Default: 5 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.server.handshake_timeout = timeout;
        self
    }

    /// Sets how many bytes the headers of one request may have. Default: 16 KiB.
    pub fn header_size_max(mut self, bytes: u32) -> Self {
        self.server.header_size_max = bytes;
        self
    }

    /// Sets how many bytes one request message may have. It can only lower what tonic allows, 4 MiB, which the
    /// generated type raises by `max_decoding_message_size`. Default: 4 MiB.
    pub fn message_size_max(mut self, bytes: usize) -> Self {
        self.server.message_size_max = bytes;
        self
    }

    /// Sets after how long, give or take a tenth, a caller is asked to connect anew, so that those behind one address
    /// spread again; `None` is never. Its calls finish. Default: 1 h.
    pub fn connection_age_max(mut self, age: Option<Duration>) -> Self {
        self.server.connection_age_max = age;
        self
    }

    /// Sets how often a caller is asked whether it is still there, `None` for never, and how long the answer may take.
    /// Default: 30 s and 10 s.
    pub fn keepalive(mut self, interval: Option<Duration>, timeout: Duration) -> Self {
        self.server.keepalive_interval = interval;
        self.server.keepalive_timeout = timeout;
        self
    }
}
