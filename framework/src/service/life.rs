//! The steps of a service's life, up and down, in the order in which `Service::run` takes them.

use std::{convert::Infallible, mem, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use micro_registry::Registry;
use tokio::{join, sync::watch, time};
use tracing::{Instrument as _, error, info, warn};

use super::{
    Identity, ServiceContext, Settings,
    address::Advertised,
    announcer::{Announcement, Announcer, Goal},
    checks::{Check, Checks},
    pulse::WallClock,
    tasks::Tasks,
    watchdog,
    work::Work,
};
use crate::{
    Error, ErrorKind, Result,
    control::{Control, Owned},
    server::{Health, Server, UnboundServer},
    telemetry::{Telemetry, trace::Sink},
};

/// How much longer than the drain delay a withdrawal may hold up the drain. An mDNS goodbye takes 1.1 s, and callers who
/// hear of it late meet a server that has gone.
const WITHDRAWAL_GRACE: Duration = Duration::from_millis(500);

/// Registries in which a loopback address is right: those who look there are on this host.
const LOCAL_REGISTRIES: [&str; 3] = ["mdns", "static", "memory"];

/// Puts a server on what it is to listen on.
pub(super) type Bind = Box<dyn FnOnce(UnboundServer) -> BoxFuture<'static, Result<Server>> + Send>;

/// What the user's code does at the four points of a life.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    pub(super) before_start: Vec<Work>,
    pub(super) after_start: Vec<Work>,
    pub(super) before_stop: Vec<Work>,
    pub(super) after_stop: Vec<Work>,
}

/// What a life is made of.
pub(super) struct Plan {
    pub(super) cx: ServiceContext,
    pub(super) settings: Settings,
    pub(super) hooks: Hooks,
    pub(super) parts: Parts,
    pub(super) sink: Sink,
}

/// What is started when the service begins to serve.
pub(super) struct Parts {
    pub(super) identity: Identity,
    pub(super) advertised: Advertised,
    pub(super) server: UnboundServer,
    pub(super) bind: Bind,
    pub(super) registry: Arc<dyn Registry>,
    pub(super) control: Control,
    pub(super) clock: WallClock,
    pub(super) telemetry: Telemetry,
    pub(super) checks: Vec<Check>,
    pub(super) tasks: Vec<Work>,
}

/// A life under way. Dropping it cuts whatever still runs.
pub(super) struct Life {
    cx: ServiceContext,
    settings: Settings,
    hooks: Hooks,
    parts: Option<Parts>,
    running: Option<Running>,
    sink: Sink,
    first_error: Option<Error>,
}

/// What runs while the service serves.
struct Running {
    health: Health,
    server: Server,
    tasks: Tasks,
    checks: Option<Checks>,
    announcer: Option<Announcer>,
    withdrawal: Option<Owned<()>>,
    _telemetry: Owned<()>,
    _watchdog: Owned<()>,
}

/// The way up.
impl Life {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            cx: plan.cx,
            settings: plan.settings,
            hooks: plan.hooks,
            parts: Some(plan.parts),
            running: None,
            sink: plan.sink,
            first_error: None,
        }
    }

    pub(super) async fn before_start(&mut self) -> Result<()> {
        for hook in mem::take(&mut self.hooks.before_start) {
            hook.run(&self.cx, self.settings.hook_timeout).await?;
        }
        Ok(())
    }

    /// Binds and serves, not ready and not announced; tasks and checks begin.
    pub(super) async fn serve(&mut self) -> Result<()> {
        let Some(mut parts) = self.parts.take() else {
            return Ok(());
        };
        let (health, methods) = (parts.server.health(), Arc::from(parts.server.methods()));
        let server = (parts.bind)(parts.server).await?;
        let local_address = server.local_address();
        let node = parts
            .identity
            .node(parts.advertised.address(local_address)?, methods)?;
        info!(service = %node.service(), node = node.id(), %local_address, "serving");
        if node.address().is_loopback() && !LOCAL_REGISTRIES.contains(&parts.registry.name()) {
            warn!(
                address = %node.address(),
                registry = parts.registry.name(),
                "other hosts find this address and do not call it, nor does this one if the registry is elsewhere, unless \
                 `client.own_loopback` of the callers says that it is theirs; MICRO_SERVER_ADDRESS and \
                 MICRO_SERVER_ADVERTISE can name another"
            );
        }
        self.cx.bound(local_address);
        let announcement = Announcement {
            registry: parts.registry,
            node: Arc::new(node),
            ttl: self.settings.ttl,
            registry_timeout: self.settings.registry_timeout,
            clock: parts.clock,
            telemetry: parts.telemetry.clone(),
        };
        self.sink.send_metrics(&parts.telemetry, announcement.node.id());
        let upkeep = parts.control.spawn(parts.telemetry.keep_up());
        let watchdog = watchdog::watch(&parts.control, health.clone());
        self.running = Some(Running {
            health,
            server,
            tasks: Tasks::start(parts.tasks, &self.cx),
            checks: Some(Checks::start(parts.checks, self.cx.clone(), &self.settings)),
            announcer: Some(Announcer::start(announcement, parts.control)),
            withdrawal: None,
            _telemetry: upkeep,
            _watchdog: watchdog,
        });
        Ok(())
    }

    /// Announces while all checks pass, runs the `after_start` hooks once that has succeeded, and goes on until
    /// something fails.
    pub(super) async fn live(&mut self) -> Result<Infallible> {
        let Some(running) = &mut self.running else {
            return std::future::pending().await;
        };
        let (serving, is_serving) = watch::channel(false);
        let hooks = mem::take(&mut self.hooks.after_start);
        tokio::select! {
            biased;
            error = steer(&running.health, running.checks.as_ref(), running.announcer.as_ref(), serving) => Err(error),
            error = running.server.failed() => Err(error),
            error = running.tasks.failed() => Err(error),
            Err(error) = after_start(hooks, &self.cx, &self.settings, is_serving) => Err(error),
        }
    }
}

/// The way down: every step is taken whatever the others did.
impl Life {
    pub(super) async fn before_stop(&mut self) {
        // Handlers with long streams and tasks hear of it first, so that they end by themselves.
        self.cx.cancellation_token().cancel();
        for hook in mem::take(&mut self.hooks.before_stop) {
            let ended = hook.run(&self.cx, self.settings.hook_timeout).await;
            self.note(ended);
        }
    }

    /// Leaves the registry and goes on serving, so that callers move away while they are still answered.
    pub(super) async fn leave(&mut self) {
        let Some(running) = &mut self.running else { return };
        running.checks = None;
        running.health.set_ready(false);
        running.health.set_serving(false);
        let Some(announcer) = running.announcer.take() else {
            return;
        };
        // Who was never announced has no callers to wait for.
        let announced = announcer.standing().borrow().present;
        let delay = if announced {
            self.settings.drain_delay
        } else {
            Duration::ZERO
        };
        let withdrawal = Owned(tokio::spawn(announcer.withdraw().in_current_span()));
        let withdrawal = running.withdrawal.insert(withdrawal);
        let patience = delay + WITHDRAWAL_GRACE;
        // A withdrawal that takes longer goes on beside the drain, within its own limit.
        let _ = join!(time::sleep(delay), time::timeout(patience, &mut withdrawal.0));
    }

    /// Finishes the calls in flight, and cuts what does not finish in time.
    pub(super) async fn drain(&mut self) {
        let Some(running) = &mut self.running else { return };
        running.server.drain(self.settings.drain_timeout).await;
        if let Some(mut withdrawal) = running.withdrawal.take()
            && !withdrawal.0.is_finished()
        {
            // It warns of a failure itself.
            let _ = (&mut withdrawal.0).await;
        }
    }

    pub(super) async fn stop_tasks(&mut self) {
        let Some(running) = &mut self.running else { return };
        let stopped = running.tasks.stop().await;
        self.note(stopped);
    }

    pub(super) async fn after_stop(&mut self) {
        for hook in mem::take(&mut self.hooks.after_stop) {
            let ended = hook.run(&self.cx, self.settings.hook_timeout).await;
            self.note(ended);
        }
    }

    /// Sends the last spans and metrics. Those who look after the service miss some if that fails, and those who call it nothing.
    pub(super) async fn flush(&mut self) {
        if let Err(error) = self.sink.flush().await {
            warn!(
                error = format!("{error:#}"),
                "the last spans and metrics are lost"
            );
        }
    }

    /// Keeps the first error, and logs the others.
    pub(super) fn note(&mut self, ended: Result<()>) {
        let Err(failure) = ended else { return };
        if self.first_error.is_none() {
            self.first_error = Some(failure);
            return;
        }
        error!(error = format!("{failure:#}"), "failed on the way down");
    }

    /// Cuts whatever is left, and answers the first error.
    pub(super) fn end(self) -> Result<()> {
        drop(self.running);
        if let Some(first_error) = self.first_error {
            return Err(first_error);
        }
        info!(service = self.cx.service(), node = self.cx.id(), "stopped");
        Ok(())
    }
}

/// Says by health and registry whether the service is to be called, until the registration is given up.
async fn steer(
    health: &Health,
    checks: Option<&Checks>,
    announcer: Option<&Announcer>,
    serving: watch::Sender<bool>,
) -> Error {
    let (Some(checks), Some(announcer)) = (checks, announcer) else {
        return std::future::pending().await;
    };
    let (mut pass, mut standing) = (checks.pass(), announcer.standing());
    loop {
        let all_pass = *pass.borrow_and_update();
        let (confirmed, refused) = {
            let standing = standing.borrow_and_update();
            (standing.confirmed, standing.refused.clone())
        };
        if let Some(refusal) = refused {
            return refusal.into();
        }
        let serves = confirmed && all_pass;
        // Health first on the way out, as it is what callers that are connected see.
        health.set_serving(serves);
        health.set_ready(serves);
        announcer.aim(if all_pass {
            Goal::Announced
        } else {
            Goal::Withdrawn
        });
        serving.send_replace(serves);
        tokio::select! {
            // Without checks nothing changes here.
            Ok(()) = pass.changed() => {}
            changed = standing.changed() => {
                // Its last word is a refusal; without one it was stopped with the runtime that it ran on.
                if changed.is_err() && standing.borrow().refused.is_none() {
                    return Error::new(ErrorKind::Registry, "keep the node announced: the control runtime has ended");
                }
            }
        }
    }
}

async fn after_start(
    hooks: Vec<Work>,
    cx: &ServiceContext,
    settings: &Settings,
    mut serving: watch::Receiver<bool>,
) -> Result<()> {
    // Fails with the one who steers, which ends this, too.
    if serving.wait_for(|serving| *serving).await.is_err() {
        return Ok(());
    }
    for hook in hooks {
        hook.run(cx, settings.hook_timeout).await?;
    }
    Ok(())
}
