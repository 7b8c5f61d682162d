//! Runs the user's checks round after round, and says whether all of them pass.

use std::{collections::BTreeSet, fmt, future::Future, sync::Arc};

use futures_util::future::join_all;
use tokio::{sync::watch, time};
use tracing::{Instrument as _, info, warn};

use super::{
    ServiceContext, Settings,
    work::{Outcome, Work},
};
use crate::control::Owned;

/// A check, which runs in every round.
#[derive(Clone)]
pub(super) struct Check {
    name: String,
    work: Arc<dyn Fn() -> Work + Send + Sync>,
}

impl Check {
    pub(super) fn new<F, Fut>(name: String, check: F) -> Self
    where
        F: Fn(ServiceContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Outcome> + Send + 'static,
    {
        let check = Arc::new(check);
        let title = format!("check `{name}`");
        let work = move || {
            let check = Arc::clone(&check);
            Work::new(title.clone(), move |cx| check(cx))
        };
        Self {
            name,
            work: Arc::new(work),
        }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The rounds, which end when this is dropped.
#[derive(Debug)]
pub(super) struct Checks {
    pass: watch::Receiver<bool>,
    _rounds: Owned<()>,
}

impl Checks {
    /// Begins with the first round. Until it has ended nothing passes, unless there is nothing to check.
    pub(super) fn start(checks: Vec<Check>, cx: ServiceContext, settings: &Settings) -> Self {
        let (publish, pass) = watch::channel(checks.is_empty());
        let rounds = Rounds {
            checks,
            cx,
            settings: settings.clone(),
            failing: BTreeSet::new(),
        };
        Self {
            pass,
            _rounds: Owned(tokio::spawn(rounds.run(publish).in_current_span())),
        }
    }

    /// Whether all checks passed in the last round, now and later.
    pub(super) fn pass(&self) -> watch::Receiver<bool> {
        self.pass.clone()
    }
}

struct Rounds {
    checks: Vec<Check>,
    cx: ServiceContext,
    settings: Settings,
    /// What failed in the last round, as a failure that goes on is told once.
    failing: BTreeSet<String>,
}

impl Rounds {
    async fn run(mut self, publish: watch::Sender<bool>) {
        while !self.checks.is_empty() {
            let pass = self.round().await;
            publish.send_if_modified(|last| {
                let changed = *last != pass;
                *last = pass;
                changed
            });
            time::sleep(self.settings.check_interval).await;
        }
    }

    /// Runs all checks side by side, so that one that hangs holds up no other.
    async fn round(&mut self) -> bool {
        let limit = self.settings.check_timeout;
        let ended = join_all(self.checks.iter().map(|check| {
            let work = (check.work)();
            work.run(&self.cx, limit)
        }))
        .await;
        for (check, ended) in self.checks.iter().zip(ended) {
            match ended {
                Ok(()) if self.failing.remove(&check.name) => {
                    info!(check = check.name, "the check passes again");
                }
                Err(error) if self.failing.insert(check.name.clone()) => {
                    warn!(error = format!("{error:#}"), "not ready while the check fails");
                }
                _ => {}
            }
        }
        self.failing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, AtomicUsize, Ordering},
        time::Duration,
    };

    use tokio::time::Instant;

    use super::*;
    use crate::service::testing::context;

    /// A check that says what `passes` holds.
    fn switched(passes: &Arc<AtomicBool>) -> Check {
        let passes = Arc::clone(passes);
        Check::new("db".to_owned(), move |_| {
            let pass = passes.load(Ordering::Relaxed);
            async move { if pass { Ok(()) } else { Err("away") } }
        })
    }

    fn start(checks: Vec<Check>) -> Checks {
        Checks::start(checks, context(), &Settings::default())
    }

    #[tokio::test]
    async fn without_checks_all_pass_at_once() {
        assert!(*start(Vec::new()).pass().borrow());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_passes_before_the_first_round() {
        let passes = Arc::new(AtomicBool::new(true));
        let checks = start(vec![switched(&passes)]);
        let mut pass = checks.pass();
        assert!(!*pass.borrow());
        assert!(*pass.wait_for(|pass| *pass).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_fails_and_passes_again_is_seen_within_an_interval() {
        let passes = Arc::new(AtomicBool::new(true));
        let checks = start(vec![switched(&passes)]);
        let mut pass = checks.pass();
        for expected in [true, false, true] {
            passes.store(expected, Ordering::Relaxed);
            let since = Instant::now();
            pass.wait_for(|pass| *pass == expected).await.unwrap();
            assert!(
                since.elapsed() <= Settings::default().check_interval,
                "{:?}",
                since.elapsed()
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_or_panics_fails_and_holds_up_no_other() {
        async fn bug(_cx: ServiceContext) {
            panic!("a bug")
        }
        let rounds = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&rounds);
        let checks = start(vec![
            Check::new("hangs".to_owned(), |_| std::future::pending::<()>()),
            Check::new("panics".to_owned(), bug),
            Check::new("passes".to_owned(), move |_| {
                counted.fetch_add(1, Ordering::Relaxed);
                async {}
            }),
        ]);
        time::sleep(Duration::from_secs(100)).await;
        assert!(!*checks.pass().borrow());
        assert_eq!(rounds.load(Ordering::Relaxed), 10);
    }
}
