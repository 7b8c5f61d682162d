//! Who may send a request at all, and how often.

use http::Request;

use super::Calls;
use crate::{
    fault::Fault,
    headers,
    rate::{By, Client},
    tokens::Claims,
};

impl Calls {
    /// Refuses a client that has sent more than it may, where clients are told apart in this way.
    pub(super) fn take_turn(
        &self,
        by: By,
        request: &Request<()>,
        claims: Option<&Claims>,
    ) -> Result<(), Fault> {
        let Some(limiter) = self.limiter.as_ref().filter(|limiter| limiter.by == by) else {
            return Ok(());
        };
        let subject = claims.and_then(Claims::subject).filter(|_| by == By::Subject);
        let client = match subject {
            Some(subject) => Client::Subject(subject.to_owned()),
            None => Client::at(headers::client(request, &self.settings)),
        };
        limiter.take(client).map_err(Fault::too_many)
    }
}
