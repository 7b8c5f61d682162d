//! Sees from the control runtime when nothing runs any more on the runtime of the handlers, and says so by the health.
//!
//! The registration stays: a registry never says that a node is dead, and a node that comes back needs no newcomer's time.

use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{Duration, Instant, sleep, timeout},
};
use tracing::{error, info};

use crate::{
    control::{Control, Owned},
    server::Health,
};

/// How often the runtime is asked to run something.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long that may take.
const STALL: Duration = Duration::from_secs(5);

/// How much longer it may take if this process did not run either, which nobody can tell from a runtime that stalls: both
/// come back at the same time.
const GRACE: Duration = Duration::from_millis(500);

/// Watches the runtime that this is called on, until the returned task is dropped.
pub(super) fn watch(control: &Control, health: Health) -> Owned<()> {
    let handlers = Handle::current();
    control.spawn(async move {
        // Who watches itself sees nothing; only tests and simulations have one runtime for all.
        if handlers.id() != Handle::current().id() {
            ask(handlers, health).await;
        }
    })
}

/// Asks again and again, until the runtime ends.
async fn ask(handlers: Handle, health: Health) {
    loop {
        sleep(INTERVAL).await;
        let asked = Instant::now();
        let mut answer = handlers.spawn(async {});
        let ended = match within(&mut answer, STALL).await {
            Some(ended) => ended,
            None => {
                health.set_stalled(true);
                error!(
                    stall = ?asked.elapsed(),
                    "nothing runs on the runtime of the handlers: do they block? not serving until it runs again"
                );
                let ended = answer.await.is_err();
                health.set_stalled(false);
                info!(stall = ?asked.elapsed(), "the runtime of the handlers runs again");
                ended
            }
        };
        if ended {
            return;
        }
    }
}

/// Whether the runtime has ended; `None` if it does not even say that in time.
async fn within(answer: &mut JoinHandle<()>, patience: Duration) -> Option<bool> {
    if let Ok(answered) = timeout(patience, &mut *answer).await {
        return Some(answered.is_err());
    }
    let answered = timeout(GRACE, answer).await.ok()?;
    Some(answered.is_err())
}

#[cfg(test)]
mod tests {
    use tokio::{
        runtime::{Builder, Runtime},
        task::yield_now,
    };

    use super::*;

    /// How soon a stall is seen that users are told of: not before, and by when.
    const TOLD: Duration = Duration::from_secs(5);
    const SEEN: Duration = Duration::from_millis(6_500);
    /// The least that tokio's clock tells apart.
    const TICK: Duration = Duration::from_millis(1);

    /// A runtime that is watched, on a clock of the test's. Nobody else drives it, so that it stalls by itself.
    struct Watched {
        watching: Runtime,
        handlers: Runtime,
        health: Health,
        task: JoinHandle<()>,
    }

    impl Watched {
        fn new() -> Self {
            let clock = || {
                Builder::new_current_thread()
                    .enable_time()
                    .start_paused(true)
                    .build()
            };
            let (watching, handlers) = (clock().unwrap(), clock().unwrap());
            let health = Health::new([]);
            health.set_ready(true);
            let task = watching.spawn(ask(handlers.handle().clone(), health.clone()));
            Self {
                watching,
                handlers,
                health,
                task,
            }
        }

        /// Lets time pass without a turn for the handlers.
        fn stall(&self, time: Duration) {
            self.watching.block_on(async { sleep(time).await });
        }

        /// Lets the handlers' runtime do what it has to do, and the watchdog see it.
        fn run(&self) {
            for runtime in [&self.handlers, &self.watching] {
                runtime.block_on(async {
                    for _ in 0..10 {
                        yield_now().await;
                    }
                });
            }
        }
    }

    #[test]
    fn a_stall_is_seen_in_the_time_that_users_are_told_and_while_it_lasts() {
        let watched = Watched::new();
        watched.stall(TOLD - TICK);
        assert!(watched.health.is_ready(), "too early");
        watched.stall(SEEN - TOLD + 3 * TICK);
        assert!(!watched.health.is_ready(), "too late");
        watched.stall(100 * TOLD);
        assert!(!watched.health.is_ready());
        watched.run();
        assert!(watched.health.is_ready());
    }

    #[test]
    fn a_runtime_that_stands_still_for_less_is_not_thought_to_stall() {
        let watched = Watched::new();
        for _ in 0..100 {
            watched.stall(TOLD - TICK);
            assert!(watched.health.is_ready());
            watched.run();
        }
    }

    #[test]
    fn watching_ends_with_the_runtime() {
        let watched = Watched::new();
        watched.stall(SEEN + 3 * TICK);
        assert!(!watched.health.is_ready());
        let Watched {
            watching,
            handlers,
            health: _,
            task,
        } = watched;
        drop(handlers);
        watching.block_on(task).unwrap();
    }
}
