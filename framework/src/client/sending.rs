//! Sends the body of a request, as fast as it is produced and the peer takes it.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use h2::{Reason, SendStream};
use http_body::Body as _;
use tracing::debug;

use super::body::RequestBody;
use crate::control::Owned;

/// A body on its way.
pub(super) struct Sending {
    body: RequestBody,
    stream: SendStream<Bytes>,
    /// What waits for room in the peer's window, and whether it is the last.
    chunk: Option<(Bytes, bool)>,
}

impl Future for Sending {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Why it ended is what who waits for the answer hears.
        self.poll_send(cx).map(|sent| {
            if let Err(error) = sent {
                debug!(%error, "the request was not sent to its end");
            }
        })
    }
}

impl Sending {
    /// Sends `body` if it is here, as it is short then; else what sends it is to [begin](Self::begin).
    pub(super) fn start(body: RequestBody, mut stream: SendStream<Bytes>) -> Option<Box<Self>> {
        match body {
            RequestBody::Whole(bytes) => {
                // It need not wait for the peer's window. Who waits for the answer hears of an error.
                let _ = stream.send_data(bytes, true);
                None
            }
            body @ RequestBody::Streaming { .. } => Some(Box::new(Self {
                body,
                stream,
                chunk: None,
            })),
        }
    }

    /// Sends what can be sent at once. What cannot is sent by a task, which ends when it is dropped.
    pub(super) async fn begin(mut self: Box<Self>) -> Option<Owned<()>> {
        let is_sent = poll_fn(|cx| Poll::Ready(self.poll_unpin(cx).is_ready())).await;
        (!is_sent).then(|| Owned(tokio::spawn(self)))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        loop {
            // Listens for a peer that wants no more.
            if let Poll::Ready(reason) = self.stream.poll_reset(cx)? {
                return Poll::Ready(Err(reason.into()));
            }
            if self.chunk.is_some() {
                while self.stream.capacity() == 0 {
                    match ready!(self.stream.poll_capacity(cx)) {
                        Some(capacity) => capacity?,
                        None => return Poll::Ready(Err(Reason::STREAM_CLOSED.into())),
                    };
                }
                if let Some((chunk, is_last)) = self.chunk.take() {
                    self.stream.send_data(chunk, is_last)?;
                    if is_last {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    // What is empty needs no room.
                    Ok(data) if data.is_empty() => self.stream.send_data(data, false)?,
                    Ok(data) => {
                        // The least claim: what each stream claims is withheld from the others.
                        self.stream.reserve_capacity(1);
                        self.chunk = Some((data, self.body.is_end_stream()));
                    }
                    // A request has no trailers in gRPC.
                    Err(_trailers) => {}
                },
                Some(Err(status)) => {
                    debug!(%status, "the request's stream failed");
                    self.stream.send_reset(Reason::INTERNAL_ERROR);
                    return Poll::Ready(Ok(()));
                }
                None => return Poll::Ready(self.stream.send_data(Bytes::new(), true)),
            }
        }
    }
}
