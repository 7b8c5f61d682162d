//! What the service answers.

use tonic::{Request, Response, Status};
use tracing::info;

use crate::proto::{HelloReply, HelloRequest, say_server::Say};

/// Answers the calls of `Say`.
#[derive(Debug)]
pub struct Handler;

#[tonic::async_trait]
impl Say for Handler {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let HelloRequest { name } = request.into_inner();
        if name.is_empty() {
            return Err(Status::invalid_argument("`name` is empty"));
        }
        info!(name, "hello");
        Ok(Response::new(HelloReply {
            message: format!("Hello {name}"),
        }))
    }
}
