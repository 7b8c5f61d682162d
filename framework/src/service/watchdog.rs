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
