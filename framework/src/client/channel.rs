//! The channel: a tower service under any generated stub, that sends each call to a node of one service.

use std::{
    fmt,
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, Request, Response};
use micro_registry::Method;
use tonic::{Status, body::Body};
use tower_service::Service;

use super::{
    BoxService,
    call::Call,
    methods::Methods,
    options::CallOptions,
    policy::CallInfo,
    status::{EndpointStatus, ServiceStatus},
    target::Target,
};
use crate::{CallContext, Result};

/// A layer of the user's, for every channel of a client.
pub(super) type UserLayer = Arc<dyn Fn(BoxService) -> BoxService + Send + Sync>;

/// Calls one service, by name, under any generated stub. Clones share connections.
///
/// Each call goes to one node that is ready; one that certainly did not run goes to another node, and so does one that
/// perhaps ran and is [idempotent](CallOptions::idempotent). Errors are
/// [`tonic::Status`]es whose message names service and node; what a node itself answered is left as it is and names the
/// node in its metadata, under `micro-node`. The response carries [`Peer`](crate::Peer) as an extension.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
///
/// let registry: micro::registry::Static = "greeter=127.0.0.1:9090".parse()?;
/// let client = micro::Client::builder(std::sync::Arc::new(registry)).build()?;
/// let mut health = HealthClient::new(client.channel("greeter"));
/// let reply = health.check(HealthCheckRequest { service: String::new() }).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Channel {
    plain: Plain,
    layers: Arc<[UserLayer]>,
    layered: Option<BoxService>,
}

/// The channel below the layers of the user's.
#[derive(Clone)]
struct Plain {
    /// Whom to call, or why nobody can be called.
    target: Result<Arc<Target>, Status>,
    options: CallOptions,
    methods: Option<Arc<Methods>>,
}

impl Channel {
    pub(super) fn new(target: Result<Arc<Target>, Status>, layers: Arc<[UserLayer]>) -> Self {
        let plain = Plain {
            target,
            options: CallOptions::new(),
            methods: None,
        };
        Self::layered(plain, layers)
    }

    /// Sets what calls say for themselves unless they say otherwise. Default: nothing.
    #[must_use]
    pub fn options(mut self, options: CallOptions) -> Self {
        self.plain.options = options;
        Self::layered(self.plain, self.layers)
    }

    /// Tells the channel what the methods of the service are, from an encoded `FileDescriptorSet`: which are unary and
    /// get the default deadline, and which are idempotent and may be sent again. Default: what the nodes' records say.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when `set` does not decode.
    pub fn descriptors(mut self, set: &[u8]) -> Result<Self> {
        let methods: Vec<Method> = crate::descriptors::methods(set)?;
        self.plain.methods = Some(Arc::new(Methods::new(&methods)));
        Ok(Self::layered(self.plain, self.layers))
    }

    /// What is known of each node of the service, sorted by id: whether calls can be sent to it, how loaded it is, and
    /// what went wrong last. Starts following the service, and waits until the registry has answered, for at most the
    /// client's [`request_timeout`](crate::ClientBuilder::request_timeout).
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for what is no service name; `UNAVAILABLE` when the registry has not answered in time.
    pub async fn endpoints(&self) -> Result<Vec<EndpointStatus>, Status> {
        Ok(self.status().await?.endpoints)
    }

    /// What is known of the service: its nodes, as [`endpoints`](Self::endpoints) has them, and how old that knowledge is.
    ///
    /// # Errors
    ///
    /// Those of [`endpoints`](Self::endpoints).
    pub async fn status(&self) -> Result<ServiceStatus, Status> {
        let target = self.plain.target.clone()?;
        target.status().await
    }

    /// Waits until calls can pick a node: for benchmarks.
    ///
    /// # Errors
    ///
    /// When there is no service of this name, or the client has stopped.
    #[doc(hidden)]
    pub async fn __place(&self) -> Result<(), Status> {
        let target = self.plain.target.clone()?;
        target.start();
        let mut published = target.shared.subscribe();
        let stopped = |_| Status::unavailable("the client has stopped");
        while !self.__pick() {
            if let Some(selection) = &self.plain.options.selection {
                target.shared.ask_selection(selection);
            }
            published.changed().await.map_err(stopped)?;
        }
        Ok(())
    }

    /// Picks a node as a call does, and gives its place back at once; `false` when there is none: for benchmarks.
    #[doc(hidden)]
    #[must_use]
    pub fn __pick(&self) -> bool {
        let Ok(target) = &self.plain.target else {
            return false;
        };
        let (metadata, options) = (HeaderMap::new(), &self.plain.options);
        let call = CallInfo::new(&metadata).with_hash_key(options.hash_key.as_deref());
        let picker = target.shared.picker();
        let view = picker.view(options.selection.as_ref());
        let chosen = view.and_then(|view| view.choose(call, &[]));
        chosen.inspect(|chosen| chosen.streams.release()).is_some()
    }

    fn layered(plain: Plain, layers: Arc<[UserLayer]>) -> Self {
        let layered = (!layers.is_empty()).then(|| {
            // The first layer that was added meets the call first.
            layers
                .iter()
                .rev()
                .fold(BoxService::new(plain.clone()), |service, layer| layer(service))
        });
        Self {
            plain,
            layers,
            layered,
        }
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        match &mut self.layered {
            Some(layered) => layered.poll_ready(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: Request<Body>) -> ResponseFuture {
        match &mut self.layered {
            Some(layered) => ResponseFuture(layered.call(request)),
            None => self.plain.call(request),
        }
    }
}

impl Service<Request<Body>> for Plain {
    type Response = Response<Body>;
    type Error = Status;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> ResponseFuture {
        let options = match request.extensions_mut().remove::<CallOptions>() {
            Some(options) => options.or(&self.options),
            None => self.options.clone(),
        };
        let (head, body) = request.into_parts();
        // Here, and not where the future is polled first: that may be another task than the handler's.
        let context = CallContext::current();
        let call = self.target.clone().and_then(|target| {
            let methods = self.methods.clone();
            Call::new(target, head, options, &context, methods)
        });
        match call {
            // A block, as an `async fn` keeps its arguments twice.
            Ok(mut call) => ResponseFuture(Box::pin(async move { call.run(body).await })),
            Err(status) => ResponseFuture(Box::pin(ready(Err(status)))),
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Channel");
        match &self.plain.target {
            Ok(target) => shown.field("service", &target.service),
            Err(status) => shown.field("refuses", status),
        };
        shown.finish_non_exhaustive()
    }
}

/// The future of a [`Channel`]'s call. Dropping it ends the call.
pub struct ResponseFuture(Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>);

impl Future for ResponseFuture {
    type Output = Result<Response<Body>, Status>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
