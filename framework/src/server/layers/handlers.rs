//! The innermost service: tonic's routes, within the layers of the user if there are any.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tonic::{Status, body::Body, service::Routes};
use tower::{
    ServiceExt, service_fn,
    util::{BoxCloneSyncService, Oneshot},
};
use tower_layer::Layer;
use tower_service::Service;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a layer of the user's wraps: all handlers, and the layers that a request meets after it.
pub(crate) type BoxService = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// A layer of the user's, ready to be put around what comes after it.
pub(crate) type Wrap = Box<dyn FnOnce(BoxService) -> BoxService + Send + Sync>;

/// Makes a layer of whatever type one of ours: its body is boxed, and its error becomes the status that it carries.
pub(crate) fn wrap<L, B>(layer: L) -> Wrap
where
    L: Layer<BoxService> + Send + Sync + 'static,
    L::Service: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    <L::Service as Service<Request<Body>>>::Future: Send + 'static,
    <L::Service as Service<Request<Body>>>::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Box::new(move |inner| {
        let service = layer.layer(inner);
        BoxCloneSyncService::new(service_fn(move |request| {
            let call = service.clone().oneshot(request);
            async move {
                Ok(match call.await {
                    Ok(response) => response.map(Body::new),
                    Err(error) => Status::from_error(error.into()).into_http(),
                })
            }
        }))
    })
}

/// The handlers, and the layers around them.
#[derive(Clone, Debug)]
pub(crate) enum Handlers {
    /// Without layers nothing is boxed that tonic does not box.
    Plain(Routes),
    Layered(BoxService),
}

impl Handlers {
    /// Puts `layers` around `routes`; the first one meets a request first.
    pub(crate) fn new(routes: Routes, layers: Vec<Wrap>) -> Self {
        if layers.is_empty() {
            return Self::Plain(routes);
        }
        let innermost = BoxCloneSyncService::new(routes);
        Self::Layered(
            layers
                .into_iter()
                .rev()
                .fold(innermost, |inner, wrap| wrap(inner)),
        )
    }
}

impl<B> Service<Request<B>> for Handlers
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = HandlersFuture<B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Routes are always ready; layers are asked within the call, whose deadline counts their waiting.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self {
            Self::Plain(routes) => HandlersFuture::Plain {
                future: routes.call(request),
            },
            Self::Layered(service) => HandlersFuture::Layered {
                future: service.clone().oneshot(request.map(Body::new)),
            },
        }
    }
}

pin_project! {
    /// The answer of a handler on its way.
    #[project = Projected]
    pub(crate) enum HandlersFuture<B>
    where
        B: http_body::Body<Data = Bytes>,
        B: Send,
        B: 'static,
        B::Error: Into<BoxError>,
    {
        Plain { #[pin] future: <Routes as Service<Request<B>>>::Future },
        Layered { #[pin] future: Oneshot<BoxService, Request<Body>> },
    }
}

impl<B> Future for HandlersFuture<B>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projected::Plain { future } => future.poll(cx),
            Projected::Layered { future } => future.poll(cx),
        }
    }
}
