//! A call as those who watch see it: how long it took, and how it ended.

use std::{mem, sync::Arc};

use http::HeaderMap;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::target::Target;
use crate::telemetry::Durations;

/// A call under way. It ends where this is dropped; without another word its caller gave it up.
#[derive(Debug, Default)]
pub(super) struct Observed(Option<Watched>);

#[derive(Debug)]
struct Watched {
    durations: Arc<Durations>,
    started: Instant,
    code: Option<Code>,
}

impl Observed {
    /// A call of this path begins. Nothing is noted of it while nobody records.
    pub(super) fn begin(target: &Target, path: &str) -> Self {
        Self(target.meter.durations(path).map(|durations| Watched {
            durations,
            started: Instant::now(),
            code: None,
        }))
    }

    /// Takes in the status, if headers or trailers have it.
    pub(super) fn see(&mut self, headers: &HeaderMap) {
        if let Some(watched) = &mut self.0
            && let Some(value) = headers.get(Status::GRPC_STATUS)
        {
            watched.code = Some(Code::from_bytes(value.as_bytes()));
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
        let code = self.code.unwrap_or(Code::Cancelled);
        self.durations.record(code, self.started.elapsed());
    }
}
