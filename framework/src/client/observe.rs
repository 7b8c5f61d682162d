//! A call as those who watch see it: how long it took, how it ended, and spans for it, its attempts and its waits.

use std::{mem, sync::Arc};

use http::HeaderMap;
use micro_registry::Host;
use tokio::time::Instant;
use tonic::{Code, Status};
use tracing::{
    Span,
    field::{self, Empty},
    info_span,
};

use super::{call::Call, candidate::Candidate, meter::Waited, peer::Peer, target::Target};
use crate::{
    context::CallContext,
    grpc_timeout::given_up_after,
    telemetry::{Durations, code_name, trace},
};

/// A call under way. It ends where this is dropped; without another word its caller gave it up, or had no time left itself.
#[derive(Debug, Default)]
pub(super) struct Observed(Option<Watched>);

#[derive(Debug)]
struct Watched {
    durations: Option<Arc<Durations>>,
    span: Traced,
    started: Instant,
    /// From when on a call that is given up was so because the one that it is made for has no time left.
    given_up: Option<Instant>,
    code: Option<Code>,
}

impl Observed {
    /// A call of this path begins. Nothing is noted of it while nobody records or subscribes.
    pub(super) fn begin(target: &Target, path: &str, context: &CallContext) -> Self {
        let durations = target.meter.durations(path);
        let span = Traced::call(target, path, context);
        let watched = durations.is_some() || span.0.is_some();
        Self(watched.then(|| {
            let started = Instant::now();
            let given_up = context
                .deadline()
                .map(|deadline| started + given_up_after(deadline.saturating_duration_since(started)));
            Watched {
                durations,
                span,
                started,
                given_up,
                code: None,
            }
        }))
    }

    /// An attempt of `call` at `endpoint` begins.
    pub(super) fn attempt(&self, call: &Call, endpoint: &Candidate, previous: u32) -> Traced {
        match &self.0 {
            Some(Watched { span, .. }) => span.attempt(call, &endpoint.peer, previous),
            None => Traced::default(),
        }
    }

    /// A pick begins to wait: no node had room at once.
    pub(super) fn pick(&self) -> Traced {
        match &self.0 {
            Some(Watched { span, .. }) => span.pick(),
            None => Traced::default(),
        }
    }

    /// Makes the headers of a request tell of it: all its attempts have it as their parent at the nodes, as it is the
    /// client's side of each.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        if let Some(Watched {
            span: Traced(Some(span)),
            ..
        }) = &self.0
        {
            trace::tell(span, headers);
        }
    }

    /// Takes in who was contacted last: the one who answered, if anybody did.
    pub(super) fn contacted(&self, peer: &Peer) {
        if let Some(watched) = &self.0 {
            watched.span.record_peer(peer);
        }
    }

    /// Takes in how the node says that the call ended.
    pub(super) fn see(&mut self, code: Code) {
        if let Some(watched) = &mut self.0 {
            watched.code = Some(code);
        }
    }

    /// The call has ended; with `UNKNOWN`, if no status was seen.
    pub(super) fn ended(&mut self) {
        self.end(Code::Unknown);
    }

    /// The call is refused with this status.
    pub(super) fn refused(&mut self, status: Status) -> Status {
        self.failed(&status);
        status
    }

    /// The call has failed.
    pub(super) fn failed(&mut self, status: &Status) {
        self.end(status.code());
    }

    fn end(&mut self, code: Code) {
        if let Some(watched) = &mut self.0 {
            watched.code.get_or_insert(code);
        }
        // Counted now, and not when the caller lets go of what it has read.
        drop(mem::take(self));
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let code = self.code.unwrap_or_else(|| match self.given_up {
            Some(moment) if moment <= Instant::now() => Code::DeadlineExceeded,
            _ => Code::Cancelled,
        });
        self.span.record_code(code);
        if let Some(durations) = &self.durations {
            durations.record(code, self.started.elapsed());
        }
    }
}

/// A span, where somebody subscribes to it. In a box: hardly any call has one, and every call would carry its size.
#[derive(Debug, Default)]
pub(super) struct Traced(Option<Box<Span>>);

impl Traced {
    /// Begins here, and not where the call is polled first, which may be another task.
    fn call(target: &Target, path: &str, context: &CallContext) -> Self {
        let method = path.strip_prefix('/').unwrap_or(path);
        let span = info_span!(
            "client_call",
            otel.kind = "client",
            otel.name = Empty,
            otel.status_code = Empty,
            rpc.system.name = "grpc",
            rpc.method = method,
            rpc.response.status_code = Empty,
            error.type = Empty,
            // What the channel was made for: the nodes stand behind it.
            server.address = target.service.as_str(),
            network.peer.address = Empty,
            network.peer.port = Empty,
            micro.service = target.service.as_str(),
            micro.node.id = Empty,
        );
        let traced = Self::of(span);
        if let Some(span) = &traced.0 {
            trace::name(span, method);
            // Work that a handler spawned has no span, but it may have taken the context of its call along.
            if Span::current().is_none()
                && let Some(travelling) = context.metadata()
            {
                trace::go_on(span, travelling);
            }
        }
        traced
    }

    fn of(span: Span) -> Self {
        Self((!span.is_disabled()).then(|| Box::new(span)))
    }

    fn attempt(&self, call: &Call, peer: &Peer, previous: u32) -> Self {
        let Some(parent) = &self.0 else {
            return Self::default();
        };
        // To OpenTelemetry a call with all its attempts is one client's span; another below it would be another call.
        let span = info_span!(
            parent: &**parent,
            "attempt",
            otel.kind = "internal",
            otel.status_code = Empty,
            rpc.response.status_code = Empty,
            error.type = Empty,
            network.peer.address = Empty,
            network.peer.port = Empty,
            micro.node.id = Empty,
            micro.previous_attempts = previous,
            micro.policy = Empty,
            micro.candidates = Empty,
        );
        let traced = Self::of(span);
        // A pick takes less time than a span of its own would.
        if let Some(span) = &traced.0
            && let Some((policy, candidates)) = call.choice()
        {
            span.record("micro.policy", field::display(policy));
            span.record("micro.candidates", candidates);
        }
        traced.record_peer(peer);
        traced
    }

    fn pick(&self) -> Self {
        let Some(parent) = &self.0 else {
            return Self::default();
        };
        Self::of(info_span!(parent: &**parent, "pick", otel.kind = "internal", micro.outcome = Empty))
    }

    fn record_peer(&self, peer: &Peer) {
        if let Some(span) = &self.0 {
            let address = peer.node().address();
            // Which address a name led to, the connector alone knows.
            if let Host::Ip(ip) = address.host() {
                span.record("network.peer.address", ip.to_string());
                span.record("network.peer.port", address.port());
            }
            span.record("micro.node.id", peer.node_id());
        }
    }

    /// Takes in what came of waiting for a node, which ends it.
    pub(super) fn record_outcome(&mut self, outcome: Waited) {
        if let Some(span) = self.0.take() {
            span.record("micro.outcome", outcome.name());
        }
    }

    /// Takes in how it ended, which ends it.
    pub(super) fn record_code(&mut self, code: Code) {
        if let Some(span) = self.0.take() {
            span.record("rpc.response.status_code", code_name(code));
            // To its caller whatever is no success is a failure.
            if code != Code::Ok {
                span.record("error.type", code_name(code));
                span.record("otel.status_code", "ERROR");
            }
        }
    }
}
