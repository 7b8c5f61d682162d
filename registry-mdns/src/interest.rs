//! Which services somebody cares for: only their nodes are verified again and again, and without any nobody listens.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard},
};

use micro_registry::ServiceName;

/// The most names that are remembered; whoever asks for more gets all nodes verified.
const NAMES_MAX: usize = 1_000;

/// The services that were ever asked for through this handle.
///
/// Verifying is multicast to everybody. A host of many nodes that each call a few services stays quiet because each
/// node verifies those few and not all.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    names: Mutex<Names>,
}

#[derive(Debug, Default)]
struct Names {
    services: HashSet<ServiceName>,
    everything: bool,
    holds: usize,
}

/// Keeps a handle listening that nobody has asked for anything; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Hold<'a>(&'a Interest);

impl Interest {
    /// Notes that `service` matters; answers whether it did not before.
    pub(crate) fn add(&self, service: &ServiceName) -> bool {
        let mut names = self.names();
        if names.everything || names.services.contains(service) {
            return false;
        }
        if names.services.len() >= NAMES_MAX {
            names.everything = true;
        } else {
            names.services.insert(service.clone());
        }
        true
    }

    /// Notes that every service matters; answers whether some did not before.
    pub(crate) fn add_everything(&self) -> bool {
        !std::mem::replace(&mut self.names().everything, true)
    }

    /// Keeps the handle listening for a while.
    pub(crate) fn hold(&self) -> Hold<'_> {
        self.names().holds += 1;
        Hold(self)
    }

    /// Whether anything matters.
    pub(crate) fn is_any(&self) -> bool {
        let names = self.names();
        names.everything || names.holds > 0 || !names.services.is_empty()
    }

    /// Whether `service` matters.
    pub(crate) fn has(&self, service: &ServiceName) -> bool {
        let names = self.names();
        names.everything || names.services.contains(service)
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().expect("no panic while the names are locked")
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.names().holds -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_matters_once_it_was_asked_for_and_too_many_names_mean_all() {
        let interest = Interest::default();
        let greeter: ServiceName = "greeter".parse().unwrap();
        assert!(!interest.has(&greeter));
        assert!(interest.add(&greeter));
        assert!(!interest.add(&greeter));
        assert!(interest.has(&greeter));
        assert!(!interest.has(&"other".parse().unwrap()));
        for number in 0..=NAMES_MAX {
            interest.add(&format!("service-{number}").parse().unwrap());
        }
        assert!(interest.has(&"other".parse().unwrap()));
    }

    #[test]
    fn a_hold_matters_as_long_as_it_lives_and_a_service_for_ever() {
        let interest = Interest::default();
        assert!(!interest.is_any());
        let hold = interest.hold();
        assert!(interest.is_any());
        drop(hold);
        assert!(!interest.is_any());
        interest.add(&"greeter".parse().unwrap());
        assert!(interest.is_any());
    }
}
