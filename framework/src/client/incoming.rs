//! The body of an answer as HTTP/2 brings it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http_body::Frame;

use crate::control::Owned;

/// The frames of an answer. Dropping it before its end cancels the request.
#[derive(Debug)]
pub(super) struct Incoming {
    stream: RecvStream,
    /// Whether only trailers may come.
    data_ended: bool,
    /// Sends what is left of the request.
    _sending: Option<Owned<()>>,
}

impl Incoming {
    pub(super) fn new(stream: RecvStream, sending: Option<Owned<()>>) -> Self {
        Self {
            stream,
            data_ended: false,
            _sending: sending,
        }
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let this = &mut *self;
        let polled = if this.data_ended {
            None
        } else {
            ready!(this.stream.poll_data(cx))
        };
        let frame = match polled {
            Some(Ok(data)) => {
                // That fails only for more than was received.
                let _ = this.stream.flow_control().release_capacity(data.len());
                Ok(Some(Frame::data(data)))
            }
            Some(Err(error)) => Err(error),
            None => {
                this.data_ended = true;
                ready!(this.stream.poll_trailers(cx)).map(|trailers| trailers.map(Frame::trailers))
            }
        };
        Poll::Ready(match frame {
            // A complete answer whose server does not want the rest of the request (RFC 9113 §8.1).
            Err(error) if error.reason() == Some(Reason::NO_ERROR) => None,
            frame => frame.transpose(),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}
