//! How many calls are in flight, and how many there may be.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use metrics::Counter;
use prost::Message;
use prost_types::Any;
use tokio::time::Duration;
use tonic::{Code, Status, metadata::MetadataMap};

use super::{Settings, adaptive::Adaptive, layers::details::RpcStatus};

/// How long callers are asked to wait before they try this server again: long enough for calls in flight to end, and
/// half of it more or less, so that those who were refused at once do not come back at once.
const PUSHBACK: Duration = Duration::from_millis(100);
const PUSHBACK_JITTER: f64 = 0.5;

/// How long to wait, as clients read it that retry (gRFC A6).
const PUSHBACK_KEY: &str = "grpc-retry-pushback-ms";

/// The calls of a server that were admitted and have not ended, those of health and reflection left out.
#[derive(Debug)]
pub(super) struct Load {
    active: AtomicUsize,
    calls_max: usize,
    adaptive: Option<Adaptive>,
    refused: Counter,
}

impl Load {
    /// As many calls as `settings` say; `refused` counts those above.
    pub(super) fn new(settings: &Settings, refused: Counter) -> Self {
        Self {
            active: AtomicUsize::new(0),
            calls_max: settings.calls_max,
            adaptive: settings.calls_adaptive.then(|| Adaptive::new(settings.calls_max)),
            refused,
        }
    }

    /// A place for one more call, until it is dropped; or why there is none.
    pub(super) fn place(self: &Arc<Self>) -> Result<Place, Status> {
        let limit = self.limit();
        // Taken before it is asked whether there is one, so that two cannot take the last.
        let place = Place(Arc::clone(self));
        if self.active.fetch_add(1, Relaxed) < limit {
            return Ok(place);
        }
        drop(place);
        self.refused.increment(1);
        Err(too_many(limit))
    }

    /// A unary call took this long until it ended with `code`.
    pub(super) fn took(&self, code: Code, duration: Duration) {
        // What was refused or failed fast tells nothing of how long the work takes.
        if let Some(adaptive) = &self.adaptive
            && matches!(code, Code::Ok | Code::DeadlineExceeded)
        {
            adaptive.took(duration, self.active());
        }
    }

    /// The calls in flight.
    pub(super) fn active(&self) -> usize {
        self.active.load(Relaxed)
    }

    /// How many calls there may be at this moment.
    pub(super) fn limit(&self) -> usize {
        self.adaptive.as_ref().map_or(self.calls_max, Adaptive::limit)
    }
}

/// The place of one call among those in flight.
#[derive(Debug)]
pub(crate) struct Place(Arc<Load>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
    }
}

fn too_many(limit: usize) -> Status {
    let pushback = PUSHBACK.mul_f64(1.0 + PUSHBACK_JITTER * (2.0 * fastrand::f64() - 1.0));
    let mut metadata = MetadataMap::new();
    metadata.insert(
        PUSHBACK_KEY,
        u64::try_from(pushback.as_millis()).unwrap_or(u64::MAX).into(),
    );
    let message = format!("{limit} calls are in flight, which is as many as this server takes at a time");
    let details = RpcStatus {
        code: Code::ResourceExhausted as i32,
        message: message.clone(),
        details: vec![retry_info(pushback)],
    };
    Status::with_details_and_metadata(
        Code::ResourceExhausted,
        message,
        details.encode_to_vec().into(),
        metadata,
    )
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

fn retry_info(delay: Duration) -> Any {
    let info = RetryInfo {
        retry_delay: prost_types::Duration::try_from(delay).ok(),
    };
    Any {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
        value: info.encode_to_vec(),
    }
}
