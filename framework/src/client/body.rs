//! The body of a request, kept while the call may still have to be sent again.

use std::{
    future::poll_fn,
    mem,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use tonic::{Status, body::Body};

/// How much of a body is kept until the response headers. What is longer cannot be sent again.
const KEPT_MAX: usize = 64 * 1024;

/// The body of a call, from which each attempt gets a body of its own.
#[derive(Debug)]
pub(super) enum Source {
    /// All of it is here: the usual case of a unary call.
    Whole(Bytes),
    /// More comes by and by.
    Streaming(Arc<Mutex<Stream>>),
}

/// A body that is still being produced, and what of it is kept.
#[derive(Debug)]
pub(super) struct Stream {
    body: Body,
    /// The frames so far, for as long as they are short enough.
    kept: Vec<Bytes>,
    kept_bytes: usize,
    /// How many of them the present attempt has taken.
    taken: usize,
    /// What each attempt may see: an attempt that is over must not take frames from the next one.
    attempt: u32,
    /// Whether more was sent than is kept.
    gone: bool,
    ended: bool,
}

/// The body of one attempt.
#[derive(Debug)]
pub(super) enum RequestBody {
    /// One frame, or none once it was sent.
    Whole(Bytes),
    /// The kept frames first, then those still to come.
    Streaming {
        stream: Arc<Mutex<Stream>>,
        attempt: u32,
        next: usize,
    },
}

impl Source {
    /// Takes what of `body` is there at once, without waiting for more.
    pub(super) async fn new(mut body: Body) -> Result<Self, Status> {
        let mut kept = Vec::new();
        let ended = loop {
            // Pending leaves no waker behind that matters: whoever sends the body polls it again.
            match poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx))).await {
                Poll::Ready(Some(Ok(frame))) => kept.extend(frame.into_data()),
                Poll::Ready(Some(Err(status))) => return Err(status),
                Poll::Ready(None) => break true,
                Poll::Pending => break false,
            }
            if kept.len() > 1 {
                break false;
            }
        };
        if ended && kept.len() <= 1 && kept.iter().all(|frame| frame.len() <= KEPT_MAX) {
            return Ok(Self::Whole(kept.pop().unwrap_or_default()));
        }
        let kept_bytes = kept.iter().map(Bytes::len).sum();
        let stream = Stream {
            body,
            kept,
            kept_bytes,
            taken: 0,
            attempt: 0,
            gone: false,
            ended,
        };
        Ok(Self::Streaming(Arc::new(Mutex::new(stream))))
    }

    /// A body for one more attempt; `None` when more was sent than is kept.
    pub(super) fn attempt(&self) -> Option<RequestBody> {
        match self {
            Self::Whole(bytes) => Some(RequestBody::Whole(bytes.clone())),
            Self::Streaming(stream) => {
                let mut locked = stream.lock().expect("no panic while a body is locked");
                if locked.gone {
                    return None;
                }
                locked.attempt += 1;
                locked.taken = 0;
                // A body that came whole and is too long is sent once: the attempt takes its frames along.
                locked.gone = locked.kept_bytes > KEPT_MAX;
                let attempt = locked.attempt;
                drop(locked);
                Some(RequestBody::Streaming {
                    stream: Arc::clone(stream),
                    attempt,
                    next: 0,
                })
            }
        }
    }

    /// Whether all of it that was sent could be sent again.
    pub(super) fn is_kept(&self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Streaming(stream) => !stream.lock().expect("no panic while a body is locked").gone,
        }
    }

    /// Forgets what is kept: the call was answered and is never sent again.
    pub(super) fn answered(&self) {
        if let Self::Streaming(stream) = self {
            let mut stream = stream.lock().expect("no panic while a body is locked");
            stream.gone = true;
            stream.forget_taken();
        }
    }
}

impl Stream {
    /// Frees the frames that no attempt needs any more: a stream may live for long.
    fn forget_taken(&mut self) {
        let taken = self.taken.min(self.kept.len());
        self.kept[..taken].fill(Bytes::new());
    }

    /// The frame at `next`, for the attempt of that number.
    fn poll_next(
        &mut self,
        attempt: u32,
        next: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Status>>> {
        if attempt != self.attempt {
            return Poll::Ready(Some(Err(Status::cancelled("this attempt is over"))));
        }
        self.taken = next;
        if let Some(frame) = self.kept.get_mut(next) {
            self.taken += 1;
            // Once the call was answered the last reader takes the frames along.
            return Poll::Ready(Some(Ok(if self.gone {
                mem::take(frame)
            } else {
                frame.clone()
            })));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = loop {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                // A request has no trailers in gRPC.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => break data,
                    Err(_trailers) => {}
                },
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => {
                    self.ended = true;
                    return Poll::Ready(None);
                }
            }
        };
        self.kept_bytes = self.kept_bytes.saturating_add(frame.len());
        self.gone |= self.kept_bytes > KEPT_MAX;
        if self.gone {
            self.forget_taken();
        } else {
            self.kept.push(frame.clone());
            self.taken += 1;
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(mem::take(bytes))))),
            Self::Streaming {
                stream,
                attempt,
                next,
            } => {
                let mut stream = stream.lock().expect("no panic while a body is locked");
                let frame = ready!(stream.poll_next(*attempt, *next, cx));
                *next += 1;
                Poll::Ready(frame.map(|frame| frame.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Streaming {
                stream,
                attempt,
                next,
            } => {
                let stream = stream.lock().expect("no panic while a body is locked");
                stream.ended && *attempt == stream.attempt && *next >= stream.kept.len()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};
    use tokio::sync::mpsc;
    use tokio_stream::{StreamExt, wrappers::UnboundedReceiverStream};

    use super::*;

    fn streaming() -> (mpsc::UnboundedSender<Bytes>, Body) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let frames = UnboundedReceiverStream::new(receiver).map(|bytes| Ok::<_, Status>(Frame::data(bytes)));
        (sender, Body::new(StreamBody::new(frames)))
    }

    async fn next(body: &mut RequestBody) -> Bytes {
        body.frame().await.unwrap().unwrap().into_data().unwrap()
    }

    #[tokio::test]
    async fn a_whole_body_is_sent_as_often_as_needed() {
        let source = Source::new(Body::new(http_body_util::Full::new(Bytes::from("ada"))))
            .await
            .unwrap();
        for _ in 0..3 {
            let sent = source.attempt().unwrap().collect().await.unwrap().to_bytes();
            assert_eq!(sent, "ada");
        }
    }

    #[tokio::test]
    async fn an_empty_body_ends_at_once() {
        let source = Source::new(Body::empty()).await.unwrap();
        assert!(source.attempt().unwrap().is_end_stream());
    }

    #[tokio::test]
    async fn a_stream_is_replayed_and_goes_on_and_the_old_attempt_gets_nothing_more() {
        let (sender, body) = streaming();
        sender.send("a".into()).unwrap();
        let source = Source::new(body).await.unwrap();
        let mut first = source.attempt().unwrap();
        assert_eq!(next(&mut first).await, "a");
        sender.send("b".into()).unwrap();
        assert_eq!(next(&mut first).await, "b");
        let mut second = source.attempt().unwrap();
        sender.send("c".into()).unwrap();
        assert!(first.frame().await.unwrap().is_err());
        for expected in ["a", "b", "c"] {
            assert!(!second.is_end_stream());
            assert_eq!(next(&mut second).await, expected);
        }
        drop(sender);
        assert!(second.frame().await.is_none());
        assert!(second.is_end_stream() && !first.is_end_stream());
    }

    #[tokio::test]
    async fn what_is_longer_than_what_is_kept_cannot_be_sent_again() {
        let (sender, body) = streaming();
        let source = Source::new(body).await.unwrap();
        let mut first = source.attempt().unwrap();
        for _ in 0..3 {
            sender.send(vec![0; KEPT_MAX / 2].into()).unwrap();
            next(&mut first).await;
        }
        assert!(source.attempt().is_none());
    }

    #[tokio::test]
    async fn a_stream_that_was_answered_keeps_nothing_more() {
        let (sender, body) = streaming();
        sender.send("a".into()).unwrap();
        let source = Source::new(body).await.unwrap();
        let mut attempt = source.attempt().unwrap();
        source.answered();
        assert_eq!(next(&mut attempt).await, "a");
        sender.send("b".into()).unwrap();
        assert_eq!(next(&mut attempt).await, "b");
        assert!(source.attempt().is_none());
    }

    #[tokio::test]
    async fn frames_that_nobody_needs_again_are_freed() {
        for answered in [true, false] {
            let (sender, body) = streaming();
            sender.send("a".into()).unwrap();
            let source = Source::new(body).await.unwrap();
            let mut attempt = source.attempt().unwrap();
            assert_eq!(next(&mut attempt).await, "a");
            if answered {
                source.answered();
            } else {
                sender.send(vec![0; KEPT_MAX].into()).unwrap();
                next(&mut attempt).await;
            }
            let Source::Streaming(stream) = &source else {
                panic!("the body streams")
            };
            assert!(stream.lock().unwrap().kept.iter().all(Bytes::is_empty));
        }
    }

    #[tokio::test]
    async fn an_error_of_the_caller_s_stream_is_the_call_s() {
        let failing = tokio_stream::once(Err::<Frame<Bytes>, _>(Status::data_loss("broken")));
        let status = Source::new(Body::new(StreamBody::new(failing)))
            .await
            .unwrap_err();
        assert_eq!(status.code(), tonic::Code::DataLoss);
    }
}
