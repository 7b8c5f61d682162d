//! Finds the method that a request is for, once for all layers further in.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Request;
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::late::Late;
use crate::server::route::{Routed, Routes};

/// Makes [`Route`].
#[derive(Clone, Debug)]
pub(crate) struct RouteLayer {
    routes: Arc<Routes>,
}

impl RouteLayer {
    /// Finds what is in `routes`.
    pub(crate) fn new(routes: Routes) -> Self {
        Self {
            routes: Arc::new(routes),
        }
    }
}

impl<S> Layer<S> for RouteLayer {
    type Service = Route<S>;

    fn layer(&self, inner: S) -> Route<S> {
        Route {
            inner,
            routes: Arc::clone(&self.routes),
        }
    }
}

/// The service that [`RouteLayer`] makes.
#[derive(Clone, Debug)]
pub(crate) struct Route<S> {
    inner: S,
    routes: Arc<Routes>,
}

impl<S, R> Service<Request<R>> for Route<S>
where
    S: Service<Routed<Late<R>>>,
    R: Body<Data = Bytes, Error: Send> + Send + Unpin + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> S::Future {
        let routed = self.routes.find(request.map(Late::new));
        self.inner.call(routed)
    }
}
