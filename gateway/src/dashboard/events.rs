//! What the page shows, as server-sent events: all of it at once, and again whenever something has changed.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, stream};
use http::{HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::StreamBody;
use micro::ServiceContext;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tonic::body::Body;

use super::watch::{Shown, Watch};

/// How long a page waits before it connects again, in milliseconds.
const RETRY_MS: u32 = 1000;

/// One page that looks on.
pub(super) struct Looker {
    pub(super) watch: Arc<Watch>,
    pub(super) shown: watch::Receiver<Shown>,
    /// The service that the gateway is; its end is that of the events, so that nothing waits for pages.
    pub(super) within: Option<ServiceContext>,
    pub(super) place: OwnedSemaphorePermit,
}

impl Looker {
    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::new(StreamBody::new(self.frames())));
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn frames(self) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> {
        stream::unfold(self, |mut looker| async {
            let event = looker.next().await?;
            Some((Ok(Frame::data(event)), looker))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        // Held for as long as the body is.
        let _ = (&self.watch, &self.place);
        let ended = async {
            match &self.within {
                Some(within) => within.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.shown.changed() => changed.ok()?,
            () = ended => return None,
        }
        let shown = self.shown.borrow_and_update().clone();
        Some(format!("retry: {RETRY_MS}\ndata: {shown}\n\n").into())
    }
}
