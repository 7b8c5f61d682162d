//! How a call comes by a place on a connection: at once as a rule, else by waiting for one, unless waiting is useless.

use std::sync::{Arc, atomic::Ordering};

use tokio::time::Instant;
use tonic::Status;

use super::{
    call::Call,
    candidate::Candidate,
    meter::Waited,
    observe::Traced,
    picker::{self, Picker},
    policy::{CallInfo, Policy},
    response::Place,
};

impl Call {
    /// Waits for a place on a connection that was not tried, from `now` on.
    pub(super) async fn place(&self, now: Instant) -> Result<Place, Status> {
        if let Some(place) = self.try_place(&self.target.shared.picker(), now) {
            return Ok(place);
        }
        let shared = &self.target.shared;
        let mut published = shared.subscribe();
        let mut metered = Metered::new(self);
        let waiting = shared.room.wait();
        loop {
            published.borrow_and_update();
            let released = waiting.released();
            tokio::pin!(released);
            released.as_mut().enable();
            {
                let picker = shared.picker();
                if let Some(place) = self.try_place(&picker, Instant::now()) {
                    metered.outcome = Waited::Found;
                    return Ok(place);
                }
                self.check_hope(&picker)
                    .inspect_err(|_| metered.outcome = Waited::Nobody)?;
                self.ask_for_more(&picker);
            }
            tokio::select! {
                changed = published.changed() => {
                    changed.map_err(|_| self.unavailable("the client has stopped"))?;
                }
                () = released => {}
            }
        }
    }

    /// A place on a connection that was not tried, if there is one at once.
    fn try_place(&self, picker: &Picker, now: Instant) -> Option<Place> {
        if self.past.failed().is_empty() {
            return self.choose(picker, self.past.tried(), now);
        }
        // The nodes may have got new connections since.
        let failed = self
            .candidates(picker)
            .iter()
            .filter(|ready| self.has_failed(ready));
        let mut tried = self.past.tried().to_vec();
        tried.extend(failed.flat_map(|ready| ready.connection_ids()));
        self.choose(picker, &tried, now)
    }

    /// A place on a connection that is not among `tried`, if there is one at once.
    pub(super) fn choose(&self, picker: &Picker, tried: &[u64], now: Instant) -> Option<Place> {
        let call = CallInfo::at(now, &self.headers).with_hash_key(self.options.hash_key.as_deref());
        let chosen = match &self.options.node {
            Some(_) => picker::take_any(self.candidates(picker), tried)?,
            None => picker
                .view(self.options.selection.as_ref())?
                .choose(call, tried)?,
        };
        let shared = Arc::clone(&self.target.shared);
        Some(Place::new(&chosen, shared, now, self.times.headers))
    }

    /// By what its nodes are chosen, and among how many, for those who watch; `None` where the call names its node.
    pub(super) fn choice(&self) -> Option<(&Policy, usize)> {
        if self.options.node.is_some() {
            return None;
        }
        let selection = self.options.selection.as_ref();
        let own = selection.and_then(|selection| selection.policy.as_ref());
        let policy = own.unwrap_or(&self.target.settings.policy);
        let candidates = self.target.shared.picker().view(selection)?.usable.len();
        Some((policy, candidates))
    }

    /// The endpoints that this call may go to.
    fn candidates<'a>(&self, picker: &'a Picker) -> &'a [Arc<Candidate>] {
        let Some(node) = &self.options.node else {
            return match picker.view(self.options.selection.as_ref()) {
                Some(view) => &view.all,
                None => &[],
            };
        };
        match picker
            .ready
            .binary_search_by(|ready| ready.peer.node_id().cmp(node))
        {
            Ok(at) => &picker.ready[at..=at],
            Err(_) => &[],
        }
    }

    /// Fails at once when waiting is useless: nobody is there, or everybody has refused.
    fn check_hope(&self, picker: &Picker) -> Result<(), Status> {
        let known = &picker.known;
        let candidates = self.candidates(picker);
        if candidates.is_empty() {
            let Some(snapshot) = &known.snapshot else {
                return Ok(());
            };
            if snapshot.is_empty() && !known.pending {
                return Err(self.unavailable("the registry knows no node"));
            }
            if let Some(node) = &self.options.node
                && snapshot.get(node).is_none()
            {
                return Err(self.unavailable(&format!("the registry knows no node `{node}`")));
            }
            if self.options.node.is_none()
                && let Some(selection) = &self.options.selection
                && !snapshot.nodes().iter().any(|node| selection.matches(node))
            {
                return Err(self.unavailable(&format!("the registry knows no node of {selection}")));
            }
            return Ok(());
        }
        // A connection that is closing is replaced soon, and its endpoint can be tried again.
        let mut connections = candidates
            .iter()
            .filter(|ready| !self.has_failed(ready))
            .flat_map(|ready| &ready.connections);
        let all_refused = connections
            .all(|connection| self.past.tried().contains(&connection.id) && !connection.is_closing());
        if all_refused && (self.options.node.is_some() || !known.pending) {
            return Err(self.unavailable("every node has refused it"));
        }
        Ok(())
    }

    /// Whether a node is ready that was not tried.
    pub(super) fn has_untried(&self, picker: &Picker) -> bool {
        let untried = |ready: &&Arc<Candidate>| !self.has_failed(ready);
        let mut connections = self
            .candidates(picker)
            .iter()
            .filter(untried)
            .flat_map(|ready| ready.connection_ids());
        connections.any(|connection| !self.past.tried().contains(&connection))
    }

    /// Whether the call perhaps ran on this start of this node.
    fn has_failed(&self, ready: &Candidate) -> bool {
        self.past
            .failed()
            .iter()
            .any(|failed| failed.spot.is(&ready.spot))
    }

    /// Asks the control task for what this call lacks.
    fn ask_for_more(&self, picker: &Picker) {
        let shared = &self.target.shared;
        let candidates = self.candidates(picker);
        if let Some(node) = self.options.node.as_deref().filter(|_| candidates.is_empty()) {
            shared.ask(node);
        }
        if let Some(selection) = &self.options.selection
            && picker.view(Some(selection)).is_none()
        {
            shared.ask_selection(selection);
        }
        for ready in candidates {
            if !ready.flags.full.swap(true, Ordering::Relaxed) {
                shared.attention.notify_one();
            }
        }
    }
}

/// Tells of a call that waited for a free stream.
struct Metered<'a> {
    call: &'a Call,
    /// The wait's span.
    traced: Traced,
    /// What has come of it.
    outcome: Waited,
}

impl<'a> Metered<'a> {
    fn new(call: &'a Call) -> Self {
        Self {
            call,
            traced: call.observed.pick(),
            outcome: Waited::GivenUp,
        }
    }
}

impl Drop for Metered<'_> {
    fn drop(&mut self) {
        self.call.target.meter.waited(self.outcome);
        self.traced.record_outcome(self.outcome);
    }
}
