//! One call, from its message to its answer.

use std::mem;

use http::{Request, Response};
use micro::{CallOptions, Peer};
use micro_dynamic::invoke_streaming;
use prost_reflect::DynamicMessage;
use tokio::time::Instant;
use tonic::{Status, body::Body};

use super::{Call, Calls};
use crate::{
    answer::{self, Replies},
    dashboard::AnsweredBy,
    fault::Fault,
    headers, unary,
};

impl Calls {
    /// What the call says besides its message. It takes the extensions of `head` and empties them, which saves a map: nobody may
    /// read them from here on.
    fn request<T>(
        &self,
        call: &Call<'_>,
        head: &mut Request<()>,
        message: T,
    ) -> Result<tonic::Request<T>, Fault> {
        let mut metadata = headers::metadata(head, &self.settings, call.id);
        if let Some(guard) = &self.guard {
            guard.forward(call.claims.as_ref(), &mut metadata)?;
        }
        let mut extensions = mem::take(head.extensions_mut());
        extensions.clear();
        let left = call.deadline.saturating_duration_since(Instant::now());
        extensions.insert(CallOptions::new().timeout(left));
        Ok(tonic::Request::from_parts(metadata, extensions, message))
    }

    /// Makes a call with one message each way.
    pub(super) async fn unary(
        &self,
        call: &Call<'_>,
        head: &mut Request<()>,
        message: DynamicMessage,
    ) -> Result<Response<Body>, Fault> {
        let failed = |status: Status| self.fault_of_call(call, &status);
        let route = &call.to.route;
        let channel = unary::ready(&route.channel).await.map_err(failed)?;
        let request = self.request(call, head, message)?;
        let answer = unary::start(channel, route.path.clone(), request).map_err(failed)?;
        let reply = unary::finish(answer, route.method.output())
            .await
            .map_err(failed)?;
        let response = answer::message(reply.body(), call.only().as_ref()).map_err(failed)?;
        Ok(told_of(self.answered_by(reply.extensions().get()), response))
    }

    /// Makes a call that is answered with a stream.
    pub(super) async fn stream(
        &self,
        call: Call<'_>,
        head: &mut Request<()>,
        message: DynamicMessage,
    ) -> Result<Response<Body>, Fault> {
        let request = self.request(&call, head, tokio_stream::once(message))?;
        let method = &call.to.route.method;
        let channel = call.to.route.channel.clone();
        let replies = invoke_streaming(channel, method, request).await;
        let replies = replies.map_err(|status| self.fault_of_call(&call, &status))?;
        let node = self.answered_by(replies.extensions().get());
        let response = Replies {
            format: call.format,
            replies: replies.into_inner(),
            only: call.only(),
            deadline: call.deadline,
            pool: method.parent_pool().clone(),
            witness: self.witness(&call),
            place: call.place,
        }
        .into_response();
        Ok(told_of(node, response))
    }

    /// Who answered, where there is a dashboard that shows it.
    fn answered_by(&self, peer: Option<&Peer>) -> Option<AnsweredBy> {
        self.dashboard.as_ref()?;
        let id = http::HeaderValue::from_str(peer?.node_id()).ok()?;
        Some(AnsweredBy(id))
    }
}

fn told_of(node: Option<AnsweredBy>, mut response: Response<Body>) -> Response<Body> {
    node.and_then(|node| response.extensions_mut().insert(node));
    response
}
