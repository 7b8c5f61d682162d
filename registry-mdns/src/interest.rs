//! Which services somebody cares for: only their nodes are verified again and again.

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
}

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

    /// Notes that every service matters.
    pub(crate) fn add_everything(&self) {
        self.names().everything = true;
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
}
