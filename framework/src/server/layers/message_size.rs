//! Refuses a request message that says it is larger than the server takes, before a byte of it is kept.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::Status;
use tower_layer::Layer;
use tower_service::Service;

use super::handlers::BoxError;

/// A flag, and four bytes of length, stand before every message.
const PREFIX_LENGTH: usize = 5;

/// Makes [`MessageSize`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageSizeLayer {
    size_max: Option<usize>,
}

impl MessageSizeLayer {
    /// Refuses messages of more than `size_max` bytes; `None` leaves it to tonic's own limit.
    pub(crate) fn new(size_max: Option<usize>) -> Self {
        Self { size_max }
    }
}

impl<S> Layer<S> for MessageSizeLayer {
    type Service = MessageSize<S>;

    fn layer(&self, inner: S) -> MessageSize<S> {
        MessageSize {
            inner,
            size_max: self.size_max,
        }
    }
}

/// The service that [`MessageSizeLayer`] makes.
#[derive(Clone, Debug)]
pub(crate) struct MessageSize<S> {
    inner: S,
    size_max: Option<usize>,
}

impl<S, B> Service<Request<B>> for MessageSize<S>
where
    S: Service<Request<SizedBody<B>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        let size_max = self.size_max;
        self.inner.call(request.map(|inner| SizedBody {
            inner,
            limit: size_max.map(Limit::new),
        }))
    }
}

pin_project! {
    /// A request body that fails with RESOURCE_EXHAUSTED at the first message that is too large.
    pub(crate) struct SizedBody<B> {
        #[pin]
        inner: B,
        limit: Option<Limit>,
    }
}

impl<B> Body for SizedBody<B>
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
        let polled = this.inner.poll_frame(cx);
        if let (Some(limit), Poll::Ready(Some(Ok(frame)))) = (this.limit, &polled)
            && let Some(data) = frame.data_ref()
            && let Err(status) = limit.check(data)
        {
            return Poll::Ready(Some(Err(status.into())));
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Follows the prefixes through the pieces that a body comes in.
#[derive(Debug)]
struct Limit {
    size_max: usize,
    prefix: [u8; PREFIX_LENGTH],
    prefix_filled: usize,
    message_left: usize,
}

impl Limit {
    fn new(size_max: usize) -> Self {
        Self {
            size_max,
            prefix: [0; PREFIX_LENGTH],
            prefix_filled: 0,
            message_left: 0,
        }
    }

    fn check(&mut self, mut data: &[u8]) -> Result<(), Status> {
        loop {
            let skipped = self.message_left.min(data.len());
            self.message_left -= skipped;
            data = &data[skipped..];
            if data.is_empty() {
                return Ok(());
            }
            let taken = (PREFIX_LENGTH - self.prefix_filled).min(data.len());
            self.prefix[self.prefix_filled..self.prefix_filled + taken].copy_from_slice(&data[..taken]);
            self.prefix_filled += taken;
            data = &data[taken..];
            if self.prefix_filled == PREFIX_LENGTH {
                self.prefix_filled = 0;
                let [_, length @ ..] = self.prefix;
                self.message_left = u32::from_be_bytes(length) as usize;
                if self.message_left > self.size_max {
                    return Err(Status::resource_exhausted(format!(
                        "the message has {} bytes, and this server takes {}",
                        self.message_left, self.size_max
                    )));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn messages(lengths: &[usize]) -> Vec<u8> {
        let mut body = Vec::new();
        for length in lengths {
            body.push(0);
            body.extend(u32::try_from(*length).unwrap().to_be_bytes());
            body.extend(std::iter::repeat_n(0xff, *length));
        }
        body
    }

    #[test]
    fn a_declared_length_is_refused_before_its_bytes_come() {
        let status = Limit::new(100).check(&[0, 0xff, 0xff, 0xff, 0xff]).unwrap_err();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert!(status.message().contains("100"), "{status}");
    }

    proptest! {
        #[test]
        fn the_pieces_of_a_body_do_not_matter(
            lengths in proptest::collection::vec(0_usize..40, 0..8),
            piece in 1_usize..20,
        ) {
            let mut limit = Limit::new(30);
            let refused = messages(&lengths).chunks(piece).any(|data| limit.check(data).is_err());
            prop_assert_eq!(refused, lengths.iter().any(|length| *length > 30));
        }
    }
}
