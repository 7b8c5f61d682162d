//! Watches the messages of a request: refuses one that says it is larger than the server takes, before a byte of it is
//! kept, and ends after the first one where there is only one.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::Status;
use tower_layer::Layer;
use tower_service::Service;

use super::{framing::Framing, handlers::BoxError};
use crate::server::route::Routed;

/// Makes [`Messages`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessagesLayer {
    size_max: Option<usize>,
}

impl MessagesLayer {
    /// Refuses messages of more than `size_max` bytes; `None` leaves it to tonic's own limit.
    pub(crate) fn new(size_max: Option<usize>) -> Self {
        Self { size_max }
    }
}

impl<S> Layer<S> for MessagesLayer {
    type Service = Messages<S>;

    fn layer(&self, inner: S) -> Messages<S> {
        Messages {
            inner,
            size_max: self.size_max,
        }
    }
}

/// The service that [`MessagesLayer`] makes.
#[derive(Clone, Debug)]
pub(crate) struct Messages<S> {
    inner: S,
    size_max: Option<usize>,
}

impl<S, B> Service<Routed<B>> for Messages<S>
where
    S: Service<Request<MessagesBody<B>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed<B>) -> S::Future {
        let ends_after_first = routed.route.ends_after_first;
        let is_watched = ends_after_first || self.size_max.is_some();
        let watched = is_watched.then(|| Watched {
            framing: Framing::new(self.size_max.unwrap_or(usize::MAX)),
            ends_after_first,
            has_ended: false,
        });
        self.inner
            .call(routed.request.map(|inner| MessagesBody { inner, watched }))
    }
}

pin_project! {
    /// A request body that fails with RESOURCE_EXHAUSTED at the first message that is too large, and may end with its
    /// first message.
    pub(crate) struct MessagesBody<B> {
        #[pin]
        inner: B,
        watched: Option<Watched>,
    }
}

struct Watched {
    framing: Framing,
    ends_after_first: bool,
    has_ended: bool,
}

impl<B> Body for MessagesBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        let polled = this.inner.poll_frame(cx).map_err(Into::into);
        let Some(watched) = this.watched else {
            return polled;
        };
        if watched.has_ended {
            return watched.after_the_end(polled);
        }
        match ready!(polled) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Poll::Ready(Some(watched.data(data).map(Frame::data))),
                Err(trailers) => Poll::Ready(Some(Ok(trailers))),
            },
            ended => Poll::Ready(ended),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Watched {
    fn data(&mut self, mut data: Bytes) -> Result<Bytes, BoxError> {
        let first_end = self.framing.read(&data).map_err(|too_large| {
            Status::resource_exhausted(format!(
                "the message has {} bytes, and this server takes {}",
                too_large.length, too_large.size_max
            ))
        })?;
        if let Some(end) = first_end
            && self.ends_after_first
        {
            self.has_ended = true;
            data.truncate(end);
        }
        Ok(data)
    }

    /// What the caller says after its one message: its end if it is there, and nothing that would be waited for.
    fn after_the_end(
        &self,
        polled: Poll<Option<Result<Frame<Bytes>, BoxError>>>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match polled {
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => Poll::Ready(Some(Ok(frame))),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            Poll::Ready(Some(Ok(_)) | None) | Poll::Pending => Poll::Ready(None),
        }
    }
}
