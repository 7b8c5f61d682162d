//! The services that a client knows: each is followed while somebody uses it, and let go some time after.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::Duration,
};

use micro_registry::ServiceName;
use tokio::time::{self, Instant, MissedTickBehavior};

use super::target::Target;
use crate::control::{Control, Owned};

/// How long a service is followed that no channel and no call uses any more.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How often that is looked at.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);
/// How many unused services are followed at most; the one that is unused for the longest goes first.
const IDLE_MAX: usize = 1024;

/// The targets by the names of their services. Dropping them ends those that nobody uses.
#[derive(Debug, Default)]
pub(super) struct Targets {
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    entries: Entries,
    /// Lets go of what is idle for long; begins with the first target.
    sweeper: Option<Owned<()>>,
}

type Entries = HashMap<ServiceName, Entry>;

#[derive(Debug)]
struct Entry {
    target: Arc<Target>,
    /// Since when nobody but this entry has held the target, as far as a sweep has seen.
    idle_since: Option<Instant>,
}

impl Entry {
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.target) == 1
    }
}

impl Targets {
    /// The target of `service`, which `make` makes if there is none.
    pub(super) fn get(
        &self,
        service: ServiceName,
        control: &Control,
        make: impl FnOnce(ServiceName) -> Target,
    ) -> Arc<Target> {
        let mut known = lock(&self.known);
        if known.sweeper.is_none() {
            known.sweeper = Some(control.spawn(sweep_on(Arc::downgrade(&self.known))));
        }
        let entries = &mut known.entries;
        if let Some(entry) = entries.get_mut(&service) {
            entry.idle_since = None;
            return Arc::clone(&entry.target);
        }
        let crowded_out = (entries.len() >= IDLE_MAX).then(|| make_room(entries));
        let target = Arc::new(make(service.clone()));
        let entry = Entry {
            target: Arc::clone(&target),
            idle_since: None,
        };
        entries.insert(service, entry);
        drop(known);
        // Ends its tasks, which nobody has to wait for with the lock held.
        drop(crowded_out);
        target
    }
}

/// Lets the targets go, now and then, that have been idle for long. Ends with their owner.
async fn sweep_on(known: Weak<Mutex<Known>>) {
    let mut interval = time::interval(SWEEP_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let Some(known) = known.upgrade() else { return };
        let expired = sweep(&mut lock(&known).entries, Instant::now());
        drop(expired);
    }
}

/// Takes out the targets that have been idle for long, and notes those that are idle from now on.
fn sweep(entries: &mut Entries, now: Instant) -> Vec<Entry> {
    let expired = entries.extract_if(|_, entry| {
        if !entry.is_idle() {
            entry.idle_since = None;
            return false;
        }
        // While the entries are locked nobody can begin to use this one.
        now.duration_since(*entry.idle_since.get_or_insert(now)) >= IDLE_TIMEOUT
    });
    expired.map(|(_, entry)| entry).collect()
}

/// Takes out the target that has been idle for the longest, if too many are.
fn make_room(entries: &mut Entries) -> Option<Entry> {
    let idle = || entries.iter().filter(|(_, entry)| entry.is_idle());
    if idle().count() < IDLE_MAX {
        return None;
    }
    // Those that no sweep has seen idle yet are the youngest.
    let age = |entry: &Entry| (entry.idle_since.is_none(), entry.idle_since);
    let oldest = idle().min_by_key(|(_, entry)| age(entry))?.0.clone();
    entries.remove(&oldest)
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().expect("no panic while the targets are locked")
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use micro_registry::{Memory, Node, Registry, Snapshot, Watcher};
    use tokio::{runtime::Handle, sync::mpsc};

    use super::*;
    use crate::Client;

    /// A registry that tells which watch has ended.
    #[derive(Debug)]
    struct Watched {
        memory: Memory,
        ended: mpsc::UnboundedSender<String>,
    }

    /// Tells of its end.
    struct Ended(String, mpsc::UnboundedSender<String>);

    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.1.send(self.0.clone());
        }
    }

    #[async_trait]
    impl Registry for Watched {
        async fn register(&self, node: &Node, ttl: Duration) -> micro_registry::Result<()> {
            self.memory.register(node, ttl).await
        }

        async fn deregister(&self, node: &Node) -> micro_registry::Result<()> {
            self.memory.deregister(node).await
        }

        async fn get_service(&self, service: &str) -> micro_registry::Result<Snapshot> {
            self.memory.get_service(service).await
        }

        async fn list_services(&self) -> micro_registry::Result<Vec<String>> {
            self.memory.list_services().await
        }

        async fn watch(&self, service: &str) -> micro_registry::Result<Watcher> {
            let end = Ended(service.to_owned(), self.ended.clone());
            Ok(Watcher::spawn(|sender| async move {
                let _end = end;
                sender.send(Snapshot::empty());
                sender.closed().await;
                Ok(())
            }))
        }

        fn name(&self) -> &'static str {
            "watched"
        }
    }

    fn client() -> (Client, mpsc::UnboundedReceiver<String>) {
        let (ended, ends) = mpsc::unbounded_channel();
        let memory = Memory::default();
        let builder = Client::builder(Arc::new(Watched { memory, ended }));
        (builder.control(Handle::current()).build().unwrap(), ends)
    }

    fn service(name: &str) -> ServiceName {
        name.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_nobody_uses_is_followed_for_its_time_and_then_let_go() {
        let (client, mut ends) = client();
        let (used, unused) = (client.target(service("used")), client.target(service("unused")));
        used.start();
        unused.start();
        let again = Instant::now();
        drop(unused);
        time::sleep(IDLE_TIMEOUT / 2).await;
        drop(client.target(service("unused")));
        assert_eq!(ends.recv().await.as_deref(), Some("unused"));
        assert!(again.elapsed() >= IDLE_TIMEOUT * 3 / 2, "{:?}", again.elapsed());
        assert!(again.elapsed() <= IDLE_TIMEOUT * 2, "{:?}", again.elapsed());
        time::sleep(IDLE_TIMEOUT * 2).await;
        assert!(ends.try_recv().is_err(), "`used` is still followed");
        client.target(service("unused")).start();
        time::sleep(SWEEP_INTERVAL).await;
        drop((client, used));
        let mut last = [ends.recv().await.unwrap(), ends.recv().await.unwrap()];
        last.sort_unstable();
        assert_eq!(last, ["unused", "used"]);
    }

    #[tokio::test(start_paused = true)]
    async fn of_too_many_unused_services_the_one_unused_for_the_longest_goes() {
        let (client, mut ends) = client();
        let first = client.target(service("first"));
        let second = client.target(service("second"));
        first.start();
        second.start();
        drop(second);
        time::sleep(SWEEP_INTERVAL * 2).await;
        drop(first);
        for at in 0..IDLE_MAX {
            drop(client.target(service(&format!("other{at}"))));
        }
        assert_eq!(ends.recv().await.as_deref(), Some("second"));
        assert_eq!(lock(&client.inner.targets.known).entries.len(), IDLE_MAX);
    }
}
