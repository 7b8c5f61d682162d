//! What the user's code does in a service's life, as the builder collects it.

use std::future::Future;

use futures_util::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use super::{Outcome, ServiceBuilder, ServiceContext, checks::Check, stop::Signals, work::Work};

/// What runs when.
impl ServiceBuilder {
    /// Adds a hook that runs before the service listens; the first error ends the run, and nothing was announced.
    ///
    /// Hooks of one point run one after the other, in the order in which they were added.
    pub fn before_start<F, Fut>(mut self, hook: F) -> Self
    where
        F: FnOnce(ServiceContext) -> Fut + Send + 'static,
        Fut: Future<Output: Outcome> + Send + 'static,
    {
        add(&mut self.hooks.before_start, "before_start", hook);
        self
    }

    /// Adds a hook that runs once the service is registered and its health says so; an error ends the run.
    pub fn after_start<F, Fut>(mut self, hook: F) -> Self
    where
        F: FnOnce(ServiceContext) -> Fut + Send + 'static,
        Fut: Future<Output: Outcome> + Send + 'static,
    {
        add(&mut self.hooks.after_start, "after_start", hook);
        self
    }

    /// Adds a hook that runs first of all when the service stops, while it still serves and is still registered.
    pub fn before_stop<F, Fut>(mut self, hook: F) -> Self
    where
        F: FnOnce(ServiceContext) -> Fut + Send + 'static,
        Fut: Future<Output: Outcome> + Send + 'static,
    {
        add(&mut self.hooks.before_stop, "before_stop", hook);
        self
    }

    /// Adds a hook that runs last of all, when no call runs any more.
    pub fn after_stop<F, Fut>(mut self, hook: F) -> Self
    where
        F: FnOnce(ServiceContext) -> Fut + Send + 'static,
        Fut: Future<Output: Outcome> + Send + 'static,
    {
        add(&mut self.hooks.after_stop, "after_stop", hook);
        self
    }

    /// Adds a check, such as a ping of a database. It runs before the service is registered and then again and again;
    /// while it fails, health is `NOT_SERVING` and the node is not in the registry.
    pub fn check<F, Fut>(mut self, name: impl Into<String>, check: F) -> Self
    where
        F: Fn(ServiceContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Outcome> + Send + 'static,
    {
        self.checks.push(Check::new(name.into(), check));
        self
    }

    /// Adds background work, which starts when the service listens. An error or a panic ends the run; a plain end does
    /// not. On the way down [`ServiceContext::cancelled`] asks it to end, and what still runs after the drain is
    /// stopped.
    pub fn task<F, Fut>(mut self, name: impl Into<String>, task: F) -> Self
    where
        F: FnOnce(ServiceContext) -> Fut + Send + 'static,
        Fut: Future<Output: Outcome> + Send + 'static,
    {
        let name: String = name.into();
        self.tasks.push(Work::new(format!("task `{name}`"), task));
        self
    }

    /// Stops the service when `token` is cancelled. Default: a token of its own. The service cancels a child of this
    /// token when it stops for another reason, so several services may share one.
    pub fn cancellation_token(mut self, token: CancellationToken) -> Self {
        self.token = token;
        self
    }

    /// Leaves signals to whoever embeds the service. Default: SIGTERM, SIGINT and SIGQUIT stop it.
    pub fn without_signals(self) -> Self {
        self.signals(stream::pending().boxed())
    }

    pub(super) fn signals(mut self, signals: Signals) -> Self {
        self.signals = Some(signals);
        self
    }
}

fn add<F, Fut>(hooks: &mut Vec<Work>, point: &str, hook: F)
where
    F: FnOnce(ServiceContext) -> Fut + Send + 'static,
    Fut: Future<Output: Outcome> + Send + 'static,
{
    let name = match hooks.len() {
        0 => format!("{point} hook"),
        before => format!("{point} hook {}", before + 1),
    };
    hooks.push(Work::new(name, hook));
}
