//! How long a call may take: what it says itself, what is left of the call it is made for, and the default.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use super::options::CallOptions;
use crate::{
    context::CallContext,
    grpc_timeout::{self, GRPC_TIMEOUT},
};

/// How far away a deadline may be: more than any call takes, and no clock overflows.
pub(super) const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Until when what must have happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// When the call was made.
    pub(super) made: Instant,
    /// Until when response headers must be there.
    pub(super) headers: Instant,
    /// Until when all must be over; travels as `grpc-timeout`.
    pub(super) end: Option<Instant>,
}

impl Times {
    /// What the call, the call it is made for, and the settings say together. Takes a `grpc-timeout` out of
    /// `said`, the headers.
    pub(super) fn new(
        said: &mut HeaderMap,
        options: &CallOptions,
        context: &CallContext,
        unary: bool,
        default: Duration,
    ) -> Self {
        let now = Instant::now();
        let asked = said
            .remove(GRPC_TIMEOUT)
            .and_then(|value| grpc_timeout::parse(&value));
        let explicit = options.timeout.or(asked);
        let own = explicit
            .or(unary.then_some(default))
            .map(|timeout| now + timeout.min(FAR));
        let end = [own, context.deadline()].into_iter().flatten().min();
        let headers = if explicit.is_some() {
            end
        } else {
            end.into_iter().chain([now + default.min(FAR)]).min()
        };
        Self {
            made: now,
            headers: headers.unwrap_or(now + FAR),
            end,
        }
    }

    /// Makes the headers say how much of it is left at `now`.
    pub(super) fn tell(&self, headers: &mut HeaderMap, now: Instant) {
        if let Some(end) = self.end {
            let left = end.saturating_duration_since(now);
            headers.insert(GRPC_TIMEOUT, grpc_timeout::format(left));
        }
    }

    /// The whole of it, for messages.
    pub(super) fn timeout(&self) -> Duration {
        self.end
            .unwrap_or(self.headers)
            .saturating_duration_since(self.made)
    }
}
