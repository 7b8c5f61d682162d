//! One request of gRPC-Web, from what was found for it to its answer.

use http::{Request, Response};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Instant, timeout_at},
};
use tonic::body::Body;

use super::{Call, Calls, body_too_late};
use crate::{fault::Fault, grpc_web, headers, request};

impl Calls {
    /// Reads the body until `body_deadline`, and passes its message on.
    pub(super) async fn pass(
        &self,
        call: Call<'_>,
        request: Request<Body>,
        body_deadline: Instant,
        place: OwnedSemaphorePermit,
    ) -> Result<Response<Body>, Fault> {
        let mut metadata = headers::metadata(&request, &self.settings, call.id);
        if let Some(guard) = &self.guard {
            guard.forward(call.claims, &mut metadata)?;
        }
        let (parts, body) = request.into_parts();
        let size_max = grpc_web::body_size_max(self.settings.body_size_max);
        let body = timeout_at(body_deadline, request::read(&parts.headers, body, size_max)).await;
        let body = body.map_err(|_| body_too_late())??;
        let (failed, mut failure) = oneshot::channel();
        let passed = grpc_web::Call {
            channel: call.to.route.channel.clone(),
            method: call.to.route.method.clone(),
            metadata,
            deadline: call.deadline,
            message_size_max: self.settings.body_size_max,
            witness: self.witness(&call),
            place,
        };
        let answer = passed.answer(parts.headers, body, failed).await;
        if let Ok(status) = failure.try_recv() {
            self.note_failure(&call, &status);
        }
        Ok(answer)
    }
}
