//! What became of the attempts of a call that decided nothing.

use std::sync::Arc;

use tonic::Status;

use super::{body::RequestBody, candidate::Candidate};

/// What became of the attempts of one call so far. In a box and not before there is one: hardly any call has a past, and every
/// call would carry its size.
#[derive(Debug, Default)]
pub(super) struct Past(Option<Box<Record>>);

/// What is noted of them.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Connections that certainly did not run it, and are not to be tried again.
    pub(super) tried: Vec<u64>,
    /// Nodes that perhaps ran it, and are not to be tried again.
    pub(super) failed: Vec<Arc<Candidate>>,
    /// Why the last connection did not run it.
    pub(super) refusal: Option<String>,
    /// How the last attempt failed that perhaps ran.
    pub(super) failure: Option<Status>,
    /// The body, if the last attempt did not even queue it.
    pub(super) returned: Option<RequestBody>,
}

impl Past {
    /// Where it is noted.
    pub(super) fn record(&mut self) -> &mut Record {
        self.0.get_or_insert_default()
    }

    /// See [`Record::tried`].
    pub(super) fn tried(&self) -> &[u64] {
        self.0.as_ref().map_or(&[], |record| &record.tried)
    }

    /// See [`Record::failed`].
    pub(super) fn failed(&self) -> &[Arc<Candidate>] {
        self.0.as_ref().map_or(&[], |record| &record.failed)
    }

    /// See [`Record::refusal`].
    pub(super) fn refusal(&self) -> Option<&str> {
        self.0.as_ref()?.refusal.as_deref()
    }

    /// Takes out how the last attempt failed that perhaps ran.
    pub(super) fn take_failure(&mut self) -> Option<Status> {
        self.0.as_mut()?.failure.take()
    }

    /// Takes out the body that came back.
    pub(super) fn take_returned(&mut self) -> Option<RequestBody> {
        self.0.as_mut()?.returned.take()
    }
}
