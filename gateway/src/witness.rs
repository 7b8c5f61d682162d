//! Who tells those that run the services of a call that came to nothing, by the id which its caller was told.

use std::sync::Arc;

use tonic::Status;

use crate::{fault, headers::RequestId, table::Route, told::Told};

/// One call, for when it fails: at once, or long after its answer began.
#[derive(Debug)]
pub(crate) struct Witness {
    pub(crate) told: Arc<Told>,
    pub(crate) route: Arc<Route>,
    pub(crate) id: RequestId,
}

impl Witness {
    /// Logs what the caller is not shown, unless too much of that is logged already.
    pub(crate) fn tell(&self, status: &Status) {
        if fault::is_hidden(status) && self.told.again() {
            let (service, method) = (&*self.route.service, self.route.name());
            tracing::warn!(service, method, id = self.id.as_str(), %status, "a call failed");
        }
    }
}
