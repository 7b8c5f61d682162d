//! One request of gRPC-Web, from what was found for it to its answer.

use http::{Request, Response};
use tokio::{sync::oneshot, time::timeout_at};
use tonic::body::Body;

use super::{Call, Calls, body_too_late};
use crate::{fault::Fault, grpc_web, headers, request};

impl Calls {
    /// Reads the body, and passes its message on.
    pub(super) async fn pass(
        &self,
        call: Call<'_>,
        head: &Request<()>,
        body: Body,
    ) -> Result<Response<Body>, Fault> {
        let mut metadata = headers::metadata(head, &self.settings, call.id);
        if let Some(guard) = &self.guard {
            guard.forward(call.claims.as_ref(), &mut metadata)?;
        }
        let size_max = grpc_web::body_size_max(self.settings.body_size_max);
        let body = timeout_at(call.body_deadline, request::read(head.headers(), body, size_max)).await;
        let body = body.map_err(|_| body_too_late())??;
        let (exported, witness) = (call.to.exported, self.witness(&call));
        let (failed, mut failure) = oneshot::channel();
        let passed = grpc_web::Call {
            channel: call.to.route.channel.clone(),
            method: call.to.route.method.clone(),
            metadata,
            deadline: call.deadline,
            message_size_max: self.settings.body_size_max,
            witness: self.witness(&call),
            place: call.place,
        };
        let answer = passed.answer(head.headers().clone(), body, failed).await;
        if let Ok(status) = failure.try_recv() {
            self.note_failure(exported, &witness, &status);
        }
        Ok(answer)
    }
}
