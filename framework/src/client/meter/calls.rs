//! How long the calls of one service take, method by method.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use arc_swap::ArcSwap;

use super::OTHER;
use crate::telemetry::{CLIENT_CALL, Durations, Telemetry};

/// How many methods of a service have series of their own; the others share theirs.
const METHODS_MAX: usize = 128;
/// The longest name of a method that is a label.
const METHOD_LENGTH_MAX: usize = 256;

/// How long calls take, by the path of their requests.
pub(super) struct Calls {
    telemetry: Telemetry,
    service: String,
    /// Replaced as a whole when a path is new.
    by_path: ArcSwap<BTreeMap<Box<str>, Arc<Durations>>>,
    /// Held by the one who replaces it.
    making: Mutex<()>,
}

impl Calls {
    pub(super) fn new(telemetry: &Telemetry, service: &str) -> Self {
        Self {
            telemetry: telemetry.clone(),
            service: service.to_owned(),
            by_path: ArcSwap::default(),
            making: Mutex::default(),
        }
    }

    /// The durations of the calls of this path. Looking up one that is known takes no lock and allocates nothing.
    pub(super) fn durations(&self, path: &str) -> Arc<Durations> {
        match self.by_path.load().get(path) {
            Some(durations) => Arc::clone(durations),
            None => self.make(path),
        }
    }

    /// The durations of a path that is new, or one too many.
    #[cold]
    fn make(&self, path: &str) -> Arc<Durations> {
        let _making = self.making.lock().expect("no panic while it is locked");
        let mut by_path = BTreeMap::clone(&self.by_path.load());
        let method = path.strip_prefix('/').unwrap_or(path);
        let has_form =
            path.len() <= METHOD_LENGTH_MAX && method.split('/').filter(|part| !part.is_empty()).count() == 2;
        let (path, method) = if has_form && (by_path.len() < METHODS_MAX || by_path.contains_key(path)) {
            (path, method)
        } else {
            (OTHER, OTHER)
        };
        if let Some(durations) = by_path.get(path) {
            return Arc::clone(durations);
        }
        let service = self.service.as_str();
        let labels = [("server.address", service), ("micro.service", service)];
        let durations = Arc::new(Durations::new(&self.telemetry, CLIENT_CALL, method, &labels));
        by_path.insert(path.into(), Arc::clone(&durations));
        self.by_path.store(Arc::new(by_path));
        durations
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_looked_up_and_one_too_many_is_another() {
        let telemetry = Telemetry::new();
        let calls = Calls::new(&telemetry, "greeter");
        let hello = calls.durations("/greeter.Say/Hello");
        assert!(Arc::ptr_eq(&hello, &calls.durations("/greeter.Say/Hello")));
        let other = calls.durations("/made up");
        assert!(!Arc::ptr_eq(&hello, &other));
        for number in 0..METHODS_MAX * 2 {
            calls.durations(&format!("/greeter.Say/Hello{number}"));
        }
        assert!(Arc::ptr_eq(&other, &calls.durations("/greeter.Say/Bye")));
        assert!(Arc::ptr_eq(&hello, &calls.durations("/greeter.Say/Hello")));
        let long = format!("/greeter.Say/{}", "o".repeat(METHOD_LENGTH_MAX));
        assert!(Arc::ptr_eq(&other, &calls.durations(&long)));
        assert_eq!(
            calls.by_path.load().len(),
            METHODS_MAX,
            "with what the others share"
        );
    }
}
