//! Hedging: a call whose answer is late is sent to a second node, and the first answer wins (Dean and Barroso, "The
//! Tail at Scale", 2013; gRFC A6).

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::time::{self, Instant};

use super::{
    attempt::Attempt,
    body::{RequestBody, Source},
    call::Call,
    candidate::Candidate,
    meter::Cause,
    response::Place,
    retry::Retry,
};

/// What became of one attempt, or of two at once.
pub(super) struct Raced {
    pub(super) attempt: Attempt,
    /// How many were sent.
    pub(super) sent: u32,
    /// Where the one that did not decide was sent.
    pub(super) other: Option<Arc<Candidate>>,
}

impl Raced {
    /// What became of the only attempt.
    pub(super) fn alone(attempt: Attempt) -> Self {
        Self {
            attempt,
            sent: 1,
            other: None,
        }
    }
}

impl Call {
    /// Sends the call, and once more elsewhere if no answer has begun after `delay`. Of two answers the first counts;
    /// a failure counts only when the other one has failed, too.
    pub(super) async fn race(
        &self,
        place: Place,
        body: RequestBody,
        previous: u32,
        delay: Duration,
        source: &Source,
        retry: &mut Retry,
    ) -> Raced {
        let (first_endpoint, started) = (Arc::clone(&place.endpoint), Instant::now());
        let mut first = pin!(self.attempt(place, body, previous));
        tokio::select! {
            biased;
            attempt = &mut first => return Raced::alone(attempt),
            () = time::sleep(delay) => {}
        }
        let Some((place, body)) = self.second(&first_endpoint, source, retry) else {
            return Raced::alone(first.await);
        };
        self.target.meter.attempt(Cause::Hedge);
        let second_endpoint = Arc::clone(&place.endpoint);
        let mut second = pin!(self.attempt(place, body, previous + 1));
        let (attempt, other) = tokio::select! {
            biased;
            attempt = &mut first => if decides(&attempt) {
                (attempt, second_endpoint)
            } else {
                (second.await, first_endpoint)
            },
            attempt = &mut second => if decides(&attempt) {
                self.overtaken(&first_endpoint, started);
                (attempt, first_endpoint)
            } else {
                (first.await, second_endpoint)
            },
        };
        Raced {
            attempt,
            sent: 2,
            other: Some(other),
        }
    }

    /// Counts the call as one that `endpoint` failed, if it has answered nothing at all since it was sent there: it may
    /// stand still, and nobody waits for it long enough to find out. One that is only slow answers other calls.
    fn overtaken(&self, endpoint: &Candidate, since: Instant) {
        if endpoint.spot.load.is_silent_since(since) && endpoint.flags.streak.failed(false) {
            self.target.shared.attention.notify_one();
        }
    }

    /// A place on another node, if there is one at once and the call may be sent again.
    fn second(&self, first: &Candidate, source: &Source, retry: &mut Retry) -> Option<(Place, RequestBody)> {
        // Two attempts cannot read one stream.
        let Source::Whole(_) = source else {
            return None;
        };
        let mut tried = self.past.tried().to_vec();
        tried.extend(first.connection_ids());
        let place = self.choose(&self.target.shared.picker(), &tried, Instant::now())?;
        let body = source.attempt()?;
        retry.take(&self.target.budget).then_some((place, body))
    }
}

/// Whether the other attempt cannot do better.
fn decides(attempt: &Attempt) -> bool {
    match attempt {
        Attempt::Answered(answer) => !answer.failure().is_some_and(|failure| failure.is_unavailable()),
        Attempt::Unsent { .. } | Attempt::Failed { .. } => false,
    }
}
