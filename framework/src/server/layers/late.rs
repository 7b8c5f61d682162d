//! Lets what a caller still sends arrive when its answer came early: a refusal, an error of a handler that has not read
//! the request, a deadline.
//!
//! Where the stream is gone by then, h2 takes what arrives for a fault of the peer, and ends the connection, with the calls
//! on it, after as many as `local_resets_max` of them.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::{
    runtime::Handle,
    time::{Duration, timeout},
};

/// How long what is left of a request may take to arrive.
const LATE_MAX: Duration = Duration::from_secs(1);

/// The body of a request, which is read to its end, for a while, when it is dropped before.
#[derive(Debug)]
pub(crate) struct Late<B>
where
    B: Body<Data = Bytes, Error: Send> + Send + Unpin + 'static,
{
    /// `None` once it is dropped.
    inner: Option<B>,
}

impl<B> Late<B>
where
    B: Body<Data = Bytes, Error: Send> + Send + Unpin + 'static,
{
    pub(crate) fn new(inner: B) -> Self {
        Self { inner: Some(inner) }
    }
}

impl<B> Drop for Late<B>
where
    B: Body<Data = Bytes, Error: Send> + Send + Unpin + 'static,
{
    fn drop(&mut self) {
        let Some(mut body) = self.inner.take().filter(|body| !body.is_end_stream()) else {
            return;
        };
        // A handler may let go of it anywhere.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout(LATE_MAX, async move {
                while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {}
            }));
        }
    }
}

impl<B> Body for Late<B>
where
    B: Body<Data = Bytes, Error: Send> + Send + Unpin + 'static,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
