//! How long each part of a service's life may take.

use std::time::Duration;

use crate::{Error, Result, config::DURATION_MAX};

/// The limits of a service's life. Each field's default stands in [`Default`].
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How long a registration holds without being renewed.
    pub(crate) ttl: Duration,
    /// How long one call into the registry may take.
    pub(crate) registry_timeout: Duration,
    /// How long the server goes on as before after it has left the registry, so that callers move away.
    pub(crate) drain_delay: Duration,
    /// How long calls in flight may take to finish once the server accepts no more.
    pub(crate) drain_timeout: Duration,
    /// How long each hook may take.
    pub(crate) hook_timeout: Duration,
    /// How long all of the way down may take; what is left then is cut.
    pub(crate) stop_timeout: Duration,
    /// How long after one round of checks the next begins.
    pub(crate) check_interval: Duration,
    /// How long each check may take; one that takes longer has failed.
    pub(crate) check_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // A Consul without quorum holds a heartbeat back for up to 29 s.
            ttl: Duration::from_secs(30),
            registry_timeout: Duration::from_secs(10),
            // An mDNS goodbye takes 1.1 s.
            drain_delay: Duration::from_secs(2),
            drain_timeout: Duration::from_secs(20),
            hook_timeout: Duration::from_secs(10),
            // Kubernetes kills at 30 s.
            stop_timeout: Duration::from_secs(28),
            check_interval: Duration::from_secs(5),
            check_timeout: Duration::from_secs(5),
        }
    }
}

/// The shortest ttl: a third of it is the time to renew in.
const TTL_MIN: Duration = Duration::from_secs(1);
/// The shortest wait that is not a mistake; none at all would be a busy loop or a certain failure.
const WAIT_MIN: Duration = Duration::from_millis(1);

impl Settings {
    /// Refuses what cannot work, whoever said it.
    pub(crate) fn checked(self) -> Result<Self> {
        for (name, value, min) in [
            ("ttl", self.ttl, TTL_MIN),
            ("registry_timeout", self.registry_timeout, WAIT_MIN),
            ("drain_delay", self.drain_delay, Duration::ZERO),
            ("drain_timeout", self.drain_timeout, Duration::ZERO),
            ("hook_timeout", self.hook_timeout, WAIT_MIN),
            ("stop_timeout", self.stop_timeout, WAIT_MIN),
            ("check_interval", self.check_interval, WAIT_MIN),
            ("check_timeout", self.check_timeout, WAIT_MIN),
        ] {
            if value < min || value > DURATION_MAX {
                return Err(Error::config(format!(
                    "{name} is {value:?}; allowed are {min:?} to 365 days"
                )));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_allowed_and_leave_time_for_all_of_the_way_down() {
        let settings = Settings::default().checked().unwrap();
        let without_hooks = settings.drain_delay + settings.drain_timeout + Duration::from_secs(1);
        assert!(without_hooks < settings.stop_timeout);
    }

    #[test]
    fn what_cannot_work_is_refused_with_what_is_allowed() {
        let settings = Settings {
            ttl: Duration::from_millis(10),
            ..Settings::default()
        };
        let error = settings.checked().unwrap_err().to_string();
        assert!(error.contains("ttl is 10ms; allowed are 1s"), "{error}");
        let settings = Settings {
            stop_timeout: Duration::MAX,
            ..Settings::default()
        };
        assert!(settings.checked().is_err());
    }
}
