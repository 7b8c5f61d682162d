//! What the control task tells: the picker to calls, and what is known of each node to those who ask.

use tokio::time::Instant;

use super::{
    super::{
        picker::{Known, Picker},
        status::EndpointStatus,
    },
    Endpoints,
};

impl Endpoints {
    /// Tells those who have asked what is known of each node.
    pub(super) fn answer_inquiries(&self) {
        let now = Instant::now();
        for inquiry in self.shared.inquiries() {
            let endpoints = self.table.ids().filter_map(|id| self.table.get(id));
            let statuses: Vec<EndpointStatus> = endpoints.map(|endpoint| endpoint.status(now)).collect();
            // Fails when nobody waits for it any more.
            let _ = inquiry.send(statuses);
        }
    }

    /// Publishes what is ready, if that is news: everybody who waits looks at it.
    pub(super) fn publish(&mut self) {
        let now = Instant::now();
        let ready = self.table.ready(now);
        let (ready, views) = self.views.update(ready);
        let known = Known {
            snapshot: self.snapshot.clone(),
            registry_failure: self.registry_failure.clone(),
            connect_failure: self.connect_failure.clone(),
            pending: ready.len() < self.table.len(),
        };
        let picker = Picker {
            ready,
            views,
            methods: self.census.agreed(),
            known,
        };
        if !self.shared.picker().is_same(&picker) {
            self.shared.publish(picker);
        }
    }
}
