//! Bad records are skipped, with one warning each and never a flood of them.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::Mutex,
    time::Duration,
};

use tokio::time::Instant;
use tracing::warn;

use crate::Error;

/// How long after a warning the next one has to wait.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);
/// How many warnings are remembered; more bad records than that are warned of anew, one each interval.
const REMEMBERED_MAX: usize = 1_024;
/// The longest piece of a record's name in a warning, in characters.
const SHOWN_LENGTH_MAX: usize = 100;

/// Warns of records that no [`Node`](crate::Node) can be made of.
///
/// What other programs wrote into a registry is untrusted, and a backend sees it again with every list. One of these
/// in a registry handle warns once of each record and reason, and at most once in 10 s whatever there is to warn of;
/// what has to wait is warned of when it is seen again.
///
/// ```
/// use micro_registry::{Address, SkippedRecords};
///
/// let skipped = SkippedRecords::new("etcd");
/// let records = [("greeter/1", "10.0.0.1:9090"), ("greeter/2", "10.0.0.2:0")];
/// let addresses = records.iter().filter_map(|(key, text)| {
///     text.parse::<Address>().map_err(|error| skipped.skip(key, &error)).ok()
/// });
/// assert_eq!(addresses.count(), 1);
/// ```
#[derive(Debug)]
pub struct SkippedRecords {
    registry: &'static str,
    warned: Mutex<Warned>,
}

#[derive(Debug, Default)]
struct Warned {
    /// Hashes, so that what others write takes no memory here.
    hashes: HashSet<u64>,
    hasher: RandomState,
    last: Option<Instant>,
}

impl SkippedRecords {
    /// Nothing was skipped yet by the backend of this [name](crate::Registry::name).
    #[must_use]
    pub fn new(registry: &'static str) -> Self {
        Self {
            registry,
            warned: Mutex::default(),
        }
    }

    /// Says that `record`, a name by which an operator finds it, is skipped because of `error`.
    pub fn skip(&self, record: &str, error: &Error) {
        let is_due = self
            .warned
            .lock()
            .expect("no panic while the hashes are locked")
            .is_due(record, error);
        if is_due {
            let record: String = record.chars().take(SHOWN_LENGTH_MAX).collect();
            warn!(registry = self.registry, ?record, %error, "bad record skipped");
        }
    }
}

impl Warned {
    fn is_due(&mut self, record: &str, error: &Error) -> bool {
        let hash = self.hasher.hash_one((record, error.to_string()));
        if self.hashes.contains(&hash) {
            return false;
        }
        let now = Instant::now();
        if self
            .last
            .is_some_and(|last| now.duration_since(last) < WARNING_INTERVAL)
        {
            return false;
        }
        if self.hashes.len() >= REMEMBERED_MAX {
            self.hashes.clear();
        }
        self.last = Some(now);
        self.hashes.insert(hash)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_record_and_reason_is_warned_of_once() {
        let mut warned = Warned::default();
        assert!(warned.is_due("greeter/1", &Error::invalid("bad address")));
        time::advance(WARNING_INTERVAL).await;
        assert!(!warned.is_due("greeter/1", &Error::invalid("bad address")));
        assert!(warned.is_due("greeter/1", &Error::invalid("bad version")));
        time::advance(WARNING_INTERVAL).await;
        assert!(warned.is_due("greeter/2", &Error::invalid("bad address")));
    }

    #[tokio::test(start_paused = true)]
    async fn many_bad_records_are_one_warning_an_interval_and_none_is_forgotten() {
        let mut warned = Warned::default();
        let mut list = || {
            (0..1_000)
                .filter(|n| warned.is_due(&n.to_string(), &Error::invalid("bad")))
                .collect::<Vec<_>>()
        };
        assert_eq!(list(), [0]);
        assert_eq!(list(), []);
        time::advance(WARNING_INTERVAL).await;
        assert_eq!(list(), [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_limited() {
        let mut warned = Warned::default();
        for number in 0..2 * REMEMBERED_MAX {
            assert!(warned.is_due(&number.to_string(), &Error::invalid("bad")));
            time::advance(WARNING_INTERVAL).await;
        }
        assert!(warned.hashes.len() <= REMEMBERED_MAX);
    }
}
