//! What a backend has made of the records of its services, kept from one watch to the next.

use std::{
    collections::HashMap,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;

use crate::ServiceName;

/// How long after a watch its service is kept; whoever still cares watches again within seconds.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// How many services are kept at most that nobody watches: as many as a client lets be unused.
const SERVICES_MAX: usize = 1_024;

/// What a backend has made of the records of its services, kept from one watch to the next.
///
/// A record that was good and is bad now stays the node that it was, also when the watch that saw the good one has ended;
/// and what has not changed meanwhile need not be read again. A watch borrows what there is of its service, and gives it
/// back with its end. Of two watches of one service the second begins with nothing. What nobody borrows for a minute is
/// forgotten.
///
/// ```
/// use std::sync::Arc;
/// use micro_registry::{Kept, ServiceName};
///
/// let kept = Arc::<Kept<Vec<&str>>>::default();
/// let service: ServiceName = "greeter".parse()?;
/// kept.lend(&service, Vec::new).push("greeter-1");
/// assert_eq!(*kept.lend(&service, Vec::new), ["greeter-1"]);
/// # Ok::<(), micro_registry::Error>(())
/// ```
#[derive(Debug)]
pub struct Kept<T> {
    entries: Mutex<Entries<T>>,
}

type Entries<T> = HashMap<ServiceName, Entry<T>>;

#[derive(Debug)]
struct Entry<T> {
    value: T,
    since: Instant,
}

/// What is lent by [`Kept`]; dropping it gives it back.
#[derive(Debug)]
pub struct Lent<T> {
    kept: Arc<Kept<T>>,
    service: ServiceName,
    /// Until it is given back.
    value: Option<T>,
}

impl<T> Kept<T> {
    /// What is kept of `service`, or else what `none` makes.
    pub fn lend(self: &Arc<Self>, service: &ServiceName, none: impl FnOnce() -> T) -> Lent<T> {
        let mut entries = self.lock();
        let expired = expired(&mut entries);
        let value = entries.remove(service).map(|entry| entry.value);
        drop(entries);
        // Takes its time, which nobody has to wait for.
        drop(expired);
        Lent {
            kept: Arc::clone(self),
            service: service.clone(),
            value: Some(value.unwrap_or_else(none)),
        }
    }

    fn give_back(&self, service: ServiceName, value: T) {
        let mut entries = self.lock();
        let expired = expired(&mut entries);
        let entry = Entry {
            value,
            since: Instant::now(),
        };
        let replaced = if entries.len() < SERVICES_MAX || entries.contains_key(&service) {
            entries.insert(service, entry)
        } else {
            Some(entry)
        };
        drop(entries);
        drop((expired, replaced));
    }

    fn lock(&self) -> MutexGuard<'_, Entries<T>> {
        self.entries
            .lock()
            .expect("no panic while the entries are locked")
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            entries: Mutex::default(),
        }
    }
}

/// Takes out what has been kept for long enough.
fn expired<T>(entries: &mut Entries<T>) -> Vec<Entry<T>> {
    let now = Instant::now();
    let expired = entries.extract_if(|_, entry| now.duration_since(entry.since) >= KEPT_FOR);
    expired.map(|(_, entry)| entry).collect()
}

impl<T> Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("it is given back by `drop` alone")
    }
}

impl<T> DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("it is given back by `drop` alone")
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            self.kept.give_back(self.service.clone(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;

    fn service(name: &str) -> ServiceName {
        name.parse().unwrap()
    }

    fn kept_of(kept: &Arc<Kept<u32>>, name: &str) -> u32 {
        *kept.lend(&service(name), u32::default)
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_there_for_its_time_after_it_was_given_back() {
        let kept = Arc::<Kept<u32>>::default();
        let mut borrowed = kept.lend(&service("greeter"), u32::default);
        *borrowed = 7;
        time::advance(KEPT_FOR * 2).await;
        drop(borrowed);
        time::advance(KEPT_FOR - Duration::from_nanos(1)).await;
        assert_eq!(kept_of(&kept, "greeter"), 7);
        time::advance(KEPT_FOR).await;
        assert_eq!(kept_of(&kept, "other"), 0);
        assert_eq!(kept.lock().keys().collect::<Vec<_>>(), [&service("other")]);
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_the_second_begins_with_nothing_and_the_last_word_stands() {
        let kept = Arc::<Kept<u32>>::default();
        *kept.lend(&service("greeter"), u32::default) = 1;
        let first = kept.lend(&service("greeter"), u32::default);
        let mut second = kept.lend(&service("greeter"), u32::default);
        assert_eq!((*first, *second), (1, 0));
        *second = 2;
        drop(first);
        assert_eq!(kept_of(&kept, "greeter"), 1);
        drop(second);
        assert_eq!(kept_of(&kept, "greeter"), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_are_kept_and_no_more() {
        let kept = Arc::<Kept<u32>>::default();
        for at in 0..=SERVICES_MAX {
            *kept.lend(&service(&format!("s{at}")), u32::default) = 1;
        }
        assert_eq!(kept.lock().len(), SERVICES_MAX);
        assert_eq!(kept_of(&kept, "s0"), 1);
    }
}
