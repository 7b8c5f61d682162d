//! Whether this process serves: what `grpc.health.v1` and `/ready` answer.

use std::{collections::HashSet, pin::Pin, sync::Arc};

use futures_util::{Stream, stream};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_server::Health as HealthProtocol,
};

/// The state of a server, shared with whoever decides it. Clones share.
///
/// It starts as not serving and not ready.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    state: watch::Sender<State>,
    /// The full names of the gRPC services, the name in the registry, and `""` for all of them together.
    names: Arc<HashSet<String>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    serving: bool,
    ready: bool,
    /// Nothing runs on the runtime of the handlers.
    stalled: bool,
    ended: bool,
}

impl State {
    fn is_serving(self) -> bool {
        self.serving && !self.stalled
    }

    fn is_ready(self) -> bool {
        self.ready && !self.stalled
    }
}

impl Health {
    /// The health of services with these names, and of all together.
    pub(crate) fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self {
            state: watch::Sender::new(State::default()),
            names: Arc::new(names.into_iter().chain([String::new()]).collect()),
        }
    }

    /// What `grpc.health.v1` says of every service and of all together.
    pub(crate) fn set_serving(&self, serving: bool) {
        self.change(|state| state.serving = serving);
    }

    /// What `/ready` says.
    pub(crate) fn set_ready(&self, ready: bool) {
        self.change(|state| state.ready = ready);
    }

    /// While nothing runs on the runtime of the handlers, nothing serves and nothing is ready, whatever else is said.
    pub(crate) fn set_stalled(&self, stalled: bool) {
        self.change(|state| state.stalled = stalled);
    }

    /// Whether `/ready` answers 200.
    pub(crate) fn is_ready(&self) -> bool {
        self.state.borrow().is_ready()
    }

    /// Ends every open watch, which would outlast any drain, and every later one after its first answer.
    pub(super) fn end_watches(&self) {
        self.change(|state| state.ended = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_if_modified(|state| {
            let before = *state;
            change(state);
            *state != before
        });
    }
}

/// The `grpc.health.v1` service over a [`Health`].
#[derive(Clone, Debug)]
pub(super) struct HealthService(pub(super) Health);

type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl HealthProtocol for HealthService {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let name = &request.get_ref().service;
        if !self.0.names.contains(name) {
            return Err(Status::not_found(format!("no service `{name}` here")));
        }
        Ok(Response::new(answer(status_of(*self.0.state.borrow()))))
    }

    type WatchStream = WatchStream;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        // The protocol keeps the watch of an unknown service open: it may come. Here it cannot, but a client that gets
        // an end would ask again and again.
        let known = self.0.names.contains(&request.get_ref().service);
        let statuses = Statuses {
            receiver: self.0.state.subscribe(),
            known,
            last: None,
            ended: false,
        };
        Ok(Response::new(Box::pin(stream::unfold(statuses, Statuses::next))))
    }
}

/// One open watch: the present status first, then each change of it.
struct Statuses {
    receiver: watch::Receiver<State>,
    known: bool,
    last: Option<ServingStatus>,
    ended: bool,
}

impl Statuses {
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Self)> {
        if self.ended {
            return None;
        }
        loop {
            let state = *self.receiver.borrow_and_update();
            let status = if self.known {
                status_of(state)
            } else {
                ServingStatus::ServiceUnknown
            };
            if self.last != Some(status) {
                self.last = Some(status);
                return Some((Ok(answer(status)), self));
            }
            if state.ended || self.receiver.changed().await.is_err() {
                self.ended = true;
                return Some((Err(Status::unavailable("the server is stopping")), self));
            }
        }
    }
}

fn status_of(state: State) -> ServingStatus {
    if state.is_serving() {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status as i32,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    fn request(service: &str) -> Request<HealthCheckRequest> {
        Request::new(HealthCheckRequest {
            service: service.into(),
        })
    }

    fn service() -> (Health, HealthService) {
        let health = Health::new(["greeter.Say".to_owned(), "greeter".to_owned()]);
        (health.clone(), HealthService(health))
    }

    #[tokio::test]
    async fn every_service_and_all_together_have_a_status() {
        let (health, service) = service();
        for name in ["", "greeter.Say", "greeter"] {
            health.set_serving(false);
            let status = service.check(request(name)).await.unwrap().into_inner().status();
            assert_eq!(status, ServingStatus::NotServing, "{name:?}");
            health.set_serving(true);
            let status = service.check(request(name)).await.unwrap().into_inner().status();
            assert_eq!(status, ServingStatus::Serving, "{name:?}");
        }
    }

    #[tokio::test]
    async fn while_the_runtime_stalls_nothing_serves_and_then_all_is_as_before() {
        let (health, service) = service();
        health.set_serving(true);
        health.set_ready(true);
        for stalled in [true, false] {
            health.set_stalled(stalled);
            let status = service.check(request("")).await.unwrap().into_inner().status();
            assert_eq!(status == ServingStatus::NotServing, stalled);
            assert_eq!(health.is_ready(), !stalled);
        }
    }

    #[tokio::test]
    async fn an_unknown_service_is_not_found_and_its_watch_says_so_and_stays() {
        let (health, service) = service();
        let status = service.check(request("other")).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::NotFound);
        let mut watch = service.watch(request("other")).await.unwrap().into_inner();
        assert_eq!(
            watch.next().await.unwrap().unwrap().status(),
            ServingStatus::ServiceUnknown
        );
        health.set_serving(true);
        assert!(futures_util::poll!(watch.next()).is_pending());
    }

    #[tokio::test]
    async fn a_watch_yields_the_present_status_then_each_change_and_ends_when_told() {
        let (health, service) = service();
        let mut watch = service.watch(request("")).await.unwrap().into_inner();
        assert_eq!(
            watch.next().await.unwrap().unwrap().status(),
            ServingStatus::NotServing
        );
        health.set_serving(true);
        assert_eq!(
            watch.next().await.unwrap().unwrap().status(),
            ServingStatus::Serving
        );
        health.set_ready(true);
        assert!(futures_util::poll!(watch.next()).is_pending());
        health.end_watches();
        assert_eq!(
            watch.next().await.unwrap().unwrap_err().code(),
            tonic::Code::Unavailable
        );
        assert!(watch.next().await.is_none());
    }
}
