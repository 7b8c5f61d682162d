//! What the control task tells: the picker to calls, and what is known of each node to those who ask.

use tokio::time::Instant;

use super::{
    super::{
        picker::{Known, Picker},
        status::ServiceStatus,
        unsent::chain,
    },
    Endpoints,
};

impl Endpoints {
    /// Tells those who have asked what is known.
    pub(super) fn answer_inquiries(&self) {
        let now = Instant::now();
        for inquiry in self.shared.inquiries() {
            // Fails when nobody waits for it any more.
            let _ = inquiry.send(self.status(now));
        }
    }

    fn status(&self, now: Instant) -> ServiceStatus {
        let endpoints = self.table.ids().filter_map(|id| self.table.get(id));
        let age = self.snapshot_at.map(|at| now.duration_since(at));
        ServiceStatus {
            endpoints: endpoints.map(|endpoint| endpoint.status(now)).collect(),
            snapshot_age: age.unwrap_or_default(),
            registry_error: self
                .registry_failure
                .as_deref()
                .map(|failure| chain(failure).into()),
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
