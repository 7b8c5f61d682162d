//! A service of which something is exported: followed from the first request on, and let go when nobody asks any more.

use std::sync::{Arc, Mutex};

use micro::Client;
use tonic::Status;

use crate::{
    export::Export,
    follow::{Follower, Known},
    table::Table,
};

/// One service of the registry.
#[derive(Debug)]
pub(crate) struct Exported {
    service: String,
    exports: Vec<Export>,
    client: Client,
    follower: Mutex<Option<Follower>>,
}

impl Exported {
    pub(crate) fn new(service: &str, exports: Vec<Export>, client: Client) -> Self {
        Self {
            service: service.to_owned(),
            exports,
            client,
            follower: Mutex::new(None),
        }
    }

    /// The exported methods. The first to ask wait until the service has described itself; nobody else does.
    ///
    /// # Errors
    ///
    /// Why the service is not known. What was known once stays, whatever happens to the registry.
    pub(crate) async fn table(&self) -> Result<Arc<Table>, Status> {
        let mut known = self.known();
        let known = known.wait_for(Option::is_some).await;
        match known.as_deref() {
            Ok(Some(known)) => known.clone(),
            Ok(None) | Err(_) => Err(Status::unavailable("the service is not followed any more")),
        }
    }

    /// The exported methods, if the service has described itself.
    pub(crate) fn known_table(&self) -> Option<Arc<Table>> {
        let receiver = self.known();
        let known = receiver.borrow();
        known.as_ref()?.as_ref().ok().cloned()
    }

    /// A call has come to nothing because its node does not have the method.
    pub(crate) fn doubt(&self) {
        let follower = self.follower.lock().expect("no panic while it is locked");
        follower.as_ref().inspect(|follower| follower.doubt());
    }

    fn known(&self) -> tokio::sync::watch::Receiver<Known> {
        let mut follower = self.follower.lock().expect("no panic while it is locked");
        if let Some(known) = follower.as_ref().and_then(Follower::known) {
            return known;
        }
        let started = Follower::start(&self.client, &self.service, self.exports.clone());
        let known = started.watch();
        *follower = Some(started);
        known
    }
}
